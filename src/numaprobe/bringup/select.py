"""Which devices: terms as the user writes them, and the devices that they choose.

A term is a device (``0000:81:00.0``, ``81:00.0``, ``virtio/virtio3``), a pattern (``0000:8?:*``), or KEY=VALUE:

=========  ==============================================================
driver=    the driver that it is bound to
class=     a kind (``nvme``, ``network``), or a PCI class in hex (``0108``)
id=        VENDOR:DEVICE in hex; ``8086:*`` for all of a vendor
node=      a node, or ``unknown``
group=     an IOMMU group
bus=       a bus
=========  ==============================================================

Devices and patterns add up; so do terms of one key; a device must fit one term of every key that is given. A term that
chooses nothing is an error, and so is a whole that does: a typing mistake must not look like success.
"""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING, Final

from numaprobe.bringup.kinds import KINDS, class_digits, kind_of
from numaprobe.bringup.names import check_name
from numaprobe.errors import InputError, MissingInterfaceError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numaprobe.bringup.sysfs import Sysfs, SysfsDevice

#: A PCI address without its domain, as lspci prints it.
_SHORT: Final = re.compile(r"[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_HEX: Final = re.compile(r"(?:0x)?([0-9a-fA-F]{2,6})")
_PAIR: Final = re.compile(r"(?:0x)?([0-9a-fA-F]{1,4}):(?:(?:0x)?([0-9a-fA-F]{1,4})|\*)")


def _by_class(value: str) -> Callable[[SysfsDevice], bool]:
    if value in KINDS:
        return lambda device: kind_of(device) == value
    digits = _HEX.fullmatch(value)
    if digits is None:
        raise UnknownNameError("class", value, KINDS)
    return lambda device: bool(device.pci_class is not None and class_digits(device).startswith(digits[1].lower()))


def _by_id(value: str) -> Callable[[SysfsDevice], bool]:
    pair = _PAIR.fullmatch(value)
    if pair is None:
        raise InputError(f"'{value[:40]}' is no id; write VENDOR:DEVICE in hex, as lspci -n does: 144d:a808, 144d:*")
    vendor, product = int(pair[1], 16), None if pair[2] is None else int(pair[2], 16)
    return lambda device: device.vendor == vendor and product in (None, device.product)


def _by_node(value: str) -> Callable[[SysfsDevice], bool]:
    if value == "unknown":
        return lambda device: device.node is None
    if not re.fullmatch(r"\d{1,4}", value, re.ASCII):
        raise InputError(f"'{value[:40]}' is no node; write its number, or 'unknown'")
    return lambda device: device.node == int(value)


#: key -> makes a test of its value
_KEYS: Final[dict[str, Callable[[str], Callable[[SysfsDevice], bool]]]] = {
    "driver": lambda value: lambda device: device.driver == value,
    "class": _by_class,
    "id": _by_id,
    "node": _by_node,
    "group": lambda value: lambda device: device.iommu_group == value,
    "bus": lambda value: lambda device: device.bus == value,
}


def select(sysfs: Sysfs, terms: Sequence[str]) -> list[SysfsDevice]:
    """Return the devices that the terms choose, by bus and name; all for no term.

    Raises:
        InputError: a term that is none, or chooses nothing; terms that choose nothing together.
        MissingInterfaceError: a driver that is not loaded.

    """
    named, tests = _parsed(sysfs, terms)
    devices = [device for key in named for device in [sysfs.device(*key)] if device] if named else list(sysfs.devices())
    chosen = [one for one in devices if all(any(test(one) for test in group.values()) for group in tests.values())]
    if terms and not chosen:
        raise InputError(f"no device fits {' '.join(terms)[:200]}; numaprobe status lists what is there")
    return sorted(chosen, key=lambda device: (device.bus, device.name))


def _parsed(
    sysfs: Sysfs, terms: Iterable[str]
) -> tuple[dict[tuple[str, str], None], dict[str, dict[str, Callable[[SysfsDevice], bool]]]]:
    named: dict[tuple[str, str], None] = {}
    tests: dict[str, dict[str, Callable[[SysfsDevice], bool]]] = {}
    for term in terms:
        key, equals, value = term.partition("=")
        if not equals:
            named |= dict.fromkeys(find(sysfs, term))
            continue
        if key not in _KEYS:
            raise UnknownNameError("key", key, _KEYS)
        if key in ("driver", "bus"):
            _must_be_there(sysfs, key, value)
        tests.setdefault(key, {})[value] = _KEYS[key](value)
    return named, tests


def _must_be_there(sysfs: Sysfs, key: str, value: str) -> None:
    check_name(value, key)
    buses = sysfs.buses()
    if key == "bus" and value not in buses:
        raise UnknownNameError("bus", value, buses)
    if key == "driver" and not any(sysfs.has_driver(bus, value) for bus in buses):
        raise MissingInterfaceError(f"no driver '{value}' is loaded; to load it: modprobe {value}")


def find(sysfs: Sysfs, term: str) -> list[tuple[str, str]]:
    """Return bus and name of the devices that a name or pattern chooses.

    Raises:
        InputError: it chooses none; a plain name that devices on several buses have; no name at all.

    """
    bus, slash, name = term.rpartition("/")
    for part in (name, *([bus] if slash else ())):
        check_name(part, "device")
    is_pattern = any(char in term for char in "*?[")
    wanted = f"*:{name}" if _SHORT.fullmatch(name) else name
    known = [key for key in sysfs.known_paths.values() if bus in ("", key[0])]
    found = sorted(key for key in known if fnmatch.fnmatchcase(key[1], wanted) or key[1] == name)
    if not found:
        raise _unknown(term, [key[1] for key in known])
    if len(found) > 1 and not is_pattern:
        raise InputError(f"'{term}' is the name of several devices: {', '.join('/'.join(key) for key in found[:5])}")
    return found


def _unknown(term: str, known: list[str]) -> InputError:
    import difflib

    near = difflib.get_close_matches(term, known[:10_000], n=1, cutoff=0.6)
    hint = f"; did you mean '{near[0]}'?" if near else "; numaprobe status lists what is there"
    return InputError(f"there is no device '{term[:80]}'{hint}")
