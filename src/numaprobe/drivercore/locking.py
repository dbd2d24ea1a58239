"""Holding a device: its lock, its parent's where the bus needs it, and the deadlock that can be named beforehand.

Lock order: parent before child, supplier's consumers only while the supplier's lock is dropped.

Source: ``__device_driver_lock`` (``drivers/base/dd.c``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numaprobe.drivercore.core import DriverCore
    from numaprobe.drivercore.device import Device


class HeldDevice:
    """``async with`` over a device's lock; remembers in which chain of probes the owner is."""

    __slots__ = ("_core", "_dev", "_parent")

    def __init__(self, core: DriverCore, dev: Device, *, parent: bool) -> None:
        self._core = core
        self._dev = dev
        self._parent = dev.parent if parent and dev.bus.need_parent_lock else None

    async def __aenter__(self) -> None:
        dev = self._dev
        chain = self._core.bodies.refuse_inside(lambda one: one is dev or one is self._parent, f"locks {dev.name}")
        if self._parent is not None:
            await self._parent.lock.acquire()
        await dev.lock.acquire()
        self._core.bodies.owned(dev, chain)

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, GeneratorExit):
            return  # the run was abandoned: there is no task any more that could release anything
        self._core.bodies.disowned(self._dev)
        self._dev.lock.release()
        if self._parent is not None:
            self._parent.lock.release()
