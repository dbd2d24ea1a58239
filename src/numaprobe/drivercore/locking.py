"""Holding a device: its lock, its parent's where the bus needs it, and the deadlock that can be named beforehand.

Lock order: parent before child, supplier's consumers only while the supplier's lock is dropped.

Source: ``__device_driver_lock`` (``drivers/base/dd.c``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from numaprobe.drivercore.chain import Chains
    from numaprobe.drivercore.model import Device
    from numaprobe.runtime import Lock


class HeldDevice:
    """``async with`` over a device's lock, and its parent's where the bus needs it."""

    __slots__ = ("_lock", "_outer")

    def __init__(self, chains: Chains, dev: Device, *, parent: bool = False) -> None:
        above = dev.parent if parent and dev.bus.need_parent_lock else None
        self._lock = dev.lock
        self._outer = None if above is None else above.lock
        if self._lock.owner is not None or (self._outer is not None and self._outer.owner is not None):
            # a body runs under its device's lock: where the locks are free, we are not inside of it
            chains.refuse_inside(lambda one: one is dev or one is above, f"locks {dev.name}")

    def __aenter__(self) -> Awaitable[None]:  # a plain function: one coroutine less per lock
        return self._lock.acquire() if self._outer is None else self._acquire_both(self._outer)

    async def _acquire_both(self, outer: Lock) -> None:
        await outer.acquire()
        await self._lock.acquire()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, GeneratorExit):
            return  # the run was abandoned: there is no task any more that could release anything
        self._lock.release()
        if self._outer is not None:
            self._outer.release()
