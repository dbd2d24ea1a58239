from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from machines import machines

from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError
from numaprobe.topology import (
    DeviceInfo,
    Housekeeping,
    Node,
    Topology,
    load_topology,
    preset,
    read_cmdline,
    read_sysfs,
    symmetric,
    sysfs,
    write_sysfs,
)

# ---- round trips ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["epyc-9a64", "altra-1s", "threadripper-2990wx", "qemu-2n8c", "laptop"])
def test_presets_round_trip(name: str, tmp_path: Path) -> None:
    topology = preset(name)
    again = read_sysfs(write_sysfs(topology, tmp_path))
    assert replace(again, name=name, info=topology.info) == topology


def test_memory_only_nodes(tmp_path: Path) -> None:
    text = "2 nodes x 2 cores, 64GiB per node, distance 21, 2 memory nodes of 128GiB"
    topology = load_topology(text)
    again = read_sysfs(write_sysfs(topology, tmp_path))
    assert replace(again, name=topology.name, info=topology.info) == topology


def test_offline_nodes_are_possible(tmp_path: Path) -> None:
    topology = preset("grace-hopper")
    again = read_sysfs(write_sysfs(topology, tmp_path))
    assert again.nodes == topology.nodes
    assert again.distance(0, 1) == 80
    assert again.distance(0, 2) == 20  # sysfs has no row for a node that is offline


@given(topology=machines())
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_sysfs_shows_comes_back(topology: Topology, tmp_path_factory: pytest.TempPathFactory) -> None:
    again = read_sysfs(write_sysfs(topology, tmp_path_factory.mktemp("tree")))
    online = topology.online
    assert (again.possible, again.present, again.online) == (topology.possible, topology.present, online)
    for kind in ("cores", "packages", "llcs"):
        shown = [group & online for group in getattr(topology, kind) if group & online]
        assert sorted(map(str, shown)) == sorted(str(group) for group in getattr(again, kind) if group & online)
    assert [node.cpus for node in again.nodes] == [node.cpus & online for node in topology.nodes]
    assert [node.memory for node in again.nodes] == [node.memory for node in topology.nodes]
    assert again.distances == topology.distances
    assert again.housekeeping.isolated == topology.housekeeping.isolated
    by_name = {device.name: device for device in again.devices}
    assert by_name == {device.name: device for device in topology.devices}


def test_virtual_functions_drivers_and_inherited_nodes(tmp_path: Path) -> None:
    pf = DeviceInfo(name="0000:01:00.0", bus="pci", node=1, driver="nvme", modalias="pci:v1", pci_class=0x010802)
    vf = replace(pf, name="0000:01:00.1", physfn="0000:01:00.0", driver=None)
    child = DeviceInfo(name="virtio0", bus="virtio", node=1, parent="0000:01:00.0")
    topology = replace(symmetric("t", nodes=2), devices=(pf, vf, child))
    top = write_sysfs(topology, tmp_path)
    assert read_sysfs(top).devices == topology.devices
    (top / "bus/virtio/devices/virtio0/numa_node").unlink()
    assert read_sysfs(top).devices[2] == child
    (top / "bus/pci/devices/0000:01:00.0/numa_node").write_text("-1\n")
    assert [device.node for device in read_sysfs(top).devices] == [-1, 1, -1]
    (top / "bus/pci/devices/0000:01:00.0/numa_node").write_text("77\n")
    assert read_sysfs(top).devices[0].node == -1
    assert read_sysfs(top, devices=False).devices == ()


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\0b"])
def test_names_that_are_no_files(name: str, tmp_path: Path) -> None:
    topology = replace(symmetric("t"), devices=(DeviceInfo(name=name, bus="pci"),))
    with pytest.raises(InputError):
        write_sysfs(topology, tmp_path)


def test_a_circle_of_parents(tmp_path: Path) -> None:
    devices = (DeviceInfo(name="a", bus="nd", parent="b"), DeviceInfo(name="b", bus="nd", parent="a"))
    with pytest.raises(InputError, match="ancestor"):
        write_sysfs(replace(symmetric("t"), devices=devices), tmp_path)


