from __future__ import annotations

import struct
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import synthetic as s
from hypothesis import given, settings
from hypothesis import strategies as st
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace as Decoded
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TrackEvent

from numaprobe.analysis import compare
from numaprobe.records import RunState, Segment
from numaprobe.report.lanes import lanes, stretches
from numaprobe.report.perfetto import write_perfetto
from numaprobe.report.picture import svg, write_png, write_svg

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SVG = "{http://www.w3.org/2000/svg}"


# ---- lanes ----


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 30), st.integers(0, 2)), min_size=1, max_size=25))
def test_bars_of_a_row_never_overlap_and_no_row_is_wasted(plan: list[tuple[int, int, int]]) -> None:
    trace = s.trace(*(s.probe(f"d{i}", start_ns=a, cost_ns=cost, cpu=cpu) for i, (a, cost, cpu) in enumerate(plan)))
    made = lanes(trace)
    assert sum(len(lane.bars) for lane in made) == len(plan)
    for lane in made:
        rows: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for bar in lane.bars:
            rows[bar.row].append((bar.start_ns, bar.start_ns + max(1, bar.record.cost_ns)))
        for spans in rows.values():
            spans.sort()
            assert all(a[1] <= b[0] for a, b in pairwise(spans))
        ends = [(bar.start_ns, bar.start_ns + max(1, bar.record.cost_ns)) for bar in lane.bars]
        most = max(sum(a <= start < b for a, b in ends) for start, _ in ends)
        assert lane.rows == most


def test_lanes_are_by_node_llc_and_cpu_with_the_unknown_last() -> None:
    probes = [s.probe(f"d{i}", cpu=cpu, cpu_node=None) for i, cpu in enumerate((70, 8, 128, 0, None))]
    order = [(lane.node, lane.llc, lane.cpu) for lane in lanes(s.trace(*probes, machine=s.epyc()))]
    assert order == [(0, 0, 0), (0, 0, 128), (0, 1, 8), (1, 8, 70), (None, None, None)]


def test_stretches_join_what_continues() -> None:
    record = s.nvme_after().probes[0]
    joined = list(stretches(record))
    assert [state for _, state, _ in joined] == [RunState.SLEEPING, RunState.RUNNING, RunState.SLEEPING]
    assert sum(length for length, _, _ in joined) == record.cost_ns


# ---- SVG and PNG ----


def test_the_svg_has_a_bar_for_every_state(golden: Callable[[str, str], None]) -> None:
    text = svg(compare([s.nvme_before(), s.nvme_after(), s.nvme_inline()]))
    golden("nvme.svg", text)
    root = ET.fromstring(text)  # noqa: S314  our own text
    fills = [rect.get("fill") for rect in root.iter(f"{SVG}rect")]
    # Four turns each under work-on-cpu, one each under the others, two in the legend.
    assert fills.count("#0072b2") == 3 * 4 + 3 + 3 + 2
    waiting = [state for r in s.nvme_before().probes for _, state, _ in stretches(r) if state is RunState.RUNNABLE]
    assert fills.count("url(#h)") == len(waiting) + 1
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert words.count("! 0000:02:00.0") == 1
    assert "CPU 134  LLC 0" in words


def test_a_probe_that_moved_is_pale_while_it_is_elsewhere() -> None:
    parts = (Segment(0, 10, RunState.RUNNING, 1), Segment(10, 20, RunState.RUNNING, 3))
    moved = s.probe(cost_ns=20, running_ns=20, runnable_ns=0, sleeping_ns=0, segments=parts)
    stayed = replace(moved, segments=(parts[0], parts[1]._replace(cpu=1)))
    pale = [svg(compare([s.trace(one)])).count('fill="#0072b2" fill-opacity=".35"') for one in (moved, stayed)]
    assert pale == [2, 1]


def words(text: str) -> list[str]:
    return [word.text or "" for word in ET.fromstring(text).iter(f"{SVG}text")]  # noqa: S314  our own text


def test_a_picture_says_what_it_is_of() -> None:
    text = svg(compare([s.nvme_before(), s.nvme_after()]))
    assert words(text)[:2] == ["nvme-epyc", "epyc-9a64 · kernel 6.19 (virtual)"]
    title = ET.fromstring(text).find(f"{SVG}title")  # noqa: S314  our own text
    assert title is not None
    assert title.text == "nvme-epyc · epyc-9a64 · kernel 6.19 (virtual)"
    two = [replace(s.nvme_before(), scenario=name, kernel=kernel) for name, kernel in (("a", "6.1"), ("b", "7.2"))]
    labelled = words(svg(compare(two, labels=["before", "after.json"])))
    assert labelled[:2] == ["before, after.json", "epyc-9a64 · kernel 6.1 (virtual), kernel 7.2 (virtual)"]


