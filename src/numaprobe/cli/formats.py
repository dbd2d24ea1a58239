"""The formats of traces and of comparisons, each with the module that writes it, imported when it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TextIO

from numaprobe.cli.output import Shape, text_shape, to_json

if TYPE_CHECKING:
    from pathlib import Path

    from numaprobe.analysis import Comparison
    from numaprobe.records import Trace

#: ``compare`` lists every probe of every policy up to this many probes of a policy; ``--details`` decides otherwise.
FEW_PROBES: Final = 16


def _trace_table(trace: Trace, stream: TextIO) -> None:
    from numaprobe.report.table import print_trace

    print_trace(trace, stream)


def _trace_json(trace: Trace) -> str:
    from numaprobe.records import dump_trace

    return dump_trace(trace, indent=2)


def _trace_printk(trace: Trace) -> str:
    from numaprobe.records import printk_lines

    return printk_lines(trace)


def _trace_html(trace: Trace) -> str:
    from numaprobe.analysis import compare
    from numaprobe.report.html import html_page

    return html_page(compare([trace]))


def _trace_parquet(trace: Trace, path: Path) -> None:
    from numaprobe.records import write_parquet

    write_parquet(trace, path)


def _trace_svg(trace: Trace) -> str:
    from numaprobe.analysis import compare

    return _comparison_svg(compare([trace]))


def _trace_png(trace: Trace, path: Path) -> None:
    from numaprobe.analysis import compare

    _comparison_png(compare([trace]), path)


def _comparison_table(comparison: Comparison, stream: TextIO) -> None:
    from numaprobe.report.table import print_comparison

    few = max(len(entry.trace.probes) for entry in comparison.entries) <= FEW_PROBES
    print_comparison(comparison, stream, details=few)


def _comparison_details(comparison: Comparison, stream: TextIO) -> None:
    from numaprobe.report.table import print_comparison

    print_comparison(comparison, stream, details=True)


def _comparison_summary(comparison: Comparison, stream: TextIO) -> None:
    from numaprobe.report.table import print_comparison

    print_comparison(comparison, stream, details=False)


def _comparison_json(comparison: Comparison) -> str:
    return to_json(comparison.to_dict())


def _comparison_html(comparison: Comparison) -> str:
    from numaprobe.report.html import html_page

    return html_page(comparison)


def _comparison_svg(comparison: Comparison) -> str:
    from numaprobe.report.picture import svg

    return svg(comparison)


def _comparison_png(comparison: Comparison, path: Path) -> None:
    from numaprobe.report.picture import write_png

    write_png(comparison, path)


TRACE_SHAPES: Final = {
    "table": Shape(stream=_trace_table),
    "json": text_shape(_trace_json),
    "printk": text_shape(_trace_printk),
    "html": text_shape(_trace_html),
    "svg": text_shape(_trace_svg),
    "png": Shape(file=_trace_png),
    "parquet": Shape(file=_trace_parquet),
}

COMPARISON_SHAPES: Final = {
    "table": Shape(stream=_comparison_table),
    "json": text_shape(_comparison_json),
    "html": text_shape(_comparison_html),
    "svg": text_shape(_comparison_svg),
    "png": Shape(file=_comparison_png),
}


def comparison_shapes(details: bool | None) -> dict[str, Shape]:
    """Return the shapes of a comparison; ``details`` None = every probe where there are few."""
    if details is None:
        return COMPARISON_SHAPES
    return {**COMPARISON_SHAPES, "table": Shape(stream=_comparison_details if details else _comparison_summary)}
