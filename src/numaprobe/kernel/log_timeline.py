r"""The timeline of a boot, out of its log: the initcalls of ``kernel_init`` and the moments that people wait for.

With ``initcall_debug`` the kernel prints ``calling  FUNCTION+0x… @ PID`` and ``initcall FUNCTION+0x… returned …``
around each initcall (``init/main.c``). Those of PID 1 are built in and follow each other; a module's has the PID of
whatever loads it. A probe belongs to the initcall that its own task is in: where the log does not tell tasks
(``CONFIG_PRINTK_CALLER``) to the one that is open, unless its device was deferred before: retries run in a worker.

Of the moments the log names a few by itself (``Run /init as init process``); others are looked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from numaprobe.kernel.log_drivers import CALLING, RETURNED_FROM
from numaprobe.records import Initcall, Milestone
from numaprobe.records.boot import RETRIES_DEFERRED
from numaprobe.topology import parse_compact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numaprobe.kernel.log_drivers import OpenInitcall
    from numaprobe.topology import Topology

#: ``kernel_init``, as callers are written.
KERNEL_INIT: Final = "T1"
#: A kernel has a few thousand initcalls; a log with more is none.
MAX_INITCALLS: Final = 50_000
#: Milestones kept of one boot, and the longest name.
MAX_MILESTONES: Final = 256
_LONGEST: Final = 80
_KNOWN: Final = re.compile(
    r"Run (?P<init>/\S{1,64}) as init process"
    r"|(?P<root>VFS: Mounted root)\b"
    r"|(?P<free>Freeing unused kernel (?:image|memory))\b"
    r"|smp: Brought up (?P<nodes>\d{1,4}) nodes?, (?P<cpus>\d{1,5}) CPUs?"
    r"|Kernel command line: (?P<cmdline>.{0,4096})"
    r"|DMI: (?P<product>.{1,300}), BIOS (?P<firmware>\S.{0,199})"
    r"|(?P<disk>sd[a-z]{1,3}|vd[a-z]{1,3}|nvme\d{1,4}n\d{1,4}|mmcblk\d{1,3}): (?P=disk)p?\d",
    re.ASCII,
)
_SYSTEMD: Final = re.compile(
    r"systemd\[1\]: (?:(?P<start>systemd \S{1,40} running in system mode)|(?P<target>Reached target [^.\n]{1,60}))"
)


@dataclass(slots=True)
class Timeline:
    """What one boot's log says of when.

    Attributes:
        until: texts that are looked for in every line; the first line with one is a milestone of that name.
        initcalls: of ``kernel_init``, those that returned.

    """

    until: Sequence[str] = ()
    initcalls: list[Initcall] = field(default_factory=list)
    #: nodes and CPUs that came up; None: it does not say
    machine: tuple[int, int] | None = None
    cmdline: str | None = None
    #: which computer and which firmware, as in ``Topology.info``
    made_by: dict[str, str] = field(default_factory=dict)
    _milestones: dict[str, int] = field(default_factory=dict)
    #: function, module and start of the one under way; devices probed in it
    _open: tuple[str, str | None, int] | None = None
    _devices: list[str] = field(default_factory=list)

    @property
    def milestones(self) -> tuple[Milestone, ...]:
        """The milestones in order of time."""
        found = [Milestone(name, time_ns) for name, time_ns in self._milestones.items()]
        return tuple(sorted(found, key=lambda one: one.time_ns))

    def topology(self, release: str | None) -> Topology | None:
        """Return the machine as far as the log tells it: its nodes, as large as each other, and the command line."""
        nodes, cpus = self.machine or (0, 0)
        if not nodes or cpus % nodes:
            return None
        info = {"kernel": release or "", "cmdline": self.cmdline or "", **self.made_by}
        shape = f"{_counted(nodes, 'node')} x {_counted(cpus // nodes, 'core')}"
        return replace(parse_compact(shape), info={k: v for k, v in info.items() if v})

    def initcall(self, text: str, time_ns: int | None) -> None:
        """Take a line that an initcall begins or ends with."""
        if time_ns is None:
            return
        if (begun := CALLING.search(text)) is not None:
            if begun["pid"] == "1" and begun["cookie"] is None:
                self._open, self._devices = (begun["function"], begun["module"], time_ns), []
        elif self._open is not None and (ended := RETURNED_FROM.search(text)) is not None:
            function, module, start = self._open
            if (ended["function"], ended["module"]) == (function, module) and len(self.initcalls) < MAX_INITCALLS:
                self.initcalls.append(Initcall(function, module, start, max(start, time_ns), tuple(self._devices)))
                self._open = None

    def probed(self, device: str, around: OpenInitcall | None, caller: str | None, *, retried: bool) -> None:
        """Note a probe that is over; ``retried``: its device asked for a later try before."""
        if self._open is None or around is None or around.task != KERNEL_INIT:
            return
        if retried and caller is None and RETRIES_DEFERRED not in around.name:
            return
        self._devices.append(device)

    def said(self, text: str, time_ns: int | None) -> None:
        """Take any other line."""
        if (known := _KNOWN.match(text)) is not None:
            if known["cpus"] is not None:
                self.machine = int(known["nodes"]), int(known["cpus"])
            elif known["cmdline"] is not None:
                self.cmdline = known["cmdline"].strip()
            elif known["firmware"] is not None:  # behind the slash is the board's name
                self.made_by = {"product": known["product"].rpartition("/")[0] or known["product"]}
                self.made_by["firmware"] = known["firmware"].strip()
            else:
                self._reached(_name_of(known), time_ns)
        elif "systemd[1]: " in text and (known := _SYSTEMD.search(text)) is not None:
            self._reached("systemd" if known["start"] else known["target"], time_ns)

    def look(self, text: str, time_ns: int | None) -> None:
        """Look for ``until`` in a line of any kind."""
        for wanted in self.until:
            if wanted in text:
                self._reached(wanted, time_ns)

    def _reached(self, name: str, time_ns: int | None) -> None:
        if time_ns is not None and len(self._milestones) < MAX_MILESTONES:
            self._milestones.setdefault(name[:_LONGEST], time_ns)


def _name_of(known: re.Match[str]) -> str:
    if known["init"] is not None:
        return f"Run {known['init']}"
    if known["disk"] is not None:
        return f"{known['disk']} and its partitions"
    return "VFS: Mounted root" if known["root"] is not None else "Freeing unused kernel memory"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
