"""The prepared questions by their names, and the tables of ``best``, ``cost``, ``front`` and ``heat``."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from numaprobe.datasets.duck import quoted, text
from numaprobe.errors import UnknownNameError, UsageError
from numaprobe.study.questions.frame import AskedColumn, AskedTable, RunsFrame, need_axes
from numaprobe.study.questions.sensitivity import sensitivity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Only runs with figures count.
PASSED: Final = "coalesce(passed, true)"
_MOST_CELLS: Final = 10_000


def ask(question: str, frame: RunsFrame, *, by: Sequence[str] = (), top: int | None = None) -> AskedTable:
    """Return the answer to a prepared question.

    Args:
        question: one of ``QUESTIONS``.
        frame: what it is asked of.
        by: the columns that it is asked for; of ``heat`` the two axes. Empty: what usually is.
        top: so many rows, of ``best`` for each.

    Raises:
        UnknownNameError: no such question, or column.
        UsageError: nothing varies that it is about.

    """
    if question not in QUESTIONS:
        raise UnknownNameError("question", question[:60], QUESTIONS)
    return _ANSWERS[question](frame, frame.check(by), top)


def _grouped(frame: RunsFrame, names: Sequence[str]) -> str:
    return ", ".join(f"{frame.column(name)} AS {quoted(name)}" for name in names)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(quoted(name) for name in names)


def _of(table: str, names: Sequence[str]) -> list[str]:
    return [f"{table}.{quoted(name)}" for name in names]


def _texts(names: Sequence[str]) -> tuple[AskedColumn, ...]:
    return tuple(AskedColumn(name=name, kind="text") for name in names)


def _by_default(frame: RunsFrame, by: Sequence[str], settings: Sequence[str] = ()) -> list[str]:
    """Return for what a question is asked: what was said, else for each machine."""
    chosen = list(by) or [name for name in ("machine",) if name in frame.varying]
    return [name for name in chosen if name not in settings]


def _settings_table(frame: RunsFrame, where: Sequence[str], settings: Sequence[str]) -> str:
    """Return SQL for one row per setting and place: medians over all other conditions.

    A setting that has failed runs is there with how many; its figures are of those that passed.
    """
    names = [*where, *settings]
    least = "makespan_least_ns" if frame.metric == "makespan_ns" else frame.metric
    most = "makespan_most_ns" if frame.metric == "makespan_ns" else frame.metric
    return (
        f"SELECT {_grouped(frame, names)}, count(*) AS runs, count(*) FILTER (NOT {PASSED}) AS failed, "  # noqa: S608  checked names
        f"median({frame.metric}) FILTER ({PASSED}) AS middle, min({least}) FILTER ({PASSED}) AS least, "
        f"max({most}) FILTER ({PASSED}) AS most, avg(local_share) FILTER ({PASSED}) AS local_share "
        f"FROM runs GROUP BY {', '.join(str(place) for place in range(1, len(names) + 1))}"
    )


def _figures(frame: RunsFrame) -> tuple[AskedColumn, ...]:
    name = frame.metric.removesuffix("_ns")
    return (
        AskedColumn(name="runs", kind="count", legend="of this setting here"),
        AskedColumn(name="failed", kind="count", legend="of these, without figures"),
        AskedColumn(name=frame.metric, kind="time", legend=f"{name}: the median of its runs, not the mean"),
        AskedColumn(name="least_ns", kind="time", legend="the least of its runs, what is in doubt read for the best"),
        AskedColumn(name="most_ns", kind="time", legend="the most of its runs, what is in doubt read for the worst"),
        AskedColumn(name="local_share", kind="share", legend="of the probes whose nodes are known: on their node"),
    )


def best(frame: RunsFrame, by: list[str], top: int | None) -> AskedTable:
    """Return the best settings for each machine, or whatever is asked: without failures first, then by median."""
    where = _by_default(frame, by)
    settings = [name for name in frame.settings if name not in where]
    need_axes(frame, settings, "best")
    names = [*where, *settings]
    partition = f"PARTITION BY {_listed(where)} " if where else ""
    sql = (
        f"WITH one AS ({_settings_table(frame, where, settings)}), "  # noqa: S608  checked names
        f"ranked AS (SELECT *, row_number() OVER ({partition}ORDER BY failed > 0, middle, {_listed(names)}) AS place, "
        f"max(middle) OVER ({partition}) AS worst, "
        f"count(*) OVER (PARTITION BY {_listed([*where, 'middle'])}, failed > 0) - 1 AS equal FROM one) "
        f"SELECT {_listed(names)}, place, runs, failed, CAST(round(middle) AS BIGINT), least, most, local_share, "
        f"equal, 100.0 * (middle - worst) / nullif(worst, 0) FROM ranked WHERE place <= ? "
        f"ORDER BY {_listed([*where, 'place'])}"
    )
    rows = frame.views.ask(sql, [top or (1 if where else 10)]).rows
    place = AskedColumn(name="place", kind="count", legend="1: the best")
    equal = AskedColumn(name="equals", kind="count", legend="other settings with the very same median")
    gain = AskedColumn(name="beside_worst_percent", kind="percent", legend="beside the worst setting here")
    title = f"the best setting for each {' and '.join(where)}" if where else "the best settings"
    return AskedTable(
        question="best",
        title=f"{title}, by median {frame.metric.removesuffix('_ns')}",
        columns=(*_texts(names), place, *_figures(frame), equal, gain),
        rows=rows,
        notes=frame.notes,
    )


def cost(frame: RunsFrame, by: list[str], top: int | None) -> AskedTable:
    """Return what each policy costs, beside the best one under the very same other values; by place."""
    if "policy" not in frame.varying:
        raise UsageError(
            f"cost is asked of runs under several policies; here varies: {', '.join(frame.varying) or 'nothing'}"
        )
    same = [name for name in frame.varying if name not in ("policy", "cmdline", "input")]
    where = [*by] or [name for name in ("machine", "kernel") if name in frame.varying]
    where = [name for name in where if name != "policy"]
    keys = ", ".join(frame.column(name) for name in same)
    over = f"PARTITION BY {keys}" if keys else ""
    inner = ", ".join([*(f"{frame.column(name)} AS {quoted(name)}" for name in where), "policy"])
    group = _listed([*where, "policy"])
    sql = (
        f"WITH beside AS (SELECT {inner}, {frame.metric} AS figure, remote_ns, local_share, "  # noqa: S608  checked names
        f"min({frame.metric}) OVER ({over}) AS lowest, count(DISTINCT policy) OVER ({over}) AS rivals "
        f"FROM runs WHERE {PASSED} AND {frame.metric} IS NOT NULL) "
        f"SELECT {group}, count(*), CAST(round(median(figure)) AS BIGINT), "
        f"100.0 * median((figure - lowest) / nullif(lowest, 0)) FILTER (rivals > 1), "
        f"100.0 * max((figure - lowest) / nullif(lowest, 0)) FILTER (rivals > 1), "
        f"avg(CASE WHEN figure = lowest THEN 1.0 ELSE 0.0 END) FILTER (rivals > 1), "
        f"CAST(round(median(remote_ns)) AS BIGINT), avg(local_share) "
        f"FROM beside GROUP BY {group} ORDER BY {', '.join([*map(quoted, where), str(len(where) + 3), 'policy'])}"
    )
    rows = frame.views.ask(sql).rows[: top or None]
    paired = any(row[len(where) + 3] is not None for row in rows)
    name = frame.metric.removesuffix("_ns")
    beside = "beside the best policy, all other values the same"
    notes = (
        frame.notes
        if paired
        else (*frame.notes, "no two runs differ in the policy alone: medians are compared, not runs")
    )
    return AskedTable(
        question="cost",
        title=f"what each policy costs{' by ' + ' and '.join(where) if where else ''}: {name}",
        columns=(
            *_texts([*where, "policy"]),
            AskedColumn(name="runs", kind="count"),
            AskedColumn(name=frame.metric, kind="time", legend="the median"),
            AskedColumn(name="more_percent", kind="percent", legend=f"more {name}, {beside}: the median"),
            AskedColumn(name="most_percent", kind="percent", legend="the same, at most"),
            AskedColumn(name="best_share", kind="share", legend="of the runs in which no policy is better"),
            AskedColumn(name="remote_ns", kind="time", legend="running on another node than the device's: the median"),
            AskedColumn(name="local_share", kind="share", legend="of the probes: started on their node"),
        ),
        rows=rows,
        notes=notes,
    )


def front(frame: RunsFrame, by: list[str], top: int | None) -> AskedTable:
    """Return the settings that no other one beats in the figure and in the share on node at once, for each place."""
    where = _by_default(frame, by)
    settings = [name for name in frame.settings if name not in where]
    need_axes(frame, settings, "front")
    names = [*where, *settings]
    same = " AND ".join(f"a.{quoted(name)} = b.{quoted(name)}" for name in where) or "true"
    better = (
        "b.middle <= a.middle AND b.local_share >= a.local_share "
        "AND (b.middle < a.middle OR b.local_share > a.local_share)"
    )
    order = ", ".join([*_of("a", where), "a.middle", "a.local_share DESC", *_of("a", names)])
    sql = (
        f"WITH one AS (SELECT * FROM ({_settings_table(frame, where, settings)}) "  # noqa: S608  checked names
        f"WHERE middle IS NOT NULL AND local_share IS NOT NULL) "
        f"SELECT {', '.join(_of('a', names))}, a.runs, a.failed, CAST(round(a.middle) AS BIGINT), a.least, a.most, "
        f"a.local_share, NOT EXISTS (SELECT 1 FROM one b WHERE {same} AND {better}) AS free FROM one a ORDER BY {order}"
    )
    found = frame.views.ask(sql, most=_MOST_CELLS).rows
    rows = [row[:-1] for row in found if row[-1]]
    points = [
        {
            "setting": ", ".join(row[len(where) : len(names)]),
            "place": ", ".join(row[: len(where)]),
            "figure": row[len(names) + 2] / 1e6,
        }
        | {"share": row[len(names) + 5], "free": bool(row[-1])}
        for row in found
    ]
    return AskedTable(
        question="front",
        title=f"settings that none beats in {frame.metric.removesuffix('_ns')} and in share on node at once",
        columns=(*_texts(names), *_figures(frame)),
        rows=rows[: top or None],
        notes=(*frame.notes, f"{len(rows)} of {len(found)} settings are on the front"),
        pictures=({"kind": "front", "figure": frame.metric, "points": points},),
    )


def heat(frame: RunsFrame, by: list[str], top: int | None) -> AskedTable:
    """Return the median of the figure over two axes."""
    axes = by[:2] or [*frame.settings, *frame.conditions, *frame.spans][:2]
    if len(axes) != 2 or len(by) > 2:  # noqa: PLR2004  a map has two
        raise UsageError(f"heat has two axes: --by policy,kernel; here varies: {', '.join(frame.varying) or 'nothing'}")
    first, second = (binned(frame, axis) for axis in axes)
    sql = (
        f"SELECT {first} AS a, {second} AS b, count(*), "  # noqa: S608  checked names
        f"CAST(round(median({frame.metric})) AS BIGINT), avg(local_share) FROM runs "
        f"WHERE {PASSED} AND {frame.metric} IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"
    )
    rows = frame.views.ask(sql, most=_MOST_CELLS).rows
    cells = [{"a": row[0], "b": row[1], "figure": row[3] / 1e6, "share": row[4], "runs": row[2]} for row in rows]
    return AskedTable(
        question="heat",
        title=f"median {frame.metric.removesuffix('_ns')} by {axes[0]} and {axes[1]}",
        columns=(
            *_texts(axes),
            AskedColumn(name="runs", kind="count"),
            AskedColumn(name=frame.metric, kind="time", legend="the median"),
            AskedColumn(name="local_share", kind="share", legend="of the probes: started on their node"),
        ),
        rows=rows[: top or None],
        notes=frame.notes,
        pictures=({"kind": "heat", "figure": frame.metric, "axes": list(axes), "cells": cells},),
    )


def binned(frame: RunsFrame, name: str) -> str:
    """Return a column in SQL as a text; one with too many numbers cut into parts with as many runs each."""
    if name not in frame.spans:
        return frame.column(name)
    ends = bins(frame, name)
    if not ends:
        return frame.column(name)
    cases = [f"WHEN CAST({quoted(name)} AS DOUBLE) < {end!r} THEN {text(label)}" for end, label in ends[:-1]]
    return f"CASE {' '.join(cases)} ELSE {text(ends[-1][1])} END"


def bins(frame: RunsFrame, name: str, count: int = 8) -> list[tuple[float, str]]:
    """Return the upper ends and the names of parts of a column with as many runs each; empty: it holds no numbers."""
    shares = ", ".join(str(round(place / count, 6)) for place in range(count + 1))
    sql = f"SELECT quantile_cont(TRY_CAST({quoted(name)} AS DOUBLE), [{shares}]) FROM runs"  # noqa: S608  a checked name
    [[found]] = frame.views.ask(sql).rows
    if not found:
        return []
    edges = sorted(set(found))
    numbered = enumerate(pairwise(edges))
    return [(high, f"{chr(ord('a') + place)}: {low:.4g}..{high:.4g}") for place, (low, high) in numbered]


def _sensitivity(frame: RunsFrame, by: list[str], top: int | None) -> AskedTable:
    return sensitivity(frame, by, top, lambda name, count: binned(frame, name) if count else frame.column(name))


_ANSWERS: Final[dict[str, Callable[[RunsFrame, list[str], int | None], AskedTable]]] = {}
#: name -> what it answers
QUESTIONS: Final = {
    "best": "the best setting for each machine",
    "cost": "what a policy costs where",
    "sensitivity": "which knob matters: main effects and interactions",
    "front": "settings that none beats in makespan and share on node at once",
    "heat": "a figure over two axes",
}
_ANSWERS.update({"best": best, "cost": cost, "sensitivity": _sensitivity, "front": front, "heat": heat})
