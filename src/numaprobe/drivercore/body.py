"""Running other people's code: matches, probes, removes and releases, kept from doing harm; probes are recorded.

A body may raise, return garbage, or wait for something that waits for itself. None of this stops the core: an exception
becomes an errno (its own, if it is an ``OSError``; ``-ENOMEM`` for a ``MemoryError``; else ``-EIO``), garbage becomes
``-EINVAL``, a wait for itself becomes ``-EDEADLK``, each with a warning that says what happened and to which device; of
an exception also its file and line, and with ``CoreOptions.keep_tracebacks`` its traceback is kept.

*Whatever* is raised is an outcome: a ``CancelledError``, ``SystemExit`` or ``GeneratorExit`` that is let through would
end the core's own task, in the middle of what it does for the device. Two things are no outcome, because no body raised
them: what a machine throws into its tasks to unwind them (``Machine.ending``), and a ``KeyboardInterrupt`` or
``TerminatedError`` in the main thread, which is where Python delivers signals, and nowhere else.
"""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING

from numaprobe.drivercore.recording import Note, RecordKeeper
from numaprobe.drivercore.results import MAX_ERRNO
from numaprobe.errors import DeadlockError, TerminatedError, explain, full_traceback

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.drivercore.chain import Chains
    from numaprobe.drivercore.model import Device, Driver
    from numaprobe.drivercore.options import CoreOptions
    from numaprobe.runtime import Machine


class ProbeBodies:
    """Runs the bodies of one core's drivers and keeps their records."""

    def __init__(self, machine: Machine, chains: Chains, options: CoreOptions) -> None:
        self._machine = machine
        self._chains = chains
        self._keep_tracebacks = options.keep_tracebacks
        self.recorder = RecordKeeper(machine.topology, options.keep_records)

    async def probe(self, dev: Device) -> int:
        """Run the driver's probe in the current task; return 0 or what it returned."""
        drv = dev.driver
        if drv is None:
            return -errno.ENODEV
        task = self._machine.current
        caller = dev.lock.owner or task
        caller_cpu, caller_comm = caller.cpu, caller.comm
        before = self._chains.enter(task, caller, dev)
        try:
            if drv.prepare is not None:
                await drv.prepare()
            result, usage = await self._machine.measure(lambda: self.call(f"probe of {drv.name}", drv.probe, dev))
        finally:
            self._chains.leave(task, before)
        attempts = dev.p.attempts
        attempt = attempts[drv.name] = attempts.get(drv.name, 0) + 1
        self.recorder.keep(
            Note(  # by position: naming fourteen fields doubles its cost
                dev.name,
                drv.name,
                dev.bus.name,
                dev.node,
                task.comm,
                dev.p.probing_async,
                bool(before),
                result,
                caller_cpu,
                caller_comm,
                drv.function,
                dev.p.path,
                attempt,
                usage,
            )
        )
        return result

    async def remove(self, dev: Device) -> None:
        """Run the driver's remove in the current task."""
        drv = dev.driver
        if drv is not None and drv.remove is not None:
            body = drv.remove
            await self.let_go(dev, f"{dev.name}: remove of {drv.name}", lambda: body(dev))

    async def let_go(self, dev: Device, what: str, function: Callable[[], Awaitable[None]]) -> None:
        """Run a remove, or the release of a managed resource, in the current task; what it raises is a warning."""
        task = self._machine.current
        before = self._chains.enter(task, dev.lock.owner or task, dev)
        try:
            await self.guarded(what, function, dev)
        finally:
            self._chains.leave(task, before)

    async def guarded(self, what: str, function: Callable[[], Awaitable[object]], dev: Device | None = None) -> None:
        """Await a call (for ``dev``) that must not keep the core from going on; an exception becomes a warning."""
        try:
            await function()
        except BaseException as error:  # other people's code: whatever it raises, the release goes on
            if self.is_the_end(error):
                raise
            if dev is not None:
                self._keep_traceback(dev, error)
            self._machine.warn("raised", f"{what} raised {explain(error)}")

    def match(self, dev: Device, drv: Driver) -> int:
        """Ask the bus whether ``drv`` can drive ``dev``; what it raises, or what is no number, is -EINVAL."""
        try:
            result: object = dev.bus.match(dev, drv)
        except BaseException as error:  # a driver may bring its own match: other people's code
            if self.is_the_end(error):
                raise
            self._keep_traceback(dev, error)
            return self._complain(_match(drv), dev, f"raised {explain(error)}", -errno.EINVAL)
        if not isinstance(result, int):
            return self._complain(_match(drv), dev, f"returned {_shown(result)}, which is no number", -errno.EINVAL)
        return result

    def is_the_end(self, error: BaseException) -> bool:
        """Whether what was raised is no outcome of a body: see the top of the file."""
        if isinstance(error, Exception):
            return False
        signalled = isinstance(error, KeyboardInterrupt | TerminatedError)
        return self._machine.ending or (signalled and threading.current_thread() is threading.main_thread())

    async def call(self, what: str, function: Callable[[Device], Awaitable[int | None]], dev: Device) -> int:
        """Await a function of other people's for ``dev``, which gives 0 or an errno: 0 or what it gave."""
        try:
            result: object = await function(dev)
        except DeadlockError as error:
            return self._complain(what, dev, str(error), -errno.EDEADLK)
        except BaseException as error:  # other people's code: whatever it raises is an outcome
            if self.is_the_end(error):
                raise
            self._keep_traceback(dev, error)
            return self._complain(what, dev, f"raised {explain(error)}", -_errno_of(error))
        if result is None:
            return 0
        if type(result) is not int or abs(result) > MAX_ERRNO:
            return self._complain(what, dev, f"returned {_shown(result)}, which is no errno", -errno.EINVAL)
        return result

    def _keep_traceback(self, dev: Device, error: BaseException) -> None:
        """Keep the text for the caller that asked for it: the error itself would keep all that its frames hold."""
        if self._keep_tracebacks:
            dev.p.traceback = full_traceback(error)

    def _complain(self, body: str, dev: Device, what: str, result: int) -> int:
        line = f"{dev.name}: {body} {what}"
        self._machine.warn("body", line)
        dev.tell(self._machine.now(), line)
        return result


def _match(drv: Driver) -> str:
    return f"match of {drv.name}"


def _errno_of(error: BaseException) -> int:
    """Return the error's own errno if it has a sound one, ENOMEM for want of memory, else EIO."""
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    value: object = error.errno if isinstance(error, OSError) else None
    return value if type(value) is int and 0 < value <= MAX_ERRNO else errno.EIO


def _shown(result: object) -> str:
    """Return the start of an object's own description; a stranger's ``__repr__`` may fail too."""
    try:
        return f"{result!r:.60}"
    except BaseException:  # noqa: BLE001  a stranger's __repr__
        return f"a {type(result).__name__}"
