"""Which setting of a stock kernel would help most hosts: ``advise``, asked once for each class of machines.

A *class* are the hosts with the same peers, kernel and settings. Its host whose makespan is the median stands for it:
its trace is taken from the dataset and repeated, and ``advise`` searches. What it recommends is then run on replays of
other hosts of the class, drawn evenly over their makespans: that it helps there, too, is counted and not assumed. Then
each setting has a number of hosts: of every class that it helped, the share of its looked-at hosts that it helped.

What a replay cannot know (``docs/replay.md``) is open here as well: a gain is the least that any reading leaves.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from numaprobe.errors import InputError, NumaprobeError
from numaprobe.records.json_codec import probe_from_json, trace_from_json
from numaprobe.records.parquet import COLUMNS as PROBE_COLUMNS
from numaprobe.study.advise import Around, Trials, advise, goal_of
from numaprobe.study.advise.search import STEP
from numaprobe.study.fleet.answer import FleetAnswer
from numaprobe.study.settings import make_setting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numaprobe.datasets import Views
    from numaprobe.records import Trace
    from numaprobe.study.advise import Advice, Recommendation
    from numaprobe.study.fleet.figures import RunSelection

#: Classes that are looked at, the largest first, and hosts of each beside the one that stands for it.
MAX_CLASSES: Final = 12
MORE_HOSTS: Final = 4
#: Of the time for a class, the search may take this share; the rest is for the other hosts.
_FOR_SEARCH: Final = 0.6
_JSON_FIELDS: Final = ("memory", "waits")
_FIELDS: Final = tuple(name for name in PROBE_COLUMNS if name != "segments")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassAdvice:
    """What a class of machines is advised."""

    peers: str
    kernel: str | None
    cmdline: str | None
    hosts: int
    #: the host that stands for the class
    example: str
    #: what to set, as tables call it; empty: nothing helps
    names: tuple[str, ...]
    #: the lines to write: where, and what
    lines: tuple[tuple[str, str], ...]
    #: of the example's makespan, percent: the least and the most that is gained
    gain_percent: tuple[float, float]
    #: the gain is there under every reading
    sure: bool
    #: hosts of the class on which it was run besides, and those of them that gained by it
    looked_at: int
    helped: int
    #: what ``advise`` says in a sentence; or why it could not be asked
    verdict: str

    @property
    def hosts_helped(self) -> float:
        """Hosts of the class that it would help, by the share of those that were looked at (the example is one)."""
        return self.hosts * (1 + self.helped) / (1 + self.looked_at) if self.names else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "peers": self.peers,
            "kernel": self.kernel,
            "cmdline": self.cmdline,
            "hosts": self.hosts,
            "example": self.example,
            "settings": list(self.names),
            "lines": [{"where": where, "line": line} for where, line in self.lines],
            "gain_percent": [round(end, 2) for end in self.gain_percent],
            "sure": self.sure,
            "looked_at": self.looked_at,
            "helped": self.helped,
            "hosts_helped": round(self.hosts_helped, 1),
            "verdict": self.verdict,
        }


@dataclass(frozen=True, slots=True)
class _Host:
    """One host's last run."""

    input: str
    run: int
    name: str
    day: str | None


