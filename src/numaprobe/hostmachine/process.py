"""A body in a process: for CPU-bound Python, which threads of one interpreter would run one at a time.

A task's thread has at most one child. It is started, and loads the modules of the body, before a probe's cost and
deadline begin (``load_in_child``). It is pinned and named like the thread, and does one call at a time, sent and
answered by pickle through a pipe. Its death closes the pipe: the waiting thread gets an error, never a hang. The death
of the parent closes it too, and the child ends. A function that cannot be pickled is the caller's error; a result that
cannot be is the body's. Whatever the body raises is its outcome, and the child serves the next one.

With ``spawn`` the child is a fresh interpreter, started here: multiprocessing's own would leave a process of its own
(the resource tracker) and descriptors for as long as the program runs, for resources that our children do not have.
What multiprocessing knows about making another interpreter like this one (path, ``__main__``) is used as it is; so is
all of it on a Python that does not say its flags (``interpreter.py``).
"""

from __future__ import annotations

import errno
import multiprocessing
import pickle
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from numaprobe.errors import BodyError, UsageError, describe, full_traceback, place_of
from numaprobe.hostmachine import interpreter, limits, syscalls
from numaprobe.hostmachine.attributes import Applier, Attributes

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess


#: How long a child that was asked to end may take.
_END_S = 2.0
#: So long may a child take to start and to load the modules of a body, seconds. An assumption.
START_S: Final = 60.0
#: What a spawned child runs; its descriptor of the pipe follows.
_PROGRAM: Final = "import sys; from numaprobe.hostmachine.process import be_child; be_child(int(sys.argv[1]))"


class ProcessAnswer(NamedTuple):
    """What a child says about a call."""

    value: Any
    error: Exception | None
    running_ns: int
    #: where it was at the start and at the end
    cpu: int
    cpu_after: int
    #: of the error: its traceback, and the file and line that raised it
    traceback: str = ""
    place: str = ""


# ---- in the child --------------------------------------------------------------------------------------------------
def be_child(descriptor: int) -> None:
    """Be a spawned child: become like the parent, then serve it."""
    from multiprocessing import spawn
    from multiprocessing.connection import Connection

    pipe = Connection(descriptor)
    try:
        likeness, comm, wish = pipe.recv()
    except EOFError:
        return
    try:
        spawn.prepare(likeness)
    except Exception as error:  # noqa: BLE001  the user's program, read once more
        why = f"a process cannot load this program ({describe(error)}): run it from a file"
        cpu = syscalls.getcpu()
        _answer_all(pipe, ProcessAnswer(None, BodyError(why), 0, cpu, cpu))
        return
    _serve(pipe, comm, wish)


def _answer_all(pipe: Connection, answer: ProcessAnswer) -> None:
    """Answer every call alike until the pipe closes."""
    with suppress(EOFError, OSError):
        while pipe.recv_bytes():
            pipe.send_bytes(pickle.dumps(answer))


