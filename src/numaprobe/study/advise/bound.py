"""What could not be faster even with a CPU for each probe: the critical chain.

A probe cannot take less than its own computing and sleeping, however it is placed, and a device cannot be probed to the
end before those that supply it. So no setting, and no policy either, makes a run shorter than its longest chain of
suppliers and consumers; nor than what all probes hold one lock for, which one at a time can have.

It is a bound from below: what is left out (what is loaded after what, pauses between the steps, children inside of a
probe) can only make the true one larger. What is in doubt is read as the least.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from numaprobe.listing import first_few
from numaprobe.scenario.phases import Fail, HoldLock
from numaprobe.scenario.phases.base import spans_of
from numaprobe.scenario.readas import ReadAs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numaprobe.records import Trace
    from numaprobe.scenario import Setting
    from numaprobe.scenario.phases import Phase
    from numaprobe.scenario.plan import DeviceSpec


#: A run takes factors in millionths, and cuts each phase to whole ns: a bound is below both.
_ROUNDED: Final = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The least that the makespan can be."""

    ns: int
    #: devices, each the supplier of the next; those of a lock, where that is what bounds
    devices: tuple[str, ...]
    #: of the lock that bounds; None: a chain does
    lock: str | None = None
    #: of a boot: the moment that does not come earlier with every driver asynchronous
    moment: str | None = None

    @property
    def reason(self) -> str:
        """What bounds, in words."""
        if self.moment is not None:
            return "what the kernel does besides, with every driver asynchronous"
        shown = first_few(self.devices, 3)
        if self.lock is not None:
            return f"the lock '{self.lock}', which one probe at a time has ({shown})"
        if len(self.devices) > 1:
            return f"the chain {' → '.join(self.devices)}"
        return f"the probe of {shown}"


def bound_of(setting: Setting, base: Trace) -> Bound:
    """Return the bound of a setting, whatever its settings and policy.

    Args:
        setting: what is run.
        base: a run of it, which says which driver bound what.

    """
    specs = {(spec.bus, spec.name): spec for spec in setting.plan.devices}
    drivers = {(driver.bus, driver.name): driver for driver in setting.scenario.drivers}
    shared = setting.scenario.shared
    costs: dict[str, int] = {}
    locks: dict[str, dict[str, int]] = defaultdict(dict)
    for record in base.probes:
        spec = specs.get((record.bus or "", record.device))
        driver = drivers.get((record.bus or "", record.driver))
        if spec is None or driver is None or record.result != "0":
            continue
        phases = driver.phases if spec.phases is None else spec.phases
        least = (1 - driver.jitter) * driver.spread_as(ReadAs.LEAST)
        cost = costs[spec.name] = _cost(phases, least)
        held = [(one.lock, min(one.hold_as(ReadAs.LEAST), cost)) for one in shared if driver.name in one.drivers]
        for lock, ns in (*_held(phases, least), *held):
            locks[lock][spec.name] = locks[lock].get(spec.name, 0) + ns
    bounds = [_longest_chain(setting.plan.devices, costs)]
    bounds += [Bound(ns=sum(held.values()), devices=tuple(held), lock=lock) for lock, held in locks.items()]
    return max(bounds, key=lambda bound: bound.ns)


def _cost(phases: Sequence[Phase], least: float) -> int:
    """Return the least that a call of these phases takes, up to where it fails for good; least: as a factor."""
    ends = (index for index, phase in enumerate(phases) if isinstance(phase, Fail) and phase.attempts is None)
    done = phases[: next(ends, len(phases))]
    whole = min(sum(spans_of(done, read)) for read in ReadAs)
    return whole if least == 1 else max(0, int(whole * (least - _ROUNDED)) - len(done))


def _held(phases: Iterable[Phase], least: float) -> Iterable[tuple[str, int]]:
    for phase in phases:
        if isinstance(phase, HoldLock):
            yield phase.hold.lock, _cost(phase.inside(), least)
            yield from _held(phase.inside(), least)


def _longest_chain(devices: Iterable[DeviceSpec], costs: dict[str, int]) -> Bound:
    """Return the longest chain of suppliers; they never wait in a circle (``plan``)."""
    suppliers = {
        spec.name: [name for name in spec.suppliers if name in costs] for spec in devices if spec.name in costs
    }
    best: dict[str, tuple[int, str | None]] = {}
    for name in suppliers:
        todo = [name]
        while todo:
            device = todo[-1]
            missing = [one for one in suppliers.get(device, ()) if one not in best]
            if missing:
                todo += missing
                continue
            todo.pop()
            before = max(((best[one][0], one) for one in suppliers.get(device, ())), default=(0, None))
            best[device] = costs[device] + before[0], before[1]
    last = max(best, key=lambda device: best[device][0], default=None)
    if last is None:
        return Bound(ns=0, devices=())
    chain, at = [last], best[last][1]
    while at is not None:
        chain.append(at)
        at = best[at][1]
    return Bound(ns=best[last][0], devices=tuple(reversed(chain)))
