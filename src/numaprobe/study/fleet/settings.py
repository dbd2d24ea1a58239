"""Which setting of a stock kernel would help most hosts: ``advise``, asked once for each class of machines.

A *class* are the hosts with the same peers, kernel and settings. Its host whose makespan is the median stands for it:
its trace is taken from the dataset and repeated, and ``advise`` searches. What it recommends is then run on replays of
other hosts of the class, drawn evenly over their makespans: that it helps there, too, is counted and not assumed. Then
each setting has a number of hosts: of every class that it helped, the share of its looked-at hosts that it helped.

What a class was advised is kept (``advised``), so that a search is made once for each class and not for each question.

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
from numaprobe.study.fleet.advised import AdvisedClasses, ClassAdvice
from numaprobe.study.fleet.answer import FleetAnswer
from numaprobe.study.settings import make_setting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numaprobe.datasets import Views
    from numaprobe.records import Trace
    from numaprobe.study.advise import Advice, Recommendation
    from numaprobe.study.fleet.advised import KeptAdvice
    from numaprobe.study.fleet.figures import RunSelection

#: Classes that are looked at, the largest first, and hosts of each beside the one that stands for it.
MAX_CLASSES: Final = 12
MORE_HOSTS: Final = 4
#: A class is not given less than this, as long as there is time: a search that is cut short helps nobody.
LEAST_SECONDS: Final = 5.0
#: Of the time for a class, the search may take this share; the rest is for the other hosts.
_FOR_SEARCH: Final = 0.6
_JSON_FIELDS: Final = ("memory", "waits")
_FIELDS: Final = tuple(name for name in PROBE_COLUMNS if name != "segments")


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
    def key(self) -> tuple[str, str | None, str | None]:
        return self.peers, self.kernel, self.cmdline

    @property
    def middle(self) -> int:
        return (len(self.hosts) - 1) // 2

    def others(self) -> list[_Host]:
        """Return some hosts beside the middle one, spread over all makespans."""
        rest = [host for place, host in enumerate(self.hosts) if place != self.middle]
        count = min(MORE_HOSTS, len(rest))
        return [rest[(2 * number + 1) * len(rest) // (2 * count)] for number in range(count)]


def settings_that_help(
    views: Views,
    chosen: RunSelection,
    *,
    folder: str | None = None,
    seconds: float,
    told: Callable[[str], object] | None = None,
) -> FleetAnswer:
    """Return what each class of machines is advised, the setting that helps most hosts first.

    Args:
        views: of the dataset.
        chosen: the runs that are looked at.
        folder: the dataset, where answers are kept; None: every class is searched.
        seconds: what all searches may take together.
        told: called with each class that is searched.

    Raises:
        InputError: no run is selected.

    """
    classes = _classes(views, chosen)
    if not classes:
        raise InputError("no run that can be repeated is like that: none tells its machine")
    asking = _Asking(views, None if folder is None else AdvisedClasses(folder), time.monotonic() + seconds, told)
    rows = asking.all(classes[:MAX_CLASSES])
    hosts = sum(len(one.hosts) for one in classes)
    days = [host.day for one in classes for host in one.hosts if host.day]
    rows.sort(key=lambda row: (-row.hosts_helped, -row.hosts, row.peers, row.kernel or ""))
    return FleetAnswer(
        question="settings",
        verdict=_verdict(rows, hosts),
        hosts=hosts,
        runs=hosts,
        days=(min(days), max(days)) if days else (None, None),
        rows=rows,
        limits=tuple(_limits(classes, rows, asking.kept())),
    )


def _limits(classes: Sequence[_Class], rows: Sequence[ClassAdvice], kept: str | None) -> Iterator[str]:
    yield "gains are of replays in virtual time: try a setting on one host of the class first, and see (verify)"
    for row in rows:
        if not row.repeatable:
            yield f"{row.peers}, kernel {row.kernel or 'unknown'}: {row.verdict}"
    seen = {(row.peers, row.kernel, row.cmdline) for row in rows}
    left = [one for one in classes if one.key not in seen]
    if cut := sum(not row.complete for row in rows):
        these = "1 class" if cut == 1 else f"{cut} classes"
        yield f"of {these} the search was cut short by its time: a longer --for may find more"
    if left:
        over = min(len(classes), MAX_CLASSES) > len(rows)
        why = ": the time was over; ask again, or with a longer --for (what was found is kept)" if over else ""
        these = "1 class" if len(left) == 1 else f"{len(left)} classes"
        yield f"{these} with {sum(len(one.hosts) for one in left)} hosts were not looked at{why}"
    if kept is not None:
        yield f"what was found is not kept for the next time: {kept}"


class _Asking:
    """Asks about classes: first what is kept, then those never searched, then those whose search was cut short.

    Args:
        views: of the dataset.
        advised: what it keeps.
        deadline: of ``time.monotonic``; no search begins after it, except the first.
        told: called with each class that is searched.

    """

    def __init__(
        self, views: Views, advised: AdvisedClasses | None, deadline: float, told: Callable[[str], object] | None
    ) -> None:
        self._views = views
        self._advised = advised
        self._deadline = deadline
        self._told = told

    def all(self, classes: Sequence[_Class]) -> list[ClassAdvice]:
        """Return what the classes are advised, as far as the time allows."""
        found = {one.key: kept for one in classes if (kept := self._known(one)) is not None}
        never = [one for one in classes if one.key not in found]
        cut = [one for one in classes if one.key in found and not found[one.key].advice.complete]
        rows = {key: kept.advice for key, kept in found.items()}
        todo = [*never, *cut]
        for number, one in enumerate(todo):
            left = self._deadline - time.monotonic()
            if rows and left <= 0:
                break
            seconds = max(left / (len(todo) - number), min(left, LEAST_SECONDS))
            if one.key in found and seconds <= found[one.key].seconds:
                continue
            rows[one.key] = self._search(one, seconds)
        return list(rows.values())

    def kept(self) -> str | None:
        """Keep what was found; return why it cannot be, or None."""
        return None if self._advised is None else self._advised.write()

    def _known(self, one: _Class) -> KeptAdvice | None:
        if self._advised is None:
            return None
        kept = self._advised.find(*one.key, {host.name for host in one.hosts})
        return kept and replace(kept, advice=replace(kept.advice, hosts=len(one.hosts)))

    def _search(self, one: _Class, seconds: float) -> ClassAdvice:
        if self._told is not None:
            self._told(f"{one.peers}, kernel {one.kernel or 'unknown'}")
        advice = _advised(self._views, one, seconds)
        if self._advised is not None:
            self._advised.add(advice, seconds)
        return advice


def _verdict(rows: Sequence[ClassAdvice], hosts: int) -> str:
    helped: dict[tuple[str, ...], float] = defaultdict(float)
    for row in rows:
        if row.names and row.sure:
            helped[row.names] += row.hosts_helped
    if not helped:
        hopeful, repeated = [row for row in rows if row.names], sum(row.repeatable for row in rows)
        if not repeated:
            return "none of the classes of machines that were looked at can be repeated (see what limits this)"
        if not hopeful:
            asked = "the one class" if repeated == 1 else f"any of the {repeated} classes"
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
        peers=one.peers, kernel=one.kernel, cmdline=one.cmdline, hosts=len(one.hosts), example=example.name
    )
    deadline = time.monotonic() + seconds
    try:
        advice = _advice(load_run(views, example.input, example.run, example.day), seconds * _FOR_SEARCH)
    except NumaprobeError as error:
        return replace(nothing, verdict=f"cannot be repeated: {error}", repeatable=False)
    best = advice.recommended or advice.hopeful
    if best is None:
        return replace(nothing, verdict=advice.verdict, complete=not advice.searched.timed_out)
    looked_at, helped, others = 0, 0, one.others()
    for host in others:
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
        complete=not advice.searched.timed_out and looked_at == len(others),
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
