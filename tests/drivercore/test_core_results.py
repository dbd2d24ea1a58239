"""Results: names and numbers of the kernel's errnos."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numaprobe.drivercore import EPROBE_DEFER, errno_name, errno_value
from numaprobe.drivercore.results import MAX_ERRNO, is_deferral
from numaprobe.errors import InputError


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (0, "0"),
        (-5, "EIO"),
        (5, "EIO"),
        (-11, "EAGAIN"),
        (-19, "ENODEV"),
        (-35, "EDEADLK"),
        (-95, "EOPNOTSUPP"),
        (-517, "EPROBE_DEFER"),
        (-524, "ENOTSUPP"),
        (-4000, "E4000"),
    ],
)
def test_names_are_the_kernels(value: int, name: str) -> None:
    assert errno_name(value) == name


@given(st.sampled_from(sorted({*errno.errorcode, EPROBE_DEFER})))
def test_a_name_leads_back_to_its_number(value: int) -> None:
    assert errno_value(errno_name(-value)) == value
    assert value == EPROBE_DEFER or os.strerror(value) != f"Unknown error {value}"


def test_python_names_are_understood_too() -> None:
    assert errno_value("EDEADLOCK") == errno_value("EDEADLK") == errno.EDEADLK
    assert errno_value("0") == 0


@given(st.text())
def test_any_other_text_is_refused_in_one_line(text: str) -> None:
    known = {*errno.errorcode.values(), *(errno_name(value) for value in range(MAX_ERRNO + 1))}
    if text not in known:
        with pytest.raises(InputError) as caught:
            errno_value(text)
        assert len(str(caught.value).splitlines()) == 1


@given(st.integers(-5000, 5000))
def test_a_deferral_has_either_sign(value: int) -> None:
    assert is_deferral(value) == (abs(value) == 517)
