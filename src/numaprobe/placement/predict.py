"""The same cases on the virtual machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.cpuset import CpuSet
from numaprobe.errors import InternalError
from numaprobe.placement.case import run_case
from numaprobe.placement.seen import Glimpse
from numaprobe.runtime import kernel_profile
from numaprobe.virtual import VirtualMachine
from numaprobe.virtual.task import VirtualTask

if TYPE_CHECKING:
    from numaprobe.placement.case import PlacementCase
    from numaprobe.placement.seen import Seen
    from numaprobe.topology import Topology


def predict(case: PlacementCase, topology: Topology, profile: str) -> tuple[Seen, ...]:
    """Return what the virtual machine says of ``case`` on this machine, by device."""
    machine = VirtualMachine(topology, kernel_profile(profile))
    return run_case(machine, case, lambda: _look(machine))


async def _look(machine: VirtualMachine) -> Glimpse:
    """Return what a body sees of its task: the CPUs of its mask that are online."""
    task = machine.current
    if not isinstance(task, VirtualTask):
        raise InternalError(f"{task.comm} is no task of the virtual machine")
    return Glimpse(cpu=task.cpu, comm=task.comm, allowed=CpuSet(task.mask) & machine.online)
