"""Deferred probing: devices whose probe asked to be tried again later.

Two lists, both first in, first out. A device that asked for deferral is *pending*. A *trigger* (some driver was bound,
late_initcall, probing was unblocked, the timeout) moves all pending devices to *active* and queues one work, which
takes them one by one through ``bus_probe_device``: autoprobe and the rules of sync and async apply again. The work
goes to the unbound system queue with no node: in its worker a policy that asks "am I in a worker?" is misled.

A trigger that happens while a device's probe runs would miss it: ``driver_probe_device`` compares the trigger count
from before and after, and triggers again.

Source: ``drivers/base/dd.c``: ``driver_deferred_probe_add`` to ``deferred_probe_initcall``, ``device_block_probing``.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from numaprobe.drivercore.deadlock import refuse_wait
from numaprobe.runtime import Work

if TYPE_CHECKING:
    from numaprobe.drivercore.core import DriverCore
    from numaprobe.drivercore.device import Device
    from numaprobe.runtime import Timer

#: End of the reason of a device that a new driver could not match yet: such a one is listed even while it is bound.
CANNOT_MATCH: Final = "cannot match yet"

#: After so many re-triggers for one device it only waits for ordinary triggers. Arbitrary, far above what a race can
#: give: only a loop comes here (a probe that registers a child and then defers; two that overlap for ever).
MAX_RETRIGGERS: Final = 10_000


class DeferredProbes:
    """The deferred devices of one core."""

    def __init__(self, core: DriverCore) -> None:
        self._core = core
        self._machine = core.machine
        self.pending: OrderedDict[tuple[str, str], Device] = OrderedDict()
        self.active: OrderedDict[tuple[str, str], Device] = OrderedDict()
        #: ``driver_deferred_probe_enable``: late_initcall has come
        self.enabled = core.options.booted
        #: ``defer_all_probes``
        self.blocked = False
        #: ``deferred_trigger_count``
        self.trigger_count = 0
        explicit = core.options.deferred_probe_timeout_ns is not None
        self._timeout_ns = core.options.timeout_ns if explicit or not core.options.booted else 0
        self._timer: Timer | None = None
        self._work = Work(self._work_function, "deferred_probe_work_func")
        self._timeout_work = Work(self._timeout_function, "deferred_probe_timeout_work_func")

    def __contains__(self, dev: Device) -> bool:
        return dev.key in self.pending or dev.key in self.active

    def add(self, dev: Device, reason: str = "") -> None:
        """Put a device on the pending list, unless it is on a list or no driver ever matched it."""
        if not dev.p.can_match or dev in self:
            return
        dev.p.deferred_reason = reason
        self.pending[dev.key] = dev
        dev.tell(self._machine.now(), f"deferred{': ' + reason if reason else ''}")

    def discard(self, dev: Device) -> None:
        """Take a device off the lists (``driver_deferred_probe_del``)."""
        if self.pending or self.active:
            self.pending.pop(dev.key, None)
            self.active.pop(dev.key, None)
        dev.p.deferred_reason = None

    def trigger(self) -> None:
        """Retry all pending devices soon; before late_initcall nothing happens.

        Every bind triggers. Where nothing waits the kernel queues its work all the same, to find nothing: we do not.
        """
        if not self.enabled:
            return
        self.trigger_count += 1
        if not self.pending and not self.active:
            return
        self.active.update(self.pending)
        self.pending.clear()
        self._machine.queue_work(self._machine.system_dfl_wq, self._work)

    def retrigger(self, dev: Device) -> None:
        """Trigger again: one passed while ``dev`` was probed. The kernel would go on for ever where this gives up."""
        dev.p.retriggers += 1
        if dev.p.retriggers <= MAX_RETRIGGERS:
            self.trigger()
        elif dev.p.retriggers == MAX_RETRIGGERS + 1:
            text = f"{dev.name}: triggered anew during each of {MAX_RETRIGGERS} deferred probes; it only waits now"
            self._machine.warn("deferral-loop", text)

    async def _work_function(self) -> None:
        while self.active:
            _, dev = self.active.popitem(last=False)
            dev.p.deferred_reason = None
            await self._core.bus_probe_device(dev)

    async def flush(self) -> None:
        """Wait until the work that retries has nothing left to do."""
        await self._machine.flush_work(self._work)

    async def late_initcall(self) -> None:
        """From now on deferrals are retried; start the timeout (``deferred_probe_initcall``)."""
        self.enabled = True
        for _ in range(2):
            self.trigger()
            await self.flush()
        self.extend_timeout()

    def extend_timeout(self) -> None:
        """Start the timeout, or start it anew: each driver registration does."""
        if not self.enabled or self._timeout_ns == 0:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._machine.timer(self._timeout_ns, self._expired)

    def _expired(self) -> None:
        self._machine.queue_work(self._machine.system_percpu_wq, self._timeout_work)

    async def _timeout_function(self) -> None:
        self._timeout_ns = 0
        self.trigger()
        await self.flush()
        for dev in tuple(self.pending.values()):
            reason = dev.p.deferred_reason or "no reason given"
            text = f"{dev.bus.name} {dev.name}: deferred probe pending: {reason}"
            self._machine.warn("deferred-probe-timeout", text)

    async def block(self) -> None:
        """Defer every probe from now on, and wait for those under way (``device_block_probing``)."""
        refuse_wait(self._core)
        self.blocked = True
        await self._core.wait_for_device_probe()

    def unblock(self) -> None:
        """Probe again (``device_unblock_probing``)."""
        self.blocked = False
        self.trigger()
