"""Running the installed command as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

COMMAND = Path(sys.executable).with_name("numaprobe")
#: as in a pipe: no terminal's width, no colour
ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "NUMAPROBE_DEBUG"}} | {"NO_COLOR": "1"}

Done = subprocess.CompletedProcess[str]


def numaprobe(*arguments: object, **settings: Any) -> Done:
    """Run the command; standard output and error are captured as text."""
    environment = ENVIRONMENT | settings.pop("env", {})
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
        **settings,
    )


def refused(*arguments: object, code: int = 2, **settings: Any) -> str:
    """Run the command, which must fail with ``code`` and one line; return that line without ``numaprobe:``."""
    done = numaprobe(*arguments, **settings)
    assert done.returncode == code, done
    assert done.stdout == ""
    assert done.stderr.startswith("numaprobe: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.endswith("\n")
    assert "Traceback" not in done.stderr
    return done.stderr.removeprefix("numaprobe: ").removesuffix("\n")
