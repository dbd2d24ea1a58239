from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from machines import machines

from numaprobe.topology import Topology, describe, load_topology, preset

GUEST = Path(__file__).parents[1] / "data/kernel/debian-7.2/two-nodes-isolated"


def test_the_seeds_machine_in_words() -> None:
    rows = dict(describe(preset("epyc-9a64")))
    assert rows["CPUs"] == "256 online (0-255)"
    assert rows["LLCs"] == "16 of 16 CPUs, the first 0-7,128-135"
    assert rows["cores"] == "128 of 2 CPUs, the first 0,128"
    assert rows["memory"] == "768 GiB"
    assert "isolated" not in rows


def test_isolation_and_devices_in_words() -> None:
    rows = dict(describe(load_topology(str(GUEST))))
    assert rows["isolated"] == "4-5"
    assert rows["housekeeping"] == "0-3,6-7"
    assert rows["devices"] == "17 on pci, virtio; 12 with a node"
    assert rows["memory"] == "unknown"


@given(machines())
@settings(deadline=None, max_examples=40)
def test_any_machine_can_be_described(topology: Topology) -> None:
    assert all(label and value for label, value in describe(topology))
