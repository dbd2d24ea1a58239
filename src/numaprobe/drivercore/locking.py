"""Holding a device: its lock, its parent's where the bus needs it, and the deadlock that can be named beforehand.

Lock order: parent before child, supplier's consumers only while the supplier's lock is dropped.

Source: ``__device_driver_lock`` (``drivers/base/dd.c``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from numaprobe.drivercore.core import DriverCore
    from numaprobe.drivercore.device import Device


class HeldDevice:
    """``async with`` over a device's lock, and its parent's where the bus needs it."""

    __slots__ = ("_dev", "_parent")

    def __init__(self, core: DriverCore, dev: Device, *, parent: bool) -> None:
        self._dev = dev
        self._parent = dev.parent if parent and dev.bus.need_parent_lock else None
        if core.bodies.inside():
            core.bodies.refuse_inside(lambda one: one is dev or one is self._parent, f"locks {dev.name}")

    def __aenter__(self) -> Awaitable[None]:  # a plain function: one coroutine less per lock
        return self._dev.lock.acquire() if self._parent is None else self._acquire_both(self._parent)

    async def _acquire_both(self, parent: Device) -> None:
        await parent.lock.acquire()
        await self._dev.lock.acquire()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, GeneratorExit):
            return  # the run was abandoned: there is no task any more that could release anything
        self._dev.lock.release()
        if self._parent is not None:
            self._parent.lock.release()
