"""Findings whose advice was run: what a rule proposes is repeated on this very trace, and kept only where it helps.

The analysis reads records alone and cannot run anything, so that its rules propose changes: a policy, a kernel
parameter, another place to load a driver from. Here the run is repeated with each of them, and without. Of those that
did what they were for, the best of each kind becomes a sentence of the advice, with its gain and what it cost; the
others are not mentioned. Where nothing can be repeated (a trace without a machine), no policy or setting is advised.
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from numaprobe.analysis import find, summarize
from numaprobe.analysis.compare import difference
from numaprobe.analysis.effect import figures_of, helps, merit, sentence
from numaprobe.errors import NumaprobeError
from numaprobe.policies import make_policy
from numaprobe.records import RunWarning
from numaprobe.scenario.readas import ReadAs
from numaprobe.scenario.schema import differs
from numaprobe.study.runs import Run, run_many
from numaprobe.study.settings import make_setting
from numaprobe.study.variation import vary
from numaprobe.topology import CommandLine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numaprobe.analysis import Summary
    from numaprobe.records import Finding, Remedy, Trace
    from numaprobe.scenario import Setting
    from numaprobe.study.runs import Progress

#: Probes that are run to try changes, all repetitions together: a few seconds. What matters most is tried first.
MOST_PROBES: Final = 12_000
#: The fewest runs that tell of a change: without it and with it, and a replay in doubt is both at its two ends as well.
_FEWEST_RUNS: Final = 2
_FEWEST_RUNS_IN_DOUBT: Final = 6


class Repetition(NamedTuple):
    """What one repetition does differently."""

    #: label of the policy
    policy: str
    parameter: str | None = None
    load_from: str | None = None


@dataclass(slots=True)
class ProbeBudget:
    """What may be spent on repetitions: so many probes."""

    left: int = MOST_PROBES

    def take(self, probes: int) -> bool:
        """Take so many, if they are left."""
        if probes > self.left:
            return False
        self.left -= probes
        return True


class _Result(NamedTuple):
    """What came of a repetition."""

    #: without its probes
    trace: Trace
    summary: Summary
    #: how much did not pass, devices that stayed unbound included
    failures: int


class Repetitions:
    """Repetitions of one setting, each made once.

    Args:
        setting: what is repeated.
        sure: the setting is all there is to know of what it repeats; a recording's is not.
        map: see ``run_many``.
        progress: see ``run_many``.
        budget: shared with other trials; None: one of its own.

    """

    def __init__(
        self,
        setting: Setting,
        *,
        sure: bool = True,
        map: Callable[..., Iterable[Any]] = builtins.map,  # noqa: A002  as of ``run_many``
        progress: Callable[[Progress], object] | None = None,
        budget: ProbeBudget | None = None,
    ) -> None:
        self.sure = sure
        self._setting = setting
        self._map = map
        self._progress = progress
        self._budget = budget or ProbeBudget()
        self._results: dict[Repetition, _Result | None] = {}
        #: changes for which nothing was left
        self.untried = 0

    def know(self, run: Run) -> None:
        """Take over a run of the setting under some policy."""
        self._results[Repetition(run.label)] = None if run.outcome is None else _result(run.outcome.trace)

    def make(self, changes: Iterable[Repetition]) -> None:
        """Make these repetitions, as far as the budget goes."""
        made = []
        for change in dict.fromkeys(changes):
            if change in self._results:
                continue
            self._results[change] = None
            setting = self._changed(change)
            if setting is None:
                continue
            readings = 1 + sum(differs(setting.scenario, read) for read in (ReadAs.LEAST, ReadAs.MOST))
            if self._budget.take(readings * max(1, len(setting.plan.devices))):
                made.append((change, setting))
            else:
                self.untried += 1
        runs = run_many([setting for _, setting in made], map=self._map, progress=self._progress)
        for (change, _), run in zip(made, runs, strict=True):
            self._results[change] = None if run.outcome is None else _result(run.outcome.trace)

    def know_trace(self, trace: Trace, policy: str) -> None:
        """Take over the trace of such a run."""
        self._results[Repetition(policy)] = _result(trace)

    def tried(self, remedy: Remedy, policy: str) -> Remedy | None:
        """Return a change with what it did; None: it was not made, failed, or left more undone than there was."""
        before, after = self._results.get(Repetition(policy)), self._results.get(_change(remedy, policy))
        if before is None or after is None or after.failures > before.failures:
            return None
        changed = difference("", (before.trace, before.summary), (after.trace, after.summary))
        return replace(
            remedy,
            before=figures_of(before.summary),
            after=figures_of(after.summary),
            makespan_range_percent=changed.makespan_range_percent,
        )

    def _changed(self, change: Repetition) -> Setting | None:
        """Return the setting with the change; None: it is so already, or makes no sense here."""
        parameters = None
        if change.parameter is not None:
            parameters = _added(self._setting, change.parameter)
            if parameters is None:
                return None
        try:
            return vary(
                self._setting, policy=make_policy(change.policy), parameters=parameters, load_from=change.load_from
            )
        except NumaprobeError:
            return None


def _result(trace: Trace) -> _Result:
    failed = sum(warning.kind in {"check", "deadlock", "deferred"} for warning in trace.warnings)
    return _Result(replace(trace, probes=()), summarize(trace), failed)


def diagnose(
    trace: Trace, setting: Setting | None = None, *, progress: Callable[[Progress], object] | None = None
) -> Trace:
    """Return ``trace`` with its findings, and what helps against them.

    Args:
        trace: any.
        setting: what it is a run of; None: it is replayed.
        progress: called before the first repetition and after each.

    Raises:
        InputError: the trace's machine block is broken.

    """
    found = replace(trace, findings=find(trace))
    if not any(finding.remedies for finding in found.findings):
        return found
    if (_FEWEST_RUNS_IN_DOUBT if setting is None else _FEWEST_RUNS) * len(trace.probes) > MOST_PROBES:
        return _unconfirmed(
            found, f"its {len(trace.probes)} probes are too many to be run again and again; 'advise' does"
        )
    try:
        repeated = make_setting(trace) if setting is None else setting
    except NumaprobeError as error:
        return _unconfirmed(found, f"the trace cannot be replayed: {error}")
    sure = setting is not None and trace.source == "virtual"
    trials = Repetitions(repeated, sure=sure, progress=progress)
    if sure:
        trials.know_trace(trace, repeated.policy.label)
    return confirm(found, trials, repeated.policy.label)


def confirm(trace: Trace, trials: Repetitions, policy: str) -> Trace:
    """Return ``trace`` with what helps against its findings.

    Args:
        trace: with findings, as the catalogue makes them.
        trials: of the setting that it is a run of.
        policy: label of the one that it ran under.

    """
    changes = [_change(remedy, policy) for finding in _by_weight(trace.findings) for remedy in finding.remedies]
    if not changes:
        return trace
    before = trials.untried
    trials.make([Repetition(policy), *changes])
    findings = tuple(_confirmed(finding, trials, policy) for finding in trace.findings)
    left = trials.untried - before
    if not left:
        return replace(trace, findings=findings)
    text = f"{left} changes that might help were not tried: too many probes"
    return replace(trace, findings=findings, warnings=(*trace.warnings, RunWarning(kind="not-tried", message=text)))


def _by_weight(findings: Iterable[Finding]) -> list[Finding]:
    order = ("high", "medium", "low")
    return sorted(findings, key=lambda finding: order.index(finding.severity))


def _change(remedy: Remedy, policy: str) -> Repetition:
    return Repetition(remedy.policy or policy, remedy.parameter, remedy.load_from)


def _confirmed(finding: Finding, trials: Repetitions, policy: str) -> Finding:
    tried = (trials.tried(remedy, policy) for remedy in finding.remedies)
    best = _best_of_each_kind([remedy for remedy in tried if remedy is not None and helps(remedy)])
    told = [sentence(remedy, sure=trials.sure) for remedy in best]
    return replace(finding, advice=" ".join([finding.advice, *told]), remedies=tuple(best))


def _best_of_each_kind(remedies: Sequence[Remedy]) -> list[Remedy]:
    """Return the best place, parameter and policy, what all can set first; of equals the rule's first choice."""
    kinds = (
        [remedy for remedy in remedies if remedy.load_from is not None],
        [remedy for remedy in remedies if remedy.parameter is not None],
        [remedy for remedy in remedies if remedy.policy is not None],
    )
    return [max(kind, key=merit) for kind in kinds if kind]


def _unconfirmed(trace: Trace, reason: str) -> Trace:
    text = f"no policy and no setting is advised, because {reason}"
    bare = tuple(replace(finding, remedies=()) for finding in trace.findings)
    return replace(trace, findings=bare, warnings=(*trace.warnings, RunWarning(kind="not-tried", message=text)))


def _added(setting: Setting, parameter: str) -> dict[str, str | None] | None:
    """Return a parameter as ``vary`` takes it; None if the setting says that already, or its kernel has no such."""
    name, _, value = parameter.partition("=")
    if name == "workqueue.default_affinity_scope" and not setting.kernel.has_affinity_scopes:
        return None
    known = CommandLine.parse(setting.cmdline).get(name)
    if name == "driver_async_probe" and known:
        value = ",".join(dict.fromkeys([*known.split(","), *value.split(",")]))
    return None if value == known else {name: value}
