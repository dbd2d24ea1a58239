"""Lock classes, as lockdep has them: which class was taken under which, and the cycles in that order.

One run is enough: an order that was seen once, by anyone, counts for ever, and two orders that close a cycle are told
though no run of the search closed it. So a cycle of classes is a claim and not yet a deadlock; where a schedule shows
the deadlock the report says so (``proved``), and where every order was seen without one it says that too.

What is a class: device locks by bus and level of the hierarchy (the kernel's own lockdep does not look at them at all:
``lockdep_set_novalidate_class``), every other lock by its name. A work is a class that is held while it is executed
and taken by whoever flushes it (``(work_completion)``); all async calls are one; a ``Drain`` (an attribute's active
references) is held by who is inside and taken by who drains it.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from numaprobe.schedules.conductor import Conductor, Repeat, Stopped
from numaprobe.schedules.replay import read_schedule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numaprobe.schedules.attempt import Subject
    from numaprobe.schedules.conductor import Strategy
    from numaprobe.schedules.model import ChosenStep, Ending

#: what a note says -> what it does to a class: ``take``, ``drop``, or ``ask`` (wait until nobody holds it)
_VERBS: Final = {
    "takes": "take",
    "waits for": "take",
    "releases": "drop",
    "hands on": "drop",
    "begins": "take",
    "ends": "drop",
    "flushes": "ask",
    "enters": "take",
    "leaves": "drop",
    "drains": "ask",
    "awaits": "ask",
}
#: so many choices that are no order are looked at
_MOST_CHOICES: Final = 100
_WORKS: Final = frozenset({"begins", "ends", "flushes"})
#: a wait for all async calls is one for what executes them
_ASYNC: Final = "async_run_entry_fn"


@dataclass(frozen=True, slots=True)
class TakenClass:
    """A class that a task took, or waited for."""

    name: str
    #: functions, innermost first
    stack: tuple[str, ...]

    @property
    def at(self) -> str:
        """Where."""
        return self.stack[0] if self.stack else "process_one_work"


@dataclass(frozen=True, slots=True)
class Dependency:
    """One class was taken with another one held."""

    held: TakenClass
    taken: TakenClass
    task: str
    #: all that the task held
    holding: tuple[TakenClass, ...]


@dataclass(frozen=True, slots=True)
class ClassCycle:
    """Classes that were taken in a circle: the last dependency closes it."""

    dependencies: tuple[Dependency, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The classes, each taken under the one before."""
        return tuple(one.held.name for one in self.dependencies)


@dataclass
class ClassOrder:
    """The graph of one or more runs.

    Attributes:
        seen: (class held, class taken) -> how it was seen first.
        classes: name of lock -> its class.

    """

    seen: dict[tuple[str, str], Dependency] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    _held: dict[str, list[TakenClass]] = field(default_factory=dict)

    def add(self, subject: Subject, strategy: Strategy) -> list[ChosenStep]:
        """Run a subject in one order, and take what is taken under what; return the steps."""
        conductor = Conductor(strategy, opaque=subject.opaque)

        def note(actor: str, label: str, verb: str, what: str) -> None:
            name = conductor.class_of(what)
            self.classes[what] = name
            self._note(actor, label, verb, name)

        conductor.listener = note
        with suppress(Stopped):
            subject.run(conductor)
        self._held.clear()
        return conductor.steps

    def _note(self, actor: str, label: str, verb: str, what: str) -> None:
        kind, name = _VERBS.get(verb), _name_of(verb, what)
        if kind is None or name is None:
            return
        held = self._held.setdefault(actor, [])
        if kind == "drop":
            last = next((one for one in reversed(held) if one.name == name), None)
            if last is not None:
                held.remove(last)
            return
        taken = TakenClass(name, tuple(_stack()))
        for one in held:
            self.seen.setdefault((one.name, name), Dependency(one, taken, label, tuple(held)))
        if kind == "take":
            held.append(taken)

    def proof(self, cycle: ClassCycle, seen: Mapping[str, Ending]) -> str:
        """Return the schedule that shows the deadlock of a cycle; "" if none does."""
        return next((schedule for schedule, ending in seen.items() if self.closes(cycle, ending)), "")

    def closes(self, cycle: ClassCycle, ending: Ending) -> bool:
        """Tell whether a run ended as the cycle says: each task of it waits for a class of it."""
        waits = {_class_waited(party.waits_for, self.classes) for party in ending.cycle}
        return bool(waits) and waits <= set(cycle.names)

    def cycles(self) -> list[ClassCycle]:
        """Return the shortest cycle through each dependency, each set of classes once."""
        found: dict[frozenset[str], ClassCycle] = {}
        for start, end in self.seen:
            path = self._path(end, start)
            if path is not None and frozenset(path) not in found:
                names = [*path, end]
                edges = tuple(self.seen[pair] for pair in pairwise(names))
                found[frozenset(path)] = ClassCycle(edges)
        return list(found.values())

    def _path(self, start: str, end: str) -> list[str] | None:
        """Return the shortest way from one class to another."""
        ways = [[start]]
        reached = {start}
        for way in ways:
            if way[-1] == end:
                return way
            following = [name for held, name in self.seen if held == way[-1] and name not in reached]
            reached.update(following)
            ways += [[*way, name] for name in following]
        return None


