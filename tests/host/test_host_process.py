"""Bodies in processes: pinned alike, and their death is an error, never a hang."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import numaprobe
from numaprobe.errors import BodyError, UsageError
from numaprobe.hostmachine import HostMachine
from numaprobe.workqueue import work_on_cpu

if TYPE_CHECKING:
    from collections.abc import Iterator

CPUS = sorted(os.sched_getaffinity(0))


@pytest.fixture
def bodies(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of bodies, importable here and in the children."""
    folder = str(Path(__file__).parent)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")]))
    import host_bodies

    yield host_bodies
    sys.modules.pop("host_bodies", None)


@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_is_pinned_like_its_worker(bodies: Any, method: str) -> None:
    machine = HostMachine(start_method=method)
    cpu = CPUS[-1]

    async def body() -> None:
        pid, allowed, here = await machine.call_process(bodies.where)
        again, _, _ = await machine.call_process(bodies.where)
        assert pid != os.getpid()
        assert again == pid
        assert allowed == {cpu}
        assert here == cpu
        _, usage = await machine.measure(lambda: machine.call_process(bodies.crunch, 200_000))
        assert usage.cpus[0] == cpu
        assert usage.running_ns > 2_000_000

    async def main() -> None:
        await work_on_cpu(machine, cpu, body)

    with machine:
        machine.run(main)


def test_a_death_is_an_error_and_the_next_call_gets_a_new_process(bodies: Any) -> None:
    machine = HostMachine()

    async def main() -> None:
        with pytest.raises(BodyError, match="SIGKILL"):
            await machine.call_process(bodies.die, signal.SIGKILL)
        with pytest.raises(BodyError, match="exit code 7"):
            await machine.call_process(bodies.leave, 7)
        assert (await machine.call_process(bodies.where))[0] != os.getpid()

    machine.run(main)


def test_a_hung_process_is_killed_at_its_deadline(bodies: Any) -> None:
    machine = HostMachine()

    async def main() -> None:
        await machine.call_process(bodies.where)
        child = (await machine.call_process(bodies.where))[0]
        with pytest.raises(TimeoutError, match="past its deadline of 200 ms"):
            await machine.call_process(bodies.hang, deadline_ns=200_000_000)  # it would hang for ten minutes
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)

    machine.run(main)


def test_what_cannot_travel_is_said_so(bodies: Any) -> None:
    machine = HostMachine()

    async def main() -> None:
        with pytest.raises(BodyError, match="returned a function, which cannot be sent"):
            await machine.call_process(bodies.unpicklable)
        with pytest.raises(UsageError, match="cannot be sent to a process"):
            await machine.call_process(lambda: None)
        with pytest.raises(UsageError, match="cannot be sent to a process"):
            await machine.call_process(bodies.crunch, threading.Lock())
        with pytest.raises(LookupError, match="as asked"):
            await machine.call_process(bodies.fail)

    machine.run(main)


def test_a_driver_in_a_process(bodies: Any) -> None:
    with numaprobe.host() as core:
        core.register(bodies.ProcessDriver(), bodies.by_function)
        good = core.add("good", compatible="process", node=0)
        function = core.add("function", compatible="fn", node=0)
        for what in ("kill", "garbage", "defer", "fail"):
            core.add(what, compatible="process", node=0, data=what)
        results = {record.device: record.result for record in core.records}
        assert results == {
            "good": "0",
            "function": "0",
            "kill": "EIO",
            "garbage": "EIO",
            "defer": "EPROBE_DEFER",
            "fail": "ENODEV",
        }
        assert good.drvdata["pid"] != os.getpid()
        assert good.drvdata["node"] == 0
        assert function.drvdata["length"] == len("function")
        assert any("SIGKILL" in warning.message for warning in core.warnings)


def test_a_decorated_function_is_still_a_function(bodies: Any) -> None:
    view = numaprobe.DeviceView("abc", "platform", 0, "fn", None)
    assert bodies.by_function(view) == {"pid": os.getpid(), "length": 3}


def test_an_async_probe_cannot_run_in_a_process() -> None:
    class Wrong(numaprobe.DeviceDriver):
        process = True

        async def probe(self, dev: numaprobe.Device) -> None:
            """Never runs."""

    with numaprobe.host() as core, pytest.raises(UsageError, match="cannot run in a process"):
        core.register(Wrong())


def test_a_forked_child_does_not_touch_its_parents_machine() -> None:
    """Fork while the machine runs: the child's copy refuses, and closing it neither hangs nor ends the parent's."""
    machine = HostMachine()

    async def nothing() -> int:
        return 7

    with machine:
        assert machine.run(nothing) == 7
        pid = os.fork()
        if pid == 0:
            try:
                machine.close()
                machine.run(nothing)
            except UsageError:
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0
        assert machine.run(nothing) == 7
