"""What bodies do wrong, one by one: the others go on, and the record says what happened."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import Any

import pytest

import numaprobe
from numaprobe.errors import BodyError, StateError, UsageError
from numaprobe.hostmachine import HostMachine
from numaprobe.runtime import Work

MS = 1_000_000


def result_of(core: numaprobe.Core, device: str) -> str | None:
    return next(record.result for record in reversed(core.records) if record.device == device)


def test_a_body_that_raises_or_returns_garbage_fails_alone() -> None:
    @numaprobe.driver("x")
    def various(dev: numaprobe.Device) -> Any:
        if dev.name == "raises":
            raise RuntimeError("broken")
        if dev.name == "errno":
            raise OSError(errno.ENXIO, "not there")
        if dev.name == "exits":
            sys.exit(3)
        return {"garbage": "seven", "negative": -errno.ENODEV, "large": 10**9}.get(dev.name)

    with numaprobe.host() as core:
        core.register(various)
        names = ["raises", "errno", "exits", "garbage", "negative", "large", "good"]
        devices = {name: core.add(name, compatible="x", node=0) for name in names}
        results = {record.device: record.result for record in core.records}
        assert results == {
            "raises": "EIO",
            "errno": "ENXIO",
            "exits": "EIO",
            "garbage": "EINVAL",
            "negative": "ENODEV",
            "large": "EINVAL",
            "good": "0",
        }
        assert [name for name, dev in devices.items() if dev.is_bound] == ["good"]
        assert any("SystemExit" in warning.message for warning in core.warnings)


@pytest.mark.parametrize("probe_type", list(numaprobe.ProbeType))
def test_a_hung_body_is_reported_with_its_stack_and_the_rest_goes_on(probe_type: numaprobe.ProbeType) -> None:
    release = threading.Event()

    def stuck_here() -> None:
        release.wait(30)

    @numaprobe.driver("x", deadline="100ms", probe_type=probe_type)
    def sometimes_hangs(dev: numaprobe.Device) -> None:
        if dev.name == "hangs":
            stuck_here()

    try:
        with numaprobe.host() as core:
            core.register(sometimes_hangs)
            hung = core.add("hangs", compatible="x", node=0)
            good = core.add("good", compatible="x", node=0)
            core.wait()
            assert good.is_bound
            assert not hung.is_bound
            assert result_of(core, "hangs") == "ETIMEDOUT"
            assert any("ETIMEDOUT" in line for line in hung.story())
            warning = next(warning for warning in core.warnings if warning.kind == "deadline")
            assert "stuck_here" in warning.message
            assert "stuck_here" in core.machine.hung[0]
            release.set()
            for thread in core.machine.runner.threads.hung:
                assert thread.join(60)
            assert not core.machine.hung
    finally:
        release.set()


def test_an_async_body_past_its_deadline_is_cancelled() -> None:
    class Slow(numaprobe.DeviceDriver):
        name = "slow"
        compatible = ("x",)
        deadline = "50ms"

        async def probe(self, dev: numaprobe.Device) -> None:
            try:
                await core.machine.sleep(3_600_000 * MS)
            except BaseException as error:
                ends.append(type(error))
                raise

    ends: list[type[BaseException]] = []
    with numaprobe.host() as core:
        core.register(Slow())
        core.add("d", compatible="x", node=0)
        assert ends == [asyncio.CancelledError]
        assert result_of(core, "d") == "ETIMEDOUT"
        assert any(warning.kind == "deadline" for warning in core.warnings)


def test_an_async_body_that_hangs_in_its_thread_loses_it() -> None:
    release = threading.Event()

    class Stuck(numaprobe.DeviceDriver):
        name = "stuck"
        compatible = ("x",)
        deadline = "50ms"

        async def probe(self, dev: numaprobe.Device) -> None:
            await core.machine.call(release.wait, 30)

    try:
        with numaprobe.host() as core:
            core.register(Stuck())
            core.add("d", compatible="x", node=0)
            assert result_of(core, "d") == "ETIMEDOUT"
            release.set()
    finally:
        release.set()


def test_a_body_given_up_cannot_ask_the_core_any_more() -> None:
    release, asked = threading.Event(), threading.Event()
    refused: list[str] = []

    @numaprobe.driver("x", deadline="1s")  # a body that has not begun by then never does
    def late(dev: numaprobe.Device) -> None:
        release.wait(30)
        try:
            core.add("child", parent=dev)
        except BodyError as error:
            refused.append(str(error))
        finally:
            asked.set()

    with numaprobe.host() as core:
        core.register(late)
        core.add("d", compatible="x", node=0)
        release.set()
        assert asked.wait(60)
        assert "child" not in core.names()
    assert len(refused) == 1
    assert "given up" in refused[0]


def test_a_body_that_removes_its_own_device_is_refused() -> None:
    @numaprobe.driver("x")
    def suicidal(dev: numaprobe.Device) -> None:
        core.remove(dev)

    with numaprobe.host() as core:
        core.register(suicidal)
        dev = core.add("d", compatible="x", node=0)
        assert result_of(core, "d") == "EDEADLK"
        assert dev.state == "unbound"
        core.remove(dev)


def test_a_body_may_register_a_driver_for_others_but_not_for_itself() -> None:
    @numaprobe.driver("child")
    def inner(dev: numaprobe.Device) -> None:
        """Bind."""

    @numaprobe.driver("parent", name="rival")
    def rival(dev: numaprobe.Device) -> None:
        """Bind."""

    @numaprobe.driver("parent")
    def outer(dev: numaprobe.Device) -> None:
        if dev.name == "rivalled":
            core.register(rival)
        else:
            core.register(inner)
            core.add(f"{dev.name}-child", compatible="child", parent=dev)

    with numaprobe.host() as core:
        core.register(outer)
        parent = core.add("p", compatible="parent", node=0)
        assert parent.is_bound
        assert core.device("p-child").is_bound
        nested = next(record for record in core.records if record.device == "p-child")
        assert nested.nested
        assert nested.device_node == 0
        core.add("rivalled", compatible="parent", node=0)
        assert result_of(core, "rivalled") == "EDEADLK"


def test_a_device_removed_while_its_probe_runs() -> None:
    """The removal waits for the probe, then lets the driver go; the probe is not disturbed."""
    inside, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    class Slow(numaprobe.DeviceDriver):
        name = "slow"
        compatible = ("x",)
        probe_type = numaprobe.ProbeType.PREFER_ASYNCHRONOUS

        def probe(self, dev: numaprobe.Device) -> None:
            inside.set()
            go_on.wait(10)
            order.append("probed")

        def remove(self, dev: numaprobe.Device) -> None:
            order.append("removed")

    with numaprobe.host() as core:
        core.register(Slow())
        dev = core.add("d", compatible="x", node=0)
        assert inside.wait(5)
        threading.Timer(0.05, go_on.set).start()
        core.remove(dev)
        assert order == ["probed", "removed"]
        assert dev.state == "removed"
        with pytest.raises(StateError):
            core.remove(dev)


def test_shutdown_in_the_middle_of_a_thousand_probes() -> None:
    """What runs is finished, what waits is not begun, all that was bound is let go, in reverse."""
    bound: list[str] = []
    removed: list[str] = []
    started = threading.Event()

    class Slow(numaprobe.DeviceDriver):
        name = "slow"
        compatible = ("x",)
        probe_type = numaprobe.ProbeType.PREFER_ASYNCHRONOUS

        def probe(self, dev: numaprobe.Device) -> None:
            time.sleep(0.005)
            bound.append(dev.name)
            if len(bound) == 20:
                started.set()

        def remove(self, dev: numaprobe.Device) -> None:
            removed.append(dev.name)

    with pytest.raises(RuntimeError, match="enough"), numaprobe.host() as core:  # noqa: PT012  the block must be left
        for index in range(1000):
            core.add(f"d{index}", compatible="x", node=0)
        core.register(Slow())
        assert started.wait(10)
        raise RuntimeError("enough")
    assert 20 <= len(bound) < 1000
    assert sorted(removed) == sorted(bound)
    assert removed == sorted(removed, key=lambda name: -int(name[1:]))


def test_a_body_that_never_ends_cannot_keep_the_block_from_ending() -> None:
    began, release = threading.Event(), threading.Event()
    ends: list[bool] = []

    @numaprobe.driver("x", probe_type=numaprobe.ProbeType.PREFER_ASYNCHRONOUS)
    def endless(dev: numaprobe.Device) -> None:
        began.set()
        ends.append(release.wait(600))

    with numaprobe.host(shutdown_s=0.1, grace_s=0.1) as core:
        core.register(endless)
        core.add("d", compatible="x", node=0)
        assert began.wait(60)
    assert not ends
    assert any(warning.kind == "left-behind" and "endless" in warning.message for warning in core.warnings)
    release.set()


def test_devices_and_drivers_go_in_reverse_order() -> None:
    order: list[str] = []

    def make(name: str) -> numaprobe.DeviceDriver:
        @numaprobe.driver(name, name=name, remove=lambda dev: order.append(dev.name))
        def bind(dev: numaprobe.Device) -> None:
            """Bind."""

        return bind

    with numaprobe.host() as core:
        core.register(make("a"), make("b"))
        for index, kind in enumerate("abba"):
            core.add(f"{index}", compatible=kind, node=0)
    assert order == ["3", "2", "1", "0"]


def test_plain_calls_from_the_cores_own_thread_are_refused() -> None:
    class Wrong(numaprobe.DeviceDriver):
        name = "wrong"
        compatible = ("x",)

        async def probe(self, dev: numaprobe.Device) -> None:
            with pytest.raises(UsageError, match=r"core\.aio"):
                core.add("child", parent=dev)
            await core.aio.add("child", parent=dev)

    with numaprobe.host() as core:
        core.register(Wrong())
        core.add("d", compatible="x", node=0)
        assert result_of(core, "d") == "0"
        assert core.names() == ("d", "child")


def test_async_code_uses_the_same_core() -> None:
    seen: list[str] = []

    @numaprobe.driver("x")
    def plain(dev: numaprobe.Device) -> None:
        seen.append(dev.name)

    async def main() -> None:
        async with numaprobe.host("inline") as core:
            await core.register(plain)
            devices = await asyncio.gather(*(core.add(f"d{i}", compatible="x", node=0) for i in range(5)))
            assert all(dev.is_bound for dev in devices)
            await core.wait()
            assert await core.unbind("d0", "plain") == 0
            assert await core.bind("d0", "plain") == 0
            await core.remove(devices[1])
            await core.unregister(plain)
            assert not devices[2].is_bound

    asyncio.run(main())
    assert sorted(seen) == ["d0", "d0", "d1", "d2", "d3", "d4"]


def test_no_threads_to_be_had_is_a_warning_and_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = HostMachine()
    real, refusals = threading.Thread.start, [1, 2]

    def start(self: threading.Thread) -> None:
        if self.name.startswith("kworker") and refusals:
            refusals.pop()
            raise RuntimeError("can't start new thread")
        real(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    done = []

    async def main() -> None:
        async def body() -> None:
            done.append(await machine.call(threading.get_native_id))

        work = Work(body, "work_fn")
        machine.queue_work(machine.system_dfl_wq, work)
        await machine.flush_work(work)

    machine.run(main)
    assert len(done) == 1
    assert [warning.kind for warning in machine.warnings] == ["no-thread"]  # told once, tried again until there is one


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_block_as_an_exception_would(number: int) -> None:
    program = textwrap.dedent("""
        import os, sys, threading, time, numaprobe

        @numaprobe.driver("x", remove=lambda dev: print("removed", dev.name, flush=True))
        def plain(dev):
            time.sleep(0.001)

        with numaprobe.host() as core:
            core.register(plain)
            for index in range(3):
                core.add(f"d{index}", compatible="x", node=0)
            print("ready", flush=True)
            for _ in range(300):  # Python 3.14 may sleep through a signal that comes just before
                time.sleep(0.1)
    """)
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        os.kill(child.pid, number)
        out, _ = child.communicate(timeout=20)
    assert out.split("\n")[:3] == ["removed d2", "removed d1", "removed d0"]
    assert child.returncode in (128 + number, -number)


def test_a_thousand_devices_leave_nothing_behind() -> None:
    """Memory: what a round of probes allocates is given back after it (the second witness is the leak fixture)."""
    import gc
    import tracemalloc

    @numaprobe.driver("x", probe_type=numaprobe.ProbeType.PREFER_ASYNCHRONOUS)
    def plain(dev: numaprobe.Device) -> None:
        """Bind."""

    def round_of_probes() -> None:
        with numaprobe.host() as core:
            core.register(plain)
            for index in range(100):
                core.add(f"d{index}", compatible="x", node=0)
            core.wait()

    round_of_probes()
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(3):
            round_of_probes()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 200_000
    finally:
        tracemalloc.stop()
