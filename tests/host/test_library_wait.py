"""``core.wait(timeout=…)``: in seconds, from anywhere, and what is still under way goes on."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

import numaprobe
from numaprobe.errors import DeadlockError


def stuck(event: threading.Event, **more: Any) -> Any:
    """A driver whose probe waits for the test."""
    kind = numaprobe.ProbeType.PREFER_ASYNCHRONOUS
    return numaprobe.driver("x", name="stuck", probe_type=kind, **more)(lambda _dev: event.wait(30) and None)


def test_it_says_what_is_still_under_way_and_leaves_it_alone() -> None:
    event = threading.Event()
    with numaprobe.host() as core:
        core.register(stuck(event))
        for index in range(6):
            core.add(f"a{index}", compatible="x", node=0)
        for _ in range(3):
            with pytest.raises(TimeoutError, match=r"after 0.05 s still probing: .* \(by stuck\).*; they go on"):
                core.wait(timeout=0.05)
        assert not core._operations.core.asyncs._waiters  # nobody is kept who does not wait any more
        with pytest.raises(TimeoutError):
            core.wait(0)
        event.set()
        core.wait(timeout=30)
        assert [record.result for record in core.records] == ["0"] * 6
        core.wait(0)
        core._operations.core.validate()


def test_async_code_waits_in_seconds_too() -> None:
    event = threading.Event()

    async def main() -> None:
        async with numaprobe.host() as core:
            await core.register(stuck(event))
            await core.add("a", compatible="x", node=0)
            with pytest.raises(TimeoutError, match="still probing: a"):
                await core.wait(timeout=0.05)
            event.set()
            await core.wait(timeout=30)
            assert core.device("a").is_bound

    asyncio.run(main())


def test_from_inside_of_a_body() -> None:
    told: list[BaseException] = []

    class Plain(numaprobe.DeviceDriver):
        compatible = ("plain",)

        def probe(self, dev: Any) -> None:
            try:
                dev.platform_data.wait(timeout=1)
            except DeadlockError as error:
                told.append(error)

    class Async(numaprobe.DeviceDriver):
        compatible = ("async",)

        async def probe(self, dev: Any) -> None:
            try:
                await dev.platform_data.aio.wait(timeout=1)
            except DeadlockError as error:
                told.append(error)

    with numaprobe.host() as core:
        core.register(Plain(), Async())
        core.add("a", compatible="plain", data=core)
        core.add("b", compatible="async", data=core)
        core.wait(timeout=30)
    assert len(told) == 2


def test_a_core_that_a_body_holds_up_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numaprobe.library.facade.ANSWER_S", 0.05)
    over = threading.Event()

    class Holds(numaprobe.DeviceDriver):
        compatible = ("x",)
        probe_type = numaprobe.ProbeType.PREFER_ASYNCHRONOUS

        async def probe(self, _dev: Any) -> None:
            while not over.is_set():
                time.sleep(0.001)  # noqa: ASYNC251  what a body must not do

    with numaprobe.host() as core:
        core.register(Holds())
        threading.Timer(2, over.set).start()
        threading.Thread(target=lambda: core.add("a", compatible="x")).start()
        while core.machine.now() < 0 or not core.names():
            time.sleep(0.001)
        with pytest.raises(TimeoutError):
            core.wait(timeout=0.05)
        over.set()
        core.wait(timeout=30)
