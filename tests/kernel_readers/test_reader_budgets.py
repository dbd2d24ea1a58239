"""What costs more than its form's budget is refused in one line, whatever the reader; packed and odd texts are read."""

from __future__ import annotations

import bz2
import gzip
import importlib.util
import io
import json
import lzma
import os
import tomllib
import tracemalloc
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from ftrace_text import Ftrace

from numaprobe.cli.main import run_command
from numaprobe.errors import InputError
from numaprobe.kernel.lines import Lines
from numaprobe.kernel.readers import read_trace
from numaprobe.reading.budget import BUDGETS, MAX_RATIO, MAX_UNBROKEN, MIB
from numaprobe.reading.weigh import JSON_WEIGHTS, MAX_KEY_PARTS, TOML_WEIGHTS, check_toml, weight
from numaprobe.records import ProbeRecord, dump_trace, load_trace
from numaprobe.records.ranges import MAX_CPU, MAX_NODE, MAX_TIME_NS
from numaprobe.scenario import load_scenario
from numaprobe.topology import load_topology, symmetric, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LINE = b"[    1.000002] nvme 0000:01:00.0: CPU: 5, COMM: kworker/5:1, probe cost: 1000 ns\n"
HEAD = '{"schema":"numaprobe.trace/1","source":"kernel","probes":['


class Done(NamedTuple):
    """What a command line ended with."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Return a function that runs a command line in this process."""

    def call(*arguments: object) -> Done:
        code = run_command([str(one) for one in arguments])
        return Done(code, *capsys.readouterr())

    return call


def refused(done: Done) -> str:
    """Return the one line that refuses."""
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done
    return done.err


