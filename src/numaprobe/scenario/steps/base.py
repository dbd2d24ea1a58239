"""A step: one thing that the caller does. What steps need of the run they are taken in, and of a guest's shell.

A step that names another task, CPU or kind of task is taken by a task of its own, as a shell with ``taskset`` would.
One with ``during`` is taken by a task of its own too, in the middle of a probe: the steps after it do not wait.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError, InternalError
from numaprobe.scenario.choice import choose
from numaprobe.scenario.quantities import Comm, NamePattern, TimeNs
from numaprobe.scenario.tables import Table, Tagged

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.drivercore import Device, Driver, DriverCore
    from numaprobe.runtime import Machine, Task

#: ``user``: a program; ``kthread``: a kernel thread that is no worker; ``kworker``: a worker, executing a work.
TaskKind = Literal["user", "kthread", "kworker"]


class MachineChanges(Protocol):
    """What steps need of a machine beyond the protocol: the virtual machine has it."""

    async def cpu_down(self, cpu: int) -> int:
        """Take a CPU offline: 0, or -EBUSY with a warning while CPU hotplug is held off."""
        ...

    async def cpu_up(self, cpu: int) -> int:
        """Bring a CPU online: 0, or -EBUSY with a warning while CPU hotplug is held off."""
        ...

    async def isolate(self, cpus: CpuSet) -> None:
        """Make these CPUs an isolated cpuset partition; the empty set dissolves it."""
        ...

    async def set_unbound_cpumask(self, cpus: CpuSet) -> int:
        """Write the unbound workqueues' CPUs: 0, or -EINVAL if none of them is possible."""
        ...

    def add_load(self, cpus: CpuSet, tasks_per_cpu: int = 1, comm: str = "load", *, pinned: bool = True) -> None:
        """Start tasks that compete for these CPUs without end."""
        ...


class StepRun(Protocol):
    """The run that a step is taken in."""

    machine: "Machine"
    core: "DriverCore"
    #: whether all steps are done: what still runs in the background is to end
    over: bool

    @property
    def hotplug(self) -> MachineChanges:
        """What the machine can do beyond the protocol.

        Raises:
            UsageError: nothing.

        """
        ...

    async def pause(self, ns: int) -> None:
        """Let time pass in the task that takes the step."""
        ...

    async def add(self, patterns: Iterable[str]) -> None:
        """Register the devices of the scenario that these names or patterns choose."""
        ...

    def here(self, patterns: Iterable[str]) -> "Mapping[str, Device]":
        """Return registered devices to choose from by these names or patterns."""
        ...

    def drivers(self, names: Iterable[str]) -> "list[Driver]":
        """Return the drivers of these names."""
        ...

    async def take(self, step: "Step", where: str) -> None:
        """Take a step, by the task it wants."""
        ...

    def start(self, step: "Step", where: str) -> "Task":
        """Take a step by a task of its own, which is returned at once."""
        ...

    def may(self, what: str) -> bool:
        """Tell whether something happens now that does not happen in a normal run."""
        ...

    def aside(self, steps: "Sequence[Step]", where: str) -> None:
        """Take steps by a task of its own, which the run's end waits for; what they name may be gone."""
        ...

    def keep(self, function: "Callable[[], Awaitable[Any]]", *, cpus: CpuSet, cpu: int) -> None:
        """Start a background task that ends with the run."""
        ...

    def check(self, name: str, *, passed: bool, detail: str) -> None:
        """Note the outcome of a check."""
        ...

    def reached(self, name: str) -> None:
        """Note that a milestone is reached."""
        ...

    def told(self, kind: str, doing: str, result: int) -> None:
        """Note what reading or writing a file of sysfs returned, if it failed: a warning of this kind."""
        ...


