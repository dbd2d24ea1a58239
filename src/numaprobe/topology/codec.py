"""The machine's JSON block: our own form, the one of ``numaprobe topology --json`` and of ``machine`` in every trace.

CPU sets are the kernel's list text. What says nothing is left out (a device without a parent has no ``parent``), but
everything else is always written, in this order, so that equal machines give equal text. Reading takes less than
writing gives: only ``nodes`` must be there; CPUs default to those of the nodes, a core to one CPU, a package to a node
and an LLC to what a package has of a node. A key that is not known is refused: a mistyped one would be lost in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError
from numaprobe.topology.model import (
    MAX_NODES,
    DeviceInfo,
    Housekeeping,
    Node,
    Topology,
    default_distances,
    partition,
    union,
)

#: Version of the form; a reader refuses what it does not know.
MACHINE_SCHEMA: Final = "numaprobe.machine/1"
#: More devices than any machine has; a longer list is a mistake or an attack.
MAX_DEVICES: Final = 200_000

_CPU_SETS: Final = ("possible", "present", "online")
_PARTITIONS: Final = ("cores", "llcs", "packages")
_TOP_KEYS: Final = frozenset(
    (*_CPU_SETS, *_PARTITIONS, "schema", "name", "nodes", "distances", "housekeeping", "devices", "info", "assumptions")
)
_HOUSEKEEPING_KEYS: Final = frozenset(("isolated", "managed_irq", "nohz_full", "unbound_cpus"))
_DEVICE_TEXTS: Final = ("name", "bus", "parent", "driver", "modalias", "physfn")

_T = TypeVar("_T")


def to_json(topology: Topology) -> dict[str, Any]:
    """Return the machine as plain JSON types."""
    return {
        "schema": MACHINE_SCHEMA,
        "name": topology.name,
        **{key: str(getattr(topology, key)) for key in _CPU_SETS},
        "nodes": [
            {"id": node.id, "cpus": str(node.cpus), "memory": node.memory, "online": node.online}
            for node in topology.nodes
        ],
        **{key: [str(group) for group in getattr(topology, key)] for key in _PARTITIONS},
        "distances": [list(row) for row in topology.distances],
        "housekeeping": _housekeeping_to_json(topology.housekeeping),
        "devices": [_device_to_json(device) for device in topology.devices],
        "info": dict(topology.info),
        **({"assumptions": list(topology.assumptions)} if topology.assumptions else {}),
    }


def _housekeeping_to_json(housekeeping: Housekeeping) -> dict[str, str | None]:
    unbound = housekeeping.unbound_cpus
    return {
        "isolated": str(housekeeping.isolated),
        "managed_irq": str(housekeeping.managed_irq),
        "nohz_full": str(housekeeping.nohz_full),
        "unbound_cpus": None if unbound is None else str(unbound),
    }


def _device_to_json(device: DeviceInfo) -> dict[str, Any]:
    block: dict[str, Any] = {"name": device.name, "bus": device.bus, "node": device.node}
    rest = {key: getattr(device, key) for key in ("parent", "driver", "modalias", "pci_class", "physfn")}
    return block | {key: value for key, value in rest.items() if value is not None}


def from_json(block: Mapping[str, Any]) -> Topology:
    """Return the machine that ``to_json`` wrote, or that somebody wrote by hand; validated.

    Raises:
        InputError: something is missing, unknown, of the wrong type or out of range; ``where`` is the path to it.

    """
    _check_keys(_object(block, "machine"), _TOP_KEYS, "machine")
    schema = block.get("schema", MACHINE_SCHEMA)
    if schema != MACHINE_SCHEMA:
        raise InputError(f"schema '{str(schema)[:60]}' is not known; this version reads {MACHINE_SCHEMA}", "machine")
    nodes = tuple(_node(item, where) for where, item in _items(block, "nodes", MAX_NODES))
    if not nodes:
        raise InputError("a machine needs at least one node", "machine.nodes")
    known = union(node.cpus for node in nodes)
    possible = _cpus(block.get("possible", str(known)), "machine.possible")
    present = _cpus(block.get("present", str(possible)), "machine.present")
    packages = _groups(block, "packages", possible) or partition((node.cpus for node in nodes), possible)
    topology = Topology(
        name=_typed(block.get("name", "machine"), str, "machine.name"),
        possible=possible,
        present=present,
        online=_cpus(block.get("online", str(present)), "machine.online"),
        nodes=nodes,
        cores=_groups(block, "cores", possible) or partition((), possible),
        llcs=_groups(block, "llcs", possible) or partition(packages, possible, [node.cpus for node in nodes]),
        packages=packages,
        distances=_distances(block, len(nodes)),
        housekeeping=_housekeeping(block.get("housekeeping", {})),
        devices=tuple(_device(item, where) for where, item in _items(block, "devices", MAX_DEVICES)),
        info=_info(block.get("info", {})),
        assumptions=tuple(_typed(item, str, where) for where, item in _items(block, "assumptions", MAX_NODES)),
    )
    topology.validate()
    return topology


def _typed(value: object, kind: type[_T], where: str) -> _T:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        words = {str: "text", int: "a whole number", bool: "true or false"}
        raise InputError(f"must be {words[kind]}, not {type(value).__name__}", where)
    return value


def _object(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"must be an object, not {type(value).__name__}", where)
    return value


def _list(value: object, where: str, limit: int) -> Sequence[Any]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InputError(f"must be a list, not {type(value).__name__}", where)
    if len(value) > limit:
        raise InputError(f"has {len(value)} entries; at most {limit} are read", where)
    return value


def _check_keys(block: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    for key in block:
        if key not in known:
            raise InputError(f"'{str(key)[:40]}' is not known; known: {', '.join(sorted(known))}", where)


def _items(block: Mapping[str, Any], key: str, limit: int) -> list[tuple[str, Any]]:
    where = f"machine.{key}"
    return [(f"{where}[{index}]", item) for index, item in enumerate(_list(block.get(key, []), where, limit))]


def _cpus(value: object, where: str) -> CpuSet:
    text = _typed(value, str, where)
    try:
        return CpuSet.parse_list(text)
    except InputError as error:
        raise InputError(error.what, where) from None


def _groups(block: Mapping[str, Any], key: str, possible: CpuSet) -> tuple[CpuSet, ...]:
    groups = [_cpus(item, where) for where, item in _items(block, key, len(possible))]
    if not all(groups):
        raise InputError("holds an empty set of CPUs", f"machine.{key}")
    return tuple(sorted(groups, key=lambda group: group.bits & -group.bits))


def _node(item: object, where: str) -> Node:
    block = _object(item, where)
    _check_keys(block, frozenset(("id", "cpus", "memory", "online")), where)
    node_id = _typed(block.get("id"), int, f"{where}.id")
    if not 0 <= node_id < MAX_NODES:
        raise InputError(f"{node_id} is not in 0-{MAX_NODES - 1}", f"{where}.id")
    memory = _typed(block.get("memory", 0), int, f"{where}.memory")
    if memory < 0:
        raise InputError(f"{memory} bytes of memory are fewer than none", f"{where}.memory")
    return Node(
        node_id,
        _cpus(block.get("cpus", ""), f"{where}.cpus"),
        memory,
        online=_typed(block.get("online", True), bool, f"{where}.online"),
    )


def _distances(block: Mapping[str, Any], count: int) -> tuple[tuple[int, ...], ...]:
    if "distances" not in block:
        return default_distances(count)
    rows = [(where, _list(row, where, MAX_NODES)) for where, row in _items(block, "distances", MAX_NODES)]
    return tuple(tuple(_typed(value, int, where) for value in row) for where, row in rows)


def _housekeeping(value: object) -> Housekeeping:
    where = "machine.housekeeping"
    block = _object(value, where)
    _check_keys(block, _HOUSEKEEPING_KEYS, where)
    unbound = block.get("unbound_cpus")
    return Housekeeping(
        isolated=_cpus(block.get("isolated", ""), f"{where}.isolated"),
        managed_irq=_cpus(block.get("managed_irq", ""), f"{where}.managed_irq"),
        nohz_full=_cpus(block.get("nohz_full", ""), f"{where}.nohz_full"),
        unbound_cpus=None if unbound is None else _cpus(unbound, f"{where}.unbound_cpus"),
    )


def _device(item: object, where: str) -> DeviceInfo:
    block = _object(item, where)
    _check_keys(block, frozenset((*_DEVICE_TEXTS, "node", "pci_class")), where)
    texts = {key: _typed(block[key], str, f"{where}.{key}") for key in _DEVICE_TEXTS if block.get(key) is not None}
    if not texts.get("name"):
        raise InputError("a device needs a name", f"{where}.name")
    pci_class = block.get("pci_class")
    return DeviceInfo(
        name=texts["name"],
        bus=texts.get("bus", ""),
        node=_typed(block.get("node", -1), int, f"{where}.node"),
        parent=texts.get("parent"),
        driver=texts.get("driver"),
        modalias=texts.get("modalias"),
        pci_class=None if pci_class is None else _typed(pci_class, int, f"{where}.pci_class"),
        physfn=texts.get("physfn"),
    )


def _info(value: object) -> dict[str, str]:
    block = _object(value, "machine.info")
    return {str(key): _typed(text, str, f"machine.info.{str(key)[:40]}") for key, text in block.items()}
