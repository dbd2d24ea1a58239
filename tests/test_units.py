"""Times and sizes, as people write them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.errors import InputError
from numaprobe.units import (
    MAX_SIZE,
    MAX_TIME_NS,
    format_size,
    format_size_exact,
    format_time,
    parse_size,
    parse_time,
)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("25ms", 25_000_000),
        ("1.5 s", 1_500_000_000),
        ("800us", 800_000),
        ("800\u00b5s", 800_000),
        ("800\u03bcs", 800_000),
        (" 7 ns ", 7),
        ("2min", 120 * 10**9),
        ("0s", 0),
        ("0.000000001s", 1),
        ("1.0000000009s", 10**9),
    ],
)
def test_times(text: str, ns: int) -> None:
    assert parse_time(text) == ns


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("32GiB", 32 * 2**30),
        ("4 MB", 4_000_000),
        ("64K", 65536),
        ("64k", 65536),
        ("1kB", 1000),
        ("1KB", 1000),
        ("1T", 2**40),
        ("512", 512),
        ("512 B", 512),
        ("1.5KiB", 1536),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "ms", "5", "-5ms", "5 parsecs", "5e3ms", "1..5s", "\u0665s", "9" * 31 + "s", "2000min"]
)
def test_bad_times(text: str) -> None:
    with pytest.raises(InputError):
        parse_time(text)


@pytest.mark.parametrize("text", ["", "GiB", "-1GiB", "1 GiBs", "1 gib", "2000TiB", "9" * 31, "1,5GiB"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(InputError):
        parse_size(text)


@given(st.integers(0, MAX_SIZE))
@settings(deadline=None)
def test_exact_sizes_round_trip(size: int) -> None:
    assert parse_size(format_size_exact(size)) == size


@given(st.integers(0, MAX_TIME_NS))
@settings(deadline=None)
def test_a_formatted_time_is_near(ns: int) -> None:
    text = format_time(ns)
    assert abs(parse_time(text) - ns) <= ns / 1000


@given(st.integers(1, MAX_SIZE))
@settings(deadline=None)
def test_a_formatted_size_is_near(size: int) -> None:
    assert abs(parse_size(format_size(size)) - size) <= size / 1000


def test_formats_for_people() -> None:
    assert format_time(34_765_890) == "34.766 ms"
    assert format_time(5_000_000_000) == "5.000 s"
    assert format_time(850) == "850 ns"
    assert format_time(-1_500) == "-1.500 \u00b5s"
    assert format_size(32 * 2**30) == "32 GiB"
    assert format_size(1536) == "1.5 KiB"
    assert format_size(512) == "512 B"
    assert format_size_exact(0) == "0B"


@given(st.text(max_size=40))
@settings(deadline=None)
def test_any_text_is_a_quantity_or_an_input_error(text: str) -> None:
    for read in (parse_time, parse_size):
        with contextlib.suppress(InputError):
            assert read(text) >= 0
