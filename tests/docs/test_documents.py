"""The documents say what is: tables are what runs give, shown commands print what is shown, links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
NUMAPROBE = Path(sys.executable).parent / "numaprobe"
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)\)")
ANY = "…"


def shown_commands() -> list[tuple[str, str, str]]:
    """Every ``$ numaprobe …`` of the documents, with the output that is shown for it."""
    found = []
    for page in PAGES:
        for block in CONSOLE.findall(page.read_text(encoding="utf-8")):
            for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                found.append((page.name, command, output))
    return found


def test_tables_are_current() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "docs.build", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == ""
    assert done.returncode == 0


#: name of a dataset -> the words that make it
SWEEPS = {
    words[words.index("-o") + 1]: words
    for words in (shlex.split(command) for _, command, _ in shown_commands())
    if words[1] == "sweep"
}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the datasets that documents name: what the commands that are shown for them make."""
    folder = tmp_path_factory.mktemp("swept")
    for name, command in SWEEPS.items():
        subprocess.run([NUMAPROBE, *command[1:]], cwd=folder, check=True, capture_output=True)
        assert (folder / name).is_dir()
    return folder


@pytest.mark.parametrize(("page", "command", "expected"), shown_commands())
def test_shown_commands_print_what_is_shown(
    page: str, command: str, expected: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    words = shlex.split(command)
    assert words[0] == "numaprobe", page
    for folder in ("tests", "examples"):  # documents show traces and examples of this repository
        (tmp_path / folder).symlink_to(ROOT / folder)
    for name in SWEEPS.keys() & set(words):
        if "-o" not in words:
            (tmp_path / name).symlink_to(request.getfixturevalue("swept") / name)
    env = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    done = subprocess.run([NUMAPROBE, *words[1:]], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    lines = [re.escape(line.rstrip()) for line in expected.rstrip("\n").split("\n")]
    pattern = "\n".join("(?:.*\n)*?.*" if line == re.escape(ANY) else line for line in lines)
    printed = "\n".join(line.rstrip() for line in (done.stdout + done.stderr).rstrip("\n").split("\n"))
    assert re.fullmatch(pattern, printed), f"{page} shows something else than:\n{printed}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
