"""Which knob matters: how much of a figure's variance each axis explains alone, and each pair beyond its two alone.

An analysis of variance over the axes' values (spans cut in parts of as many runs each). Of an axis it takes the sum
of squares between its values, of a pair that of its cells less those of its two axes. A share is omega squared,
(SS - df MS) / (SS_total + MS) with MS the mean square of what no pair explains: where an axis does nothing it does
not grow with the number of values, as SS / SS_total would. Sampled axes are nearly balanced, full combinations wholly;
where two axes go together (points one by one) what they explain is told of each.

Source: Kirk 2013, Experimental Design, ch. 11 (omega squared); Sobol' 1993 (first-order and interaction indices).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from numaprobe.study.questions.frame import AskedColumn, AskedTable, RunsFrame, need_axes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Axes of which pairs are looked at: those that explain most.
_MOST_AXES: Final = 12
#: A share below this is nothing that anybody acts upon.
NOTHING: Final = 0.005
_PASSED: Final = "coalesce(passed, true)"


@dataclass(frozen=True, slots=True)
class _Part:
    """What a grouping of the runs says."""

    #: value(s) -> runs, sum of the figure
    cells: dict[tuple[str, ...], tuple[int, float]]

    def between(self, mean: float) -> float:
        """Return the sum of squares between the cells."""
        return sum(count * (total / count - mean) ** 2 for count, total in self.cells.values())


def sensitivity(frame: RunsFrame, by: list[str], top: int | None, column: Callable[[str, int], str]) -> AskedTable:
    """Return main effects and interactions; ``by``: of these columns alone.

    Args:
        frame: what is asked of.
        by: columns; empty: all that vary, seeds among them.
        top: so many rows.
        column: a column in SQL as a text, cut in parts if it is a span.

    """
    axes = by or [name for name in frame.varying if name != "input"]
    need_axes(frame, axes, "sensitivity")
    figure = frame.metric
    [[runs, mean, total]] = frame.views.ask(
        f"SELECT count(*), avg({figure}), var_pop({figure}) * count(*) FROM runs "  # noqa: S608  checked names
        f"WHERE {_PASSED} AND {figure} IS NOT NULL"
    ).rows
    single = {name: _part(frame, [column(name, 1)]) for name in axes}
    strongest = sorted(axes, key=lambda name: -single[name].between(mean))[:_MOST_AXES]
    pairs = {pair: _part(frame, [column(one, 1) for one in pair]) for pair in combinations(strongest, 2)}
    squares: dict[tuple[str, ...], float] = {(name,): single[name].between(mean) for name in axes}
    degrees: dict[tuple[str, ...], int] = {(name,): len(single[name].cells) - 1 for name in axes}
    for pair, part in pairs.items():
        squares[pair] = max(0.0, part.between(mean) - sum(squares[name,] for name in pair))
        degrees[pair] = max(0, len(part.cells) - 1 - sum(degrees[name,] for name in pair))
    error = _error(runs, total, squares, degrees)
    rows = [_row(names, squares[names], degrees[names], total, error, single) for names in squares]
    rows.sort(key=lambda row: (-row[2], row[0]))
    kept = [row for row in rows if row[1] == "alone" or row[2] >= NOTHING][: top or None]
    effects = [{"name": row[0], "kind": row[1], "share": row[2]} for row in kept[:20]]
    explained = sum(row[2] for row in rows)
    notes = [*frame.notes, f"{min(1.0, explained):.0%} of the variance of {runs} runs is explained by these"]
    if len(axes) > _MOST_AXES:
        notes.append(f"pairs are those of the {_MOST_AXES} axes that explain most")
    return AskedTable(
        question="sensitivity",
        title=f"which knob matters for {figure.removesuffix('_ns')}",
        columns=(
            AskedColumn(name="knob", kind="text"),
            AskedColumn(name="effect", kind="text", legend="alone, or beyond what its two knobs do alone"),
            AskedColumn(name="share", kind="share", legend="of the figure's variance over all runs (omega squared)"),
            AskedColumn(name="best", kind="text", legend="the value with the least mean"),
            AskedColumn(name="best_ns", kind="time", legend="that mean"),
            AskedColumn(name="worst", kind="text", legend="the value with the largest mean"),
            AskedColumn(name="worst_ns", kind="time", legend="that mean"),
        ),
        rows=kept,
        notes=tuple(notes),
        pictures=({"kind": "effects", "figure": figure, "effects": effects},),
    )


def _part(frame: RunsFrame, columns: Sequence[str]) -> _Part:
    chosen = ", ".join(columns)
    sql = (
        f"SELECT {chosen}, count(*), sum({frame.metric})::DOUBLE FROM runs "  # noqa: S608  checked names
        f"WHERE {_PASSED} AND {frame.metric} IS NOT NULL GROUP BY ALL"
    )
    rows = frame.views.ask(sql).rows
    return _Part({row[:-2]: (row[-2], row[-1]) for row in rows})


def _error(runs: int, total: float, squares: dict[Any, float], degrees: dict[Any, int]) -> float:
    """Return the mean square of what nothing here explains; 0 where no run is left to tell."""
    left = runs - 1 - sum(degrees.values())
    return max(0.0, total - sum(squares.values())) / left if left > 0 else 0.0


def _row(
    names: tuple[str, ...],
    square: float,
    degrees: int,
    total: float,
    error: float,
    single: dict[str, _Part],
) -> tuple[Any, ...]:
    share = max(0.0, square - degrees * error) / (total + error) if total + error else 0.0
    if len(names) > 1:
        return " x ".join(names), "together", share, None, None, None, None
    means = {value: total / count for (value,), (count, total) in single[names[0]].cells.items()}
    least = min(means, key=lambda value: (means[value], value))
    most = max(means, key=lambda value: (means[value], value))
    return names[0], "alone", share, _shown(least), round(means[least]), _shown(most), round(means[most])


def _shown(value: str) -> str:
    return value or "none"
