"""What a real guest needs; where it is missing, its tests are left out, loudly."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from numaprobe.errors import KernelInterfaceError
from numaprobe.kernel.lab.fetch import fetch_kernel
from numaprobe.kernel.lab.tools import KernelImage, Tools, find_kernel, find_tools

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


@pytest.fixture(scope="session")
def tools() -> Tools:
    try:
        return find_tools()
    except KernelInterfaceError as error:
        pytest.skip(f"NO GUEST WAS BOOTED, nothing was tested on a kernel: {error}")


@pytest.fixture(scope="session")
def kernel(tools: Tools) -> KernelImage:
    try:
        return find_kernel()
    except KernelInterfaceError:
        try:
            return fetch_kernel("6.1")
        except KernelInterfaceError as error:
            pytest.skip(f"NO GUEST WAS BOOTED, nothing was tested on a kernel: {error}")


@pytest.fixture
def with_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, str]], None]:
    """Put small shell scripts (name -> text) before the system's programs; they may write to ``$LOG``."""

    def put(programs: Mapping[str, str]) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        for name, text in programs.items():
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("LOG", str(tmp_path / "log"))

    return put
