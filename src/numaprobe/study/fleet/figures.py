"""From a fleet's dataset to the figures of each host: DuckDB adds up, and a million probes are a few thousand numbers.

A question is about the run that each host was last seen in, or about all runs of a selection; then a host's figure is
the median over all its probes there.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis.fleet import DriverFigures, HostFigures
from numaprobe.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numaprobe.datasets import Views

#: What runs can be chosen by: the word, and the column.
KEYS: Final = {
    "date": "day",
    "day": "day",
    "kernel": "kernel",
    "firmware": "firmware",
    "product": "product",
    "peers": "peers",
    "host": "host",
    "label": "label",
    "machine": "machine",
}
_BETWEEN: Final = ".."
_COSTED: Final = "p.result IS DISTINCT FROM 'EPROBE_DEFER'"
_PLACED: Final = "p.device_node >= 0 AND p.cpu_node IS NOT NULL"


@dataclass(frozen=True, slots=True)
class RunSelection:
    """Runs of a fleet: those that every condition holds of, and of each host the last one of them, or all."""

    #: as SQL has them, with the values of their ``?``
    conditions: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    latest: bool = True

    def chosen(self) -> str:
        """Return the SELECT that gives the runs."""
        last = (
            "QUALIFY row_number() OVER (PARTITION BY host_key ORDER BY date DESC NULLS LAST, run DESC) = 1"
            if self.latest
            else ""
        )
        where = " AND ".join(["probes > 0", *self.conditions])
        return f"SELECT * FROM runs WHERE {where} {last}"  # noqa: S608  our own words; values are parameters


def selection(words: Sequence[str], *, latest: bool = True) -> RunSelection:
    """Return the selection that ``KEY=VALUE`` words make.

    A value may hold ``*`` and ``?``, or be two with ``..`` between them; a kernel's may be its beginning: ``6.12``.

    Raises:
        UsageError: a word is no condition.

    """
    conditions, values = [], []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in KEYS or not value:
            raise UsageError(f"'{word[:60]}' chooses no runs; write KEY=VALUE with one of {', '.join(KEYS)}")
        condition, given = _condition(KEYS[key], value)
        conditions.append(condition)
        values += given
    return RunSelection(tuple(conditions), tuple(values), latest)


def _condition(column: str, value: str) -> tuple[str, list[str]]:
    if _BETWEEN in value:
        low, _, high = value.partition(_BETWEEN)
        return f"{column} BETWEEN ? AND ?", [low, high]
    if re.search(r"[*?\[]", value):
        return f"{column} GLOB ?", [value]
    if column == "kernel":
        return f"({column} = ? OR (starts_with({column}, ?) AND {column}[length(?) + 1] NOT BETWEEN '0' AND '9'))", [
            value
        ] * 3
    return f"{column} = ?", [value]


@dataclass(frozen=True, slots=True)
class FleetFigures:
    """The hosts of a selection."""

    hosts: tuple[HostFigures, ...]
    runs: int
    days: tuple[str | None, str | None]


def figures_of(views: Views, chosen: RunSelection) -> FleetFigures:
    """Return the figures of every host of a selection.

    Raises:
        InputError: no run is selected.

    """
    runs = _runs(views, chosen)
    if not runs:
        raise InputError("no run is like that: see numaprobe query 'SELECT DISTINCT day, kernel, firmware FROM runs'")
    days = sorted({day for row in runs for day in row["days"] if day is not None})
    drivers = _drivers(views, chosen, days, any(None in row["days"] for row in runs))
    names = _names(runs)
    hosts = tuple(
        HostFigures(
            host=names[row["host_key"]],
            peers=row["peers"],
            runs=row["runs"],
            makespan_ns=row["makespan_ns"],
            facts={name: row[name] for name in ("kernel", "firmware", "cmdline")},
            drivers=drivers[row["host_key"]],
        )
        for row in runs
    )
    return FleetFigures(hosts, sum(row["runs"] for row in runs), (days[0], days[-1]) if days else (None, None))


def _runs(views: Views, chosen: RunSelection) -> list[dict[str, Any]]:
    answer = views.ask(
        f"""SELECT host_key, arg_max(host, run) AS host, arg_max(peers, run) AS peers, arg_max(kernel, run) AS kernel,
            arg_max(firmware, run) AS firmware, arg_max(cmdline, run) AS cmdline, count(*) AS runs,
            median(makespan_ns) AS makespan_ns, list(DISTINCT day) AS seen, count(*) > count(day) AS undated
            FROM ({chosen.chosen()}) GROUP BY host_key ORDER BY host_key""",  # noqa: S608  our own words
        chosen.values,
    )
    rows = answer.dicts()
    for row in rows:
        row["days"] = [*(row["seen"] or ()), *([None] if row["undated"] else [])]
    return rows


def _drivers(
    views: Views, chosen: RunSelection, days: Sequence[str], undated: bool
) -> dict[str, dict[str, DriverFigures]]:
    """Return the figures of each driver on each host; files of other days are not opened."""
    listed = ", ".join(f"'{day}'" for day in days)  # they are days: digits and dashes (identity.day_of)
    of_days = " OR ".join([*([f"p.day IN ({listed})"] if days else []), *(["p.day IS NULL"] if undated else [])])
    joined = f"probes p JOIN ({chosen.chosen()}) c USING (input, run) WHERE {of_days}"
    by_node: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    nodes = views.ask(
        f"SELECT c.host_key, p.driver, p.device_node, median(p.cost_ns) FROM {joined} AND {_COSTED} "  # noqa: S608
        "AND p.device_node >= 0 GROUP BY ALL",
        chosen.values,
    )
    for host, driver, node, ns in nodes.rows:
        by_node[host, driver][node] = ns
    answer = views.ask(
        f"""SELECT c.host_key, p.driver, count(DISTINCT p.device), count(*) FILTER ({_COSTED}),
            median(p.cost_ns) FILTER ({_COSTED}),
            quantile_cont(p.cost_ns, [0.25, 0.75]) FILTER ({_COSTED}), max(p.cost_ns) FILTER ({_COSTED}),
            arg_max(p.device, p.cost_ns) FILTER ({_COSTED}),
            count(*) FILTER ({_PLACED}), count(*) FILTER ({_PLACED} AND p.cpu_node <> p.device_node),
            count(DISTINCT p.device) FILTER (p.device_node < 0),
            count(DISTINCT p.device) FILTER (p.device_node IS NOT NULL),
            count(DISTINCT p.device) FILTER ({_COSTED} AND p.result <> '0')
            FROM {joined} GROUP BY ALL""",  # noqa: S608
        chosen.values,
    )
    found: dict[str, dict[str, DriverFigures]] = defaultdict(dict)
    for host, driver, devices, probes, middle, quarters, worst, device, *places in answer.rows:
        placed, away, no_node, told, failed = places
        if probes:
            found[host][driver] = DriverFigures(
                driver=driver,
                devices=devices,
                probes=probes,
                median_ns=middle,
                worst_ns=worst,
                low_ns=quarters[0],
                high_ns=quarters[1],
                worst_device=device or "",
                placed=placed,
                away=away,
                no_node=no_node,
                node_told=told,
                failed=failed,
                by_node=by_node[host, driver],
            )
    return found


def _names(runs: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return what each host is called: its name, and if several have it with the beginning of what tells them apart."""
    counted = Counter(row["host"] for row in runs)
    return {
        row["host_key"]: row["host"] if row["host"] and counted[row["host"]] == 1 else str(row["host_key"])[:80]
        for row in runs
    }
