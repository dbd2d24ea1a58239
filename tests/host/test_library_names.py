"""Each name of the package means one thing: none is both what users call and a room of the house."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import numaprobe


@pytest.mark.parametrize("name", numaprobe.__all__)
def test_a_name_is_no_module_too(name: str) -> None:
    root = Path(numaprobe.__file__).parent
    assert not (root / f"{name}.py").exists()
    assert not list((root / name).rglob("*.py"))
    assert not inspect.ismodule(getattr(numaprobe, name))


def test_host_stays_the_function_whatever_is_imported() -> None:
    before = numaprobe.host
    for module in ("hostmachine", "hostmachine.machine", "library", "library.entry"):
        importlib.import_module(f"numaprobe.{module}")
    assert numaprobe.host is before
    assert inspect.isfunction(numaprobe.host)
    assert type(numaprobe).__name__ == "module"  # an ordinary package, with nothing that turns away what is set


def test_there_is_no_room_of_that_name() -> None:
    program = "import numaprobe.host.machine"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError: No module named 'numaprobe.host" in done.stderr
