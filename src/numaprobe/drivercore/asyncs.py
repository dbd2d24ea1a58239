"""Asynchronous function calls with cookies: ``kernel/async.c``.

Every call gets a *cookie*, a number that grows by one. Calls of a *domain* are pending from scheduling until their
function returned; ``synchronize_cookie(c)`` waits until no pending call has a cookie below ``c``, ``synchronize_full``
until none is pending at all. A domain that is not *registered* is left out of the global wait.

When more than 32,768 calls are pending, ``schedule_node`` runs the function in its caller, on no list and so invisible
to every wait; ``schedule_node_nocall`` refuses instead, which is what the driver core must use while it holds a
device lock that the function needs (commit b232b02bf3c2, and the no-inline variant of 7.3).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final

from numaprobe.runtime import Work

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.runtime import Event, Machine

#: ``MAX_WORK`` of kernel/async.c.
MAX_WORK: Final = 32768
#: ``WQ_DFL_ACTIVE``: the async workqueue's min_active, so that no node is throttled.
ASYNC_MIN_ACTIVE: Final = 1024
#: The function that a worker executes for an async call; ``current_is_async`` looks for it.
ASYNC_WORK_NAME: Final = "async_run_entry_fn"


@dataclass(eq=False, slots=True)
class AsyncDomain:
    """A set of async calls that can be waited for on its own (``struct async_domain``).

    Attributes:
        name: for reports.
        registered: part of the global wait (``async_synchronize_full``).
        pending: cookie of each call that has not returned, oldest first.

    """

    name: str
    registered: bool = True
    pending: OrderedDict[int, None] = field(default_factory=OrderedDict)


class AsyncCalls:
    """The async calls of one core."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._wq = machine.alloc_workqueue("async", unbound=True, min_active=ASYNC_MIN_ACTIVE)
        self._cookies = count(1)
        self._entries = 0
        #: the registered domains that have pending calls (``async_global_pending``)
        self._busy: set[AsyncDomain] = set()
        self._waiters: list[tuple[AsyncDomain | None, int | None, Event]] = []
        #: how many of them wait for a cookie: the others look only when a domain runs empty
        self._cookie_waits = 0
        #: whether there is room for one more call; whoever explores what happens without puts another answer here
        self.has_room: Callable[[], bool] = self._below_limit
        #: ``async_dfl_domain``
        self.default_domain = AsyncDomain("async_dfl_domain")

    @property
    def pending(self) -> int:
        """How many calls have not returned yet."""
        return self._entries

    def _below_limit(self) -> bool:
        return self._entries <= MAX_WORK

    async def schedule_node(
        self, function: Callable[[], Awaitable[None]], node: int, domain: AsyncDomain | None = None
    ) -> int:
        """Call ``function`` in a worker near ``node``, or at once in the caller when too much is pending.

        Returns:
            the cookie.

        """
        cookie = next(self._cookies)
        if not self.has_room():
            await function()
        else:
            self._queue(cookie, function, node, domain or self.default_domain)
        return cookie

    def schedule_node_nocall(
        self, function: Callable[[], Awaitable[None]], node: int, domain: AsyncDomain | None = None
    ) -> bool:
        """Call ``function`` in a worker near ``node``; return False, and do nothing, when too much is pending."""
        if not self.has_room():
            return False
        self._queue(next(self._cookies), function, node, domain or self.default_domain)
        return True

    def _queue(self, cookie: int, function: Callable[[], Awaitable[None]], node: int, domain: AsyncDomain) -> None:
        if domain.registered:
            self._busy.add(domain)
        domain.pending[cookie] = None
        self._entries += 1
        entry = partial(self._run_entry, cookie, function, domain)
        self._machine.queue_work_node(node, self._wq, Work(entry, ASYNC_WORK_NAME))

    async def _run_entry(self, cookie: int, function: Callable[[], Awaitable[None]], domain: AsyncDomain) -> None:
        try:
            await function()
        finally:
            del domain.pending[cookie]
            self._entries -= 1
            if not domain.pending:
                self._busy.discard(domain)
            if self._waiters and (self._cookie_waits or not domain.pending):
                self._wake()

    def _wake(self) -> None:
        """Wake those whose wait is over."""
        still = []
        for waiter in self._waiters:
            domain, cookie, event = waiter
            if self._reached(domain, cookie):
                self._cookie_waits -= cookie is not None
                event.set()
            else:
                still.append(waiter)
        self._waiters = still

    def _reached(self, domain: AsyncDomain | None, cookie: int | None) -> bool:
        if cookie is None:
            return not (self._busy if domain is None else domain.pending)
        domains = self._busy if domain is None else [domain]
        return all(next(iter(one.pending), cookie) >= cookie for one in domains)

    async def synchronize_cookie(self, cookie: int | None, domain: AsyncDomain | None = None) -> None:
        """Wait until no call of ``domain`` (None: of any registered one) has a cookie below ``cookie``.

        ``cookie`` None is the kernel's ``ASYNC_COOKIE_MAX``: wait for all.
        """
        while not self._reached(domain, cookie):
            event = self._machine.event(f"async cookie {'max' if cookie is None else cookie}")
            waiter = domain, cookie, event
            self._waiters.append(waiter)
            self._cookie_waits += cookie is not None
            try:
                await event.wait()
            except BaseException:  # cut short: a waiter that is gone would be kept for as long as a call hangs
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                    self._cookie_waits -= cookie is not None
                raise

    async def synchronize_full(self) -> None:
        """Wait until no call of a registered domain is pending (``async_synchronize_full``)."""
        await self.synchronize_cookie(None)

    def current_is_async(self) -> bool:
        """Tell whether the current worker executes an async call itself: false inside a nested work item.

        Source: ``current_is_async``; the author of the January series found relying on it fragile, for this reason.
        """
        work = self._machine.current.work
        return work is not None and work.name == ASYNC_WORK_NAME
