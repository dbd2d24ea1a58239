"""A fake kernel and a process file system for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fake_tracefs import FakeKernel

from numaprobe.kernel.record import Recorder, RecordOptions
from numaprobe.kernel.tracefs import Tracefs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def kernel(tmp_path: Path) -> FakeKernel:
    return FakeKernel(tmp_path / "tracing")


@pytest.fixture
def tracefs(kernel: FakeKernel) -> Tracefs:
    return Tracefs.find(kernel.root, kernel)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    folder = tmp_path / "proc"
    folder.mkdir()
    (folder / "meminfo").write_text("MemTotal: 8000000 kB\nMemAvailable:    4000000 kB\n")
    (folder / "zoneinfo").write_text("Node 0, zone   Normal\n        spanned  100\n  start_pfn:           0\n")
    return folder


@pytest.fixture
def recorder(tracefs: Tracefs, proc: Path) -> Callable[..., Recorder]:
    def make(**options: object) -> Recorder:
        return Recorder(tracefs, RecordOptions(**{"btf": None, **options}), pid=4242, proc=proc)

    return make
