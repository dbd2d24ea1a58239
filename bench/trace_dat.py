"""A writer of ``trace.dat`` (version 6), just enough that ``trace-cmd report`` has the same events to print.

Layout: ``trace-cmd.dat.v6(5)``. The event formats are those of tracefs; of the many events the scheduler's three, the
workqueue's three and kprobes with up to two texts are written, all others left out.
"""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from typing import TYPE_CHECKING

from numaprobe.kernel.ftrace_line import EventLine, parse_event_line, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

PAGE = 4096
#: array of a page: after the time stamp and the length
DATA_START = 16
MAX_DELTA = (1 << 27) - 1
TIME_EXTEND = 30

COMMON = """\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

"""
#: struct's letter for each C type, and whether it is signed
LETTERS = {"char[16]": "16s", "int": "i", "long": "q", "void *": "Q", "unsigned long": "Q", "u32": "I"}


class Format:
    """One event: its fields in order of (C type, name), and how to print them."""

    def __init__(self, system: str, name: str, number: int, fields: list[tuple[str, str]], show: str) -> None:
        self.system, self.name, self.number, self.fields, self.show = system, name, number, fields, show
        self.layout = struct.Struct("<HBBi" + "".join(LETTERS[kind] for kind, _ in fields))

    @property
    def text(self) -> bytes:
        lines, offset = [f"name: {self.name}\nID: {self.number}\nformat:\n{COMMON}"], 8
        for kind, name in self.fields:
            size = struct.calcsize("<" + LETTERS[kind])
            base, _, array = kind.partition("[")
            declared = "__data_loc char[]" if kind == "u32" else base
            lines.append(
                f"\tfield:{declared} {name}{'[' + array if array else ''};\toffset:{offset};\tsize:{size};\t"
                f"signed:{int(base in {'char', 'int', 'long'})};\n"
            )
            offset += size
        return ("".join(lines) + f"\nprint fmt: {self.show}\n").encode()


SWITCH = Format(
    "sched",
    "sched_switch",
    10,
    [
        ("char[16]", "prev_comm"),
        ("int", "prev_pid"),
        ("int", "prev_prio"),
        ("long", "prev_state"),
        ("char[16]", "next_comm"),
        ("int", "next_pid"),
        ("int", "next_prio"),
    ],
    '"prev_comm=%s prev_pid=%d prev_prio=%d prev_state=%ld ==> next_comm=%s next_pid=%d next_prio=%d", REC->prev_comm, '
    "REC->prev_pid, REC->prev_prio, REC->prev_state, REC->next_comm, REC->next_pid, REC->next_prio",
)
WAKEUP = Format(
    "sched",
    "sched_wakeup",
    11,
    [("char[16]", "comm"), ("int", "pid"), ("int", "prio"), ("int", "target_cpu")],
    '"comm=%s pid=%d prio=%d target_cpu=%03d", REC->comm, REC->pid, REC->prio, REC->target_cpu',
)
START = Format(
    "workqueue",
    "workqueue_execute_start",
    12,
    [("void *", "work"), ("void *", "function")],
    '"work struct %p: function %ps", REC->work, REC->function',
)
END = Format("workqueue", "workqueue_execute_end", 13, START.fields, START.show)
ENTRY = [("unsigned long", "__probe_ip"), ("u32", "dev"), ("u32", "drv")]
SHOW_ENTRY = '"(%lx) dev=\\"%s\\" drv=\\"%s\\"", REC->__probe_ip, __get_str(dev), __get_str(drv)'
RETURN = [("unsigned long", "__probe_func"), ("unsigned long", "__probe_ret_ip"), ("int", "ret")]
SHOW_RETURN = '"(%lx <- %lx) ret=%d", REC->__probe_ret_ip, REC->__probe_func, REC->ret'
ENTRIES = {
    name: Format("kprobes", name, 20 + i, ENTRY, SHOW_ENTRY) for i, name in enumerate(("rp", "lpp", "npp", "dah"))
}
RETURNS = {name: Format("kprobes", name, 30 + i, RETURN, SHOW_RETURN) for i, name in enumerate(("rpr", "lppr", "nppr"))}
FORMATS = [SWITCH, WAKEUP, START, END, *ENTRIES.values(), *RETURNS.values()]

_SWITCH = re.compile(rb".*prev_comm=(.*) prev_pid=(\d+) .*prev_state=(\S+) ==> next_comm=(.*) next_pid=(\d+) ")
_WAKEUP = re.compile(rb".*comm=(.*) pid=(\d+) .*target_cpu=(\d+)")
_WORK = re.compile(rb".*struct (\w+):")
_TEXTS = re.compile(rb'"([^"]*)"')


