"""Where traces are: files and folders. Each is a *source*: it is read when its turn comes, and only then.

In a folder, files that describe others (``machine.txt``, ``machine.json``, kprobe definitions) belong to the traces
beside them. A trace that does not tell its host is of the host that the first folder below is named after, else the
file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError
from numaprobe.kernel.readers import BESIDE
from numaprobe.records import Identity
from numaprobe.study.fleet.identity import LONGEST
from numaprobe.study.fleet.known import file_key
from numaprobe.study.traces import read_trace
from numaprobe.topology import load_topology

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numaprobe.records import Trace
    from numaprobe.topology import Topology

#: What a file name may end with and is no part of a host's name.
_SUFFIXES: Final = frozenset(
    (".gz", ".bz2", ".xz", ".zst", ".json", ".parquet", ".txt", ".log", ".dmesg", ".trace", ".dat", ".out")
)
#: Files of a folder, or of an archive, that are looked at in one call.
MAX_FILES: Final = 100_000
_MACHINES: Final = ("machine.json", "machine.txt")
_ASIDE: Final = (*_MACHINES, *BESIDE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSource:
    """One trace, perhaps, not read yet."""

    #: what errors call it
    name: str
    #: reads it; raises InputError
    read: Callable[[], Trace]
    #: see ``known.file_key``; None: it is no file that stays
    key: str | None = None


def file_sources(
    paths: Sequence[str | Path], *, machine: Topology | str | None = None, date: str | None = None
) -> Iterator[TraceSource]:
    """Return the traces of files, and of folders with those in them, in the order of their names.

    Args:
        paths: files and folders.
        machine: where a kernel's traces were recorded, if neither they nor a file beside them say; None: not known.
        date: when traces that do not say were recorded.

    Raises:
        InputError: a path is not there; while they are taken: a folder has too many files.

    """
    found = [Path(one) for one in paths]
    for path in found:
        if not path.exists():
            raise InputError("there is no such file or folder", str(path))
    return _each(found, machine, date)


def _each(paths: Sequence[Path], machine: Topology | str | None, date: str | None) -> Iterator[TraceSource]:
    for path in paths:
        if path.is_dir():
            yield from _Folder(path, machine, date).sources()
        else:
            yield _source(path, stem(path.name), machine, date)


class _Folder:
    """A folder of traces, and what lies beside them."""

    def __init__(self, path: Path, machine: Topology | str | None, date: str | None) -> None:
        self._path = path
        self._machine = machine
        self._date = date
        self._machines: dict[Path, Topology | None] = {}

    def sources(self) -> Iterator[TraceSource]:
        for number, file in enumerate(self._files()):
            if number >= MAX_FILES:
                raise InputError(f"has more than {MAX_FILES} files; collect a part of it at a time", str(self._path))
            inside = file.relative_to(self._path).parts
            host = inside[0] if len(inside) > 1 else stem(file.name)
            yield _source(file, host, self._beside(file.parent) or self._machine, self._date)

    def _files(self) -> Iterator[Path]:
        for file in sorted(self._path.rglob("*")):
            hidden = any(part.startswith(".") for part in file.relative_to(self._path).parts)
            if file.name not in _ASIDE and file.suffix != ".kprobes" and not hidden and file.is_file():
                yield file

    def _beside(self, folder: Path) -> Topology | None:
        if folder not in self._machines:
            found = next((folder / name for name in _MACHINES if (folder / name).is_file()), None)
            self._machines[folder] = None if found is None else _machine(found)
        return self._machines[folder]


def _machine(file: Path) -> Topology | None:
    """Return the machine that a file beside traces describes; a broken one is as none, for they may not need it."""
    try:
        return load_topology(str(file))
    except InputError:
        return None


def _source(file: Path, host: str, machine: Topology | str | None, date: str | None) -> TraceSource:
    def read() -> Trace:
        return told_beside(read_trace(file, machine=machine, named=False), host, date)

    return TraceSource(name=str(file), read=read, key=file_key(file))


def told_beside(trace: Trace, host: str | None, date: str | None) -> Trace:
    """Return a trace with host and date as they are told beside it, where it does not tell them itself."""
    who = trace.identity or Identity()
    return replace(trace, identity=replace(who, host=who.host or (host or "")[:LONGEST] or None, date=who.date or date))


def stem(name: str) -> str:
    """Return a file's name without what says how it is written: of ``db-7.example.org.json.gz`` the host's name."""
    left = name
    while (suffix := Path(left).suffix) in _SUFFIXES and Path(left).stem:
        left = left.removesuffix(suffix)
    return left
