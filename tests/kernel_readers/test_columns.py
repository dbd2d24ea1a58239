"""Blocks of trace-cmd's text tell what their lines tell, one by one."""

import gzip
import io
import random
import re
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernel_readers.test_ftrace_real_traces import DATA

from numaprobe.kernel import columns, ftrace, lines
from numaprobe.kernel.columns import BEGINS, ENDS, EVENT, LINE, Columns
from numaprobe.kernel.ftrace import FtraceReader
from numaprobe.kernel.probes import SeenEvents
from numaprobe.kernel.readers import read_definitions
from numaprobe.records import RunState

DEFINITIONS = read_definitions(DATA / "debian-7.2" / "two-nodes" / "machine.txt")
REPORT = gzip.decompress((DATA / "trace-cmd" / "debian-7.2-async.1.report.gz").read_bytes()).split(b"\n")
#: tasks that probe in it
PIDS = (b"66", b"69", b"89", b"289", b"122", b"44")
ODD_LINES = (
    b"CPU:2 [LOST 3 EVENTS]",
    b"# tracer: nop",
    b"",
    b"garbage",
    b"cpus=8",
    b"   kworker/4:1-89    [004]    43.9: sched_switch:         kworker/4:1:89 [120] S ==> swapper/4:0 [120]",
    b"   kworker/4:1-89    [004] d..2.    43.920000: sched_wakeup:         kworker/4:2:122 [120] CPU:004",
    b"   kworker/4:1-89    [004]    43.920001: sched_migrate_task: comm=k pid=89 prio=120 orig_cpu=4 dest_cpu=5",
)
ALL_SEEN = SeenEvents(switch=True, wakeup=True)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ftrace, "FIRST_SLOW", 0)


def read(text: bytes, *, block: int | None) -> tuple[object, object]:
    """Return the records and what was counted, but for torn lines: of a line of no concern not all is looked at."""
    before = ftrace.MIN_BLOCK, lines.BLOCK
    ftrace.MIN_BLOCK, lines.BLOCK = (1 << 60, 1 << 18) if block is None else (0, block)  # type: ignore[misc]
    try:
        reader = FtraceReader(DEFINITIONS)
        return reader.trace(io.BytesIO(text)).probes, replace(reader.counts, torn=0)
    finally:
        ftrace.MIN_BLOCK, lines.BLOCK = before  # type: ignore[misc]


def damaged(dice: random.Random) -> bytes:
    """Return a part of the report with some lines lost, cut, doubled, changed or of another task."""
    start = dice.randrange(len(REPORT) - 60)
    text = REPORT[start : start + dice.choice((60, 200, 900))]
    for _ in range(dice.choice((0, 1, 3, 10))):
        at = dice.randrange(len(text))
        match dice.randrange(7):
            case 0:
                del text[at : at + dice.randrange(1, 4)]
            case 1:
                text.insert(dice.randrange(len(text)), text[at])
            case 2:
                text[at] = text[at][: dice.randrange(len(text[at]) + 1)]
            case 3:
                text.insert(at, dice.choice(ODD_LINES))
            case 4:
                place = dice.randrange(len(text[at]) + 1)
                text[at] = (
                    text[at][:place] + dice.choice((b"[", b"]", b"=", b":", b" ", b"0", b"\0", b"R")) + text[at][place:]
                )
            case 5:
                text[at] = text[at].replace(b"    43.", dice.choice((b"     9.", b"    44.", b"    42.")))
            case 6:
                old, new = dice.choice(PIDS), dice.choice((*PIDS, b"1234567", b"12345678", b"3"))
                for i in range(at, min(len(text), at + dice.choice((1, 50)))):
                    text[i] = text[i].replace(b"-%s " % old, b"-%s " % new).replace(b":%s " % old, b":%s " % new)
        text = text or [b"x"]
    return b"\n".join(text)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.sampled_from((1 << 11, 1 << 13, 1 << 18)))
def test_blocks_of_any_size_tell_what_lines_tell(seed: int, block: int) -> None:
    text = damaged(random.Random(seed))
    assert read(text, block=block) == read(text, block=None)


