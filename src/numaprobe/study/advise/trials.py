"""Selections, run: what each comes to, kept by selection so that none is run twice.

A trial keeps figures and no records: thousands of probes under hundreds of selections would not fit. Where something is
in doubt a run has one pair of figures for each reading of it (``records.Reading``), and two trials are compared reading
by reading: what is true of the one is true of the other.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from numaprobe.analysis import summarize
from numaprobe.analysis.sweep import coverage
from numaprobe.errors import NumaprobeError
from numaprobe.scenario import ReadAs, read_setting, run_setting
from numaprobe.study.advise.choices import Selection, with_choices
from numaprobe.study.advise.goal import Goal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numaprobe.records import Milestone, Trace
    from numaprobe.scenario import Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What one selection comes to. Times in ns."""

    selection: Selection
    #: what was measured (``Goal``): the makespan, or when the moment came
    makespan_ns: int
    #: of a makespan: time in which some probe was under way; the rest is pauses, which no setting shortens. Of a
    #: moment: all until then
    probing_ns: int
    worst_ns: int
    worst_device: str
    #: reading -> makespan, worst; empty: nothing is in doubt
    readings: dict[str, tuple[int, int]]
    #: probes that started on their device's node, and all of which that can be said
    local: int
    placed: int
    #: the ground is shaky: that nothing is gained is possible, too
    doubted: bool = False
    #: of a boot: when its milestones were reached
    milestones: tuple[Milestone, ...] = ()
    #: reading -> milestone -> when it was reached; empty: nothing is in doubt, or the goal is no moment
    moments: dict[str, dict[str, int]] = field(default_factory=dict)
    #: why it is no choice at all: a deadlock, a check that fails, a device that is not bound in the end; "": it is one
    broken: str = ""

    @property
    def names(self) -> list[str]:
        """The choices, as tables call them."""
        return [choice.name for choice in self.selection]

    @property
    def name(self) -> str:
        """All of them in one text."""
        return ", ".join(self.names) or "as it is"

    @property
    def remote(self) -> int:
        """Probes that started on another node than their device's."""
        return self.placed - self.local

    def worth(self, share: float) -> int:
        """Return this share of ``probing_ns``, in ns; never nothing."""
        return max(1, round(share * self.probing_ns))

    def makespan_range(self) -> tuple[int, int]:
        """Return the least and the most that the makespan can be."""
        return _ends((makespan for makespan, _ in self.readings.values()), self.makespan_ns)

    def worst_range(self) -> tuple[int, int]:
        """Return the least and the most that the slowest probe can cost."""
        return _ends((worst for _, worst in self.readings.values()), self.worst_ns)

    def milestone_range(self, one: Milestone) -> tuple[int, int]:
        """Return the earliest and the latest that a milestone can be reached."""
        return _ends((found[one.name] for found in self.moments.values() if one.name in found), one.time_ns)

    def earlier(self, base: Trial, name: str) -> tuple[int, int] | None:
        """Return by how much a milestone comes before the base's, ns, reading by reading: at least, at most.

        None: one of them does not reach it.
        """
        before, after = ({each.name: each.time_ns for each in trial.milestones} for trial in (base, self))
        if name not in before or name not in after:
            return None
        shifts = [
            base.moments.get(reading, before).get(name, before[name]) - found[name]
            for reading, found in self.moments.items()
            if name in found
        ]
        return _ends(shifts, before[name] - after[name])

    def gain(self, base: Trial) -> tuple[int, int]:
        """Return by how much the makespan is shorter than the base's, reading by reading: at least, at most.

        A reading may make both longer, as a slower boot does: what counts is the share, of the base as it is expected.
        """
        pairs = [
            (base.readings.get(name, (base.makespan_ns, 0))[0], makespan)
            for name, (makespan, _) in self.readings.items()
        ]
        shares = ((before - after) / before if before else 0.0 for before, after in pairs)
        gains = [round(share * base.makespan_ns) for share in shares]
        least, most = _ends(gains, base.makespan_ns - self.makespan_ns)
        return min(least, 0) if self.doubted else least, most


def _ends(values: Iterable[int], alone: int) -> tuple[int, int]:
    known = list(values)
    return (min(known), max(known)) if known else (alone, alone)


