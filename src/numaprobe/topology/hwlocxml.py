"""hwloc's XML (``lstopo --of xml``), versions 2 and 3 of the format, as a machine.

Read are the objects' CPU sets, the memory of NUMA nodes, their latencies, PCI devices and bridges, and the CPU's model.
``complete_cpuset`` has the CPUs that are offline or not allowed, too: it gives the possible ones, ``cpuset`` those on
line. A set of *allowed* CPUs smaller than that is kept as ``info["allowed"]``: a cgroup limits programs, not probes.
A PCI device's node is the one that holds all CPUs of the object it hangs from; below the machine itself it is unknown.

The text is read as a stream of bounded size, depth and number of elements, by defusedxml: entities are refused.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError
from numaprobe.reading.files import read_document
from numaprobe.reading.weigh import XML_WEIGHTS, check_weight
from numaprobe.topology.hwloc import HwlocObject, assemble, object_kind, parse_bitmap
from numaprobe.topology.model import MAX_NODES, NO_NODE, REMOTE_DISTANCE, DeviceInfo

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from numaprobe.topology.model import Node, Topology

MAX_ELEMENTS: Final = 250_000
MAX_DEPTH: Final = 256
_BUS_ID = re.compile(r"[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]", re.ASCII)
#: Class, vendor:device, subsystem, revision; format 3 adds the programming interface, the last 8 bits of the class.
_PCI_TYPE = re.compile(r"(\w{4}) \[(\w{4}):(\w{4})\](?: \[(\w{4}):(\w{4})\])?(?: \w\w)?(?: (\w\w))?", re.ASCII)
#: Numbers in hwloc's files are of 64 bits.
_MAX_DIGITS: Final = 19
_IO_TYPES: Final = ("Bridge", "PCIDev", "OSDev", "Misc")
#: Kind bits of hwloc's distances: 1 = from the operating system, 4 = latency.
_LATENCY: Final = 4


@dataclass(slots=True)
class _OpenElement:
    """An object whose end is still to come."""

    type: str
    cpus: CpuSet
    #: bus id, for the devices below it
    bus_id: str | None = None


@dataclass(slots=True)
class _Reader:
    where: str
    stack: list[_OpenElement] = field(default_factory=list)
    objects: list[HwlocObject] = field(default_factory=list)
    machine: dict[str, CpuSet] = field(default_factory=dict)
    #: (device, CPUs of the object it hangs from; None below the machine)
    devices: list[tuple[DeviceInfo, CpuSet | None]] = field(default_factory=list)
    info: dict[str, str] = field(default_factory=dict)
    latencies: dict[tuple[int, int], int] = field(default_factory=dict)

    # ---- objects ---------------------------------------------------------------------------------------------------
    def start(self, element: Element) -> None:
        """Take in the start of an element: what its attributes say."""
        if element.tag == "topology" and not re.fullmatch(r"[23]\.\d{1,3}", element.get("version", "")):
            raise InputError(
                "is hwloc XML of version 1 or of the future; convert it with 'lstopo -i OLD.xml NEW.xml'", self.where
            )
        if element.tag == "object":
            self._object(element)

    def _object(self, element: Element) -> None:
        kind_name = element.get("type", "")
        if kind_name in _IO_TYPES:
            above = self.stack[-1] if self.stack else _OpenElement("", CpuSet())
            self.stack.append(_OpenElement(kind_name, above.cpus, self._device(element) or above.bus_id))
            return
        cpus = self._cpus(element, "complete_cpuset", self._cpus(element, "cpuset", CpuSet()))
        self.stack.append(_OpenElement(kind_name, cpus))
        if kind_name == "Machine":
            self._machine(element, cpus)
            return
        kind = object_kind(kind_name)
        if kind is not None:
            self.objects.append(
                HwlocObject(kind, cpus, self._integer(element, "os_index"), self._integer(element, "local_memory") or 0)
            )

    def _machine(self, element: Element, possible: CpuSet) -> None:
        if self.machine:
            raise InputError("holds two Machine objects", self.where)
        online = self._cpus(element, "cpuset", possible)
        self.machine = {"possible": possible, "online": online}
        allowed = self._cpus(element, "allowed_cpuset", online)
        if allowed & possible != online:
            self.info["allowed"] = str(allowed & possible)

    def _device(self, element: Element) -> str | None:
        bus_id = element.get("pci_busid")
        if bus_id is None:
            return None
        if not _BUS_ID.fullmatch(bus_id):
            raise InputError(f"'{bus_id[:40]}' is not a PCI bus id", self.where)
        pci_class, modalias = self._identity(element.get("pci_type", ""))
        above = next((part for part in reversed(self.stack) if part.type not in _IO_TYPES), None)
        parent = self.stack[-1].bus_id if self.stack else None
        device = DeviceInfo(name=bus_id, bus="pci", parent=parent, modalias=modalias, pci_class=pci_class)
        self.devices.append((device, None if above is None or above.type == "Machine" else above.cpus))
        return bus_id

    def _identity(self, text: str) -> tuple[int | None, str | None]:
        """Return class and modalias; without the programming interface the class ends in 0 and there is no modalias."""
        match = _PCI_TYPE.fullmatch(text)
        if match is None:
            return None, None
        try:
            words = [int(word or "0", 16) for word in match.groups()]
        except ValueError:
            raise InputError(f"pci_type='{text[:40]}' is not hexadecimal", self.where) from None
        class_, vendor, device, subvendor, subdevice, interface = words
        ids = f"v{vendor:08X}d{device:08X}sv{subvendor:08X}sd{subdevice:08X}"
        known = f"pci:{ids}bc{class_ >> 8:02X}sc{class_ & 0xFF:02X}i{interface:02X}" if match[6] else None
        return class_ << 8 | interface, known

    def end(self, element: Element) -> None:
        """Take in the end of an element: what stands between its tags."""
        if element.tag == "object" and self.stack:
            self.stack.pop()
        elif element.tag == "info" and element.get("name") == "CPUModel":
            self.info.setdefault("model", element.get("value", "")[:200])
        elif element.tag == "distances2" and element.get("type") == "NUMANode":
            self._distances(element)

    def _distances(self, element: Element) -> None:
        if not (self._integer(element, "kind") or 0) & _LATENCY or self.latencies or element.get("indexing") != "os":
            return
        indexes = self._numbers(element, "indexes")
        values = self._numbers(element, "u64values")
        if len(indexes) > MAX_NODES or len(values) != len(indexes) ** 2:
            raise InputError(f"distances2: {len(values)} values for {len(indexes)} nodes", self.where)
        pairs = [(a, b) for a in indexes for b in indexes]
        self.latencies = dict(zip(pairs, values, strict=True))

    # ---- values ----------------------------------------------------------------------------------------------------
    def _numbers(self, element: Element, tag: str) -> list[int]:
        words = " ".join(part.text or "" for part in element.iter(tag)).split()
        if not all(word.isascii() and word.isdigit() and len(word) <= _MAX_DIGITS for word in words):
            raise InputError(f"distances2: {tag} must be numbers", self.where)
        return [int(word) for word in words]

    def _cpus(self, element: Element, name: str, default: CpuSet) -> CpuSet:
        text = element.get(name)
        return default if text is None else parse_bitmap(text, f"{self.where}: {name}")

    def _integer(self, element: Element, name: str) -> int | None:
        text = element.get(name)
        if text is None:
            return None
        if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
            raise InputError(f"{name}='{text[:40]}' is not a number", self.where)
        return int(text)

    # ---- the machine -----------------------------------------------------------------------------------------------
    def topology(self, name: str) -> Topology:
        """Return the machine, when all is read."""
        if not self.machine:
            raise InputError("holds no Machine object: it is not what 'lstopo --of xml' writes", self.where)
        possible = self.machine["possible"]
        online = self.machine["online"] & possible
        bare = assemble(name, self.objects, possible, online, self.where)
        devices = sorted(self.devices, key=lambda pair: pair[0].name)
        topology = replace(
            bare,
            distances=self._table(bare.nodes),
            devices=tuple(_placed(device, near, bare.nodes) for device, near in devices),
            info={"source": "hwloc XML", **self.info},
        )
        topology.validate()
        return topology

    def _table(self, nodes: tuple[Node, ...]) -> tuple[tuple[int, ...], ...]:
        return tuple(
            tuple(self.latencies.get((a.id, b.id), 10 if a is b else REMOTE_DISTANCE) for b in nodes) for a in nodes
        )


def _placed(device: DeviceInfo, near: CpuSet | None, nodes: tuple[Node, ...]) -> DeviceInfo:
    holders = [node.id for node in nodes if near and near.issubset(node.cpus)]
    node = holders[0] if holders else NO_NODE
    return replace(device, node=node)


def read_hwloc_xml(path: Path | str) -> Topology:
    """Return the machine in a file that ``lstopo --of xml`` wrote; validated.

    Raises:
        InputError: the file is missing, too large, not XML, or not hwloc's.

    """
    data = read_document(Path(path), "hwloc")
    if data is None:
        raise InputError("does not exist", str(path))
    return parse_hwloc_xml(data, name=Path(path).stem, where=str(path))


def parse_hwloc_xml(data: bytes, *, name: str = "hwloc", where: str = "hwloc XML") -> Topology:
    """Return the machine in the text of an hwloc XML file; as ``read_hwloc_xml``."""
    check_weight("hwloc", data, XML_WEIGHTS, where)
    reader = _Reader(where)
    _stream(data, reader)
    return reader.topology(name)


class _LargeReads(io.BytesIO):
    """Hands over a megabyte at least: before 2.6 expat looks at an unfinished tag again each time that it gets more."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(-1 if size is None or size < 0 else max(size, 1 << 20))


def _stream(data: bytes, reader: _Reader) -> None:
    from xml.etree.ElementTree import ParseError  # lazy, as is defusedxml: few runs read XML

    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import iterparse

    where = reader.where
    depth = 0
    try:
        for number, (event, element) in enumerate(iterparse(_LargeReads(data), events=("start", "end"))):
            if number > 2 * MAX_ELEMENTS or depth > MAX_DEPTH:
                raise InputError(f"has more than {MAX_ELEMENTS} elements or is deeper than {MAX_DEPTH}", where)
            if event == "start":
                depth += 1
                reader.start(element)
            else:
                depth -= 1
                reader.end(element)
                if element.tag == "object":
                    element.clear()
    except ParseError as error:
        raise InputError(f"is not XML: {error}", where) from None
    except DefusedXmlException:
        raise InputError("defines XML entities, which no machine needs; refused", where) from None
    except (LookupError, ValueError) as error:
        raise InputError(f"is not XML: {str(error)[:80]}", where) from None
