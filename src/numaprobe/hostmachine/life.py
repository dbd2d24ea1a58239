"""The life of a host machine: started and ended by ``with``, by ``run``, or for a library that submits from outside.

Whatever ends it, an error or Ctrl-C included, all tasks are cancelled and all threads and processes end, or are
reported. After a ``fork`` the machine belongs to the parent; the child's copy has no threads and refuses everything.
A child that was forked inside a body, and comes out of it, ends there (``plain_loop.end_child``).
"""

from __future__ import annotations

import contextvars
import os
import weakref
from typing import TYPE_CHECKING, Any, Self, TypeVar

from numaprobe.cpuset import CpuSet
from numaprobe.errors import UsageError
from numaprobe.hostmachine.attributes import Attributes
from numaprobe.hostmachine.runner import cut_short
from numaprobe.hostmachine.shutdown import shut_down
from numaprobe.hostmachine.task import CURRENT, HostTask
from numaprobe.hostmachine.thread import forget_this_thread

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from numaprobe.hostmachine.runner import Runner
    from numaprobe.workqueue import Workqueues

T = TypeVar("T")

_machines: weakref.WeakSet[Life] = weakref.WeakSet()


class Life:
    """Starting, running, ending."""

    runner: Runner
    grace_s: float
    _entered = False
    _running = False
    _forked = False

    if TYPE_CHECKING:

        @property
        def online(self) -> CpuSet:
            """The CPUs online now."""
            ...

        _workqueues: Workqueues

        def warn(self, kind: str, message: str) -> None:
            """Keep a warning."""
            ...

    def __enter__(self) -> Self:
        self._refuse_if_forked()
        if self._entered:
            raise UsageError("this host machine runs already; make another one")
        self.runner.core.start()
        self._entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancel what still runs, end all threads and processes. A body that does not end in time is reported."""
        if not self._forked and self.runner.core.alive:
            shut_down(self.runner, self.grace_s, self.warn)
            self._workqueues.reset()
        self._entered = False

    def _refuse_if_forked(self) -> None:
        if self._forked:
            raise UsageError("this host machine belongs to the parent process; make another one after fork")

    def run(self, main: Callable[[], Awaitable[T]], *, comm: str = "modprobe", cpu: int | None = None) -> T:
        """Run ``main`` as a new task, then go on until nothing is left to run (timers included).

        Raises:
            UsageError: called from inside a run.
            DeadlockError: tasks wait and nothing can wake them.

        """
        self._refuse_if_forked()
        if self._running or CURRENT.get() is not None:
            raise UsageError("run was called from inside a run; use spawn and join there")
        self._running, own = True, not self._entered
        if own:
            self.__enter__()
        over = False
        try:
            task = self.runner.core.submit(self._run_main(main, comm, cpu)).result()
            over = True
        finally:
            self._running = False
            if own or not over:
                self.close()
            if not own and not over:
                self.__enter__()
        if task.failure is not None:
            raise task.failure
        result: T = task.result
        return result

    async def _run_main(self, main: Callable[[], Awaitable[Any]], comm: str, cpu: int | None) -> HostTask:
        task = self._new_task(comm, CpuSet.of([cpu]) if cpu is not None else None, cpu)
        task.joined = True
        self.runner.failures.clear()
        await self.runner.until_over(lambda: self.runner.spawn(task, main))
        if task.failure is None and self.runner.failures:
            task.failure = self.runner.failures[0]
        return task

    def submit(self, function: Callable[[], Awaitable[T]], *, comm: str) -> concurrent.futures.Future[T]:
        """Run ``function`` as a new task from any thread outside the machine; for libraries and signal handlers.

        The future gets a ``UsageError`` if the machine is closed before the task has ended.
        """
        self._refuse_if_forked()

        def begin(answer: concurrent.futures.Future[T]) -> None:
            try:
                task = self._new_task(comm, None, None)
            except Exception as error:  # noqa: BLE001  handed to the task that waits
                answer.set_exception(error)
                return
            task.joined = True
            self.runner.spawn(task, function)
            self.runner.tasks[task].add_done_callback(lambda _: _tell(task, answer), context=contextvars.Context())

        return self.runner.core.ask(begin)

    def ask(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run ``function`` in the core from plain code of a body, in the body's own task, and wait for it there.

        Raises:
            UsageError: the caller is no body of this machine.

        """
        self._refuse_if_forked()
        return self.runner.ask(function)

    def _new_task(self, comm: str, cpus: CpuSet | None, cpu: int | None) -> HostTask:
        allowed = self.online & (cpus if cpus is not None else self.online)
        if not allowed or (cpu is not None and cpu not in allowed):
            raise UsageError(f"CPU {cpu if allowed else cpus} is not online or not allowed; online: {self.online}")
        hint = CpuSet.of([cpu]) if cpu is not None and cpus is None else None
        return HostTask(comm, cpu if cpu is not None else allowed.first or 0, Attributes(cpus, hint))

    def spawn(
        self, function: Callable[[], Awaitable[Any]], *, comm: str, cpus: CpuSet | None = None, cpu: int | None = None
    ) -> HostTask:
        """Start a task that is no worker."""
        task = self._new_task(comm, cpus, cpu)
        self.runner.spawn(task, function)
        return task


def _tell(task: HostTask, answer: concurrent.futures.Future[Any]) -> None:
    if not task.done:  # cancelled before its first step
        task.failure = UsageError(cut_short(task.comm))
    if task.failure is not None:
        answer.set_exception(task.failure)
    else:
        answer.set_result(task.result)


def own_here(machine: Life) -> None:
    """Note that this process owns the machine."""
    _machines.add(machine)


def _disown_after_fork() -> None:
    for machine in _machines:
        machine._forked = True  # noqa: SLF001  the module's own
        machine.runner.threads.all.clear()
        machine.runner.core.disown()
    CURRENT.set(None)
    forget_this_thread()


os.register_at_fork(after_in_child=_disown_after_fork)
