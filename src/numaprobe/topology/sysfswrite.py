"""Writes a sysfs tree as the kernel would show a machine: for tests of any size, and to hand a machine to other tools.

The tree holds what ``read_sysfs``, hwloc (``lstopo -i ROOT``) and ``numactl``-like programs look for: CPU masks,
topology, caches, nodes, distances, memory, devices on buses with their links, and ``/proc/cmdline``. As on a real
system a CPU that is offline has no topology and is in no node's list, a node that is offline has no directory.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numaprobe.topology.model import DeviceInfo, Topology

_KIB: Final = 1024


def write_sysfs(topology: Topology, root: Path) -> Path:
    """Write the machine below ``root`` (as ``root/sys`` and ``root/proc``) and return ``root/sys``.

    Raises:
        InputError: a device's name cannot be a file name, or devices are each other's parents.
        FileExistsError: there is a tree already.

    """
    top = root / "sys"
    tree = _Tree(top)
    _write_cpus(tree, topology)
    _write_nodes(tree, topology)
    _write_devices(tree, topology)
    _write_proc(_Tree(root / "proc"), topology)
    return top


class _Tree:
    """Writes small text files, making directories as needed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._made: set[str] = set()

    def write(self, path: str, text: str) -> None:
        directory = path.rpartition("/")[0]
        if directory not in self._made:
            (self.root / directory).mkdir(parents=True, exist_ok=True)
            self._made.add(directory)
        with (self.root / path).open("x", encoding="utf-8") as file:
            file.write(text + "\n")

    def write_set(self, path: str, mask: str, cpus: CpuSet, width: int) -> None:
        """Write a set twice, as the kernel does: ``path`` the list, ``mask`` the mask."""
        self.write(path, str(cpus))
        self.write(mask, cpus.to_mask(width))

    def link(self, path: str, target: str) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(os.path.relpath(self.root / target, place.parent))


def _write_cpus(tree: _Tree, topology: Topology) -> None:
    base = "devices/system/cpu"
    for name in ("possible", "present", "online"):
        tree.write(f"{base}/{name}", str(getattr(topology, name)))
    tree.write(f"{base}/isolated", str(topology.housekeeping.isolated))
    tree.write(f"{base}/nohz_full", str(topology.housekeeping.nohz_full) or "(null)")
    width = (topology.possible.last or 0) + 1
    for cpu in topology.present:
        directory = f"{base}/cpu{cpu}"
        tree.write(f"{directory}/online", str(int(cpu in topology.online)))
        if cpu in topology.online:
            _write_topology(tree, f"{directory}/topology", topology, cpu, width)
            _write_cache(tree, f"{directory}/cache", topology, cpu, width)


def _write_topology(tree: _Tree, directory: str, topology: Topology, cpu: int, width: int) -> None:
    core_index, package_index = topology.core_of(cpu), topology.package_of(cpu)
    core = topology.cores[core_index] & topology.online
    package = topology.packages[package_index] & topology.online
    tree.write(f"{directory}/core_id", str(core_index))
    tree.write(f"{directory}/physical_package_id", str(package_index))
    for new, old, cpus in (("core_cpus", "thread_siblings", core), ("package_cpus", "core_siblings", package)):
        tree.write_set(f"{directory}/{new}_list", f"{directory}/{new}", cpus, width)
        tree.write_set(f"{directory}/{old}_list", f"{directory}/{old}", cpus, width)


def _write_cache(tree: _Tree, directory: str, topology: Topology, cpu: int, width: int) -> None:
    core = topology.cores[topology.core_of(cpu)] & topology.online
    llc = topology.llcs[topology.llc_of(cpu)] & topology.online
    levels = (("index0", 1, "Data", "32K", core), ("index1", 1, "Instruction", "32K", core))
    for index, level, kind, size, cpus in (*levels, ("index2", 3, "Unified", "32768K", llc)):
        tree.write(f"{directory}/{index}/level", str(level))
        tree.write(f"{directory}/{index}/type", kind)
        tree.write(f"{directory}/{index}/size", size)
        tree.write_set(f"{directory}/{index}/shared_cpu_list", f"{directory}/{index}/shared_cpu_map", cpus, width)


