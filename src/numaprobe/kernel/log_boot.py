"""The probes of one boot, gathered from what its log says of them line by line.

A probe may be told by ``returned … after … usecs`` (outcome and cost), by dyndbg (begin, driver, end), or both: then it
is one record. What a number means and which driver it is may show only later in the log, so that records are made when
the boot's log is over.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from numaprobe.kernel.log_dialect import Evidence
from numaprobe.kernel.log_drivers import SLACK_NS, Names, keep
from numaprobe.kernel.log_timeline import Timeline
from numaprobe.kernel.probe_lines import LineKind, ProbeLine
from numaprobe.kernel.probes import UNNAMED
from numaprobe.records import ProbeRecord
from numaprobe.records.errnos import EPROBE_DEFER, errno_name, errno_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.kernel.log_drivers import OpenInitcall

FUNCTION: Final = "really_probe"
#: Devices that one warning names.
MAX_NAMED: Final = 8


@dataclass(slots=True, eq=False, kw_only=True)
class Told:
    """One probe as the log tells it."""

    device: str
    cost_ns: int
    #: None: no line names it
    driver: str | None = None
    #: the driver that goes on with the device after the probe: its own, if it was bound
    after: str | None = None
    bus: str | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    #: of ``returned``
    number: int | None = None
    #: the errno that a line about it names; 0 = a line says bound
    said: int | None = None
    #: how it was reached, where it was asynchronous
    path: str | None = None
    #: the initcall that it ran in: where nothing else names the driver
    around: OpenInitcall | None = None
    #: a printk line of the threads, ready as it is
    ready: ProbeRecord | None = None


@dataclass(slots=True)
class _OpenCall:
    """A probe that dyndbg saw begin."""

    driver: str | None
    bus: str | None
    start_ns: int | None
    path: str | None
    end_ns: int | None = None
    #: as in ``Told``
    said: int | None = None


@dataclass(slots=True)
class Boot:
    """What the log of one boot has said so far."""

    #: what its log names
    release: str | None = None
    evidence: Evidence = field(default_factory=Evidence)
    names: Names = field(default_factory=Names)
    timeline: Timeline = field(default_factory=Timeline)
    told: list[Told] = field(default_factory=list)
    #: devices whose probes are named, but not how long they took
    untimed: dict[str, str] = field(default_factory=dict)
    #: probes that began and did not end, and the first of them: device and driver
    unfinished: int = 0
    unfinished_probes: list[tuple[str, str]] = field(default_factory=list)
    #: probes named after the initcall around them
    assumed_drivers: int = 0
    _open: dict[str, _OpenCall] = field(default_factory=dict)
    _said: dict[str, ProbeLine] = field(default_factory=dict)
    _later: dict[str, ProbeLine] = field(default_factory=dict)
    _last: dict[str, Told] = field(default_factory=dict)
    #: what a number means, and what a line said beside it: once the log is over
    _results: dict[tuple[int | None, int | None], str] = field(default_factory=dict)

    # ---- line by line ------------------------------------------------------------------------------------------------
    def initcall(self, text: str, time_ns: int | None) -> bool:
        """Take the line that an initcall begins or ends with; tell whether it is one, whole."""
        if not self.names.initcall(text):
            return False
        self.timeline.initcall(text, time_ns)
        return True

    def said(self, text: str, time_ns: int | None) -> None:
        """Take a line about anything else."""
        self.names.named(text, time_ns)
        self.timeline.said(text, time_ns)

    def probe_line(self, said: ProbeLine, time_ns: int | None, caller: str | None) -> None:
        """Take what a line says of a probe, when it was printed and by which task."""
        kind = said.kind
        if kind is LineKind.RETURNED:
            self._returned(said, time_ns, caller)
            return
        self.evidence.new += said.recent
        if kind is LineKind.PROBING:
            self._probing(said, time_ns)
        elif kind is LineKind.FAILED:
            self._failed(said, time_ns)
        elif kind is LineKind.ASYNC:
            keep(self._later, said.device, said)
        else:
            self._bound(said, time_ns)

    def _probing(self, said: ProbeLine, time_ns: int | None) -> None:
        self._leave(said.device)
        self._said.pop(said.device, None)
        later = self._later.pop(said.device, None)
        begun = _OpenCall(said.driver, said.bus, time_ns, later.path if later else None)
        keep(self._open, said.device, begun)

    def _bound(self, said: ProbeLine, time_ns: int | None) -> None:
        if (begun := self._open.get(said.device)) is None:
            keep(self.untimed, said.device, said.driver or UNNAMED)
        elif begun.driver == said.driver and not begun.said:  # else bound by hand, as phylib does: no probe
            begun.end_ns, begun.said = time_ns, 0

    def _failed(self, said: ProbeLine, time_ns: int | None) -> None:
        keep(self._said, said.device, said)
        if (begun := self._open.get(said.device)) is not None:
            begun.end_ns, begun.said = time_ns, said.number
        else:
            keep(self.untimed, said.device, said.driver or UNNAMED)

    def _returned(self, said: ProbeLine, end: int | None, caller: str | None) -> None:
        device, cost = said.device, (said.cost_ns or 0)
        start = end - cost if end is not None and end >= cost else None
        begun = self._open.pop(device, None) if self._open else None
        outcome = self._said.pop(device, None) if self._said else None
        later = self._later.pop(device, None) if self._later else None
        self.untimed.pop(device, None)
        around = self.names.around(caller)
        number = said.number or 0
        before = self._last.get(device)
        retried = before is not None and abs(before.number or before.said or 0) == errno_value(EPROBE_DEFER)
        self.timeline.probed(device, around, caller, retried=retried)
        self.evidence.saw(number, said=outcome.number if outcome else None, recent=said.recent)
        if begun is not None and begun.said == 0 and number in (0, 1):
            self.evidence.old += number == 1
            self.evidence.new += number == 0
        driver = said.driver or (begun.driver if begun else None) or (outcome.driver if outcome else None)
        told = Told(
            device=device,
            driver=driver or (later.driver if later else None) or self._word(device, start),
            bus=begun.bus if begun else None,
            cost_ns=cost,
            start_ns=start,
            end_ns=end if start is not None else None,
            number=number,
            said=outcome.number if outcome else None,
            path=(begun.path if begun else None) or (later.path if later else None),
            around=around,
        )
        if told.path is None and around is not None and caller is not None:
            told.path = around.path
        self._add(told)

    def _word(self, device: str, start: int | None) -> str | None:
        """Return the driver that messages named during this probe; an earlier one names the probe before."""
        found = self.names.word(device)
        if found is None:
            return None
        word, time = found
        if start is None or time is None or time >= start - SLACK_NS:
            return word
        self._name_last(device, word)
        return None

    def _name_last(self, device: str, word: str) -> None:
        if (before := self._last.get(device)) is not None:
            before.after = word

    def _add(self, told: Told) -> None:
        self.told.append(told)
        keep(self._last, told.device, told)

    def _leave(self, device: str) -> None:
        """A probe that dyndbg saw begin is told by no other line: make do with what there is."""
        begun = self._open.pop(device, None)
        if begun is None:
            return
        if begun.said is None:
            self.unfinished += 1
            if len(self.unfinished_probes) < MAX_NAMED:
                self.unfinished_probes.append((device, begun.driver or UNNAMED))
        elif begun.start_ns is None or begun.end_ns is None or begun.end_ns < begun.start_ns:
            keep(self.untimed, device, begun.driver or UNNAMED)
        else:
            told = Told(
                device=device,
                driver=begun.driver,
                bus=begun.bus,
                cost_ns=begun.end_ns - begun.start_ns,
                start_ns=begun.start_ns,
                end_ns=begun.end_ns,
                said=begun.said,
                path=begun.path,
            )
            self._add(told)

    # ---- at the end --------------------------------------------------------------------------------------------------
    def records(self) -> Iterator[ProbeRecord]:
        """Return the boot's records; its log is over."""
        for device in list(self._open):
            self._leave(device)
        for device, (word, _) in self.names.words().items():
            self._name_last(device, word)
            self.evidence.alive |= device in self._last and self._last[device].number == 0
        self._drop_children()
        self._results.clear()
        deferred: dict[str, tuple[int, str | None]] = {}
        for told in self.told:
            yield told.ready or self._record(told, deferred)

    def _record(self, told: Told, deferred: dict[str, tuple[int, str | None]]) -> ProbeRecord:
        """Return the record; ``deferred``: the attempts so far of devices that asked for a later one; their drivers."""
        device = told.device
        said = told.said or 0
        outcome = told.number, told.said
        if (result := self._results.get(outcome)) is None:
            result = errno_name(said) if told.number is None else self.evidence.result(told.number, told.said)
            self._results[outcome] = result
        attempts, before = deferred.pop(device, (0, None))
        driver = told.driver or (told.after if result == "0" else None)
        assumed = told.around.driver if told.around else None
        self.assumed_drivers += driver is None and (assumed or before) is not None
        driver = driver or before or assumed  # a device that asked for a later try is probed by the same driver
        if result == EPROBE_DEFER:
            deferred[device] = attempts + 1, driver
        return ProbeRecord(
            device=device,
            driver=driver or UNNAMED,
            bus=told.bus or self.names.bus(device),
            asynchronous=True if told.path else None,
            result=result,
            cost_ns=told.cost_ns,
            start_ns=told.start_ns,
            end_ns=told.end_ns,
            function=FUNCTION,
            path=told.path,
            attempt=attempts + 1,
        )

    def _drop_children(self) -> None:
        """Take the initcall from a probe inside another one of the same: a child has a driver of its own."""
        inside: dict[int, list[Told]] = defaultdict(list)
        for told in self.told:
            if told.around is None or told.start_ns is None:
                continue
            before = inside[told.around.serial]
            while before and (before[-1].start_ns or 0) > told.start_ns:
                before.pop().around = None
            before.append(told)
