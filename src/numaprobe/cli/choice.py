"""Which policies a command runs, and which of them is the base."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.cli.replays import RECORDED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numaprobe.policies import Policy


def choose_policies(wanted: Iterable[str] | None, baseline: str) -> tuple[list[Policy], str]:
    """Return the policies to run, those wanted and the base, by default the whole catalogue; and the base's label.

    Args:
        wanted: ``--policy``: specs.
        baseline: a spec, or ``recorded``: the trace that is replayed.

    Raises:
        NumaprobeError: see ``numaprobe.policies.make_policy``.

    """
    from numaprobe.policies import all_policies, make_policy

    chosen = list(dict.fromkeys(make_policy(spec) for spec in wanted or all_policies()))
    if baseline == RECORDED:
        return chosen, RECORDED
    base = make_policy(baseline)
    return chosen if base in chosen else [base, *chosen], base.label