@contextmanager
def memory_at_most(limit: int) -> Iterator[None]:
    """Assert that Python's objects take no more than so many bytes in here."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= limit


# ---- packed and encoded texts ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "pack",
    [
        gzip.compress,
        bz2.compress,
        lzma.compress,
        lambda data: gzip.compress(data[:40]) + gzip.compress(data[40:]),
        lambda data: gzip.compress(data) + bytes(512),
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: b"\xff\xfe" + data.decode().encode("utf-16-le"),
        lambda data: b"\xfe\xff" + data.decode().encode("utf-16-be"),
        lambda data: lzma.compress(b"\xff\xfe" + data.decode().encode("utf-16-le")),
    ],
    ids=["gzip", "bzip2", "xz", "two gzips", "padded gzip", "BOM", "utf-16-le", "utf-16-be", "utf-16 in xz"],
)
def test_packed_and_encoded_texts_are_read(pack: Callable[[bytes], bytes]) -> None:
    (probe,) = read_trace(io.BytesIO(pack(LINE))).probes
    assert (probe.device, probe.cost_ns, probe.end_ns) == ("0000:01:00.0", 1000, 1_000_002_000)


def test_packed_machines_and_scenarios_are_read(tmp_path: Path) -> None:
    block = json.dumps(to_json(symmetric("two", nodes=2))).encode()
    (tmp_path / "m.json").write_bytes(lzma.compress(b"\xef\xbb\xbf" + block))
    assert len(load_topology(str(tmp_path / "m.json")).nodes) == 2
    (tmp_path / "s.toml").write_bytes(b"\xff\xfe" + 'machine = "2 nodes x 2 cores"'.encode("utf-16-le"))
    assert load_scenario(tmp_path / "s.toml").machine == "2 nodes x 2 cores"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x04\x22\x4d\x18" + bytes(9), "lz4 -d"),
        (b"PK\x03\x04" + bytes(9), "unzip"),
        (gzip.compress(gzip.compress(LINE)), "compressed twice"),
        (b"\xfd7zXZ\0garbage", "cannot be unpacked"),
        (b"BZh91AY&SYgarbage", "cannot be unpacked|no probe"),
    ],
)
def test_what_is_packed_otherwise_is_named(content: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_trace(io.BytesIO(content))


def test_zstd_is_read_or_named() -> None:
    # a frame of one raw block: magic, no size, window of 1 KiB, last block, the text
    frame = b"\x28\xb5\x2f\xfd\x00\x00" + (len(LINE) << 3 | 1).to_bytes(3, "little") + LINE
    if importlib.util.find_spec("compression") is not None:
        assert len(read_trace(io.BytesIO(frame)).probes) == 1
        return
    with pytest.raises(InputError, match="zstd -d"):
        read_trace(io.BytesIO(frame))


def test_a_bomb_is_refused_while_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numaprobe.reading.unpack.UNPACK_FREE", 1 << 20)
    for pack in (gzip.compress, lzma.compress, bz2.compress):
        with pytest.raises(InputError, match=f"more than {MAX_RATIO} times its size"):
            read_trace(io.BytesIO(pack(b"\n" * (2 << 20))))


def test_what_real_traces_shrink_by_is_far_from_the_limit() -> None:
    path = Path(__file__).parents[1] / "data" / "kernel" / "debian-6.1" / "two-nodes" / "vnest.1.trace.gz"
    text = gzip.decompress(path.read_bytes())
    assert len(text) / len(lzma.compress(text, preset=9)) < MAX_RATIO / 4


# ---- weight ----------------------------------------------------------------------------------------------------------
def test_a_long_dotted_key_is_refused_before_it_is_parsed(tmp_path: Path, run: Callable[..., Done]) -> None:
    parts = ".".join("a" * 20_000)
    for text in (
        f"{parts} = 1",
        f"[{parts}]",
        f"x = {{ {parts} = 1 }}",
        'x = """\n""" # \n' + '" "."!".' * 9000 + "a = 1",
    ):
        (tmp_path / "s.toml").write_text(text, encoding="utf-8")
        with memory_at_most(16 * MIB):  # parsed, it takes 60 MiB
            assert f"parts, and {MAX_KEY_PARTS} are the most" in refused(run("run", tmp_path / "s.toml"))
    with memory_at_most(16 * MIB):
        refused(run("run", "nvme-epyc", "--set", f"x={{{parts}.b=1}}"))


@pytest.mark.parametrize(
    "text",
    [
        "a." * 23 + "b = 1",
        "# " + "a." * 99,
        "x = '" + "a." * 99 + "'",
        'x = """' + "a." * 99 + '"""',
        "x = [" + '"0000:01:00.0", ' * 99 + "]",
        "x = [" + "1.5, " * 99 + "]",
        'x = "\\"" # ' + "a." * 99,
    ],
)
def test_dots_that_are_no_key_do_not_count(text: str) -> None:
    check_toml(text.encode(), "f")


def test_a_quote_hides_no_key() -> None:
    hidden = 'x = [ """\n """, {' + ".".join("a" * 100) + ' = 1}] #"'
    with pytest.raises(InputError, match=r"f:2: has a key of 100 parts"):
        check_toml(hidden.encode(), "f")


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        (JSON_WEIGHTS, b"[" + b"[]," * 20_000 + b"0]"),
        (JSON_WEIGHTS, b"[" + b"{}," * 20_000 + b"0]"),
        (JSON_WEIGHTS, b"{" + b",".join(b'"%d":%d' % (i, i + 999) for i in range(9_000)) + b"}"),
        (JSON_WEIGHTS, b"[" + b",".join(b'"\\ud800\\udc00%d"' % i for i in range(20_000)) + b"]"),
        (TOML_WEIGHTS, b"".join(b"[a%d]\n" % i for i in range(4_000))),
        (TOML_WEIGHTS, b"".join(b"a%d.b.c = 1\n" % i for i in range(2000))),
        (TOML_WEIGHTS, b"a = [" + b"{a=1}," * 3000 + b"]"),
        (TOML_WEIGHTS, b"".join(b"[a%d.%s]\n" % (i, b".".join([b"b"] * 23)) for i in range(200))),
    ],
    ids=range(8),
)
def test_no_text_takes_more_memory_than_its_weight(weights: dict[bytes, int], text: bytes) -> None:
    with memory_at_most(weight(text, weights)):
        assert json.loads(text) if weights is JSON_WEIGHTS else tomllib.loads(text.decode())


@pytest.mark.parametrize(
    ("form", "name", "content", "command"),
    [
        ("json", "t", HEAD.encode() + b"[]," * 300_000, "report"),
        ("machine", "m.json", b'{"nodes":[' + b"{}," * 50_000, "topology"),
        ("hwloc", "m.xml", b"<topology>" + b"<a b='' c=''/>" * 15_000, "topology"),
        ("scenario", "s.toml", b"[[a]]\n" * 15_000, "run"),
    ],
    ids=["json", "machine", "hwloc", "scenario"],
)
def test_what_would_take_too_much_memory_is_one_line(
    form: str,
    name: str,
    content: bytes,
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., Done],
) -> None:
    monkeypatch.setitem(BUDGETS, form, BUDGETS[form]._replace(weight=10 * MIB))
    (tmp_path / name).write_bytes(content)
    with memory_at_most(10 * MIB):
        assert "MiB of memory" in refused(run(command, tmp_path / name))


def test_a_machine_of_too_many_lines_is_one_line(tmp_path: Path, run: Callable[..., Done]) -> None:
    (tmp_path / "m.txt").write_bytes(b"Linux x 6.1\n\n" + b"cpu0 0-8191 cache 0-8191\n" * 5_000)
    refused(run("topology", tmp_path / "m.txt"))


# ---- what never ends -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("command", "suffix"), [("report", ""), ("topology", ""), ("topology", ".json"), ("run", ".toml")]
)
def test_devices_and_pipes_are_refused(tmp_path: Path, command: str, suffix: str, run: Callable[..., Done]) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for target in ("pipe", "zero"):
        path = tmp_path / f"{target}-{command}{suffix}"
        path.symlink_to(tmp_path / target)
        refused(run(command, path))


def test_a_pipe_of_the_shell_is_read() -> None:
    reader, writer = os.pipe()
    os.write(writer, LINE)
    os.close(writer)
    try:
        assert len(read_trace(f"/dev/fd/{reader}").probes) == 1
    finally:
        os.close(reader)


def test_a_stream_without_newline_ends() -> None:
    class Zeros:
        def read(self, size: int, /) -> bytes:
            return bytes(1 << 20)

    with pytest.raises(InputError, match=f"no newline in {MAX_UNBROKEN >> 20} MiB"):
        read_trace(Zeros())  # type: ignore[arg-type]  # it has read()


def test_a_text_without_end_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUDGETS, "text", BUDGETS["text"]._replace(size=1 << 20))

    class Log:
        def read(self, size: int, /) -> bytes:
            return LINE * 100

    with pytest.raises(InputError, match="of text: record less"):
        read_trace(Log())  # type: ignore[arg-type]  # it has read()


def test_blank_lines_are_not_lines() -> None:
    assert [line for block in Lines(io.BytesIO(b"a\n\n\n\n\nb\n")).blocks() for line in block if line] == [b"a", b"b"]


# ---- numbers that do not fit -----------------------------------------------------------------------------------------
EXTREMES = {
    "cpu": MAX_CPU,
    "caller_cpu": MAX_CPU,
    "cpu_node": MAX_NODE,
    "start_ns": MAX_TIME_NS,
    "cost_ns": MAX_TIME_NS,
}


def probe_with(field: str, value: int) -> dict[str, object]:
    """Return a probe with one odd number."""
    ends = {"end_ns": value} if field == "start_ns" else {}
    return {"device": field, "driver": "b", "cost_ns": 1, field: value} | ends


def test_the_largest_numbers_are_read_and_written_everywhere(tmp_path: Path, run: Callable[..., Done]) -> None:
    path = tmp_path / "t.json"
    path.write_text(HEAD + ",".join(json.dumps(probe_with(*one)) for one in EXTREMES.items()) + "]}", encoding="utf-8")
    for form in ("table", "json", "printk", "html", "perfetto", "parquet"):
        assert run("report", path, "-f", form, "-o", tmp_path / form).code == 0, form
    told = json.loads((tmp_path / "json").read_text(encoding="utf-8"))["probes"]
    assert {probe["device"]: probe[probe["device"]] for probe in told} == EXTREMES
    for form in ("json", "parquet"):
        assert read_trace(tmp_path / form).probes == read_trace(path).probes


@pytest.mark.parametrize("field", EXTREMES)
def test_a_number_one_larger_is_refused(field: str, tmp_path: Path, run: Callable[..., Done]) -> None:
    path = tmp_path / "t.json"
    path.write_text(HEAD + json.dumps(probe_with(field, EXTREMES[field] + 1)) + "]}", encoding="utf-8")
    assert f"probes[0].{field}: must be" in refused(run("report", path, "-f", "perfetto", "-o", tmp_path / "x"))
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "line",
    [
        b'  a-1 [99999] d..1. 1.000000: really_probe: (really_probe+0x0/0x380) dev="d" drv="n"',
        b'  a-1 [000] d..1. 999999999999.000000: really_probe: (really_probe+0x0/0x380) dev="d" drv="n"',
        b"[    1.0] nvme d: CPU: 999999999, COMM: x, probe cost: 3 ns",
    ],
)
def test_a_line_whose_numbers_do_not_fit_is_torn(line: bytes) -> None:
    good = LINE if line.startswith(b"[") else b"  a-1 [000] d..1. 1.000000: sched_switch: x\n"
    trace = read_trace(io.BytesIO(good + line + b"\n"))
    assert "torn-line" in {warning.kind for warning in trace.warnings}
    assert load_trace(dump_trace(trace)) == trace


def test_a_run_of_more_than_a_century_is_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Done]
) -> None:
    monkeypatch.setattr("numaprobe.records.ranges.MAX_TIME_NS", 10**9)  # a second
    text = 'machine = "1 node x 1 core"\n[[drivers]]\nname = "d"\nmatch = "c"\nphases = [{ sleep = "2s" }]\n'
    text += '[[devices]]\nname = "d"\ncompatible = "c"\n'
    (tmp_path / "s.toml").write_text(text, encoding="utf-8")
    assert "more than a record can hold" in refused(run("run", tmp_path / "s.toml", "--json", "-p", "inline"))


def test_records_fit(tmp_path: Path) -> None:
    from numaprobe.records.ranges import fits

    assert fits(ProbeRecord(device="a", driver="b", cost_ns=MAX_TIME_NS))
    assert not fits(ProbeRecord(device="a", driver="b", cost_ns=1, end_ns=MAX_TIME_NS + 1))
    assert not fits(ProbeRecord(device="a", driver="b", cost_ns=1, memory={0: 2**63}))


@pytest.mark.parametrize("module", ["initcall", "ftrace"])
def test_a_text_of_more_probes_than_a_machine_has_is_refused(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"numaprobe.kernel.{module}.MAX_PROBES", 3)
    text = b"probe of a returned 0 after 1 usecs\n" * 4
    if module == "ftrace":
        text = b"".join(Ftrace().probe(i, "a-1", 0, "d").probed(i + 1, "a-1", 0).text for i in range(1, 9, 2))
    with pytest.raises(InputError, match="more than 3 probes"):
        read_trace(io.BytesIO(text))


@pytest.mark.parametrize("column", ["memory", "segments"])
@pytest.mark.parametrize("value", ["1::BIGINT", "'nan'::DOUBLE", "[1]", "'{}'::BLOB"])
def test_a_parquet_column_of_another_type_is_one_line(
    column: str, value: str, tmp_path: Path, run: Callable[..., Done]
) -> None:
    import duckdb

    whole, odd = tmp_path / "whole", tmp_path / "odd"
    (tmp_path / "log").write_bytes(LINE)
    assert run("report", tmp_path / "log", "-f", "parquet", "-o", whole).code == 0
    with duckdb.connect() as base:
        base.execute("SET VARIABLE header = (SELECT decode(value) FROM parquet_kv_metadata(?))", [str(whole)])
        base.execute(
            f"COPY (SELECT * REPLACE ({value} AS {column}) FROM read_parquet('{whole}')) TO '{odd}' "  # noqa: S608
            "(FORMAT parquet, KV_METADATA {numaprobe: getvariable('header')})"
        )
    assert f"row 0.{column}: must be text that holds JSON" in refused(run("report", odd))
