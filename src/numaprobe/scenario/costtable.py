"""What the probes of known drivers cost: the table ``costs.toml``, and what users add to it from traces of their own.

An own trace (``--costs TRACE``, of any machine) teaches what a driver's probe takes by itself, computing and sleeping
(``analysis.sharing.own``): probes that were alone, or whose waits for others are told. It is kept by driver *and*
kernel, as drivers move work in and out of their probes from release to release: nvme's reset is part of its probe since
6.2. Asked for a driver, the table answers with what was measured on the same kernel profile, else on another
one, which is said, else with what the built-in table has.
"""

from __future__ import annotations

import tomllib
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from numaprobe.analysis.sharing.company import divided
from numaprobe.analysis.sharing.own import own_costs
from numaprobe.errors import InputError
from numaprobe.runtime import closest_profile
from numaprobe.units import parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numaprobe.analysis.sharing.company import Met
    from numaprobe.records import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverCost:
    """What one driver's probe takes by itself, in ns."""

    computing_ns: int
    sleeping_ns: int
    #: the kernel that it was measured on; "": the built-in table's, which says it in words
    kernel: str
    #: probes that showed it, and in which traces; 0: the built-in table's
    probes: int
    source: str

    @property
    def share(self) -> float:
        """Which share of it is computing."""
        return self.computing_ns / max(1, self.computing_ns + self.sleeping_ns)

    @property
    def phases(self) -> list[dict[str, str]]:
        """The phases of a scenario's driver: half of the sleep, what it computes, the other half."""
        first = self.sleeping_ns // 2
        spans = (("sleep", first), ("compute", self.computing_ns), ("sleep", self.sleeping_ns - first))
        return [{kind: f"{ns}ns"} for kind, ns in spans if ns]


@dataclass(frozen=True, slots=True)
class CostTable:
    """The built-in table, and what own traces add to it."""

    #: driver and name of a kernel profile -> what it costs there
    own: Mapping[tuple[str, str], DriverCost] = field(default_factory=dict)

    def find(self, driver: str, profile: str) -> DriverCost | None:
        """Return what was measured of a driver on a kernel, else elsewhere; None: nobody measured it on hardware."""
        exact = self.own.get((driver, profile))
        others = [cost for (name, _), cost in sorted(self.own.items()) if name == driver]
        return exact or (others[-1] if others else _built_in().get(driver))

    def measured(self, driver: str) -> bool:
        """Tell whether an own trace shows what a driver's probe costs, on whatever kernel."""
        return any(name == driver for name, _ in self.own)

    def entry(self, driver: str, profile: str) -> Mapping[str, Any] | None:
        """Return a driver's entry as the built-in file has it (``kind``, ``phases``, …); None: it is not known."""
        known: Mapping[str, Any] | None = built_in_costs()["drivers"].get(driver)
        cost = self.find(driver, profile) if self.own else None
        if cost is None or not cost.probes:
            return known
        return {**(known or {}), "kind": "measured", "source": cost.source, "phases": cost.phases}


def built_in_costs() -> dict[str, Any]:
    """Return the table of what the probes of known drivers cost: ``costs.toml``."""
    return tomllib.loads((files("numaprobe.scenario") / "costs.toml").read_text(encoding="utf-8"))


@cache
def _built_in() -> dict[str, DriverCost]:
    drivers: dict[str, Any] = built_in_costs()["drivers"]
    return {name: _of_file(entry) for name, entry in drivers.items() if entry["kind"] == "measured"}


def _of_file(entry: Mapping[str, Any]) -> DriverCost:
    sums = {kind: sum(parse_time(one[kind]) for one in entry["phases"] if kind in one) for kind in ("compute", "sleep")}
    return DriverCost(
        computing_ns=sums["compute"], sleeping_ns=sums["sleep"], kernel="", probes=0, source="the costs table"
    )


def cost_table(traces: Sequence[Trace]) -> CostTable:
    """Return the built-in table with what these traces add.

    Raises:
        InputError: one of them tells of no driver what its probe takes by itself.

    """
    groups: dict[str, list[Trace]] = defaultdict(list)
    for trace in traces:
        groups[closest_profile(trace.kernel).name].append(trace)
    own = {}
    for profile, group in groups.items():
        found = [(trace, divided(trace.probes)) for trace in group]
        for trace, probes in found:
            if not own_costs([probes]).costs:
                raise InputError(_teaches_nothing(probes), trace.scenario or "trace")
        own.update(_of_kernel(profile, found))
    return CostTable(own)


def _of_kernel(profile: str, found: Sequence[tuple[Trace, list[Met]]]) -> dict[tuple[str, str], DriverCost]:
    costs = own_costs([probes for _, probes in found]).costs
    table = {}
    for (driver, device), cost in costs.items():
        if device:
            continue
        used = [(trace, sum(met.driver == driver for met in probes)) for trace, probes in found]
        told = [(trace, count) for trace, count in used if count]
        table[driver, profile] = DriverCost(
            computing_ns=cost.running_ns,
            sleeping_ns=cost.sleeping_ns,
            kernel=told[0][0].kernel or profile,
            probes=sum(count for _, count in told),
            source=_names(trace for trace, _ in told),
        )
    return table


def _names(traces: Iterable[Trace]) -> str:
    return ", ".join(dict.fromkeys(trace.scenario or "trace" for trace in traces))


def _teaches_nothing(probes: Sequence[Met]) -> str:
    if not probes:
        return "teaches no cost: it does not tell when its probes ran and slept (record with scheduler events)"
    return (
        "teaches no cost: no probe was alone, and what they slept while others ran may be waits (record them one by "
        "one, or with --locks)"
    )
