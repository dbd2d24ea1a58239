"""udev's events become devices: a stand-in for pyudev says what would come from the kernel."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

import numaprobe
from numaprobe.errors import MissingInterfaceError


class Attributes(dict[str, str]):
    def asint(self, name: str) -> int:
        return int(self[name])


class UdevDevice:
    def __init__(
        self, name: str, action: str = "add", node: str | None = None, parent: UdevDevice | None = None
    ) -> None:
        self.sys_name = name
        self.action = action
        self.properties = {"MODALIAS": f"usb:{name}"}
        self.attributes = Attributes({"numa_node": node} if node is not None else {})
        self.parent = parent


class Observer:
    """Holds the callback; a test sends events through it."""

    last: Observer

    def __init__(self, _monitor: object, callback: Any, name: str) -> None:
        self.callback = callback
        self.name = name
        self.running = False
        Observer.last = self

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False


@pytest.fixture
def pyudev(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module: Any = types.ModuleType("pyudev")
    there = [UdevDevice("cam0", node="0"), UdevDevice("cam1", parent=UdevDevice("hub", node="0"))]
    module.Context = lambda: types.SimpleNamespace(list_devices=lambda **_: there)
    monitor = types.SimpleNamespace(filter_by=lambda subsystem: None)
    module.Monitor = types.SimpleNamespace(from_netlink=lambda _context: monitor)
    module.MonitorObserver = Observer
    monkeypatch.setitem(sys.modules, "pyudev", module)
    return module


@numaprobe.driver("usb:cam*", bus="usb", name="camera")
def camera(dev: numaprobe.Device) -> None:
    """Bind."""


def test_devices_come_and_go(pyudev: types.ModuleType) -> None:
    with numaprobe.host() as core:
        core.register(camera)
        core.follow_udev("usb")
        assert core.names("usb") == ("cam0", "cam1")
        assert core.device("cam1", "usb").node == 0
        send = Observer.last.callback
        send(UdevDevice("cam2", node="-1"))
        assert core.device("cam2", "usb").is_bound
        assert core.device("cam2", "usb").node == -1
        send(UdevDevice("cam0", "remove"))
        send(UdevDevice("cam2", "change"))
        assert core.names("usb") == ("cam1", "cam2")
        send(UdevDevice("cam0", "remove"))
        assert [warning.kind for warning in core.warnings] == ["udev"]
        assert Observer.last.running
    assert not Observer.last.running


def test_without_pyudev_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyudev", None)
    with numaprobe.host() as core, pytest.raises(MissingInterfaceError, match="pip install"):
        core.follow_udev("block")


def test_devices_of_a_machine(tmp_path: Any) -> None:
    """Devices from a sysfs tree: parents first, matched by pattern, each on its node."""
    from numaprobe.topology import DeviceInfo, symmetric
    from numaprobe.topology.sysfswrite import write_sysfs

    devices = (
        DeviceInfo(name="0000:00:01.0", bus="pci", node=0, modalias="pci:v00008086d00000001"),
        DeviceInfo(name="0000:01:00.0", bus="pci", node=0, parent="0000:00:01.0", modalias="pci:v0000144Dd00000002"),
    )
    import dataclasses

    root = write_sysfs(dataclasses.replace(symmetric("tree", cores=2), devices=devices), tmp_path)

    @numaprobe.driver("pci:v0000144D*", bus="pci")
    def vendor(dev: numaprobe.Device) -> None:
        """Bind."""

    with numaprobe.host() as core:
        core.register(vendor)
        added = core.add_from(str(root), bus="pci")
        assert [dev.name for dev in added] == ["0000:00:01.0", "0000:01:00.0"]
        assert [dev.is_bound for dev in added] == [False, True]
        assert added[1].parent is added[0]
        assert added[1].node == 0
        assert core.add_from(str(root), bus="pci") == ()
