"""What each reader may cost: one table, for every form that is read.

A file that is given to us may be made to cost more than it seems to: a compressed file of nothing, a key of a
thousand parts. So each form has a largest size, and those that are read as a whole a *weight* (``weigh.py``): the
memory that a parser will need, worked out from the text before the parser sees it. What exceeds either is refused in
one line.
Time follows: every reader takes time linear in what is let in.

``memory`` and ``seconds`` are what the worst text that is let in may take on one CPU of today, our own start included.
``make fuzz`` holds every reader to them, with inputs made for that purpose.
"""

from __future__ import annotations

from typing import Final, NamedTuple

MIB: Final = 2**20
GIB: Final = 2**30


class Budget(NamedTuple):
    """What one form may cost.

    Attributes:
        what: the form.
        size: most bytes of one file, after unpacking.
        weight: most bytes of memory that its parser may be worked out to need; None: it is read as a stream.
        memory: most resident memory of the process, in bytes.
        seconds: most CPU time.
        reason: why this size.
        advice: what to do with a larger one.

    """

    what: str
    size: int
    weight: int | None
    memory: int
    seconds: int
    reason: str
    advice: str = ""


BUDGETS: Final[dict[str, Budget]] = {
    "json": Budget(
        "JSON trace",
        256 * MIB,
        1536 * MIB,
        2 * GIB,
        120,
        "200,000 probes, each drawn, take 180 MiB; Parquet takes more",
    ),
    "parquet": Budget(
        "Parquet trace", 256 * MIB, 1536 * MIB, 2 * GIB, 120, "what a JSON trace may hold takes less than half"
    ),
    "text": Budget(
        "ftrace text, kernel log, printk lines",
        32 * GIB,
        None,
        1 * GIB,
        1200,
        "read as a stream, up to 200,000 probes; an hour of every switch of 64 busy CPUs is smaller",
    ),
    "trace.dat": Budget(
        "trace.dat, through trace-cmd", 16 * GIB, None, 1 * GIB, 1200, "its text is held to the line above"
    ),
    "kprobes": Budget(
        "kprobe definitions", 16 * MIB, None, 256 * MIB, 20, "a machine.txt may hold them, too; ours are 2 KiB"
    ),
    "scenario": Budget(
        "TOML scenario",
        32 * MIB,
        768 * MIB,
        2 * GIB,
        120,
        "200,000 devices, each written out, take 20 MiB",
        "write devices that are alike as one group with 'count'",
    ),
    "machine": Budget(
        "machine as JSON", 32 * MIB, 512 * MIB, 1 * GIB, 60, "8192 CPUs on 1024 nodes take 5 MiB, 200,000 devices 12"
    ),
    "hwloc": Budget("hwloc XML", 32 * MIB, 512 * MIB, 1 * GIB, 60, "8192 CPUs take 15 MiB in 100,000 elements"),
    "machine.txt": Budget("machine.txt", 16 * MIB, None, 768 * MIB, 60, "8192 CPUs take 1 MiB, 200,000 devices 12 MiB"),
    "sysfs": Budget(
        "a file of a sysfs tree", 256 * 2**10, None, 512 * MIB, 120, "a list of every other CPU of 8192 takes 40 KiB"
    ),
    "words": Budget(
        "compact or synthetic machine, CPU list",
        64 * 2**10,
        None,
        512 * MIB,
        20,
        "written on a command line by a person",
    ),
}

#: Probes that one text may tell: the largest machine has no more devices, and a record takes 2 KiB until it is shown.
MAX_PROBES: Final = 200_000
#: Entries of one directory of a sysfs tree: more than the largest machine has devices.
MAX_ENTRIES: Final = 200_000
#: A compressed file may be this many times larger unpacked, once it is larger than UNPACK_FREE. Traces of real kernels
#: shrink 8 to 25 times with gzip and up to 60 times with xz; a file of newlines 1000 or 7000 times.
MAX_RATIO: Final = 250
UNPACK_FREE: Final = 16 * MIB
#: A kernel's line has at most 8 KiB; a stream that goes on this long without a newline is no text.
MAX_UNBROKEN: Final = 64 * MIB
