"""A guest plan as QEMU options, and as the virtme-ng command that boots it.

virtme-ng (a program, not a library) gives the guest this system's files, read-only, with writable copies above them;
so the guest runs this very installation. QEMU is told the machine itself: CPUs, caches by sockets and dies, nodes with
or without memory or CPUs, distances, a host bridge for each node, and behind it a root port for each device.
"""

from __future__ import annotations

import shlex
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError
from numaprobe.kernel.lab.stage import check_name

if TYPE_CHECKING:
    from pathlib import Path

    from numaprobe.kernel.lab.plan import GuestDevice, GuestPlan
    from numaprobe.kernel.lab.stage import Stage
    from numaprobe.topology import Node, Topology

#: bytes of the whole guest if the plan's nodes have more: the guest only probes devices
GUEST_MEMORY: Final = 2 * 2**30
_MIB: Final = 2**20

#: Modules that are in nobody's way here, and cost seconds of a guest's boot when udev finds their devices.
_UNWANTED: Final = (
    *("kvm_amd", "kvm_intel", "kvm", "psmouse", "pcspkr", "ahci", "i2c_i801", "sr_mod", "iTCO_wdt", "evdev", "sg"),
    *("lpc_ich", "powernow_k8", "acpi_cpufreq", "serio_raw", "i6300esb", "qemu_fw_cfg", "aesni_intel"),
    *("ghash_clmulni_intel", "sha512_ssse3", "sha256_ssse3", "sha1_ssse3", "crc32_pclmul"),
)
#: Drivers that the steps load: udev must not load them before.
STEP_MODULES: Final = ("nvme", "virtio_blk", "virtio_net", "virtio_rng")


def guest_cpus(topology: Topology) -> str:
    """Return ``-smp``: sockets, dies (an L3 cache each), cores and threads where the machine is regular."""
    cpus = len(topology.possible)
    sockets, llcs, cores = len(topology.packages), len(topology.llcs), len(topology.cores)
    regular = all(big % small == 0 for small, big in pairwise((sockets, llcs, cores, cpus)))
    if not regular:
        return f"cpus={cpus}"
    return (
        f"cpus={cpus},sockets={sockets},dies={llcs // sockets},cores={cores // llcs},threads={cpus // cores},"
        f"maxcpus={cpus}"
    )


def guest_memory(topology: Topology) -> dict[int, int]:
    """Return the bytes of each node that has memory: as planned, or an equal share if that is too much for a guest."""
    with_memory = [node for node in topology.nodes if node.memory]
    total = sum(node.memory for node in with_memory)
    if total <= GUEST_MEMORY and all(node.memory % _MIB == 0 for node in with_memory) and total >= GUEST_MEMORY // 2:
        return {node.id: node.memory for node in with_memory}
    share = GUEST_MEMORY // len(with_memory) // _MIB * _MIB
    return {node.id: share for node in with_memory}


def qemu_options(plan: GuestPlan) -> list[str]:
    """Return the options for QEMU that make the plan's machine."""
    memory = guest_memory(plan.topology)
    options = ["-smp", guest_cpus(plan.topology)]
    for node in plan.topology.nodes:
        options += _node(node, memory.get(node.id, 0))
    options += _distances(plan.topology)
    # QEMU announces host bridges in the reverse order: the kernel then finds them, and their devices, from node 0 on.
    for node_id in sorted({device.node for device in plan.devices} - {-1}, reverse=True):
        options += [
            "-device",
            f"pxb-pcie,id=pxb{node_id},bus=pcie.0,bus_nr={_bridge_bus(plan, node_id)},numa_node={node_id}",
        ]
    for index, device in enumerate(plan.devices):
        options += _device(device, index)
    return [*options, *plan.qemu]


def _node(node: Node, memory: int) -> list[str]:
    options = []
    text = f"node,nodeid={node.id}"
    for part in str(node.cpus).split(",") if node.cpus else ():
        text += f",cpus={part}"
    if memory:
        options = ["-object", f"memory-backend-ram,id=ram{node.id},size={memory}"]
        text += f",memdev=ram{node.id}"
    return [*options, "-numa", text]


