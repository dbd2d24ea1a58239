"""The front door: every form by its content, and nothing but an InputError for what is none."""

import gzip
import io
import os
import random
import threading
from pathlib import Path

import pytest
from ftrace_text import Ftrace
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.errors import InputError
from numaprobe.kernel.ftrace import FtraceReader, read_ftrace
from numaprobe.kernel.lines import BLOCK, MAX_LINE, Lines
from numaprobe.kernel.probes import MAX_TASKS
from numaprobe.kernel.readers import read_trace
from numaprobe.records import ProbeRecord, Trace, dump_trace, load_trace, printk_lines, write_parquet
from numaprobe.topology import symmetric, to_json

DATA = Path(__file__).parents[1] / "data" / "kernel"
SAMPLE = gzip.decompress((DATA / "debian-6.1" / "two-nodes" / "vnest.1.trace.gz").read_bytes())
OURS = Trace(source="host", probes=(ProbeRecord(device="a", driver="b", cpu=1, comm="c", cost_ns=5),))


def test_every_form_from_a_file_and_from_a_stream(tmp_path: Path) -> None:
    parquet = tmp_path / "t.parquet"
    write_parquet(OURS, parquet)
    for content in (dump_trace(OURS).encode(), parquet.read_bytes(), gzip.compress(dump_trace(OURS).encode())):
        path = tmp_path / "x"
        path.write_bytes(content)
        assert read_trace(path) == OURS
        assert read_trace(str(path)) == OURS
        assert read_trace(io.BytesIO(content)) == OURS
    assert read_trace(io.BytesIO(printk_lines(OURS).encode())).probes == OURS.probes
    assert read_trace(io.BytesIO(b"probe of a returned 0 after 3 usecs")).probes[0].cost_ns == 3000
    assert len(read_trace(io.BytesIO(SAMPLE)).probes) == 4


def test_a_large_file_is_not_cut_at_the_head(tmp_path: Path) -> None:
    probes = tuple(ProbeRecord(device=f"device-{i}", driver="d", cost_ns=i) for i in range(5000))
    large = Trace(source="virtual", probes=probes)
    assert read_trace(io.BytesIO(dump_trace(large).encode())) == large
    write_parquet(large, tmp_path / "p")
    assert read_trace(io.BytesIO((tmp_path / "p").read_bytes())) == large
    many = SAMPLE * 20
    assert len(read_ftrace(io.BytesIO(many)).probes) == len(read_trace(io.BytesIO(many)).probes) == 80


def test_a_pipe_is_read_as_it_comes() -> None:
    reader, writer = os.pipe()
    records: list[ProbeRecord] = []
    with os.fdopen(reader, "rb", buffering=BLOCK) as stream, os.fdopen(writer, "wb", buffering=0) as sink:
        done = threading.Event()

        def consume() -> None:
            for record in FtraceReader().records(stream):
                records.append(record)
                done.set()

        thread = threading.Thread(target=consume)
        thread.start()
        sink.write(Ftrace().probe(1, "a-1", 0, "d").probed(2, "a-1", 0).text)
        assert done.wait(10)  # long before the end of the stream
        sink.close()
        thread.join(10)
    assert [record.device for record in records] == ["d"]


def test_definitions_given_beside_and_none(tmp_path: Path) -> None:
    text = b'  a-1 [000] d..1. 1.000000: x1: (ffffffff89b6c8e0) dev="d" drv="n"\n'
    text += b"  a-1 [000] d..1. 2.000000: x2: (ffffffff89b6c8e1 <- ffffffff89b6c8e0) ret=0\n"
    kprobes = b"p:g/x1 really_probe dev=+0(+0($arg1)):string\nr:g/x2 really_probe ret=$retval:s32\n"
    trace, definitions = tmp_path / "t", tmp_path / "k"
    trace.write_bytes(text)
    definitions.write_bytes(kprobes)
    assert read_trace(trace).probes == ()
    assert len(read_trace(trace, kprobes=definitions).probes) == 1
    for beside in ("machine.txt", "kprobe_events", "t.kprobes"):
        (tmp_path / beside).write_bytes(b"node0 0-3\n" + kprobes)
        assert len(read_trace(trace).probes) == 1
        (tmp_path / beside).unlink()
    (tmp_path / "machine.txt").write_bytes(b"nothing of the kind")
    assert read_trace(trace).probes == ()
    definitions.write_bytes(b"nothing")
    with pytest.raises(InputError, match="no kprobe definition"):
        read_trace(trace, kprobes=definitions)
    with pytest.raises(InputError, match="cannot be read"):
        read_trace(trace, kprobes=tmp_path / "missing")


