"""Which policy does this kernel follow? Its recording, held against the prediction of every policy.

A patched kernel does not say what it does. But each policy predicts, for the same machine, devices, steps and costs,
what holds every probe: the kind of task, an unbound worker's pool, the CPUs that it may use (``analysis.agreement``). A
policy that gets one probe wrong is excluded by it; those that get every probe right *explain* the recording. Two that
explain it place alike here: another scenario may tell them apart (devices of a bus without node code, a caller that is
a worker itself, isolated first CPUs), more boots of this one will not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numaprobe.analysis.words import listed
from numaprobe.errors import NumaprobeError
from numaprobe.policies import POLICIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numaprobe.analysis.agreement import Agreement


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a policy says of a recording."""

    policy: str
    #: recorded probes that it got wrong, predicted ones that did not happen, and ones that it did not predict
    wrong: int
    #: probes that it was held against
    probes: int
    #: what it got wrong, worst first: ``pool``, ``node``, …
    verdicts: tuple[str, ...] = ()
    #: it cannot run here: why
    refused: str | None = None

    @property
    def explains(self) -> bool:
        """Whether every probe is as it says."""
        return self.refused is None and self.probes > 0 and not self.wrong


def explanations(judged: Callable[[str], Agreement], policies: Iterable[str] | None = None) -> tuple[Explanation, ...]:
    """Hold a recording against policies, in their order.

    Args:
        judged: the agreement of the recording with a policy's prediction; a NumaprobeError: it cannot run here.
        policies: specs; None: ours.

    """
    return tuple(_explanation(policy, judged) for policy in (POLICIES if policies is None else policies))


def _explanation(policy: str, judged: Callable[[str], Agreement]) -> Explanation:
    try:
        report = judged(policy)
    except NumaprobeError as error:
        return Explanation(policy=policy, wrong=0, probes=0, refused=str(error))
    rows = [row for row in report.rows if not row.agrees]
    failed = [name for row in rows for name, same in row.verdicts.items() if same is False]
    missing = ["not probed"] if any(row.recorded is None for row in rows) else []
    unexpected = ["not predicted"] if report.unexpected else []
    return Explanation(
        policy=policy,
        wrong=len(rows) + len(report.unexpected),
        probes=len(report.rows) + len(report.unexpected),
        verdicts=tuple(sorted(set(failed), key=failed.count, reverse=True) + missing + unexpected),
    )


def following_line(found: Sequence[Explanation], stock: str) -> str:
    """Say in one sentence which policies explain the recording, and by how many probes the others are excluded.

    Args:
        found: see ``explanations``.
        stock: the policy that this release has unpatched; it is named so.

    """

    def named(policy: str) -> str:
        return f"{policy} (stock)" if policy == stock else policy

    fitting = [named(one.policy) for one in found if one.explains]
    excluded: dict[int, list[str]] = {}
    for one in found:
        if one.refused is None and one.wrong:
            excluded.setdefault(one.wrong, []).append(named(one.policy))
    probes = max((one.probes for one in found), default=0)
    if not probes:
        return "follows: nothing was probed, so nothing can be said"
    by_count = sorted(excluded.items(), reverse=True)
    others = "; ".join(f"{listed(names)} excluded by {count} of {probes}" for count, names in by_count)
    if not fitting:
        return f"follows no policy that is known here: {others}"
    alike = "" if len(fitting) == 1 else ", which place alike here"
    return f"follows {listed(fitting)}{alike}" + (f"; {others}" if others else "")


def explanations_to_json(found: Sequence[Explanation], stock: str) -> dict[str, Any]:
    """Return the ``follows`` block of ``numaprobe.lab/1``."""
    return {
        "stock": stock,
        "policies": [one.policy for one in found if one.explains],
        "excluded": [
            {"policy": one.policy, "wrong": one.wrong, "probes": one.probes, "verdicts": list(one.verdicts)}
            for one in found
            if one.refused is None and one.wrong
        ],
        "not_run": [{"policy": one.policy, "reason": one.refused} for one in found if one.refused is not None],
    }
