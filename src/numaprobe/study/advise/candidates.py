"""What could be set on this machine: slots of choices, and what is left aside with its reason.

A driver is worth a choice if its probes take a share of all probing that somebody would notice. The choices are
asynchronous probing of a driver, or of its module (so that whoever loads it need not wait either), the node from which
a module is loaded, the affinity scope where the release has one, and isolated CPUs at a node's end in place of its
beginning.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from numaprobe.analysis.sweep import coverage
from numaprobe.cpuset import CpuSet
from numaprobe.policies import make_policy
from numaprobe.records import NO_NODE
from numaprobe.runtime import AffinityScope
from numaprobe.runtime.parallel import PARALLEL, safety
from numaprobe.scenario import loadings
from numaprobe.study.advise.choices import ASYNC_LIST, Choice, Kind
from numaprobe.study.advise.keptout import Around
from numaprobe.study.variation import vary
from numaprobe.topology import CommandLine

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from numaprobe.records import ProbeRecord, Trace
    from numaprobe.scenario import Loading, Setting
    from numaprobe.study.advise.keptout import KeptOut, Reasons
    from numaprobe.topology import Topology

#: A driver whose probes take less than this share of all probing is left as it is: nobody would notice.
WORTH: Final = 0.01
#: Drivers that are looked at, those that take longest; a trial for each, and more for those that help.
MAX_DRIVERS: Final = 12
#: Scopes that somebody may want: a pod for each CPU or core is for special queues.
_SCOPES: Final = (AffinityScope.NUMA, AffinityScope.CACHE, AffinityScope.CACHE_SHARD, AffinityScope.SYSTEM)
#: Nodes from which a module may be loaded.
_MAX_NODES: Final = 4
#: A caller with such a name is the kernel itself, and what it loads is built in.
_KERNEL_CALLERS: Final = ("swapper", "kworker", "kthreadd")
_ISOLATION_FLAGS = re.compile(r"(?:[a-z_]+,)*")


@dataclass(slots=True)
class Candidates:
    """What could be set."""

    #: choices that exclude each other, slot by slot
    slots: dict[str, list[Choice]] = field(default_factory=dict)
    #: the same with the drivers that are kept out for a reason that is not final
    daring: dict[str, list[Choice]] = field(default_factory=dict)
    kept_out: list[KeptOut] = field(default_factory=list)
    #: synchronous drivers that take too little to be looked at, and what their probes take in all, ns
    small: list[str] = field(default_factory=list)
    small_ns: int = 0
    #: drivers whose costs nobody measured: what asynchronous probing brings them cannot be said
    guessed: list[str] = field(default_factory=list)


def as_a_stock_kernel(setting: Setting) -> Setting:
    """Return the setting under its kernel's own policy, and what a parameter made asynchronous said by that parameter.

    A replay has drivers asynchronous that were; which of them were so because ``driver_async_probe=`` named them its
    machine's command line tells, and those need not be.
    """
    stock = replace(setting, policy=make_policy(setting.profile.pci_policy), follows_kernel=True)
    if ASYNC_LIST in CommandLine.parse(setting.cmdline):
        return stock
    text = CommandLine.parse(setting.machine.info.get("cmdline", "")).get(ASYNC_LIST) or ""
    named = [driver for driver in setting.scenario.drivers if driver.name in text.split(",")]
    if "*" in text or not any(driver.probe_type == "async" for driver in named):
        return stock
    changes = {
        f"drivers[{index}].probe_type": "default"
        for index, driver in enumerate(setting.scenario.drivers)
        if driver in named and driver.name not in setting.profile.async_drivers
    }
    return vary(stock, changes, parameters={ASYNC_LIST: text})


def guessed_devices(setting: Setting) -> set[str]:
    """Return the devices whose cost is a guess (``scenario.host``: nobody measured their driver)."""
    told = (one.message.partition(": ") for one in setting.warnings if one.kind == "assumed-cost")
    return {device for device, _, text in told if text.startswith("nobody measured")}


def find_candidates(
    setting: Setting, base: Trace, reasons: Reasons, allowed: Collection[str], around: Around | None = None
) -> Candidates:
    """Return what could be set.

    Args:
        setting: as it is, as a stock kernel has it.
        base: a run of it.
        reasons: finds why a driver is kept out.
        allowed: drivers that somebody takes the responsibility for.
        around: what is known of the machine besides; drivers that are in no module are built in.

    """
    around = around or Around()
    found = Candidates()
    loaded = {name: one for one in loadings(setting.scenario) if not _is_kernel(one.comm) for name in one.drivers}
    if around.modules is not None:
        loaded = {driver: one for driver, one in loaded.items() if driver in around.modules}
    guessed = guessed_devices(setting)
    for driver, records in _worth(setting, base, found):
        if all(record.device in guessed for record in records):
            found.guessed.append(driver)
        else:
            _probe_choices(setting, driver, records, loaded.get(driver), reasons, allowed, around, found)
    for driver, records in _by_driver(base).items():
        if driver in loaded:
            _add(found, _load_choices(setting, driver, records, loaded[driver].cpu))
    _add(found, _isolation_choices(setting, base))
    if _has_unbound_work(base) or any(choice.kind is Kind.ASYNC for slot in found.daring.values() for choice in slot):
        _add(found, _scope_choices(setting))
    return found


def _add(found: Candidates, choices: Iterable[Choice], *, daring_only: bool = False) -> None:
    for choice in choices:
        found.daring.setdefault(choice.slot, []).append(choice)
        if not daring_only:
            found.slots.setdefault(choice.slot, []).append(choice)


# ---- how a driver is probed ----------------------------------------------------------------------------------------
def _by_driver(base: Trace) -> dict[str, list[ProbeRecord]]:
    found: dict[str, list[ProbeRecord]] = defaultdict(list)
    for record in base.probes:
        if not record.nested:
            found[record.driver].append(record)
    return found


def _worth(setting: Setting, base: Trace, found: Candidates) -> list[tuple[str, list[ProbeRecord]]]:
    """Return the drivers that are worth a look, those whose probes take longest first."""
    probing = coverage((record.start_ns or 0, record.end_ns or 0) for record in base.probes).union_ns
    ours = {driver.name for driver in setting.scenario.drivers}
    sums = {
        driver: sum(record.cost_ns for record in records)
        for driver, records in _by_driver(base).items()
        if driver in ours
    }
    ordered = sorted(sums, key=lambda driver: -sums[driver])
    worth = [driver for driver in ordered if sums[driver] >= WORTH * probing][:MAX_DRIVERS]
    found.small = [driver for driver in ordered if driver not in worth]
    found.small_ns = sum(sums[driver] for driver in found.small)
    records = _by_driver(base)
    return [(driver, records[driver]) for driver in worth]


def _probe_choices(
    setting: Setting,
    driver: str,
    records: Sequence[ProbeRecord],
    loading: Loading | None,
    reasons: Reasons,
    allowed: Collection[str],
    around: Around,
    found: Candidates,
) -> None:
    slot = f"{driver}: probing"
    options = setting.options
    plain = [one for one in setting.scenario.drivers if one.name == driver and one.probe_type == "default"]
    if plain and options.requested_async(driver):
        _add(found, [Choice(slot, Kind.SYNC, driver)])
        return
    if all(record.asynchronous for record in records):
        return
    why = reasons.of(driver)
    found.kept_out += [one for one in why if one.final or driver not in allowed]
    if any(one.final for one in why) or not plain:
        return
    choices = [Choice(slot, Kind.ASYNC, driver)]
    if loading is not None and loading.drivers == (driver,) and loading.async_probe is None:
        choices.append(Choice(slot, Kind.MODULE_ASYNC, driver))
    if loading is not None and around.can_bind and _all_came_with_it(setting, driver, records):
        together = "together" if safety(driver).bind == PARALLEL else ""
        choices.append(Choice(slot, Kind.BIND, driver, together))
    _add(found, choices, daring_only=bool(why) and driver not in allowed)


def _all_came_with_it(setting: Setting, driver: str, records: Iterable[ProbeRecord]) -> bool:
    """Tell whether loading the driver is what bound each of its devices."""
    by_load = {one.device for one in records if (one.path or "").startswith("driver_attach")}
    matches = {name for one in setting.scenario.drivers if one.name == driver for name in one.match or (driver,)}
    return by_load == {spec.name for spec in setting.plan.devices if (spec.compatible or spec.name) in matches}


# ---- from where it is loaded ----------------------------------------------------------------------------------------
def _load_choices(setting: Setting, driver: str, records: Iterable[ProbeRecord], cpu: int) -> Iterator[Choice]:
    """Yield the nodes of devices that were probed on another one, by whoever loaded their driver."""
    machine = setting.plan.topology
    away = Counter(
        record.device_node
        for record in records
        if not record.asynchronous
        and record.comm == record.caller_comm
        and record.device_node not in (None, NO_NODE, record.cpu_node)
    )
    for node, _ in away.most_common(_MAX_NODES):
        if node != machine.node_of(cpu) and _usable(machine, node):
            yield Choice(f"{driver}: loading", Kind.LOAD_FROM, driver, str(node))


def _usable(machine: Topology, node: int) -> CpuSet:
    found = machine.node(node)
    return CpuSet() if found is None else (found.cpus & machine.online) - machine.housekeeping.isolated


def _is_kernel(comm: str) -> bool:
    return comm.startswith(_KERNEL_CALLERS)


# ---- unbound workqueues, isolation ----------------------------------------------------------------------------------
def _has_unbound_work(base: Trace) -> bool:
    return any((record.comm or "").startswith("kworker/u") or record.asynchronous for record in base.probes)


def _scope_choices(setting: Setting) -> Iterator[Choice]:
    """Yield the scopes of this release that group the CPUs of this machine in another way."""
    machine, profile = setting.plan.topology, setting.profile
    seen = {profile.pods(machine)}
    for scope in _SCOPES:
        if scope in profile.affinity_scopes and (pods := profile.pods(machine, scope)) not in seen:
            seen.add(pods)
            yield Choice("unbound workqueues", Kind.SCOPE, "", str(scope))


def _isolation_choices(setting: Setting, base: Trace) -> Iterator[Choice]:
    """Yield the isolation that leaves the beginning of each node free, where devices of the node were probed."""
    machine = setting.plan.topology
    isolated = machine.housekeeping.isolated
    nodes = {record.device_node for record in base.probes} - {None, NO_NODE}
    moved = CpuSet()
    for node in machine.nodes:
        here = isolated & node.cpus
        moved |= moved_to_the_end(machine, node.cpus & machine.online, here) if node.id in nodes else here
    moved |= isolated - CpuSet.of(cpu for node in machine.nodes for cpu in node.cpus)
    if moved != isolated:
        same = machine.housekeeping.nohz_full == isolated
        yield Choice("isolation", Kind.ISOLATION, "", f"{_isolation_flags(setting.cmdline)}{moved}", with_nohz=same)


def moved_to_the_end(machine: Topology, node: CpuSet, isolated: CpuSet) -> CpuSet:
    """Return as many of a node's last CPUs as are isolated now: whole cores, where those are whole cores."""
    cores = [core & node for core in machine.cores if core & node]
    whole = [core for core in cores if core.issubset(isolated)]
    if CpuSet.of(cpu for core in whole for cpu in core) == isolated:
        return CpuSet.of(cpu for core in cores[len(cores) - len(whole) :] for cpu in core)
    return CpuSet.of(list(node)[len(node) - len(isolated) :])


def _isolation_flags(cmdline: str) -> str:
    """Return the flags of ``isolcpus=`` as they are said now."""
    value = CommandLine.parse(cmdline).get("isolcpus") or ""
    match = _ISOLATION_FLAGS.match(value)
    return match[0] if match else ""
