"""Every recorded trace against the placements that an independent script worked out of it."""

import csv
import gzip
import io
from collections import defaultdict
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from numaprobe.kernel.ftrace import read_ftrace
from numaprobe.kernel.kprobes import parse_kprobe_events
from numaprobe.kernel.readers import read_trace
from numaprobe.records import ProbeRecord, Trace

DATA = Path(__file__).parents[1] / "data" / "kernel"
TRACES = sorted(DATA.glob("*/*/*.trace.gz"))
PATHS = {"device_driver_attach(sysfs bind)": "device_driver_attach", "__device_attach": "device_attach"}


@cache
def expected() -> dict[tuple[str, ...], list[dict[str, str]]]:
    rows = defaultdict(list)
    with (DATA / "placements.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows[row["kernel"], row["machine"], row["scenario"], row["repetition"]].append(row)
    return dict(rows)


def key(path: Path) -> tuple[str, ...]:
    scenario, repetition = path.name.split(".")[:2]
    return path.parts[-3], path.parts[-2], scenario, repetition


@cache
def read(path: Path) -> Trace:
    return read_trace(path)


def placement(record: ProbeRecord) -> tuple[object, ...]:
    return (
        record.device,
        record.driver,
        record.cpu,
        record.comm,
        record.caller_cpu,
        record.caller_comm,
        record.function,
        record.path,
        record.result,
        record.start_ns,
        record.end_ns,
    )


def row_placement(row: dict[str, str]) -> tuple[object, ...]:
    return (
        row["device"],
        row["driver"],
        int(row["cpu"]),
        row["comm"],
        int(row["caller_cpu"]),
        row["caller_comm"],
        row["function"],
        PATHS.get(row["path"], row["path"]),
        row["result"],
        int(row["start_ns"]),
        int(row["end_ns"]),
    )


def test_there_is_a_trace_for_every_placement_and_all_are_here() -> None:
    assert len(TRACES) == 100
    assert set(expected()) <= {key(path) for path in TRACES}
    assert sum(map(len, expected().values())) == 269


@pytest.mark.parametrize("path", TRACES, ids=lambda path: "-".join(key(path)))
def test_every_probe_of_a_trace_is_placed_as_the_script_says(path: Path) -> None:
    rows = expected().get(key(path), [])
    probes = read(path).probes
    assert sorted(map(placement, probes)) == sorted(map(row_placement, rows))
    by_place = {(row["device"], int(row["start_ns"])): row for row in rows}
    for probe in probes:
        row = by_place[probe.device, probe.start_ns or 0]
        assert probe.cost_ns == int(row["cost_ns"])
        assert probe.running_ns == int(row["running_ns"])
        assert len(probe.cpus or ()) <= int(row["migrations"]) + 1


@pytest.mark.parametrize("path", TRACES, ids=lambda path: "-".join(key(path)))
def test_the_parts_of_every_probe_add_up(path: Path) -> None:
    for probe in read(path).probes:
        assert probe.segments is not None
        assert probe.running_ns is not None
        assert probe.runnable_ns is not None
        assert probe.sleeping_ns is not None
        assert probe.running_ns + probe.runnable_ns + probe.sleeping_ns == probe.cost_ns
        assert probe.segments[0].start_ns == probe.start_ns
        assert probe.segments[-1].end_ns == probe.end_ns
        assert all(a.end_ns == b.start_ns for a, b in zip(probe.segments, probe.segments[1:], strict=False))
        assert probe.asynchronous == (probe.path or "").endswith("_async")
        assert probe.nested == (probe.device.startswith("virtio") and "vnest" in path.name)


def test_only_probes_that_really_did_not_end_are_missed() -> None:
    odd = {
        key(path)[2:]: [
            warning.message.partition(": ")[0] for warning in read(path).warnings if warning.kind != "not-told"
        ]
        for path in TRACES
        if any(warning.kind != "not-told" for warning in read(path).warnings)
    }
    words = "{} probe(s) did not return while it was recorded, or their return was missed"
    assert odd == {
        ("asyncparam", "1"): [words.format(2)],
        ("asyncparam", "2"): [words.format(1)],
        ("rescan", "1"): [words.format(2)],
    }


@pytest.mark.parametrize("space", [3, 40, 200])
def test_sums_stay_right_when_there_is_no_room_for_segments(monkeypatch: pytest.MonkeyPatch, space: int) -> None:
    path = DATA / "debian-7.2" / "two-nodes" / "async.1.trace.gz"
    whole = read(path).probes
    monkeypatch.setattr("numaprobe.kernel.calls.MAX_LOGGED", space)
    trace = read_trace(path)
    assert any(probe.segments is None for probe in trace.probes)
    assert "no-segments" in {warning.kind for warning in trace.warnings}
    assert [replace(probe, segments=None) for probe in trace.probes] == [
        replace(probe, segments=None) for probe in whole
    ]


def test_the_symbols_in_the_text_tell_what_definitions_would() -> None:
    path = DATA / "debian-7.2" / "two-nodes" / "bind.1.trace.gz"
    with gzip.open(path) as stream:
        without = read_ftrace(stream)
    assert without.probes == read(path).probes


def test_trace_cmds_words_for_a_recorded_trace_say_the_same() -> None:
    # written by trace-cmd report 3.1.6 from a trace.dat of the same events (bench/trace_dat.py makes one)
    report = DATA / "trace-cmd" / "debian-7.2-async.1.report.gz"
    probes = read_trace(report, kprobes=DATA / "debian-7.2" / "two-nodes" / "machine.txt").probes
    told = read(DATA / "debian-7.2" / "two-nodes" / "async.1.trace.gz").probes
    assert all(probe.waits for probe in told)
    assert probes == tuple(
        replace(probe, waits=None) for probe in told
    )  # no flags, so no word on which task woke another
    assert len(probes) == 3


def test_addresses_instead_of_symbols_need_the_definitions() -> None:
    path = DATA / "debian-7.2" / "two-nodes" / "sync.1.trace.gz"
    lines = gzip.decompress(path.read_bytes()).replace(b"(really_probe+0x0/0x380)", b"(ffffffff89b6c8e0)")
    lines = lines.replace(
        b"(__driver_probe_device+0x85/0x150 <- really_probe)", b"(ffffffff89b6cc70 <- ffffffff89b6c8e0)"
    )
    definitions = parse_kprobe_events((path.parent / "machine.txt").read_text().splitlines())
    with_them = read_ftrace(io.BytesIO(lines), definitions=definitions)
    assert with_them.probes == read(path).probes
    assert all(probe.caller_comm is None for probe in read_ftrace(io.BytesIO(lines)).probes)
