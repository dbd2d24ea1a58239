"""What a fleet's classes of machines were advised: kept beside the dataset, since a search takes seconds for each.

``advised.json`` has one entry for each class: the answer, and what it took. An answer holds as long as the class has
the host that stood for it, of whatever day: hosts of a class have the same machine, kernel and command line. It is
made again by another version of numaprobe. The file is no part of the dataset: whoever cannot write there searches
every time, and one that is damaged is as good as none.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter, ValidationError

from numaprobe.errors import InputError
from numaprobe.records import write_atomically
from numaprobe.version import __version__

if TYPE_CHECKING:
    from collections.abc import Collection

FILE: Final = "advised.json"
_SCHEMA: Final = "numaprobe.advised/1"
#: Classes that are kept, the last ones, and bytes that are read.
_MOST: Final = 1000
_LARGEST: Final = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassAdvice:
    """What a class of machines is advised."""

    peers: str
    kernel: str | None
    cmdline: str | None
    hosts: int
    #: the host that stands for the class
    example: str
    #: what to set, as tables call it; empty: nothing helps
    names: tuple[str, ...] = ()
    #: the lines to write: where, and what
    lines: tuple[tuple[str, str], ...] = ()
    #: of the example's makespan, percent: the least and the most that is gained
    gain_percent: tuple[float, float] = (0.0, 0.0)
    #: the gain is there under every reading
    sure: bool = False
    #: hosts of the class on which it was run besides, and those of them that gained by it
    looked_at: int = 0
    helped: int = 0
    #: what ``advise`` says in a sentence; or why it could not be asked
    verdict: str = ""
    #: its replay can be run
    repeatable: bool = True
    #: the search was over before its time was, and every further host that was drawn was looked at
    complete: bool = True

    @property
    def hosts_helped(self) -> float:
        """Hosts of the class that it would help, by the share of those that were looked at (the example is one)."""
        return self.hosts * (1 + self.helped) / (1 + self.looked_at) if self.names else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "peers": self.peers,
            "kernel": self.kernel,
            "cmdline": self.cmdline,
            "hosts": self.hosts,
            "example": self.example,
            "settings": list(self.names),
            "lines": [{"where": where, "line": line} for where, line in self.lines],
            "gain_percent": [round(end, 2) for end in self.gain_percent],
            "sure": self.sure,
            "looked_at": self.looked_at,
            "helped": self.helped,
            "hosts_helped": round(self.hosts_helped, 1),
            "verdict": self.verdict,
            "repeatable": self.repeatable,
            "complete": self.complete,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAdvice:
    """An answer, and the seconds that were given for it."""

    advice: ClassAdvice
    seconds: float


@dataclass(frozen=True, slots=True)
class _File:
    """``advised.json``."""

    schema: str
    numaprobe: str
    classes: list[KeptAdvice]


class AdvisedClasses:
    """The answers that a dataset keeps.

    Args:
        folder: the dataset.

    """

    def __init__(self, folder: str) -> None:
        self._path = Path(folder) / FILE
        self._kept = {_key(one.advice): one for one in self._read()}
        self._changed = False

    def find(self, peers: str, kernel: str | None, cmdline: str | None, hosts: Collection[str]) -> KeptAdvice | None:
        """Return what a class was advised; None: it never was, or the host that stood for it is not among these."""
        kept = self._kept.get((peers, kernel, cmdline))
        return kept if kept is not None and kept.advice.example in hosts else None

    def add(self, advice: ClassAdvice, seconds: float) -> None:
        """Keep an answer, unless the one that is there is of a larger part of the class, and as good."""
        key = _key(advice)
        there = self._kept.get(key)
        if there is None or (advice.complete, advice.hosts) >= (there.advice.complete, there.advice.hosts):
            self._kept.pop(key, None)
            self._kept[key] = KeptAdvice(advice=advice, seconds=seconds)
            self._changed = True

    def write(self) -> str | None:
        """Write what was added; return why it cannot be, or None."""
        if not self._changed:
            return None
        kept = list(self._kept.values())[-_MOST:]
        text = json.dumps(asdict(_File(_SCHEMA, __version__, kept)), indent=1)
        try:
            write_atomically(self._path, text + "\n")
        except InputError as error:
            return str(error)
        return None

    def _read(self) -> list[KeptAdvice]:
        try:
            if self._path.stat().st_size > _LARGEST:
                return []
            found = TypeAdapter(_File).validate_json(self._path.read_bytes())
        except (OSError, ValidationError):
            return []
        return found.classes if (found.schema, found.numaprobe) == (_SCHEMA, __version__) else []


def _key(advice: ClassAdvice) -> tuple[str, str | None, str | None]:
    return advice.peers, advice.kernel, advice.cmdline
