"""The lesson on drivers is a program: its blocks, run one after the other, print what is shown."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "tutorial-drivers.md"


def test_the_lesson_prints_what_it_shows(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    program = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    shown = "".join(re.findall(r"^```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    (tmp_path / "cameras.py").write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "cameras.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.stdout, done.stderr) == (shown, "")
