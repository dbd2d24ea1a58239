from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machines import shapes

from numaprobe.errors import InputError
from numaprobe.topology import Topology, load_topology, parse_compact, preset, to_compact
from numaprobe.topology.model import default_distances


@pytest.mark.parametrize(
    "text",
    [
        "2 nodes x 8 llcs x 8 cores x 2 threads, 384GiB per node, distance 32",
        "2 nodes \u00d7 8 llcs \u00d7 8 cores \u00d7 2 threads, 384GiB, distance 32",
        "2 threads * 8 cores*8 LLCs * 2 Nodes,  384 GiB  per node , distance 32",
        "2nodes x 8llc x8cores x 2pus, distances 32/32, 384GiB each node",
        "nodes=2 x l3=8 x cores=8 x smt=2, 384GiB/node, siblings interleaved, distance 32",
        "2 packages x 1 node x 8 caches x 8 cores x 2 cpus, 384G, distance 32",
    ],
)
def test_forgiving_ways_to_write_the_seeds_machine(text: str) -> None:
    want = preset("epyc-9a64")
    assert replace(load_topology(text), name=want.name, info=want.info) == want


def test_options() -> None:
    topology = parse_compact(
        "2 packages x 2 nodes x 2 cores x 2 threads, siblings adjacent, distance 12/32, 2 memory nodes of 8GiB"
    )
    assert [str(core) for core in topology.cores[:2]] == ["0-1", "2-3"]
    assert [len(node.cpus) for node in topology.nodes] == [4, 4, 4, 4, 0, 0]
    assert topology.nodes[5].memory == 8 * 2**30
    assert topology.distances[0] == (10, 12, 32, 32, 32, 32)
    assert topology.nodes[0].memory == 2**30


def test_what_is_not_said_is_one() -> None:
    topology = parse_compact("4 cores")
    assert (len(topology.nodes), len(topology.llcs), len(topology.possible)) == (1, 1, 4)
    assert topology.distances == default_distances(1)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("2 nodes x 3 bananas", "3 bananas"),
        ("2 nodes x 2 nodes", "twice"),
        ("2 nodes x", "number of packages"),
        ("0 nodes", "at least one node"),
        ("9000 cores", "8192"),
        ("1025 nodes", "1024"),
        ("2 nodes, 5 parsecs", "parsecs"),
        ("2 nodes, yellow", "yellow"),
        ("2 nodes, distance 9", "distance 9"),
        ("2 nodes, distance 999", "distance 999"),
        ("1000 nodes, 900 memory nodes of 1GiB", "1024"),
        ("2 nodes, 2 memory nodes of nothing", "nothing"),
        ("2 nodes,", "''"),
        ("2 nodes" + " " * 5000, "4096"),
    ],
)
def test_mistakes_are_named(text: str, word: str) -> None:
    with pytest.raises(InputError, match=word):
        parse_compact(text)


@given(shapes(), st.integers(11, 99), st.integers(11, 99))
@settings(deadline=None, max_examples=60)
def test_round_trip(topology: Topology, near: int, far: int) -> None:
    total, inside = len(topology.nodes), len(topology.nodes) // len(topology.packages)
    table = tuple(
        tuple(10 if a == b else near if a // inside == b // inside else far for b in range(total)) for a in range(total)
    )
    topology = replace(topology, distances=table)
    text = to_compact(topology)
    assert text is not None
    assert replace(parse_compact(text), name=topology.name) == topology


@pytest.mark.parametrize("name", ["grace-hopper", "xeon-max-cxl", "threadripper-2990wx", "large-4096"])
def test_what_the_grammar_cannot_say(name: str) -> None:
    assert to_compact(preset(name)) is None
