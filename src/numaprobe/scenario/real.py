"""Run a scenario for real: the same steps, driver core, policies and costs on this computer's CPUs and clock.

Compute burns CPU time, sleep sleeps, allocate touches memory on a node; locks, children, deferrals and errors are the
driver core's own and need no translation. So a prediction can be held against a measurement: both come from one
``Setting``, which ``here`` cuts down to the CPUs that this process may use, and tells what memory costs here.

What is refused, before anything runs: a machine with CPUs that are not there, and steps that change the machine
(``offline``, ``online``, ``isolate``): a scenario must not do that to a computer that is in use. A write of the unbound
cpumask is a write of the machine's own workqueues, and touches nothing of the computer's. Background load
(``busy``) is real: see ``burners``. Memory is given only while it leaves the system its reserve; a body that asks for
more fails with ENOMEM, as it would for want of memory.

What differs from virtual time: the driver core itself takes time (some tens of microseconds for each probe, more where
a thread is new), bodies share one interpreter and one address space, and other programs run too.
"""

from __future__ import annotations

import errno
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from numaprobe.cpuset import CpuSet
from numaprobe.errors import RefusedError
from numaprobe.hostmachine import HostMachine, limits
from numaprobe.hostmachine.attributes import Applier, Attributes
from numaprobe.hostmachine.bodies import burn, touch
from numaprobe.kernel.identity import this_machine
from numaprobe.scenario.burners import Burners
from numaprobe.scenario.plan import make_plan
from numaprobe.scenario.run import Outcome, run_on
from numaprobe.scenario.steps import StartBusy, all_steps
from numaprobe.units import format_size
from numaprobe.virtual.machine import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numaprobe.policies import Policy
    from numaprobe.scenario.schema import Scenario
    from numaprobe.scenario.setting import Setting
    from numaprobe.topology import Topology

#: Bodies leave the system at least this share of the memory that is available to it.
_RESERVE: Final = 4
#: How ``page_ns`` is measured: a few megabytes, as bodies touch, a few times.
_TRIES: Final = 7
_TRIED_BYTES: Final = 4 << 20
#: How long bodies that still run may take when a run is cut short (Ctrl-C).
_GRACE_S: Final = 1.0


def here(setting: Setting) -> Setting:
    """Return ``setting`` on those of its CPUs that this process may use.

    Raises:
        RefusedError: the machine is not of this computer, or a step would change it.
        InputError: the scenario makes no sense on the CPUs that are left.

    """
    scenario, topology = setting.plan.scenario, setting.plan.topology
    _refuse_changes(scenario)
    online = _usable(topology)
    caller = scenario.caller
    if caller.cpu not in online:
        text = f"{scenario.name}: caller.cpu: this process may not use CPU {caller.cpu} now, only {online}"
        raise RefusedError(f"{text}; change it: --set caller.cpu={online.first}")
    setting = replace(setting, page_ns=page_ns())
    if online == topology.online:
        return setting
    machine = replace(setting.machine, online=setting.machine.online & online)
    return replace(setting, machine=machine, plan=make_plan(scenario, replace(topology, online=online)))


@cache
def page_ns() -> int:
    """Return the CPU time that ``allocate`` takes on this computer for each page: the median of a few tries.

    It is the fault, zeroing the page, and asking the kernel on which node it lies. A kernel's own allocations are part
    of what a scenario says that a probe computes; here memory is touched on top of that, and a prediction of what is
    measured here must know the price.
    """
    applier = Applier(lambda _kind, _message: None, limits.allowed_cpus)
    tries = []
    for _ in range(_TRIES):
        start = time.thread_time_ns()
        memory = touch(_TRIED_BYTES, None, applier, Attributes())
        tries.append(time.thread_time_ns() - start)
        memory.free()
    return round(median(tries)) * PAGE_SIZE // _TRIED_BYTES


def _refuse_changes(scenario: Scenario) -> None:
    for where, step in all_steps(scenario.steps, "steps"):
        if step.changes_cpus:
            text = f"{where}.{step.key}: no scenario changes the CPUs of a computer that is in use"
            raise RefusedError(f"{scenario.where}: {text}; this one runs in virtual time only")