@dataclass(slots=True)
class _Class:
    """Hosts that are asked about together, by makespan."""

    peers: str
    kernel: str | None
    cmdline: str | None
    hosts: list[_Host]

    @property
    def middle(self) -> int:
        return (len(self.hosts) - 1) // 2

    def others(self) -> list[_Host]:
        """Return some hosts beside the middle one, spread over all makespans."""
        rest = [host for place, host in enumerate(self.hosts) if place != self.middle]
        count = min(MORE_HOSTS, len(rest))
        return [rest[(2 * number + 1) * len(rest) // (2 * count)] for number in range(count)]


def settings_that_help(
    views: Views, chosen: RunSelection, *, seconds: float, told: Callable[[str], object] | None = None
) -> FleetAnswer:
    """Return what each class of machines is advised, the setting that helps most hosts first.

    Raises:
        InputError: no run is selected.

    """
    classes = _classes(views, chosen)
    if not classes:
        raise InputError("no run that can be repeated is like that: none tells its machine")
    looked_at = classes[:MAX_CLASSES]
    deadline = time.monotonic() + seconds
    rows: list[ClassAdvice] = []
    for number, one in enumerate(looked_at):
        if rows and time.monotonic() >= deadline:
            break
        if told is not None:
            told(f"{one.peers}, kernel {one.kernel or 'unknown'}")
        share = max(deadline - time.monotonic(), 0.5) / (len(looked_at) - number)
        rows.append(_advised(views, one, share))
    hosts = sum(len(one.hosts) for one in classes)
    left = classes[len(rows) :]
    limits = ["gains are of replays in virtual time: try a setting on one host of the class first, and see (verify)"]
    if left:
        why = "" if len(rows) == len(looked_at) else ": the time was over (--for)"
        these = "1 smaller class" if len(left) == 1 else f"{len(left)} smaller classes"
        limits.append(f"{these} with {sum(len(one.hosts) for one in left)} hosts were not looked at{why}")
    days = [host.day for one in classes for host in one.hosts if host.day]
    rows.sort(key=lambda row: (-row.hosts_helped, -row.hosts, row.peers, row.kernel or ""))
    return FleetAnswer(
        question="settings",
        verdict=_verdict(rows, hosts),
        hosts=hosts,
        runs=hosts,
        days=(min(days), max(days)) if days else (None, None),
        rows=rows,
        limits=tuple(limits),
    )


def _verdict(rows: Sequence[ClassAdvice], hosts: int) -> str:
    helped: dict[tuple[str, ...], float] = defaultdict(float)
    for row in rows:
        if row.names and row.sure:
            helped[row.names] += row.hosts_helped
    if not helped:
        hopeful = [row for row in rows if row.names]
        if not hopeful:
            asked = "the one class" if len(rows) == 1 else f"any of the {len(rows)} classes"
            return f"no setting of a stock kernel would help {asked} of machines that was looked at"
        return f"no setting is sure to help; {', '.join(hopeful[0].names)} may (see the rows)"
    names, count = max(helped.items(), key=lambda item: item[1])
    classes = sum(row.names == names for row in rows)
    noun = "class" if classes == 1 else "classes"
    return f"{', '.join(names)} would help about {count:.0f} of {hosts} hosts ({classes} {noun} of machines)"


def _classes(views: Views, chosen: RunSelection) -> list[_Class]:
    answer = views.ask(
        f"""SELECT peers, kernel, cmdline, input, run, coalesce(host, host_key), day FROM ({chosen.chosen()})
            WHERE header IS NOT NULL AND machine_hash IS NOT NULL AND makespan_ns IS NOT NULL
            ORDER BY makespan_ns, run""",  # noqa: S608  our own words
        chosen.values,
    )
    found: dict[tuple[str, str | None, str | None], _Class] = {}
    for peers, kernel, cmdline, where, run, name, day in answer.rows:
        one = found.setdefault((peers, kernel, cmdline), _Class(peers, kernel, cmdline, []))
        one.hosts.append(_Host(where, run, name, day))
    return sorted(found.values(), key=lambda one: (-len(one.hosts), one.peers, one.kernel or "", one.cmdline or ""))


def _advised(views: Views, one: _Class, seconds: float) -> ClassAdvice:
    example = one.hosts[one.middle]
    nothing = ClassAdvice(
        peers=one.peers,
        kernel=one.kernel,
        cmdline=one.cmdline,
        hosts=len(one.hosts),
        example=example.name,
        names=(),
        lines=(),
        gain_percent=(0.0, 0.0),
        sure=False,
        looked_at=0,
        helped=0,
        verdict="",
    )
    deadline = time.monotonic() + seconds
    try:
        advice = _advice(load_run(views, example.input, example.run, example.day), seconds * _FOR_SEARCH)
    except NumaprobeError as error:
        return replace(nothing, verdict=f"cannot be repeated: {error}")
    best = advice.recommended or advice.hopeful
    if best is None:
        return replace(nothing, verdict=advice.verdict)
    looked_at, helped = 0, 0
    for host in one.others():
        if time.monotonic() > deadline:
            break
        looked_at += 1
        helped += _helps(views, host, best)
    base = advice.base.makespan_ns or 1
    return replace(
        nothing,
        names=tuple(best.names),
        lines=tuple((line.where, line.text) for line in best.lines),
        gain_percent=(100 * best.gain_ns[0] / base, 100 * best.gain_ns[1] / base),
        sure=best.sure,
        looked_at=looked_at,
        helped=helped,
        verdict=advice.verdict,
    )


def _advice(trace: Trace, seconds: float) -> Advice:
    return advise(
        make_setting(trace), recorded=trace, around=Around(), goal=goal_of(None, trace), seconds=max(seconds, 0.1)
    )


def _helps(views: Views, host: _Host, best: Recommendation) -> bool:
    """Tell whether what helped one host helps another: it gains time, or loses none and more probes are on node."""
    try:
        trace = load_run(views, host.input, host.run, host.day)
        trials = Trials(_stock(trace), goal_of(None, trace))
        trial = trials.run(best.trial.selection)
    except NumaprobeError:
        return False
    gain = trial.gain(trials.base)[0 if best.sure else 1]
    step = trials.base.worth(STEP)
    return not trial.broken and (gain >= step or (gain > -step and trial.remote < trials.base.remote))


def _stock(trace: Trace) -> Any:  # noqa: ANN401  a Setting
    from numaprobe.study.advise.candidates import as_a_stock_kernel

    return as_a_stock_kernel(make_setting(trace))


def load_run(views: Views, where: str, run: int, day: str | None) -> Trace:
    """Return the trace of a run, as far as the dataset holds it: all but its segments.

    Raises:
        InputError: its header was too large to be kept, or is damaged.

    """
    of_day = ("day = ?", [day]) if day is not None else ("day IS NULL", [])
    words = f"input = ? AND run = ? AND {of_day[0]}"
    values = [where, run, *of_day[1]]
    found = views.ask(f"SELECT header FROM runs WHERE {words}", values)  # noqa: S608  our own words
    if not found.rows or found.rows[0][0] is None:
        raise InputError("its machine and its boot are too large to be kept in a dataset", f"run {run}")
    try:
        header = json.loads(found.rows[0][0])
    except ValueError:
        raise InputError("its header is damaged", f"run {run}") from None
    columns = ", ".join(f'"{name}"' for name in _FIELDS)
    answer = views.ask(f"SELECT {columns} FROM probes WHERE {words}", values)  # noqa: S608
    probes = []
    for number, row in enumerate(answer.dicts()):
        for name in _JSON_FIELDS:
            row[name] = json.loads(row[name]) if row[name] is not None else None
        probes.append(probe_from_json({**row, "segments": None}, f"run {run}: probe {number}"))
    trace = trace_from_json({**header, "probes": [], "findings": []})
    return replace(trace, probes=tuple(sorted(probes, key=lambda one: (one.start_ns is None, one.start_ns or 0))))
