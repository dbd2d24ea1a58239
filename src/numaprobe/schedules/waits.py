"""Who waits for whom: a cycle is told when it closes, not when nothing runs any more.

Each blocked task waits for something, and something is ended by tasks: a lock by its owner, a flush by the worker that
executes the work (or, while a limit holds the work back, by *any* worker that the limit counts), a join by the task
itself, a drain by *all* that are inside. Where nobody can say who ends a wait (a flag, a wait with a timeout) the task
counts as one that may go on: no false report, and what hangs there is told as a stall when nothing can run.

The tasks that are doomed are the largest set in which each waits for doomed ones alone (of an *any* wait: all of them;
of an *all* wait: one). If there are some, they contain a cycle.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from numaprobe.runtime.choice import ChosenFlag, ChosenLock
from numaprobe.schedules.model import Ending, Party, Verdict
from numaprobe.workqueue.item import Item

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numaprobe.runtime import Task
    from numaprobe.runtime.choice import ExploredMachine

    #: more about a wait: who ends it, by the one that built what waits
    Known = Callable[[Task, object], "EndedBy | None"]


#: Where every wait ends: of no interest to whoever reads a stack.
_MACHINE: Final = (
    "virtual/blocking.py",
    "virtual/choosing.py",
    "virtual/machine.py",
    "runtime/sync.py",
    "runtime/choice.py",
    "scenario/waiting.py",
    "testing/choosing.py",
    "testing/fake.py",
    "testing/fake_objects.py",
    "testing/fake_worker.py",
)


@dataclass(frozen=True, slots=True)
class EndedBy:
    """Who can end a wait."""

    tasks: tuple[Task, ...]
    #: one of them is enough, or all have to
    any_of: bool = False


class WaitGraph:
    """The waits of one machine.

    Args:
        machine: whose tasks they are.
        known: says who ends a wait that this file does not know.
        story: what happened to the device that a task works for.

    """

    def __init__(
        self,
        machine: ExploredMachine,
        known: Known | None = None,
        story: Callable[[Task], Sequence[str]] | None = None,
    ) -> None:
        self._machine = machine
        self._known = known
        self._story = story or (lambda _: ())

    def __call__(self, blocked: Mapping[Any, object]) -> Ending | None:
        """Return how the run ends if a cycle has closed: a task began to wait, or a worker took what one waits for."""
        if not blocked:
            return None
        waits = {task: self.wait_of(task, why) for task, why in blocked.items()}
        doomed = _doomed(waits)
        return self._ending(_cycle(doomed, waits), blocked, waits) if doomed else None

    def wait_of(self, task: Task, why: object) -> EndedBy | None:
        """Return who can end a wait; None: nobody knows."""
        known = self._known(task, why) if self._known is not None else None
        if known is None and isinstance(why, Item):
            known = self._of_item(why)
        if known is not None or (isinstance(why, ChosenFlag) and task in why.expires):
            return known
        tasks: Iterable[Any] = ()
        if isinstance(why, ChosenLock):
            tasks = [why.owner]
        elif hasattr(why, "awaited"):
            tasks = why.awaited()
        elif isinstance(why, str):  # a join
            tasks = self._machine.joined_by(task)
        return EndedBy(tuple(tasks)) if tasks else None

    def _of_item(self, item: Item) -> EndedBy | None:
        workers = self._machine.workqueues.workers()
        executing = [worker.task for worker in workers if worker.item is item]
        if executing:
            return EndedBy((executing[0],))
        if item in self._machine.workqueues.held:
            inside = [worker.task for worker in workers if worker.item is not None and worker.item.limit is item.limit]
            return EndedBy(tuple(inside), any_of=True) if inside else None
        behind = [worker.task for worker in workers if item in (worker.item.followers or () if worker.item else ())]
        return EndedBy(tuple(behind)) if behind else None

    def _ending(self, cycle: list[Task], blocked: Mapping[Any, object], waits: Mapping[Task, EndedBy | None]) -> Ending:
        label = self.label
        parties = []
        for task in cycle:
            wait = waits[task]
            behind = tuple(label(one) for one in wait.tasks) if wait is not None else ()
            parties.append(
                Party(
                    task=label(task),
                    waits_for=_class(str(blocked[task])),
                    behind=behind,
                    stack=tuple(stack_of(self._machine.code_of(task))),
                    story=tuple(self._story(task)),
                )
            )
        limited = any(waits[task] is not None and waits[task].any_of for task in cycle)  # type: ignore[union-attr]
        verdict = Verdict.STALL if limited else Verdict.DEADLOCK
        text = "; ".join(f"{party.task} waits for {party.waits_for} ({', '.join(party.behind)})" for party in parties)
        key = " | ".join(sorted(f"{one.waits_for} in {_where(one)}" for one in parties))
        return Ending(verdict=verdict, key=f"{verdict}: {key}", text=text, cycle=tuple(parties))

    def label(self, task: Task) -> str:
        """Return what people call a task."""
        doing = f" ({task.work.name})" if task.work is not None else ""
        return f"{self._machine.actors.labels.get(self._machine.actors.name(task) or '', task.comm)}{doing}"


def _doomed(waits: Mapping[Task, EndedBy | None]) -> set[Task]:
    """Return the largest set of tasks that wait for each other alone."""
    doomed = {task for task, wait in waits.items() if wait is not None and wait.tasks}
    while True:
        free = {task for task in doomed if not _holds(waits[task], doomed)}
        if not free:
            return doomed
        doomed -= free


def _holds(wait: EndedBy | None, doomed: set[Task]) -> bool:
    if wait is None:
        return False
    return all(one in doomed for one in wait.tasks) if wait.any_of else any(one in doomed for one in wait.tasks)


def _cycle(doomed: set[Task], waits: Mapping[Task, EndedBy | None]) -> list[Task]:
    """Return one cycle among the doomed; where a wait is for any of some, all of these belong to it."""
    path: list[Task] = [task for task in waits if task in doomed][-1:]
    while True:
        wait = waits[path[-1]]
        following = next(one for one in (wait.tasks if wait is not None else ()) if one in doomed)
        if following in path:
            found = path[path.index(following) :]
            extra = (one for task in found if (wait := waits[task]) is not None and wait.any_of for one in wait.tasks)
            return list(dict.fromkeys([*found, *extra]))
        path.append(following)


def stack_of(coroutine: Any) -> Iterable[str]:  # noqa: ANN401  or a generator
    """Return where a suspended task waits, innermost function first, from where it left the machine's own code."""
    frames = []
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is not None:
            code = frame.f_code
            file = code.co_filename.rpartition("/numaprobe/")[2].rpartition("/")
            name = file[2] if "/numaprobe/" not in code.co_filename else f"{file[0]}{file[1]}{file[2]}"
            if not code.co_filename.endswith(_MACHINE):
                frames.append(f"{code.co_qualname} ({name}:{frame.f_lineno})")
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return reversed(frames)


def _class(text: str) -> str:
    """Return a wait without the names that differ from run to run."""
    return re.split(" held by |, executed by |, queued on ", text, maxsplit=1)[0]


def _where(party: Party) -> str:
    """Return the function that waits, without its line."""
    return party.stack[-1].rsplit(" (", 1)[0] if party.stack else party.task


def hang(waiting: Mapping[Task, object]) -> Ending:
    """Return how a run ends that left tasks waiting though no cycle has closed."""
    lines = [f"{task.comm} waits for {why}" for task, why in waiting.items()]
    key = " | ".join(sorted(_class(str(why)) for why in waiting.values()))
    return Ending(verdict=Verdict.STALL, key=f"stall: {key}", text="nothing can run: " + "; ".join(lines))