def _usable(topology: Topology) -> CpuSet:
    real = limits.real_cpus()
    if not topology.possible.issubset(real):
        text = f"machine '{topology.name}' has CPUs {topology.possible}, this computer has {real}"
        raise RefusedError(f"{text}; to run on this computer as it is, give --machine host")
    usable = topology.online & limits.allowed_cpus()
    if not usable:
        text = f"this process may use none of the CPUs {topology.online} of machine '{topology.name}'"
        raise RefusedError(f"{text}; it may use {limits.allowed_cpus()}")
    return usable


def run_real(
    setting: Setting, policy: Policy | str | None = None, *, told: Callable[[int], object] | None = None
) -> Outcome:
    """Run a setting on this computer.

    Whatever ends the run, Ctrl-C included, no thread and no process of it is left.

    Args:
        setting: see ``prepare``; it is passed through ``here``.
        policy: in place of the setting's: a policy, or its name with options.
        told: see ``run_setting``.

    Raises:
        RefusedError: see ``here``.
        UnknownNameError: no such policy.
        InputError: a step names what is not there at that moment.

    """
    setting = here(setting)
    burn(0)  # it finds out how fast this CPU is, once; not in the first probe
    machine = RealMachine(setting.plan.topology, setting.profile, grace_s=_GRACE_S)
    with Burners(_most_burners(setting)) as burners:
        changes = HostChanges(machine, burners)
        outcome = run_on(machine, setting, policy, hotplug=changes, source="host", told=told)
    return replace(outcome, trace=replace(outcome.trace, identity=this_machine()))


def _most_burners(setting: Setting) -> int:
    """Return how many burners the steps can release: loads without an end."""
    steps = (step for _, step in all_steps(setting.plan.scenario.steps, ""))
    loads = [step.busy for step in steps if isinstance(step, StartBusy) and step.busy.compute is None]
    return sum(busy.tasks * len(busy.cpus & setting.plan.topology.online) for busy in loads)


def _available_memory(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Return the bytes that programs can have without swapping (``MemAvailable``); None if the system does not say."""
    try:
        lines = meminfo.read_text(encoding="ascii", errors="replace").splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
    except (OSError, ValueError, IndexError):
        return None


class RealMachine(HostMachine):
    """The host machine, careful with memory: a scenario may ask for more than there is."""

    _asked = 0

    async def allocate(self, size: int, node: int | None = None) -> None:
        """Touch ``size`` bytes.

        Raises:
            OSError: ENOMEM: too little would be left.

        """
        with self._claim(size):
            await super().allocate(size, node)

    @contextmanager
    def _claim(self, size: int) -> Iterator[None]:
        """Count ``size`` bytes as taken until they are."""
        available = _available_memory()
        if available is not None and self._asked + size > available - available // _RESERVE:
            text = f"{format_size(size)} asked for, {format_size(available)} available on this computer"
            raise OSError(errno.ENOMEM, text)
        self._asked += size
        try:
            yield
        finally:
            self._asked -= size


class HostChanges:
    """What steps do to the machine: background load, and where its unbound works run. Nothing of the computer's own."""

    def __init__(self, machine: HostMachine, burners: Burners) -> None:
        self._machine = machine
        self._burners = burners

    def add_load(self, cpus: CpuSet, tasks_per_cpu: int = 1, comm: str = "load", *, pinned: bool = True) -> None:  # noqa: ARG002  a process is not named
        """Let processes compete for these CPUs until the run is over."""
        online = cpus & self._machine.online
        for cpu in [cpu for cpu in online for _ in range(tasks_per_cpu)]:
            self._burners.release(CpuSet.of([cpu]) if pinned else online)

    async def cpu_down(self, cpu: int) -> int:
        """Refuse."""
        raise RefusedError(f"CPU {cpu} of this computer stays as it is")

    async def cpu_up(self, cpu: int) -> int:
        """Refuse."""
        raise RefusedError(f"CPU {cpu} of this computer stays as it is")

    async def set_unbound_cpumask(self, cpus: CpuSet) -> int:
        """Write the CPUs of this run's own unbound workqueues; the computer's are left alone."""
        return self._machine.set_unbound_cpumask(cpus)

    async def isolate(self, cpus: CpuSet) -> None:
        """Refuse."""
        raise RefusedError(f"CPUs {cpus} of this computer stay as they are")
