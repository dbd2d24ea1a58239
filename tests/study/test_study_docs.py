"""The Python examples of the documents run and print what they show."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [("study.md", 16), ("verify.md", 4), ("advise.md", 5), ("sweep.md", 6), ("fleet.md", 9)]


@pytest.mark.parametrize(("page", "examples"), PAGES)
def test_examples_print_what_they_show(
    page: str, examples: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)  # documents show traces of this repository
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").replace("\n```", "\n\n")
    test = doctest.DocTestParser().get_doctest(text, {}, page, page, 0)
    results = doctest.DocTestRunner(verbose=False).run(test)
    assert results.attempted >= examples
    assert results.failed == 0, capsys.readouterr().out