# ---- trees that are not as expected --------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A good tree: 2 nodes x 2 cores x 2 threads, isolation, a device."""
    topology = replace(
        symmetric("t", nodes=2, cores=2, smt=2),
        housekeeping=Housekeeping(isolated=CpuSet.of([1]), managed_irq=CpuSet.of([2])),
        devices=(DeviceInfo(name="0000:01:00.0", bus="pci", node=1),),
    )
    return write_sysfs(topology, tmp_path)


def _remove(path: Path) -> None:
    for entry in sorted(path.rglob("*"), reverse=True):
        entry.rmdir() if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    path.rmdir()


def test_no_node_directory_is_one_node(tree: Path) -> None:
    _remove(tree / "devices/system/node")
    topology = read_sysfs(tree)
    assert topology.nodes == (Node(0, topology.possible, 2 * 2**30),)
    assert topology.devices[0].node == -1


def test_no_cache_directory_is_an_llc_as_large_as_the_package(tree: Path) -> None:
    for cpu in range(8):
        _remove(tree / f"devices/system/cpu/cpu{cpu}/cache")
    topology = read_sysfs(tree)
    assert topology.llcs == topology.packages


def test_an_llc_across_nodes_ends_at_the_border(tree: Path) -> None:
    for path in tree.glob("devices/system/cpu/cpu*/cache/index2/shared_cpu_list"):
        path.write_text("0-7\n")
    topology = read_sysfs(tree)
    assert topology.llcs == tuple(node.cpus for node in topology.nodes)


def test_old_names_and_missing_lists(tree: Path) -> None:
    want = read_sysfs(tree)
    for name in ("core_cpus_list", "package_cpus_list", "possible", "present"):
        for path in tree.glob(f"devices/system/cpu/**/{name}"):
            path.unlink()
    assert read_sysfs(tree) == want
    (tree / "devices/system/cpu/online").unlink()
    assert read_sysfs(tree).online == want.online


def test_null_is_no_mask(tree: Path) -> None:
    (tree / "devices/system/cpu/nohz_full").write_text("(null)\n")
    assert not read_sysfs(tree).housekeeping.nohz_full


def test_sysfs_wins_over_the_command_line(tree: Path) -> None:
    (tree.parent / "proc/cmdline").write_text("isolcpus=managed_irq,domain,3 nohz_full=5\n")
    housekeeping = read_sysfs(tree).housekeeping
    assert str(housekeeping.isolated) == "1"
    assert str(housekeeping.managed_irq) == "3"
    (tree / "devices/system/cpu/isolated").unlink()
    (tree / "devices/system/cpu/nohz_full").unlink()
    warnings: list[str] = []
    housekeeping = read_sysfs(tree, warn=warnings.append).housekeeping
    assert (str(housekeeping.isolated), str(housekeeping.nohz_full)) == ("3", "5")
    assert warnings == []
    assert read_cmdline(tree.parent / "proc").get("nohz_full") == "5"


def test_the_command_line_of_a_machine_is_read_once(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree.parent / "proc/cmdline").write_text("isolcpus=managed_irq,domain,3 quiet\n")
    opened: list[str] = []
    read = sysfs.read_text
    monkeypatch.setattr(sysfs, "read_text", lambda path, limit: opened.append(path.name) or read(path, limit))
    machine = read_sysfs(tree)
    assert opened.count("cmdline") == 1
    assert machine.info["cmdline"] == "isolcpus=managed_irq,domain,3 quiet"
    assert str(machine.housekeeping.managed_irq) == "3"


def test_dmi_tells_product_and_firmware_and_never_a_serial_number(tree: Path) -> None:
    assert not {"product", "firmware"} & set(read_sysfs(tree).info)
    dmi = tree / "class/dmi/id"
    dmi.mkdir(parents=True)
    texts = {"sys_vendor": "ACME ", "product_name": "X  9", "bios_version": "2.5.6", "product_serial": "S3CR3T"}
    for name, text in texts.items():
        (dmi / name).write_text(f"{text}\n")
    info = read_sysfs(tree).info
    assert (info["product"], info["firmware"]) == ("ACME X 9", "2.5.6")
    assert "S3CR3T" not in str(info)


def test_the_proc_directory_can_be_elsewhere(tree: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "cmdline").write_text("workqueue.unbound_cpus=0-1")
    assert read_sysfs(tree, proc=other).housekeeping.unbound_cpus == CpuSet.of([0, 1])


