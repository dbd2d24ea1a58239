"""The OS thread in which one task's bodies run.

A thread serves calls one after the other from its own queue and hands each that is done to ``deliver``, which may run
the core's loop before it returns (``loop.py``). Each call is framed by two readings of the CPU (``getcpu``) and of the
thread's CPU clock, taken in the thread itself, so that what is recorded is what happened. If the first reading shows a
CPU that the thread should not be on (a CPU went offline and came back), the thread is pinned again before the call.

A body may ask the core for something and wait for it (``ask``). While it waits its thread goes on serving: a child
that is probed inside a probe, in the same task, runs in the same thread, on top of its parent's stack.

A call that passes its deadline cannot be stopped: Python has no way to end a thread. The thread is *abandoned*: it gets
no more calls, its outcome is dropped, it may ask nothing any more, and it ends when its body returns.
"""

from __future__ import annotations

import os
import resource
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from numaprobe.errors import BodyError
from numaprobe.hostmachine import stacks, syscalls
from numaprobe.hostmachine.attributes import ANYTHING, Attributes
from numaprobe.hostmachine.future import Message, ThreadCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.cpuset import CpuSet
    from numaprobe.hostmachine.attributes import Applier
    from numaprobe.hostmachine.bodies import HeldMemory
    from numaprobe.hostmachine.process import BodyProcess

_here = threading.local()

#: So many threads keep their schedstat file open, which makes reading it four times as fast; more would use up the
#: file descriptors of a program whose limit is the usual 1024.
_kept_open = threading.BoundedSemaphore(64)


class _Answer(NamedTuple):
    value: Any
    error: BaseException | None


#: A wake-up: there is memory to be freed.
_SWEEP: Final = _Answer(None, None)


