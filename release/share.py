"""What is shared between programs below a prefix's ``share``: manual pages, completions, schemas.

The wheel carries the folder for pip, pipx and uv, the Debian package for ``/usr``; both are made from the same files.
"""

from __future__ import annotations

import json
from pathlib import Path

from numaprobe.cli.completing import SHELLS, completion_script
from numaprobe.records.schemas import SCHEMAS, json_schema
from release.man import write_pages

ROOT = Path(__file__).parents[1]


def write_share(folder: Path) -> None:
    """Write everything below ``folder``, which stands for ``share``."""
    write_pages(folder / "man")
    for shell, name in SHELLS.items():
        _write(folder / name, completion_script(shell))
    for name in SCHEMAS:
        file = name.removeprefix("numaprobe.").replace("/", "-")
        _write(folder / "numaprobe" / "schemas" / f"{file}.json", json.dumps(json_schema(name), indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
