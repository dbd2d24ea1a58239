"""The prepared questions: each is a function of the dataset's views, and gives a ``FleetAnswer``."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis.fleet import FindingShare, compare_hosts, find_slow_places, find_unlike, slowness_seen
from numaprobe.analysis.fleet.unlike import LEAST_PEERS, company
from numaprobe.datasets import Views, is_dataset
from numaprobe.errors import InputError, UnknownNameError, UsageError
from numaprobe.extras import need
from numaprobe.study.fleet.answer import DriverTotal, FleetAnswer
from numaprobe.study.fleet.collect import KIND
from numaprobe.study.fleet.figures import RunSelection, figures_of, selection
from numaprobe.study.fleet.settings import settings_that_help

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numaprobe.analysis.fleet import SlownessSeen
    from numaprobe.study.fleet.figures import FleetFigures

#: question -> what it asks
QUESTIONS: Final = {
    "slow": "which drivers are slow, and on which kernel, firmware, node or product",
    "outliers": "which hosts are unlike their peers, and in what",
    "changes": "what changed between two days, kernels, labels",
    "findings": "which findings how many hosts have",
    "settings": "which setting would help most hosts",
}
#: Seconds of a search, unless one says otherwise: every prepared question is to be answered within two.
PATIENCE_S: Final = 1.0
#: Hosts that a finding names.
_EXAMPLES: Final = 3
#: A driver that is so many times as slow should be told of any host; where it is not, that is said, of so many.
_BLIND: Final = 3.0
_BLIND_SHOWN: Final = 3
#: Drivers and peers that a finding counts.
_COUNTED: Final = 4


def ask_fleet(
    question: str,
    dataset: str,
    *,
    only: Sequence[str] = (),
    before: Sequence[str] = (),
    after: Sequence[str] = (),
    seconds: float = PATIENCE_S,
    told: Callable[[str], object] | None = None,
) -> FleetAnswer:
    """Return the answer to a prepared question.

    Args:
        question: one of ``QUESTIONS``.
        dataset: what ``collect`` made.
        only: ``KEY=VALUE``: the runs that are looked at; see ``figures.selection``.
        before: of ``changes``: the runs of one side; none: the day before the last.
        after: of the other; none: the last day.
        seconds: of ``settings``: what searching the classes that nobody asked about before may take.
        told: of ``settings``: called with what is looked at.

    Raises:
        UnknownNameError: there is no such question.
        UsageError: a word chooses no runs, or sides are given for another question.
        InputError: it is no fleet's dataset, or no run is selected.

    """
    if question not in QUESTIONS:
        raise UnknownNameError("question", question, QUESTIONS)
    if (before or after) and question != "changes":
        raise UsageError(f"--before and --after are for 'changes'; for '{question}' choose runs with --only")
    with fleet_views(dataset) as views:
        if question == "changes":
            return _changes(views, only, before, after)
        if question == "settings":
            return settings_that_help(views, selection(only), folder=dataset, seconds=seconds, told=told)
        answers: dict[str, Callable[[Views, RunSelection], FleetAnswer]] = {
            "slow": _slow,
            "outliers": _outliers,
            "findings": _findings,
        }
        return answers[question](views, selection(only))


def fleet_views(dataset: str) -> Views:
    """Return the views of a fleet's dataset.

    Raises:
        InputError: it is none.

    """
    if not is_dataset(dataset):
        raise InputError("is no dataset; make one of traces: numaprobe collect DATASET TRACE…", dataset)
    need("data", "a dataset")
    views = Views([dataset])
    if views.manifests[dataset].kind != KIND:
        with views:
            raise InputError("is no fleet's dataset: it was not made by numaprobe collect; ask it with query", dataset)
    return views


def _answer(question: str, found: FleetFigures, verdict: str, rows: Sequence[Any], **more: Any) -> FleetAnswer:  # noqa: ANN401
    return FleetAnswer(
        question=question, verdict=verdict, hosts=len(found.hosts), runs=found.runs, days=found.days, rows=rows, **more
    )


def plural(number: int, noun: str) -> str:
    """Return ``1 host``, ``3 hosts``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


