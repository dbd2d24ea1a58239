"""Files of a device in sysfs, and who is inside of them.

Whoever reads or writes a file executes its function with an *active reference* to it. To take the file away is to let
nobody in any more, and to wait until nobody is inside. So a function that takes a lock under which its file is taken
away is a deadlock; lockdep calls the reference ``kn->active``.

A file has one of two lives. A device's own files are there from ``device_add`` to ``device_del``, which takes them away
before the driver is released, with no lock of its own. Those of a driver (``dev_groups``) are there while a device is
bound: they come at the end of a probe that succeeded and go before the remove, both under the device's lock.

What is not here: the files that the core and buses bring (``bind``, ``sriov_numvfs``, …) are written by calls of their
own, and nobody waits for those inside of them but for who takes a driver away (``Driver.used``).

Source: ``kernfs_get_active``, ``kernfs_drain`` (``fs/kernfs/dir.c``); ``device_remove_attrs`` in ``device_del``
(``drivers/base/core.c``); ``device_add_groups`` in ``really_probe``, ``device_remove`` (``drivers/base/dd.c``).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from numaprobe.drivercore.locking import HeldDevice
from numaprobe.drivercore.model import ActiveFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numaprobe.drivercore.body import ProbeBodies
    from numaprobe.drivercore.chain import Chains
    from numaprobe.drivercore.model import Attribute, Device
    from numaprobe.drivercore.state import CoreState
    from numaprobe.runtime import Task


class DeviceFiles:
    """The files of one core's devices.

    Args:
        state: where the devices are.
        chains: for the locks, which refuse a task that would wait for itself.
        bodies: runs the functions.

    Attributes:
        watch: told of each active reference: ``enters``, ``leaves`` or ``drains``, and which file's; None: nobody is.

    """

    def __init__(self, state: CoreState, chains: Chains, bodies: ProbeBodies) -> None:
        self._state = state
        self._machine = state.machine
        self._chains = chains
        self._bodies = bodies
        self._drained: dict[str, ActiveFile] = {}
        self.watch: Callable[[str, str], object] | None = None

    # ---- their lives -----------------------------------------------------------------------------------------------
    def create(self, dev: Device, attributes: Iterable[Attribute]) -> None:
        """Let files of ``dev`` be there; one whose name is taken is not, and is told."""
        files = dev.p.files = dev.p.files or {}
        for attribute in attributes:
            if attribute.name in files:
                self._machine.warn("attribute", f"{dev.name}: cannot create duplicate file {attribute.name}")
            else:
                name = f"kn->active {dev.bus.name}/{dev.name}/{attribute.name}"
                files[attribute.name] = ActiveFile(attribute, name)

    async def remove(self, dev: Device, attributes: Iterable[Attribute]) -> None:
        """Take files of ``dev`` away, in their order; wait until nobody is inside of each."""
        files = dev.p.files or {}
        for attribute in attributes:
            file = files.get(attribute.name)
            if file is not None and file.attribute is attribute:
                del files[attribute.name]
                await self._drain(file)

    async def _drain(self, file: ActiveFile) -> None:
        if self.watch is not None:
            self.watch("drains", file.name)
        if not file.inside:
            return
        file.idle = self._machine.event(file.name)
        self._drained[file.name] = file
        try:
            await file.idle.wait()
        finally:
            del self._drained[file.name]

    def inside(self, name: str) -> tuple[Task, ...]:
        """Return who is inside of a file that is being taken away, by the name of its reference."""
        return tuple(self._drained[name].inside) if name in self._drained else ()

    # ---- what users do ---------------------------------------------------------------------------------------------
    async def call(self, bus: str, device: str, name: str, *, write: bool) -> int:
        """Read or write a file in the current task; see ``DriverCore.read`` and ``DriverCore.write``."""
        dev = self._state.bus(bus).devices.get(device)
        file = None if dev is None else (dev.p.files or {}).get(name)
        if dev is None or file is None:
            return -errno.ENOENT
        function = file.attribute.store if write else file.attribute.show
        if function is None:
            return -errno.EACCES
        what = f"{'store' if write else 'show'} of {name}"
        task = self._machine.current
        file.inside[task] = None
        if self.watch is not None:
            self.watch("enters", file.name)
        try:
            if not file.attribute.locked:
                result = await self._bodies.call(what, function, dev)
            else:
                async with HeldDevice(self._chains, dev):
                    result = await self._bodies.call(what, function, dev)
        except GeneratorExit:  # the run was abandoned: there is no task any more that could be woken
            raise
        except BaseException:
            self._leave(file, task)
            raise
        self._leave(file, task)
        return result

    def _leave(self, file: ActiveFile, task: Task) -> None:
        del file.inside[task]
        if self.watch is not None:
            self.watch("leaves", file.name)
        if not file.inside and file.idle is not None:
            file.idle.set()
