from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import synthetic as s

from numaprobe.analysis import compare, find
from numaprobe.cpuset import CpuSet
from numaprobe.records import ProbeRecord, RunWarning, Trace
from numaprobe.report.explain import evidence_text
from numaprobe.report.grid import Cell, Column, Grid, console_for, draw, printable
from numaprobe.report.machine import print_topology
from numaprobe.report.table import cpu_text, print_comparison, print_trace
from numaprobe.topology import DeviceInfo, Housekeeping

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

HOSTILE = "\x1b[31mevil[bold]\nnext\r\u202e:100:"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def compared() -> object:
    return compare([s.nvme_before(), s.nvme_after(), s.nvme_inline()])


def shown(show: Callable[..., None], *args: object, stream: io.StringIO | None = None, **options: object) -> str:
    out = stream or io.StringIO()
    show(*args, out, **options)
    return out.getvalue()


def test_a_comparison_in_a_pipe(golden: Callable[[str, str], None]) -> None:
    golden("comparison.txt", shown(print_comparison, compared()))


def test_a_comparison_on_80_columns(golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = shown(print_comparison, compared())
    assert max(len(line) for line in text.splitlines()[2:]) <= 80
    assert "left out on this width" in text
    golden("comparison-80.txt", text)


def test_the_seeds_table(golden: Callable[[str, str], None]) -> None:
    trace = s.seed_table("dec27", "work-on-cpu")
    golden("seeds.txt", shown(print_trace, replace(trace, findings=find(trace))))


def test_a_trace_with_everything(golden: Callable[[str, str], None]) -> None:
    trace = s.trace(
        s.probe("a", result="EPROBE_DEFER", cost_ns=1000), s.probe("b", start_ns=10**6, memory={0: 4096, 1: 2**21}),
        s.probe("a", start_ns=40 * s.MS, attempt=2, device_node=-1, cpus=(1, 2)),
        s.probe("c", start_ns=50 * s.MS, cpu=6, cpu_node=1, result="ENODEV", nested=True),
        machine=s.small(),
    )  # fmt: skip
    warned = replace(trace, findings=find(trace), warnings=(RunWarning(kind="lost-events", message="3 events lost"),))
    golden("trace.txt", shown(print_trace, warned))


def test_a_machine(golden: Callable[[str, str], None]) -> None:
    machine = replace(
        s.small(), housekeeping=Housekeeping(isolated=CpuSet.parse_list("4-5")),
        devices=(DeviceInfo(name="0000:01:00.0", bus="pci", node=1, driver="nvme"),
                 DeviceInfo(name="x", bus="platform")),
    )  # fmt: skip
    golden("machine.txt", shown(print_topology, machine))


def test_colour_is_for_terminals_and_never_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert "\x1b[" not in shown(print_comparison, compared())
    assert "\x1b[3" in shown(print_comparison, compared(), stream=Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in shown(print_comparison, compared(), stream=Terminal())


def test_a_pipe_cuts_nothing_and_keeps_a_row_on_a_line() -> None:
    name = "d" * 300
    text = shown(print_trace, s.trace(s.probe(name)))
    assert any(line.startswith(name) and line.endswith(" 0") for line in text.splitlines())


def test_hostile_names_stay_text() -> None:
    record = ProbeRecord(device=HOSTILE, driver=HOSTILE, comm=HOSTILE, cost_ns=1, cpu=0, caller_comm=HOSTILE)
    warning = RunWarning(kind=HOSTILE, message=HOSTILE)
    trace = Trace(source="kernel", probes=(record,), kernel=HOSTILE, policy=HOSTILE, warnings=(warning,))
    for text in (shown(print_trace, trace), shown(print_comparison, compare([trace]))):
        assert "\x1b" not in text
        assert "\r" not in text
        assert "\u202e" not in text
        assert "[bold]" in text


def test_what_is_true_of_several_policies_is_said_once() -> None:
    text = shown(print_comparison, compare([s.nvme_after(), replace(s.nvme_after(), policy="other")]))
    assert text.count("most in flight 3") == 1
    assert "queue-on-node, other: 0000:01:00.0" in text


def test_policies_that_did_the_same_are_listed_once() -> None:
    text = shown(print_comparison, compare([s.nvme_after(), replace(s.nvme_after(), policy="other")]), legend=False)
    assert text.count("kworker/u1025:4 on 1") == 1
    assert "queue-on-node (+1): the same under other" in text


def test_a_finding_says_who_waited_because_of_whom() -> None:
    text = " ".join(shown(print_comparison, compare([s.nvme_before()])).split())
    assert "waits 0000:03:00.0 18.400 ms (meanwhile ran 0000:02:00.0: 9.300 ms; 0000:01:00.0: 9.100 ms)" in text


def test_evidence_of_any_shape_is_told_or_left_out() -> None:
    told = evidence_text({"after": {"b": "a"}, "delay_ns": {"b": 5}, "deep": [{"x": 1}], "none": None, "e\x1b_ns": 7})
    assert told == "after b after a, delay b: 5 ns, e\\x1b 7 ns"
    crowd = {"device": "d", "runnable_ns": 9, "because_of": dict.fromkeys("abcdefgh", 1), "others": 2499}
    assert evidence_text({"waits": [crowd]}).endswith(
        "(meanwhile ran a: 1 ns; b: 1 ns; c: 1 ns; d: 1 ns and 2495 more)"
    )
    assert evidence_text({"waits": [{"device": "d"}, 3], "odd": {"a": []}}) == ""


def test_no_probes_is_a_table_too() -> None:
    empty = Trace(source="host", probes=())
    assert "0 probes" in shown(print_trace, empty)
    assert "Nothing found" in shown(print_comparison, compare([empty]))


def test_details_list_the_slowest_and_say_so() -> None:
    text = shown(print_comparison, compare([s.many(100)]), legend=False)
    assert "the 12 slowest probes of 100" in text
    assert text.count("\n") < 80


def test_the_least_important_columns_go_first() -> None:
    columns = [Column(title="keep"), Column(title="second", spare=1), Column(title="first", spare=2)]
    grid = Grid(columns=columns, rows=[["x" * 10, "y" * 10, Cell("z" * 10)]])
    assert grid.fitting(40) == [0, 1, 2]
    assert grid.fitting(30) == [0, 1]
    assert grid.fitting(5) == [0]


def test_a_grid_has_a_title() -> None:
    out = io.StringIO()
    draw(Grid(columns=[Column(title="a", legend="what it is")], rows=[["1"]], title="Title"), console_for(out))
    assert out.getvalue().splitlines()[0] == "Title"


def test_printable_keeps_what_can_be_seen() -> None:
    assert printable("nvme µ 日本") == "nvme µ 日本"
    assert printable("a\nb\x00") == "a\\nb\\x00"


def test_long_cpu_lists_are_cut_with_their_number() -> None:
    assert cpu_text(()) == "-"
    assert cpu_text((0, 1, 2, 9)) == "0-2,9"
    assert cpu_text(range(0, 128, 2)) == "0,2,4,6,8,10,12,14,16,… (64 CPUs)"


def test_importing_reports_is_quick_because_rich_and_the_others_are_not_loaded() -> None:
    code = (
        "import sys, numaprobe.report.table, numaprobe.report.html, numaprobe.report.picture\n"
        "import numaprobe.report.perfetto\n"
        "print([m for m in ('rich', 'perfetto', 'vl_convert', 'duckdb', 'altair', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
