from __future__ import annotations

import pytest

from numaprobe.errors import UnknownNameError
from numaprobe.topology import PRESETS, load_topology, preset


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_and_says_its_source(name: str) -> None:
    topology = load_topology(name)
    assert topology.name == name
    assert topology.info["model"]
    assert topology.info["source"]
    ids = [node.id for node in topology.nodes]
    assert all(topology.distance(a, b) == topology.distance(b, a) for a in ids for b in ids)


def test_the_seeds_machine() -> None:
    topology = preset("epyc-9a64")
    assert len(topology.possible) == 256
    assert str(topology.nodes[0].cpus) == "0-63,128-191"
    assert str(topology.llcs[0]) == "0-7,128-135"
    assert all(str(topology.cores[topology.core_of(cpu)]) == f"{cpu},{cpu + 128}" for cpu in range(128))
    assert len(topology.llcs) == 16


@pytest.mark.parametrize(
    ("name", "cpus", "nodes", "llcs", "cores", "packages"),
    [
        ("epyc-9654-nps4", 384, 8, 24, 192, 2),
        ("xeon-2s", 160, 2, 2, 80, 2),
        ("sapphire-rapids-snc4", 224, 8, 8, 112, 2),
        ("altra-1s", 80, 1, 40, 80, 1),
        ("grace-2s", 144, 2, 2, 144, 2),
        ("grace-hopper", 72, 9, 1, 72, 1),
        ("xeon-max-cxl", 224, 5, 2, 112, 2),
        ("threadripper-2990wx", 64, 4, 8, 32, 1),
        ("qemu-2n8c", 8, 2, 2, 8, 2),
        ("laptop", 16, 1, 1, 8, 1),
        ("large-4096", 4096, 64, 256, 2048, 64),
    ],
)
def test_shapes(name: str, cpus: int, nodes: int, llcs: int, cores: int, packages: int) -> None:
    topology = preset(name)
    found = (topology.possible, topology.nodes, topology.llcs, topology.cores, topology.packages)
    assert tuple(len(part) for part in found) == (cpus, nodes, llcs, cores, packages)


def test_odd_nodes() -> None:
    assert [node.id for node in preset("xeon-max-cxl").nodes if not node.cpus] == [2, 3, 4]
    assert [node.id for node in preset("threadripper-2990wx").nodes if not node.memory] == [1, 3]
    hopper = preset("grace-hopper")
    assert [node.id for node in hopper.nodes if not node.online] == list(range(2, 9))
    assert not hopper.node_online(2)


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="epyc-9a64"):
        preset("epyc9a64")
