"""The devices of a sysfs tree: what is on which bus, on which node, bound to which driver.

A device's node is what its ``numa_node`` file says. A device without that file has its parent's, as ``device_add``
gives it: the nearest device above that has the file. Buses that only list parts of the system (CPUs, memory blocks,
clocks) have nothing to probe and are left out.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from numaprobe.errors import InputError
from numaprobe.reading.files import MAX_ATTRIBUTE, list_directory, read_text
from numaprobe.topology.model import NO_NODE, DeviceInfo
from numaprobe.topology.systembuses import SYSTEM_BUSES


def read_devices(top: Path, nodes: set[int]) -> tuple[DeviceInfo, ...]:
    """Return the devices on the buses of a sysfs tree, by bus and name.

    Args:
        top: the tree.
        nodes: ids of the machine's nodes; a device on another has none.

    Raises:
        InputError: ``numa_node`` or ``class`` of a PCI device holds no number, or a directory cannot be read.

    """
    paths = _device_paths(top)
    at_path = {path: name for (_bus, name), path in paths.items()}
    return tuple(_read_device(bus, name, path, at_path, nodes) for (bus, name), path in paths.items())


def _device_paths(top: Path) -> dict[tuple[str, str], str]:
    """Return the true directory of each (bus, device)."""
    found: dict[tuple[str, str], str] = {}
    for bus in list_directory(top / "bus"):
        if bus in SYSTEM_BUSES:
            continue
        directory = top / "bus" / bus / "devices"
        for name in list_directory(directory):
            found[bus, name] = os.path.realpath(directory / name)
    return found


def _read_device(bus: str, name: str, path: str, at_path: dict[str, str], nodes: set[int]) -> DeviceInfo:
    directory = Path(path)
    above = [str(parent) for parent in directory.parents]
    node = _node(directory, above, at_path)
    return DeviceInfo(
        name=name,
        bus=bus,
        node=node if node in nodes else NO_NODE,
        parent=next((at_path[parent] for parent in above if parent in at_path), None),
        driver=_link(directory / "driver"),
        modalias=_text(directory / "modalias"),
        pci_class=_integer(directory / "class") if bus == "pci" else None,
        physfn=_link(directory / "physfn"),
    )


def _node(directory: Path, above: list[str], at_path: dict[str, str]) -> int:
    own = _integer(directory / "numa_node")
    if own is not None:
        return own
    for parent in above:
        if parent in at_path and (inherited := _integer(Path(parent) / "numa_node")) is not None:
            return inherited
    return NO_NODE


def _link(path: Path) -> str | None:
    try:
        return path.readlink().name or None
    except OSError:
        return None


def _text(path: Path) -> str | None:
    try:
        return (read_text(path, MAX_ATTRIBUTE) or "").strip() or None
    except InputError:
        return None  # an attribute that only root may read says nothing to us


def _integer(path: Path) -> int | None:
    text = _text(path)
    if text is None:
        return None
    if not re.fullmatch(r"-?(?:\d{1,9}|0x[0-9a-fA-F]{1,8})", text, re.ASCII):
        raise InputError(f"'{text[:40]}' is not a number", str(path))
    return int(text, 16 if "x" in text else 10)