def _write_nodes(tree: _Tree, topology: Topology) -> None:
    base = "devices/system/node"
    width = (topology.possible.last or 0) + 1
    online = [(index, node) for index, node in enumerate(topology.nodes) if node.online]
    masks = {
        "possible": CpuSet.of(node.id for node in topology.nodes),
        "online": CpuSet.of(node.id for _, node in online),
        "has_cpu": CpuSet.of(node.id for _, node in online if node.cpus),
        "has_memory": CpuSet.of(node.id for _, node in online if node.memory),
    }
    for name, nodes in masks.items():
        tree.write(f"{base}/{name}", str(nodes))
    for index, node in online:
        directory = f"{base}/node{node.id}"
        tree.write_set(f"{directory}/cpulist", f"{directory}/cpumap", node.cpus & topology.online, width)
        tree.write(f"{directory}/distance", " ".join(str(topology.distances[index][other]) for other, _ in online))
        tree.write(f"{directory}/meminfo", f"Node {node.id} MemTotal:       {node.memory // _KIB} kB")


def _write_devices(tree: _Tree, topology: Topology) -> None:
    by_name = {device.name: device for device in topology.devices}
    for device in topology.devices:
        directory = f"devices/{_device_path(device, by_name)}"
        tree.write(f"{directory}/uevent", "")
        tree.write(f"{directory}/numa_node", str(device.node))
        if device.modalias is not None:
            tree.write(f"{directory}/modalias", device.modalias)
        if device.bus:
            tree.link(f"bus/{device.bus}/devices/{device.name}", directory)
            tree.link(f"{directory}/subsystem", f"bus/{device.bus}")
        if device.driver is not None:
            driver = f"bus/{_component(device.bus)}/drivers/{_component(device.driver)}"
            (tree.root / driver).mkdir(parents=True, exist_ok=True)
            tree.link(f"{directory}/driver", driver)
        if device.physfn is not None:
            tree.link(f"{directory}/physfn", f"devices/{_device_path(by_name.get(device.physfn, device), by_name)}")
        if device.bus == "pci":
            _write_pci(tree, directory, device, topology)


def _write_pci(tree: _Tree, directory: str, device: DeviceInfo, topology: Topology) -> None:
    node = topology.node(device.node)
    near = node.cpus & topology.online if node is not None and node.cpus else topology.online
    width = (topology.possible.last or 0) + 1
    tree.write_set(f"{directory}/local_cpulist", f"{directory}/local_cpus", near, width)
    pci_class = device.pci_class or 0
    if device.pci_class is not None:
        tree.write(f"{directory}/class", f"0x{pci_class:06x}")
    # The 64 bytes of configuration space that hwloc takes class and identity from: all zero but the class.
    config = bytearray(64)
    config[9:12] = (pci_class & 0xFFFFFF).to_bytes(3, "little")
    (tree.root / directory / "config").write_bytes(config)
    tree.write(f"{directory}/vendor", "0x0000")
    tree.write(f"{directory}/device", "0x0000")


def _device_path(device: DeviceInfo, by_name: dict[str, DeviceInfo]) -> str:
    """Return the device's directory below ``devices``: below its parent's, else below its bus's root."""
    parts = [_component(device.name)]
    seen = {device.name}
    while device.parent is not None and device.parent in by_name:
        device = by_name[device.parent]
        if device.name in seen:
            raise InputError(f"device {device.name} is its own ancestor")
        seen.add(device.name)
        parts.append(_component(device.name))
    root = f"pci{device.name[:7]}" if device.bus == "pci" else _component(device.bus or "virtual")
    return "/".join([_component(root), *reversed(parts)])


def _component(name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise InputError(f"'{name[:40]}' cannot be the name of a directory in sysfs")
    return name


def _write_proc(tree: _Tree, topology: Topology) -> None:
    housekeeping = topology.housekeeping
    parameters = []
    if housekeeping.nohz_full:
        parameters.append(f"nohz_full={housekeeping.nohz_full}")
    if housekeeping.managed_irq:
        parameters.append(f"isolcpus=managed_irq,{housekeeping.managed_irq}")
    if housekeeping.unbound_cpus is not None:
        parameters.append(f"workqueue.unbound_cpus={housekeeping.unbound_cpus}")
    tree.write("cmdline", " ".join(parameters))
    model = topology.info.get("model", "")
    tree.write("cpuinfo", "\n".join(f"processor\t: {cpu}\nmodel name\t: {model}\n" for cpu in topology.online))
    total = sum(node.memory for node in topology.nodes)
    tree.write("meminfo", f"MemTotal:       {total // _KIB} kB")
