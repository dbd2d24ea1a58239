"""Where ``struct device`` stands inside ``struct pci_dev``, on a kernel that does not say it.

Without BTF the offset is unknown: it changes with the release and the configuration (176 and 208 were seen). A fetch
argument may point anywhere, the kernel reads it safely and prints ``(fault)`` or rubbish. So each plausible offset
becomes an argument of its own (``dev176=``, ``dev184=``, …), and afterwards the right one shows itself: it alone prints
names of PCI devices in every event. The text of the trace is then rewritten to that one ``dev=``.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numaprobe.kernel.kprobes import KprobeDefinition

#: ``struct pci_dev`` begins with lists, pointers and ids: the device stood between these in every release from 5.10
CANDIDATES: Final = tuple(range(144, 336, 8))

_FIELD: Final = re.compile(r' dev(\d{3})=(?:"([^"]*)"|(\(fault\)))')
_ADDRESS: Final = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.ASCII)


def with_candidates(definition: KprobeDefinition) -> KprobeDefinition:
    """Return a ``local_pci_probe`` definition that prints every candidate."""
    arguments = tuple(f"dev{offset}=+0(+{offset}(+8($arg1))):string" for offset in CANDIDATES)
    return definition._replace(arguments=arguments)


def find_offset(lines: Iterable[str]) -> int | None:
    """Return the candidate that prints a PCI address in the most events; None if none ever does."""
    votes: Counter[int] = Counter()
    for line in lines:
        for offset, text, _ in _FIELD.findall(line):
            if _ADDRESS.fullmatch(text):
                votes[int(offset)] += 1
    return votes.most_common(1)[0][0] if votes else None


def rewrite(lines: Iterable[str], offset: int | None) -> Iterator[str]:
    """Yield ``lines`` with the candidates replaced by one ``dev=``, or by nothing if ``offset`` is None."""
    for line in lines:
        yield _FIELD.sub(lambda field: _chosen(field, offset), line) if " dev" in line else line


def _chosen(field: re.Match[str], offset: int | None) -> str:
    return f' dev="{field[2]}"' if field[2] is not None and int(field[1]) == offset else ""
