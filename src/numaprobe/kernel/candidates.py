"""Where ``struct device`` stands inside ``struct pci_dev``, on a kernel that does not say it.

Without BTF the offset is unknown: it changes with the release and the configuration (176 and 208 were seen). So each
plausible offset becomes a fetch argument of its own, ``dev176=``, ``dev184=``, …, and afterwards the right one shows
itself. A wild address is safe to read in the kernel and dangerous to print: as a string, whatever stands there (line
ends too) would be in the trace's text. So what is fetched is two words, printed as hexadecimal numbers: the first 16
bytes of what may be the device's name, and the longest PCI address has 16.

An offset is trusted only if it names, in every event of the trace, a PCI device that is known from elsewhere (the same
trace's ``really_probe``, whose layout never changed, or sysfs), and no other offset names others. Else no device is
told: nothing is guessed. The text of the trace is then rewritten to one ``dev=``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

#: ``struct pci_dev`` begins with lists, pointers and ids: the device stood between these in every release from 5.10.
#: Few enough for a kernel's command line, where each takes 35 bytes.
CANDIDATES: Final = tuple(range(144, 272, 8))

_FIELD: Final = re.compile(r" dev(\d{3})=\{0x([0-9a-f]{1,16}),0x([0-9a-f]{1,16})\}", re.ASCII)
_ADDRESS: Final = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.ASCII)
_PROBED: Final = re.compile(rf'really_probe.* dev="({_ADDRESS.pattern})"', re.ASCII)
_WORD: Final = 8


def candidate_arguments() -> tuple[str, ...]:
    """Return a fetch argument of ``local_pci_probe`` for each candidate."""
    return tuple(f"dev{offset}=+0(+{offset}(+8($arg1))):x64[2]" for offset in CANDIDATES)


def is_pci_address(name: str) -> bool:
    """Tell whether a device's name is a PCI address: ``0000:81:00.0``."""
    return _ADDRESS.fullmatch(name) is not None


def find_offset(lines: Iterable[str], known: Collection[str] = ()) -> int | None:
    """Return the candidate that can be trusted; None if there is none.

    Args:
        lines: the trace.
        known: names of devices that are there; those that ``lines`` see in ``really_probe`` are added.

    """
    devices = set(known)
    events = 0
    named: dict[int, list[str]] = defaultdict(list)
    for line in lines:
        if (probed := _PROBED.search(line)) is not None:
            devices.add(probed[1])
        elif fields := _FIELD.findall(line):
            events += 1
            for offset, *words in fields:
                if (name := _address(words)) is not None:
                    named[int(offset)].append(name)
    fitting = [offset for offset, names in named.items() if len(names) == events and devices.issuperset(names)]
    agreed = all(named[offset] == named[fitting[0]] for offset in fitting)
    return fitting[0] if fitting and agreed else None


def rewrite(lines: Iterable[str], offset: int | None) -> Iterator[str]:
    """Yield ``lines`` with the candidates replaced by one ``dev=``, or by nothing if ``offset`` is None."""
    for line in lines:
        yield _FIELD.sub(lambda field: _chosen(field, offset), line) if "={0x" in line else line


def _chosen(field: re.Match[str], offset: int | None) -> str:
    name = _address(field.groups()[1:]) if int(field[1]) == offset else None
    return "" if name is None else f' dev="{name}"'


def _address(words: Iterable[str]) -> str | None:
    """Return the PCI address that words of memory begin with, in either byte order; None if they hold none."""
    values = [int(word, 16) for word in words]
    for order in ("little", "big"):
        memory = b"".join(value.to_bytes(_WORD, order) for value in values)
        text = memory.partition(b"\0")[0].decode("latin-1")
        if is_pci_address(text):
            return text
    return None
