"""What the commands about real devices share: the machine, the choice of devices, a plan and its forecast.

``--root`` puts a tree in the place of ``/``: for looking at a recorded machine, and for tests. Nothing is ever written
below another root by these commands.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from numaprobe.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numaprobe.bringup.forecast import Forecast
    from numaprobe.bringup.guard import Guard
    from numaprobe.bringup.plan import Allowance, Plan
    from numaprobe.bringup.planner import Wish
    from numaprobe.bringup.senses import Senses
    from numaprobe.bringup.sysfs import Sysfs

DEVICES_HELP: Final = "Name, pattern, driver=, class=, id=, node=, group= or bus=."
Root = Annotated[Path | None, typer.Option("--root", metavar="DIR", help="Look below DIR in place of /.")]


@dataclass(frozen=True, slots=True)
class OpenedMachine:
    """The machine that commands look at."""

    sysfs: Sysfs
    senses: Senses


def open_machine(root: Path | None = None) -> OpenedMachine:
    """Return this machine, or the one whose files are below ``root``.

    Raises:
        MissingInterfaceError: there is no sysfs, or it is something else.

    """
    from numaprobe.bringup.root import Root as Door
    from numaprobe.bringup.senses import LiveSenses, RecordedSenses
    from numaprobe.bringup.sysfs import Sysfs as Devices

    door = Door(root or "/")
    door.must_have_sysfs()
    return OpenedMachine(Devices(door), LiveSenses() if door.is_live else RecordedSenses())


def parse_allowances(texts: Sequence[str]) -> tuple[Allowance, ...]:
    """Return what ``--allow DEVICE=REASON`` allows.

    Raises:
        InputError: not of that form.

    """
    from numaprobe.bringup.plan import Allowance as Allowed

    found = []
    for text in texts:
        device, equals, code = text.rpartition("=")
        if not (device and equals and code):
            raise InputError(f"'{text[:80]}' allows nothing; write --allow DEVICE=REASON, as the refusal says")
        found.append(Allowed(device=device, code=code))
    return tuple(found)


def plan_changes(machine: OpenedMachine, terms: Sequence[str], wish: Wish, guard: Guard) -> Plan:
    """Return the plan for the devices that the terms choose.

    Raises:
        InputError: no term, or terms that choose nothing.
        MissingInterfaceError: a driver is not loaded.

    """
    from numaprobe.bringup.planner import make_plan
    from numaprobe.bringup.select import find, select

    if not terms:
        raise InputError(f"{wish.action} what? Name devices, or choose them: driver=nvme, class=network, node=1")
    for allowance in guard.allowances:
        find(machine.sysfs, allowance.device)
    return make_plan(machine.sysfs, guard, select(machine.sysfs, terms), wish)


def foresee(machine: OpenedMachine, plan: Plan) -> Forecast:
    """Return where the plan's probes will run on this machine, and how long they take.

    Raises:
        InputError: the machine cannot be simulated.

    """
    from numaprobe.bringup.forecast import forecast
    from numaprobe.topology import read_sysfs

    door = machine.sysfs.root
    return forecast(plan, read_sysfs(door.at("sys"), proc=door.at("proc"), devices=False))