@pytest.mark.parametrize("block", [1 << 12, 1 << 14, 1 << 20])
def test_the_real_report_in_blocks(block: int) -> None:
    text = b"\n".join(REPORT)
    assert read(text, block=block) == read(text, block=None)
    assert len(read(text, block=block)[0]) == 3  # type: ignore[arg-type]


def test_nanoseconds_and_large_numbers_are_exact() -> None:
    text = b"\n".join(line.replace(b": ", b"789: ", 1).replace(b"    43.", b"9876543.") for line in REPORT)
    fast, slow = read(text, block=1 << 14), read(text, block=None)
    assert fast == slow
    (first, *_) = fast[0]  # type: ignore[misc]
    assert first.start_ns % 1000 == 789
    assert first.start_ns // 10**9 == 9876543


@pytest.mark.parametrize("name", [b"      <...>", b"kworker/dying"])
def test_a_task_without_a_name_gets_it_when_it_comes(name: bytes) -> None:
    text = b"\n".join(line.replace(b"kworker/4:1-89 ", name + b"-89 ") for line in REPORT)
    assert read(text, block=1 << 13) == read(text, block=None)
    assert "kworker/4:1" in {probe.comm for probe in read(text, block=1 << 13)[0]}  # type: ignore[attr-defined]


def test_a_clock_that_steps_back_is_counted() -> None:
    half = len(REPORT) // 2
    text = b"\n".join((*REPORT, *REPORT[half:], *REPORT[:half]))
    assert read(text, block=1 << 13) == read(text, block=None)


def test_what_is_plain_and_what_it_tells() -> None:
    block = b"\n".join(
        (
            b"cpus=8",
            b"          <idle>-0     [006]    43.408045: sched_wakeup:         kworker/u34:0:66 [120] CPU:004",
            b"          <idle>-0     [004]    43.408046: sched_switch:         x:0 [120] R ==> kworker/u34:0:66 [120]",
            b"   kworker/u34:0-66    [004]    43.408047: sched_switch:         kworker/u34:0:66 [98] D ==> x:0 [120]",
            b"   kworker/u34:0-66    [004]    43.408048: sched_switch:         kworker/u34:0:66 [120] R+ ==> a:5 [120]",
            b"          x [7]:-66    [004]    43.408049: sched_switch:         y:66 [120] S ==> swapper/4:0 [120]",
            b"          <idle>-0     [006]    43.408050: sched_wakeup:         other:1166 [120] CPU:004",
            b'   kworker/u34:0-66    [004]    43.408051: rp:                   (2000) dev="a" drv="b"',
        )
    )
    sieve = Columns(block)
    assert sieve.plain
    assert sieve.pids() == {b"66"}
    sifted = sieve.sift({b"66"}, 0, ALL_SEEN, works=False)
    changes = sifted.changes[b"66"]
    assert changes.lines == [1, 2, 3, 4]
    told, wakes = changes.until(99)
    assert list(zip(told.times, told.states, told.cpus, strict=True)) == [
        (43_408_045_000, RunState.RUNNABLE, 4),
        (43_408_046_000, RunState.RUNNING, 4),
        (43_408_047_000, RunState.SLEEPING, 4),
        (43_408_048_000, RunState.RUNNABLE, 4),
    ]
    assert wakes == [0]
    rows = list(sifted.rows)
    assert [(number, kind) for number, kind, *_ in rows] == [(0, LINE), (5, LINE), (7, EVENT)]
    assert rows[2][5:] == (b"66", 4, 43_408_051_000)
    assert [block[begin:end] for _, _, begin, end, *_ in rows] == [block.split(b"\n")[i] for i in (0, 5, 7)]


def test_another_layout_is_not_plain() -> None:
    kernel = b"   kworker/u34:0-66    [004] d..2.    43.408047: sched_switch: prev_comm=a prev_pid=5 prev_state=S\n"
    assert not Columns(kernel * 20).plain
    assert not Columns(b"\n" * 5000).plain
    assert not Columns(b"x").plain


