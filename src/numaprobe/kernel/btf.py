"""Where a member stands inside a kernel structure: read from the kernel's own type information (BTF).

``/sys/kernel/btf/vmlinux`` (since 5.4, CONFIG_DEBUG_INFO_BTF; Debian's kernels have it since 5.10) describes every type
of the running kernel in one flat section of records. To find one member we walk the records once and stop at the first
structure of that name; nothing else is decoded. Format: ``Documentation/bpf/btf.rst``.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

KERNEL_BTF: Final = Path("/sys/kernel/btf/vmlinux")

_MAGIC: Final = 0xEB9F
_HEADER: Final = struct.Struct("=HBBIIIII")
_TYPE: Final = struct.Struct("=III")
_MEMBER: Final = struct.Struct("=III")

_STRUCT: Final = 4
#: bytes behind a type record that do not depend on the number of its members, and bytes for each member, by kind
_FIXED: Final = {1: 4, 3: 12, 14: 4, 17: 4}
_EACH: Final = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}
_LAST_KIND: Final = 19
#: with the kind flag a member's offset word holds the size of a bit field in its upper eight bits
_KIND_FLAG: Final = 1 << 31
_BIT_OFFSET: Final = 0xFFFFFF
_BITS: Final = 8


def member_offset(structure: str, member: str, path: Path = KERNEL_BTF) -> int | None:
    """Return the bytes from the start of ``struct structure`` to ``member``; None if the kernel does not tell.

    Raises:
        InputError: the file is no BTF, or is torn.

    """
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return find_member(data, structure, member, where=str(path))


def find_member(data: bytes, structure: str, member: str, *, where: str = "BTF") -> int | None:
    """Return the byte offset of ``member`` in ``struct structure``, or None if ``data`` has no such member.

    Raises:
        InputError: ``data`` is no BTF of this machine's byte order, or is torn.

    """
    try:
        types, strings = _sections(data)
        return _search(types, strings, structure, member)
    except (struct.error, ValueError, KeyError) as error:
        raise InputError(f"not readable as BTF ({error}); use --no-btf to record without it", where) from None


def _sections(data: bytes) -> tuple[memoryview, bytes]:
    magic, _version, _flags, header, type_at, type_size, string_at, string_size = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise ValueError("wrong magic number")
    if header + max(type_at + type_size, string_at + string_size) > len(data):
        raise ValueError("torn file")
    types = memoryview(data)[header + type_at : header + type_at + type_size]
    return types, data[header + string_at : header + string_at + string_size]


def _search(types: memoryview, strings: bytes, structure: str, member: str) -> int | None:
    wanted = _offset_of_name(strings, structure)
    if wanted is None:
        return None
    for name, info, at in _structures(types):
        if name in wanted:
            found = _member(types, at, info, strings, member)
            if found is not None:
                return found
    return None


def _structures(types: memoryview) -> Iterator[tuple[int, int, int]]:
    """Yield name offset, info word and offset of the members of each structure."""
    at, size = 0, len(types)
    unpack = _TYPE.unpack_from
    while at < size:
        name, info, _ = unpack(types, at)
        at += _TYPE.size
        kind = info >> 24 & 0x1F
        if not 0 < kind <= _LAST_KIND:
            raise ValueError(f"unknown kind {kind}")
        if kind == _STRUCT:
            yield name, info, at
        at += _FIXED.get(kind, 0) + _EACH.get(kind, 0) * (info & 0xFFFF)


def _member(types: memoryview, at: int, info: int, strings: bytes, member: str) -> int | None:
    for index in range(info & 0xFFFF):
        name, _, bits = _MEMBER.unpack_from(types, at + index * _MEMBER.size)
        if _name_at(strings, name) == member:
            return int(bits & _BIT_OFFSET if info & _KIND_FLAG else bits) // _BITS
    return None


def _offset_of_name(strings: bytes, name: str) -> frozenset[int] | None:
    """Return every offset at which the text ``name`` stands as a whole string (strings may share their tails)."""
    found, needle, start = set(), name.encode() + b"\0", 0
    while (at := strings.find(needle, start)) >= 0:
        found.add(at)
        start = at + 1
    return frozenset(found) or None


def _name_at(strings: bytes, offset: int) -> str:
    end = strings.index(b"\0", offset)
    return strings[offset:end].decode("ascii", "replace")