# ---- slow ------------------------------------------------------------------------------------------------------------
def _slow(views: Views, chosen: RunSelection) -> FleetAnswer:
    found = figures_of(views, chosen)
    places = find_slow_places(found.hosts)
    drivers = _driver_totals(found)
    if places:
        one = places[0]
        where = " and ".join(f"{what} {value}" for what, value in one.place)
        verdict = f"{one.driver} takes {one.ratio:.1f} times as long on {where} ({plural(one.hosts, 'host')})"
        verdict += f"; {plural(len(places), 'place')} in all where a driver is slow"
    else:
        verdict = "no driver is shown to be slower on any kernel, firmware, node or product than elsewhere"
    if drivers:
        verdict += f"; most time goes to {drivers[0].driver} ({100 * drivers[0].share:.0f} %)"
    return _answer("slow", found, verdict, places, drivers=drivers)


def _driver_totals(found: FleetFigures) -> list[DriverTotal]:
    having: dict[str, list[tuple[str, Any]]] = defaultdict(list)
    for host in found.hosts:
        for name, one in host.drivers.items():
            having[name].append((host.host, one))
    spent = {name: sum(one.median_ns * one.probes for _, one in hosts) for name, hosts in having.items()}
    everything = sum(spent.values()) or 1.0
    totals = []
    for name, hosts in having.items():
        worst_host, worst = max(hosts, key=lambda pair: pair[1].worst_ns)
        totals.append(
            DriverTotal(
                driver=name,
                hosts=len(hosts),
                probes=sum(one.probes for _, one in hosts),
                median_ns=median(one.median_ns for _, one in hosts),
                worst_ns=worst.worst_ns,
                worst_host=worst_host,
                share=spent[name] / everything,
            )
        )
    return sorted(totals, key=lambda one: (-one.share, one.driver))


# ---- outliers --------------------------------------------------------------------------------------------------------
def _outliers(views: Views, chosen: RunSelection) -> FleetAnswer:
    found = figures_of(views, chosen)
    unlike = find_unlike(found.hosts)
    judged = sum(map(len, company(found.hosts)))
    verdict = f"{len(unlike)} of {plural(judged, 'host')} {'is' if len(unlike) == 1 else 'are'} unlike their peers"
    if unlike:
        kinds = Counter(sign.kind for one in unlike for sign in one.signs[:1])
        verdict += ": " + ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
    alone = len(found.hosts) - judged
    limits = [f"{plural(alone, 'host')} left out: fewer than {LEAST_PEERS} peers"] if alone else []
    blind = list(_by_peers(one for one in slowness_seen(found.hosts) if one.surely >= _BLIND))
    for one in blind[:_BLIND_SHOWN]:
        text = f"{one.driver} varies so much on {one.peers} that it is told as slow from {one.least:.1f} times"
        limits.append(f"{text} its peers' median on, and surely from {one.surely:.1f} times on")
    if len(blind) > _BLIND_SHOWN:
        limits.append(f"{plural(len(blind) - _BLIND_SHOWN, 'other driver')} of some peers likewise")
    return _answer("outliers", found, verdict, unlike, limits=tuple(limits))


def _by_peers(seen: Iterable[SlownessSeen]) -> Iterator[SlownessSeen]:
    """Leave out what is told of the same driver and peers already (on another kernel)."""
    told = set()
    for one in seen:
        if (one.driver, one.peers) not in told:
            told.add((one.driver, one.peers))
            yield one


# ---- changes ---------------------------------------------------------------------------------------------------------
def _changes(views: Views, only: Sequence[str], before: Sequence[str], after: Sequence[str]) -> FleetAnswer:
    first, second = _sides(views, only, before, after)
    sides = [figures_of(views, selection([*only, *words], latest=False)) for words in (first, second)]
    changes = compare_hosts(sides[0].hosts, sides[1].hosts)
    shown = [one for one in changes if one.shown]
    names = " and ".join(first), " and ".join(second)
    worse = [one for one in shown if one.worse]
    if not changes:
        verdict = "nothing can be compared: no group of peers has four hosts on both sides"
    elif not shown:
        verdict = f"no figure is shown to differ between {names[0]} and {names[1]}"
    else:
        verdict = (
            f"{names[1]} against {names[0]}: {plural(len(worse), 'figure')} worse, {len(shown) - len(worse)} better"
        )
        verdict += f", of {len(changes)}; the largest change is {_change_text(shown)}"
    groups = {one.peers for one in changes}
    missing = {host.peers for side in sides for host in side.hosts} - groups
    limits = (
        [f"{plural(len(missing), 'group')} of peers cannot be compared: fewer than 4 hosts on a side"]
        if missing
        else []
    )
    common = {host.host for host in sides[0].hosts} & {host.host for host in sides[1].hosts}
    return FleetAnswer(
        question="changes",
        verdict=verdict,
        hosts=len({host.host for side in sides for host in side.hosts}),
        runs=sides[0].runs + sides[1].runs,
        days=_span([day for side in sides for day in side.days if day]),
        rows=changes,
        sides=(
            f"{names[0]} ({plural(len(sides[0].hosts), 'host')})",
            f"{names[1]} ({plural(len(sides[1].hosts), 'host')})",
        ),
        limits=(f"{plural(len(common), 'host')} on both sides", *limits),
    )


