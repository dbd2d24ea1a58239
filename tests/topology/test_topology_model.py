from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machines import machines

from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError
from numaprobe.topology import DeviceInfo, Node, Topology, symmetric
from numaprobe.topology.model import partition, tiered_distances


@given(machines())
@settings(deadline=None, max_examples=50)
def test_lookups_agree_with_the_sets(topology: Topology) -> None:
    topology.validate()
    for cpu in topology.possible:
        assert cpu in topology.llcs[topology.llc_of(cpu)]
        assert cpu in topology.cores[topology.core_of(cpu)]
        assert cpu in topology.packages[topology.package_of(cpu)]
        node = topology.node(topology.node_of(cpu))
        assert node is not None
        assert cpu in node.cpus
    for a in topology.nodes:
        for b in topology.nodes:
            assert topology.distance(a.id, b.id) == topology.distances[a.id][b.id]


def test_what_is_unknown_has_the_kernels_defaults() -> None:
    topology = symmetric("t", nodes=2)
    assert topology.node_of(99) == -1
    assert topology.node(7) is None
    assert not topology.node_online(-1)
    assert topology.distance(-1, -1) == 10
    assert topology.distance(0, 9) == 20


def test_siblings_are_numbered_as_asked() -> None:
    assert str(symmetric("t", cores=4, smt=2).cores[1]) == "1,5"
    assert str(symmetric("t", cores=4, smt=2, interleaved=False).cores[1]) == "2-3"


@pytest.mark.parametrize(
    "counts",
    [{"nodes": 0}, {"llcs": -1}, {"cores": 8193}, {"nodes": 1025}, {"nodes": 3, "packages": 2}, {"smt": 10**30}],
)
def test_impossible_shapes_are_refused(counts: dict[str, int]) -> None:
    with pytest.raises(InputError):
        symmetric("t", **counts)  # type: ignore[arg-type]


def _broken() -> list[Topology]:
    good = symmetric("t", nodes=2, cores=2)
    every = good.possible
    return [
        replace(good, online=CpuSet()),
        replace(good, online=CpuSet.of([7])),
        replace(good, present=CpuSet.of([0])),
        replace(good, cores=good.cores[:-1]),
        replace(good, llcs=(every, every)),
        replace(good, packages=(*good.packages, CpuSet.of([9]))),
        replace(good, nodes=(good.nodes[1], good.nodes[0])),
        replace(good, nodes=(Node(-1, every), good.nodes[1])),
        replace(good, nodes=(Node(0, every), Node(1, every))),
        replace(good, nodes=(Node(0, CpuSet.of([99])), good.nodes[1])),
        replace(good, distances=((10,),)),
        replace(good, distances=((10, 20), (20,))),
        replace(good, distances=((10, 9), (20, 10))),
        replace(good, distances=((10, 256), (20, 10))),
        replace(good, devices=(DeviceInfo(name="d", bus="pci", node=5),)),
    ]


@pytest.mark.parametrize("topology", _broken())
def test_broken_promises_are_found(topology: Topology) -> None:
    with pytest.raises(InputError) as caught:
        topology.validate()
    assert caught.value.where == "t"


@given(st.lists(st.sets(st.integers(0, 30)), max_size=8), st.sets(st.integers(0, 30)))
@settings(deadline=None)
def test_a_partition_covers_the_universe_once(groups: list[set[int]], universe: set[int]) -> None:
    parts = partition([CpuSet.of(group) for group in groups], CpuSet.of(universe))
    assert sorted(cpu for part in parts for cpu in part) == sorted(universe)
    assert [part.first for part in parts] == sorted(part.first or 0 for part in parts)


@given(st.lists(st.sets(st.integers(0, 30), min_size=1), max_size=8), st.integers(0, 28))
@settings(deadline=None)
def test_no_part_reaches_across_a_border(groups: list[set[int]], border: int) -> None:
    universe = CpuSet.of(range(31))
    borders = [CpuSet.of(range(border)), CpuSet.of(range(border, 28))]
    for part in partition([CpuSet.of(group) for group in groups], universe, borders):
        assert sum(bool(part & side) for side in [*borders, CpuSet.of([28, 29, 30])]) == 1


def test_tiers() -> None:
    assert tiered_distances(4, [(2, 12)], far=32) == (
        (10, 12, 32, 32),
        (12, 10, 32, 32),
        (32, 32, 10, 12),
        (32, 32, 12, 10),
    )
