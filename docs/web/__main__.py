"""``python -m docs.web FOLDER``: build the site. A link that leads nowhere ends it; so does another warning of a page.

What Sphinx says of docstrings is shown and no more: a docstring is written for who reads the code, too.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from docs.web.stage import stage


def build(folder: Path) -> list[str]:
    """Build the site into ``folder``; return what is wrong with its pages."""
    source = folder.parent / f"{folder.name}-source"
    stage(source)
    with tempfile.NamedTemporaryFile("r", suffix=".txt") as warnings:
        command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-w", warnings.name, source, folder]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        said = warnings.read().splitlines()
    wrong = [line for line in said if ("WARNING" in line or "ERROR" in line) and "docstring of" not in line]
    return wrong or ([done.stderr[-2000:]] if done.returncode else [])


def main() -> None:
    """Run as a program."""
    folder = Path(sys.argv[1])
    wrong = build(folder)
    for line in wrong:
        print(line)
    if wrong:
        sys.exit(1)
    print(f"{folder / 'index.html'}: {sum(1 for _ in folder.rglob('*.html'))} pages")


if __name__ == "__main__":
    main()
