"""The formats of traces and of comparisons, each with the module that writes it, imported when it is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TextIO

from numaprobe.cli.output import Shape, text_shape, to_json
from numaprobe.errors import UsageError
from numaprobe.records import RunWarning

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numaprobe.analysis import Comparison
    from numaprobe.records import Trace

#: ``compare`` lists every probe of every policy up to this many probes of a policy; ``--details`` decides otherwise.
FEW_PROBES: Final = 16


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


def shared_warnings(comparison: Comparison) -> list[RunWarning]:
    """Return the warnings of all traces, each once, with the policies that it is about unless it is about all."""
    labels: dict[tuple[str, str], list[str]] = {}
    for entry in comparison.entries:
        for warning in entry.trace.warnings:
            found = labels.setdefault((warning.kind, warning.message), [])
            if entry.label not in found:
                found.append(entry.label)
    everywhere = len(comparison.entries)
    return [
        RunWarning(kind=kind, message=message if len(names) == everywhere else f"{', '.join(names)}: {message}")
        for (kind, message), names in labels.items()
    ]


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


def _trace_perfetto(trace: Trace, path: Path) -> None:
    from numaprobe.analysis import compare

    _comparison_perfetto(compare([trace]), path)


def _comparison_perfetto(comparison: Comparison, path: Path) -> None:
    from numaprobe.report.perfetto import write_perfetto

    write_perfetto(comparison, path)


def markdown(show: Callable[[Any, TextIO], None]) -> Callable[[Any], str]:
    """Return what makes Markdown of what is printed as a table."""

    def text(result: object) -> str:
        from numaprobe.report.markdown import MarkdownPage

        page = MarkdownPage()
        show(result, page)
        return page.text()

    return text


def _trace_csv(trace: Trace) -> str:
    from numaprobe.report.comma import trace_csv

    return trace_csv(trace)


def _comparison_csv(comparison: Comparison) -> str:
    from numaprobe.report.comma import comparison_csv

    return comparison_csv(comparison)


_TRACE_FILES: Final = {
    "json": text_shape(_trace_json),
    "csv": text_shape(_trace_csv),
    "printk": text_shape(_trace_printk),
    "html": text_shape(_trace_html),
    "svg": text_shape(_trace_svg),
    "png": Shape(file=_trace_png),
    "perfetto": Shape(file=_trace_perfetto),
    "parquet": Shape(file=_trace_parquet),
}

_COMPARISON_FILES: Final = {
    "json": text_shape(_comparison_json),
    "csv": text_shape(_comparison_csv),
    "html": text_shape(_comparison_html),
    "svg": text_shape(_comparison_svg),
    "png": Shape(file=_comparison_png),
    "perfetto": Shape(file=_comparison_perfetto),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """What a command's options say of tables."""

    #: ``--sort``, ``--top``
    sort: str | None = None
    top: int | None = None
    #: ``--explain``
    explain: bool = False
    #: ``--blame``, ``--critical-chain``
    blame: bool = False
    chain: bool = False
    #: ``--details``; None: every probe where there are few
    details: bool | None = None

    @property
    def is_list(self) -> bool:
        """Whether something stands in place of the table: findings are not shown."""
        return self.blame or self.chain

    def check(self, chosen: str) -> None:
        """Refuse options of tables beside another format, and two in place of the table.

        Raises:
            UsageError: so it is.
            UnknownNameError: ``sort`` is no key.

        """
        from numaprobe.report.probes import ProbeChoice

        rows = {"--sort": self.sort, "--top": self.top}
        texts = {"--explain": self.explain, "--blame": self.blame, "--critical-chain": self.chain}
        given = texts if chosen == "markdown" else rows | texts
        for name, value in given.items():
            if value and chosen != "table":
                raise UsageError(f"{name} is for tables; {chosen} has every probe")
        if self.blame and self.chain:
            raise UsageError("--blame and --critical-chain each stand in place of the table; give one of them")
        ProbeChoice(sort=self.sort)


def trace_shapes(options: TableOptions) -> dict[str, Shape]:
    """Return the shapes of a trace."""

    def table(trace: Trace, stream: TextIO) -> None:
        from numaprobe.report.blame import print_blame, print_chain
        from numaprobe.report.probes import ProbeChoice
        from numaprobe.report.table import View, print_trace

        choice = ProbeChoice(sort=options.sort, top=options.top)
        if options.blame:
            print_blame(trace, stream, choice)
        elif options.chain:
            print_chain(trace, stream)
        else:
            print_trace(trace, stream, View(choice=choice, explain=options.explain))

    return {"table": Shape(stream=table), "markdown": text_shape(markdown(table)), **_TRACE_FILES}


def comparison_shapes(options: TableOptions) -> dict[str, Shape]:
    """Return the shapes of a comparison."""

    def table(comparison: Comparison, stream: TextIO) -> None:
        from numaprobe.report.probes import ProbeChoice
        from numaprobe.report.table import DETAIL_ROWS, View, print_comparison

        few = max(len(entry.trace.probes) for entry in comparison.entries) <= FEW_PROBES
        asked = options.top is not None or options.sort is not None
        choice = ProbeChoice(sort=options.sort, top=options.top or DETAIL_ROWS)
        view = View(
            details=few or asked if options.details is None else options.details, choice=choice, explain=options.explain
        )
        print_comparison(comparison, stream, view, warnings=shared_warnings(comparison))

    return {"table": Shape(stream=table), "markdown": text_shape(markdown(table)), **_COMPARISON_FILES}