def _distances(topology: Topology) -> list[str]:
    options = []
    for i, row in enumerate(topology.distances):
        for j, value in enumerate(row):
            if i != j:
                options += ["-numa", f"dist,src={i},dst={j},val={value}"]
    return options


def _bridge_bus(plan: GuestPlan, node: int) -> int:
    return min(device.bus for device in plan.devices if device.node == node) - 1


def _device(device: GuestDevice, index: int) -> list[str]:
    parent = "pcie.0" if device.node == -1 else f"pxb{device.node}"
    # The machine's own root complex has other devices in its lower slots; ours follow in order.
    slot = f",addr={0x10 + device.bus:#x}" if device.node == -1 else ""
    options = ["-device", f"pcie-root-port,id=port{index},bus={parent},chassis={index + 1}{slot}"]
    if device.kind in {"nvme", "virtio-blk"}:
        options += ["-drive", f"if=none,id=drive{index},file=null-co://,format=raw"]
    if device.plugged:
        return options
    properties = device_properties(device, index)
    return [*options, "-device", ",".join([properties.pop("driver"), *(f"{k}={v}" for k, v in properties.items())])]


def device_properties(device: GuestDevice, index: int) -> dict[str, str]:
    """Return what QEMU makes the device of, behind its port: as ``device_add`` of its monitor takes it."""
    own = {
        "nvme": {"driver": "nvme", "serial": f"lab{index}", "drive": f"drive{index}"},
        "virtio-blk": {"driver": "virtio-blk-pci", "drive": f"drive{index}"},
        "virtio-net": {"driver": "virtio-net-pci", "romfile": ""},
        "virtio-rng": {"driver": "virtio-rng-pci"},
    }[device.kind]
    # an id of its own, so that QEMU's monitor can pull it
    return own | {"bus": f"port{index}", "id": f"dev{index}"}


def vng_command(
    plan: GuestPlan,
    *,
    vng: Path,
    stage: Stage,
    shared: Path,
    script: Path,
    kvm: bool = False,
    one_thread: bool = False,
) -> list[str]:
    """Return the command that boots ``kernel`` on the plan's machine, runs ``script`` there and ends.

    Args:
        plan: the machine.
        vng: the virtme-ng program.
        stage: the kernel.
        shared: a directory of this system that the guest may write.
        script: what the guest runs.
        kvm: use the processor's virtualisation.
        one_thread: emulate all CPUs in one thread of the host: slower, and without QEMU's races (see ``guest.py``).

    Raises:
        InputError: a path has a name that a shell would not take as it is.

    """
    for path in (stage.kernel, stage.modules, shared, script):
        check_name(path)
    blacklist = ",".join((*STEP_MODULES, *_UNWANTED))
    parameters = [f"modprobe.blacklist={blacklist}", *_kernel_words(plan.cmdline)]
    total = sum(guest_memory(plan.topology).values())
    options = qemu_options(plan) + (["-accel", "tcg,thread=single"] if one_thread and not kvm else [])
    return [
        str(vng),
        "--verbose",
        *("--name", "guest"),
        *("--run", str(stage.kernel)),
        *(() if kvm else ("--disable-kvm",)),
        *("--disable-microvm", "--force-9p", "--force-initramfs"),
        *("--cpus", str(len(plan.topology.possible))),
        *("--memory", f"{total // _MIB}M"),
        *("--rwdir", str(shared)),
        *("--rodir", str(stage.modules)),
        *(f"--append={shlex.quote(parameter)}" for parameter in parameters),
        f"--qemu-opts={' '.join(options)}",
        *("--exec", str(script)),
    ]


def _kernel_words(cmdline: str) -> list[str]:
    """Return the parameters of a kernel's command line, without the quotes that keep blanks together in one.

    Raises:
        InputError: a character that no command line can hold, or a quote without its second.

    """
    if not cmdline.replace("\t", " ").isprintable() or cmdline.count('"') % 2:
        raise InputError(
            "is no command line of a kernel: a control character, or a quote that is not closed", "cmdline"
        )
    words, quoted = [""], False
    for char in cmdline:
        if char == '"':
            quoted = not quoted
        elif char in " \t" and not quoted:
            words.append("")
        else:
            words[-1] += char
    return [word for word in words if word]
