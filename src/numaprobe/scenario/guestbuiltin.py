"""Drivers that a guest's kernel has built in: what happens while it boots, and which steps are left to take.

A built-in driver is registered by the kernel's first task (``swapper/0``, bound to no CPU: ``kernel_init()``,
init/main.c) before any program runs. The step that loads it *was taken at boot* then: its probes are those of the boot,
which kernel parameters record (``kernel/lab/atboot.py``), and CPU and task of the step count for nothing. Everything
behind it (``bind``, ``unbind``, a rescan, CPUs that go) is taken as always. Two things must be undone before the steps:
where a scenario switches a bus's own probing off, the devices were bound nevertheless; and one that adds devices later
has them taken off the bus, as from any guest. What cannot be is refused with its place in the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError
from numaprobe.listing import first_few
from numaprobe.scenario.steps import Add, Load, Register, Unregister, all_steps
from numaprobe.scenario.taking import steps_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numaprobe.scenario.schema import Scenario
    from numaprobe.scenario.steps import Step

#: the kernel's first task, until it runs a program
BOOT_TASK: Final = "swapper/0"


def built_in_drivers(scenario: Scenario, built_in: Collection[str]) -> tuple[str, ...]:
    """Return the scenario's drivers that are built in, in its order."""
    return tuple(dict.fromkeys(one.name for one in scenario.drivers if one.name in built_in))


def as_built_in(scenario: Scenario, built_in: Collection[str]) -> Scenario:
    """Return ``scenario`` as a kernel with these drivers built in takes it: they are registered by its first task.

    Raises:
        InputError: a step that only a module can take.

    """
    mine = built_in_drivers(scenario, built_in)
    if not mine:
        return scenario
    for place, step in all_steps(steps_of(scenario), "steps"):
        if isinstance(step, Unregister) and (one := _first(step.names, mine)):
            raise InputError(f"{place}: {one} is built into this kernel and cannot be unloaded", scenario.where)
        if "." in place and isinstance(step, Load | Register) and (one := _first(step.names, mine)):
            raise InputError(
                f"{place}: {one} is built into this kernel: nothing else happens while it is registered", scenario.where
            )
    return scenario.model_copy(update={"steps": tuple(_steps(scenario, mine))})


def _first(names: Collection[str], mine: Collection[str]) -> str | None:
    return next((name for name in names if name in mine), None)


def _steps(scenario: Scenario, mine: Collection[str]) -> Iterator[Step]:
    before: str | None = None
    for index, step in enumerate(steps_of(scenario)):
        place = f"steps[{index}]"
        if not isinstance(step, Load | Register):
            before = before if isinstance(step, Add) else before or place
            yield step
            continue
        at_boot = tuple(name for name in step.names if name in mine)
        rest = tuple(name for name in step.names if name not in mine)
        if at_boot:
            if before is not None:
                raise InputError(
                    f"{place}: {at_boot[0]} is built into this kernel, and was registered before {before}",
                    scenario.where,
                )
            if isinstance(step, Load) and step.async_probe is not None:
                raise InputError(
                    f"{place}.async_probe: {at_boot[0]} is built into this kernel, and this is a parameter of modules; "
                    "give the driver a probe_type",
                    scenario.where,
                )
            yield Register.on(at_boot, comm=BOOT_TASK, pinned=False, check=step.check)
        if rest:
            before = before or place
            yield step.model_copy(update={step.field: rest}) if at_boot else step


def _over(step: Step, mine: Collection[str]) -> bool:
    """Tell whether nothing is left of a step when the kernel has booted."""
    return isinstance(step, Add) or (isinstance(step, Register) and all(name in mine for name in step.names))


def built_in_notes(
    scenario: Scenario, mine: Collection[str], at_boot: Collection[str], later: Collection[str]
) -> Iterator[str]:
    """Yield a sentence for each built-in driver: what the boot did of its steps, and what was undone.

    Args:
        scenario: see ``as_built_in``.
        mine: its drivers that are built in.
        at_boot: those whose probes at boot are the scenario's.
        later: those of which devices are added after the driver.

    """
    for name in mine:
        if name in at_boot:
            did = f"probed its devices while the kernel booted, by {BOOT_TASK}, whatever CPU and task its step says"
        elif name in later:
            did = "probed its devices while the kernel booted; they are taken off the bus before the steps"
        else:
            did = "bound its devices while the kernel booted; they are unbound before the steps"
        left = [place for place, step in all_steps(steps_of(scenario), "steps") if not _over(step, mine)]
        still = f"; taken as they stand: {first_few(left, 6)}" if left else "; no step is left to take"
        yield f"{name} is built in and {did}{still}"