def test_a_block_of_nothing_is_one_empty_line() -> None:
    empty = Columns(b"")
    assert (empty.plain, empty.count, empty.line(0)) == (False, 1, b"")
    assert read(b"\n", block=1 << 12) == read(b"\n", block=None)


@settings(deadline=None)
@given(st.lists(st.integers(1, 999_999), min_size=1, max_size=40, unique=True), st.data())
def test_pids_are_told_apart_to_the_last_digit(pids: list[int], data: st.DataObject) -> None:
    watched = set(data.draw(st.lists(st.sampled_from(pids), min_size=1)))
    template = b"          <idle>-0     [006]    43.%06d: sched_wakeup:         k:%d [120] CPU:004"
    block = b"\n".join(template % (at, pid) for at, pid in enumerate(pids))
    changes = (
        Columns(block + b"\n" + b"x" * 128).sift({b"%d" % pid for pid in watched}, 0, ALL_SEEN, works=False).changes
    )
    assert {int(pid) for pid in changes} == watched
    assert all(pids[line] == int(pid) for pid, change in changes.items() for line in change.lines)


@pytest.mark.parametrize("pid", [b"999999", b"1000000", b"12345678"])
def test_long_pids_are_read(pid: bytes) -> None:
    assert Columns.finds({b"1", pid}) == (len(pid) == 6)
    text = b"\n".join(REPORT).replace(b"-89 ", b"-%s " % pid).replace(b":89 ", b":%s " % pid)
    assert read(text, block=1 << 13) == read(text, block=None)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (rb"-89    \[", b"-89   \0["),
        (rb"-89    \[", b"-89    \0"),
        (rb"-89    (\[\d+\] +43\.\d+): ", rb"-89    \1:\0"),
        (rb"-89    (\[\d+\] +43\.\d+): ", rb"-89    \1\0 "),
        (rb"-89    \[(\d+)\] ", rb"-89    [\1]\0"),
        (rb" +kworker/4:1-89 ", b"-89 "),
        (rb" +kworker/4:1-89 ", b" " + b"k" * 65 + b"-89 "),
        (rb" +kworker/4:1-89 ", b" " + b"k" * 64 + b"-89 "),
    ],
)
def test_a_head_that_is_damaged_is_read_as_by_lines(old: bytes, new: bytes) -> None:
    text = b"\n".join(REPORT)
    for damaged_lines in (re.sub(old, new, text), re.sub(old, new, text, count=40)):
        assert damaged_lines != text
        assert read(damaged_lines, block=1 << 13) == read(damaged_lines, block=None)


@pytest.mark.parametrize("width", range(2, 14))
@given(st.lists(st.text("0123456789 [].-x", min_size=8, max_size=8), min_size=1, max_size=20), st.data())
def test_seconds_are_blanks_and_then_digits(width: int, texts: list[str], data: st.DataObject) -> None:
    size = min(width, 8)
    texts.append(texts[0][: 8 - size] + str(data.draw(st.integers(0, 10 ** (size - 1) - 1))).rjust(size))
    numbers, fine = columns._seconds(
        np.array([int.from_bytes(text.encode(), "little") for text in texts], "<u8"), width
    )
    for text, number, good in zip(texts, numbers.tolist(), fine.tolist(), strict=True):
        match = re.fullmatch(" +([0-9]+)", text[8 - size :])
        assert good == (match is not None), text
        assert not match or number == int(match[1])
    assert fine[-1]


def test_different_words_are_told_apart_where_two_share_a_slot() -> None:
    for words in (np.arange(1 << 15, dtype=np.uint64), np.repeat(np.arange(9, dtype=np.uint64), 99)):
        found, which = columns._distinct(words)
        assert np.array_equal(found[which], words)
        assert len(set(found.tolist())) == len(found)


