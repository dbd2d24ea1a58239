from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from numaprobe.scenario.quantities import Comm, Cpus, ErrnoName, NamePattern, SizeBytes, TimeNs, expand_name

ADAPTERS = {name: TypeAdapter(kind) for name, kind in {
    "time": TimeNs, "size": SizeBytes, "errno": ErrnoName, "name": NamePattern, "cpus": Cpus, "comm": Comm,
}.items()}  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "index", "expected"),
    [
        ("eth0", 3, "eth0"),
        ("0000:{i:02x}:00.0", 0x1F, "0000:1f:00.0"),
        ("0000:{i/8:02x}:00.{i%8}", 17, "0000:02:00.1"),
        ("cpu{i+1}", 0, "cpu1"),
        ("{parent}-port{i}", 2, "hub-port2"),
        ("{i:4}", 7, "   7"),
        ("{i/0}", 7, "7"),
    ],
)
def test_names_of_a_group_are_counted(pattern: str, index: int, expected: str) -> None:
    assert expand_name(pattern, index, "hub") == expected


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("time", "9.3ms", 9_300_000),
        ("size", "4MiB", 4 << 20),
        ("errno", "EPROBE_DEFER", "EPROBE_DEFER"),
        ("cpus", 3, [3]),
        ("cpus", "0-2", [0, 1, 2]),
        ("name", "Fixed MDIO bus.0", "Fixed MDIO bus.0"),
        ("comm", "kworker/u17:1", "kworker/u17:1"),
    ],
)
def test_values_are_read(kind: str, value: object, expected: object) -> None:
    read: Any = ADAPTERS[kind].validate_python(value)
    assert (list(read) if kind == "cpus" else read) == expected


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("time", "25 parsecs", "no known time unit"),
        ("time", 25, "write it as text with its unit"),
        ("time", "-5ms", "is not a time"),
        ("time", "2000000s", "longer than a day"),
        ("time", "9" * 400 + "ms", "is not a time"),
        ("size", "4 elephants", "no known size unit"),
        ("errno", "ENOSUCH", "no errno name"),
        ("errno", "0", "no errno name"),
        ("name", "a/b", "no slash"),
        ("name", "", "not empty"),
        ("name", " a", "printable"),
        ("name", "x" * 129, "at most 128"),
        ("name", "{i.__class__}", "only {i}"),
        ("name", "{i:999999999}", "only {i}"),
        ("name", 5, "is not a name"),
        ("cpus", "3-1", "runs backwards"),
        ("cpus", "0-99999", "not in 0-"),
        ("cpus", True, "is not a CPU list"),
        ("comm", "a\nb", "not a task's name"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_reason(kind: str, value: object, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        ADAPTERS[kind].validate_python(value)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(ADAPTERS)), st.one_of(st.text(), st.integers(), st.booleans(), st.none(), st.floats()))
def test_any_value_is_read_or_refused(kind: str, value: object) -> None:
    try:
        ADAPTERS[kind].validate_python(value)
    except ValidationError as error:
        refused = error
    else:
        return
    assert refused.error_count() == 1


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="{}i/%+:0123456789xdXparent-", max_size=40), st.integers(0, 200_000))
def test_a_pattern_that_is_accepted_expands_to_a_short_name(pattern: str, index: int) -> None:
    try:
        ADAPTERS["name"].validate_python(pattern)
    except ValidationError:
        return
    name = expand_name(pattern, index, "p")
    assert "{" not in name
    assert len(name) <= 128 * 20
