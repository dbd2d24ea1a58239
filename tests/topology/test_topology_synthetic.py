"""hwloc's synthetic syntax. Expected figures are what lstopo and hwloc-calc 2.9.0 say of the same string."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machines import shapes

from numaprobe.errors import InputError
from numaprobe.topology import Topology, parse_synthetic, preset, to_synthetic
from numaprobe.topology.model import default_distances


def _summary(text: str) -> tuple[str, str, str]:
    """CPUs of each node, of each package, and of the second core."""
    topology = parse_synthetic(text)
    nodes = " ".join(f"{node.id}:{node.cpus}" for node in topology.nodes)
    return nodes, " ".join(map(str, topology.packages)), str(topology.cores[1])


@pytest.mark.parametrize(
    ("text", "nodes", "packages", "second_core"),
    [
        ("pack:2 numa:1(memory=64GiB) l3:1 core:4 pu:2", "0:0-7 1:8-15", "0-7 8-15", "2-3"),
        ("pack:2 [numa] l3:2 core:2 pu:2", "0:0-7 1:8-15", "0-7 8-15", "2-3"),
        ("PACKAGE:2 NumaNode:1 PU:2", "0:0-1 1:2-3", "0-1 2-3", "1"),
        ("node:2 pu:2", "0:0-1 1:2-3", "0-1 2-3", "1"),
        ("sock:2 core:2 pu:1", "0:0-3", "0-1 2-3", "1"),
        ("core:2 pu:2", "0:0-3", "0-3", "2-3"),
        ("core:2 2", "0:0-3", "0-3", "2-3"),
        ("pack:2 core:2 pu:2(indexes=2*4:1*2)", "0:0-7", "0-1,4-5 2-3,6-7", "1,5"),
        ("pack:2 core:2 pu:2(indexes=pack:core)", "0:0-7", "0,2,4,6 1,3,5,7", "1,5"),
        ("pack:2 core:2 pu:2(indexes=core:pack)", "0:0-7", "0-1,4-5 2-3,6-7", "1,5"),
        ("pack:2 core:2 pu:2(indexes=numa:core)", "0:0-7", "0-1,4-5 2-3,6-7", "1,5"),
        ("PU:2(indexes=5,9)", "0:5,9", "5,9", "9"),
        ("numa:2(memory=256MB indexes=1,0) core:2 pu:2", "0:4-7 1:0-3", "0-3 4-7", "2-3"),
        ("numa:2(indexes=8,9) pu:2", "8:0-1 9:2-3", "0-1 2-3", "1"),
        ("[numa] pack:2 [numa] core:2 [numa] pu:1", "0:0 1:1 2: 3:2 4:3 5: 6:", "0-1 2-3", "1"),
        ("pack:2 [numa] [numa] core:2 pu:2", "0:0-3 1: 2:4-7 3:", "0-3 4-7", "2-3"),
        ("2 3 4", "0:0-3 1:4-7 2:8-11 3:12-15 4:16-19 5:20-23", "0-11 12-23", "1"),
        ("2 2 2 2", "0:0-3 1:4-7 2:8-11 3:12-15", "0-7 8-15", "2-3"),
        ("3", "0:0-2", "0-2", "1"),
    ],
)
def test_as_lstopo_reads_it(text: str, nodes: str, packages: str, second_core: str) -> None:
    assert _summary(text) == (nodes, packages, second_core)


@pytest.mark.parametrize(
    ("text", "llcs"),
    [
        ("pack:2 l3:2 core:2 pu:1", "0-1 2-3 4-5 6-7"),
        ("die:2 l3:2 l2:2 l1d:2 l1i:1 core:1 pu:2", "0-7 8-15 16-23 24-31"),
        ("l2u:2 pu:2", "0-1 2-3"),
        ("pack:2 l1i:2 pu:2", "0-3 4-7"),
        ("pack:2 l3:1 numa:2 pu:2", "0-1 2-3 4-5 6-7"),
        ("2 1 2 2 2", "0-3 4-7 8-11 12-15"),
    ],
)
def test_the_llc_is_the_highest_cache_that_holds_data(text: str, llcs: str) -> None:
    assert " ".join(map(str, parse_synthetic(text).llcs)) == llcs


@pytest.mark.parametrize(
    ("text", "memory"),
    [
        ("numa:2 pu:1", 2**30),
        ("numa:2(memory=1kB) pu:1", 1000),
        ("numa:2(memory=1KiB) pu:1", 1024),
        ("numa:2(memory=1gb) pu:1", 10**9),
        ("numa:2(memory=0x400) pu:1", 1024),
        ("numa:2(memory=3) pu:1", 3),
        ("numa:2(memory=0) pu:1", 2**30),
        ("pack:2 [numa(memory=0)] pu:1", 0),
        ("pack:2 [numa] pu:1", 0),
        ("pack:2 [numa(memory=2TiB)] pu:1", 2**41),
    ],
)
def test_memory_as_lstopo_exports_it(text: str, memory: int) -> None:
    assert parse_synthetic(text).nodes[0].memory == memory


@pytest.mark.parametrize(
    "text",
    [
        # lstopo says that these are invalid
        "numa:2 2 2",
        "(memory=3GB) numa:2 core:2",
        "[numa] pack:2 [numa(memory=4G)] core:2 pu:1",
        "pack:1 numa:2 [numa] core:2 pu:2",
        "pack:2 core:1.5 pu:1",
        "machine:1 pack:2 pu:2",
        "pack:0 pu:1",
        "tile:2 core:2 pu:2",
        "misc:2 pu:2",
        "ca:2 pu:2",
        "pack:2 [memcache] [numa] pu:2",
        "pack:2,numa:1 pu:2",
        "l6:2 pu:1",
        "pa:2 n:2 co:2 p:2",
        # lstopo reads on with a warning, or takes indexes that leave CPUs out
        "pu:4(indexes=0,1,1,2)",
        "pu:4(indexes=0,1)",
        "pu:4(indexes=3*2)",
        "pu:4(indexes=0*2)",
        "pack:2 pu:4(indexes=core)",
        "pack:2 pu:4(indexes=pack:pack)",
        # ours: the limits of a machine
        "pack:8193 pu:1",
        "pack:100 core:100 pu:1",
        "[numa] pack:1024 [numa] pu:1",
        "pu:1(indexes=8192)",
        "1 2 3 4 5 6 7 8 9",
        "pack:2 pack:2 pu:1",
        "",
        "pu:",
        "[pack] pu:1",
        "pu:2(",
        "pu:2(colour=red)",
        "x" * 70_000,
        "pu:1 " * 200,
    ],
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_synthetic(text)
    assert len(str(caught.value)) < 300


@given(shapes(), st.integers(0, 2**50))
@settings(deadline=None, max_examples=60)
def test_round_trip(topology: Topology, memory: int) -> None:
    nodes = tuple(replace(node, memory=memory) for node in topology.nodes)
    topology = replace(topology, nodes=nodes, distances=default_distances(len(nodes)))
    text = to_synthetic(topology)
    assert text is not None
    assert replace(parse_synthetic(text), name=topology.name) == topology


def test_what_the_syntax_cannot_say() -> None:
    assert to_synthetic(preset("epyc-9a64")) is None  # its distances
    assert to_synthetic(preset("threadripper-2990wx")) is None
    assert to_synthetic(preset("xeon-2s")) == "pack:2 [numa(memory=274877906944)] l3:1 core:40 pu:2(indexes=2*80:1*2)"