class BodyThread:
    """An OS thread with a name, CPUs and a memory policy.

    Args:
        comm: name, as ``/proc/self/task/*/comm`` shows it (15 bytes).
        wish: its attributes; ``change`` sets others.
        applier: gives them to the thread.
        deliver: takes each call that was made (or a request), and this thread; gives the next call if it knows one.
        owner: the task it belongs to.
        enter: called once in the new thread.
        died: told, in the thread, if anything but a body's end ends it.

    """

    def __init__(
        self,
        comm: str,
        wish: Attributes,
        applier: Applier,
        deliver: Callable[[Message, BodyThread], ThreadCall | None],
        owner: object,
        enter: Callable[[], object],
        died: Callable[[BodyThread, BaseException], object],
    ) -> None:
        self.comm = comm
        self.owner = owner
        self.abandoned = False
        #: how many of its bodies wait for an answer of the core, one inside the other
        self.asking = 0
        self.tid = 0
        self._ident = -1
        self.child: BodyProcess | None = None
        #: the next call is the first of a work: wake up in the pod
        self.fresh = True
        self._wish = wish
        self._applier = applier
        self._deliver = deliver
        self._enter = enter
        self._died = died
        #: what the core waits for it to do, outermost first; the core's own
        self.calls: list[ThreadCall] = []
        self._inbox: SimpleQueue[ThreadCall | _Answer | None] = SimpleQueue()
        self._inner_ns = 0
        #: memory to be freed
        self._unused: list[HeldMemory] = []
        self._schedstat: syscalls.SmallFile | None = None
        #: how often it had left its CPU when its wait for CPUs was read, and what was read
        self._switches = -1
        self._run_delay_ns: int | None = None
        #: the same, 0 where it is not known
        self.run_delay_seen_ns = 0
        #: the CPUs of its wish, if it is held on them; None = it may run wherever the process may
        self.held_on: CpuSet | None = None
        self._allowed = -1  # the same as bits, for a look at every call; all of them if it is not held
        self._thread = threading.Thread(target=self._run_on, name=comm, daemon=True)
        #: what gets its OS thread when it ends, and whether it has got one itself in that way
        self._successor: BodyThread | None = None
        self._inherits = False

    # ---- from the core's loop --------------------------------------------------------------------------------------
    def start(self) -> None:
        """Start it; it serves what was submitted meanwhile."""
        self._thread.start()

    def put(self, call: ThreadCall) -> None:
        """Have the thread make a call."""
        self._inbox.put(call)

    def leave_to_free(self, held: list[HeldMemory]) -> None:
        """Have the thread free memory before it does anything else."""
        self._unused += held
        if threading.get_ident() != self._ident:
            self._inbox.put(_SWEEP)

    def answer(self, value: object, error: BaseException | None) -> None:
        """Answer the innermost ``ask``."""
        self._inbox.put(_Answer(value, error))

    def stop(self) -> None:
        """Let it end after the calls it has."""
        self._inbox.put(None)

    def hand_over(self, successor: BodyThread) -> None:
        """End, and let ``successor``, which has no OS thread yet, go on in this one: the system has no other."""
        self._successor = successor
        successor._thread, successor._inherits = self._thread, True
        self.stop()

    def abandon(self) -> None:
        """Give it up: see the top of the file."""
        self.abandoned = True
        self.answer(None, BodyError(f"{self.comm}: this body passed its deadline and was given up"))
        self.stop()
        child = self.child  # its own thread may let go of it at any time
        if child is not None:
            child.kill()

    def join(self, timeout: float) -> bool:
        """Wait for its end; return whether it has ended, or never started."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def at_work(self) -> bool:
        """Whether a body runs in it that does not wait for the core."""
        return self.tid != 0 and not self.abandoned and len(self.calls) > self.asking

    @property
    def ended(self) -> bool:
        """Whether it was started and has ended."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def stack(self) -> str:
        """Return where its code is now, innermost last, one ``file:line function`` each, on one line."""
        entries = stacks.entries(self._thread.ident or 0)
        own = [entry for entry in entries if entry.filename != __file__ and "threading.py" not in entry.filename]
        shown = [f"{os.path.basename(e.filename)}:{e.lineno} {e.name}" for e in own[-8:]]  # noqa: PTH119  text
        return " > ".join(shown) if entries else "not running"

    def run_delay_ns(self) -> int | None:
        """Return how long it was ready without a CPU so far (``schedstat``); None where the kernel does not say.

        It grows only when the thread gets a CPU again. The thread itself can ask for a sixth of the price whether it
        has been off its CPU (``getrusage``), and then mostly need not read the file.
        """
        if threading.get_ident() != self._ident:
            return self._read_run_delay()
        usage = resource.getrusage(resource.RUSAGE_THREAD)
        switches = usage.ru_nvcsw + usage.ru_nivcsw
        if switches != self._switches:
            self._switches, self._run_delay_ns = switches, self._read_run_delay()
            self.run_delay_seen_ns = self._run_delay_ns or 0
        return self._run_delay_ns

    @property
    def is_runnable(self) -> bool:
        """Whether it is on a CPU, or waits for one, now."""
        try:
            with open(f"/proc/self/task/{self.tid}/stat", "rb") as file:  # noqa: PTH123  twice as fast as Path
                text = file.read()
        except OSError:
            return False
        return text[text.rfind(b")") + 2 :][:1] == b"R"

    def _read_run_delay(self) -> int | None:
        text = self._schedstat.read() if self._schedstat is not None else self._read_schedstat()
        try:
            return int(text.split()[1])
        except (IndexError, ValueError):
            return None

    def _read_schedstat(self) -> bytes:
        file = syscalls.SmallFile(f"/proc/self/task/{self.tid}/schedstat")
        try:
            return file.read()
        finally:
            file.close()

    # ---- in the thread ---------------------------------------------------------------------------------------------
    def _run_on(self) -> None:
        one: BodyThread | None = self
        while one is not None:
            one._main()  # noqa: SLF001  its own kind
            one = one._successor  # noqa: SLF001

    def _main(self) -> None:
        try:
            self._begin()
            if not self.abandoned:
                self._serve()
        except BaseException as error:  # noqa: BLE001  not a body's: those are caught where they are called
            self._died(self, error)
        finally:
            self._leave()

    def _begin(self) -> None:
        self.tid = threading.get_native_id()
        self._ident = threading.get_ident()
        _here.thread = self
        syscalls.set_name(self.comm)
        self._enter()
        if self._inherits:
            threading.current_thread().name = self.comm
            self._applier.apply_cpus(None)
            self._applier.apply_memory(ANYTHING)
        self._give(self._wish)
        self._open_schedstat()

    def _open_schedstat(self) -> None:
        if _kept_open.acquire(blocking=False):
            self._schedstat = syscalls.SmallFile(f"/proc/self/task/{self.tid}/schedstat")

    def _leave(self) -> None:
        self._sweep()
        if self.child is not None:
            self.child.close()
        if self._schedstat is not None:
            self._schedstat.close()
            _kept_open.release()

    def _give(self, wish: Attributes) -> None:
        self._wish = wish
        pinned = wish.cpus is None or self._applier.apply_cpus(wish.cpus)
        self.held_on = wish.cpus if pinned else None
        self._allowed = -1 if self.held_on is None else self.held_on.bits
        if wish.memory_node is not None:
            self._applier.apply_memory(wish)

    def change(self, wish: Attributes) -> None:
        """Take other attributes; a child process of the thread takes them too. Called in the thread."""
        before = self._wish
        if wish.cpus is None and before.cpus is not None:
            self._applier.apply_cpus(None)
        if wish.memory_node is None and before.memory_node is not None:
            self._applier.apply_memory(wish)
        self._give(wish)
        if self.child is not None:
            self.child.close()
            self.child = None

    @property
    def wish(self) -> Attributes:
        """Its attributes as wished for."""
        return self._wish

    def _serve(self, request: Message | None = None) -> _Answer | None:
        """Serve calls until an answer to the innermost ``ask`` (or the end) comes."""
        call = self._deliver(request, self) if request is not None else None
        while True:
            while call is not None:  # None too so that a waiting thread does not keep the last body's objects alive
                self._run(call)
                call = self._deliver(call, self)
            self._sweep()
            got = self._inbox.get()
            if isinstance(got, ThreadCall):
                call = got
            elif got is not _SWEEP:
                return got
            del got

    def _sweep(self) -> None:
        while self._unused:
            self._unused.pop().free()

    def _run(self, call: ThreadCall) -> None:
        self._sweep()
        cpu = syscalls.getcpu()
        if not self._allowed >> cpu & 1:
            self._give(self._wish)
            cpu = syscalls.getcpu()
        if self.fresh:
            self.fresh = False
            if self._wish.hint is not None and cpu not in self._wish.hint:
                self._applier.nudge(self._wish)
                cpu = syscalls.getcpu()
        call.cpu_before = cpu
        outer, self._inner_ns = self._inner_ns, 0
        start = time.thread_time_ns()
        try:
            call.value = call.function(*call.args)
        except BaseException as caught:  # noqa: BLE001  handed to the task that waits
            call.error = caught
        total = time.thread_time_ns() - start
        call.running_ns, self._inner_ns = total - self._inner_ns, outer + total
        call.cpu_after = syscalls.getcpu()

    def ask(self, request: Message) -> object:
        """Hand the core a request and serve calls until ``answer``; return or raise it.

        Raises:
            BodyError: the body was given up, or the machine was shut down.

        """
        if self.abandoned:
            raise BodyError(f"{self.comm}: this body passed its deadline and was given up")
        self.asking += 1
        answer = self._serve(request)
        self.asking -= 1
        if answer is None:
            self.stop()  # for the outer loop, which must end too
            raise BodyError(f"{self.comm}: the machine was shut down while this body waited for the core")
        if answer.error is not None:
            raise answer.error
        return answer.value


def forget_this_thread() -> None:
    """In the child of a fork: the calling thread is no body's any more."""
    _here.thread = None


def this_thread() -> BodyThread | None:
    """Return the calling thread if it is one that runs bodies."""
    thread: BodyThread | None = getattr(_here, "thread", None)
    return thread
