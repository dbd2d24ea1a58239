"""The machine protocol: what the driver core, the buses and the policies may ask of a machine.

Theory of operation
===================

The core is written once, as ``async def`` functions. It never looks at a clock or a thread; it awaits what is declared
here. Two machines implement it: the virtual one (virtual time, modelled CPUs) and the host one (real threads). A
machine runs *tasks*; each coroutine of the core runs as some task, ``machine.current`` says which, and code between
two awaits is atomic on every machine: the core's state has one owner and needs no lock of its own.

What a caller may rely on:

* An awaitable of this protocol is awaited at once, in the task that asked for it, and nowhere else.
* ``Work`` functions run in a worker task. They never raise into the worker: whoever queues a work catches what its
  function may raise (``work_on_cpu`` shows how).
* ``queue_*`` never sleep. ``flush_work``, ``Lock.acquire``, ``Event.wait``, ``compute``, ``sleep`` may.
* Time is integer nanoseconds since the start of the run.

What is *not* promised: which of two tasks made ready at the same time runs first on the host machine. On the virtual
machine the order is total and a run is repeatable to the byte.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from numaprobe.cpuset import CpuSet
    from numaprobe.records import RunWarning, Segment
    from numaprobe.runtime.profile import AffinityScope, KernelProfile
    from numaprobe.topology import Topology

T = TypeVar("T")


class HkType(Enum):
    """``enum hk_type`` (``kernel/sched/isolation.c``), as far as probing uses it."""

    #: CPUs that are part of a scheduling domain: not in ``isolcpus=domain``
    DOMAIN = "domain"
    #: not in ``nohz_full=``
    WQ = "wq"
    #: CPUs that unbound workqueues may use now (``wq_unbound_cpumask``, no housekeeping type of its own in the kernel)
    UNBOUND = "unbound"


class Usage(NamedTuple):
    """What one measured stretch of a task cost, as the machine accounts it."""

    start_ns: int
    end_ns: int
    #: time on a CPU, and time ready but waiting for one; None where the machine cannot tell
    running_ns: int | None
    runnable_ns: int | None
    sleeping_ns: int | None
    #: CPUs it ran on, in the order of first use; the first is where it started; none if it could not run at all
    cpus: tuple[int, ...]
    #: of ``running_ns``: per node of the CPU; the id of "no node" is -1
    running_by_node: Mapping[int, int] | None
    #: bytes allocated, per node
    memory: Mapping[int, int] | None
    #: the stretch cut into states; None if the machine was not asked to keep a timeline
    segments: tuple[Segment, ...] | None = None
    #: the CPUs that the task might use when the stretch began; None where the machine cannot tell
    allowed: CpuSet | None = None
    #: the pod of the unbound pool whose worker it is; None if it is none
    pod: CpuSet | None = None


class Task(Protocol):
    """A schedulable context: of ``struct task_struct`` what a probe can see."""

    @property
    def comm(self) -> str:
        """Name: ``modprobe``, ``kworker/u1025:5``."""
        ...

    @property
    def cpu(self) -> int:
        """The CPU it runs on, or last ran on."""
        ...

    @property
    def is_worker(self) -> bool:
        """``PF_WQ_WORKER``: true in every kworker, whatever it executes."""
        ...

    @property
    def work(self) -> Work | None:
        """The work this worker executes now (``current_wq_worker()->current_work``)."""
        ...


@dataclass(eq=False, slots=True)
class Work:
    """A work item: a function to be called once, in a worker, each time it is queued (``struct work_struct``).

    Attributes:
        function: what to run. It must not raise.
        name: the kernel function's name, for traces: ``async_run_entry_fn``, ``work_for_cpu_fn``.
        lock_class: works of one class are one to the recursion check of ``flush_work`` (lockdep's ``lockdep_map``);
            by default the name.
        state: for the machine alone.

    """

    function: Callable[[], Awaitable[None]]
    name: str
    lock_class: str = ""
    state: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.lock_class:
            self.lock_class = self.name


class Workqueue(Protocol):
    """A workqueue (``struct workqueue_struct``)."""

    @property
    def name(self) -> str:
        """As given to ``alloc_workqueue``."""
        ...

    @property
    def unbound(self) -> bool:
        """``WQ_UNBOUND``: served by pools of a pod, not of a CPU."""
        ...


class Lock(Protocol):
    """A mutex, taken and released by tasks, FIFO, with an owner; not recursive."""

    @property
    def name(self) -> str:
        """For reports of which task waits for which."""
        ...

    @property
    def owner(self) -> Task | None:
        """The task that holds it; None if free."""
        ...

    async def acquire(self) -> None:
        """Take it, after all tasks that asked before."""
        ...

    def release(self) -> None:
        """Give it to the longest waiter.

        Raises:
            UsageError: the current task does not own it.

        """
        ...

    async def __aenter__(self) -> object: ...

    async def __aexit__(self, *exc: object) -> None: ...


class Event(Protocol):
    """A flag that tasks wait for (``struct completion`` with ``complete_all``)."""

    @property
    def is_set(self) -> bool:
        """Whether it is set now."""
        ...

    def set(self) -> None:
        """Set it, and wake all tasks that wait."""
        ...

    def clear(self) -> None:
        """Take it back; a task that waits from now on waits."""
        ...

    async def wait(self, timeout_ns: int | None = None) -> bool:
        """Wait until the flag is set; return False if ``timeout_ns`` passed first."""
        ...


class Timer(Protocol):
    """A pending call (``struct timer_list``)."""

    @property
    def pending(self) -> bool:
        """Whether the call is still to come."""
        ...

    def cancel(self) -> None:
        """Forget the call; nothing happens if it was made."""
        ...


class Machine(Protocol):
    """What runs the core."""

    # ---- what it is ------------------------------------------------------------------------------------------------
    @property
    def topology(self) -> Topology:
        """The machine as it booted."""
        ...

    @property
    def profile(self) -> KernelProfile:
        """The kernel it stands for."""
        ...

    @property
    def online(self) -> CpuSet:
        """The CPUs online now."""
        ...

    def housekeeping(self, kind: HkType) -> CpuSet:
        """Return the CPUs that ``housekeeping_cpumask(kind)`` holds now (run-time isolation included)."""
        ...

    def cpu_hotplug_disable(self, holder: str) -> None:
        """Let no CPU go offline or come online until ``cpu_hotplug_enable`` was called as often.

        Whoever tries is refused with EBUSY, and a warning ``cpu-hotplug`` names the holders. A machine whose CPUs are
        not its own (the host machine) keeps count and can refuse nobody.
        """
        ...

    def cpu_hotplug_enable(self, holder: str) -> None:
        """Take one ``cpu_hotplug_disable`` back."""
        ...

    # ---- time and tasks --------------------------------------------------------------------------------------------
    def now(self) -> int:
        """Return ns since the start of the run."""
        ...

    @property
    def current(self) -> Task:
        """The task whose code is running.

        Raises:
            UsageError: called from outside any task.

        """
        ...

    def run(self, main: Callable[[], Awaitable[T]], *, comm: str = "modprobe", cpu: int | None = None) -> T:
        """Run ``main`` as a new task (pinned to ``cpu`` if given), then go on until nothing is left to run.

        Raises:
            DeadlockError: tasks wait and nothing can wake them.

        """
        ...

    def spawn(
        self, function: Callable[[], Awaitable[Any]], *, comm: str, cpus: CpuSet | None = None, cpu: int | None = None
    ) -> Task:
        """Start a task that is no worker (a shell, udev), allowed on ``cpus``, first placed on ``cpu``."""
        ...

    async def join(self, task: Task) -> Any:  # noqa: ANN401  what the task's function returned
        """Wait until a spawned task is done; return what it returned, or raise what it raised."""
        ...

    def timer(self, delay_ns: int, function: Callable[[], None]) -> Timer:
        """Call ``function`` (which must not sleep) after ``delay_ns``, outside any task."""
        ...

    def lock(self, name: str) -> Lock:
        """Return a new mutex; the name is for reports of which task waits for which."""
        ...

    def event(self, name: str) -> Event:
        """Return a new flag, not set."""
        ...

    # ---- what a probe body does ------------------------------------------------------------------------------------
    def compute(self, ns: int) -> Awaitable[None]:
        """Use a CPU for ``ns`` of CPU time."""
        ...

    def sleep(self, ns: int) -> Awaitable[None]:
        """Leave the CPU for ``ns``."""
        ...

    async def allocate(self, size: int, node: int | None = None) -> None:
        """Allocate ``size`` bytes: on ``node``, or by the task's memory policy (local node first) if None."""
        ...

    async def call(self, function: Callable[..., T], *args: object) -> T:
        """Call plain Python code in the task's own context: on the host machine in its OS thread."""
        ...

    async def set_affinity(self, cpus: CpuSet | None, *, memory_node: int | None = None) -> None:
        """Move the current task to ``cpus`` and prefer ``memory_node`` for its memory; None = as it was created.

        Raises:
            UsageError: none of ``cpus`` is online (``sched_setaffinity`` says EINVAL).

        """
        ...

    async def measure(self, body: Callable[[], Awaitable[T]]) -> tuple[T, Usage]:
        """Run ``body`` in the current task and say what it cost. If it raises, nothing is measured."""
        ...

    @property
    def ending(self) -> bool:
        """Whether the machine unwinds its tasks: what they see raised then (cancelled, closed) is none of their own."""
        ...

    # ---- workqueues (kernel/workqueue.c) ---------------------------------------------------------------------------
    @property
    def system_percpu_wq(self) -> Workqueue:
        """``events``: per-CPU."""
        ...

    @property
    def system_dfl_wq(self) -> Workqueue:
        """``events_unbound``."""
        ...

    def alloc_workqueue(
        self,
        name: str,
        *,
        unbound: bool,
        max_active: int = 0,
        min_active: int | None = None,
        scope: AffinityScope | None = None,
        strict: bool = False,
    ) -> Workqueue:
        """Make a workqueue. ``scope`` None = the profile's default; max_active 0 = 1024 (``WQ_DFL_ACTIVE``)."""
        ...

    def queue_work(self, wq: Workqueue, work: Work) -> bool:
        """Queue on the local CPU if ``wq`` may use it; return False if the work is already pending."""
        ...

    def queue_work_on(self, cpu: int, wq: Workqueue, work: Work) -> bool:
        """Queue on ``cpu``'s pool, or on the pool of the pod that holds it."""
        ...

    def queue_work_node(self, node: int, wq: Workqueue, work: Work) -> bool:
        """Queue on an unbound ``wq`` near ``node``, with the kernel's choice of CPU and its silent fall-backs.

        On a per-CPU ``wq`` it warns once (``queue-work-node``) and queues all the same.
        """
        ...

    async def flush_work(self, work: Work) -> bool:
        """Wait until the last queueing of ``work`` has run; return False if it was idle.

        Flushing a work of the class that the current worker executes is reported (``recursion``), once per class.
        """
        ...

    # ---- warnings ---------------------------------------------------------------------------------------------------
    def warn(self, kind: str, message: str) -> None:
        """Keep a warning for the trace of this run (what a kernel would print to its log)."""
        ...

    @property
    def warnings(self) -> tuple[RunWarning, ...]:
        """The warnings so far."""
        ...
