from __future__ import annotations

import io
from typing import TYPE_CHECKING

from numaprobe.cli.listing import write_list

if TYPE_CHECKING:
    import pytest

ROWS = [("a", "one two three four five six seven eight"), ("longer-name", "x")]


def listed(monkeypatch: pytest.MonkeyPatch, columns: str | None) -> list[str]:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    stream = io.StringIO()
    write_list(ROWS, stream)
    return stream.getvalue().splitlines()


def test_in_a_pipe_each_name_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert listed(monkeypatch, None) == ["a            one two three four five six seven eight", "longer-name  x"]


def test_on_a_narrow_terminal_texts_are_wrapped_and_names_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = listed(monkeypatch, "44")
    assert lines == ["a            one two three four five six", "             seven eight", "longer-name  x"]
    assert listed(monkeypatch, "5")[-1] == "longer-name  x"


def test_an_empty_list_is_empty() -> None:
    stream = io.StringIO()
    write_list([], stream)
    assert stream.getvalue() == ""
