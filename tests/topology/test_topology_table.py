from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from machines import machines

from numaprobe.topology import (
    Topology,
    describe,
    device_rows,
    distance_rows,
    load_topology,
    node_rows,
    preset,
)

GUEST = Path(__file__).parents[1] / "data/kernel/debian-7.2/two-nodes-isolated"


def test_the_seeds_machine_in_words() -> None:
    rows = dict(describe(preset("epyc-9a64")))
    assert rows["CPUs"] == "256 on line (0-255)"
    assert rows["LLCs"] == "16 of 16 CPUs, the first 0-7,128-135"
    assert rows["cores"] == "128 of 2 CPUs, the first 0,128"
    assert rows["memory"] == "768 GiB"
    assert rows["node 1"] == "CPUs 64-127,192-255, 384 GiB, 8 LLCs"
    assert "isolated" not in rows


def test_isolation_and_devices_in_words() -> None:
    rows = dict(describe(load_topology(str(GUEST))))
    assert rows["isolated"] == "4-5"
    assert rows["housekeeping"] == "0-3,6-7"
    assert rows["devices"] == "17 on pci, virtio; 12 with a node"
    assert rows["memory"] == "unknown"


def test_odd_nodes_in_words() -> None:
    assert node_rows(preset("grace-hopper"))[2:4] == [
        ("1", "no CPU", "96 GiB", "", ""),
        ("2", "no CPU", "no memory", "", "off line"),
    ]


def test_distances() -> None:
    assert distance_rows(preset("qemu-2n8c")) == [("node", "0", "1"), ("0", "10", "20"), ("1", "20", "10")]


def test_devices() -> None:
    rows = device_rows(load_topology(str(GUEST)))
    assert rows[0] == ("device", "bus", "node", "driver", "parent")
    assert ("0000:00:00.0", "pci", "unknown", "", "") in rows
    assert ("virtio0", "virtio", "1", "", "0000:84:00.0") in rows


@given(machines())
@settings(deadline=None, max_examples=40)
def test_any_machine_can_be_described(topology: Topology) -> None:
    assert all(label and value for label, value in describe(topology))
    for rows in (node_rows(topology), distance_rows(topology), device_rows(topology)):
        assert len({len(row) for row in rows}) == 1
