"""What is fuzzed: each reader as a function of bytes, the seeds it starts from, and words of its grammar.

A target returns if the bytes were read and raises ``InputError`` or ``UsageError`` if they were refused; anything else
is a finding. What was read must be writable in every format: that is part of the target.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.fuzz.mutators import change_json, change_parquet
from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError
from numaprobe.kernel import ftrace as ftrace_room
from numaprobe.kernel.ftrace import FtraceReader, read_ftrace
from numaprobe.kernel.initcall import read_log
from numaprobe.kernel.kprobes import KprobeDefinition, parse_kprobe_events
from numaprobe.kernel.memory import parse_allocation, parse_zoneinfo
from numaprobe.kernel.readers import read_definitions, read_trace
from numaprobe.records import dump_trace, load_trace, printk_lines, write_parquet
from numaprobe.scenario import builtin_names, parse_scenario, prepare, scenario_source
from numaprobe.scenario.reader import parse_toml
from numaprobe.topology import load_topology, symmetric, to_json
from numaprobe.topology.cmdline import CommandLine
from numaprobe.topology.isolation import housekeeping_from_cmdline
from numaprobe.topology.presets import PRESETS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from numaprobe.records import Trace

DATA = Path(__file__).parents[2] / "tests" / "data"
MACHINE = symmetric("fuzzed", nodes=2, cores=2)
#: Of so many traces that were read, one is written in the formats that take long.
RARELY = 64
SEED_BYTES = 6000


@dataclass(frozen=True, slots=True)
class Target:
    """A reader."""

    read: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    words: tuple[str, ...] = ()
    #: changes an input by its structure; None if it has none
    change: Callable[[bytes, random.Random], bytes | None] | None = None


# ---- traces ----------------------------------------------------------------------------------------------------------
def check_trace(trace: Trace, data: bytes) -> None:
    """Write a trace in every format; what JSON holds must read as the same again."""
    again = load_trace(dump_trace(trace))
    assert again.probes == trace.probes, "JSON reads as something else"
    printk_lines(trace)
    if sum(data) % RARELY == 0:
        from numaprobe.analysis import compare, find
        from numaprobe.report.html import html_page
        from numaprobe.report.perfetto import write_perfetto

        find(trace)
        comparison = compare([trace])
        html_page(comparison)
        with tempfile.TemporaryDirectory(prefix="numaprobe-fuzz-") as folder:
            write_perfetto(comparison, Path(folder) / "perfetto")
            write_parquet(trace, Path(folder) / "parquet")
            assert read_trace(Path(folder) / "parquet").probes == trace.probes, "Parquet reads as something else"


def any_trace(data: bytes) -> None:
    check_trace(read_trace(io.BytesIO(data)), data)


def ftrace(data: bytes) -> None:
    check_trace(read_ftrace(io.BytesIO(data), topology=MACHINE), data)


def columns(data: bytes) -> None:
    """Read a text by lines and by blocks: the same must come out, but for lines that are torn and of no concern."""
    one_by_one, at_once = FtraceReader(definitions()), FtraceReader(definitions())
    fast = ftrace_room.FIRST_SLOW, ftrace_room.MIN_BLOCK
    try:
        probes = one_by_one.trace(io.BytesIO(data)).probes
        ftrace_room.FIRST_SLOW = ftrace_room.MIN_BLOCK = 0  # type: ignore[misc]
        assert at_once.trace(io.BytesIO(data)).probes == probes, "blocks tell something else than lines"
    finally:
        ftrace_room.FIRST_SLOW, ftrace_room.MIN_BLOCK = fast  # type: ignore[misc]
    assert replace(at_once.counts, torn=0) == replace(one_by_one.counts, torn=0), "blocks count something else"


@functools.cache
def definitions() -> dict[str, KprobeDefinition]:
    """Return what the events of that trace stand for."""
    return read_definitions(DATA / "kernel" / "debian-7.2" / "two-nodes" / "machine.txt")


def report_seeds() -> list[bytes]:
    """Return parts of what trace-cmd made of a real trace, long enough that tasks sleep and wake in a probe."""
    (path,) = (DATA / "kernel" / "trace-cmd").glob("*.report.gz")
    lines = gzip.decompress(path.read_bytes()).split(b"\n")
    return [b"\n".join(lines[start : start + 130]) for start in range(0, len(lines) - 130, 60)]


def log(data: bytes) -> None:
    check_trace(read_log(io.BytesIO(data)), data)


def kernel_seeds() -> list[bytes]:
    texts = [gzip.decompress(path.read_bytes())[:60_000] for path in sorted((DATA / "kernel").glob("*/*/*.1.trace.gz"))]
    texts += [path.read_bytes() for path in sorted((DATA / "kernel" / "trace-cmd").glob("*")) if path.suffix != ".gz"]
    return [piece for text in texts for piece in probing_parts(text)]


def probing_parts(text: bytes) -> list[bytes]:
    """Return short parts of a trace in which something is probed."""
    lines = [line for line in text.split(b"\n") if line]
    starts = [i for i, line in enumerate(lines) if b"dev=" in line][:3]
    return [b"\n".join(lines[max(0, i - 5) : i + 35]) for i in starts]


LOGS = (
    b"[    1.000000] calling  nvme_init+0x0/0x1000 [nvme] @ 123\n[    1.5] probe of 0000:01:00.0 returned 0 after 53 usecs\n",
    b"[    2.000001] probe of a with driver b returned -517 after 3 usecs\n<6>[1.0][  T12] x: probe with driver y failed\n",
    b"> [    1.234567] nvme 0000:01:00.0: CPU: 5, COMM: kworker/u1025:5, probe cost: 34765890 ns\n",
    b"7,123,1234567,-;probe of platform:x returned 0x0 after 9 usecs\nLinux version 6.1.0 (x)\na: deferred probe pending: y\n",
    b"[    0.1] bus: 'pci': really_probe: probing driver nvme with device 0000:01:00.0\n[ 0.2] initcall nvme_init+0x0/0x1 [nvme] returned 0\n",
)


def sample_trace() -> Trace:
    from numaprobe.scenario import load_scenario, run_scenario

    return run_scenario(load_scenario("nvme-epyc", ["devices[0].count=2"]), "work-on-cpu")


def json_seeds() -> list[bytes]:
    trace = sample_trace()
    one = replace(trace, machine={}, probes=trace.probes[:1])
    more = replace(trace, machine=to_json(MACHINE), probes=trace.probes[:3])
    full = replace(one, probes=tuple(replace(probe, memory={0: 4096, 1: 8192}) for probe in one.probes))
    return [dump_trace(each).encode() for each in (one, more, full, replace(one, probes=()))]


def parquet_seeds() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        write_parquet(sample_trace(), Path(folder) / "p")
        return [(Path(folder) / "p").read_bytes()]


def packed_seeds() -> list[bytes]:
    import bz2
    import lzma

    text = LOGS[0] + LOGS[2]
    utf16 = text.decode().encode("utf-16")
    return [
        gzip.compress(text),
        bz2.compress(text),
        lzma.compress(text),
        utf16,
        b"\xef\xbb\xbf" + text,
        gzip.compress(utf16),
    ]


# ---- machines and scenarios ------------------------------------------------------------------------------------------
def from_file(suffix: str) -> Callable[[bytes], None]:
    folder = tempfile.mkdtemp(prefix="numaprobe-fuzz-")
    path = Path(folder) / f"machine{suffix}"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        check_machine(str(path))

    return read


def check_machine(spec: str) -> None:
    block = to_json(load_topology(spec))
    from numaprobe.topology import from_json

    assert to_json(from_json(json.loads(json.dumps(block)))) == block, "a machine reads as another"


def words(data: bytes) -> None:
    text = data.decode(errors="replace")
    if text.strip() == "host" or "/" in text:
        return
    check_machine(text)


def cpu_texts(data: bytes) -> None:
    text = data.decode(errors="replace")
    for read in (CpuSet.parse_list, CpuSet.parse_mask):
        try:
            found = read(text)
        except InputError:
            continue
        assert CpuSet.parse_list(str(found)) == found, "a CPU list reads as another"
    housekeeping_from_cmdline(CommandLine.parse(text), MACHINE, lambda _: None)


def scenario(data: bytes) -> None:
    found = parse_scenario(parse_toml(data, "fuzz"), "fuzz")
    if found.machine != "host" and "/" not in found.machine:
        prepare(found)


def scenario_seeds() -> list[bytes]:
    return [scenario_source(name).encode() for name in builtin_names() if name != "host"] + [
        b'machine = "two"\n[[devices]]\nname = "a{i:02x}"\ncount = 3\nnode = "spread"\n'
    ]


TREE = {
    "devices/system/cpu/possible": "0-3",
    "devices/system/cpu/online": "0-3",
    "devices/system/cpu/isolated": "1",
    "devices/system/cpu/cpu0/topology/core_cpus_list": "0-1",
    "devices/system/cpu/cpu0/topology/package_cpus_list": "0-1",
    "devices/system/cpu/cpu0/cache/index3/level": "3",
    "devices/system/cpu/cpu0/cache/index3/shared_cpu_list": "0-1",
    "devices/system/cpu/cpu0/cache/index3/type": "Unified",
    "devices/system/node/online": "0-1",
    "devices/system/node/possible": "0-1",
    "devices/system/node/node0/cpulist": "0-1",
    "devices/system/node/node0/cpumap": "3",
    "devices/system/node/node1/cpumap": "c",
    "devices/system/node/node0/meminfo": "Node 0 MemTotal: 1000 kB",
    "devices/system/node/node0/distance": "10 20",
    "devices/system/node/node1/cpulist": "2-3",
    "devices/system/node/node1/distance": "20 10",
    "bus/pci/devices/0000:01:00.0/numa_node": "1",
    "bus/pci/devices/0000:01:00.0/class": "0x010802",
    "../proc/cmdline": "isolcpus=domain,1",
}


def sysfs(data: bytes) -> None:
    """Read a tree of which the bytes say, line by line, what each file holds."""
    with tempfile.TemporaryDirectory(prefix="numaprobe-fuzz-") as folder:
        top = Path(folder) / "sys"
        top.mkdir()
        for name, text in zip(TREE, data.split(b"\n"), strict=False):
            if text == b"-":
                continue
            path = top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
        check_machine(folder)


def notes(data: bytes) -> None:
    text = data.decode(errors="replace")
    for definition in parse_kprobe_events(text.splitlines()).values():
        assert definition.command, "a definition says nothing"
    parse_zoneinfo(text)
    for line in text.splitlines():
        parse_allocation(line)


def machine_seeds() -> list[bytes]:
    machines = (
        symmetric("a", nodes=2, cores=2),
        symmetric("b", nodes=1, cores=1),
        symmetric("c", nodes=4, llcs=2, cores=2, smt=2),
        load_topology("2 nodes x 2 cores, 1GiB per node"),
    )
    return [json.dumps(to_json(machine)).encode() for machine in machines]


def xml_seeds() -> list[bytes]:
    from numaprobe.topology.hwlocwrite import to_hwloc_xml

    return [to_hwloc_xml(symmetric("a", nodes=2, cores=2)).encode()]


def text_seeds() -> list[bytes]:
    return [path.read_bytes()[:SEED_BYTES] for path in sorted((DATA / "kernel").glob("*/*/machine.txt"))]


TARGETS: dict[str, Target] = {
    "any": Target(any_trace, lambda: [*packed_seeds(), *LOGS], ("\x1f\x8b\x08", "\xfd7zXZ", "BZh9", "# tracer: nop")),
    "json": Target(
        any_trace,
        json_seeds,
        (
            '"cpu":',
            '"start_ns":',
            '"end_ns":',
            '"segments":',
            '"memory":',
            "9223372036854775807",
            "4611686018427387904",
        ),
        change_json,
    ),
    "parquet": Target(any_trace, parquet_seeds, change=change_parquet),
    "ftrace": Target(
        ftrace,
        kernel_seeds,
        (
            "sched_switch:",
            "sched_wakeup:",
            "workqueue_execute_start:",
            "prev_state=",
            "[99999]",
            "999999999999.999999:",
            "CPU:1 [LOST 5 EVENTS]",
            "really_probe:",
            "<- really_probe) ret=",
            'dev="',
            'drv="',
        ),
    ),
    "columns": Target(
        columns,
        report_seeds,
        (
            "[004]",
            "[120]",
            " R ==> ",
            "sched_switch:         ",
            "sched_wakeup:         ",
            "<...>-89",
            "CPU:2 [LOST 3 EVENTS]",
        ),
    ),
    "log": Target(
        log, lambda: list(LOGS), ("probe of", "returned", "usecs", "calling  ", "probe cost:", "COMM:", "CPU: 99999999")
    ),
    "scenario": Target(
        scenario,
        scenario_seeds,
        (
            "[[devices]]",
            "[[drivers]]",
            "[[steps]]",
            "phases = [",
            "{ compute = ",
            '"1e30s"',
            "99999999999999999999",
            "node = ",
        ),
    ),
    "machine-json": Target(
        from_file(".json"), machine_seeds, ('"nodes":', '"cpus":', '"0-8191"', '"distances":'), change_json
    ),
    "hwloc": Target(
        from_file(".xml"), xml_seeds, ("<object ", "cpuset=", "0xffffffff,", "distances2", "complete_cpuset=")
    ),
    "machine.txt": Target(
        from_file(".txt"), text_seeds, ("node0 ", " dist ", " cache ", "isolated ", "class=0x", "0-8191")
    ),
    "sysfs": Target(sysfs, lambda: ["\n".join(TREE.values()).encode()], ("0-8191", "(null)", "0x", "99999999999")),
    "words": Target(
        words,
        lambda: [
            b"2 nodes x 4 cores x 2 threads",
            b"node:2 l3:2 core:4 pu:2",
            b"2 nodes x 2 cores, 1GiB per node",
            *map(str.encode, PRESETS),
        ],
        ("nodes", "cores", "x", "llcs", "threads", "GiB per node", "8192", "pack:", "numa:", "pu:"),
    ),
    "cpus": Target(
        cpu_texts,
        lambda: [b"0-3,8", b"0-31:2/4", b"ff,ffffffff", b"isolcpus=nohz,domain,1-3 nohz_full=all"],
        ("N", "all", "isolcpus=", "0-8191:1/2"),
    ),
    "notes": Target(
        notes,
        lambda: [
            b"p:numaprobe/a nvme:b dev=+0(+0($arg1)):string\nr256:g/x y ret=$retval:s32\nNode 0, zone DMA\n  spanned 4\n  start_pfn: 1\n",
            b"  a-1 [000] ..... 1.000001: mm_page_alloc: page=0x1 pfn=0x12 order=0 migratetype=0\n",
        ],
        ("spanned", "start_pfn:", "mm_page_alloc:", "order=", "%return"),
    ),
}
