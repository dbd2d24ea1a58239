"""``make recorder``: one file that records and binds wherever there is a Python, with nothing installed.

The file is a zip of numaprobe's own modules (those that need the standard library alone) with a stand-in for typer
(``typer.py``): the commands are the same code as in the installed program. The same sources give the same bytes.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
PACKAGE = HERE.parent / "src/numaprobe"
LIMIT = 10**6
#: rooms that need other packages, or have no part in recording and binding
LEFT_OUT = ("buses", "drivercore", "kernel/lab", "library", "placement", "policies", "report", "scenario", "testing")
LEFT_OUT_TOO = ("virtual", "workqueue", "records/schemas", "analysis/fleet", "study/fleet")
#: a zip has no time before this
WHEN = (1980, 1, 1, 0, 0, 0)


def sources() -> Iterator[tuple[str, bytes]]:
    """Yield every file of the recorder: its name in the zip, and what it holds."""
    for name in ("__main__.py", "typer.py"):
        yield name, (HERE / name).read_bytes()
    for path in sorted(PACKAGE.rglob("*")):
        inside = path.relative_to(PACKAGE).as_posix()
        left_out = any(inside.startswith(f"{room}/") for room in (*LEFT_OUT, *LEFT_OUT_TOO))
        if path.suffix in (".py", ".toml", ".sh") and not left_out:
            yield f"numaprobe/{inside}", path.read_bytes()


def build(target: Path) -> int:
    """Write the recorder; return its size in bytes."""
    data = io.BytesIO(b"#!/usr/bin/env python3\n")
    data.seek(0, io.SEEK_END)
    with zipfile.ZipFile(data, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in sources():
            archive.writestr(zipfile.ZipInfo(name, WHEN), content, zipfile.ZIP_DEFLATED)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data.getvalue())
    target.chmod(0o755)
    return len(data.getvalue())


def main() -> None:
    """Build it where the command line says."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "dist/numaprobe-record")
    size = build(target)
    print(f"{target}: {size:,} bytes")
    if size >= LIMIT:
        sys.exit(f"it should be smaller than {LIMIT:,} bytes")


if __name__ == "__main__":
    main()
