"""Housekeeping: which CPUs the kernel keeps free of its own unbound work, and what is left.

``housekeeping_from_cmdline`` reads ``isolcpus=``, ``nohz_full=`` and ``workqueue.unbound_cpus=`` as
``kernel/sched/isolation.c`` and ``kernel/workqueue.c`` of 7.3 do, with their refusals. The parameters count in the
order in which they stand. The rules:

* flags of ``isolcpus=`` are ``domain``, ``managed_irq`` and ``nohz`` (the same as ``nohz_full=``); none means domain;
  an unknown one is skipped with a warning; one with characters other than letters and ``_`` drops the parameter;
* a list with a CPU that is not possible drops the parameter;
* at least one present CPU must be left: else the boot CPU stays, and only the others are taken;
* a mask given twice must be the same, else the later parameter is dropped as a whole;
* ``nohz_full`` and ``domain`` together must leave a present CPU, else the later one is dropped.

The masks that follow (``hk_domain``, ``hk_wq``, ``unbound_cpumask``) never come out empty.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError
from numaprobe.topology.cmdline import CommandLine
from numaprobe.topology.model import Housekeeping

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.topology.model import Topology

_NOHZ: Final = "nohz"
_DOMAIN: Final = "domain"
_MANAGED_IRQ: Final = "managed_irq"
_FLAGS: Final = (_NOHZ, _DOMAIN, _MANAGED_IRQ)
_FLAG = re.compile(r"(?=[A-Za-z])([^,]*),?")


def hk_domain(topology: Topology) -> CpuSet:
    """Return ``housekeeping_cpumask(HK_TYPE_DOMAIN)`` as booted: the possible CPUs in a scheduling domain."""
    return housekeeping_cpus(topology, topology.housekeeping.isolated)


def hk_wq(topology: Topology) -> CpuSet:
    """Return ``housekeeping_cpumask(HK_TYPE_WQ)`` as booted: the possible CPUs not in ``nohz_full=``."""
    return housekeeping_cpus(topology, topology.housekeeping.nohz_full)


def housekeeping_cpus(topology: Topology, taken: CpuSet) -> CpuSet:
    """Return the possible CPUs without ``taken``; all, if that leaves none that is present: a mask is never empty."""
    left = topology.possible - taken
    return left if left & topology.present else topology.possible


def unbound_cpumask(topology: Topology, *, with_wq: bool) -> CpuSet:
    """Return the CPUs that unbound workqueues may use (``wq_unbound_cpumask``) as booted.

    Args:
        topology: the machine.
        with_wq: cut by HK_TYPE_WQ too, as before 7.x (``KernelProfile.unbound_mask_has_wq``).

    """
    mask = topology.possible
    factors = [hk_domain(topology)]
    if with_wq:
        factors.append(hk_wq(topology))
    if topology.housekeeping.unbound_cpus is not None:
        factors.append(topology.housekeeping.unbound_cpus)
    for factor in factors:
        mask = (mask & factor) or mask
    return mask


def apply_cmdline(
    topology: Topology, cmdline: CommandLine | str, warn: Callable[[str], None] | None = None
) -> Topology:
    """Return the machine as a kernel with this command line would run it; see ``housekeeping_from_cmdline``."""
    parsed = CommandLine.parse(cmdline) if isinstance(cmdline, str) else cmdline
    return replace(topology, housekeeping=housekeeping_from_cmdline(parsed, topology, warn))


def housekeeping_from_cmdline(
    cmdline: CommandLine, topology: Topology, warn: Callable[[str], None] | None = None
) -> Housekeeping:
    """Return what a command line says about isolation on this machine.

    Args:
        cmdline: the parameters.
        topology: gives the possible and the present CPUs.
        warn: called with one line for each thing that the kernel would warn of and skip.

    """
    setup = _Setup(topology, warn or (lambda _line: None))
    for name, value in cmdline.parameters:
        key = name.replace("-", "_")
        if key == "nohz_full":
            setup.masks({_NOHZ}, value or "", name)
        elif key == "isolcpus":
            setup.isolcpus(value or "")
        elif key == "workqueue.unbound_cpus":
            setup.unbound_cpus(value or "")
    return Housekeeping(
        isolated=setup.taken.get(_DOMAIN, CpuSet()),
        managed_irq=setup.taken.get(_MANAGED_IRQ, CpuSet()),
        nohz_full=setup.taken.get(_NOHZ, CpuSet()),
        unbound_cpus=setup.unbound,
    )


def isolation_parameters(housekeeping: Housekeeping) -> list[tuple[str, str]]:
    """Return what a command line says to get this isolation: the other way round of ``housekeeping_from_cmdline``."""
    said = [
        ("isolcpus", str(housekeeping.isolated)),
        ("isolcpus", f"{_MANAGED_IRQ},{housekeeping.managed_irq}" if housekeeping.managed_irq else ""),
        ("nohz_full", str(housekeeping.nohz_full)),
        ("workqueue.unbound_cpus", "" if housekeeping.unbound_cpus is None else str(housekeeping.unbound_cpus)),
    ]
    if housekeeping.managed_irq and housekeeping.managed_irq == housekeeping.isolated:
        said[:2] = [("isolcpus", f"{_DOMAIN},{_MANAGED_IRQ},{housekeeping.isolated}")]
    return [(name, value) for name, value in said if value]


@dataclass(slots=True)
class _Setup:
    """What the kernel has understood so far while it reads its command line."""

    topology: Topology
    warn: Callable[[str], None]
    taken: dict[str, CpuSet] = field(default_factory=dict)
    unbound: CpuSet | None = None

    def isolcpus(self, value: str) -> None:
        flags: set[str] = set()
        position = 0
        while match := _FLAG.match(value, position):
            position = match.end()
            if match[1] in _FLAGS and match[0].endswith(","):
                flags.add(match[1])
            elif re.fullmatch(r"[A-Za-z_]+", match[1]):
                self.warn(f"isolcpus={value[:60]}: skipped unknown flag '{match[1][:40]}'")
            else:
                self.warn(f"isolcpus={value[:60]}: invalid flag '{match[1][:40]}', ignored as a whole")
                return
        self.masks(flags or {_DOMAIN}, value[position:], "isolcpus")

    def masks(self, flags: set[str], text: str, name: str) -> None:
        taken = self._cpus(text, name)
        if taken is None:
            return
        if not (self.topology.possible - taken) & self.topology.present:
            boot_cpu = CpuSet(self.topology.present.bits & -self.topology.present.bits)
            self.warn(f"{name}={text[:60]}: must leave one present CPU, CPU {boot_cpu} stays")
            taken -= boot_cpu
        if not taken or not self._agrees(flags, taken, f"{name}={text[:60]}"):
            return
        for flag in flags:
            self.taken[flag] = taken

    def _agrees(self, flags: set[str], taken: CpuSet, where: str) -> bool:
        if any(self.taken.get(flag, taken) != taken for flag in flags):
            self.warn(f"{where}: nohz_full= and isolcpus= must match, ignored")
            return False
        other = self.taken.get(_DOMAIN) or self.taken.get(_NOHZ)
        if other and flags & {_DOMAIN, _NOHZ} and not (self.topology.present - taken - other):
            self.warn(f"{where}: nohz_full= and isolcpus= together must leave one present CPU, ignored")
            return False
        return True

    def unbound_cpus(self, text: str) -> None:
        cpus = self._cpus(text, "workqueue.unbound_cpus")
        self.unbound = cpus or None

    def _cpus(self, text: str, name: str) -> CpuSet | None:
        last = self.topology.possible.last
        try:
            cpus = CpuSet.parse_list(text, last=last)
        except InputError as error:
            self.warn(f"{name}={text[:60]}: {error.what}, ignored")
            return None
        if last is not None and (cpus.last or 0) > last:
            self.warn(f"{name}={text[:60]}: CPU {cpus.last} is not possible, ignored")
            return None
        return cpus & self.topology.possible
