"""Large inputs made to cost as much as they can: each is given to the command line, which must stay in its budget.

What is measured is the whole process, in CPU seconds and resident memory. A bomb is refused or read (exit 0 or 2), in
one line on standard error at most.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from numaprobe.reading.budget import BUDGETS, MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NUMAPROBE = Path(sys.executable).parent / "numaprobe"
_TRACE = b'{"schema":"numaprobe.trace/1","source":"kernel","probes":['
_PROBE = b'{"device":"d","driver":"n","cost_ns":1,"segments":[[0,1,"running",0]]},'
_EVENT = b"  a-1 [000] d..1. 1.000001: sched_switch: prev_comm=a prev_pid=1 prev_state=S ==> next_comm=b next_pid=2 x\n"
_OPEN = b'  a-%d [000] d..1. 1.000001: really_probe: (really_probe+0x0/0x380) dev="d%d" drv="n"\n'
_TOLD = b"[    1.%06d] probe of d%d returned 0 after 1 usecs\n"
_CALLS = b"".join(b"[    1.000001] calling  f%d_init+0x0/0x10 @ %d\n" % (i, i) for i in range(4096))
_ENDS = b"[    1.000001] initcall a_init+0x0/0x10 returned 0 after 1 usecs\n"


class Bomb(NamedTuple):
    """One input: the row of ``BUDGETS`` that it is held to, its file's ending, the command that reads it."""

    form: str
    name: str
    suffix: str
    command: str
    make: Callable[[], bytes]


class Result(NamedTuple):
    """What it took."""

    bomb: Bomb
    size: int
    code: int
    said: str
    seconds: float
    memory: int

    @property
    def held(self) -> bool:
        """Within the budget, and read or refused in one line."""
        budget = BUDGETS[self.bomb.form]
        fine = self.code in {0, 2} and (self.code == 0 or self.said.count("\n") == 1)
        return fine and self.seconds <= budget.seconds and self.memory <= budget.memory


BOMBS = (
    Bomb("text", "1 MB gz of newlines", ".gz", "report", lambda: gzip.compress(b"\n" * 1000 * MIB)),
    Bomb("text", "xz of newlines", ".xz", "report", lambda: lzma.compress(b"\n" * 500 * MIB)),
    Bomb("text", "bz2 of zeros", ".bz2", "report", lambda: bz2.compress(bytes(500 * MIB))),
    Bomb("text", "zeros", "", "report", lambda: bytes(100 * MIB)),
    Bomb("text", "newlines", "", "report", lambda: b"\n" * 200 * MIB),
    Bomb("text", "switches", "", "report", lambda: _EVENT * 500_000),
    Bomb("text", "probes that never return", "", "report", lambda: b"".join(_OPEN % (i, i) for i in range(300_000))),
    Bomb("text", "lines of probes", "", "report", lambda: b"probe of a returned 0 after 1 usecs\n" * 400_000),
    Bomb("text", "as many log probes as fit", "", "report", lambda: b"".join(_TOLD % (i, i) for i in range(200_000))),
    Bomb("text", "initcalls that never end", "", "report", lambda: _CALLS + _ENDS * 300_000),
    Bomb(
        "text", "boots", "", "report", lambda: b"Linux version 6.1.0 (x)\nprobe of a returned 0 after 1 usecs\n" * 9000
    ),
    Bomb("json", "brackets, 3 MB gz", ".gz", "report", lambda: gzip.compress(_TRACE + b"[]," * 200_000_000, 1)),
    Bomb("json", "brackets", "", "report", lambda: _TRACE + b"[]," * 60_000_000),
    Bomb("json", "as many brackets as fit", "", "report", lambda: _TRACE + b"[]," * 10_400_000 + b"0]}"),
    Bomb("json", "as many probes as fit", "", "report", lambda: _TRACE + _PROBE * 1_100_000 + _PROBE[:-1] + b"]}"),
    Bomb("json", "one text", "", "report", lambda: _TRACE + b'"' + b"a" * 170 * MIB + b'\\ud800\\udc00"]}'),
    Bomb("json", "deep", "", "report", lambda: _TRACE + b"[" * 1_000_000),
    Bomb("scenario", "dotted key, 200 KB", ".toml", "run", lambda: b".".join([b"a"] * 100_000) + b" = 1\n"),
    Bomb("scenario", "quoted dotted key", ".toml", "run", lambda: b".".join([b'" "'] * 100_000) + b" = 1\n"),
    Bomb("scenario", "tables", ".toml", "run", lambda: b"".join(b"[a%d]\n" % i for i in range(490_000))),
    Bomb("scenario", "inline tables", ".toml", "run", lambda: b"a=[" + b"{a=1}," * 600_000 + b"]"),
    Bomb("scenario", "deep", ".toml", "run", lambda: b"a=" + b"[" * 1_000_000),
    Bomb("machine", "brackets", ".json", "topology", lambda: b'{"nodes":[' + b"[]," * 3_400_000 + b"0]}"),
    Bomb(
        "machine",
        "LLCs",
        ".json",
        "topology",
        lambda: b'{"nodes":[{"id":0,"cpus":"0-8191"}],"llcs":[' + b'"0-8191",' * 8191 + b'"1"]}',
    ),
    Bomb("hwloc", "elements", ".xml", "topology", lambda: b'<topology version="2.0">' + b"<object/>" * 250_000),
    Bomb("hwloc", "one attribute", ".xml", "topology", lambda: b"<topology version='2.0' a='" + b"x" * 31 * MIB),
    Bomb("hwloc", "one comment", ".xml", "topology", lambda: b"<!--" + (b"x" * 99 + b"<") * 300_000),
    Bomb("machine.txt", "newlines", ".txt", "topology", lambda: b"\n" * 16 * MIB),
    Bomb("machine.txt", "CPUs", ".txt", "topology", lambda: b"L\n\n" + b"cpu0 0-8191 cache 0-8191\n" * 600_000),
    Bomb(
        "machine.txt",
        "devices",
        ".txt",
        "topology",
        lambda: b"L\n\nnode0 0 dist 10\n" + b"a class=0x0 node=0\n" * 800_000,
    ),
)

#: Lines over which a regular expression might go back and forth: each as long as a reader takes.
_LONG = (
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
)
BOMBS += tuple(
    Bomb("text", f"crawl {index}", "", "report", lambda line=line: (line + b"\n") * (20 * MIB // len(line)))  # type: ignore[misc]
    for index, line in enumerate(_LONG)
)


def explode(bomb: Bomb) -> Result:
    """Give one to the command line, and measure."""
    # made by a process of its own: one that starts from a large one counts as large
    make = "import sys; from pathlib import Path; from bench.fuzz.bombs import BOMBS; "
    make += "Path(sys.argv[2]).write_bytes(BOMBS[int(sys.argv[1])].make())"
    with tempfile.TemporaryDirectory(prefix="numaprobe-fuzz-") as folder, tempfile.TemporaryFile("w+") as said:
        path = Path(folder) / f"bomb{bomb.suffix}"
        subprocess.run([sys.executable, "-c", make, str(BOMBS.index(bomb)), str(path)], check=True)
        size = path.stat().st_size
        child = subprocess.Popen([NUMAPROBE, bomb.command, str(path)], stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        seconds = usage.ru_utime + usage.ru_stime
        return Result(bomb, size, child.returncode, said.read(), seconds, usage.ru_maxrss * 1024)


def results() -> Iterator[Result]:
    """Give all of them, one after the other."""
    yield from map(explode, BOMBS)
