"""Several traces in one comparison: each goes by a name that says which it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from command import refused

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def traces(run: Any, tmp_path: Path) -> tuple[Path, Path]:
    """The same file name in two folders; the second trace carries a label."""
    for folder, options in (("a", ()), ("b", ("--label", "patched"))):
        (tmp_path / folder).mkdir()
        run("run", "pmem-2018", *options, "-o", tmp_path / folder / "trace.json")
    return tmp_path / "a/trace.json", tmp_path / "b/trace.json"


def labels(text: str) -> list[str]:
    return [entry["policy"] for entry in json.loads(text)["policies"]]


def test_a_trace_goes_by_the_word_given_its_own_or_its_file(run: Any, traces: tuple[Path, Path]) -> None:
    first, second = traces
    assert labels(run("compare", first, second, "--json")) == [str(first), "patched"]
    assert labels(run("compare", f"after={first}", f"before={second}", "--json")) == ["after", "before"]
    assert labels(run("compare", first, first, "--json")) == [str(first), f"{first}#2"]


def test_the_base_is_chosen_by_its_label(run: Any, traces: tuple[Path, Path]) -> None:
    first, second = traces
    result = json.loads(run("compare", f"after={first}", f"before={second}", "-b", "before", "--json"))
    assert result["baseline"] == "before"
    assert result["policies"][1]["identity"]["label"] == "before"
    assert "unknown baseline 'befor'" in refused("compare", f"a={first}", f"before={second}", "-b", "befor")


def test_labels_are_in_tables_and_pages(run: Any, traces: tuple[Path, Path]) -> None:
    first, second = traces
    for form in ("table", "html", "svg"):
        assert "before<b>" in run("compare", first, f"before<b>={second}", "-f", form).replace("&lt;", "<").replace(
            "&gt;", ">"
        ).replace("\\u003c", "<").replace("\\u003e", ">")


def test_a_file_with_such_a_name_is_no_label(run: Any, traces: tuple[Path, Path], tmp_path: Path) -> None:
    odd = tmp_path / "x=y.json"
    odd.write_bytes(traces[0].read_bytes())
    assert labels(run("compare", odd, traces[1], "--json")) == ["x=y.json", "patched"]


def test_one_labelled_trace_is_replayed(run: Any, traces: tuple[Path, Path]) -> None:
    found = labels(run("compare", f"before={traces[0]}", "-p", "inline", "--json"))
    assert found[0] == "recorded"
    assert "inline" in found