def _span(days: Sequence[str]) -> tuple[str | None, str | None]:
    return (min(days), max(days)) if days else (None, None)


def _change_text(shown: Sequence[Any]) -> str:
    one = max(shown, key=lambda change: abs(change.change.percent or 0))
    percent = one.change.percent
    return f"{one.figure} of {one.peers}{'' if percent is None else f', {percent:+.1f} %'}"


def _sides(
    views: Views, only: Sequence[str], before: Sequence[str], after: Sequence[str]
) -> tuple[Sequence[str], Sequence[str]]:
    if before and after:
        return before, after
    if before or after:
        raise UsageError("name both sides: --before KEY=VALUE --after KEY=VALUE; none: the last two days")
    chosen = selection(only, latest=False)
    days = views.ask(f"SELECT DISTINCT day FROM ({chosen.chosen()}) WHERE day IS NOT NULL ORDER BY day", chosen.values)  # noqa: S608
    if len(days.rows) < 2:  # noqa: PLR2004  a comparison has two
        raise InputError("the runs are of one day; name two sides: --before kernel=6.1 --after kernel=6.12")
    return [f"date={days.rows[-2][0]}"], [f"date={days.rows[-1][0]}"]


# ---- findings --------------------------------------------------------------------------------------------------------
def _findings(views: Views, chosen: RunSelection) -> FleetAnswer:
    found = figures_of(views, chosen)
    answer = views.ask(
        f"""SELECT f.kind, c.host_key, any_value(coalesce(c.host, c.host_key)), any_value(c.peers),
            list(DISTINCT f.severity), any_value(f.advice), list(f.devices)
            FROM findings f JOIN ({chosen.chosen()}) c USING (input, run) GROUP BY f.kind, c.host_key
            ORDER BY f.kind, c.host_key""",  # noqa: S608
        chosen.values,
    )
    drivers = _drivers_of_devices(views, chosen) if answer.rows else {}
    by_kind: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for kind, *rest in answer.rows:
        by_kind[kind].append(tuple(rest))
    rows = sorted(
        (_share(kind, hosts, len(found.hosts), drivers) for kind, hosts in by_kind.items()),
        key=lambda one: (-one.hosts, one.kind),
    )
    if rows:
        verdict = f"{rows[0].kind} is the most frequent finding: {rows[0].hosts} of {plural(len(found.hosts), 'host')}"
        verdict += f" ({100 * rows[0].share:.0f} %); {plural(len(rows), 'kind')} in all"
    else:
        verdict = f"no finding on any of {plural(len(found.hosts), 'host')}"
    return _answer("findings", found, verdict, rows)


def _share(kind: str, hosts: Sequence[tuple[Any, ...]], of: int, drivers: dict[tuple[str, str], str]) -> FindingShare:
    severities: Counter[str] = Counter()
    peers: Counter[str] = Counter()
    named: Counter[str] = Counter()
    for key, _, group, levels, _, devices in hosts:
        severities.update(levels)
        peers[group] += 1
        told = {drivers.get((key, device)) for text in devices for device in json.loads(text)}
        named.update(driver for driver in told if driver is not None)
    return FindingShare(
        kind=kind,
        hosts=len(hosts),
        of=of,
        severities=dict(severities.most_common()),
        drivers=dict(named.most_common(_COUNTED)),
        peers=dict(peers.most_common(_COUNTED)),
        examples=tuple(name for _, name, *_ in hosts[:_EXAMPLES]),
        advice=hosts[0][4],
    )


def _drivers_of_devices(views: Views, chosen: RunSelection) -> dict[tuple[str, str], str]:
    answer = views.ask(
        f"SELECT c.host_key, p.device, any_value(p.driver) FROM probes p JOIN ({chosen.chosen()}) c USING (input, run) "  # noqa: S608
        "GROUP BY ALL",
        chosen.values,
    )
    return {(host, device): driver for host, device, driver in answer.rows}
