"""What an interpreter takes to start, and a module to be loaded, is no part of a probe in a process.

By events, not by durations: a child says when it had loaded the module, and every call that it gets is noted with its
deadline. What comes before is then neither in a cost nor in a deadline, however long it takes.
"""

from __future__ import annotations

import importlib
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import numaprobe
from numaprobe.hostmachine import HostMachine, process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

S = 10**9
MODULE = """
import os, pathlib, time
import numaprobe

if os.environ["unittest_parent"] != str(os.getpid()):
    with pathlib.Path(__file__).with_name("loaded").open("a") as file:
        print(time.monotonic_ns(), file=file)


class Slow(numaprobe.DeviceDriver):
    name = "slow"
    compatible = ("x",)
    process = True
    deadline = "40s"

    def probe(self, dev):
        return {"pid": os.getpid()}


def where():
    return os.getpid()
"""


class Call(NamedTuple):
    """A call that a child got."""

    at_ns: int
    deadline_ns: int | None


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    import os

    (tmp_path / "module_of_a_test.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("unittest_parent", str(os.getpid()))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("module_of_a_test")
    del sys.modules["module_of_a_test"]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """The calls that children got."""
    seen: list[Call] = []
    real = process.BodyProcess.call

    def call(child: process.BodyProcess, data: bytes, deadline_ns: int | None) -> process.ProcessAnswer:
        seen.append(Call(time.monotonic_ns(), deadline_ns))
        return real(child, data, deadline_ns)

    monkeypatch.setattr(process.BodyProcess, "call", call)
    return seen


def loads(folder: Path) -> list[int]:
    """When each child had loaded the module."""
    return [int(line) for line in (folder / "loaded").read_text().splitlines()]


def test_neither_cost_nor_deadline(module: Any, calls: list[Call], tmp_path: Path) -> None:
    with numaprobe.host("inline") as core:
        core.register(module.Slow())
        for index in range(2):
            core.add(f"a{index}", compatible="x")
        assert [record.result for record in core.records] == ["0", "0"]
        assert [call.deadline_ns for call in calls] == [process.START_S * S, 40 * S] * 2  # each add has its own task
        origin = time.monotonic_ns() - core.machine.now()
        for record, asked, loaded, called in zip(core.records, calls[::2], loads(tmp_path), calls[1::2], strict=True):
            start, end = origin + (record.start_ns or 0), origin + (record.end_ns or 0)
            assert asked.at_ns < loaded < start < called.at_ns < end


def test_the_deadline_of_a_call_begins_when_its_process_is_there(
    module: Any, calls: list[Call], tmp_path: Path
) -> None:
    machine = HostMachine()

    async def main() -> int:
        pid: int = await machine.call_process(module.where, deadline_ns=40 * S)
        return pid

    assert machine.run(main) > 0
    (loaded,) = loads(tmp_path)
    assert [call.deadline_ns for call in calls] == [process.START_S * S, 40 * S]
    assert calls[0].at_ns < loaded < calls[1].at_ns


def test_a_process_that_never_comes_is_given_up(module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import time; time.sleep(3600)\n")
    monkeypatch.setattr(process, "START_S", 0.05)
    with numaprobe.host("inline") as core:
        core.register(module.Slow())
        core.add("a", compatible="x")
        assert [record.result for record in core.records] == ["ETIMEDOUT"]
        assert not core.device("a").is_bound
