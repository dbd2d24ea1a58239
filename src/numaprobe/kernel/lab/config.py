"""What a guest of the lab needs of a kernel's configuration: checked before it is booted, and written for a build.

``guest.config`` beside this file holds the options with the reason for each group. Some are *needed*: without one the
guest does not boot, has no nodes, cannot hand its files over or cannot record, and that would show after a minute as a
silent console. The rest make the guest's build complete and small. A driver may be built in (``=y``): then the kernel
probes its devices while it boots, before any step of a scenario.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

from numaprobe.errors import InputError
from numaprobe.listing import first_few

#: option -> what is missing without it
NEEDED: Final = {
    "CONFIG_X86_64": "the lab boots x86-64",
    "CONFIG_SMP": "CPUs",
    "CONFIG_NUMA": "nodes",
    "CONFIG_ACPI_NUMA": "nodes",
    "CONFIG_PCI": "devices",
    "CONFIG_VIRTIO_PCI": "the guest's files",
    "CONFIG_NET_9P_VIRTIO": "the guest's files",
    "CONFIG_9P_FS": "the guest's files",
    "CONFIG_OVERLAY_FS": "writable copies of the guest's files",
    "CONFIG_TMPFS": "the guest's own files",
    "CONFIG_DEVTMPFS": "device nodes",
    "CONFIG_BLK_DEV_INITRD": "virtme-ng's first steps",
    "CONFIG_BINFMT_SCRIPT": "virtme-ng's first steps",
    "CONFIG_UNIX98_PTYS": "virtme-ng's terminal",
    "CONFIG_SERIAL_8250_CONSOLE": "the console",
    "CONFIG_VIRTIO_CONSOLE": "the guest's script",
    "CONFIG_KPROBE_EVENTS": "recording",
    "CONFIG_KALLSYMS": "recording",
}
_SET: Final = re.compile(r"(CONFIG_\w+)=[ym]", re.ASCII)
#: lines that ``--lockdep`` adds: orders of locks are checked while the guest runs; it is slower for it
_LOCKDEP: Final = ("CONFIG_PROVE_LOCKING=y", "CONFIG_DEBUG_ATOMIC_SLEEP=y")
_NAMED: Final = 4


def check_config(text: str, where: str) -> None:
    """Return if a kernel of this configuration can be a guest.

    Args:
        text: a ``.config``.
        where: its name.

    Raises:
        InputError: it lacks something; the text names what, what for, and how to get it.

    """
    there = set(_SET.findall(text))
    missing = [(option, reason) for option, reason in NEEDED.items() if option not in there]
    if missing:
        shown = first_few([f"{option} ({reason})" for option, reason in missing], _NAMED)
        raise InputError(f"a guest needs {shown}; 'numaprobe lab --config' writes what it needs", where)


def guest_config(*, lockdep: bool = False) -> str:
    """Return a configuration for guests: a ``.config`` that ``make olddefconfig`` completes, with modules."""
    text = files("numaprobe.kernel.lab").joinpath("guest.config").read_text(encoding="ascii")
    return text + ("".join(f"{line}\n" for line in ("", "# orders of locks", *_LOCKDEP)) if lockdep else "")
