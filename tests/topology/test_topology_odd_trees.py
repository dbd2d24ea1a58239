"""Sysfs trees of old kernels and of buggy firmware: read as far as they go, and what is assumed is said."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from numaprobe.cpuset import CpuSet
from numaprobe.scenario import load_scenario, prepare
from numaprobe.topology import from_json, load_topology, parse_machine_txt, read_sysfs, symmetric, to_json, write_sysfs
from numaprobe.topology.table import describe

if TYPE_CHECKING:
    from pathlib import Path

    from numaprobe.topology import Topology

MACHINE = symmetric("m", nodes=2, llcs=2, cores=2, smt=2)
#: a list and the mask that stands beside it in a real tree
MASKS = {
    "cpulist": "cpumap",
    "shared_cpu_list": "shared_cpu_map",
    "core_cpus_list": "core_cpus",
    "thread_siblings_list": "thread_siblings",
    "package_cpus_list": "package_cpus",
    "core_siblings_list": "core_siblings",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_sysfs(MACHINE, tmp_path)


def to_masks(tree: Path) -> None:
    """Leave the masks alone, as kernels before 2.6.28 have them."""
    for name, mask in MASKS.items():
        for path in list(tree.rglob(name)):
            path.with_name(mask).write_text(CpuSet.parse_list(path.read_text().strip()).to_mask() + "\n")
            path.unlink()


def same(topology: Topology) -> Topology:
    return replace(topology, name=MACHINE.name, info={})


def test_masks_alone_are_enough(tree: Path) -> None:
    to_masks(tree)
    assert not list(tree.rglob("*_list"))
    assert same(read_sysfs(tree)) == MACHINE


def test_links_to_cpus_are_enough(tree: Path) -> None:
    for node in MACHINE.nodes:
        directory = tree / f"devices/system/node/node{node.id}"
        for name in ("cpulist", "cpumap"):
            (directory / name).unlink(missing_ok=True)
        for cpu in node.cpus:
            (directory / f"cpu{cpu}").symlink_to(tree / f"devices/system/cpu/cpu{cpu}")
    assert same(read_sysfs(tree)) == MACHINE


def test_no_list_of_online_cpus(tree: Path) -> None:
    (tree / "devices/system/cpu/online").unlink()
    (tree / "devices/system/cpu/cpu3/online").write_text("0\n")
    (tree / "devices/system/cpu/cpu4/online").write_text("\n")  # not readable when it was recorded
    assert read_sysfs(tree).online == MACHINE.possible - CpuSet.of([3])


def node_files(tree: Path, name: str, *texts: str) -> None:
    for node, text in enumerate(texts):
        (tree / f"devices/system/node/node{node}/{name}").write_text(text + "\n")


def test_a_cpu_in_two_nodes(tree: Path) -> None:
    node_files(tree, "cpulist", "0-3,8-11", "2-7,12-15")
    topology = read_sysfs(tree)
    assert [str(node.cpus) for node in topology.nodes] == ["0-3,8-11", "4-7,12-15"]
    assert topology.warnings == ("CPUs 2-3 are in several nodes; each is taken to be on the first that names it",)


@pytest.mark.parametrize("row", ["0 21", "10", "10 21 21", "10 999", "9 20"])
def test_a_row_of_distances_that_fits_no_machine(tree: Path, row: str) -> None:
    node_files(tree, "distance", row, "21 10")
    topology = read_sysfs(tree)
    assert topology.distances == ((10, 20), (21, 10))
    (line,) = topology.warnings
    assert f"node0/distance says '{row}'" in line
    assert "defaults (10, 20)" in line


def test_many_broken_rows_are_told_in_few_lines(tmp_path: Path) -> None:
    tree = write_sysfs(symmetric("m", nodes=12), tmp_path)
    node_files(tree, "distance", *["0"] * 12)
    assert len(read_sysfs(tree).warnings) == 5


def test_node_0_offline_and_rows_for_all_possible_nodes(tree: Path) -> None:
    (tree / "devices/system/node/online").write_text("1\n")
    node_files(tree, "distance", "10 21", "21 10")
    topology = read_sysfs(tree)
    assert [node.online for node in topology.nodes] == [False, True]
    assert topology.distances == ((10, 21), (21, 10))


def test_cpus_in_no_node_are_never_silent(tree: Path) -> None:
    for node in (0, 1):
        for path in (tree / f"devices/system/node/node{node}").glob("cpu*"):
            path.unlink()
    topology = read_sysfs(tree)
    (line,) = topology.warnings
    assert line.startswith("16 online CPUs (0-15) in no node")
    assert ("warning", line) in describe(topology)


def test_offline_cpus_in_no_node_are_as_sysfs_shows_them(tree: Path) -> None:
    (tree / "devices/system/cpu/online").write_text("0-14\n")
    node_files(tree, "cpulist", "0-3,8-11", "4-7,12-14")
    assert read_sysfs(tree).warnings == ()


def test_assumptions_go_with_the_machine(tree: Path) -> None:
    node_files(tree, "distance", "0 0", "21 10")
    topology = read_sysfs(tree)
    assert from_json(json.loads(json.dumps(to_json(topology)))) == topology
    assert "assumptions" not in to_json(MACHINE)


def test_a_run_says_what_it_assumed(tree: Path) -> None:
    node_files(tree, "distance", "0 0", "21 10")
    setting = prepare(load_scenario("nvme-epyc"), machine=load_topology(str(tree)))
    assert [warning.kind for warning in setting.warnings] == ["machine"]


@pytest.mark.parametrize("line", ["cpu0 cache ", "cpu0  cache", "cpu0 0-1 cache "])
def test_a_guest_without_caches(line: str) -> None:
    text = f"Linux guest 6.1.0-56-amd64 #1\nquiet\nnode0 0-1 dist 10 20\nnode1 2-3 dist 20 10\n{line}\n"
    topology = parse_machine_txt(text)
    assert [str(llc) for llc in topology.llcs] == ["0-1", "2-3"]
    assert topology.info["kernel"] == "6.1.0-56-amd64"
