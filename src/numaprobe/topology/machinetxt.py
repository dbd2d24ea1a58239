"""``machine.txt``: the few lines that describe a guest whose probes were traced (``tests/data/kernel``).

One fact a line, in this order: ``uname -a``; the command line; then, recognised by their first word::

    node0 0-3 dist 10 20                                    a node: CPUs, distances to the nodes in order
    0000:81:00.0 class=0x010802 node=1 localcpus=4-7        a PCI device
    virtio0 parent=0000:84:00.0 pnode=1 node=               another device; without a node it has its parent's
    isolated 4-5                                            /sys/devices/system/cpu/isolated
    wq_unbound cf iso 30                                    the unbound cpumask, and what isolation took of it
    affscope cache_shard                                    the workqueues' default affinity scope
    cpu0 0-3 cache 0 0 0 0-3                                package of the CPU, and which CPUs share each of its caches

Not every CPU has a line: those of the same node are taken to be alike (the guests were made so). Symbols and kprobe
definitions, which the readers of traces need, are passed over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from numaprobe.cpuset import MAX_CPUS, CpuSet
from numaprobe.errors import InputError
from numaprobe.reading.files import as_text, read_document
from numaprobe.topology.cmdline import CommandLine
from numaprobe.topology.isolation import housekeeping_from_cmdline
from numaprobe.topology.model import MAX_NODES, SETTINGS, DeviceInfo, Node, Topology, partition, union

_NODE = re.compile(r"node(\d{1,4}) (\S*) ?dist((?: \d{1,3})+)", re.ASCII)
_PCI = re.compile(r"(\S+) class=0x([0-9a-fA-F]{1,6}) node=(-?\d{1,4})(?: localcpus=\S*)?", re.ASCII)
_CHILD = re.compile(r"(\D+)\d+ parent=(\S+) pnode=(-?\d{1,4}) node=(-?\d{0,4})", re.ASCII)
#: Where sysfs showed nothing (no topology directory, no caches) the guest's script left the field empty.
_CPU = re.compile(r"cpu(\d{1,5})(?: +(?!cache\b)(\S+))? +cache(.*)", re.ASCII)
_HEADER_LINES: Final = 2
#: The word of ``uname -a`` that is the release.
_RELEASE_WORD: Final = 2


@dataclass(slots=True)
class _Found:
    nodes: list[Node] = field(default_factory=list)
    distances: list[tuple[int, ...]] = field(default_factory=list)
    devices: list[DeviceInfo] = field(default_factory=list)
    packages: list[CpuSet] = field(default_factory=list)
    llcs: list[CpuSet] = field(default_factory=list)
    cores: list[CpuSet] = field(default_factory=list)
    info: dict[str, str] = field(default_factory=dict)
    isolated: CpuSet | None = None


def read_machine_txt(path: Path | str, *, name: str | None = None) -> Topology:
    """Return the guest that a ``machine.txt`` describes, validated; its kernel is ``info["kernel"]``.

    Raises:
        InputError: the file is missing, or a line is not what its first word says; ``where`` has the line.

    """
    data = read_document(Path(path), "machine.txt")
    if data is None:
        raise InputError("does not exist", str(path))
    text = as_text(data, str(path))
    folders = "/".join(Path(path).resolve().parts[-3:-1])
    return parse_machine_txt(text, name=name or folders, where=str(path))


def parse_machine_txt(text: str, *, name: str = "machine.txt", where: str = "machine.txt") -> Topology:
    """Return the guest that the text of a ``machine.txt`` describes; as ``read_machine_txt``."""
    lines = text.splitlines()
    found = _Found()
    for number, line in enumerate(lines[_HEADER_LINES:], _HEADER_LINES + 1):
        try:
            _read_line(line.strip(), found)
        except InputError as error:
            raise InputError(error.what, f"{where}:{number}") from None
    if not found.nodes:
        raise InputError("names no node ('node0 0-3 dist 10')", where)
    return _build(name, lines, found)


def _read_line(line: str, found: _Found) -> None:
    word = line.partition(" ")[0]
    if len(found.packages) > MAX_CPUS or len(found.nodes) > MAX_NODES:
        raise InputError(f"more lines than a machine has nodes ({MAX_NODES}) or CPUs ({MAX_CPUS})")
    if match := _NODE.fullmatch(line):
        found.nodes.append(Node(int(match[1]), CpuSet.parse_list(match[2])))
        found.distances.append(tuple(int(value) for value in match[3].split()))
    elif match := _PCI.fullmatch(line):
        found.devices.append(
            DeviceInfo(name=match[1], bus="pci", node=int(match[3]), pci_class=int(match[2], 16)),
        )
    elif match := _CHILD.fullmatch(line):
        node = int(match[4] or match[3])
        device = line.partition(" ")[0]
        found.devices.append(DeviceInfo(name=device, bus=match[1], node=node, parent=match[2]))
    elif match := _CPU.fullmatch(line):
        _read_cpu(match, found)
    elif word == "isolated":
        found.isolated = CpuSet.parse_list(line.removeprefix(word))
    elif word == "affscope":
        found.info.update({SETTINGS[0]: scope} if (scope := line.removeprefix(word).strip()) else {})
    elif word == "wq_unbound":
        found.info[word] = line.removeprefix(word).strip()
    elif re.match(r"node\d+ |cpu\d+ |\S+ (?:class|parent)=", line):
        raise InputError(f"'{line[:60]}' cannot be understood")


def _read_cpu(match: re.Match[str], found: _Found) -> None:
    caches = [CpuSet.parse_list(part) for part in match[3].split()]
    if match[2]:
        found.packages.append(CpuSet.parse_list(match[2]))
    if caches:
        found.cores.append(caches[0])
        found.llcs.append(caches[-1])


def _build(name: str, lines: list[str], found: _Found) -> Topology:
    node_sets = [node.cpus for node in found.nodes]
    possible = union(node_sets)
    covered = union(found.llcs)
    topology = Topology(
        name=name,
        possible=possible,
        present=possible,
        online=possible,
        nodes=tuple(found.nodes),
        cores=partition(found.cores, possible),
        llcs=partition([*found.llcs, *(cpus - covered for cpus in node_sets)], possible, node_sets),
        packages=partition([*found.packages, *node_sets], possible),
        distances=tuple(found.distances),
        devices=tuple(found.devices),
        info=_header(lines) | found.info,
    )
    topology.validate()
    housekeeping = housekeeping_from_cmdline(CommandLine.parse(_cmdline(lines)), topology)
    if found.isolated is not None:
        housekeeping = replace(housekeeping, isolated=found.isolated)
    return replace(topology, housekeeping=housekeeping)


def _cmdline(lines: list[str]) -> str:
    return lines[1].strip() if len(lines) > 1 else ""


def _header(lines: list[str]) -> dict[str, str]:
    info = {"source": "machine.txt of a recorded guest"}
    words = lines[0].split() if lines else []
    if len(words) > _RELEASE_WORD and words[0] == "Linux":
        info["kernel"] = words[_RELEASE_WORD]
    if _cmdline(lines):
        info["cmdline"] = _cmdline(lines)
    return info