def _stack() -> Iterator[str]:
    """Yield the functions that led here, innermost first, without the machine's own and ours."""
    frame = sys._getframe(3)  # noqa: SLF001  the only way, and documented
    while frame is not None:
        code = frame.f_code
        file = code.co_filename
        if "/numaprobe/" not in file or not any(room in file for room in _OWN_ROOMS):
            place = file.rpartition("/numaprobe/")[2] if "/numaprobe/" in file else file.rpartition("/")[2]
            yield f"{code.co_qualname} ({place}:{frame.f_lineno})"
        if code.co_name == "run" and "/virtual/" in file:
            return
        frame = frame.f_back  # type: ignore[assignment]


_OWN_ROOMS: Final = ("/virtual/", "/runtime/", "/schedules/", "/scenario/waiting.py", "/drivercore/locking.py")


class _Happens(Repeat):
    """The machine's own order, with one thing that does not happen in a normal run; whoever is new goes first."""

    def __init__(self, number: int) -> None:
        super().__init__({})
        self._number = number
        self._known: set[str] = set()

    def choose(self, steps: Sequence[ChosenStep], actors: Sequence[str], *, goes_on: bool) -> int:  # noqa: ARG002
        """Return the first who has not gone yet, else the machine's choice."""
        index = next((index for index, actor in enumerate(actors) if actor not in self._known), 0)
        self._known.add(actors[index])
        return index

    def decide(self, steps: Sequence[ChosenStep], what: str, count: int) -> int:  # noqa: ARG002  as in ``Repeat``
        """Let the one happen."""
        self._number -= 1
        return int(self._number == -1)


def class_order(subject: Subject, schedules: Iterable[str]) -> ClassOrder:
    """Return the order of classes in the machine's own order of steps and in these schedules.

    Each choice that is no order of steps is taken once, too: a file that a user may read is read.
    """
    order = ClassOrder()
    choices = sum(bool(step.what) for step in order.add(subject, Repeat({})))
    for number in range(min(choices, _MOST_CHOICES)):
        order.add(subject, _Happens(number))
    for schedule in schedules:
        order.add(subject, Repeat(read_schedule(schedule)))
    return order


def _name_of(verb: str, what: str) -> str | None:
    """Return the class that a note is about; None if it is about none."""
    if verb == "awaits":
        return f"(work_completion)({_ASYNC})" if what.startswith("async cookie") else None
    return f"(work_completion)({what})" if verb in _WORKS else what


def class_taken(verb: str, what: str, classes: Mapping[str, str]) -> str | None:
    """Return the class that a note says to be taken, and held from now on; None if it says no such thing."""
    took = _VERBS.get(verb) == "take" and verb != "waits for"
    return _name_of(verb, classes.get(what, what)) if took else None


def _class_waited(waits_for: str, classes: Mapping[str, str]) -> str:
    """Return the class of what a task waits for, in the words of ``waits``."""
    if waits_for.startswith("lock '"):
        return classes.get(waits_for[6:-1], waits_for[6:-1])
    if waits_for.startswith("work "):
        return f"(work_completion)({waits_for[5:]})"
    if "async cookie" in waits_for:
        return f"(work_completion)({_ASYNC})"
    name = waits_for.removeprefix("event ").removeprefix("'").partition("'")[0]
    return classes.get(name, name)
