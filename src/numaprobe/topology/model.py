"""What a machine is made of, as the driver core, the scheduler and the workqueues see it.

A *CPU* is a logical CPU (a hardware thread), never a core. A *node* is a NUMA node: CPUs, memory, both, or (possible,
but offline) neither. An *LLC* is the set of CPUs that share a last-level cache: the kernel's ``cpu_llc`` domain and
the default pod of unbound workqueues until 7.0. Nothing here changes: what a run takes offline or isolates lives in
the machine that runs it.

Every CPU of ``possible`` is in exactly one core, LLC, package, and in at most one node. ``validate`` holds that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

from numaprobe.cpuset import MAX_CPUS, CpuSet
from numaprobe.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_EMPTY: Final = CpuSet()

#: ACPI SLIT: distance of a node to itself, and the kernel's default distance to another (``REMOTE_DISTANCE``).
LOCAL_DISTANCE: Final = 10
REMOTE_DISTANCE: Final = 20
#: ACPI SLIT: one byte, and this value says that there is no way.
UNREACHABLE_DISTANCE: Final = 255
#: Kernel parameters that bear on where a probe runs and that a running kernel shows: keys of ``Topology.info``.
SETTINGS: Final = ("workqueue.default_affinity_scope", "workqueue.cache_shard_size")
#: Which computer and which firmware it is, as DMI tells: keys of ``Topology.info``, and the files that each is made of,
#: in ``/sys/class/dmi/id``. The kernel's log has the same in its line ``DMI:``.
MADE_BY: Final = {"product": ("sys_vendor", "product_name"), "firmware": ("bios_version", "bios_date")}
#: The kernel's ``NUMA_NO_NODE``.
NO_NODE: Final = -1
#: ``CONFIG_NODES_SHIFT`` is at most 10: a file with more nodes is a mistake or an attack.
MAX_NODES: Final = 1024
#: Bytes of one node, 4 EiB: as of any size in a record, the sum of two fits into a signed 64-bit column.
MAX_MEMORY: Final = 2**62 - 1


@dataclass(frozen=True, slots=True)
class Node:
    """A NUMA node."""

    #: the kernel's number of the node
    id: int
    #: its possible CPUs; empty for a memory-only node
    cpus: CpuSet
    #: bytes of memory; 0 for a CPU-only node
    memory: int = 0
    #: whether the kernel has it online
    online: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """A device as sysfs, hwloc or a recorded machine shows it."""

    #: ``dev_name()``: ``0000:01:00.0``
    name: str
    #: the bus's name: ``pci``, ``virtio``; empty if on none
    bus: str
    #: -1 if the firmware gave none
    node: int = -1
    #: name of the parent device
    parent: str | None = None
    #: name of the driver it is bound to
    driver: str | None = None
    #: the match key: ``pci:v…``, as ``modalias``
    modalias: str | None = None
    #: PCI class code, 24 bits
    pci_class: int | None = None
    #: name of the physical function, if this is a virtual one
    physfn: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Housekeeping:
    """The kernel parameters that keep CPUs free of unbound kernel work (``kernel/sched/isolation.c``)."""

    #: ``isolcpus=[domain,]LIST``: out of the scheduler's domains
    isolated: CpuSet = _EMPTY
    #: ``isolcpus=managed_irq,LIST``
    managed_irq: CpuSet = _EMPTY
    #: ``nohz_full=LIST``: in the kernel's HK_TYPE_WQ complement
    nohz_full: CpuSet = _EMPTY
    #: ``workqueue.unbound_cpus=LIST``; None if not given
    unbound_cpus: CpuSet | None = None


@dataclass(frozen=True, kw_only=True)
class Topology:
    """A machine: CPUs, caches, nodes, distances, and what was said on its kernel's command line about isolation."""

    #: preset name, compact string, file or host name: for people
    name: str
    possible: CpuSet
    present: CpuSet
    online: CpuSet
    #: by id, ascending
    nodes: tuple[Node, ...]
    #: SMT siblings, by first CPU
    cores: tuple[CpuSet, ...]
    #: CPUs that share a last-level cache, by first CPU
    llcs: tuple[CpuSet, ...]
    #: sockets, by first CPU
    packages: tuple[CpuSet, ...]
    #: ``distances[i][j]`` from ``nodes[i]`` to ``nodes[j]``, as ``/sys/devices/system/node/node*/distance``
    distances: tuple[tuple[int, ...], ...]
    housekeeping: Housekeeping = Housekeeping()
    devices: tuple[DeviceInfo, ...] = ()
    #: facts in words: model, source, kernel (its release), cmdline, and the kernel parameters of SETTINGS as they are
    info: Mapping[str, str] = field(default_factory=dict)
    #: what was taken where the source is wrong or silent, a line each (``sysfsnodes``); empty for most machines
    assumptions: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What whoever trusts an answer about this machine must know, a line each."""
        stray = self.online - union(node.cpus for node in self.nodes)
        if not stray:
            return self.assumptions
        names = "1 online CPU" if len(stray) == 1 else f"{len(stray)} online CPUs"
        line = f"{names} ({stray}) in no node: probes there are on no node's side, and no node's probe is sent there"
        return (*self.assumptions, line)

    @cached_property
    def _node_of(self) -> dict[int, int]:
        return {cpu: node.id for node in self.nodes for cpu in node.cpus}

    @cached_property
    def _llc_of(self) -> dict[int, int]:
        return {cpu: index for index, llc in enumerate(self.llcs) for cpu in llc}

    @cached_property
    def _core_of(self) -> dict[int, int]:
        return {cpu: index for index, core in enumerate(self.cores) for cpu in core}

    @cached_property
    def _package_of(self) -> dict[int, int]:
        return {cpu: index for index, package in enumerate(self.packages) for cpu in package}

    @cached_property
    def _nodes_by_id(self) -> dict[int, tuple[int, Node]]:
        return {node.id: (index, node) for index, node in enumerate(self.nodes)}

    def node_of(self, cpu: int) -> int:
        """Return the id of the node that holds ``cpu``; -1 if none does (``cpu_to_node``)."""
        return self._node_of.get(cpu, -1)

    def llc_of(self, cpu: int) -> int:
        """Return the index in ``llcs`` of the LLC that holds ``cpu``."""
        return self._llc_of[cpu]

    def core_of(self, cpu: int) -> int:
        """Return the index in ``cores`` of the core that holds ``cpu``."""
        return self._core_of[cpu]

    def package_of(self, cpu: int) -> int:
        """Return the index in ``packages`` of the package that holds ``cpu``."""
        return self._package_of[cpu]

    def node(self, node_id: int) -> Node | None:
        """Return the node of this id, or None."""
        found = self._nodes_by_id.get(node_id)
        return found[1] if found else None

    def node_online(self, node_id: int) -> bool:
        """Tell whether ``node_id`` is a node of this machine that is online (``node_online``); False for -1."""
        node = self.node(node_id)
        return node is not None and node.online

    def distance(self, a: int, b: int) -> int:
        """Return the SLIT distance between two node ids; the kernel's default if one is unknown."""
        if a in self._nodes_by_id and b in self._nodes_by_id:
            return self.distances[self._nodes_by_id[a][0]][self._nodes_by_id[b][0]]
        return LOCAL_DISTANCE if a == b else REMOTE_DISTANCE

    def validate(self) -> None:
        """Hold the promises of this module.

        Raises:
            InputError: a promise does not hold; the text names the CPU or node.

        """
        if not self.online:
            raise InputError("no CPU is online; a machine needs one to probe on", self.name)
        if not self.online.issubset(self.present) or not self.present.issubset(self.possible):
            raise InputError("online CPUs must be present, and present CPUs possible", self.name)
        for kind, groups in (("core", self.cores), ("LLC", self.llcs), ("package", self.packages)):
            self._validate_partition(kind, groups)
        self._validate_nodes()
        self._validate_distances()
        self._validate_devices()

    def _validate_partition(self, kind: str, groups: tuple[CpuSet, ...]) -> None:
        seen = CpuSet()
        for group in groups:
            if group & seen:
                raise InputError(f"CPU {(group & seen).first} is in two {kind}s", self.name)
            seen |= group
        if seen != self.possible:
            odd = CpuSet(seen.bits ^ self.possible.bits)
            raise InputError(f"CPU {odd.first} is possible or in a {kind}, but not both", self.name)

    def _validate_nodes(self) -> None:
        seen = CpuSet()
        ids = [node.id for node in self.nodes]
        if ids != sorted(set(ids)) or (ids and ids[0] < 0):
            raise InputError("node ids must be distinct, ascending and not negative", self.name)
        for node in self.nodes:
            if not 0 <= node.memory <= MAX_MEMORY:
                raise InputError(f"node {node.id} has {node.memory} bytes of memory, and 4 EiB are the most", self.name)
            if node.cpus & seen:
                raise InputError(f"CPU {(node.cpus & seen).first} is in two nodes", self.name)
            if not node.cpus.issubset(self.possible):
                raise InputError(
                    f"CPU {(node.cpus - self.possible).first} of node {node.id} is not possible", self.name
                )
            seen |= node.cpus

    def _validate_distances(self) -> None:
        count = len(self.nodes)
        if len(self.distances) != count or any(len(row) != count for row in self.distances):
            raise InputError(f"{count} nodes need a {count}x{count} distance table", self.name)
        for row in self.distances:
            if min(row) < LOCAL_DISTANCE or max(row) > UNREACHABLE_DISTANCE:
                wrong = next(one for one in row if not LOCAL_DISTANCE <= one <= UNREACHABLE_DISTANCE)
                raise InputError(
                    f"distance {wrong} is not in {LOCAL_DISTANCE}-{UNREACHABLE_DISTANCE} (ACPI SLIT)", self.name
                )

    def _validate_devices(self) -> None:
        for device in self.devices:
            if device.node != NO_NODE and device.node not in self._nodes_by_id:
                ids = ", ".join(str(node.id) for node in self.nodes[:20])
                raise InputError(f"device {device.name} is on node {device.node}; nodes: {ids}", self.name)


