"""A cycle of lock classes in the form in which the kernel's lockdep reports one: its readers know where to look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.schedules import ClassCycle, TakenClass

#: usage and wait types of a mutex, as lockdep prints them
_USAGE: Final = "{+.+.}-{4:4}"
_COLUMN: Final = 31
#: frames of a stack that are shown
_FRAMES: Final = 8


def lockdep_text(cycle: ClassCycle, kernel: str) -> str:
    """Return the report."""
    lines = _recursive(cycle, kernel) if len(cycle.dependencies) == 1 else _circular(cycle, kernel)
    return "\n".join(lines) + "\n"


def _head(kind: str, kernel: str, width: int) -> Iterator[str]:
    yield "=" * width
    yield f"WARNING: possible {kind} detected"
    yield f"{kernel} (virtual)"
    yield "-" * width


def _lock(taken: TakenClass) -> str:
    return f"({taken.name}){_USAGE}, at: {taken.at}"


def _circular(cycle: ClassCycle, kernel: str) -> Iterator[str]:
    last = cycle.dependencies[-1]
    yield from _head("circular locking dependency", kernel, 54)
    yield f"{last.task} is trying to acquire lock:"
    yield _lock(last.taken)
    yield ""
    yield "but task is already holding lock:"
    yield _lock(last.held)
    yield ""
    yield "which lock already depends on the new lock."
    yield ""
    yield "the existing dependency chain (in reverse order) is:"
    count = len(cycle.dependencies)
    chain = [cycle.dependencies[(index - 1) % count] for index in range(count)]  # who took the class of each place
    ordered = [*chain[1:][::-1], chain[0]]
    for number, one in zip(range(count - 1, -1, -1), ordered, strict=True):
        yield ""
        yield f"-> #{number} ({one.taken.name}){_USAGE}:"
        yield from (f"       {frame}" for frame in one.taken.stack[:_FRAMES])
    yield ""
    yield "other info that might help us debug this:"
    yield ""
    names = [*cycle.names]
    if count > 2:  # noqa: PLR2004  two need no chain
        yield "Chain exists of:"
        yield f"  {' --> '.join(names)}"
        yield ""
    yield " Possible unsafe locking scenario:"
    yield ""
    yield from _table(last.held.name, names[-2] if count > 2 else names[0], last.taken.name)  # noqa: PLR2004
    yield from _held(last.task, last.holding)


def _table(held: str, middle: str, wanted: str) -> Iterator[str]:
    blank = " " * _COLUMN
    yield "       CPU0                    CPU1"
    yield "       ----                    ----"
    yield f"  lock({held});"
    yield f"{blank}lock({middle});"
    yield f"{blank}lock({held});"
    yield f"  lock({wanted});"
    yield ""
    yield " *** DEADLOCK ***"
    yield ""


def _recursive(cycle: ClassCycle, kernel: str) -> Iterator[str]:
    (only,) = cycle.dependencies
    yield from _head("recursive locking", kernel, 44)
    yield f"{only.task} is trying to acquire lock:"
    yield _lock(only.taken)
    yield ""
    yield "but task is already holding lock:"
    yield _lock(only.held)
    yield ""
    yield "other info that might help us debug this:"
    yield " Possible unsafe locking scenario:"
    yield ""
    yield "       CPU0"
    yield "       ----"
    yield f"  lock({only.held.name});"
    yield f"  lock({only.taken.name});"
    yield ""
    yield " *** DEADLOCK ***"
    yield ""
    yield " May be due to missing lock nesting notation"
    yield ""
    yield from _held(only.task, only.holding)


def _held(task: str, holding: tuple[TakenClass, ...]) -> Iterator[str]:
    yield f"{len(holding)} lock{'' if len(holding) == 1 else 's'} held by {task}:"
    yield from (f" #{number}: {_lock(taken)}" for number, taken in enumerate(holding))
