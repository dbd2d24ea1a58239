from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from numaprobe.errors import InputError, NumaprobeError
from numaprobe.scenario import host, host_scenario, machine_scenario, run_scenario
from numaprobe.topology import DeviceInfo, load_topology, to_json
from numaprobe.topology.sysfswrite import write_sysfs

if TYPE_CHECKING:
    from pathlib import Path

    from numaprobe.topology import Topology

DEVICES = (
    DeviceInfo(name="virtio0", bus="virtio", node=-1, parent="0000:00:04.0", driver="virtio_blk"),
    DeviceInfo(name="0000:00:04.0", bus="pci", node=1, driver="virtio-pci"),
    DeviceInfo(name="0000:81:00.0", bus="pci", node=1, driver="nvme"),
    DeviceInfo(name="0000:82:00.0", bus="pci", node=-1, driver="nvme"),
    DeviceInfo(name="0000:83:00.0", bus="pci", node=0),
    DeviceInfo(name="rtc_cmos", bus="platform", driver="rtc_cmos"),
    DeviceInfo(name="00:02", bus="pnp", driver="rtc_cmos"),
)


def box(*devices: DeviceInfo) -> Topology:
    return replace(load_topology("2 nodes x 1 llc x 2 cores"), name="box", devices=devices)


def test_bound_devices_become_a_scenario_parents_first() -> None:
    scenario = machine_scenario(box(*DEVICES))
    assert [group.name for group in scenario.devices] == [
        "0000:00:04.0", "0000:81:00.0", "0000:82:00.0", "rtc_cmos", "00:02", "virtio0",
    ]  # fmt: skip
    assert [group.node for group in scenario.devices] == [1, 1, None, None, None, None]
    assert scenario.devices[-1].parent == "0000:00:04.0"
    assert {(driver.bus, driver.name) for driver in scenario.drivers} == {
        ("pci", "virtio-pci"), ("pci", "nvme"), ("platform", "rtc_cmos"), ("pnp", "rtc_cmos"), ("virtio", "virtio_blk"),
    }  # fmt: skip


def test_every_bound_device_is_probed_once_on_the_machine_itself() -> None:
    trace = run_scenario(machine_scenario(box(*DEVICES)), "probe-on-node")
    assert sorted(record.device for record in trace.probes) == sorted(d.name for d in DEVICES if d.driver)
    assert {record.result for record in trace.probes} == {"0"}
    assert trace.machine["name"] == "box"
    assert next(r.device_node for r in trace.probes if r.device == "virtio0") == 1


def test_measured_costs_are_used_and_assumed_ones_are_told_with_their_devices() -> None:
    trace = run_scenario(machine_scenario(box(*DEVICES)), "inline")
    costs = {record.device: record.cost_ns for record in trace.probes}
    assert (costs["0000:81:00.0"], costs["rtc_cmos"], costs["virtio0"]) == (34_300_000, 1_000_000, 12_800_000)
    told = {warning.kind: set(warning.devices) for warning in trace.warnings}
    assert told == {"assumed-cost": {"0000:00:04.0", "rtc_cmos", "00:02"}, "emulated-cost": {"virtio0"}}
    assert "3 of 6 probes have a cost that nobody measured" in trace.warnings[0].message
    assert trace.warnings[0].message.endswith(": rtc_cmos 2, virtio-pci 1")


def test_a_machine_without_bound_devices_is_refused() -> None:
    with pytest.raises(InputError, match="box: no device of this machine is bound to a driver"):
        machine_scenario(box(DeviceInfo(name="x", bus="pci")))


def test_devices_that_are_each_others_parents_are_still_read() -> None:
    one = DeviceInfo(name="a", bus="platform", parent="b", driver="d")
    other = DeviceInfo(name="b", bus="platform", parent="a", driver="d")
    with pytest.raises(InputError, match="is not a device above it"):
        run_scenario(machine_scenario(box(one, other)), "inline")


def test_a_sysfs_tree_elsewhere_can_be_the_host(tmp_path: Path) -> None:
    root = write_sysfs(box(*DEVICES), tmp_path)
    trace = run_scenario(host_scenario(machine=str(root)), "inline")
    assert len(trace.probes) == 6


def test_an_empty_tree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NumaprobeError):
        host_scenario(machine=str(tmp_path))


def test_an_unreadable_tree_is_refused(tmp_path: Path) -> None:
    # root may read everything, so what cannot be read here is a folder in the place of a file
    (write_sysfs(box(*DEVICES), tmp_path) / "devices/system/cpu/online").unlink()
    (tmp_path / "sys/devices/system/cpu/online").mkdir()
    with pytest.raises(NumaprobeError):
        host_scenario(machine=str(tmp_path / "sys"))


def test_the_command_line_of_this_machine_bears_on_its_scenario(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the machine tells it, read once: what bears on probing and is not in sysfs already."""
    kept = "workqueue.cache_shard_size=4 driver_async_probe=nvme"
    here = replace(box(*DEVICES), info={"cmdline": f"quiet isolcpus=1 {kept}", "kernel": "7.3"})
    monkeypatch.setattr(host, "load_topology", lambda _name: here)
    assert host_scenario().cmdline == kept
    assert host_scenario(machine="another").cmdline == ""


@pytest.mark.parametrize(("release", "kernel", "said"), [
    ("6.18.44-amd64", "6.18", []),
    ("4.18.0-553.el8", "6.19", ["kernel '4.18.0-553.el8' is older than 5.1"]),
    (None, "6.19", ["which kernel it was is not known"]),
])  # fmt: skip
def test_the_kernel_of_the_machine_is_followed(
    release: str | None, kernel: str, said: list[str], tmp_path: Path
) -> None:
    machine = replace(box(*DEVICES), info={"kernel": release} if release else {})
    (tmp_path / "m.json").write_text(json.dumps(to_json(machine)))
    made = host_scenario(machine=str(tmp_path / "m.json"))
    assert made.kernel == kernel
    lines = [warning.message for warning in made.warnings if warning.kind == "kernel-profile"]
    assert [line[: len(start)] for line, start in zip(lines, said, strict=True)] == said
