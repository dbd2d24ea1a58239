from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError
from numaprobe.kernel.lab.plan import GuestPlan, check_plan, first_bus, place_devices
from numaprobe.kernel.lab.qemu import GUEST_MEMORY, guest_cpus, guest_memory, qemu_options, vng_command
from numaprobe.kernel.lab.stage import Stage
from numaprobe.topology import Node, Topology, symmetric

MIB = 2**20


@pytest.fixture
def machine() -> Topology:
    return symmetric("lab", nodes=2, llcs=1, cores=2, memory=2**30, interleaved=False)


def plan_for(machine: Topology) -> GuestPlan:
    wanted = [("a", "nvme", 1), ("b", "virtio-blk", 1), ("c", "nvme", 0), ("d", "virtio-rng", -1)]
    return GuestPlan(topology=machine, devices=place_devices(wanted, machine), cmdline="isolcpus=3")  # type: ignore[arg-type]


def test_addresses_are_those_that_a_guest_gave(machine: Topology) -> None:
    """Seen in guests of 6.1 and 6.12: /sys/bus/pci/devices with the same options."""
    assert [device.address for device in plan_for(machine).devices] == [
        "0000:81:00.0",
        "0000:82:00.0",
        "0000:41:00.0",
        "0000:01:00.0",
    ]


@pytest.mark.parametrize("nodes", range(1, 8))
def test_the_buses_of_nodes_do_not_meet(nodes: int) -> None:
    buses = [first_bus(node, nodes) for node in range(nodes)]
    assert buses == sorted(set(buses))
    assert buses[0] >= 32 or nodes > 6
    assert all(b - a > 15 for a, b in zip(buses, [*buses[1:], 257], strict=True))


def test_the_options_make_the_machine(machine: Topology) -> None:
    text = shlex.join(qemu_options(plan_for(machine)))
    for part in (
        "-smp cpus=4,sockets=2,dies=1,cores=2,threads=1,maxcpus=4",
        "node,nodeid=0,cpus=0-1,memdev=ram0",
        "node,nodeid=1,cpus=2-3,memdev=ram1",
        "dist,src=0,dst=1,val=20",
        "pxb-pcie,id=pxb1,bus=pcie.0,bus_nr=128,numa_node=1",
        "pxb-pcie,id=pxb0,bus=pcie.0,bus_nr=64,numa_node=0",
        "pcie-root-port,id=port0,bus=pxb1,chassis=1",
        "nvme,serial=lab0,drive=drive0,bus=port0,id=dev0",
        "pcie-root-port,id=port3,bus=pcie.0,chassis=4,addr=0x11",
    ):
        assert part in text
    assert text.index("id=pxb1") < text.index("id=pxb0")


def test_memoryless_and_cpuless_nodes(machine: Topology) -> None:
    odd = replace(
        machine,
        nodes=(machine.nodes[0], replace(machine.nodes[1], memory=0), Node(2, CpuSet(), 2**30)),
        distances=((10, 20, 30), (20, 10, 40), (30, 40, 10)),
    )
    text = shlex.join(qemu_options(GuestPlan(topology=odd, devices=())))
    assert "node,nodeid=1,cpus=2-3 " in text
    assert "node,nodeid=2,memdev=ram2" in text
    assert "dist,src=1,dst=2,val=40" in text


def test_memory_is_what_a_guest_can_have(machine: Topology) -> None:
    assert guest_memory(machine) == {0: 2**30, 1: 2**30}
    large = replace(machine, nodes=tuple(replace(node, memory=2**40) for node in machine.nodes))
    assert sum(guest_memory(large).values()) == GUEST_MEMORY
    three = symmetric("three", nodes=3, memory=2**40)
    assert all(size % MIB == 0 for size in guest_memory(three).values())


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ({"nodes": 2, "llcs": 2, "cores": 2}, "sockets=2,dies=2,cores=2,threads=1"),
        ({"nodes": 1, "llcs": 1, "cores": 2, "smt": 2}, "sockets=1,dies=1,cores=2,threads=2"),
    ],
)
def test_caches_and_threads(shape: dict[str, int], expected: str) -> None:
    assert expected in guest_cpus(symmetric("m", interleaved=False, **shape))  # type: ignore[arg-type]


def test_the_command_runs_the_script_and_keeps_udev_from_loading_the_drivers(machine: Topology) -> None:
    command = vng_command(
        plan_for(machine),
        vng=Path("/bin/vng"),
        stage=Stage(Path("/k/boot/vmlinuz-6.1"), Path("/k/lib/modules/6.1"), Path("/k/tmp")),
        shared=Path("/s"),
        script=Path("/s/g.sh"),
    )
    assert command[:2] == ["/bin/vng", "--verbose"]
    assert command[command.index("--run") + 1] == "/k/boot/vmlinuz-6.1"
    appended = [part for part in command if part.startswith("--append=")]
    assert appended[0].startswith("--append=modprobe.blacklist=nvme,virtio_blk,")
    assert appended[1:] == ["--append=isolcpus=3"]
    assert "--disable-kvm" in command
    assert command[-2:] == ["--exec", "/s/g.sh"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"nodes": 2, "cores": 64}, "too large"),
        ({"nodes": 8, "cores": 1}, "too large"),
        ({"nodes": 2, "cores": 1, "memory": 0}, "memory"),
    ],
)
def test_a_machine_that_cannot_boot_is_refused(changed: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_plan(GuestPlan(topology=symmetric("m", **changed), devices=()))  # type: ignore[arg-type]


def test_nodes_with_gaps_are_refused(machine: Topology) -> None:
    gap = replace(machine, nodes=(machine.nodes[0], replace(machine.nodes[1], id=2)))
    with pytest.raises(InputError, match="gap"):
        check_plan(GuestPlan(topology=gap, devices=()))


def test_devices_that_have_no_place_are_refused(machine: Topology) -> None:
    with pytest.raises(InputError, match="node 5"):
        place_devices([("a", "nvme", 5)], machine)
    with pytest.raises(InputError, match="at most 31"):
        place_devices([(f"d{i}", "nvme", 0) for i in range(32)], machine)
