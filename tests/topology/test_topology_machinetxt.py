from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from numaprobe.errors import InputError
from numaprobe.topology import CommandLine, load_topology, parse_machine_txt, preset, read_machine_txt, unbound_cpumask

KERNEL = Path(__file__).parents[1] / "data" / "kernel"
GUESTS = sorted(path.parent.relative_to(KERNEL).as_posix() for path in KERNEL.glob("*/*/machine.txt"))


def test_there_are_four_guests() -> None:
    assert [
        f"{kernel}/{folder}"
        for kernel in ("debian-6.1", "debian-7.2")
        for folder in ("two-nodes", "two-nodes-isolated")
    ] == GUESTS


@pytest.mark.parametrize("guest", GUESTS)
def test_a_guest_is_the_preset_with_devices(guest: str) -> None:
    topology = read_machine_txt(KERNEL / guest / "machine.txt")
    want = preset("qemu-2n8c")
    bare = replace(topology, devices=(), housekeeping=want.housekeeping, name=want.name, info=want.info)
    nodes = tuple(replace(node, memory=0) for node in want.nodes)
    assert bare == replace(want, nodes=nodes)
    assert topology.name == guest
    nvme = [device for device in topology.devices if device.pci_class == 0x010802]
    assert [(device.name, device.node) for device in nvme] == [(f"0000:8{n}:00.0", 1) for n in (1, 2, 3)]


@pytest.mark.parametrize("guest", GUESTS)
def test_our_masks_are_those_that_the_guest_had(guest: str) -> None:
    topology = load_topology(str(KERNEL / guest))
    has_wq = guest.startswith("debian-6")
    mask = topology.info["wq_unbound"].split()[0]
    assert unbound_cpumask(topology, with_wq=has_wq).to_mask(8) == mask
    isolated = "4-5" if "isolated" in guest else ""
    assert str(topology.housekeeping.isolated) == isolated
    assert str(topology.housekeeping.managed_irq) == isolated
    assert "lab.off" in CommandLine.parse(topology.info["cmdline"])


def test_kernel_and_inherited_nodes() -> None:
    topology = load_topology(str(KERNEL / "debian-7.2/two-nodes/machine.txt"))
    assert topology.info["kernel"] == "7.2.12+deb13-amd64"
    virtio = {device.name: device for device in topology.devices if device.bus == "virtio"}
    assert virtio["virtio0"].parent == "0000:84:00.0"
    assert virtio["virtio0"].node == 1


HEADER = "Linux (none) 6.1 #1 x86_64\nquiet\n"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "names no node"),
        (HEADER, "names no node"),
        (HEADER + "node0 0-3", "3: 'node0 0-3' cannot"),
        (HEADER + "node0 0-x dist 10", "3: '0-x' is not a CPU list"),
        (HEADER + "node0 0-3 dist 10 20", "1x1 distance"),
        (HEADER + "node0 0-3 dist 10\nnode0 4-7 dist 10", "distinct"),
        (HEADER + "node0 0-3 dist 10\n\ncpu0 x cache", "5: 'x' is not a CPU list"),
        (HEADER + "node0 0-3 dist 10\n0000:00:00.0 class=zz node=1", "cannot be understood"),
        (HEADER + "node0 0-3 dist 10\n0000:00:00.0 class=0x060000 node=1", "is on node 1"),
        (HEADER + "node0  dist 10", "no CPU is online"),
    ],
)
def test_mistakes_have_a_line(text: str, word: str) -> None:
    with pytest.raises(InputError, match=word):
        parse_machine_txt(text)


def test_one_cpu_line_is_not_needed() -> None:
    topology = parse_machine_txt(HEADER + "node0 0-1 dist 10 20\nnode1 2-3 dist 20 10\n")
    assert [str(llc) for llc in topology.llcs] == ["0-1", "2-3"]
    assert [str(package) for package in topology.packages] == ["0-1", "2-3"]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_machine_txt(tmp_path / "machine.txt")
