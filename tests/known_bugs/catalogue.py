"""The list: which program is which bug, and what a search must say of its buggy variant."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from known_bugs import core, life, pci
from numaprobe.schedules import Program

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.virtual.choosing import ChoosingMachine

    Written = Callable[..., Awaitable[Any]]


@dataclass(frozen=True)
class Bug:
    """One bug."""

    number: str
    title: str
    #: what a search must say: a verdict, or ``race`` for two outcomes
    oracle: str
    written: Written
    #: where the fix is
    fix: str = ""

    def program(self, *, fixed: bool) -> Program:
        """Return a variant; its tasks share nothing but what the machine sees."""
        name = f"{self.number} {'fixed' if fixed else 'buggy'}"
        return Program(partial(self.written, fixed=fixed), name=name, opaque=False)


@dataclass(frozen=True)
class Control:
    """Something that is no bug, and was reported as one."""

    number: str
    title: str
    written: Callable[[ChoosingMachine], Awaitable[Any]]

    def program(self) -> Program:
        """Return it."""
        return Program(self.written, name=self.number, opaque=False)


BUGS = (
    Bug("K01", "device attach schedules its async helper under the device lock", "deadlock", core.k01, "b232b02bf3c2"),
    Bug("K02", "the twin in driver attach", "deadlock", core.k02, "70fe758352ca"),
    Bug("K03", "resume schedules async functions under the list mutex", "deadlock", core.k03, "7839d0078e0d"),
    Bug("K04", "async attach outlives the device", "use-after-end", life.k04, "3451a495ef24"),
    Bug("K06", "a probe loads a module whose init waits for all async calls", "deadlock", core.k06, "774a1221e862"),
    Bug("K07", "consumers fill a queue's limit and wait for suppliers behind it", "stall", core.k07, "bf52b1ac6ab4"),
    Bug("K08", "a trigger is lost while a probe is about to defer", "race", life.k08, "58b116bce136"),
    Bug("K10", "wait for probes under way with the bus lock held", "deadlock", core.k10, "ca6bf264f6d8"),
    Bug("K11", "two unregistrations of one device", "use-after-end", life.k11, "8aac0e233891"),
    Bug("K12", "driver_override freed while match reads it", "use-after-end", life.k12, "cb3d1049f4ea"),
    Bug("K13", "a driver registered in a probe walks a bus that locks for match", "deadlock", core.k13, "2026 revert"),
    Bug("K14", "uevent_show takes the device lock", "deadlock", core.k14, "15fffc6a5624"),
    Bug("K15", "a device is bound before it is whole", "race", life.k15, "READY flag, v4"),
    Bug("K17", "the root mount waits for running probes only", "race", life.k17, "35a672363ab3"),
    Bug("K18", "an async call waits for all async calls", "deadlock", core.k18, "d4d5291c8cd4"),
    Bug("K19", "remove waits for a domain with a lock that its calls need", "deadlock", core.k19, "21e6ba3f0e02"),
    Bug("K20", "a probe waits for a work on a frozen queue", "deadlock", core.k20, "00a0fc719c0b"),
    Bug("K21", "PF removal takes the rescan lock twice", "deadlock", pci.k21, "2fa119c0e5e5"),
    Bug("K22", "rescan lock and device lock, both ways", "deadlock", pci.k22, "under review"),
    Bug("K23", "pciehp: reset lock and device lock, both ways", "deadlock", pci.k23, "f5eff5591b8f"),
    Bug("K25", "a work removes a port whose remove flushes the work's queue", "deadlock", pci.k25, "c2be6f93b383"),
    Bug("K26", "two children read, modify and write the bridge's command register", "race", pci.k26, "40f11adc7cd9"),
    Bug("K27", "two identical devices get the same number", "race", pci.k27, "the driver's"),
    Bug("K29", "runtime PM allowed before the BARs are assigned", "race", pci.k29, "51c0996dadae"),
    Bug("K31", "flush of the whole queue with rtnl held", "deadlock", core.k31, "b89deed32ccc"),
    Bug("K32", "USB authorized locks the parent, whose holder drains it", "deadlock", core.k32, "80ba43e9f799"),
    Bug("K33", "a late initialisation overwrites progress", "use-after-end", life.k33, "8887abccf8aa"),
)

CONTROLS = (
    Control("F1", "two work_on_cpu() calls of one class that never meet", core.f1),
    Control("F2", "a VF's lock inside its PF's, of one class", pci.f2),
    Control("F5", "asynchronous probes under their parent's lock: slow, and no bug", core.f5),
)