def test_hundreds_of_announced_nodes_are_left_out(tree: Path) -> None:
    (tree / "devices/system/node/possible").write_text("0-1023\n")
    assert len(read_sysfs(tree).nodes) == 2


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("cpu/possible", "zero", "CPU list"),
        ("cpu/possible", "0-99999", "CPU 99999"),
        ("cpu/online", "0-9", "not possible"),
        ("cpu/present", "9", "not possible"),
        ("cpu/online", "", "no CPU is online"),
        ("cpu/cpu0/topology/core_cpus_list", "\x01", "CPU list"),
        ("cpu/cpu0/cache/index2/level", "three", "not a number"),
        ("cpu/cpu0/cache/index2/shared_cpu_list", "0-", "CPU list"),
        ("node/node0/cpulist", "0-3-5", "CPU list"),
        ("node/node0/cpulist", "99", "not possible"),
        ("node/node0/meminfo", "nothing", "MemTotal"),
        ("node/node0/distance", "10 many", "not numbers"),
        ("node/online", "zero", "CPU list"),
    ],
)
def test_garbled_files_are_named(tree: Path, name: str, text: str, word: str) -> None:
    (tree / "devices/system" / name).write_text(text + "\n")
    with pytest.raises(InputError, match=word) as caught:
        read_sysfs(tree)
    assert str(caught.value).isprintable()


def test_a_number_with_leading_zeros_is_a_number(tmp_path: Path) -> None:
    device = DeviceInfo(name="0000:01:00.0", bus="pci", node=1, pci_class=0x010802)
    top = write_sysfs(replace(symmetric("t", nodes=2), devices=(device,)), tmp_path)
    (top / "bus/pci/devices/0000:01:00.0/numa_node").write_text("01\n")
    assert read_sysfs(top).devices == (device,)


def test_a_garbled_device_is_named(tree: Path) -> None:
    (tree / "bus/pci/devices/0000:01:00.0/numa_node").write_text("east")
    with pytest.raises(InputError, match="numa_node: 'east'"):
        read_sysfs(tree)


def test_bytes_that_are_no_text(tree: Path) -> None:
    (tree / "devices/system/cpu/possible").write_bytes(b"\xff\xfe0")
    with pytest.raises(InputError, match="no UTF-8"):
        read_sysfs(tree)


def test_a_pipe_does_not_block(tree: Path) -> None:
    path = tree / "devices/system/cpu/possible"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="not a regular file"):
        read_sysfs(tree)


def test_a_huge_file_is_refused(tree: Path) -> None:
    with (tree / "devices/system/cpu/possible").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(InputError, match="larger than"):
        read_sysfs(tree)


def test_loops_of_links_end(tree: Path) -> None:
    path = tree / "devices/system/cpu/possible"
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_sysfs(tree)
    path.unlink()
    (tree / "bus/pci/devices/loop").symlink_to("loop")
    assert "loop" in {device.name for device in read_sysfs(tree).devices}


def test_an_unreadable_file_is_one_line(tree: Path) -> None:
    path = tree / "devices/system/cpu/possible"
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match="not a regular file") as caught:
        read_sysfs(tree)
    assert str(path) in str(caught.value)


def test_no_tree(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sysfs tree"):
        read_sysfs(tmp_path)
    (tmp_path / "devices/system/cpu").mkdir(parents=True)
    with pytest.raises(InputError, match="names no CPU"):
        read_sysfs(tmp_path)


# ---- the live machine, against other witnesses ---------------------------------------------------------------------


def test_the_live_machine() -> None:
    topology = load_topology("host")
    assert topology.name == "host"
    assert os.sched_getaffinity(0) <= set(topology.online)
    assert len(topology.online) == os.cpu_count()
    cpuinfo = Path("/proc/cpuinfo").read_text()
    processors = {int(number) for number in re.findall(r"^processor\s*:\s*(\d+)$", cpuinfo, re.MULTILINE)}
    assert set(topology.online) == processors
    packages = set(re.findall(r"^physical id\s*:\s*(\d+)$", cpuinfo, re.MULTILINE))
    if packages:
        assert len({topology.package_of(cpu) for cpu in topology.online}) == len(packages)


def test_the_live_devices_are_those_under_bus() -> None:
    shown = {device.name for device in load_topology("host").devices if device.bus == "pci"}
    directory = Path("/sys/bus/pci/devices")
    assert shown == ({path.name for path in directory.iterdir()} if directory.is_dir() else set())
