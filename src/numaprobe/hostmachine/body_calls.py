"""What a probe body asks for: each runs in the OS thread of the task that asks.

These are the protocol's primitives in real time. What they cost is read in the thread, before and after.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from numaprobe.errors import BodyError, FarTraceback, NumaprobeError, UsageError
from numaprobe.hostmachine.async_body import AsyncBody
from numaprobe.hostmachine.attributes import Applier, Attributes
from numaprobe.hostmachine.bodies import Nap, burn, touch
from numaprobe.hostmachine.measure import Stretch
from numaprobe.hostmachine.runner import Runner, nothing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from numaprobe.cpuset import CpuSet
    from numaprobe.runtime.protocol import Usage
    from numaprobe.topology import Topology

T = TypeVar("T")

#: A process is killed at its deadline by its thread; if that cannot even begin, this much later the call fails.
_SPARE_NS: Final = 1_000_000_000


class BodyCalls:
    """The primitives."""

    runner: Runner
    topology: Topology
    start_method: str
    _applier: Applier
    _memory_mode: int
    _origin: int  # when the machine was made: CLOCK_MONOTONIC, ns

    if TYPE_CHECKING:

        @property
        def online(self) -> CpuSet:
            """The CPUs online now."""
            ...

        def _online_lately(self, now: int) -> CpuSet:
            """Return the CPUs online a millisecond ago at most; ``now``: CLOCK_MONOTONIC, ns."""
            ...

    async def compute(self, ns: int) -> None:
        """Use a CPU for ``ns`` of CPU time, in the task's thread, with the interpreter lock free."""
        _not_negative(ns, "ns of computing")
        await self.runner.run_in_thread(self.runner.current, burn, ns)

    async def sleep(self, ns: int) -> None:
        """Leave the CPU for ``ns``, in the task's thread."""
        _not_negative(ns, "ns of sleep")
        task, nap = self.runner.current, Nap(time.monotonic_ns() + ns)
        if task.pool is not None:
            task.pool.sleeping(task)
        try:
            await self.runner.run_in_thread(task, nap.take, interrupt=nap.end)
        finally:
            if task.pool is not None:
                task.pool.waking(task)

    async def allocate(self, size: int, node: int | None = None) -> None:
        """Map ``size`` bytes and touch every page, on ``node`` or by the thread's policy; read back where they lie.

        The memory is given back when the outermost measured stretch, or the task, ends.
        """
        _not_negative(size, "bytes")
        task = self.runner.current
        memory = await self.runner.run_in_thread(task, touch, size, node, self._applier, task.wish)
        task.held.append(memory)
        if task.stretch is not None:
            task.stretch.allocated(size, memory)
        elif task.work is None:
            task.drop_memory()

    def call(self, function: Callable[..., T], *args: object, deadline_ns: int | None = None) -> Coroutine[Any, Any, T]:
        """Call plain Python code in the task's thread.

        Raises:
            TimeoutError: ``deadline_ns`` passed. The thread is given up (see ``thread.py``), its stack is in the text
                and in a warning ``deadline``, and the task goes on with a new thread.

        """
        return self.runner.run_in_thread(self.runner.current, function, *args, deadline_ns=deadline_ns)

    async def call_async(self, function: Callable[[], Awaitable[T]], *, deadline_ns: int | None = None) -> T:
        """Await strangers' code in an asyncio task of its own: whatever it does to that, the core's goes on.

        Raises:
            TimeoutError: ``deadline_ns`` passed, and it was cancelled.
            BaseException: whatever it raised.

        """
        return await AsyncBody(self.runner, self.runner.current, function, deadline_ns).outcome()

    async def prepare_process(self, function: Callable[..., object], *used: object, key: str) -> None:
        """Have the task's process started, and the modules loaded that ``function`` and ``used`` come from.

        A body that is called there is then not charged for it. If it fails nothing is said: the call will say it.

        Args:
            function: what will be called there.
            used: what it will be given.
            key: names all that; a process that has loaded it is not asked again.

        """
        from numaprobe.hostmachine.process import load_in_child

        with suppress(NumaprobeError, OSError):
            thread = self.runner.threads.of(self.runner.current)
            if thread.child is None or key not in thread.child.loaded:
                call = load_in_child, thread, self.start_method, (function, used), key
                await self.runner.run_in_thread(self.runner.current, *call)

    async def call_process(self, function: Callable[..., T], *args: object, deadline_ns: int | None = None) -> T:
        """Call CPU-bound Python code in a process that is pinned like the task's thread.

        The function, its arguments and its result travel by pickle. The process serves the later calls of its task;
        the deadline does not run while it starts and loads the function's modules.

        Raises:
            BodyError: the process died.
            OSError: the system gives no process (EAGAIN, ENOMEM), or no descriptors (EMFILE).
            TimeoutError: ``deadline_ns`` passed and it was killed.

        """
        from numaprobe.hostmachine.process import in_child, load_in_child

        task = self.runner.current
        thread = self.runner.threads.of(task)
        if thread.child is None:
            await self.runner.run_in_thread(task, load_in_child, thread, self.start_method, (function, args), "")
        at_last = None if deadline_ns is None else deadline_ns + _SPARE_NS
        call = in_child, thread, self.start_method, function, args, deadline_ns
        answer = await self.runner.run_in_thread(task, *call, deadline_ns=at_last)
        if task.stretch is not None:
            task.stretch.ran(answer.running_ns, answer.cpu, answer.cpu)
        if answer.error is not None:
            raise answer.error from FarTraceback(f"in the process:\n{answer.traceback}", answer.place)
        value: T = answer.value
        return value

    async def set_affinity(self, cpus: CpuSet | None, *, memory_node: int | None = None) -> None:
        """Move the current task's thread; None = as it was created.

        Raises:
            UsageError: this process may use no CPU of ``cpus`` now (``sched_setaffinity`` says EINVAL).

        """
        task = self.runner.current
        if cpus is None:
            wish = replace(task.home, memory_node=memory_node) if memory_node is not None else task.home
        elif cpus & self.online:
            wish = Attributes(cpus, None, memory_node, self._memory_mode)
        else:
            raise UsageError(f"{task.comm} cannot move to CPU {cpus or 'none'}: it may use {self.online}")
        await self.runner.change(task, wish)

    async def measure(self, body: Callable[[], Awaitable[T]]) -> tuple[T, Usage]:
        """Run ``body`` in the current task and say what it cost.

        Running is the CPU time of the task's thread; runnable is what the kernel's schedstat adds to that; the rest,
        the core's own work between two awaits included, is sleeping.
        """
        task = self.runner.current
        stretch = Stretch(task, self.topology, time.monotonic_ns() - self._origin)
        try:
            result = await body()
            if not stretch.trail and (task.thread is not None or not self.runner.threads.refused):
                with suppress(OSError):  # no thread to be had: then it was on no CPU that can be named
                    await self.runner.run_in_thread(task, nothing)
            now = time.monotonic_ns()
            return result, stretch.usage(now - self._origin, self._online_lately(now))
        finally:
            stretch.end()


def _not_negative(amount: int, what: str) -> None:
    if amount < 0:
        raise BodyError(f"a body asked for {amount} {what}; that is never negative")
