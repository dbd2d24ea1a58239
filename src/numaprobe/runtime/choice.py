"""Where a machine has a choice: the seam at which every order of a run can be asked for.

Theory of operation
===================

A machine in virtual time decides one thing again and again: *who goes on next*. In a normal run time decides. A machine
that was made with a ``Chooser`` asks that instead, before every step: among the tasks that are ready, those whose time
on a CPU or off it may be over, and the timers that may fire. Time is then an order and no length: whichever of two
sleeping probes is chosen is the one whose device answered first, whichever timer is chosen has expired.

All other orders follow from this one. Who gets a lock is who asked first, for a task may be held up before it asks
(``point``); which worker takes a work, which of two wake-ups comes first, whether a timeout comes before the event: the
same. What is no order (is there memory for an async call?) is asked with ``decide``.

A *step* is the code of one actor up to its next wait or point; nothing comes between. Two steps of different actors
that touch nothing in common can be exchanged, and nobody could tell. So the machine says what each step touches, and
which of it the step only looks at: locks, events, works, pools, tasks. What it cannot see (the fields of a user's
objects) has to be said by whoever made it, or counts as touched (``Chooser.opaque`` in ``numaprobe.schedules``).

An actor has a name that does not depend on the order of others: tasks and timers are numbered by who made them
(``0.2`` is the third task that task ``0`` started), workers have the name of their pool and their id.

A machine without a chooser has none of this: the choosing machines are classes of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from numaprobe.runtime.sync import FifoLock, Flag, Waker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numaprobe.runtime.protocol import Task, Work


class Chooser(Protocol):
    """Who decides where a machine has a choice, and is told what each step touches."""

    def choose(self, actors: Sequence[str], *, goes_on: bool) -> int:
        """Return which of these actors takes the next step.

        Args:
            actors: as the machine would prefer them; the first of them is what a choice of 0 means.
            goes_on: the first one took the last step and could go on: any other choice is a pre-emption.

        """
        ...

    def decide(self, what: str, count: int) -> int:
        """Return which of ``count`` things happens here; 0 is what happens in a normal run."""
        ...

    def touch(self, thing: str, *, change: bool = True) -> None:
        """Note that the step under way touches a thing: changes it, or only looks at it."""
        ...

    def note(self, verb: str, what: str) -> None:
        """Note what the step under way does, for people: "takes" a lock, "queues" a work."""
        ...

    def wrong(self, verdict: str, text: str) -> None:
        """Note that the step under way does what must not be: ``use-after-end``."""
        ...

    def stepped(self, blocked: Mapping[Any, object]) -> None:
        """Take note that a step is over, and which tasks wait for what; whatever is raised here ends the run."""
        ...


class Actors:
    """The names of a run's tasks and timers.

    Attributes:
        acting: who takes the step under way; empty outside of steps.
        names: task or timer that was met -> its name.
        labels: name -> what people read: the task's comm, the second of them as ``comm #2``.

    """

    def __init__(self) -> None:
        self.acting = ""
        self.labels: dict[str, str] = {}
        self.names: dict[object, str] = {}
        self._made: dict[str, int] = {}
        self._alike: dict[str, int] = {}

    def name(self, actor: object) -> str | None:
        """Return the name of a task or timer that was met."""
        return self.names.get(actor)

    def meet(self, actor: object, label: str, name: str | None = None) -> str:
        """Return the name of a task or timer; the first time, one that says who made it."""
        known = self.names.get(actor)
        if known is None:
            known = self.names[actor] = name or self.fresh(".")
            count = self._alike[label] = self._alike.get(label, 0) + 1
            self.labels[known] = label if count == 1 else f"{label} #{count}"
        return known

    def fresh(self, kind: str) -> str:
        """Return a name for the next thing of a kind that the acting one makes."""
        key = f"{self.acting}{kind}"
        number = self._made[key] = self._made.get(key, -1) + 1
        return f"{key}{number}" if self.acting else str(number) if kind == "." else f"{kind}{number}"


class Choosing(Waker, Protocol):
    """A choosing machine, as its locks and flags need it."""

    chooser: Chooser
    actors: Actors

    async def point(self) -> None:
        """Let others go first, if the chooser wants them to."""
        ...

    def decide(self, what: str, count: int) -> int:
        """Return which of ``count`` things happens; 0 is what happens in a normal run."""
        ...


class ExploredMachine(Choosing, Protocol):
    """A choosing machine, as a search needs it beyond the machine protocol."""

    @property
    def workqueues(self) -> Any:  # noqa: ANN401  the rules of ``numaprobe.workqueue``, which stands above
        """Its workqueues."""
        ...

    def joined_by(self, task: Any) -> Sequence[Any]:  # noqa: ANN401  a task of this machine
        """Return the tasks whose end ``task`` waits for."""
        ...

    def code_of(self, task: Any) -> Any:  # noqa: ANN401  a task of this machine
        """Return the coroutine that a suspended task executes."""
        ...


class ChosenLock(FifoLock):
    """A mutex whose taker can be held up before it asks."""

    __slots__ = ("_choosing", "thing")

    def __init__(self, machine: Choosing, name: str) -> None:
        super().__init__(machine, name)
        self._choosing = machine
        self.thing = f"{machine.actors.fresh('/')} {name}"

    async def acquire(self) -> None:
        """Take it, after all tasks that asked before."""
        await self._choosing.point()
        chooser = self._choosing.chooser
        chooser.touch(self.thing)
        chooser.note("takes" if self.owner is None else "waits for", self.name)
        await super().acquire()

    def release(self) -> None:
        """Give it to the longest waiter."""
        chooser = self._choosing.chooser
        chooser.touch(self.thing)
        super().release()
        chooser.note("releases" if self.owner is None else "hands on", self.name)


class ChosenFlag(Flag):
    """A flag whose waiter can be held up before it looks.

    Attributes:
        expires: how many of its waiters wait with a timeout: for them it is no wait for ever.

    """

    def __init__(self, machine: Choosing, name: str) -> None:
        self._choosing = machine
        self.thing = f"{machine.actors.fresh('/')} {name}"
        self.expires: set[Task] = set()
        super().__init__(machine, name)

    @property
    def name(self) -> str:
        """As given to ``event``."""
        return self._name

    def set(self) -> None:
        """Set it, and wake all tasks that wait."""
        self._choosing.chooser.touch(self.thing)
        self._choosing.chooser.note("sets", self._name)
        super().set()

    def clear(self) -> None:
        """Take it back."""
        self._choosing.chooser.touch(self.thing)
        super().clear()

    async def wait(self, timeout_ns: int | None = None) -> bool:
        """Wait until the flag is set; return False if ``timeout_ns`` passed first."""
        await self._choosing.point()
        self._choosing.chooser.touch(self.thing)
        if not self.is_set:
            self._choosing.chooser.note("awaits", self._name)
        if timeout_ns is None:
            return await super().wait()
        task = self._choosing.current
        self.expires.add(task)
        try:
            return await super().wait(timeout_ns)
        finally:
            self.expires.discard(task)


class SaysWhatItTouches:
    """What both choosing machines have in common: their locks and flags, and what a queued work touches.

    A machine puts it before its own class.
    """

    chooser: Chooser
    actors: Actors

    def lock(self: Any, name: str) -> ChosenLock:
        """Return a new mutex."""
        return ChosenLock(self, name)

    def event(self: Any, name: str) -> ChosenFlag:
        """Return a new flag, not set."""
        return ChosenFlag(self, name)

    def decide(self, what: str, count: int) -> int:
        """Return which of ``count`` things happens; 0 is what happens in a normal run."""
        return self.chooser.decide(what, count)

    def touch_work(self, work: Work) -> None:
        """Say that a work is touched, with the pool and the limit that it is in, and what the limit holds back.

        Works of one name are one here: nobody knows who made one, and who touched it first is a matter of order.
        """
        touch = self.chooser.touch
        touch(f"work {work.name}")
        state = work.state
        for item in () if state is None else (state.pending, state.running):
            if item is not None:
                touch(f"pool {item.pool.label}")
                touch(f"limit {item.limit.name}")
                for other in item.limit.inactive:
                    touch(f"pool {other.pool.label}")

    def queued(self, work: Work, *, queued: bool) -> bool:
        """Note that a work was queued, if it was; return that."""
        self.touch_work(work)
        self.chooser.note("queues", work.name)
        return queued

    def flushes(self, work: Work) -> None:
        """Note that a work is flushed."""
        self.chooser.touch(f"work {work.name}")
        self.chooser.note("flushes", work.name)
