from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machines import machines

from numaprobe.errors import InputError
from numaprobe.topology import MACHINE_SCHEMA, PRESETS, Topology, from_json, preset, to_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(machines())
@settings(deadline=None, max_examples=60)
def test_round_trip(topology: Topology) -> None:
    text = json.dumps(to_json(topology))
    again = from_json(json.loads(text))
    assert again == topology
    assert json.dumps(to_json(again)) == text


@pytest.mark.parametrize("name", PRESETS)
def test_presets_round_trip(name: str) -> None:
    assert from_json(to_json(preset(name))) == preset(name)


def test_the_form_is_stable() -> None:
    block = to_json(preset("qemu-2n8c"))
    assert list(block) == [
        "schema",
        "name",
        "possible",
        "present",
        "online",
        "nodes",
        "cores",
        "llcs",
        "packages",
        "distances",
        "housekeeping",
        "devices",
        "info",
    ]
    assert block["schema"] == MACHINE_SCHEMA
    assert block["nodes"][1] == {"id": 1, "cpus": "4-7", "memory": 2 * 2**30, "online": True}
    assert block["llcs"] == ["0-3", "4-7"]
    assert block["housekeeping"] == {"isolated": "", "managed_irq": "", "nohz_full": "", "unbound_cpus": None}


def test_little_is_enough() -> None:
    topology = from_json({"nodes": [{"id": 0, "cpus": "0-3"}, {"id": 1, "cpus": "4-7"}]})
    assert str(topology.online) == "0-7"
    assert [str(llc) for llc in topology.llcs] == ["0-3", "4-7"]
    assert len(topology.cores) == 8
    assert topology.distance(0, 1) == 20


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"schema": "numaprobe.machine/9"}, "machine"),
        ({"colour": 1}, "machine"),
        ({"nodes": []}, "machine.nodes"),
        ({"nodes": "0-3"}, "machine.nodes"),
        ({"nodes": [7]}, "machine.nodes[0]"),
        ({"nodes": [{"id": -1}]}, "machine.nodes[0].id"),
        ({"nodes": [{"id": True}]}, "machine.nodes[0].id"),
        ({"nodes": [{"id": 10**9}]}, "machine.nodes[0].id"),
        ({"nodes": [{}]}, "machine.nodes[0].id"),
        ({"nodes": [{"id": 0, "cpu": "0"}]}, "machine.nodes[0]"),
        ({"nodes": [{"id": 0, "memory": -1}]}, "machine.nodes[0].memory"),
        ({"nodes": [{"id": 0, "online": 1}]}, "machine.nodes[0].online"),
        ({"nodes": [{"id": 0}] * 1025}, "machine.nodes"),
        ({"possible": 7}, "machine.possible"),
        ({"online": "a"}, "machine.online"),
        ({"cores": ["0", ""]}, "machine.cores"),
        ({"cores": ["0"] * 99}, "machine.cores"),
        ({"cores": ["0"]}, "qemu-2n8c"),
        ({"distances": ["1020"]}, "machine.distances[0]"),
        ({"distances": [[10, 2.5], [20, 10]]}, "machine.distances[0]"),
        ({"housekeeping": []}, "machine.housekeeping"),
        ({"housekeeping": {"isolcpus": "1"}}, "machine.housekeeping"),
        ({"devices": [{"bus": "pci"}]}, "machine.devices[0].name"),
        ({"devices": [{"name": "a", "node": "0"}]}, "machine.devices[0].node"),
        ({"devices": [{"name": "a", "driver": 7}]}, "machine.devices[0].driver"),
        ({"devices": [{"name": "a", "node": 9}]}, "qemu-2n8c"),
        ({"info": {"a": 1}}, "machine.info.a"),
    ],
)
def test_mistakes_have_a_place(changes: dict[str, Any], where: str) -> None:
    with pytest.raises(InputError) as caught:
        from_json(to_json(preset("qemu-2n8c")) | changes)
    assert caught.value.where == where


@given(st.dictionaries(st.sampled_from(list(to_json(preset("laptop")))), JSON))
@settings(deadline=None, max_examples=80)
def test_any_json_is_a_machine_or_an_input_error(changes: dict[str, Any]) -> None:
    for block in (changes, to_json(preset("laptop")) | changes):
        try:
            from_json(block).validate()
        except InputError as error:
            line = str(error)
        else:
            line = "fine"
        assert line.isprintable()


@pytest.mark.parametrize("block", [None, [], "machine", 7])
def test_no_object(block: Any) -> None:
    with pytest.raises(InputError, match="must be an object"):
        from_json(block)