class Shell(Protocol):
    """A guest of the lab, for which steps are shell lines."""

    @property
    def known(self) -> Mapping[str, Any]:
        """The scenario's names of the guest's devices."""
        ...

    def added(self, names: Sequence[str], *, plugged: bool = False) -> Iterable[str]:
        """Return the lines with which these devices come; plugged: into their slots, not found by a rescan."""
        ...

    def removed(self, names: Sequence[str], *, pulled: bool = False) -> Iterable[str]:
        """Return the lines with which these devices go; pulled: out of their slots, not taken off the bus."""
        ...

    def loaded(self, drivers: Sequence[str], *, async_probe: bool | None) -> Iterable[str]:
        """Return the lines that load these drivers as modules."""
        ...

    def registered(self, drivers: Sequence[str]) -> Iterable[str]:
        """Return the lines that register these drivers."""
        ...

    def unregistered(self, drivers: Sequence[str]) -> Iterable[str]:
        """Return the lines that unregister these drivers."""
        ...

    def numvfs(self, device: str, count: int, where: str) -> Iterable[str]:
        """Return the line that writes to a device's ``sriov_numvfs``."""
        ...

    def busy(self, busy: Any, where: str) -> Iterable[str]:  # noqa: ANN401  ``cpus.Busy``, which stands above
        """Return the line that keeps CPUs busy."""
        ...

    def settled(self, where: str) -> Iterable[str]:
        """Return the line that waits until all probing is over."""
        ...

    def bus_file(self, bus: str, file: str) -> str:
        """Return a file of a bus, as one word of a shell."""
        ...

    def write(self, device: str, file: str, driver: str | None = None) -> str:
        """Return the line that writes a device's name to a file of its bus; ``{driver}`` in it: its driver's name."""
        ...

    def bound(self, device: str) -> str:
        """Return the line that fails unless a device is bound."""
        ...

    def taken(self, step: "Step", where: str) -> Iterable[str]:
        """Return the lines of a step, by the task it wants, failures noted."""
        ...


class During(Table):
    """``during``: in the middle of a probe of this device."""

    probe: NamePattern
    #: after this much of it
    after: TimeNs = 0


class Step(Tagged):
    """``[[steps]]``: one thing that the caller does, and how long it may take. See ``Tagged`` for how one is made."""

    kinds: ClassVar[dict[str, type["Step"]]] = {}
    noun: ClassVar[str] = "step"
    #: what it does to the machine itself, which nobody does to a computer that is in use
    changes_cpus: ClassVar[bool] = False
    #: in a guest: a command of the task that takes it; one of nobody in particular; or made of other lines
    shell_form: ClassVar[Literal["task", "command", "compound"]] = "task"

    #: the task that takes this step, if not the scenario's caller
    cpu: Annotated[int, Field(ge=0)] | None = None
    comm: Comm | None = None
    pinned: bool = True
    kind: TaskKind | None = None
    #: when it is taken, if not in its turn
    during: During | None = None
    #: checks on how long this step takes
    at_most: TimeNs | None = None
    at_least: TimeNs | None = None
    #: what a check is called in the report
    check: Annotated[str, Field(max_length=200)] | None = None

    @model_serializer(mode="wrap")
    def _own_keys_first(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data = write(self)
        shared = [key for key in data if key in Step.model_fields]
        return {key: data[key] for key in (*(key for key in data if key not in shared), *shared)}

    @classmethod
    def on(cls, what: object, **more: Any) -> "Step":  # noqa: ANN401  each key has its own type
        """Return a step of this kind on ``what``."""
        return cls.of(**{cls.key: what}, **more)

    # ---- what a kind says of itself --------------------------------------------------------------------------------
    async def do(self, run: StepRun, where: str) -> None:
        """Do it in the current task.

        Args:
            run: the run.
            where: the step's place in the file, for errors.

        Raises:
            InputError: it names what is not there at this moment.
            UsageError: it cannot be done now.

        """
        raise InternalError(f"{where}: step '{self.key}' does nothing")

    def shell(self, guest: Shell, where: str) -> Iterator[str]:
        """Return its lines in a guest.

        Raises:
            InputError: a guest cannot take it.

        """
        raise InputError(f"{where}: the lab cannot take the step '{self.key}'; run it on the virtual machine")

    def inside(self) -> tuple["Step", ...]:
        """Return the steps inside of this one, which stand under its own key."""
        return ()

    def names_cpus(self) -> tuple[str, CpuSet]:
        """Return the CPUs that it is about, and the key below which they stand."""
        return self.key, CpuSet()

    @property
    def what(self) -> str:
        """What it does, in the file's words: its key and names."""
        return self.key


class OnNames(Step):
    """A step about devices or drivers by name."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names or patterns."""
        names: tuple[str, ...] = self.said
        return names

    @property
    def what(self) -> str:
        """Its key and names."""
        return f"{self.key} {' '.join(self.names)}"

    def chosen(self, run: StepRun) -> "list[Device]":
        """Return the registered devices that it names."""
        here = run.here(self.names)
        return [here[name] for name in choose(self.names, here)]


def all_steps(steps: Iterable[Step], where: str) -> Iterator[tuple[str, Step]]:
    """Return every step with its place in the file, those inside of others included."""
    for index, step in enumerate(steps):
        here = f"{where}[{index}]"
        yield here, step
        yield from all_steps(step.inside(), f"{here}.{step.key}")
