"""CPU sets against a model of Python sets, against the kernel's rules, and against this kernel's own text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counting import lines_run
from numaprobe.cpuset import MAX_CPUS, MAX_TEXT, CpuSet
from numaprobe.errors import InputError

CPU = st.integers(0, MAX_CPUS - 1)
SETS = st.sets(st.one_of(st.integers(0, 70), CPU), max_size=40)
SYSFS = Path("/sys/devices/system")


@given(SETS, SETS)
@settings(deadline=None)
def test_operations_are_those_of_sets(a: set[int], b: set[int]) -> None:
    x, y = CpuSet.of(a), CpuSet.of(b)
    assert set(x & y) == a & b
    assert set(x | y) == a | b
    assert set(x - y) == a - b
    assert x.issubset(y) == a.issubset(b)
    assert len(x) == len(a)
    assert bool(x) == bool(a)
    assert list(x) == sorted(a)
    assert x.first == (min(a) if a else None)
    assert x.last == (max(a) if a else None)
    assert (x == y) == (a == b)
    assert all(cpu in x for cpu in a)
    assert -1 not in x
    assert "0" not in x


@given(SETS)
@settings(deadline=None)
def test_both_formats_round_trip(cpus: set[int]) -> None:
    x = CpuSet.of(cpus)
    assert CpuSet.parse_list(str(x)) == x
    assert CpuSet.parse_mask(x.to_mask()) == x
    assert CpuSet.parse_mask(x.to_mask(MAX_CPUS)) == x


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 40), st.integers(1, 40))
@settings(deadline=None)
def test_a_stride_takes_the_first_of_every_group(low: int, length: int, used: int, group: int) -> None:
    text = f"{low}-{low + length}:{used}/{group}"
    if used > group:
        with pytest.raises(InputError):
            CpuSet.parse_list(text)
        return
    assert set(CpuSet.parse_list(text)) == {cpu for cpu in range(low, low + length + 1) if (cpu - low) % group < used}


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        # the table of the kernel's lib/test_bitmap.c, and its admin guide
        ("0", {0}),
        ("1", {1}),
        ("0,1", {0, 1}),
        ("0-3", {0, 1, 2, 3}),
        ("0-31:1/4", set(range(0, 32, 4))),
        ("0-31:4/4", set(range(32))),
        ("1-31:8/32", set(range(1, 9))),
        ("0-3:0/2", set()),
        ("0-N", set(range(64))),
        ("all", set(range(64))),
        ("ALL:1/2", set(range(0, 64, 2))),
        ("N", {63}),
        ("N-N", {63}),
        ("0,2 , 5\t7\n", {0, 2, 5, 7}),
        (",,0-1,,", {0, 1}),
        ("", set()),
        ("  \n", set()),
    ],
)
def test_lists_as_the_kernel_reads_them(text: str, cpus: set[int]) -> None:
    assert set(CpuSet.parse_list(text, last=63)) == cpus


@pytest.mark.parametrize(
    "text",
    [
        "-1",
        "0-",
        "10-1",
        "a-31",
        "0-a",
        "0-31:",
        "0-31:0",
        "0-31:0/",
        "0-31:0/0",
        "0-31:1/0",
        "0-31:10/1",
        "0:1/2",
        "0 - 3",
        "8192",
        "0-8192",
        "0x3",
        "1_0",
        "\u0661",
        "9" * 4000,
        "n",
        "0\0",
    ],
)
def test_what_the_kernel_refuses_is_one_line(text: str) -> None:
    with pytest.raises(InputError) as caught:
        CpuSet.parse_list(text, last=63)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["N", "0-N", "all"])
def test_the_last_cpu_must_be_known(text: str) -> None:
    with pytest.raises(InputError, match="last CPU"):
        CpuSet.parse_list(text)


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("ff", set(range(8))),
        ("0xff", set(range(8))),
        ("1,00000000", {32}),
        ("ff,ffffffff", set(range(40))),
        ("00000000,00000000,00000001", {0}),
        ("0", set()),
        (" f\n", {0, 1, 2, 3}),
    ],
)
def test_masks_as_the_kernel_writes_them(text: str, cpus: set[int]) -> None:
    assert set(CpuSet.parse_mask(text)) == cpus


@pytest.mark.parametrize("text", ["", ",", "g", "123456789", "-1", "1,,1", "1" + ",0" * 256, "0x", "f f"])
def test_bad_masks(text: str) -> None:
    with pytest.raises(InputError):
        CpuSet.parse_mask(text)


def test_a_mask_is_padded_to_the_possible_cpus() -> None:
    assert CpuSet.of({0}).to_mask(256) == ",".join(["00000000"] * 7 + ["00000001"])
    assert CpuSet.of({0}).to_mask(40) == "00,00000001"
    assert CpuSet().to_mask(2) == "0"
    assert CpuSet().to_mask() == "0"


def test_a_list_is_the_shortest_one() -> None:
    assert str(CpuSet.of([0, 1, 2, 3, 8, 10, 11])) == "0-3,8,10-11"
    assert repr(CpuSet.of([3])) == "CpuSet('3')"
    assert str(CpuSet()) == ""


def test_numbers_out_of_range_are_refused() -> None:
    for cpu in (-1, MAX_CPUS):
        with pytest.raises(InputError):
            CpuSet.of([cpu])


@pytest.mark.parametrize(
    "text",
    [
        ",".join(["0-8191:1/2"] * (MAX_TEXT // 11)),
        ",".join(["0-8191"] * (MAX_TEXT // 7)),
        ",".join(str(cpu) for cpu in range(0, MAX_CPUS, 2)),
        "0-8191:1/999999999," * 10_000,
    ],
)
def test_hostile_lists_take_work_by_their_length(text: str) -> None:
    def there_and_back() -> None:
        found = CpuSet.parse_list(text)
        assert CpuSet.parse_list(str(found)) == found

    assert lines_run(there_and_back) < 20 * len(text)


@pytest.mark.parametrize("text", ["0," * 10**6, "f" * 10**7, "," * 10**7, "1-" * 10**6])
def test_endless_texts_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        CpuSet.parse_list(text)
    with pytest.raises(InputError):
        CpuSet.parse_mask(text)


@given(st.text(max_size=60) | st.text(alphabet="0123456789-,:/Nal \n", max_size=60))
@settings(deadline=None)
def test_any_text_is_a_set_or_one_line(text: str) -> None:
    for read in (lambda: CpuSet.parse_list(text, last=127), lambda: CpuSet.parse_mask(text)):
        try:
            found = read()
        except InputError as error:
            line = str(error)
        else:
            line = str(found)
            assert found.bits < 1 << MAX_CPUS
        assert line.isprintable()


def test_this_kernels_lists_and_masks_agree() -> None:
    pairs = [*SYSFS.glob("cpu/cpu*/topology/*_list"), *SYSFS.glob("cpu/cpu*/cache/index*/shared_cpu_list")]
    masks = {
        path: path.with_name(path.name.removesuffix("_list").replace("shared_cpu", "shared_cpu_map")) for path in pairs
    }
    known = {path: mask for path, mask in masks.items() if mask.exists()}
    assert known
    for path, mask in known.items():
        listed, masked = path.read_text(), mask.read_text()
        cpus = CpuSet.parse_list(listed)
        assert cpus == CpuSet.parse_mask(masked)
        assert str(cpus) == listed.strip()
        assert cpus.to_mask(4 * len(masked.strip().replace(",", ""))) == masked.strip()