def encode(line: EventLine) -> bytes | None:
    """Return an event's binary form."""
    name, pid = line.event.decode(), int(line.pid)
    if name == "sched_switch" and (found := _SWITCH.match(line.arguments)):
        before, before_pid, state, after, after_pid = found.groups()
        number = 0 if state.startswith(b"R") else 1
        return SWITCH.layout.pack(10, 0, 0, pid, before, int(before_pid), 120, number, after, int(after_pid), 120)
    if name == "sched_wakeup" and (found := _WAKEUP.match(line.arguments)):
        return WAKEUP.layout.pack(11, 0, 0, pid, found[1], int(found[2]), 120, int(found[3]))
    if name in {START.name, END.name} and (found := _WORK.match(line.arguments)):
        return START.layout.pack(12 if name == START.name else 13, 0, 0, pid, int(found[1], 16), 0x1000)
    if name in RETURNS:
        result = int(line.arguments.rpartition(b"=")[2])
        return RETURNS[name].layout.pack(RETURNS[name].number, 0, 0, pid, 0x2000, 0x3000, result)
    if name in ENTRIES:
        texts = [text + b"\0" for text in _TEXTS.findall(line.arguments)] or [b"\0"]
        texts = (texts * 2)[:2]
        first = ENTRIES[name].layout.size
        places = [len(texts[0]) << 16 | first, len(texts[1]) << 16 | first + len(texts[0])]
        return ENTRIES[name].layout.pack(ENTRIES[name].number, 0, 0, pid, 0x2000, *places) + b"".join(texts)
    return None


def pages(events: Iterable[tuple[int, bytes]]) -> bytes:
    """Return one CPU's ring buffer."""
    result, page, stamp, last = [], bytearray(), 0, 0
    for now, data in events:
        data += bytes(-len(data) % 4)  # noqa: PLW2901  padded to words
        if not page or len(page) + len(data) + 12 > PAGE - DATA_START:
            if page:
                result.append(_page(stamp, page))
            page, stamp, last = bytearray(), now, now
        delta = now - last
        if delta > MAX_DELTA:
            page += struct.pack("<II", TIME_EXTEND | (delta & MAX_DELTA) << 5, delta >> 27)
            delta = 0
        page += struct.pack("<II", delta << 5, len(data) + 4) + data
        last = now
    result.append(_page(stamp, page))
    return b"".join(result)


def _page(stamp: int, data: bytearray) -> bytes:
    return struct.pack("<QQ", stamp, len(data)) + bytes(data) + bytes(PAGE - DATA_START - len(data))


HEADER_PAGE = b"""\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;
\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;
\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;
\tfield: char data;\toffset:16;\tsize:4080;\tsigned:1;
"""
HEADER_EVENT = b"""# compressed entry header
\ttype_len    :    5 bits
\ttime_delta  :   27 bits
\tarray       :   32 bits

\tpadding     : type == 29
\ttime_extend : type == 30
\ttime_stamp : type == 31
\tdata max type_len  == 28
"""


def _sized(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


def write_trace_dat(path: Path, text: bytes) -> None:
    """Write the events of a text of ftrace as a ``trace.dat``."""
    cpus: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
    names: dict[bytes, bytes] = {}
    for line in text.split(b"\n"):
        if (parsed := parse_event_line(line)) is not None and (data := encode(parsed)) is not None:
            cpus[parsed.cpu].append((parse_time(parsed.time) or 0, data))
            names[parsed.pid] = parsed.comm
    count = max(cpus) + 1
    head = b"\x17\x08\x44tracing6\0\0\x08" + struct.pack("<I", PAGE)
    head += b"header_page\0" + _sized(HEADER_PAGE) + b"header_event\0" + _sized(HEADER_EVENT) + struct.pack("<I", 0)
    systems = defaultdict(list)
    for event in FORMATS:
        systems[event.system].append(_sized(event.text))
    head += struct.pack("<I", len(systems))
    for system, formats in systems.items():
        head += system.encode() + b"\0" + struct.pack("<I", len(formats)) + b"".join(formats)
    symbols = b"0000000000001000 t async_run_entry_fn\n0000000000002000 t really_probe\n"
    head += struct.pack("<I", len(symbols)) + symbols + struct.pack("<I", 0)
    head += _sized(b"".join(b"%s %s\n" % (pid, comm) for pid, comm in names.items()))
    head += struct.pack("<I", count) + b"options  \0" + struct.pack("<H", 0) + b"flyrecord\0"
    buffers = [pages(cpus[cpu]) if cpus[cpu] else b"" for cpu in range(count)]
    offset = -(-(len(head) + 16 * count) // PAGE) * PAGE
    table = b""
    for buffer in buffers:
        table += struct.pack("<QQ", offset, len(buffer))
        offset += len(buffer)
    start = head + table
    path.write_bytes(start + bytes(-len(start) % PAGE) + b"".join(buffers))
