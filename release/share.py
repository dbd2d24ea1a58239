"""What is shared between programs below a prefix's ``share``: manual pages, completions, schemas.

The wheel carries the folder for pip, pipx and uv, the Debian package for ``/usr``; both are made from the same files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from numaprobe.cli.completing import SHELLS, completion_script
from numaprobe.records.schemas import SCHEMAS, json_schema
from numaprobe.scenario.published import SCENARIO_SCHEMA, scenario_schema
from release.man import write_pages

ROOT = Path(__file__).parents[1]


def write_share(folder: Path) -> None:
    """Write everything below ``folder``, which stands for ``share``."""
    write_pages(folder / "man")
    for shell, name in SHELLS.items():
        _write(folder / name, completion_script(shell))
    for name, schema in schemas().items():
        file = name.removeprefix("numaprobe.").replace("/", "-")
        _write(folder / "numaprobe" / "schemas" / f"{file}.json", json.dumps(schema, indent=2) + "\n")


def schemas() -> dict[str, dict[str, Any]]:
    """Return every published schema by its name: of scenario files, and of what the commands write as JSON."""
    return {SCENARIO_SCHEMA: scenario_schema(), **{name: json_schema(name) for name in SCHEMAS}}


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