def test_works_of_others_are_known_to_the_last() -> None:
    line = (
        b"     kworker/0:%d-%d   [000]    43.28%04d: workqueue_execute_%s work struct 0x%d: function async_run_entry_fn"
    )
    events = [
        (1, b"start:", 1),
        (1, b"end:", 1),
        (2, b"start:", 2),
        (1, b"start:", 3),
        (2, b"end:", 2),
        (1, b"end:", 3),
    ]
    block = b"\n".join(line % (task, 250 + task, at, kind, work) for at, (task, kind, work) in enumerate(events))
    sifted = Columns(block).sift({b"9"}, 0, ALL_SEEN, works=False)
    rows = list(sifted.rows)
    assert [(number, kind) for number, kind, *_ in rows] == [(2, BEGINS), (3, BEGINS), (4, ENDS), (5, ENDS)]
    lines = block.split(b"\n")
    assert sifted.begun.before(2) == [lines[0]]
    assert sifted.begun.before(9) == [lines[3]]
    assert len(list(Columns(block).sift({b"251"}, 0, ALL_SEEN, works=False).rows)) == 6
    assert len(list(Columns(block).sift({b"9"}, 0, ALL_SEEN, works=True).rows)) == 6


def test_a_work_that_an_odd_line_queued_is_carried_on_by_its_worker() -> None:
    """With flags, the lines of the queue and of the worker's call are none that are known when the block is sifted."""
    caller, worker = b"          insmod-445   [003]", b"     kworker/4:1-89    [004]"
    text = b"\n".join(
        (
            caller + b'    43.220000: rp:                   (2000) dev="0000:81:00.0" drv="nvme"',
            caller + b" d..2.    43.220001: workqueue_queue_work: work struct=0xaa function=work_for_cpu_fn",
            worker + b"    43.220010: workqueue_execute_start: work struct 0xaa: function work_for_cpu_fn",
            worker + b" d..2.    43.220011: npp:                  (2000)",
            worker + b" d..2.    43.220021: nppr:                 (3000 <- 2000) ret=0",
            worker + b"    43.220022: workqueue_execute_end: work struct 0xaa: function work_for_cpu_fn",
            worker + b"    43.220030: workqueue_execute_start: work struct 0xbb: function another",
            caller + b"    43.220040: rpr:                  (3000 <- 2000) ret=0",
        )
    )
    by_blocks = read(text, block=1 << 14)
    assert by_blocks == read(text, block=None)
    (probe,) = by_blocks[0]  # type: ignore[misc]
    assert (probe.cpu, probe.comm, probe.cost_ns) == (4, "kworker/4:1", 10_000)


def test_times_are_in_order_or_not() -> None:
    sifted = Columns(b"\n".join(REPORT)).sift(set(PIDS), 0, ALL_SEEN, works=False)
    assert sifted.in_order(0)
    assert not sifted.in_order(10**15)
    times = [now for _, kind, *_, now in sifted.rows if kind != LINE]
    assert all(before <= after for before, after in pairwise(times))
    assert np.all(np.diff(times) >= 0)


@pytest.mark.parametrize("loaded", [True, False])
def test_a_short_text_is_read_by_blocks_only_where_numpy_is_loaded_anyway(
    monkeypatch: pytest.MonkeyPatch, *, loaded: bool
) -> None:
    text = b"\n".join(REPORT)
    monkeypatch.setattr(ftrace, "FIRST_SLOW", len(text) + 1)
    made: list[int] = []
    monkeypatch.setattr(columns, "Columns", lambda block: made.append(len(block)) or Columns(block))
    if not loaded:
        monkeypatch.delitem(sys.modules, "numpy")
    assert read(text, block=1 << 14) == read(text, block=None)
    assert bool(made) == loaded


def test_without_numpy_it_is_read_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"\n".join(REPORT)
    slow = read(text, block=None)
    monkeypatch.setitem(sys.modules, "numaprobe.kernel.columns", None)
    assert read(text, block=1 << 14) == slow


@pytest.mark.parametrize("block", [None, 1 << 13])
def test_what_a_task_with_a_colon_in_its_name_does_is_read(block: int | None) -> None:
    text = b"\n".join(REPORT)
    odd = text.replace(b"         <idle>-0 ", b"       a: idle>-0 ")
    assert odd != text
    assert read(odd, block=block)[0] == read(text, block=None)[0]