class Trials:
    """Runs selections of one setting.

    Args:
        setting: as it is.
        goal: what is measured of each; None: the makespan.
        doubted: no gain is sure, whatever the runs say.

    """

    def __init__(self, setting: Setting, goal: Goal | None = None, *, doubted: bool = False) -> None:
        self._setting = setting
        self._goal = goal or Goal()
        self._doubted = doubted
        self._known: dict[Selection, Trial] = {}
        #: selections that were run
        self.runs = 0
        start = time.monotonic()
        self.base_trace = self.trace(())
        #: that a run takes
        self.seconds = time.monotonic() - start
        self.base = self._figures((), self.base_trace, "")
        self._known[()] = self.base

    def trace(self, selection: Selection) -> Trace:
        """Return the records of a selection.

        Raises:
            NumaprobeError: it cannot be run.

        """
        self.runs += 1
        return run_setting(with_choices(self._setting, selection)).trace

    def run(self, selection: Selection) -> Trial:
        """Return what a selection comes to; one that cannot be run is broken."""
        if selection not in self._known:
            self._known[selection] = self._run(selection)
        return self._known[selection]

    def all(self) -> list[Trial]:
        """Return everything that was run, the base first."""
        return list(self._known.values())

    def knows(self, selection: Selection) -> bool:
        """Tell whether a selection was run already."""
        return selection in self._known

    def _run(self, selection: Selection) -> Trial:
        try:
            trace = self.trace(selection)
        except NumaprobeError as error:
            return Trial(
                selection=selection,
                makespan_ns=self.base.makespan_ns,
                probing_ns=self.base.probing_ns,
                worst_ns=self.base.worst_ns,
                worst_device=self.base.worst_device,
                readings={},
                local=self.base.local,
                placed=self.base.placed,
                broken=str(error),
            )
        late = "" if self._goal.reached(trace) is not None else f"{self._goal.name} is not reached"
        return self._figures(selection, trace, late or _broken(self.base_trace, trace))

    def _figures(self, selection: Selection, trace: Trace, broken: str) -> Trial:
        summary = summarize(trace)
        reached = self._goal.reached(trace) or 0
        runs = self._runs(selection, trace)
        return Trial(
            selection=selection,
            makespan_ns=reached,
            probing_ns=reached if self._goal.is_moment else _probing(trace),
            worst_ns=summary.worst_ns or 0,
            worst_device=summary.worst_device or "",
            readings=self._readings(trace, runs),
            moments={name: {one.name: one.time_ns for one in run.milestones} for name, run in runs.items()},
            local=summary.local,
            placed=summary.local + summary.remote,
            doubted=self._doubted,
            milestones=trace.milestones,
            broken=broken,
        )

    def _runs(self, selection: Selection, trace: Trace) -> dict[str, Trace]:
        """Return a run for each reading of a moment, as records tell spans only; empty: no moment, or no doubt."""
        if not self._goal.is_moment:
            return {}
        setting = with_choices(self._setting, selection)
        return {
            one.name: trace if one.name == ReadAs.EXPECTED else read_setting(setting, read=ReadAs(one.name)).trace
            for one in trace.readings
        }

    def _readings(self, trace: Trace, runs: dict[str, Trace]) -> dict[str, tuple[int, int]]:
        """Return makespan, or when the moment came, and worst under each reading."""
        found = {}
        for one in trace.readings:
            first = self._goal.reached(runs[one.name]) if one.name in runs else one.makespan_ns
            found[one.name] = (first or 0, one.worst_ns or 0)
        return found


def _probing(trace: Trace) -> int:
    return coverage((one.start_ns or 0, one.end_ns or 0) for one in trace.probes).union_ns


def _broken(base: Trace, trace: Trace) -> str:
    """Say what a selection breaks that was whole before; "": nothing."""
    known = {warning.message for warning in base.warnings if warning.kind in {"check", "deadlock"}}
    for warning in trace.warnings:
        if warning.kind in {"check", "deadlock"} and warning.message not in known:
            return warning.message
    lost = _bound(base) - _bound(trace)
    return f"{min(lost)} is not bound in the end" if lost else ""


def _bound(trace: Trace) -> set[str]:
    return {record.device for record in trace.probes if record.bound}
