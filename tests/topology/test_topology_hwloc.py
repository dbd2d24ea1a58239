"""hwloc XML that lstopo 2.9.0 wrote, against what hwloc-calc and lstopo say of the same files (expected.json)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from machines import machines

from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError
from numaprobe.topology import (
    PRESETS,
    CommandLine,
    DeviceInfo,
    Topology,
    apply_cmdline,
    hwloc_losses,
    load_topology,
    parse_hwloc_xml,
    parse_synthetic,
    preset,
    read_hwloc_xml,
    symmetric,
    to_hwloc_xml,
)
from numaprobe.topology.hwloc import object_kind, parse_bitmap

DATA = Path(__file__).parents[1] / "data" / "topology"
EXPECTED: dict[str, dict[str, Any]] = json.loads((DATA / "expected.json").read_text())


def _sets(texts: list[str]) -> set[CpuSet]:
    return {CpuSet.parse_list(text) for text in texts}


def _seen(groups: tuple[CpuSet, ...], cpus: CpuSet) -> set[CpuSet]:
    return {group & cpus for group in groups if group & cpus}


@pytest.mark.parametrize("name", EXPECTED)
def test_files_that_lstopo_wrote(name: str) -> None:
    topology = read_hwloc_xml(DATA / f"{name}.xml")
    expected = EXPECTED[name]
    seen = CpuSet.parse_list(topology.info.get("allowed", str(topology.online)))
    assert CpuSet.parse_list(expected["pus"]) == seen
    assert _seen(topology.cores, seen) == _sets(expected["core"])
    if expected["package"]:
        assert _seen(topology.packages, seen) == _sets(expected["package"])
    nodes = [node.cpus & seen for node in topology.nodes]
    if expected["l3"]:
        borders = {cut for l3 in _sets(expected["l3"]) for node in nodes if (cut := l3 & node)}
        assert _seen(topology.llcs, seen) == borders
    assert len(topology.nodes) == len(expected["console"])
    for cpus in filter(None, nodes):
        assert cpus in _sets(expected["numa_cpus_by_logical"])
    for node, line in zip(topology.nodes, sorted(expected["console"], key=_os_index), strict=True):
        assert f"P#{node.id}" in line
        assert _megabytes(node.memory) in line


def _os_index(line: str) -> int:
    return int(line.partition("P#")[2].partition(")")[0].split()[0])


def _megabytes(size: int) -> str:
    """The memory as lstopo prints it."""
    megabytes = (size // 1024 + 512) // 1024
    return f"{(megabytes + 512) // 1024}GB" if megabytes >= 10240 else f"{megabytes}MB" if size else ""


@pytest.mark.parametrize("name", [name for name in EXPECTED if EXPECTED[name]["description"]])
def test_a_synthetic_string_and_its_xml_are_one_machine(name: str) -> None:
    written = read_hwloc_xml(DATA / f"{name}.xml")
    described = parse_synthetic(EXPECTED[name]["description"])
    assert replace(written, name="", info={}) == replace(described, name="")


def test_memory_only_nodes_and_distances() -> None:
    topology = read_hwloc_xml(DATA / "fs-memory-only.xml")
    want = load_topology("2 nodes x 1 llc x 4 cores x 2 threads, 64GiB per node, distance 21, 2 memory nodes of 128GiB")
    assert replace(topology, name=want.name, info=want.info) == want


def test_offline_cpus_are_possible_and_nothing_more() -> None:
    topology = read_hwloc_xml(DATA / "fs-offline.xml")
    assert str(topology.possible - topology.online) == "3,5,13"
    assert topology.node_of(5) == -1


def test_disallowed_cpus_are_on_line() -> None:
    topology = read_hwloc_xml(DATA / "fs-disallowed.xml")
    assert str(topology.online) == "0-7"
    assert topology.info["allowed"] == "0-3"


def test_pci_devices_have_the_node_they_hang_from() -> None:
    topology = read_hwloc_xml(DATA / "fs-pci.xml")
    guest = load_topology(str(DATA.parent / "kernel/debian-7.2/two-nodes"))
    want = {device.name: (device.node, (device.pci_class or 0) >> 8) for device in guest.devices if device.bus == "pci"}
    found = {device.name: (device.node, (device.pci_class or 0) >> 8) for device in topology.devices}
    assert found == want
    assert found["0000:81:00.0"] == (1, 0x0108)


def test_this_kind_of_machine_live() -> None:
    topology = read_hwloc_xml(DATA / "live.xml")
    assert topology.info["model"] == "AMD EPYC"
    assert [device.name for device in topology.devices] == [f"0000:00:0{n}.0" for n in range(6)]
    assert topology.nodes[0].memory == 6000160768


def test_format_3_adds_the_programming_interface_and_nested_bridges() -> None:
    text = (DATA / "fs-pci.xml").read_text().replace('topology version="2.0"', 'topology version="3.0"')
    text = text.replace('pci_type="0108 [0000:0000] [0000:0000] 00"', 'pci_type="0108 [8086:0a54] [8086:4702] 00 02"')
    old = '<object type="PCIDev" gp_index="40"'
    assert old in text
    bridge = (
        '<object type="Bridge" gp_index="940" bridge_type="1-1" depth="1" bridge_pci="0000:[90-90]"'
        ' pci_busid="0000:80:10.0" pci_type="0604 [8086:7075] [8086:0000] 00 00">'
        '<object type="PCIDev" gp_index="941" pci_busid="0000:90:00.0" pci_type="0200 [8086:10d3] [8086:0000] 00 00"/>'
        "</object>"
    )
    topology = parse_hwloc_xml(text.replace(old, bridge + old).encode())
    by_name = {device.name: device for device in topology.devices}
    assert by_name["0000:81:00.0"].pci_class == 0x010802
    assert by_name["0000:81:00.0"].modalias == "pci:v00008086d00000A54sv00008086sd00004702bc01sc08i02"
    assert by_name["0000:90:00.0"] == DeviceInfo(
        name="0000:90:00.0",
        bus="pci",
        node=1,
        parent="0000:80:10.0",
        pci_class=0x020000,
        modalias="pci:v00008086d000010D3sv00008086sd00000000bc02sc00i00",
    )


@pytest.mark.parametrize("name", [name for name in PRESETS if name not in ("grace-hopper", "large-4096")])
def test_presets_round_trip(name: str) -> None:
    topology = preset(name)
    assert hwloc_losses(topology) == []
    again = parse_hwloc_xml(to_hwloc_xml(topology).encode())
    assert replace(again, name=name, info=topology.info) == topology


@given(machines())
@settings(deadline=None, max_examples=60)
def test_what_is_not_named_as_lost_comes_back(topology: Topology) -> None:
    losses = " ".join(hwloc_losses(topology))
    again = parse_hwloc_xml(to_hwloc_xml(topology).encode())
    if "nodes whose CPUs" not in losses:
        assert again.nodes == topology.nodes
    assert again.distances == topology.distances
    assert (again.possible, again.online) == (topology.possible, topology.online)
    if "cores" not in losses and "nodes whose CPUs" not in losses:
        assert again.cores == topology.cores
        assert again.packages == topology.packages
        assert again.llcs == topology.llcs


def test_losses_are_one_line_each() -> None:
    guest = load_topology(str(DATA.parent / "kernel/debian-7.2/two-nodes-isolated"))
    losses = " ".join(hwloc_losses(guest))
    for word in ("isolation", "not on PCI", "driver"):
        assert word in losses
    absent = replace(symmetric("t", cores=4), present=CpuSet.of([0, 1, 2]), online=CpuSet.of([0]))
    assert "not present" in " ".join(hwloc_losses(absent))
    assert "offline" in hwloc_losses(preset("grace-hopper"))[0]
    isolated = apply_cmdline(preset("laptop"), CommandLine.parse("isolcpus=1"))
    assert len(hwloc_losses(isolated)) == 1


def test_a_machine_that_is_no_tree_cannot_be_written() -> None:
    base = symmetric("t", nodes=2, cores=2)
    crossing = replace(base, llcs=(CpuSet.of([0]), CpuSet.of([1, 2]), CpuSet.of([3])))
    with pytest.raises(InputError, match="overlaps"):
        to_hwloc_xml(crossing)


def test_a_cpu_on_no_node_cannot_be_written() -> None:
    base = symmetric("t", nodes=2, cores=2)
    nowhere = replace(base, nodes=(base.nodes[0], replace(base.nodes[1], cpus=CpuSet.of([2]))))
    with pytest.raises(InputError, match="CPU 3 is on no node"):
        to_hwloc_xml(nowhere)


ONE = (DATA / "syn-two-memories.xml").read_text()
BOMB = (
    '<?xml version="1.0"?><!DOCTYPE topology [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    '<topology version="2.0">&b;</topology>'
)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "not XML"),
        ("<topology", "not XML"),
        ("hello", "not XML"),
        ("<a/>", "no Machine"),
        ('<topology version="2.0"/>', "no Machine"),
        ("<topology><object type='Machine'/></topology>", "version 1"),
        ('<topology version="9.0"/>', "version 1 or of the future"),
        (BOMB, "entities"),
        ("<?xml version='1.0' encoding='made-up'?><a/>", "not XML"),
        ("<o>" * 300 + "</o>" * 300, "deeper"),
        (ONE.replace('cpuset="0x000000ff"', 'cpuset="0xf...f"'), "bitmap"),
        (ONE.replace('cpuset="0x000000ff"', 'cpuset="' + "0xffffffff," * 300 + '0x0"'), "8192"),
        (ONE.replace('type="NUMANode" os_index="1"', 'type="NUMANode" os_index="0"'), "twice"),
        (ONE.replace('type="NUMANode" os_index="1"', 'type="NUMANode"'), "missing"),
        (ONE.replace('type="NUMANode"', 'type="Group"'), "NUMA nodes"),
        (ONE.replace('local_memory="1000000000"', 'local_memory="-5"'), "not a number"),
        (ONE.replace('type="Core"', 'type="Machine"'), "two Machine"),
    ],
)
def test_what_is_no_machine(text: str, word: str) -> None:
    with pytest.raises(InputError, match=word) as caught:
        parse_hwloc_xml(text.encode())
    assert str(caught.value).isprintable()


def test_too_many_elements_are_refused() -> None:
    with pytest.raises(InputError, match="elements"):
        parse_hwloc_xml(b'<topology version="2.0">' + b"<a/>" * 260_000 + b"</topology>")


def test_words_of_hwloc() -> None:
    assert parse_bitmap("0x0000ffff,,0x00ffffff", "t").to_mask() == "ffff,00000000,00ffffff"
    assert parse_bitmap("0x0", "t") == CpuSet()
    kind = object_kind("L1iCache")
    assert kind is not None
    assert (kind.name, kind.level, kind.instruction) == ("cache", 1, True)
    assert object_kind("p") is None
    assert object_kind("MemCache") is None
