"""Where asyncio's private parts have other names the core runs the public way: the same contract, and a warning."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from numaprobe.hostmachine import HostMachine, interpreter
from numaprobe.hostmachine.loops import _OF_A_LOOP

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROGRAM = """
import another_python, asyncio, json, os, sys
import numaprobe

class Plain(numaprobe.DeviceDriver):
    name, compatible = "plain", ("plain",)

    def probe(self, dev):
        if dev.name == "plain0":
            dev.platform_data.add("child", compatible="aio")

class Aio(numaprobe.DeviceDriver):
    name, compatible, probe_type = "aio", ("aio",), numaprobe.ProbeType.PREFER_ASYNCHRONOUS

    async def probe(self, dev):
        await asyncio.sleep(0.001)
        await core.machine.compute(10_000)
        return -19 if dev.name == "aio1" else 0

@numaprobe.driver("hung", deadline="50ms")
def hung(dev):
    end.wait(20)

import threading
end = threading.Event()
with numaprobe.host() as core:
    core.register(Plain(), Aio(), hung)
    for kind in ("plain", "aio", "hung"):
        for index in range(2):
            core.add(f"{kind}{index}", compatible=kind, data=core, node=0)
    core.wait(timeout=30)
    told = [one.message for one in core.warnings if one.kind == "python"]
    results = sorted((one.device, one.result) for one in core.records)
    print(json.dumps([results, told, type(core.machine.runner.core.loop).__name__]))
    end.set()
"""
RESULTS = [
    ["aio0", "0"],
    ["aio1", "ENODEV"],
    ["child", "0"],
    ["hung0", "ETIMEDOUT"],
    ["hung1", "ETIMEDOUT"],
    ["plain0", "0"],
    ["plain1", "0"],
]
#: what of asyncio's own the improved loop needs
NAMES = (*_OF_A_LOOP, "_set_running_loop", "_asyncio_future_blocking")


def run(*command: str, name: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{ROOT}", "PRIVATE_NAME": name}
    line = [sys.executable, *command]
    return subprocess.run(line, env=env, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("name", NAMES)
def test_without_a_private_name(name: str) -> None:
    done = run("-W", "error", "-c", PROGRAM, name=name)
    assert done.returncode == 0, done.stderr
    results, told, loop = json.loads(done.stdout)
    assert results == RESULTS
    assert loop == "PlainLoop"
    assert len(told) == 1
    assert f": asyncio has no {name}: the core keeps to one thread" in told[0]


#: What holds of the machine, its faults and its contract holds the public way too; these take a few seconds.
TESTS = ("tests/contract", "tests/host/test_host_machine.py", "tests/host/test_host_asyncio.py")


@pytest.mark.parametrize("name", ["_run_once", "_asyncio_future_blocking"])
def test_the_suite_passes_the_public_way(name: str) -> None:
    done = run("-m", "pytest", "-q", "-p", "another_python", "-p", "no:cacheprovider", *TESTS, name=name)
    assert done.returncode == 0, done.stdout[-4000:]


def test_without_the_flags_of_the_interpreter_processes_are_multiprocessing_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "flags", lambda: None)
    with HostMachine() as machine:
        pid = machine.submit(lambda: machine.call_process(os.getpid), comm="test").result(30)
        assert pid != os.getpid()
        assert ["_args_from_interpreter_flags" in one.message for one in machine.warnings] == [True]