def _serve(pipe: Connection, comm: str, wish: Attributes) -> None:
    """Do calls until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business; it closes the pipe
    applier = Applier(lambda _kind, _message: None, limits.allowed_cpus)
    syscalls.set_name(comm)
    if wish.cpus is not None:
        applier.apply_cpus(wish.cpus)
    if wish.memory_node is not None:
        applier.apply_memory(wish)
    with suppress(EOFError, OSError):  # the parent is gone
        while data := pipe.recv_bytes():  # a forked child holds the other end of its own pipe open: it is told to end
            pipe.send_bytes(_answer(data))


def _answer(data: bytes) -> bytes:
    cpu, start = syscalls.getcpu(), time.process_time_ns()
    value: object = None
    failure: Exception | None = None
    text = place = ""
    try:
        function, args = pickle.loads(data)  # noqa: S301  from our own parent
        value = function(*args)
    except BaseException as error:  # noqa: BLE001  handed to the task that waits
        failure, text, place = _presentable(error), full_traceback(error), place_of(error)
    running = time.process_time_ns() - start
    try:
        answer = pickle.dumps(ProcessAnswer(value, failure, running, cpu, syscalls.getcpu(), text, place))
        if failure is not None:
            pickle.loads(answer)  # noqa: S301  our own; some exceptions can be sent and not be received
    except BaseException as error:  # noqa: BLE001  whatever a stranger's __reduce__ raises
        what = f"raised {describe(failure)}" if failure is not None else f"returned a {type(value).__name__}"
        fault = BodyError(f"the body {what}, which cannot be sent to the core: {describe(error)}")
        return pickle.dumps(ProcessAnswer(None, fault, running, cpu, cpu, text, place))
    return answer


def _presentable(error: BaseException) -> Exception:
    """Return what is sent: as in a thread, a body does not end the process."""
    if isinstance(error, Exception):
        return error
    return BodyError(f"a body raised {describe(error)}; it counts as failed")


# ---- in the parent -------------------------------------------------------------------------------------------------
class _Spawned:
    """A fresh interpreter that serves the other end of a pipe."""

    def __init__(self, pipe: Connection, other: Connection, comm: str, wish: Attributes) -> None:
        from multiprocessing import spawn

        likeness = spawn.get_preparation_data(comm)
        likeness["authkey"] = bytes(likeness["authkey"])  # its own kind refuses to be sent; the pipe is ours alone
        first = pickle.dumps((likeness, comm, wish))
        flags = interpreter.flags() or []
        command = [sys.executable, *flags, "-c", _PROGRAM, str(other.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[other.fileno()])  # noqa: S603  ourselves
        with suppress(OSError):  # it died already: the first call will say so
            pipe.send_bytes(first)

    @property
    def exitcode(self) -> int | None:
        return self._process.poll()

    def join(self, timeout: float) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        """Have nothing to close: see ``BaseProcess``."""


def _start(pipe: Connection, other: Connection, comm: str, wish: Attributes, method: str) -> _Spawned | BaseProcess:
    if method == "spawn" and interpreter.flags() is not None:
        return _Spawned(pipe, other, comm, wish)
    context: Any = multiprocessing.get_context(method)
    process: BaseProcess = context.Process(target=_serve, args=(other, comm, wish), name=comm, daemon=True)
    process.start()
    return process


class BodyProcess:
    """A child process that does calls.

    Args:
        comm: its name, that of the thread it stands for.
        wish: its CPUs and memory policy.
        method: ``spawn``, ``forkserver`` or ``fork``.

    Raises:
        OSError: the system gives no process, or no descriptors.

    """

    def __init__(self, comm: str, wish: Attributes, method: str) -> None:
        self.comm = comm
        #: what it was asked to load
        self.loaded: set[str] = set()
        self._pipe, other = multiprocessing.Pipe()
        try:
            self._process = _start(self._pipe, other, comm, wish, method)
        except BaseException:
            self._pipe.close()
            raise
        finally:
            other.close()

    def call(self, data: bytes, deadline_ns: int | None) -> ProcessAnswer:
        """Have the child do a pickled (function, args), and wait for its answer.

        Raises:
            BodyError: it died, or its answer cannot be read here.
            TimeoutError: ``deadline_ns`` passed and it was killed.

        """
        try:
            self._pipe.send_bytes(data)
            in_time = self._pipe.poll(None if deadline_ns is None else deadline_ns / 1e9)
            answer = self._pipe.recv_bytes() if in_time else None
        except (EOFError, OSError):
            self._process.join(_END_S)
            raise BodyError(f"{self.comm}: the body's process died ({_cause(self._process.exitcode)})") from None
        if answer is None:
            self.kill()
            late = f"{self.comm}: a body's process is past its deadline of {(deadline_ns or 0) / 1e6:g} ms; killed"
            raise TimeoutError(errno.ETIMEDOUT, late)
        try:
            said: ProcessAnswer = pickle.loads(answer)  # noqa: S301  our child
        except Exception as error:
            raise BodyError(f"{self.comm}: the body's answer cannot be read here: {describe(error)}") from error
        return said

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


class Parent(Protocol):
    """The thread that a child stands for."""

    child: BodyProcess | None

    @property
    def comm(self) -> str:
        """Its name."""
        ...

    @property
    def wish(self) -> Attributes:
        """How it is pinned."""
        ...


def in_child(
    thread: Parent,
    method: str,
    function: Callable[..., object],
    args: tuple[object, ...],
    deadline_ns: int | None,
) -> ProcessAnswer:
    """Call ``function`` in the thread's child; make the child if there is none. Runs in the thread.

    Raises:
        UsageError: the function or an argument cannot be pickled.
        BodyError: the child died. The next call gets a new one.
        TimeoutError: it was killed at its deadline.
        OSError: the system gives no process.

    """
    return _called(thread, method, _pickled(function, args), deadline_ns)


def load_in_child(
    thread: Parent, method: str, what: tuple[Callable[..., object], tuple[object, ...]], key: str
) -> None:
    """Have the thread's child started, and ``what`` (a function and its arguments) unpickled there.

    That imports the modules they come from: no part of the body that will be called. Runs in the thread.

    Raises:
        UsageError: something cannot be pickled.
        BodyError: the child died.
        TimeoutError: it has not started within ``START_S``, and was killed.
        OSError: the system gives no process.

    """
    _pickled(*what)  # says what cannot be sent
    if _called(thread, method, _pickled(_load, what), int(START_S * 1e9)).error is None and thread.child is not None:
        thread.child.loaded.add(key)


def _load(*_what: object) -> None:
    """Do nothing: the arguments are here."""


def _pickled(function: Callable[..., object], args: tuple[object, ...]) -> bytes:
    try:
        return pickle.dumps((function, args))
    except Exception as error:
        name = getattr(function, "__qualname__", function)
        raise UsageError(f"{name} cannot be sent to a process: {error}; use a function of a module") from error


def _called(thread: Parent, method: str, data: bytes, deadline_ns: int | None) -> ProcessAnswer:
    if thread.child is None:
        thread.child = BodyProcess(thread.comm, thread.wish, method)
    try:
        return thread.child.call(data, deadline_ns)
    except (BodyError, TimeoutError):
        thread.child.close()
        thread.child = None
        raise
