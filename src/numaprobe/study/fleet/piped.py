"""Traces from standard input, as a configuration tool has gathered them.

What it is, is told by what it holds:

* a **tar** archive (packed or not): its files, each of the host that its first folder is named after, else itself;
* **JSON of hosts**: ``{"HOST": "text", …}`` as of ``salt --out=json --static``, one such object to a line, or what
  Ansible's JSON callback prints (``plays``, ``tasks``, ``hosts``, ``stdout``);
* **JSON lines**: one trace of ours to a line;
* anything else is one trace.

A member of an archive or a text of a host is put into a file of its own, in a temporary folder, and read as every file
is.
"""

from __future__ import annotations

import contextlib
import json
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Final, cast

from numaprobe.errors import InputError
from numaprobe.reading.unpack import CutOffError, Rewound, unpacked
from numaprobe.reading.weigh import JSON_WEIGHTS, check_weight
from numaprobe.records.files import looks_like_json
from numaprobe.study.fleet.sources import MAX_FILES, TraceSource, stem, told_beside
from numaprobe.study.fleet.ssh import MAX_OUTPUT
from numaprobe.study.traces import read_trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.records import Trace

_WHERE: Final = "standard input"
#: A tar archive has this at this place of its first block.
_TAR: Final = b"ustar"
_TAR_AT: Final = 257
#: Bytes of JSON of hosts that are held in memory.
MAX_JSON: Final = 256 << 20
#: What Ansible calls a host's result, in the order in which it is looked for.
_RESULTS: Final = ("stdout", "msg", "content")


@contextlib.contextmanager
def piped_sources(stream: IO[bytes], *, date: str | None = None) -> Iterator[Iterator[TraceSource]]:
    """Yield the traces that a stream holds, one after the other; each is to be read before the next one is asked for.

    Args:
        stream: standard input.
        date: when traces that do not say were recorded.

    Raises:
        InputError: it is too large, cut off, or JSON that holds no host.

    """
    with tempfile.TemporaryDirectory(prefix="numaprobe-", ignore_cleanup_errors=True) as folder:
        yield _told_apart(stream, _SpooledFile(Path(folder), date))


class _SpooledFile:
    """Puts what was found into a file, one at a time.

    Args:
        folder: where.
        date: see ``piped_sources``.

    """

    def __init__(self, folder: Path, date: str | None) -> None:
        self._file = folder / "trace"
        self._date = date

    def from_text(self, name: str, host: str | None, text: str) -> TraceSource:
        self._file.write_text(text, encoding="utf-8", errors="replace")
        return self._source(name, host)

    def from_stream(self, name: str, host: str | None, stream: IO[bytes] | Rewound) -> TraceSource:
        left = MAX_OUTPUT
        with self._file.open("wb") as out:
            while left >= 0 and (block := stream.read(1 << 18)):
                out.write(block)
                left -= len(block)
        if left < 0:
            return _refused(name, f"is larger than {MAX_OUTPUT >> 20} MiB")
        return self._source(name, host)

    def _source(self, name: str, host: str | None) -> TraceSource:
        def read() -> Trace:
            try:
                return told_beside(read_trace(self._file, named=False), host, self._date)
            except InputError as error:
                inside = error.where.removeprefix(str(self._file)).removeprefix(": ")
                raise InputError(error.what, f"{name}: {inside}" if inside else name) from None

        return TraceSource(name=name, read=read)


def _refused(name: str, why: str) -> TraceSource:
    def read() -> Trace:
        raise InputError(why, name)

    return TraceSource(name=name, read=read)


def _told_apart(stream: IO[bytes], files: _SpooledFile) -> Iterator[TraceSource]:
    try:
        content = unpacked(stream, _WHERE)
        if content.head[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR:
            yield from _members(content, files)
        elif looks_like_json(content.head):
            yield from _of_json(_whole(content), files)
        else:
            yield files.from_stream(_WHERE, None, content)
    except CutOffError as error:
        raise InputError(f"cannot be unpacked: {error}", _WHERE) from None


def _members(content: Rewound, files: _SpooledFile) -> Iterator[TraceSource]:
    """Yield the files of a tar archive; what is no file (a link, a device) is passed over."""
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", content), mode="r|") as archive:  # it reads, no more
            for number, member in enumerate(archive):
                if number >= MAX_FILES:
                    raise InputError(f"has more than {MAX_FILES} members; divide it", _WHERE)
                parts = [part for part in PurePosixPath(member.name).parts if part not in ("/", ".", "..")]
                if not member.isreg() or not parts or any(part.startswith(".") for part in parts):
                    continue
                host = parts[0] if len(parts) > 1 else stem(parts[-1])
                inside = archive.extractfile(member)
                if inside is not None:
                    yield files.from_stream("/".join(parts), host, inside)
    except tarfile.TarError as error:
        raise InputError(f"is a tar archive that cannot be read to its end: {error}", _WHERE) from None


def _whole(content: Rewound) -> str:
    parts, size = [], 0
    while block := content.read(1 << 20):
        size += len(block)
        if size > MAX_JSON:
            raise InputError(f"is more than {MAX_JSON >> 20} MiB of JSON: send a tar archive", _WHERE)
        parts.append(block)
    data = b"".join(parts)
    check_weight("json", data, JSON_WEIGHTS, _WHERE)
    return data.decode(errors="replace")


def _of_json(text: str, files: _SpooledFile) -> Iterator[TraceSource]:
    """Yield the traces of one JSON object after the other."""
    decoder, at, number = json.JSONDecoder(), 0, 0
    while (at := _skipped(text, at)) < len(text):
        start, number = at, number + 1
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            line = text.count("\n", 0, start) + 1
            raise InputError(f"line {line} is no JSON to its end", _WHERE) from None
        if isinstance(value, dict) and isinstance(value.get("schema"), str):
            yield files.from_text(f"{_WHERE}, object {number}", None, text[start:at])
            continue
        hosts = list(_hosts(value))
        if not hosts:
            known = "a trace, {HOST: TEXT}, or what Ansible's JSON callback prints"
            raise InputError(f"object {number} holds no host; it must be {known}", _WHERE)
        for host, said in hosts:
            yield files.from_text(host, host, said) if said.strip() else _refused(host, "it says nothing")


def _skipped(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _hosts(value: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401  a JSON value
    """Yield hosts and what they said."""
    if not isinstance(value, dict):
        return
    if isinstance(plays := value.get("plays"), list):
        for task in (task for play in plays if isinstance(play, dict) for task in play.get("tasks") or ()):
            hosts = task.get("hosts") if isinstance(task, dict) else None
            for host, result in (hosts if isinstance(hosts, dict) else {}).items():
                said = [
                    result[key] for key in _RESULTS if isinstance(result, dict) and isinstance(result.get(key), str)
                ]
                if said and not result.get("skipped"):
                    yield host, said[0]
        return
    for host, said in value.items():
        text = said.get("stdout") if isinstance(said, dict) else said
        if isinstance(text, str):
            yield host, text
