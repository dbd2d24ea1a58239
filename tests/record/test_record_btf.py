"""A BTF file made by hand, the live kernel's where there is one, and files that are torn."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.errors import InputError
from numaprobe.kernel.btf import KERNEL_BTF, find_member, member_offset

if TYPE_CHECKING:
    from pathlib import Path


def make_btf(*, bitfields: bool = False) -> bytes:
    strings = b"\0int\0pci_dev\0devfn\0dev\0other_pci_dev\0"
    at = {
        name: strings.index(b"\0" + name + b"\0") + 1
        for name in (b"int", b"pci_dev", b"devfn", b"dev", b"other_pci_dev")
    }

    def kind(number: int, length: int, flag: int = 0) -> int:
        return flag << 31 | number << 24 | length

    types = struct.pack("=IIII", at[b"int"], kind(1, 0), 4, 0x20)
    types += struct.pack("=III", 0, kind(13, 2), 1) + struct.pack("=IIII", 0, 1, 0, 1)  # a function type
    types += struct.pack("=III", 0, kind(2, 0), 1)  # a pointer
    types += struct.pack("=III", at[b"other_pci_dev"], kind(4, 1), 8) + struct.pack("=III", at[b"dev"], 1, 64)
    flag = int(bitfields)
    members = [(at[b"devfn"], 1, 0), (at[b"dev"], 1, (208 * 8) | (flag * 3 << 24))]
    types += struct.pack("=III", at[b"pci_dev"], kind(4, 2, flag), 512)
    types += b"".join(struct.pack("=III", *member) for member in members)
    header = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    return header + types + strings


@pytest.mark.parametrize("bitfields", [False, True])
def test_the_member_of_the_right_structure_is_found(bitfields: bool) -> None:
    assert find_member(make_btf(bitfields=bitfields), "pci_dev", "dev") == 208
    assert find_member(make_btf(bitfields=bitfields), "other_pci_dev", "dev") == 8


@pytest.mark.parametrize(("structure", "member"), [("pci_dev", "nothing"), ("nothing", "dev"), ("int", "dev")])
def test_what_is_not_there_is_none(structure: str, member: str) -> None:
    assert find_member(make_btf(), structure, member) is None


def test_a_missing_file_is_none(tmp_path: Path) -> None:
    assert member_offset("pci_dev", "dev", tmp_path / "none") is None


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=200)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        assert find_member(data, "pci_dev", "dev") is None
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017  both ways are right


@given(st.integers(0, len(make_btf()) - 1), st.integers(0, 255))
@settings(deadline=None, max_examples=300)
def test_a_changed_byte_or_a_cut_file_ends_in_a_number_none_or_one_line(index: int, value: int) -> None:
    good = make_btf()
    for data in (good[:index] + bytes([value]) + good[index + 1 :], good[:index]):
        try:
            found = find_member(data, "pci_dev", "dev")
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017  both ways are right
        else:
            assert found is None or 0 <= found < 2**29


def test_this_kernels_own_btf_agrees_with_what_every_kernel_has() -> None:
    if not KERNEL_BTF.exists():
        assert member_offset("device", "kobj") is None
        return
    assert member_offset("device", "kobj") == 0
    assert member_offset("device_driver", "name") == 0
    assert (member_offset("pci_dev", "dev") or 0) % 8 == 0
