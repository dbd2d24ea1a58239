"""What small programs share, in the words of a machine that sees it: memory, references that are waited for, lives.

Tasks, locks, flags, works and flushes are the machine's own. Three more are enough for most bugs of the driver core:

* a ``SharedCell`` is a piece of memory; between its reading and its writing anything may come;
* a ``Drain`` counts who is inside, and is waited for until nobody is: the active references of a sysfs attribute, the
  probes under way, a module's init, the calls of an async domain, a thread that is to stop;
* a ``Lifetime`` is over at some time; to use it afterwards, or to end it twice, is wrong, and told as such.

Each use is a point where others may come first, and says what it touches: programs that share nothing else are searched
in reduced form, and to the end (``Program.opaque``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from numaprobe.schedules.model import Verdict

if TYPE_CHECKING:
    from types import TracebackType

    from numaprobe.runtime import Task
    from numaprobe.runtime.choice import ChosenLock, ExploredMachine

T = TypeVar("T")


class SharedCell(Generic[T]):
    """A piece of memory that tasks share."""

    def __init__(self, machine: ExploredMachine, name: str, value: T) -> None:
        self._machine = machine
        self._name = name
        self._value = value
        self._thing = f"{machine.actors.fresh('/')} {name}"

    async def read(self) -> T:
        """Return what it holds."""
        await self._machine.point()
        self._machine.chooser.touch(self._thing, change=False)
        self._machine.chooser.note("reads", f"{self._name}: {self._value!r}")
        return self._value

    async def write(self, value: T) -> None:
        """Have it hold ``value``."""
        await self._machine.point()
        self._machine.chooser.touch(self._thing)
        self._machine.chooser.note("writes", f"{self._name}: {value!r}")
        self._value = value


def signalled(machine: ExploredMachine) -> bool:
    """Tell whether a signal comes to the current task, which is about to wait and could be interrupted.

    In a normal run none does.
    """
    return machine.decide(f"a signal to {machine.current.comm}", 2) == 1


async def acquire_interruptible(machine: ExploredMachine, lock: ChosenLock) -> bool:
    """Take a lock (``mutex_lock_interruptible``); return False, without it, if a signal came while it was not free."""
    await machine.point()
    machine.chooser.touch(lock.thing)
    if lock.owner is not None and signalled(machine):
        return False
    await lock.acquire()
    return True


class Drain:
    """Counts who is inside; can be waited for, and closed.

    ``async with gate`` enters and leaves.
    """

    def __init__(self, machine: ExploredMachine, name: str) -> None:
        self._machine = machine
        self._name = name
        self._inside: dict[Task, None] = {}
        self._waiting: list[Task] = []
        self._thing = f"{machine.actors.fresh('/')} {name}"
        #: nobody may enter any more
        self.closed = False

    async def enter(self) -> bool:
        """Enter, unless it is closed; return whether the current task is inside."""
        await self._machine.point()
        self._touch("is refused by" if self.closed else "enters")
        if not self.closed:
            self._inside[self._machine.current] = None
        return not self.closed

    def leave(self) -> None:
        """Leave; the last one wakes those that wait."""
        self._touch("leaves")
        self._inside.pop(self._machine.current, None)
        if not self._inside:
            waiting, self._waiting = self._waiting, []
            for task in waiting:
                self._machine.wake(task)

    async def wait(self, *, close: bool = False, interruptible: bool = False) -> bool:
        """Wait until nobody is inside; ``close`` lets nobody in from now on.

        Returns:
            False if a signal came first, which may only be if the wait is ``interruptible``.

        """
        await self._machine.point()
        self.closed = self.closed or close
        self._touch("drains")
        while self._inside:
            if interruptible and signalled(self._machine):
                return False
            self._waiting.append(self._machine.current)
            await self._machine.park(self)
            self._touch("finds empty")
        return True

    def awaited(self) -> list[Task]:
        """Return who is inside."""
        return list(self._inside)

    def _touch(self, verb: str) -> None:
        self._machine.chooser.touch(self._thing)
        self._machine.chooser.note(verb, self._name)

    async def __aenter__(self) -> bool:
        return await self.enter()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or not issubclass(kind, GeneratorExit):
            self.leave()

    def __str__(self) -> str:
        return f"'{self._name}' to be empty"


class Lifetime:
    """Something that is there until it ends."""

    def __init__(self, machine: ExploredMachine, name: str) -> None:
        self._machine = machine
        self._name = name
        self._thing = f"{machine.actors.fresh('/')} {name}"
        self._over = False

    async def use(self, what: str) -> None:
        """Use it: wrong if it is over."""
        await self._machine.point()
        self._machine.chooser.touch(self._thing, change=False)
        self._machine.chooser.note(what, self._name)
        if self._over:
            self._machine.chooser.wrong(Verdict.USE_AFTER_END, f"{what} {self._name} after its end")

    async def end(self) -> None:
        """End it: wrong if it is over."""
        await self._machine.point()
        self._machine.chooser.touch(self._thing)
        self._machine.chooser.note("ends", self._name)
        if self._over:
            self._machine.chooser.wrong(Verdict.USE_AFTER_END, f"{self._name} ends twice")
        self._over = True
