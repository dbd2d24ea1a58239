from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.kernel.memory import PAGE_SIZE, node_of_frame, parse_allocation, parse_zoneinfo, with_memory
from numaprobe.records import ProbeRecord

ZONEINFO = """\
Node 0, zone      DMA
  pages free     3998
        spanned  4095
        present  3998
  start_pfn:           1
Node 0, zone    DMA32
        spanned  258048
  start_pfn:           4096
Node 0, zone   Normal
        spanned  0
        present  0
Node 1, zone    DMA32
        spanned  262093
  start_pfn:           262144
"""
LINE = (
    "        modprobe-317     [001] .....    18.354198: mm_page_alloc: page=000000000ace8a15 pfn={} order={} "
    "migratetype=0 gfp_flags=GFP_KERNEL\n"
)


def test_frames_belong_to_the_node_whose_zone_spans_them() -> None:
    zones = parse_zoneinfo(ZONEINFO)
    assert [node_of_frame(zones, frame) for frame in (0, 1, 4096, 262143, 262144, 524236, 524237)] == [
        None,
        0,
        0,
        0,
        1,
        1,
        None,
    ]


@pytest.mark.parametrize(("written", "frame"), [("0x40000", 262144), ("262144", 262144)])
def test_both_ways_to_write_a_frame_are_read(written: str, frame: int) -> None:
    """Hexadecimal since 5.16, decimal before."""
    found = parse_allocation(LINE.format(written, 2))
    assert found is not None
    assert (found.time_ns, found.comm, found.frame, found.size) == (18354198000, "modprobe", frame, 4 * PAGE_SIZE)


@pytest.mark.parametrize("text", ["", "mm_page_alloc: ", LINE.format("0x1", 99), LINE.format("zz", 0), LINE[:60]])
def test_a_torn_line_is_none(text: str) -> None:
    assert parse_allocation(text) is None


@given(st.text(max_size=200))
@settings(deadline=None, max_examples=200)
def test_any_text_is_an_allocation_or_none(text: str) -> None:
    parse_allocation(text + "mm_page_alloc: " + text)
    parse_zoneinfo(text)


def probe(**changes: object) -> ProbeRecord:
    fields: dict[str, object] = {
        "device": "a",
        "driver": "d",
        "comm": "modprobe",
        "start_ns": 18 * 10**9,
        "end_ns": 19 * 10**9,
    }
    return ProbeRecord(**{**fields, "cost_ns": 10**9, **changes})  # type: ignore[arg-type]


def test_pages_go_to_the_probe_whose_task_took_them_while_it_ran() -> None:
    lines = [LINE.format("0x40000", 1), LINE.format("0x10", 0), LINE.format("0x40001", 0), "other\n"]
    probes = [probe(), probe(comm="kworker/0:1"), probe(start_ns=0, end_ns=1), probe(comm=None)]
    mine, worker, early, unknown = with_memory(probes, lines, parse_zoneinfo(ZONEINFO))
    assert mine.memory == {0: PAGE_SIZE, 1: 3 * PAGE_SIZE}
    assert worker.memory == {}
    assert early.memory == {}
    assert unknown.memory is None


def test_what_was_taken_before_events_were_lost_is_not_told() -> None:
    def probe(start: int, end: int) -> ProbeRecord:
        return ProbeRecord(device="d", driver="d", comm="modprobe", cost_ns=1, start_ns=start, end_ns=end)

    probes = [
        probe(18_354_000_000, 18_354_100_000),
        probe(18_354_150_000, 18_354_300_000),
        probe(18_354_198_000, 18_355_000_000),
    ]
    lines = ["CPU:1 [LOST 7 EVENTS]\n", LINE.format("0x1", 0)]
    zones = parse_zoneinfo(ZONEINFO)
    assert [one.memory for one in with_memory(probes, lines, zones)] == [None, None, {0: PAGE_SIZE}]
    assert [one.memory for one in with_memory(probes, lines[:1], zones)] == [None, None, None]
