"""Waiting for all probes, and keeping them from starting.

The kernel's wait flushes the deferred work first and waits for asynchronous probes after it. What these make worth a
retry is thus waited for or not, by which task wakes first: so by the policy too. ``settle`` is for a caller that wants
rest.

Source: ``wait_for_device_probe``, ``device_block_probing``, ``device_unblock_probing`` (``drivers/base/dd.c``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numaprobe.drivercore.asyncs import AsyncCalls
    from numaprobe.drivercore.deadlock import Deadlocks
    from numaprobe.drivercore.deferred import DeferredProbes
    from numaprobe.drivercore.state import CoreState


class Waiting:
    """Waits for the probes of one core."""

    def __init__(self, state: CoreState, deadlocks: Deadlocks, deferred: DeferredProbes, asyncs: AsyncCalls) -> None:
        self._state = state
        self._deadlocks = deadlocks
        self._deferred = deferred
        self._asyncs = asyncs

    async def wait_for_device_probe(self) -> None:
        """See ``DriverCore.wait_for_device_probe``."""
        self._deadlocks.refuse_wait()
        await self._deferred.flush()
        probes = self._state.probes
        while int(probes):
            await probes.idle.wait()
        await self._asyncs.synchronize_full()

    async def settle(self) -> None:
        """See ``DriverCore.settle``."""
        lists = self._state.deferred
        triggers = -1
        while triggers != lists.trigger_count:
            triggers = lists.trigger_count
            await self.wait_for_device_probe()

    async def block(self) -> None:
        """See ``DriverCore.device_block_probing``."""
        self._deadlocks.refuse_wait()
        self._state.deferred.blocked = True
        await self.wait_for_device_probe()

    def unblock(self) -> None:
        """See ``DriverCore.device_unblock_probing``."""
        self._state.deferred.blocked = False
        self._deferred.trigger()
