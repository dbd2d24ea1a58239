"""What kind of device it is, in one word: for the column *type*, and to choose by ``class=``.

PCI devices say it by their class (include/linux/pci_ids.h), virtio devices by their id
(include/uapi/linux/virtio_ids.h); of any other, the bus is all that is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from numaprobe.bringup.sysfs import SysfsDevice

#: class code of PCI, as many hexadecimal digits as it takes -> kind; the longest that fits counts
_PCI: Final = {
    "0108": "nvme",
    "0107": "sas",
    "0106": "sata",
    "01": "storage",
    "02": "network",
    "03": "display",
    "04": "multimedia",
    "05": "memory",
    "0502": "cxl",
    "06": "bridge",
    "07": "communication",
    "08": "system",
    "0880": "dma",
    "0c03": "usb",
    "0b40": "coprocessor",
    "12": "accelerator",
}
_VIRTIO: Final = {
    1: "network",
    2: "storage",
    3: "console",
    4: "random",
    5: "balloon",
    8: "storage",
    9: "folder",
    16: "display",
    18: "input",
    19: "socket",
    20: "crypto",
    24: "memory",
    26: "folder",
    27: "storage",
}
KINDS: Final = tuple(sorted({*_PCI.values(), *_VIRTIO.values()}))


def kind_of(device: SysfsDevice) -> str:
    """Return the kind of a device; its bus if nothing more is known."""
    if device.pci_class is not None:
        digits = class_digits(device)
        fitting = [code for code in _PCI if digits.startswith(code)]
        return _PCI[max(fitting, key=len)] if fitting else device.bus
    if device.bus == "virtio" and device.product is not None:
        return _VIRTIO.get(device.product, device.bus)
    return device.bus


def class_digits(device: SysfsDevice) -> str:
    """Return the class of a PCI device as six hexadecimal digits; empty for another."""
    return "" if device.pci_class is None else f"{device.pci_class & 0xFFFFFF:06x}"
