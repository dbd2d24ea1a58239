"""A run in a process of its own, which survives its terminal and does not make anybody wait for a driver that hangs.

A write that hangs sleeps in the kernel, and a process with such a thread cannot end: whoever waits for it waits, too.
So the command forks, in a session of its own, a child that does the work and tells the parent through a pipe. The
parent shows what it is told, and can end whatever the child's threads do. A terminal that goes away (``ssh`` over the
very link that is rebound) takes the parent with it; the child goes on to the end, and the journal says what became of
it.

Ctrl-C and SIGTERM are for the parent; it passes the first on as a request to stop, and goes on listening. The second
ends the parent, and leaves the child to what it still waits for.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
from typing import TYPE_CHECKING

from numaprobe.bringup.outcome import ChangeOutcome, Report
from numaprobe.bringup.perform import Performance
from numaprobe.bringup.trying import watch
from numaprobe.errors import InternalError, KernelInterfaceError, NumaprobeError, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from numaprobe.bringup.plan import Plan
    from numaprobe.bringup.tools import BringupTools

#: what asks a run to stop
_STOP = (signal.SIGINT, signal.SIGTERM)


def perform_apart(
    plan: Plan,
    tools: BringupTools,
    *,
    command: str,
    try_ns: int | None = None,
    pins: bool = True,
    told: Callable[[ChangeOutcome], object] = lambda _: None,
    stopping: Callable[[], object] = lambda: None,
) -> Report:
    """Carry a plan out in a process of its own; return what became of it.

    With ``try_ns`` that process stays, and undoes everything unless it is confirmed in time.

    Args:
        plan: what to do.
        tools: with what.
        command: what the journal calls it.
        try_ns: how long the changes wait for a word; None: they stay.
        pins: each write comes from its device's node.
        told: told of each change that is over.
        stopping: called when a signal has asked the run to stop.

    Raises:
        NumaprobeError: what stopped the run before its first write.
        InternalError: the process ended without a word.

    """
    read_end, write_end = os.pipe()
    here, there = os.fdopen(read_end, "rb"), os.fdopen(write_end, "wb")
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)  # until each of the two has its own answer to them
    child = os.fork()
    if child == 0:
        here.close()
        _work(there, Performance(plan, tools, command=command, try_ns=try_ns, pins=pins))
    there.close()
    with here, _passing_on(child, stopping):
        while True:
            message = _next(here)
            match message:
                case ChangeOutcome():
                    told(message)
                case Report():
                    return message
                case NumaprobeError():
                    raise message
                case _:
                    text = "the process that writes ended without a word; 'numaprobe recover' finishes or undoes it"
                    raise KernelInterfaceError(text)


def _next(child: BinaryIO) -> object:
    try:
        return pickle.load(child)  # noqa: S301  our own process wrote it
    except (EOFError, pickle.UnpicklingError):  # it ended, or was killed while it told
        return None


@contextlib.contextmanager
def _passing_on(child: int, stopping: Callable[[], object]) -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into a request to the child; the second one is our own."""
    came: list[int] = []

    def pass_on(number: int, _frame: object) -> None:
        came.append(number)
        if len(came) > 1:
            raise KeyboardInterrupt
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
        stopping()

    before = {number: signal.signal(number, pass_on) for number in _STOP}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ---- the child -------------------------------------------------------------------------------------------------------
def _work(parent: BinaryIO, performance: Performance) -> None:
    """Do the work; never returns."""
    try:
        signal.signal(signal.SIGTERM, lambda *_: performance.stop())
        _leave_terminal()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP)
        run_id = _perform(parent, performance)
        with contextlib.suppress(OSError):  # nobody took what was told last
            parent.close()
        if run_id is not None:
            watch(performance.tools, run_id)
    finally:
        os._exit(0)  # whatever threads the kernel still has


def _perform(parent: BinaryIO, performance: Performance) -> str | None:
    """Carry out, and tell; return the run's id if it waits for a word."""

    def tell(message: object) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more
            pickle.dump(message, parent)
            parent.flush()

    try:
        with performance:
            report = performance.run(tell)
    except NumaprobeError as error:
        tell(error)
    except BaseException as error:  # noqa: BLE001  a bug of ours must be told, too
        tell(InternalError(f"the process that writes: {describe(error)}"))
    else:
        tell(report)
        return report.run if report.waits_until_ns is not None else None
    return None


def _leave_terminal() -> None:
    """Take a session of one's own: no signal of the terminal's comes here, and nothing of ours goes there."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