def test_equal_runs_are_drawn_once_and_all_are_named() -> None:
    again = [replace(s.nvme_before(), policy=name) for name in ("one", "two", "three")]
    late = tuple(
        replace(one, start_ns=(one.start_ns or 0) + 7, end_ns=(one.end_ns or 0) + 7, segments=None)
        for one in again[1].probes
    )
    plain = [replace(one, probes=tuple(replace(r, segments=None) for r in one.probes)) for one in (again[0], again[2])]
    told = words(svg(compare([plain[0], replace(again[1], probes=late), plain[1], s.nvme_after()])))
    assert told.count("0000:01:00.0") == 2
    assert "the same under two, three" in told
    other = replace(again[1], probes=(replace(late[0], comm="kworker/9:9"), *late[1:]))
    assert words(svg(compare([plain[0], other]))).count("0000:01:00.0") == 2


def test_no_name_covers_the_start_of_a_bar() -> None:
    """The name stands at the end of its bar, or nowhere: the first 20 px are what the probe did first."""
    for cost in (10, 50, 300, 1000):
        long = s.probe("0000:02:00.0", start_ns=0, cost_ns=1000 * s.MS, cpu=2)
        text = svg(compare([s.trace(s.probe("0000:01:00.0", start_ns=0, cost_ns=cost * s.MS), long)]))
        plates = [rect for rect in ET.fromstring(text).iter(f"{SVG}rect") if rect.get("fill-opacity") == ".82"]  # noqa: S314
        assert len(plates) == 1 + (cost > 100)
        ends = sorted(float(rect.get("x") or 0) + float(rect.get("width") or 0) for rect in plates)
        assert ends[-1] == 1200 - 20 - 3
        assert all(float(rect.get("x") or 0) > 130 + 20 for rect in plates)


def test_a_thin_lane_has_a_bar_for_what_ran_there_alone() -> None:
    parts = (
        Segment(0, 10, RunState.RUNNING, 1),
        Segment(10, 20, RunState.RUNNABLE, 1),
        Segment(20, 30, RunState.SLEEPING, 1),
        Segment(30, 40, RunState.RUNNING, 3),
    )
    row = {"cost_ns": 40, "running_ns": 20, "runnable_ns": 10, "sleeping_ns": 10, "segments": parts}
    text = svg(compare([s.trace(*(s.probe(f"d{index}", **row) for index in range(200)))]))
    rects = [rect.attrib for rect in ET.fromstring(text).iter(f"{SVG}rect")]  # noqa: S314  our own text
    blue = [rect for rect in rects if rect["fill"] == "#0072b2" and "fill-opacity" not in rect]
    assert len(blue) == 200 + 1
    lines = [rect for rect in rects if rect["height"] == "0.80"]
    assert len(lines) == 3 * 200
    assert not [rect for rect in rects[:-6] if rect["fill"] == "url(#h)"]


def test_hostile_names_stay_text_in_svg() -> None:
    name = "<script>alert(1)</script>&\"'\x00\x1b"
    text = svg(compare([s.trace(s.probe(name), policy=name)]))
    root = ET.fromstring(text)  # noqa: S314  our own text
    assert not list(root.iter(f"{SVG}script"))
    assert any("<script>alert(1)</script>" in (word.text or "") for word in root.iter(f"{SVG}text"))


def test_five_thousand_bars_fit_a_bounded_picture(tmp_path: Path) -> None:
    write_svg(compare([s.many(5000)]), tmp_path / "big.svg")
    root = ET.parse(tmp_path / "big.svg").getroot()  # noqa: S314  our own text
    assert float(root.get("height") or 0) < 12_000


