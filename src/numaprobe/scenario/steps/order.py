"""Steps about order: at the same time, one after the other, and waiting."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from numaprobe.scenario.quantities import TimeNs
from numaprobe.scenario.steps.base import Shell, Step, StepRun

#: Steps inside of one.
_Inner = Annotated[tuple[Step, ...], Field(strict=False, min_length=1, max_length=4096)]


class Parallel(Step):
    """Steps taken at the same time, each by a task of its own."""

    shell_form: ClassVar[Literal["task", "command", "compound"]] = "compound"

    parallel: _Inner

    async def do(self, run: StepRun, where: str) -> None:
        """Start all, then wait for each."""
        for task in [run.start(step, f"{where}.parallel[{index}]") for index, step in enumerate(self.parallel)]:
            await run.machine.join(task)

    def shell(self, guest: Shell, where: str) -> Iterator[str]:
        """Run each in the background, and wait for all."""
        for index, step in enumerate(self.parallel):
            yield f"{{ {'; '.join(guest.taken(step, f'{where}.parallel[{index}]'))}; }} &"
        yield "wait"

    def inside(self) -> tuple[Step, ...]:
        """Return them."""
        return self.parallel


class Sequence(Step):
    """Steps taken one after the other (inside ``parallel``)."""

    shell_form: ClassVar[Literal["task", "command", "compound"]] = "compound"

    sequence: _Inner

    async def do(self, run: StepRun, where: str) -> None:
        """Take them."""
        for index, step in enumerate(self.sequence):
            await run.take(step, f"{where}.sequence[{index}]")

    def shell(self, guest: Shell, where: str) -> Iterator[str]:
        """Run one after the other."""
        for index, step in enumerate(self.sequence):
            yield from guest.taken(step, f"{where}.sequence[{index}]")

    def inside(self) -> tuple[Step, ...]:
        """Return them."""
        return self.sequence


class Maybe(Step):
    """Steps that may be taken, one after the other by a task of its own, at any moment from here on.

    A run does not take them. Whoever explores every order is asked, and has them come at every moment: a device
    vanishes, a CPU goes offline, a user writes to a file. What they name may be gone by then: nothing happens.
    """

    shell_form: ClassVar[Literal["task", "command", "compound"]] = "compound"

    maybe: _Inner

    async def do(self, run: StepRun, where: str) -> None:
        """Have them taken, if it is so chosen."""
        if run.may(self.what):
            run.aside(self.maybe, f"{where}.maybe")

    def shell(self, guest: Shell, where: str) -> Iterator[str]:
        """Do nothing."""
        yield ":"

    def inside(self) -> tuple[Step, ...]:
        """Return them."""
        return self.maybe

    @property
    def what(self) -> str:
        """Its steps."""
        return ", ".join(step.what for step in self.maybe)


class Pause(Step):
    """Time passes."""

    shell_form: ClassVar[Literal["task", "command", "compound"]] = "compound"

    wait: TimeNs

    async def do(self, run: StepRun, where: str) -> None:
        """Sleep."""
        await run.pause(self.wait)

    def shell(self, guest: Shell, where: str) -> Iterator[str]:
        """Sleep."""
        yield f"sleep {self.wait / 1e9:.3f}"


class Mark(Step):
    """A moment of the run to note: it takes no time, and stands in the trace as a milestone."""

    mark: Annotated[str, Field(min_length=1, max_length=80)]

    async def do(self, run: StepRun, where: str) -> None:
        """Note it."""
        run.reached(self.mark)


class Settle(Step):
    """``wait_for_device_probe()``, again for each retry that was triggered meanwhile."""

    shell_form: ClassVar[Literal["task", "command", "compound"]] = "compound"

    settle: Literal[True]

    async def do(self, run: StepRun, where: str) -> None:
        """Wait until no probe is under way, nor a retry."""
        await run.core.settle()

    def shell(self, guest: Shell, where: str) -> Iterator[str]:
        """Wait as the guest can."""
        return iter(guest.settled(where))
