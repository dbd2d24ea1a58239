from __future__ import annotations

import io
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import synthetic as s

from numaprobe.analysis import compare, find
from numaprobe.cpuset import CpuSet
from numaprobe.records import Finding, ProbeRecord, RunWarning, Trace
from numaprobe.report import grid
from numaprobe.report.blame import print_blame, print_chain
from numaprobe.report.cells import cpu_text
from numaprobe.report.explain import evidence_text
from numaprobe.report.grid import Cell, Column, Grid, console_for, draw, printable
from numaprobe.report.machine import print_topology
from numaprobe.report.probes import COLUMNS, ProbeChoice
from numaprobe.report.table import View, print_comparison, print_trace
from numaprobe.topology import DeviceInfo, Housekeeping

if TYPE_CHECKING:
    from collections.abc import Callable


NUMBER = r"[-+]?\d+[.]\d+ (?:ms|µs|s|%)"
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


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_comparison_on_a_terminal(
    width: int, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = shown(print_comparison, compared())
    assert max(len(line) for line in text.splitlines()) <= width
    golden(f"comparison-{width}.txt", text)


def test_on_80_columns_cpus_and_findings_stay_and_the_second_change_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    head = next(line for line in shown(print_comparison, compared()).splitlines() if line.startswith("policy "))
    assert head.split() == ["policy", "makespan", "vs", "base", "worst", "on", "node", "CPUs", "findings"]


@pytest.mark.parametrize("width", [20, 40, 60, 61, 79, 80, 100, 119, 200])
def test_no_number_is_cut_or_parted_from_its_unit(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On whatever width: each line has whole numbers, and a number's unit stands beside it."""
    whole = set(re.findall(NUMBER, shown(print_comparison, compared())))
    monkeypatch.setenv("COLUMNS", str(width))
    text = shown(print_comparison, compared())
    assert {number for line in text.splitlines() for number in re.findall(NUMBER, line)} <= whole
    assert not [line for line in text.splitlines() if re.match(r"\s*(ns|µs|ms|s|%|MiB)\b", line)]
    assert "…" not in text


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
    assert any(f" {name} " in line and line.endswith(" 0") for line in text.splitlines())


def test_hostile_names_stay_text() -> None:
    record = ProbeRecord(device=HOSTILE, driver=HOSTILE, comm=HOSTILE, cost_ns=1, cpu=0, caller_comm=HOSTILE)
    warning = RunWarning(kind=HOSTILE, message=HOSTILE)
    trace = Trace(source="kernel", probes=(record,), kernel=HOSTILE, policy=HOSTILE, warnings=(warning,))
    for text in (shown(print_trace, trace), shown(print_comparison, compare([trace])), shown(print_blame, trace)):
        assert "\x1b" not in text
        assert "\r" not in text
        assert "\u202e" not in text
        assert "[bold]" in text


def test_what_is_true_of_several_policies_is_said_once() -> None:
    text = shown(print_comparison, compare([s.nvme_after(), replace(s.nvme_after(), policy="other")]))
    assert text.count("most in flight 3") == 1
    assert "queue-on-node, other: 0000:01:00.0" in text


def test_each_advice_stands_beside_its_own_evidence() -> None:
    found = tuple(
        Finding(kind="remote", devices=(name,), evidence={"node": node}, advice=f"Advice for {name}.")
        for node, name in enumerate("abc")
    )
    lines = shown(print_trace, replace(s.nvme_after(), findings=found)).splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("remote (medium)"))
    told = [line.strip() for line in lines[start + 1 : start + 7]]
    assert told == ["a; node 0", "→ Advice for a.", "b; node 1", "→ Advice for b.", "c; node 2", "→ Advice for c."]


def test_policies_that_did_the_same_are_one_row_and_list_their_probes_once() -> None:
    text = shown(print_comparison, compare([s.nvme_after(), replace(s.nvme_after(), policy="other")]))
    assert text.count("kworker/u1025:4 on 1") == 1
    assert len(re.findall(r"^queue-on-node \+1 .* base ", text, re.MULTILINE)) == 1
    assert "queue-on-node +1: also other" in text
    assert "queue-on-node, other:\n" in text


def test_the_base_stands_first_among_those_that_are_like_it() -> None:
    text = shown(print_comparison, compare([s.nvme_after(), replace(s.nvme_after(), policy="base")], "base"))
    assert "base +1: also queue-on-node" in text


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
    text = shown(print_comparison, compare([s.many(100)]))
    assert "the 12 slowest of 100 probes (--top N shows more" in text
    assert text.count("\n") < 80


def listed(trace: Trace, **choice: Any) -> list[str]:
    """The devices of a table's rows, in order."""
    text = shown(print_trace, trace, view=View(choice=ProbeChoice(**choice)))
    return [word for line in text.splitlines() for word in line.split() if re.fullmatch(r"[abc]\d?", word)][:3]


def test_probes_are_sorted_by_any_column_and_cut() -> None:
    costs = {"b": (0, 20), "a": (5, 30), "c": (9, 10)}
    probes = [
        s.probe(name, start_ns=start * s.MS, cost_ns=cost * s.MS, runnable_ns=start)
        for name, (start, cost) in costs.items()
    ]
    trace = s.trace(*probes, machine=s.small())
    assert listed(trace) == ["b", "a", "c"]
    assert listed(trace, sort="device") == ["a", "b", "c"]
    assert listed(trace, sort="cost") == ["a", "b", "c"]
    assert listed(trace, sort="runnable") == ["c", "a", "b"]
    assert listed(trace, sort="end") == ["c", "b", "a"]
    assert listed(trace, top=2)[:2] == ["a", "b"]
    assert listed(trace, top=1, sort="start")[0] == "b"
    assert "the 2 slowest of 3 probes" in shown(print_trace, trace, view=View(choice=ProbeChoice(top=2)))
    assert "the 2 first by start of 3 probes" in shown(
        print_trace, trace, view=View(choice=ProbeChoice(top=2, sort="start"))
    )


def test_legends_are_told_once_and_if_asked_for() -> None:
    plain, told = (shown(print_comparison, compared(), view=View(explain=explain)) for explain in (False, True))
    assert plain.endswith("--explain says what each column is\n")
    assert "ready, and waiting for a CPU" not in plain
    for legend in (
        "ready, and waiting for a CPU that others used",
        "first start to last end",
        "every CPU a probe ran on",
    ):
        assert told.count(legend) == 1
    assert told.index("ready, and waiting") > told.index("first-llc (low)")


def test_what_makes_figures_wrong_stands_above_them_and_assumptions_stand_last() -> None:
    kinds = ("assumed-cost", "cmdline", "supplier")
    warnings = tuple(RunWarning(kind=kind, message=f"about {kind}") for kind in kinds)
    text = shown(print_trace, replace(s.nvme_after(), warnings=warnings))
    places = [text.index(f"about {kind}") for kind in ("cmdline", "supplier", "assumed-cost")]
    assert places[0] < text.index("0000:01:00.0") < places[1] < places[2]


def test_a_gain_that_leaves_the_node_is_not_green_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    away = s.trace(*(replace(r, cpu_node=1, cpu=70 + i) for i, r in enumerate(s.nvme_after().probes)),
                   machine=s.epyc(), policy="away")  # fmt: skip
    text = shown(print_comparison, compare([s.nvme_before(), away, s.nvme_after()]), stream=Terminal())
    assert "\x1b[33m-34.8 % off node" in text
    row = next(line for line in text.splitlines() if line.startswith("away"))
    assert "\x1b[32m" not in row
    assert "\x1b[32m-34.8 %" in next(line for line in text.splitlines() if line.startswith("queue-on-node"))


def test_ten_thousand_rows_take_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cell is measured, and each line written, once: through a layout engine it took minutes."""
    calls: Counter[str] = Counter()
    measured = grid.cell_width
    monkeypatch.setattr(grid, "cell_width", lambda text: calls.update(["width"]) or measured(text))
    text = shown(print_trace, s.many(10_000))
    assert text.count("\n") > 10_000
    cells = 10_000 * len(COLUMNS)
    assert calls["width"] < 4 * cells


# ---- blame and critical chain ----


def test_blame_is_by_cost_as_systemd_analyze_has_it() -> None:
    text = shown(print_blame, s.nvme_before())
    assert text == "52.700 ms 0000:03:00.0 (nvme)\n52.500 ms 0000:02:00.0 (nvme)\n52.300 ms 0000:01:00.0 (nvme)\n"
    assert shown(print_blame, s.nvme_before(), choice=ProbeChoice(top=1)).count("\n") == 1


def test_the_critical_chain_leads_from_the_last_end_to_what_nothing_held_up() -> None:
    lines = shown(print_chain, s.nvme_inline()).splitlines()
    assert lines[-3:] == [
        "0000:03:00.0 (nvme) @103.300 ms +34.300 ms [the same caller probed it before]",
        "└─0000:02:00.0 (nvme) @68.800 ms +34.300 ms [the same caller probed it before]",
        "  └─0000:01:00.0 (nvme) @34.300 ms +34.300 ms",
    ]
    assert "no probe has times" in shown(print_chain, s.seed_table("dec27", "work-on-cpu"))


def test_the_least_important_columns_go_first() -> None:
    columns = [Column(title="keep"), Column(title="second", spare=1), Column(title="first", spare=2)]
    table = Grid(columns=columns, rows=[["x" * 10, "y" * 10, Cell("z" * 10)]])
    assert table.fitting(40) == [0, 1, 2]
    assert table.fitting(34) == [0, 1, 2]
    assert table.fitting(30) == [0, 1]
    assert table.fitting(5) == [0]
    alike = [columns[0], Column(title="one", spare=1), Column(title="other", spare=1)]
    assert Grid(columns=alike, rows=table.rows).fitting(30) == [0]


def test_texts_give_way_between_their_parts_and_numbers_never(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "24")
    out = io.StringIO()
    columns = [Column(title="what"), Column(title="cost", align="right")]
    draw(Grid(columns=columns, rows=[["alpha beta, gamma 4 MiB", "1234.567 ms"]]), console_for(out), legend=False)
    assert out.getvalue().splitlines() == [
        "what                cost",
        "alpha beta,  1234.567 ms",
        "gamma 4 MiB",
    ]


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
