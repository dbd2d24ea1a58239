"""Recording what a guest's kernel probes while it boots: its built-in drivers.

The kernel records on its own then (``kernel/boot.py``), by parameters of which x86 takes 2047 bytes, and what boots the
guest takes half of them. So only those kprobes are asked for that a boot of the lab can need: no bind through sysfs
happens there, and of a driver that is built into a kernel of our own, its probe function is timed in place of
``local_pci_probe``, which compilers put into some of its callers. Where the device stands inside ``struct pci_dev`` is
read from the type information of the ``vmlinux`` that was built. Without it (a package's image has none to read) the
PCI core's call is left out, and a trace does not tell where probes of PCI devices ran.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from numaprobe.kernel.boot import boot_parameters
from numaprobe.kernel.btf import find_member
from numaprobe.kernel.kprobes import (
    DEVICE_ATTACH,
    DEVICE_ATTACH_ASYNC,
    DRIVER_ATTACH_ASYNC,
    LOCAL_PCI_PROBE,
    REALLY_PROBE,
    entry_and_return,
    kprobe_definitions,
)
from numaprobe.kernel.lab.layout import run
from numaprobe.kernel.lab.trees import build_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numaprobe.kernel.kprobes import KprobeDefinition
    from numaprobe.kernel.lab.tools import KernelImage

#: trace of the boot, in the folder that the guest shares
BOOT_TRACE: Final = "boot.json"
#: how ``readelf -S`` lists the section of type information: its address, then where it is in the file
_TYPES: Final = re.compile(
    r"\s\.BTF\s+PROGBITS\s+[0-9a-f]+\s+(?P<offset>[0-9a-f]{1,12})\s+(?P<size>[0-9a-f]{1,8})\s", re.ASCII
)
_WANTED: Final = frozenset((REALLY_PROBE, DRIVER_ATTACH_ASYNC, DEVICE_ATTACH_ASYNC, DEVICE_ATTACH))


def recording_boot(image: KernelImage, bodies: Sequence[str]) -> tuple[str, ...]:
    """Return the kernel parameters with which a guest records its own boot.

    Args:
        image: the kernel.
        bodies: probe functions of built-in PCI drivers, timed by themselves; none: as the PCI core calls them.

    """
    offset = pci_device_offset(image)
    return boot_parameters(pci_dev_offset=offset, definitions=tuple(_definitions(offset, bodies)))


def _definitions(offset: int | None, bodies: Sequence[str]) -> Iterator[KprobeDefinition]:
    for one in kprobe_definitions(pci_dev_offset=offset):
        if one.function in _WANTED or (one.function == LOCAL_PCI_PROBE and offset is not None and not bodies):
            yield one
    for body in bodies if offset is not None else ():
        yield from entry_and_return(body, f"dev=+0(+{offset}($arg1)):string")


def pci_device_offset(image: KernelImage) -> int | None:
    """Return where the device is inside ``struct pci_dev`` in a kernel that was built here; None: it does not tell."""
    vmlinux = None if image.tree is None else image.tree / "vmlinux"
    if vmlinux is None or not vmlinux.is_file() or build_id(vmlinux.parent) != image.build_id:  # built again since
        return None
    section = _TYPES.search(run(["readelf", "--sections", "--wide", str(vmlinux)], check=False))
    if section is None:
        return None
    with vmlinux.open("rb") as file:
        file.seek(int(section["offset"], 16))
        return find_member(file.read(int(section["size"], 16)), "pci_dev", "dev", where=str(vmlinux))
