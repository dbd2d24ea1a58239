"""Readers: MB/s of ftrace text, beside a plain ``for line in file`` loop and ``trace-cmd report``; memory on 1 GB.

The text is a recorded trace (Debian 7.2, three NVMe probed asynchronously) over and over, its clock going on: 1 GB of
it by default, which lies in the folder for temporary files while this runs. ``trace-cmd report`` reads the same events
from a ``trace.dat`` of their binary form; what counts is the text that it writes in that time.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DATA = Path(__file__).parents[1] / "tests" / "data" / "kernel" / "debian-7.2" / "two-nodes"
SPEED_BYTES = 100_000_000
MEMORY_BYTES = int(os.environ.get("NUMAPROBE_BENCH_BYTES", "1000000000"))
RUNS = 3
#: What the issue of the readers asks for.
MEMORY_LIMIT_MB = 200

_TIME = re.compile(rb"(?<=\s)(\d+)\.(\d{6})(?=: )")
_MEASURE_MEMORY = """
import resource, sys
from pathlib import Path
from numaprobe.kernel.readers import read_trace
trace = read_trace(sys.argv[1], kprobes=Path(sys.argv[2]))
print(len(trace.probes), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def repeated(size: int) -> Iterator[bytes]:
    """The recorded trace again and again, each time later, until there are ``size`` bytes."""
    text = gzip.decompress((DATA / "async.1.trace.gz").read_bytes())
    lines = [line for line in text.split(b"\n") if line and not line.startswith(b"#")]
    found = [(line, match) for line in lines if (match := _TIME.search(line)) is not None]
    parts = [(line[: m.start()], int(m[1]) * 10**6 + int(m[2]), line[m.end() :]) for line, m in found]
    span = parts[-1][1] - parts[0][1] + 1000
    yield b"# tracer: nop\n"
    written, shift = 0, 0
    while written < size:
        times = ((before, us + shift, after) for before, us, after in parts)
        block = b"".join(b"%s%d.%06d%s\n" % (b, us // 10**6, us % 10**6, a) for b, us, a in times)
        yield block
        written += len(block)
        shift += span


def cpu_seconds(function: Callable[[], object]) -> float:
    """Median of RUNS: CPU time of this process and of those that it waited for."""
    times = []
    for _ in range(RUNS):
        start = sum(os.times()[:4])
        function()
        times.append(sum(os.times()[:4]) - start)
    return statistics.median(times)


def plain_loop(path: Path) -> int:
    count = 0
    with path.open() as file:
        for _ in file:
            count += 1
    return count


def our_rate(path: Path) -> tuple[float, int]:
    """MB of text read in a second of CPU, and the probes found."""
    from numaprobe.kernel.readers import read_trace

    probes = len(read_trace(path, kprobes=DATA / "machine.txt").probes)
    return path.stat().st_size / 1e6 / cpu_seconds(lambda: read_trace(path, kprobes=DATA / "machine.txt")), probes


def speeds(path: Path) -> None:
    ours, probes = our_rate(path)
    loop = path.stat().st_size / 1e6 / cpu_seconds(lambda: plain_loop(path))
    print(f"ftrace text, {path.stat().st_size / 1e6:.0f} MB, {probes} probes, MB of text in a second of CPU")
    print(f"  numaprobe                {ours:8.1f}")
    print(f"  for line in file         {loop:8.1f}   {loop / ours:.1f} times ours")
    program = shutil.which("trace-cmd")
    if program is None:
        print("  trace-cmd report         left out: trace-cmd is not installed (Debian package trace-cmd)")
        return
    trace_cmd(program)


def trace_cmd(program: str) -> None:
    """The same events from a trace.dat: how fast trace-cmd writes them as text, and how fast we read that text."""
    from bench.trace_dat import write_trace_dat

    with tempfile.TemporaryDirectory(prefix="numaprobe-bench-") as folder:
        binary, text = Path(folder) / "trace.dat", Path(folder) / "report"
        write_trace_dat(binary, b"".join(repeated(SPEED_BYTES // 4)))

        def report() -> None:
            with text.open("wb") as file:
                subprocess.run([program, "report", "-i", str(binary)], check=True, stdout=file)

        took = cpu_seconds(report)
        rate = text.stat().st_size / 1e6 / took
        ours, probes = our_rate(text)
    print(f"  trace-cmd report         {rate:8.1f}   of text written")
    print(f"  numaprobe on that text   {ours:8.1f}   {ours / rate:.2f} times trace-cmd, {probes} probes")


def memory(path: Path) -> None:
    command = [sys.executable, "-c", _MEASURE_MEMORY, str(path), str(DATA / "machine.txt")]
    start = time.perf_counter()
    probes, peak = map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    took = time.perf_counter() - start
    verdict = "ok" if peak <= MEMORY_LIMIT_MB else "TOO MUCH"
    print(f"memory on {path.stat().st_size / 1e6:.0f} MB of text, {probes} probes, {took:.0f} s")
    print(f"  peak                     {peak:8d} MB     limit {MEMORY_LIMIT_MB}: {verdict}")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="numaprobe-bench-") as folder:
        path = Path(folder) / "trace"
        for size, measure in ((SPEED_BYTES, speeds), (MEMORY_BYTES, memory)):
            with path.open("wb") as file:
                file.writelines(repeated(size))
            measure(path)
