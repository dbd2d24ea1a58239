"""What a guest is made of: a machine, devices on its nodes, and shell lines to be recorded.

A guest's devices get PCI addresses of its own: each node has a host bridge (``pxb-pcie``) with a fixed first bus, each
device a root port there, and the firmware numbers the ports' buses one after the other. The step between host bridges
is chosen so that two nodes begin at 0x40 and 0x80. A device without a node sits below the machine's own root complex,
which has none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from numaprobe.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numaprobe.topology import Topology

DeviceKind = Literal["nvme", "virtio-blk", "virtio-net", "virtio-rng"]

#: Software emulation on a few host cores: more than this does not boot in reasonable time.
MAX_CPUS: Final = 16
MAX_NODES: Final = 7
#: root ports below one host bridge: slots of its bus
MAX_DEVICES_PER_NODE: Final = 31

_BUSES: Final = 256

#: which emulated device a driver probes
KIND_OF_DRIVER: Final[Mapping[str, DeviceKind]] = {
    "nvme": "nvme",
    "virtio_blk": "virtio-blk",
    "virtio_net": "virtio-net",
    "virtio_rng": "virtio-rng",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestDevice:
    """An emulated device."""

    #: what the scenario calls it
    name: str
    kind: DeviceKind
    #: its node; -1: below the root complex that has none
    node: int
    #: its PCI address in the guest
    address: str
    #: a step plugs it in: when the guest is booted there is only its port
    plugged: bool = False

    @property
    def bus(self) -> int:
        """The bus of its address: the one behind its root port."""
        return int(self.address[5:7], 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestPlan:
    """A guest, and what it does."""

    topology: Topology
    devices: tuple[GuestDevice, ...]
    #: further kernel parameters
    cmdline: str = ""
    #: shell lines before the recording: load nothing, switch autoprobe off, …
    setup: tuple[str, ...] = ()
    #: shell lines that are recorded
    steps: tuple[str, ...] = ()
    #: shell lines after the recording, so that another plan finds the guest as this one did
    after: tuple[str, ...] = ()
    #: a step plugs or pulls a device: QEMU's monitor is asked (``monitor``)
    hotplug: bool = False
    #: drivers of which the probes while the kernel boots are recorded, too: they are built in
    at_boot: tuple[str, ...] = ()
    #: what the kernel did of the steps by itself, a sentence each
    notes: tuple[str, ...] = ()
    #: further options of QEMU, as they are
    qemu: tuple[str, ...] = ()
    #: name -> contents: files in the folder that the guest shares with us, ``$NUMAPROBE_SHARED`` there
    files: Mapping[str, bytes] = field(default_factory=dict)


def first_bus(node: int, nodes: int) -> int:
    """Return the bus of the host bridge of ``node`` on a machine of ``nodes`` nodes: the highest round step."""
    step = _BUSES // (nodes + 1)
    step = 1 << step.bit_length() - 1
    return step * (node + 1)


def place_devices(wanted: Iterable[tuple[str, DeviceKind, int]], topology: Topology) -> tuple[GuestDevice, ...]:
    """Return the devices (name, kind, node) with their addresses in the guest.

    Raises:
        InputError: a node that is not there, or too many devices on one.

    """
    nodes = [node.id for node in topology.nodes]
    count: dict[int, int] = {}
    devices = []
    for name, kind, node in wanted:
        if node != -1 and node not in nodes:
            raise InputError(f"device '{name}': node {node} does not exist on the guest; it has {nodes}")
        index = count[node] = count.get(node, 0) + 1
        limit = min(MAX_DEVICES_PER_NODE, first_bus(0, len(nodes)) - 1) if node != -1 else 8
        if index > limit:
            raise InputError(f"device '{name}': the lab takes at most {limit} devices on node {node}")
        bus = index if node == -1 else first_bus(node, len(nodes)) + index
        devices.append(GuestDevice(name=name, kind=kind, node=node, address=f"0000:{bus:02x}:00.0"))
    return tuple(devices)


def check_plan(plan: GuestPlan) -> None:
    """Return if QEMU can boot this machine in reasonable time.

    Raises:
        InputError: too many CPUs or nodes, node numbers with gaps.

    """
    topology = plan.topology
    if len(topology.possible) > MAX_CPUS or len(topology.nodes) > MAX_NODES:
        raise InputError(
            f"a guest of {len(topology.possible)} CPUs and {len(topology.nodes)} nodes is too large for the lab "
            f"(at most {MAX_CPUS} and {MAX_NODES}); give a smaller one: --machine '2 nodes x 2 cores'"
        )
    if [node.id for node in topology.nodes] != list(range(len(topology.nodes))):
        raise InputError("the lab needs nodes that are numbered 0, 1, 2, … without a gap")
    if list(topology.possible) != list(range(len(topology.possible))):
        raise InputError("the lab needs CPUs that are numbered 0, 1, 2, … without a gap")
    if not any(node.memory for node in topology.nodes):
        raise InputError("the lab needs a node with memory")
