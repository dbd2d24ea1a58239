"""A body in a process: for CPU-bound Python, which threads of one interpreter would run one at a time.

A task's thread has at most one child. It is pinned and named like the thread, and does one call at a time, sent and
answered by pickle through a pipe. Its death closes the pipe: the waiting thread gets an error, never a hang. The death
of the parent closes it too, and the child ends. A function that cannot be pickled is the caller's error; a result that
cannot be is the body's.
"""

from __future__ import annotations

import errno
import multiprocessing
import pickle
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from numaprobe.errors import BodyError, UsageError
from numaprobe.host import limits, syscalls
from numaprobe.host.attributes import Applier, Attributes

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from numaprobe.host.thread import BodyThread

#: How long a child that was asked to end may take.
_END_S = 2.0


class Answer(NamedTuple):
    """What a child says about a call."""

    value: Any
    error: Exception | None
    running_ns: int
    #: where it was at the start and at the end
    cpu: int
    cpu_after: int


def _serve(pipe: Connection, comm: str, wish: Attributes) -> None:
    """Be the child: do calls until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business; it closes the pipe
    applier = Applier(lambda _kind, _message: None, limits.allowed_cpus)
    syscalls.set_name(comm)
    if wish.cpus is not None:
        applier.apply_cpus(wish.cpus)
    if wish.memory_node is not None:
        applier.apply_memory(wish)
    while True:
        try:
            data = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        if not data:  # a forked child holds the other end of its own pipe open: it is told to end, not only closed
            return
        pipe.send_bytes(_answer(data))


def _answer(data: bytes) -> bytes:
    cpu, start = syscalls.getcpu(), time.process_time_ns()
    value, failure = None, None
    try:
        function, args = pickle.loads(data)  # noqa: S301  from our own parent
        value = function(*args)
    except Exception as error:  # noqa: BLE001  handed to the one who waits
        failure = error
    running = time.process_time_ns() - start
    try:
        return pickle.dumps(Answer(value, failure, running, cpu, syscalls.getcpu()))
    except Exception as error:  # noqa: BLE001  whatever a stranger's __reduce__ raises
        what = f"raised {failure!r}" if failure else f"returned a {type(value).__name__}"
        fault = BodyError(f"the body {what}, which cannot be sent to the core: {error}")
        return pickle.dumps(Answer(None, fault, running, cpu, cpu))


class BodyProcess:
    """A child process that does calls.

    Args:
        comm: its name, that of the thread it stands for.
        wish: its CPUs and memory policy.
        method: ``spawn``, ``forkserver`` or ``fork``.

    """

    def __init__(self, comm: str, wish: Attributes, method: str) -> None:
        self.comm = comm
        context = multiprocessing.get_context(method)
        self._pipe, other = context.Pipe()
        self._process = context.Process(  # type: ignore[attr-defined]
            target=_serve, args=(other, comm, wish), name=comm, daemon=True
        )
        try:
            self._process.start()
        finally:
            other.close()

    def call(self, data: bytes, deadline_ns: int | None) -> Answer:
        """Have the child do a pickled (function, args), and wait for its answer.

        Raises:
            BodyError: it died.
            TimeoutError: ``deadline_ns`` passed and it was killed.

        """
        try:
            self._pipe.send_bytes(data)
            in_time = self._pipe.poll(None if deadline_ns is None else deadline_ns / 1e9)
            answer: Answer | None = pickle.loads(self._pipe.recv_bytes()) if in_time else None  # noqa: S301  our child
        except (EOFError, OSError):
            self._process.join(_END_S)
            raise BodyError(f"{self.comm}: the body's process died ({_cause(self._process.exitcode)})") from None
        if answer is None:
            self.kill()
            late = f"{self.comm}: a body's process is past its deadline of {(deadline_ns or 0) / 1e6:g} ms; killed"
            raise TimeoutError(errno.ETIMEDOUT, late)
        return answer

    @property
    def pid(self) -> int:
        """Its process id."""
        return int(self._process.pid or 0)

    def kill(self) -> None:
        """End it at once."""
        with suppress(OSError, ValueError):
            self._process.kill()

    def close(self) -> None:
        """Tell it to end, wait for that, kill it if it takes too long."""
        with suppress(OSError):
            self._pipe.send_bytes(b"")
        with suppress(OSError):
            self._pipe.close()
        self._process.join(_END_S)
        if self._process.exitcode is None:
            self.kill()
            self._process.join(_END_S)
        with suppress(ValueError):
            self._process.close()


def _cause(exitcode: int | None) -> str:
    if exitcode is None:
        return "still ending"
    if exitcode >= 0:
        return f"exit code {exitcode}"
    try:
        return signal.Signals(-exitcode).name
    except ValueError:
        return f"signal {-exitcode}"


def in_child(
    thread: BodyThread,
    method: str,
    function: Callable[..., object],
    args: tuple[object, ...],
    deadline_ns: int | None,
) -> Answer:
    """Call ``function`` in the thread's child; make the child if there is none. Runs in the thread.

    Raises:
        UsageError: the function or an argument cannot be pickled.
        BodyError: the child died. The next call gets a new one.
        TimeoutError: it was killed at its deadline.

    """
    try:
        data = pickle.dumps((function, args))
    except Exception as error:
        name = getattr(function, "__qualname__", function)
        raise UsageError(f"{name} cannot be sent to a process: {error}; use a function of a module") from error
    if thread.child is None:
        thread.child = BodyProcess(thread.comm, thread.wish, method)
    try:
        return thread.child.call(data, deadline_ns)
    except (BodyError, TimeoutError):
        thread.child.close()
        thread.child = None
        raise
