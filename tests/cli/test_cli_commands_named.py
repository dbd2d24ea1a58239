"""Every text that names a command names one that is there: help, advice, errors, documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from numaprobe.cli.registry import COMMANDS

ROOT = Path(__file__).parents[2]
#: A command line: quoted, after a prompt, at the start of a line, or as the program of a Makefile.
COMMAND_LINE = re.compile(r"(?:[`'\"(]|\$ |\$\(BIN\)/|^ *)numaprobe ([a-z][a-z-]*)", re.MULTILINE)
#: How prose goes on after the name of the program at the start of a line.
PROSE = {
    "is",
    "needs",
    "reads",
    "records",
    "runs",
    "can",
    "cannot",
    "does",
    "has",
    "and",
    "imports",
    "import",
    "itself",
}
TEXTS = sorted(
    path
    for path in (*ROOT.glob("*.md"), ROOT / "Makefile", *ROOT.glob("docs/**/*.md"), *ROOT.glob("src/**/*"))
    if path.suffix in (".md", ".py", ".toml", ".html", ".js", ".sh", "")
    and path.is_file()
    and path.name != "CHANGELOG.md"
)


def named(text: str) -> set[str]:
    """Return the commands that a text names; a text broken into lines of code is read as one."""
    joined = re.sub(r'"\s*\n\s*f?"', "", text)
    return {found[1] for found in COMMAND_LINE.finditer(joined)} - PROSE


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_text_names_no_command_that_is_not_there(path: Path) -> None:
    missing = named(path.read_text(encoding="utf-8")) - set(COMMANDS)
    assert not missing, f"{path.name} names commands that are not there: {sorted(missing)}"


def test_the_check_sees_commands() -> None:
    """It must be able to fail: in advice, over the end of a line of code, in a console block."""
    assert named("Bind them ('numaprobe bind' does)") == {"bind"}
    assert named('"Bind them (\'numaprobe"\n    f" unbind\' does)"') == {"unbind"}
    assert named("```console\n$ numaprobe rebind x\n```") == {"rebind"}
    assert named("numaprobe is a program; of numaprobe nothing is said") == set()
    assert {"run", "compare"} <= set().union(*(named(path.read_text(encoding="utf-8")) for path in TEXTS))
