"""One tree of errors, split by who must act.

::

    NumaprobeError                    exit code
    ├── UsageError                    2   the caller: a wrong call or an unknown name
    │   ├── UnknownNameError              names the nearest known one
    │   └── StateError                    a step the state table does not have; carries the device's story
    ├── InputError                    2   the scenario, machine or trace file; says where
    ├── BodyError                     1   a probe body: it did what a body must not
    ├── PolicyError                   2   the author of a policy: it broke the contract of a placement, or raised
    ├── DeadlockError                 1   the policy or the scenario: tasks wait for each other
    ├── KernelInterfaceError          3   this system
    │   ├── MissingInterfaceError         the file or program is not there
    │   ├── NotPermittedError             we may not
    │   └── RefusedError                  we may, and the kernel said no
    └── InternalError                 -   us: a broken promise of our own, please report it

Every message is one line: what, where, what to do. An error is a value: it survives pickling, as it may come from
another process, and is equal to another one of its class that says the same of the same. A deferral (-EPROBE_DEFER) is
an outcome, not an error.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: Of what strangers wrote, so many letters are quoted.
_SHOWN = 500
#: Where our own code is, and Python's.
_OUR_FOLDER = __file__.rpartition("/")[0] + "/"
_PYTHONS_FOLDER = os.__file__.rpartition("/")[0] + "/"


class NumaprobeError(Exception):
    """Root of the tree.

    Attributes:
        exit_code: what the command exits with when this error ends it.

    """

    exit_code: ClassVar[int] = 2

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what makes it again: exceptions are otherwise made again from their message alone."""
        return _again, (type(self), self.args, vars(self))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NumaprobeError):
            return NotImplemented
        return type(self) is type(other) and self.args == other.args and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), str(self)))


class UsageError(NumaprobeError):
    """The caller made a call that can never work."""


class UnknownNameError(UsageError):
    """A name that is not in a catalogue; the message offers the nearest one."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind = kind
        self.name = name
        self.known = tuple(known)
        import difflib

        near = difflib.get_close_matches(name, self.known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(self.known)}"
        shown = "".join(letter if letter.isprintable() else "?" for letter in name[:80])
        super().__init__(f"unknown {kind} '{shown}': {hint}")


class StateError(UsageError):
    """A step outside the state table. Nothing was changed.

    Attributes:
        story: what happened to the object so far, oldest first, one line each.

    """

    def __init__(self, message: str, story: Sequence[str] = ()) -> None:
        self.story = tuple(story)
        super().__init__(message)


class InputError(NumaprobeError):
    """A file or text given to us does not hold what it must.

    Attributes:
        where: the file, and the line or path inside it.

    """

    def __init__(self, what: str, where: str = "") -> None:
        self.what = what
        self.where = where
        super().__init__(_one_line(f"{where}: {what}" if where else what))


class PolicyError(NumaprobeError):
    """A policy of a user's: it never ran a probe, ran it twice, or raised; the text names its file and line."""


class BodyError(NumaprobeError):
    """A probe body did what a body must not do (a negative time, a result that is no errno)."""

    exit_code = 1


class DeadlockError(NumaprobeError):
    """Nothing can run any more and tasks still wait.

    Attributes:
        waits: one line for each waiting task: what it waits for, and which task holds that.

    """

    exit_code = 1

    def __init__(self, waits: Sequence[str]) -> None:
        self.waits = tuple(waits)
        super().__init__("deadlock: " + "; ".join(waits))


class KernelInterfaceError(NumaprobeError):
    """The running kernel's interface does not give what was asked."""

    exit_code = 3


class MissingInterfaceError(KernelInterfaceError):
    """A file, program or feature is not on this system."""


class NotPermittedError(KernelInterfaceError):
    """It is there, and we may not use it."""


class RefusedError(KernelInterfaceError):
    """It is there, we may use it, and the kernel refused this request."""


class TerminatedError(BaseException):
    """SIGTERM in the main thread: the program shall end. No ``Exception``, and no outcome of the body it came upon."""


class InternalError(NumaprobeError):
    """A promise of our own is broken: a bug in numaprobe."""


def _again(kind: type[NumaprobeError], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> NumaprobeError:
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    vars(error).update(attributes)
    return error


def describe(error: BaseException) -> str:
    """Return the type and text of an exception that other people's code raised, in one line; its text may fail too."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001  a stranger's __str__
        text = "(its text cannot be had)"
    text = _one_line(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class FarTraceback(Exception):  # noqa: N818  no error: what is known of one that came from another process
    """The cause of an error that was raised in another process, where its traceback stayed.

    Attributes:
        place: ``FILE:LINE`` of the code that raised it; empty if unknown.

    """

    def __init__(self, text: str, place: str = "") -> None:
        super().__init__(text, place)
        self.place = place

    def __str__(self) -> str:
        """Return the text alone."""
        return str(self.args[0])


def explain(error: BaseException) -> str:
    """Return ``describe(error)`` and, where known, the file and line of the strangers' code that raised it."""
    place = place_of(error)
    return f"{describe(error)} ({place})" if place else describe(error)


def full_traceback(error: BaseException) -> str:
    """Return the text that Python prints of an error that nobody caught."""
    import traceback

    try:
        return "".join(traceback.format_exception(error))
    except BaseException as another:  # noqa: BLE001  a stranger's __str__
        return f"{describe(error)} (its traceback cannot be had: {describe(another)})\n"


def place_of(error: BaseException) -> str:
    """Return ``FILE:LINE`` of the code that raised ``error``, neither ours nor Python's own; empty if unknown.

    That is the innermost frame of such code: whoever passed garbage to ``json.loads`` is told where he did.
    """
    cause = error.__cause__
    if isinstance(cause, FarTraceback):
        return cause.place
    theirs = [place for file, place in _frames(error) if _is_theirs(file)]
    if theirs:
        return _one_line(theirs[-1])
    return place_of(cause) if isinstance(error, BodyError) and cause is not None else ""


def _frames(error: BaseException) -> Iterator[tuple[str, str]]:
    entry = error.__traceback__
    while entry is not None:
        file = entry.tb_frame.f_code.co_filename
        yield file, f"{file}:{entry.tb_lineno}"
        entry = entry.tb_next


def _is_theirs(file: str) -> bool:
    pythons = file.startswith(_PYTHONS_FOLDER) and "-packages/" not in file
    return not (pythons or file.startswith((_OUR_FOLDER, "<frozen ")))


def _one_line(text: str) -> str:
    """Return ``text`` with a space for each control character: it quotes what a file holds, which may be anything."""
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)
