"""Deferred probing: devices whose probe asked to be tried again later.

Two lists, both first in, first out. A device that asked for deferral is *pending*. A *trigger* (some driver was bound,
late_initcall, probing was unblocked, the timeout) moves all pending devices to *active* and queues one work, which
takes them one by one through ``bus_probe_device``: autoprobe and the rules of sync and async apply again. The work
goes to the unbound system queue with no node: in its worker a policy that asks "am I in a worker?" is misled.

A trigger that happens while a device's probe runs would miss it: ``driver_probe_device`` compares the trigger count
from before and after, and triggers again. That second trigger moves the count too. So devices whose probes overlap and
all defer keep each other awake, for as long as they overlap, though nothing was bound; and a probe that binds a child,
then defers and takes the child back, wakes itself and others like it (the kernel's documentation,
``driver-api/driver-model/driver.rst``, warns of it). In the kernel the first loop lasts until two of them miss each
other and the second one for ever, burning a CPU; where laps take no time neither would end.

So there is *news* here: a device bound for the first time, a request from outside of all bodies, probing unblocked, the
end of booting, the timeout. A device that was retried ``MAX_ECHOES`` times with no news in between is named, with its
companions, and they get one retry for each piece of news from then on.

Source: ``drivers/base/dd.c``: ``driver_deferred_probe_add`` to ``deferred_probe_initcall``, ``device_block_probing``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.drivercore.model import Laps
from numaprobe.listing import first_few
from numaprobe.runtime import Work

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from numaprobe.drivercore.chain import Chains
    from numaprobe.drivercore.model import Device
    from numaprobe.drivercore.state import CoreState
    from numaprobe.runtime import Timer

#: End of the reason of a device that a new driver could not match yet: such a one is listed even while it is bound.
CANNOT_MATCH: Final = "cannot match yet"

#: So many retries in a row without news make a loop. Arbitrary: a race gives one or two.
MAX_ECHOES: Final = 100
#: So many re-triggers in all make one too, where each lap binds something new (a child of a new name).
MAX_RETRIGGERS: Final = 10_000
#: How many devices a sentence names before it counts.
_NAMED: Final = 4


class DeferredProbes:
    """What is done with the deferred devices of one core.

    Args:
        state: theirs are the lists.
        chains: tells what a body asks for from what others do.
        retry: ``bus_probe_device``.

    """

    def __init__(self, state: CoreState, chains: Chains, retry: Callable[[Device], Awaitable[None]]) -> None:
        self._machine = state.machine
        self._state = state
        self._lists = state.deferred
        self._chains = chains
        self._retry = retry
        #: requests from outside of all bodies, and the like
        self._requests = 0
        self._bound_once: set[tuple[str, str]] = set()
        options = state.options
        explicit = options.deferred_probe_timeout_ns is not None
        self._timeout_ns = options.timeout_ns if explicit or not options.booted else 0
        self._timer: Timer | None = None
        self._work = Work(self._work_function, "deferred_probe_work_func")
        self._timeout_work = Work(self._timeout_function, "deferred_probe_timeout_work_func")

    def add(self, dev: Device, reason: str) -> None:
        """Put a device on the pending list, unless it is on a list or no driver ever matched it."""
        if not dev.p.can_match or dev in self._lists:
            return
        dev.p.deferred_reason = reason
        self._lists.pending[dev.key] = dev
        dev.tell(self._machine.now(), f"deferred: {reason}")

    def discard(self, dev: Device) -> None:
        """Take a device off the lists (``driver_deferred_probe_del``)."""
        if self._lists.pending or self._lists.active:
            self._lists.pending.pop(dev.key, None)
            self._lists.active.pop(dev.key, None)
        dev.p.deferred_reason = None

    def trigger(self) -> None:
        """Retry all pending devices soon, as there is news; before late_initcall nothing happens."""
        self._requests += 1
        self._trigger()

    def bound(self, dev: Device) -> None:
        """Retry all pending devices soon, as ``dev`` was bound: news the first time."""
        self._bound_once.add(dev.key)
        self._trigger()

    def _trigger(self) -> None:
        """Trigger. Where nothing waits the kernel queues its work all the same, to find nothing: we do not."""
        lists = self._lists
        if not lists.enabled:
            return
        lists.trigger_count += 1
        if not lists.pending and not lists.active:
            return
        lists.active.update(lists.pending)
        lists.pending.clear()
        self._machine.queue_work(self._machine.system_dfl_wq, self._work)

    @property
    def timed_out(self) -> bool:
        """Whether suppliers that are optional are waited for no more (``driver_deferred_probe_check_state``)."""
        return self._lists.enabled and self._timeout_ns == 0

    def note_request(self) -> None:
        """Take note that something is asked for: news, unless a body asks."""
        self._requests += not self._chains.inside()

    @property
    def _news(self) -> int:
        """How much news there has been: what a trigger came from, if not from another device's deferral."""
        return self._requests + len(self._bound_once)

    def retrigger(self, dev: Device) -> None:
        """Trigger again: a trigger passed while ``dev`` was probed, and its deferral may have missed it."""
        laps = _laps(dev)
        laps.retriggers += 1
        if laps.retriggers <= MAX_RETRIGGERS:
            self._trigger()
        elif not laps.looped:
            self._name_loop(dev)

    def _is_loop(self, dev: Device) -> bool:
        """Count a retry of ``dev``; tell whether it is one of a loop, and so not to be done."""
        laps = _laps(dev)
        laps.echoes = laps.echoes + 1 if laps.news == self._news else 1
        laps.news = self._news
        if laps.echoes > MAX_ECHOES and not laps.looped:
            self._name_loop(dev)
        return laps.looped and laps.echoes > 1

    def _name_loop(self, dev: Device) -> None:
        """Say which devices keep each other awake, and let none of them do so any more."""
        loop = [one for one in self._state.devices() if one is dev or self._is_echoing(one)]
        for one in loop:
            _laps(one).looped = True
        reasons = "; ".join(dict.fromkeys(self.why(one) for one in loop))
        text = (
            f"{_names(loop)}: each deferral made the next try, {MAX_ECHOES} times, and nothing new was bound: {reasons}"
        )
        self._machine.warn("deferral-loop", f"{text}. The kernel would go on; from here on they wait for something new")

    def _is_echoing(self, dev: Device) -> bool:
        laps = dev.p.laps
        if laps is None or laps.looped:
            return False
        return laps.news == self._news and laps.echoes > MAX_ECHOES // 10

    def reason(self, dev: Device) -> str:
        """Say why a device that asks to be deferred does so."""
        if self._lists.blocked:
            return "probing is blocked"
        missing = self._state.links.missing(dev)
        return f"waiting for supplier {missing}" if missing else "its probe asked for a later try"

    def why(self, dev: Device) -> str:
        """Say what a deferred device waits for, and what became of that."""
        missing = self._state.links.missing(dev)
        if missing is None or self._lists.blocked:
            return self.reason(dev)
        return f"waiting for supplier {missing}, which {self._state.links.fate(missing)}"

    def unfinished(self) -> list[str]:
        """Return a line for each reason for which devices are deferred now."""
        found: dict[str, list[Device]] = {}
        for dev in self._lists:
            if not dev.is_bound:
                found.setdefault(self.why(dev), []).append(dev)
        return [f"{_names(devices)}: {why}" for why, devices in found.items()]

    async def _work_function(self) -> None:
        while self._lists.active:
            _, dev = self._lists.active.popitem(last=False)
            if self._is_loop(dev):
                self._lists.pending[dev.key] = dev
                continue
            dev.p.deferred_reason = None
            await self._retry(dev)

    async def flush(self) -> None:
        """Wait until the work that retries has nothing left to do."""
        await self._machine.flush_work(self._work)

    async def late_initcall(self) -> None:
        """From now on deferrals are retried; start the timeout (``deferred_probe_initcall``)."""
        self._lists.enabled = True
        for _ in range(2):
            self.trigger()
            await self.flush()
        self.extend_timeout()

    def extend_timeout(self) -> None:
        """Start the timeout, or start it again: each driver registration does."""
        if not self._lists.enabled or self._timeout_ns == 0:
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
        for dev in tuple(self._lists.pending.values()):
            reason = dev.p.deferred_reason or "no reason given"
            text = f"{dev.bus.name} {dev.name}: deferred probe pending: {reason}"
            self._machine.warn("deferred-probe-timeout", text)


def _laps(dev: Device) -> Laps:
    """Return the counts of a device that is deferred, made at its first deferral."""
    if dev.p.laps is None:
        dev.p.laps = Laps()
    return dev.p.laps


def _names(devices: Collection[Device]) -> str:
    return first_few([dev.name for dev in devices], _NAMED)
