"""What an interpreter takes to start, and a module to be loaded, is no part of a probe in a process."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import pytest

import numaprobe
from numaprobe.hostmachine import HostMachine, process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MS = 1_000_000
#: how long a child of these tests takes to start, and its module to be loaded
START_S, LOAD_S = 0.5, 0.4
MODULE = f"""
import os, sys, time
import numaprobe

if "unittest_slow" in os.environ and __name__ in sys.modules and os.environ["unittest_slow"] != str(os.getpid()):
    time.sleep({LOAD_S})


class Slow(numaprobe.DeviceDriver):
    name = "slow"
    compatible = ("x",)
    process = True
    deadline = "400ms"

    def probe(self, dev):
        time.sleep(0.05)
        return os.getpid() and {{"pid": os.getpid()}}


def where():
    return os.getpid()
"""


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module that takes long to be loaded in an interpreter that takes long to start."""
    import os

    (tmp_path / "sitecustomize.py").write_text(f"import time; time.sleep({START_S})\n")
    (tmp_path / "slow_module_of_a_test.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("unittest_slow", str(os.getpid()))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("slow_module_of_a_test")
    del sys.modules["slow_module_of_a_test"]


def test_neither_cost_nor_deadline(slow: Any) -> None:
    with numaprobe.host("inline") as core:
        core.register(slow.Slow())
        for index in range(2):
            core.add(f"a{index}", compatible="x")
        assert [record.result for record in core.records] == ["0", "0"]
        assert all(50 * MS <= (record.cost_ns or 0) < 300 * MS for record in core.records)
        assert core.machine.now() >= (START_S + LOAD_S) * 1e9  # it was slow


def test_the_deadline_of_a_call_begins_when_its_process_is_there(slow: Any) -> None:
    machine = HostMachine()

    async def main() -> int:
        pid: int = await machine.call_process(slow.where, deadline_ns=300 * MS)
        return pid

    assert machine.run(main) > 0


def test_a_process_that_never_comes_is_given_up(slow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "START_S", 0.05)
    with numaprobe.host("inline") as core:
        core.register(slow.Slow())
        core.add("a", compatible="x")
        assert [record.result for record in core.records] == ["ETIMEDOUT"]
        assert not core.device("a").is_bound
