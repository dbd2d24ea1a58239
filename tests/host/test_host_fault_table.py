"""The table of faults: kinds of body x what they do x how they are probed x policy. Nothing is lost, whatever they do.

Each device ends in a state of the table, with a record, and ``wait`` returns. ``fault_bodies.py`` has the outcomes.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fault_bodies
import pytest
from fault_bodies import RAISES, RESULTS, Mute, act, fail

import numaprobe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POLICIES = ["inline", "work-on-cpu", "queue-on-node", "strict-node"]
TYPES = [numaprobe.ProbeType.FORCE_SYNCHRONOUS, numaprobe.ProbeType.PREFER_ASYNCHRONOUS]
LONGEST_S = 60.0


def settle(core: numaprobe.Core) -> None:
    """Wait as ``core.wait`` does, but not for ever: a lost device must be a failure, not a hang."""
    core.machine.submit(core._operations.wait, comm="test").result(LONGEST_S)


def outcomes(core: numaprobe.Core) -> dict[str, str | None]:
    return {record.device: record.result for record in core.records}


def warned(core: numaprobe.Core, kind: str) -> str:
    return "\n".join(one.message for one in core.warnings if one.kind == kind)


class Plain(numaprobe.DeviceDriver):
    name = "faulty"
    compatible = ("x",)

    def probe(self, dev: numaprobe.Device) -> Any:
        return act(dev.name)


class Async(Plain):
    async def probe(self, dev: numaprobe.Device) -> Any:
        await asyncio.sleep(0)
        return act(dev.name)


class AsyncInThread(Plain):
    """Fails after a piece of work in its thread."""

    async def probe(self, dev: numaprobe.Device) -> Any:
        await core_of(dev).machine.call(len, dev.name)
        return act(dev.name)


def core_of(dev: numaprobe.Device) -> numaprobe.Core:
    core: numaprobe.Core = dev.platform_data
    return core


def check_table(core: numaprobe.Core) -> None:
    devices = {name: core.add(name, compatible="x", node=0, data=core) for name in RESULTS}
    settle(core)
    assert outcomes(core) == RESULTS
    assert {name: str(dev.state) for name, dev in devices.items()} == {
        name: "bound" if result == "0" else "unbound" for name, result in RESULTS.items()
    }
    core._operations.core.validate()
    told = warned(core, "body")
    assert all(f"{name}: probe of faulty raised" in told for name in RAISES)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("probe_type", TYPES)
@pytest.mark.parametrize("kind", [Plain, Async, AsyncInThread])
def test_whatever_a_body_raises_is_its_outcome(
    kind: type[numaprobe.DeviceDriver], probe_type: numaprobe.ProbeType, policy: str
) -> None:
    driver = kind()
    driver.probe_type = probe_type
    with numaprobe.host(policy, shutdown_s=5, grace_s=1) as core:
        core.register(driver)
        check_table(core)


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")]))
    del folder
    return


@pytest.mark.parametrize("probe_type", TYPES)
@pytest.mark.usefixtures("importable")
def test_whatever_a_body_in_a_process_raises_is_its_outcome(
    probe_type: numaprobe.ProbeType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fault_bodies.in_process, "probe_type", probe_type)
    with numaprobe.host("inline", shutdown_s=5, grace_s=1) as core:
        core.register(fault_bodies.in_process)
        for name in RESULTS:
            core.add(name, compatible="x", node=0)
            settle(core)  # one after the other: one process does them all
        results = outcomes(core)
    assert results == RESULTS | {"text": "0"}  # what is no number becomes the device's drvdata
    assert "died" not in warned(core, "body")


@pytest.mark.parametrize("what", sorted(RAISES))
@pytest.mark.parametrize("how", ["plain", "async"])
def test_whatever_a_remove_raises_is_a_warning(how: str, what: str) -> None:
    class Sticky(Plain):
        def probe(self, dev: numaprobe.Device) -> None:
            async def release() -> None:
                fail(what)

            core._operations.core.devm_add_action(dev, "clock", release)

        if how == "plain":

            def remove(self, dev: numaprobe.Device) -> None:
                fail(what)
        else:

            async def remove(self, dev: numaprobe.Device) -> None:
                fail(what)

    with numaprobe.host("strict-node", shutdown_s=5, grace_s=1) as core:
        core.register(Sticky())
        dev, other = (core.add(name, compatible="x", node=0) for name in ("one", "other"))
        assert core.unbind("one", "faulty") == 0
        assert dev.state == "unbound"
        core.remove(other)
        assert other.state == "removed"
        told = warned(core, "raised")
    assert told.count("remove of faulty raised") == told.count("release of clock raised") == 2


@pytest.mark.parametrize("what", sorted(RAISES))
def test_whatever_a_match_raises_is_no_match(what: str) -> None:
    class Picky(Plain):
        def match(self, dev: numaprobe.Device) -> bool:
            fail(what)

    with numaprobe.host("inline", shutdown_s=5, grace_s=1) as core:
        core.register(Picky())
        assert core.add("d", compatible="x", node=0).state == "unbound"
        settle(core)
        assert "match of faulty raised" in warned(core, "body")


def test_a_result_that_cannot_be_shown_is_an_outcome() -> None:
    with numaprobe.host("inline", shutdown_s=5, grace_s=1) as core:

        @numaprobe.driver("x")
        def mute(dev: numaprobe.Device) -> Any:
            return Mute()

        core.register(mute)
        assert core.add("d", compatible="x", node=0).state == "unbound"
        assert outcomes(core) == {"d": "EINVAL"}


# ---- what an async body may do to its own asyncio task ---------------------------------------------------------------
async def cancels_itself(core: numaprobe.Core, dev: numaprobe.Device) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def cancels_itself_at_last(core: numaprobe.Core, dev: numaprobe.Device) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


async def is_cancelled_when_it_is_over(core: numaprobe.Core, dev: numaprobe.Device) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_later(0.02, task.cancel)


async def awaits_what_was_cancelled(core: numaprobe.Core, dev: numaprobe.Device) -> None:
    other = asyncio.create_task(asyncio.sleep(10))
    asyncio.get_running_loop().call_soon(other.cancel)
    await other


async def leaves_something_behind_that_fails(core: numaprobe.Core, dev: numaprobe.Device) -> None:
    async def fails() -> None:
        raise LookupError("nobody looks")

    asyncio.create_task(fails())  # noqa: RUF006  that is the fault


async def adds_children_at_once(core: numaprobe.Core, dev: numaprobe.Device) -> None:
    names = [f"{dev.name}-{index}" for index in range(3)]
    await asyncio.gather(*(core.aio.add(name, compatible="slow", parent=dev) for name in names))


async def heeds_no_deadline(core: numaprobe.Core, dev: numaprobe.Device) -> None:
    while True:
        try:
            await asyncio.sleep(0.01)
            core.machine.current  # noqa: B018  refused once it was given up
        except asyncio.CancelledError:
            pass


async def waits_for_a_lock(core: numaprobe.Core, dev: numaprobe.Device) -> None:
    await dev.platform_data.acquire()


async def is_late_in_the_core(core: numaprobe.Core, dev: numaprobe.Device) -> None:
    await core.aio.add(f"{dev.name}-child", compatible="slow", parent=dev)
    await asyncio.sleep(10)


ASYNC_FAULTS: list[tuple[Callable[..., Any], str]] = [
    (cancels_itself, "EIO"),
    (cancels_itself_at_last, "0"),
    (is_cancelled_when_it_is_over, "0"),
    (awaits_what_was_cancelled, "EIO"),
    (leaves_something_behind_that_fails, "0"),
    (adds_children_at_once, "0"),
    (heeds_no_deadline, "ETIMEDOUT"),
    (waits_for_a_lock, "ETIMEDOUT"),
    (is_late_in_the_core, "ETIMEDOUT"),
]


@numaprobe.driver("slow")
def slow(dev: numaprobe.Device) -> None:
    time.sleep(0.3)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("probe_type", TYPES)
@pytest.mark.parametrize(("function", "result"), ASYNC_FAULTS, ids=[one.__name__ for one, _ in ASYNC_FAULTS])
def test_what_an_async_body_does_to_its_task_does_not_harm_the_core_s(
    function: Callable[..., Any], result: str, probe_type: numaprobe.ProbeType, policy: str
) -> None:
    class Faulty(Async):
        deadline = "60s" if function is adds_children_at_once else "100ms"

        async def probe(self, dev: numaprobe.Device) -> None:
            await function(core, dev)

    class After(Async):
        name = "after"
        compatible = ("y",)

        async def probe(self, dev: numaprobe.Device) -> None:
            await core.machine.sleep(50_000_000)  # so long that a late cancel would hit somebody

    driver = Faulty()
    driver.probe_type = After.probe_type = probe_type
    with numaprobe.host(policy, shutdown_s=5, grace_s=1) as core:
        lock = core.machine.submit(lambda: held_lock(core), comm="test").result(5)
        core.register(driver, After(), slow)
        faulty = core.add("faulty", compatible="x", node=0, data=lock)
        after = [core.add(name, compatible="y", node=0) for name in ("one", "two")]
        settle(core)
        seen = outcomes(core)
        assert seen.pop("faulty") == result
        assert set(seen.values()) == {"0"}
        assert faulty.is_bound == (result == "0")
        assert all(dev.is_bound for dev in after)
        core._operations.core.validate()


async def held_lock(core: numaprobe.Core) -> Any:
    lock = core.machine.lock("never given back")
    await lock.acquire()
    return lock


# ---- deadlines of bodies that wait for the core ----------------------------------------------------------------------
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("probe_type", TYPES)
def test_a_deadline_that_passes_in_the_core_takes_effect_when_the_core_is_done(
    policy: str, probe_type: numaprobe.ProbeType
) -> None:
    @numaprobe.driver("x", deadline="100ms", probe_type=probe_type)
    def parent(dev: numaprobe.Device) -> None:
        core.add("child", compatible="slow", parent=dev)
        time.sleep(1)

    with numaprobe.host(policy, shutdown_s=5, grace_s=2) as core:
        core.register(parent, slow)
        core.add("parent", compatible="x", node=0)
        settle(core)
        assert outcomes(core) == {"child": "0", "parent": "ETIMEDOUT"}
        core._operations.core.validate()


@pytest.mark.parametrize("policy", POLICIES)
def test_a_nested_body_that_hangs_takes_at_most_its_parent_with_it(policy: str) -> None:
    release = threading.Event()

    @numaprobe.driver("x")
    def parent(dev: numaprobe.Device) -> None:
        core.add("child", compatible="hung", parent=dev)

    @numaprobe.driver("hung", deadline="100ms")
    def hung(dev: numaprobe.Device) -> None:
        release.wait(30)

    try:
        with numaprobe.host(policy, shutdown_s=5, grace_s=1) as core:
            core.register(parent, hung)
            top = core.machine.submit(
                lambda: core._operations.add("parent", compatible="x", node=0), comm="test"
            ).result(LONGEST_S)
            assert top.state in ("bound", "unbound")
            seen = outcomes(core)
            assert seen.pop("child") == "ETIMEDOUT"
            assert seen == {"parent": "0" if top.is_bound else "ETIMEDOUT"}
            core._operations.core.validate()
            release.set()
    finally:
        release.set()
