"""Short lists: the first few names, and how many more there are."""

from __future__ import annotations

import pytest

from numaprobe.listing import first_few


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ((), ""),
        (("a",), "a"),
        (("a", "b", "c"), "a, b, c"),
        (("a", "b", "c", "d"), "a, b, c and 1 more"),
        (dict.fromkeys("abcabcde"), "a, b, c and 2 more"),
    ],
)
def test_a_list_stays_short(names: tuple[str, ...], text: str) -> None:
    assert first_few(names, 3) == text


def test_what_parts_the_names_is_chosen() -> None:
    assert first_few(["a b", "c d", "e f"], 2, between="; ", last="; and") == "a b; c d; and 1 more"


def test_some_names_stand_for_more() -> None:
    assert first_few(["a", "b"], 3, of=9) == "a, b and 7 more"
    assert first_few(["a", "b"], 3, of=1) == "a, b"
