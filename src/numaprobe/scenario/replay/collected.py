"""What a replay had to leave out or assume, gathered: one warning for each kind, however many probes it is about."""

from __future__ import annotations

from typing import Final

from numaprobe.listing import first_few
from numaprobe.records import RunWarning

#: Devices named in a warning; the others are counted.
_SHOWN: Final = 3


class ReplayWarnings:
    """Collects what to say about a replay."""

    def __init__(self) -> None:
        self._about: dict[tuple[str, str], dict[str, None]] = {}

    def say(self, kind: str, text: str, device: str = "") -> None:
        """Note ``text`` (about ``device``, if about one); the same text about several devices becomes one warning."""
        self._about.setdefault((kind, text), {})[device] = None

    def all(self) -> tuple[RunWarning, ...]:
        """Return what was said, in the order in which each was said first."""
        return tuple(
            RunWarning(kind=kind, message=f"{_list(devices)}{text}") for (kind, text), devices in self._about.items()
        )


def _list(devices: dict[str, None]) -> str:
    names = [name for name in devices if name]
    return f"{first_few(names, _SHOWN)}: " if names else ""