def test_a_png_is_a_png_of_the_size_asked_for(tmp_path: Path) -> None:
    comparison = compare([s.seed_table("dec27", "work-on-cpu")])
    write_png(comparison, tmp_path / "a.png", scale=1)
    data = (tmp_path / "a.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">I", data[16:20]) == (1200,)


def test_an_empty_trace_has_a_picture_too() -> None:
    assert svg(compare([s.trace()])).startswith("<svg")


# ---- Perfetto ----


def decode(path: Path) -> Decoded:
    trace = Decoded()
    trace.ParseFromString(path.read_bytes())
    return trace


def slices(trace: Decoded) -> list[dict[str, Any]]:
    """Match begins and ends as Perfetto does: per track, last in first out."""
    open_slices: dict[int, list[dict[str, Any]]] = defaultdict(list)
    done = []
    for packet in trace.packet:
        if not packet.HasField("track_event"):
            continue
        event = packet.track_event
        if event.type == TrackEvent.TYPE_SLICE_BEGIN:
            made = {"name": event.name, "track": event.track_uuid, "start": packet.timestamp, "event": event,
                    "depth": len(open_slices[event.track_uuid])}  # fmt: skip
            open_slices[event.track_uuid].append(made)
            done.append(made)
        else:
            made = open_slices[event.track_uuid].pop()
            made["end"] = packet.timestamp
            assert made["end"] >= made["start"]
    assert not any(open_slices.values())
    return done


def tracks(trace: Decoded) -> dict[int, Any]:
    return {p.track_descriptor.uuid: p.track_descriptor for p in trace.packet if p.HasField("track_descriptor")}


def test_perfetto_decodes_to_the_same_probes(tmp_path: Path) -> None:
    comparison = compare([s.nvme_before(), s.nvme_inline()])
    written = write_perfetto(comparison, tmp_path / "a.pftrace")
    trace = decode(tmp_path / "a.pftrace")
    found = slices(trace)
    assert written.slices == len(found)
    probes = [one for one in found if "probe" in one["event"].categories]
    records = [r for entry in comparison.entries for r in entry.trace.probes]
    first = {id(r): min(x.start_ns or 0 for x in e.trace.probes) for e in comparison.entries for r in e.trace.probes}
    assert sorted((one["start"], one["end"] - one["start"], one["name"]) for one in probes) == sorted(
        ((r.start_ns or 0) - first[id(r)], r.cost_ns, f"nvme {r.device}") for r in records
    )
    remote = [one["name"] for one in probes if "remote" in one["event"].categories]
    assert remote == [f"nvme 0000:0{i}:00.0" for i in (1, 2, 3)]
    facts = {note.name: note for note in probes[0]["event"].debug_annotations}
    assert facts["comm"].string_value == "kworker/0:1"
    assert facts["cost_ns"].int_value == comparison.entries[0].trace.probes[0].cost_ns
    running = [one for one in found if one["name"] == "running" and one["depth"] == 1]
    assert sum(one["end"] - one["start"] for one in running) == sum(r.running_ns or 0 for r in records)


def test_perfetto_tracks_are_run_node_cpu(tmp_path: Path) -> None:
    write_perfetto(compare([s.nvme_after()]), tmp_path / "a.pftrace")
    trace = decode(tmp_path / "a.pftrace")
    known = tracks(trace)
    probe = next(one for one in slices(trace) if one["name"] == "nvme 0000:02:00.0")
    cpu = known[probe["track"]]
    node = known[cpu.parent_uuid]
    run = known[node.parent_uuid]
    assert (run.name, node.name, cpu.name) == ("queue-on-node (virtual)", "node 0", "CPU 134")


def test_perfetto_flows_lead_from_caller_to_probe(tmp_path: Path) -> None:
    write_perfetto(compare([s.nvme_before(), s.nvme_inline()]), tmp_path / "a.pftrace")
    found = slices(decode(tmp_path / "a.pftrace"))
    begins = {flow: one for one in found for flow in one["event"].flow_ids}
    ends = {flow: one for one in found for flow in one["event"].terminating_flow_ids}
    assert len(begins) == 3
    assert begins.keys() == ends.keys()
    for flow, caller in begins.items():
        assert caller["name"].endswith(f"waits for {ends[flow]['name'].removeprefix('nvme ')}")


def test_perfetto_leaves_out_what_has_no_time_and_counts_it(tmp_path: Path) -> None:
    written = write_perfetto(compare([s.seed_table("dec27", "work-on-cpu")]), tmp_path / "a.pftrace")
    assert (written.probes, written.untimed, written.slices) == (0, 3, 0)


def test_perfetto_of_many_probes_in_chunks(tmp_path: Path) -> None:
    written = write_perfetto(compare([s.many(2000)]), tmp_path / "a.pftrace")
    assert written.probes == 2000
    assert len(slices(decode(tmp_path / "a.pftrace"))) == written.slices
