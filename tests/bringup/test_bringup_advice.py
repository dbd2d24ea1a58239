"""What a machine tells beside its topology, for advice: what the system stands on, suppliers, modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from situations import BRIDGE, NIC, NVME, machine

from numaprobe.cli.around import around_here

if TYPE_CHECKING:
    from pathlib import Path


def test_the_root_file_system_is_on_a_device_and_on_all_above_it(tmp_path: Path) -> None:
    kernel = machine(tmp_path)
    kernel.mount("259:2", "/", "ext4", "/dev/nvme0n1p2")
    around = around_here(str(tmp_path), kernel)
    assert set(around.serving) == {NVME, BRIDGE}
    assert "/" in around.serving[NVME]


def test_a_virtio_disk_stands_on_its_pci_function(tmp_path: Path) -> None:
    kernel = machine(tmp_path)
    kernel.mount("254:0", "/", "ext4", "/dev/vda")
    assert set(around_here(str(tmp_path), kernel).serving) == {"virtio1", "0000:00:03.0"}


def test_suppliers_are_those_of_the_links_of_sysfs(tmp_path: Path) -> None:
    kernel = machine(tmp_path)
    kernel.devlink(BRIDGE, NIC)
    assert around_here(str(tmp_path), kernel).consumers == {BRIDGE: (NIC,)}


def test_a_module_that_was_loaded_has_a_state_and_what_is_built_in_has_none(tmp_path: Path) -> None:
    kernel = machine(tmp_path)
    for driver, module in (("nvme", "nvme"), ("ixgbe", "ixgbe_module")):
        kernel.folder_at(f"sys/module/{module}")
        kernel.link_to(f"sys/bus/pci/drivers/{driver}/module", f"../../../../module/{module}")
    kernel.put("sys/module/ixgbe_module/initstate", "live\n")
    assert around_here(str(tmp_path), kernel).modules == {"ixgbe": "ixgbe_module"}
