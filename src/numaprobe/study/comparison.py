"""Every policy, or any variations, side by side on one setting, and beside what was recorded."""

from __future__ import annotations

import builtins
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from numaprobe.analysis import compare as put_together
from numaprobe.analysis import numbered
from numaprobe.errors import UnknownNameError
from numaprobe.policies import all_policies, make_policy
from numaprobe.study.axes import make_variations
from numaprobe.study.confirm import ProbeBudget, Repetitions, confirm
from numaprobe.study.runs import run_many
from numaprobe.study.traces import RECORDED
from numaprobe.study.variation import variations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numaprobe.analysis import Comparison
    from numaprobe.policies import Policy
    from numaprobe.records import Trace
    from numaprobe.scenario import Setting
    from numaprobe.study.axes import Axis
    from numaprobe.study.runs import Progress, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A comparison, and the runs behind it."""

    comparison: Comparison
    #: in the order of the policies or variations
    runs: tuple[Run, ...]

    @property
    def failures(self) -> list[str]:
        """What did not pass under which policy or variation, one line each."""
        labels = [entry.label for entry in self.comparison.entries][-len(self.runs) :]
        return [f"{label}: {one}" for label, run in zip(labels, self.runs, strict=True) for one in run.failures]


def choose_policies(wanted: Iterable[Policy | str] | None, baseline: Policy | str) -> tuple[list[Policy], str]:
    """Return the policies to run, those wanted and the base, each once; and the base's label.

    Args:
        wanted: policies, or their names with options; None: the whole catalogue.
        baseline: one more, or ``RECORDED``: the trace that is replayed.

    Raises:
        NumaprobeError: see ``numaprobe.policies.make_policy``.

    """
    specs = wanted if wanted is not None else all_policies()
    chosen = list(dict.fromkeys(make_policy(one) if isinstance(one, str) else one for one in specs))
    if baseline == RECORDED:
        return chosen, RECORDED
    base = make_policy(baseline) if isinstance(baseline, str) else baseline
    return chosen if base in chosen else [base, *chosen], base.label


def compare(
    setting: Setting,
    policies: Iterable[Policy | str] | None = None,
    *,
    baseline: Policy | str | None = None,
    recorded: Trace | None = None,
    timeline: bool = False,
    map: Callable[..., Iterable[Any]] = builtins.map,  # noqa: A002  as of ``run_many``
    progress: Callable[[Progress], object] | None = None,
) -> Compared:
    """Run a setting under several policies and put them side by side.

    Args:
        setting: see ``make_setting``.
        policies: see ``choose_policies``; None: all.
        baseline: what the others are compared with; None: the setting's own policy.
        recorded: the trace that the setting repeats, to stand beside its replays as ``RECORDED``.
        timeline: see ``run``.
        map: see ``run_many``.
        progress: see ``run_many``.

    Raises:
        NumaprobeError: the error of the first run that failed; ``run_many`` gives each its own.

    """
    chosen, base = choose_policies(policies, setting.policy if baseline is None else baseline)
    runs = run_many(variations(setting, policy=chosen), map=map, timeline=timeline, progress=progress)
    before = [] if recorded is None else [replace(recorded, policy=RECORDED)]
    comparison = put_together([*before, *(run.trace for run in runs)], base)
    trials = Repetitions(setting, sure=recorded is None, map=map, progress=progress)
    for one in runs:
        trials.know(one)
    policies_run = [*(setting.policy.label for _ in before), *(one.label for one in runs)]
    comparison = _confirmed(comparison, [(trials, label) for label in policies_run])
    return Compared(comparison=comparison, runs=tuple(runs))


def compare_variations(
    setting: Setting,
    axes: Sequence[Axis],
    *,
    baseline: str | None = None,
    recorded: Trace | None = None,
    timeline: bool = False,
    map: Callable[..., Iterable[Any]] = builtins.map,  # noqa: A002  as of ``run_many``
    progress: Callable[[Progress], object] | None = None,
) -> Compared:
    """Run every combination of some axes' values and put them side by side.

    Args:
        setting: see ``make_setting``.
        axes: what varies; see ``axes.parse_axes``.
        baseline: what the others are compared with: a row's name, or ``RECORDED``; None: the first value of each axis.
        recorded: the trace that the setting repeats, to stand beside its replays as ``RECORDED``.
        timeline: see ``run``.
        map: see ``run_many``.
        progress: see ``run_many``.

    Raises:
        UnknownNameError: no row goes by the name of the base.
        NumaprobeError: see ``make_variations``; else the error of the first run that failed.

    """
    rows = make_variations(setting, axes)
    before = [] if recorded is None else [replace(recorded, policy=RECORDED)]
    labels = numbered([*(RECORDED for _ in before), *(row.name for row in rows)])
    base = labels[len(before)] if baseline is None else baseline
    if base not in labels:
        raise UnknownNameError("baseline", base, labels)
    runs = run_many([row.setting for row in rows], map=map, timeline=timeline, progress=progress)
    comparison = put_together([*before, *(run.trace for run in runs)], base, labels=labels)
    values = [*({} for _ in before), *(row.values for row in rows)]
    entries = tuple(replace(entry, values=value) for entry, value in zip(comparison.entries, values, strict=True))
    comparison = replace(comparison, entries=entries, axes={axis.key: axis.values for axis in axes})
    budget = ProbeBudget()
    trials = [
        (Repetitions(one, sure=recorded is None, map=map, progress=progress, budget=budget), one.policy.label)
        for one in (*(setting for _ in before), *(row.setting for row in rows))
    ]
    for (tried, _), one in zip(trials[len(before) :], runs, strict=True):
        tried.know(one)
    return Compared(comparison=_confirmed(comparison, trials), runs=tuple(runs))


def _confirmed(comparison: Comparison, trials: Sequence[tuple[Repetitions, str]]) -> Comparison:
    """Return the comparison with what helps against the findings of each entry; the base's are seen to first.

    Args:
        comparison: with findings, as the catalogue makes them.
        trials: for each entry, of what it is a run, and under which policy.

    """
    entries = list(comparison.entries)
    for index in sorted(range(len(entries)), key=lambda i: entries[i].label != comparison.baseline):
        entries[index] = replace(entries[index], trace=confirm(entries[index].trace, *trials[index]))
    return replace(comparison, entries=tuple(entries))
