"""Markdown and comma-separated values: what the table says, whatever names a trace holds."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.analysis import compare
from numaprobe.cli.formats import TableOptions, comparison_shapes, trace_shapes
from numaprobe.records import ProbeRecord, Trace
from numaprobe.report.comma import comparison_csv, trace_csv
from numaprobe.report.grid import Cell, Column, Grid, console_for, draw, printable
from numaprobe.report.markdown import MarkdownPage
from numaprobe.scenario import load_scenario, run_scenario

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def markdown(trace: Trace) -> str:
    shown = io.StringIO()
    shape = trace_shapes(TableOptions())["markdown"].stream
    assert shape is not None
    shape(trace, shown)
    return shown.getvalue()


def cells(line: str) -> list[str]:
    return re.split(r"(?<!\\)\|", line)[1:-1]


def nvme() -> Trace:
    return run_scenario(load_scenario("nvme-epyc"), "work-on-cpu")


def test_a_report_becomes_paragraphs_tables_and_lists() -> None:
    text = markdown(nvme())
    lines = text.splitlines()
    assert lines[0] == "nothing stands out in three probes."
    assert lines[2].startswith("nvme-epyc, epyc-9a64, kernel 6.19 (virtual). 3 probes, worst 52.900 ms")
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 3
    assert len({len(cells(line)) for line in table}) == 1
    assert set(cells(table[1])) == {" --- ", " ---: "}
    assert "\n\n" in text
    assert not re.search(r"^ {2,}", text, re.MULTILINE)
    assert "COMM" in table[0]


def test_an_indented_line_is_an_item_and_a_line_is_no_heading() -> None:
    page = MarkdownPage()
    console = console_for(page)
    console.print("# not a heading, <b>, *, _ and |")
    console.print("  an item", soft_wrap=True)
    console.print("  another " + "long " * 100)
    draw(Grid(columns=[Column(title="a|b", align="right")], rows=[[Cell("x", "red")], [""]], title="what"), console)
    console.print("1. no list")
    assert page.text().split("\n\n") == [
        "\\# not a heading, \\<b\\>, \\*, \\_ and \\|",
        "- an item\n- another " + ("long " * 100).strip(),
        "**what**",
        "| a\\|b |\n| ---: |\n| x |\n|   |",
        "\\1. no list\n",
    ]


@settings(max_examples=60, deadline=None)
@given(NAMES, NAMES, NAMES)
def test_no_name_breaks_the_table(device: str, driver: str, comm: str) -> None:
    odd = replace(nvme().probes[0], device=device, driver=driver, comm=comm)
    plain = replace(odd, device="d", driver="v", comm="c")
    lines = [line for line in markdown(Trace(source="kernel", probes=(odd, plain))).splitlines() if line[:1] == "|"]
    assert len(lines) == 4
    assert len({len(cells(line)) for line in lines}) == 1


@settings(max_examples=60, deadline=None)
@given(NAMES, st.booleans() | st.none(), st.lists(st.integers(0, 99), max_size=3).map(tuple))
def test_values_are_read_again_by_anybodys_reader(device: str, flag: bool | None, cpus: tuple[int, ...]) -> None:
    record = ProbeRecord(device=device, driver='a,"b"', cost_ns=7, asynchronous=flag, cpus=cpus)
    (row,) = csv.DictReader(io.StringIO(trace_csv(Trace(source="kernel", probes=(record,)))))
    assert (row["device"], row["driver"], row["cost_ns"]) == (printable(device), 'a,"b"', "7")
    assert row["asynchronous"] == {None: "", True: "true", False: "false"}[flag]
    assert row["cpus"].split() == [str(cpu) for cpu in cpus]
    assert row["start_ns"] == ""


def test_a_comparison_has_a_row_for_each_probe_of_each_run() -> None:
    traces = [run_scenario(load_scenario("nvme-epyc"), policy) for policy in ("work-on-cpu", "probe-on-node")]
    rows = list(csv.DictReader(io.StringIO(comparison_csv(compare(traces)))))
    assert [row["run"] for row in rows] == ["work-on-cpu"] * 3 + ["probe-on-node"] * 3
    assert {int(row["cost_ns"]) for row in rows[3:]} == {34_300_000}
    assert {"table", "markdown", "csv"} <= set(comparison_shapes(TableOptions()))
