"""Running other people's code: matches, probes, removes and releases, kept from doing harm; probes are recorded.

A body may raise, return garbage, or wait for something that waits for itself. None of this stops the core: an
exception becomes an errno (its own, if it is an ``OSError``, else ``-EIO``), garbage becomes ``-EINVAL``, a wait for
itself becomes ``-EDEADLK``, each with a warning that says what happened and to whom.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from numaprobe.drivercore.recording import Note, Recorder
from numaprobe.drivercore.results import MAX_ERRNO
from numaprobe.errors import DeadlockError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.drivercore.core import DriverCore
    from numaprobe.drivercore.device import Device
    from numaprobe.drivercore.driver import Driver
    from numaprobe.runtime import Task

#: Devices whose bodies a task is inside of, outermost first.
Chain = tuple["Device", ...]


class ProbeBodies:
    """Runs the bodies of one core's drivers and keeps their records."""

    def __init__(self, core: DriverCore) -> None:
        self._core = core
        self._machine = core.machine
        self.recorder = Recorder(core.machine.topology, core.options.keep_records)
        self._inside: dict[Task, Chain] = {}

    def inside(self) -> Chain:
        """Return the chain of the current task: the devices whose bodies it is inside of, outermost first."""
        return self._inside.get(self._machine.current, ()) if self._inside else ()

    def refuse_inside(self, test: Callable[[Device], bool], what: str) -> Chain:
        """Return the chain of the current task.

        Raises:
            DeadlockError: ``test`` holds for a device of the chain: its body is about to wait for itself.

        """
        chain = self.inside()
        for dev in chain:
            if test(dev):
                raise DeadlockError([f"the body for {dev.name} {what}, which waits until that body is over"])
        return chain

    async def probe(self, dev: Device) -> int:
        """Run the driver's probe in the current task; return 0 or what it returned."""
        drv = dev.driver
        if drv is None:
            return -errno.ENODEV
        task = self._machine.current
        caller = dev.lock.owner or task
        caller_cpu, caller_comm = caller.cpu, caller.comm
        before = self._enter(task, caller, dev)
        try:
            result, usage = await self._machine.measure(lambda: self._call(drv, dev))
        finally:
            self._leave(task, before)
        attempt = dev.p.attempts[drv.name] = dev.p.attempts.get(drv.name, 0) + 1
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
        before = self._enter(task, dev.lock.owner or task, dev)
        try:
            await self._core.guarded(what, function)
        finally:
            self._leave(task, before)

    def match(self, dev: Device, drv: Driver) -> int:
        """Ask the bus whether ``drv`` can drive ``dev``; what it raises, or what is no number, is -EINVAL."""
        try:
            result: object = dev.bus.match(dev, drv)
        except Exception as error:  # noqa: BLE001  a driver may bring its own match: other people's code
            return self._complain("match", drv, dev, f"raised {type(error).__name__}: {error}", -errno.EINVAL)
        if not isinstance(result, int):
            return self._complain("match", drv, dev, f"returned {result!r:.60}, which is no number", -errno.EINVAL)
        return result

    def _enter(self, task: Task, owner: Task, dev: Device) -> Chain:
        """Let ``task`` into a body for ``dev``, whose lock's ``owner`` waits for it: the chain goes on from his."""
        before = self._inside.get(task, ())
        self._inside[task] = (*self._inside.get(owner, ()), dev)
        return before

    def _leave(self, task: Task, before: Chain) -> None:
        if before:
            self._inside[task] = before
        else:
            del self._inside[task]

    async def _call(self, drv: Driver, dev: Device) -> int:
        try:
            result = await drv.probe(dev)
        except DeadlockError as error:
            return self._complain("probe", drv, dev, str(error), -errno.EDEADLK)
        except OSError as error:
            return self._complain("probe", drv, dev, f"raised {error}", -_errno_of(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001  other people's code: whatever it raises is an outcome
            return self._complain("probe", drv, dev, f"raised {type(error).__name__}: {error}", -errno.EIO)
        if result is None:
            return 0
        if type(result) is not int or abs(result) > MAX_ERRNO:
            return self._complain("probe", drv, dev, f"returned {result!r:.60}, which is no errno", -errno.EINVAL)
        return result

    def _complain(self, body: str, drv: Driver, dev: Device, what: str, result: int) -> int:
        line = f"{dev.name}: {body} of {drv.name} {what}"
        self._machine.warn("body", line)
        dev.tell(self._machine.now(), line)
        return result


def _errno_of(error: OSError) -> int:
    """Return the error's own errno if it has a sound one, else EIO."""
    value: object = error.errno
    return value if type(value) is int and 0 < value <= MAX_ERRNO else errno.EIO