def default_distances(count: int) -> tuple[tuple[int, ...], ...]:
    """Return the kernel's default distance table for ``count`` nodes."""
    return tiered_distances(count, (), REMOTE_DISTANCE)


def tiered_distances(nodes: int, tiers: Sequence[tuple[int, int]], far: int) -> tuple[tuple[int, ...], ...]:
    """Return a distance table in tiers.

    Args:
        nodes: number of nodes.
        tiers: (size, distance), smallest first: nodes in the same ``size`` consecutive ones are at ``distance``.
        far: distance of all others.

    """
    rows = []
    for node in range(nodes):
        row = [far] * nodes
        for size, distance in reversed(tiers):
            group = range(node // size * size, min(nodes, (node // size + 1) * size))
            row[group.start : group.stop] = [distance] * len(group)
        row[node] = LOCAL_DISTANCE
        rows.append(tuple(row))
    return tuple(rows)


def symmetric(
    name: str,
    *,
    nodes: int = 1,
    llcs: int = 1,
    cores: int = 1,
    smt: int = 1,
    memory: int = 2**30,
    interleaved: bool = True,
    housekeeping: Housekeeping | None = None,
    packages: int | None = None,
) -> Topology:
    """Return a machine whose parts are all alike.

    Args:
        name: for people.
        nodes: NUMA nodes of the machine.
        llcs: LLCs of a node.
        cores: cores of an LLC.
        smt: hardware threads of a core.
        memory: bytes of a node.
        interleaved: number first the first threads of all cores, then the second threads (as firmware does on x86:
            sibling = CPU ± number of cores); False: siblings next to each other.
        housekeeping: kernel parameters of isolation.
        packages: sockets, among which the nodes are shared evenly; None = one for each node.

    Raises:
        InputError: a count is below 1, more CPUs or nodes than a kernel has, nodes that do not divide by packages.

    """
    sockets = nodes if packages is None else packages
    _check_counts(name, {"node": nodes, "LLC": llcs, "core": cores, "thread": smt, "package": sockets})
    if nodes > MAX_NODES or nodes * llcs * cores * smt > MAX_CPUS:
        raise InputError(f"a machine has at most {MAX_NODES} nodes and {MAX_CPUS} CPUs", name)
    if nodes % sockets:
        raise InputError(f"{nodes} nodes cannot be shared evenly among {sockets} packages", name)
    per_node = llcs * cores
    total = nodes * per_node

    def core_cpus(core: int) -> CpuSet:
        return CpuSet.of(core + t * total if interleaved else core * smt + t for t in range(smt))

    def groups(size: int) -> tuple[CpuSet, ...]:
        return tuple(union(core_cpus(c) for c in range(first, first + size)) for first in range(0, total, size))

    every = CpuSet((1 << total * smt) - 1)
    return Topology(
        name=name,
        possible=every,
        present=every,
        online=every,
        nodes=tuple(Node(n, cpus, memory) for n, cpus in enumerate(groups(per_node))),
        cores=groups(1),
        llcs=groups(cores),
        packages=groups(total // sockets),
        distances=default_distances(nodes),
        housekeeping=housekeeping or Housekeeping(),
    )


def _check_counts(name: str, counts: Mapping[str, int]) -> None:
    for kind, count in counts.items():
        if count < 1:
            raise InputError(f"a machine needs at least one {kind}", name)


def union(sets: Iterable[CpuSet]) -> CpuSet:
    """Return the union of these sets."""
    bits = 0
    for one in sets:
        bits |= one.bits
    return CpuSet(bits)


def partition(groups: Iterable[CpuSet], universe: CpuSet, cut: Sequence[CpuSet] = ()) -> tuple[CpuSet, ...]:
    """Return ``groups`` as a partition of ``universe``, by first CPU.

    What a source does not tell is filled in as the kernel does: a CPU in no group is a group of its own. Repeated
    groups count once; of overlapping ones the first to name a CPU has it.

    Args:
        groups: sets as a file or sysfs gives them; what lies outside of ``universe`` is dropped.
        universe: all possible CPUs.
        cut: no group reaches across these. The kernel ends an LLC at the border of a node (``match_llc`` in
            ``arch/x86/kernel/smpboot.c``, for sub-NUMA clusters), though the cache's own file in sysfs shows all of it.

    """
    border_of = {cpu: part.bits for part in cut for cpu in part}
    nowhere = ~union(cut).bits if border_of else -1
    rest = universe.bits
    found: list[int] = []
    for bits in dict.fromkeys(group.bits for group in groups):
        left = bits & rest
        rest &= ~left
        while left:
            part = left & border_of.get((left & -left).bit_length() - 1, nowhere)
            found.append(part)
            left ^= part
    found += [1 << cpu for cpu in CpuSet(rest)]
    return tuple(CpuSet(bits) for bits in sorted(found, key=lambda bits: bits & -bits))