def test_the_machine_given_goes_into_the_trace_and_its_records() -> None:
    machine = symmetric("two", nodes=2, cores=4)
    for text in (SAMPLE, b"nvme d: CPU: 5, COMM: x, probe cost: 3 ns"):
        trace = read_trace(io.BytesIO(text), topology=machine)
        assert trace.machine == to_json(machine)
        assert {record.cpu_node for record in trace.probes} <= {0, 1}
        assert load_trace(dump_trace(trace)) == trace


def test_a_compressed_trace_that_ends_early_keeps_what_it_has() -> None:
    whole = gzip.compress(SAMPLE * 40)
    trace = read_trace(io.BytesIO(whole[: len(whole) // 2]))
    assert trace.probes
    assert "cut-off" in {warning.kind for warning in trace.warnings}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no probe"),
        (b"hello\n", "holds no probe"),
        (b"\x1f\x8b123", "cannot be unpacked"),
        (b"{", "is no JSON"),
        (b'{"schema": "numaprobe.trace/7"}', "this reader knows"),
        (b"PAR1zzz", "is no Parquet"),
        (b"\x17\x08\x44tracing6", "trace-cmd"),
    ],
)
def test_what_is_no_trace_is_one_line(content: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_trace(io.BytesIO(content))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("the stream: ")


def test_a_path_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match="cannot be read"):
            read_trace(path)


def test_lines_are_cut_alike_whatever_the_blocks() -> None:
    text = b"\n".join(bytes([65 + i % 26]) * (i % 300) for i in range(5000)) + b"\nlast"

    class Dribble(io.RawIOBase):
        def __init__(self) -> None:
            self.rest, self.dice = text, random.Random(1)

        def read(self, size: int = -1) -> bytes:
            length = self.dice.randint(1, 1000)
            part, self.rest = self.rest[:length], self.rest[length:]
            return part

    for stream in (io.BytesIO(text), Dribble()):
        assert [line for block in Lines(stream).blocks() for line in block] == text.split(b"\n")


def test_a_line_without_end_is_dropped_and_counted() -> None:
    lines = Lines(io.BytesIO(b"a\n" + b"x" * (5 * BLOCK + MAX_LINE) + b"\nb\n"))
    assert [line for block in lines.blocks() for line in block if line] == [b"a", b"b"]
    assert lines.torn == 1


class Endless:
    """A stream of ``blocks`` pieces made on the fly: nothing of it is in memory."""

    def __init__(self, piece: bytes, blocks: int) -> None:
        self.piece, self.left = piece, blocks

    def read(self, size: int = -1, /) -> bytes:
        self.left -= 1
        return self.piece if self.left >= 0 else b""


def memory_peak(piece: bytes, blocks: int) -> int:
    import tracemalloc

    tracemalloc.start()
    try:
        for _ in FtraceReader().records(Endless(piece, blocks)):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


NEVER_RETURNS = b"".join(
    Ftrace().probe(i, f"a-{i}", 0, f"d{i}").enter(i, f"b-{i}", 1, "__device_attach", f"e{i}").text for i in range(50)
)
SWITCHES = b"".join(
    Ftrace().switch(2 * i, 0, "a-1", "S", "b-2").switch(2 * i + 1, 0, "b-2", "S", "a-1").text for i in range(1000)
)


@pytest.mark.parametrize(("piece", "most"), [(SAMPLE, 400_000), (NEVER_RETURNS, 400_000)], ids=["trace", "no return"])
def test_memory_does_not_grow_with_the_trace(piece: bytes, most: int) -> None:
    short, long = memory_peak(piece, 10), memory_peak(piece, 60)
    assert long < most < 60 * len(piece)
    assert long < short + 300_000  # free lists of the interpreter fill up


def test_one_endless_probe_is_bounded() -> None:
    start = Ftrace().probe(0, "a-1", 0, "d").text

    class OneProbe(Endless):
        def read(self, size: int = -1, /) -> bytes:
            first, self.first = getattr(self, "first", start), b""
            return first or super().read(size)

    reader = FtraceReader()
    assert list(reader.records(OneProbe(SWITCHES, 60))) == []
    assert reader.assembler.counts.unfinished == 1


def test_more_tasks_in_flight_than_there_are_are_dropped() -> None:
    text = b"".join(Ftrace().probe(5, f"a-{i}", 0, f"d{i}").text for i in range(MAX_TASKS + 50))
    reader = FtraceReader()
    stream = reader.records(io.BytesIO(text))
    assert next(stream, None) is None
    assert reader.assembler.counts.unfinished == MAX_TASKS + 50


# ---- hostile input ---------------------------------------------------------------------------------------------------
HEADS = [b"", b"# tracer: nop\n", SAMPLE[:3000], b"{", b"PAR1", b"\x1f\x8b\x08", b"[   1.000000] "]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(HEADS), st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(head: bytes, junk: bytes) -> None:
    try:
        read_trace(io.BytesIO(head + junk))
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017  most are refused, some are read


LINES = [line for line in SAMPLE.split(b"\n") if line]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_mutated_trace_is_read(data: st.DataObject) -> None:
    lines = list(LINES)
    for _ in range(data.draw(st.integers(1, 12))):
        at = data.draw(st.integers(0, len(lines) - 1))
        kind = data.draw(st.sampled_from(["cut", "drop", "copy", "swap", "flip", "insert"]))
        line = lines[at]
        if kind == "cut":
            lines[at] = line[: data.draw(st.integers(0, len(line)))]
        elif kind == "drop":
            del lines[at : at + data.draw(st.integers(1, 20))]
            lines = lines or [b""]
        elif kind == "copy":
            lines.insert(data.draw(st.integers(0, len(lines))), line)
        elif kind == "swap":
            other = data.draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
        elif kind == "flip" and line:
            place = data.draw(st.integers(0, len(line) - 1))
            lines[at] = line[:place] + data.draw(st.binary(min_size=1, max_size=3)) + line[place + 1 :]
        else:
            lines.insert(at, data.draw(st.binary(max_size=40)))
    for record in read_ftrace(io.BytesIO(b"\n".join(lines))).probes:
        parts = record.running_ns, record.runnable_ns, record.sleeping_ns
        assert record.cost_ns >= 0
        if None not in parts:
            assert sum(part or 0 for part in parts) == record.cost_ns


@pytest.mark.parametrize(
    "line",
    [
        b" " * 16000,
        b"-" * 16000,
        b"a-1 " * 4000,
        b"a-1 [000] 1.0: sched_switch:" + b" x:1 [1] R ==> " * 1000,
        b"a-1 [000] 1.0: sched_wakeup:" + b" x:1 [1]" * 1900,
        b"a-1 [000] 1.0: rp: (really_probe+0x0/0x1)" + b' dev="' * 2500,
        b"a-1 [000] 1.0: rp: (really_probe+0x0/0x1) dev=" + b'" ' * 7000,
        b"probe of " * 1700,
        b": probe with driver " * 800,
        b": CPU: 1, COMM: x, probe cost: 1" * 500,
        b"[" * 16000 + b"probe",
    ],
    ids=range(11),
)
def test_a_line_made_to_crawl_over_is_read_or_refused(line: bytes) -> None:
    """What it costs is measured by ``python -m bench.fuzz`` (the bombs ``crawl``)."""
    probe = Ftrace().probe(1, "a-1", 0, "d").text
    read_ftrace(io.BytesIO(probe + (line + b"\n") * 20))
    with pytest.raises(InputError):
        read_trace(io.BytesIO(b"\n" * 70_000 + (line + b"\n") * 20))
