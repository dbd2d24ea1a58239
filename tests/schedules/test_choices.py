"""Choices that are no order: each finds what no order finds, and a normal run does not make it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from numaprobe.errors import InputError
from numaprobe.schedules import (
    Drain,
    Limits,
    Program,
    ScenarioSubject,
    Search,
    SharedCell,
    Verdict,
    acquire_interruptible,
    repeat,
)
from numaprobe.study import make_setting, run
from schedules.conftest import setting_of

if TYPE_CHECKING:
    from numaprobe.scenario import Setting
    from numaprobe.schedules import Explored
    from numaprobe.virtual.choosing import ChoosingMachine

VANISH = (Path(__file__).parents[2] / "examples" / "orders" / "vanish.toml").read_text(encoding="utf-8")
MAYBE = '[[steps]]\nmaybe = [{ remove = "panel0" }]\n'


def explored(setting: Setting, *faults: str, runs: int = 300, preemptions: int | None = 0) -> Explored:
    return Search(ScenarioSubject(setting, faults), Limits(runs=runs, preemptions=preemptions)).explore()


def test_a_device_that_may_vanish_leaves_who_waits_for_it_waiting() -> None:
    setting = setting_of(VANISH)
    assert run(setting).passed
    assert explored(setting_of(VANISH.replace(MAYBE, ""))).clean
    result = explored(setting)
    (found,) = result.findings
    assert found.ending.verdict is Verdict.STALL
    assert "panel0" in found.ending.text
    assert [step.what for step in found.run.steps if step.index and step.what] == ["remove panel0"]
    assert repeat(setting, found.schedule)[0].ending.key == found.ending.key


def test_a_user_may_write_at_any_moment() -> None:
    text = VANISH.replace("device = ", "supplier = ").replace("remove", "unbind")
    assert len(explored(setting_of(text.replace(MAYBE.replace("remove", "unbind"), ""))).outcomes) == 1
    outcomes = {one.ending.outcome[1] for one in explored(setting_of(text)).outcomes}
    assert {"panel0: panel", "panel0: unbound"} <= outcomes


def test_a_cpu_may_go_offline() -> None:
    text = """
        machine = "2 nodes x 1 core"
        expect_async_on_node = true
        drivers = [{ name = "x", probe_type = "async", phases = [{ sleep = "1ms" }] }]
        devices = [{ name = "d", compatible = "x", node = 1 }]
        steps = [{ add = "*" }, %s { load = "x" }]
    """
    assert len(explored(setting_of(text % "")).outcomes) == 1
    outcomes = explored(setting_of(text % '{ maybe = [{ offline = "1" }] },')).outcomes
    assert any("FAILED (1 elsewhere, first d on CPU 0)" in line for one in outcomes for line in one.ending.outcome)


def test_a_timeout_comes_first_in_some_order_without_being_asked_for() -> None:
    text = VANISH.replace(MAYBE, "").replace('device = "panel0"', 'device = "panel0", timeout = "100s"')
    assert run(setting_of(text)).passed
    lines = {line for one in explored(setting_of(text)).outcomes for line in one.ending.outcome}
    assert "backlight0: probe by backlight returned ETIMEDOUT" in lines


def test_a_queue_may_have_one_place_left() -> None:
    setting = make_setting("sriov", policy="exec-on-node")
    assert explored(setting, runs=100).clean
    result = explored(setting, "full-queue", runs=40)
    found = next(one for one in result.findings if one.ending.verdict is Verdict.STALL)
    assert [step.what for step in found.run.steps if step.index and step.what] == [
        "queue events_unbound has one place left"
    ]
    assert "+full-queue:" in found.schedule
    assert repeat(setting, found.schedule)[0].ending.key == found.ending.key


def test_what_is_named_by_a_step_that_may_be_is_checked_as_in_any_other() -> None:
    with pytest.raises(InputError, match=r"steps\[1\]\.maybe"):
        setting_of(VANISH.replace("remove", "remuve"))
    with pytest.raises(InputError, match="CPU 9 does not exist"):
        setting_of(VANISH.replace('remove = "panel0"', 'offline = "9"'))


# ---- signals --------------------------------------------------------------------------------------------------------
async def store(m: ChoosingMachine, *, unlocks: bool) -> None:
    """Two writers of a file; the way out after a signal forgets the bus lock, or does not."""
    bus, device = m.lock("bus"), m.lock("device")

    async def write() -> None:
        await bus.acquire()
        if not await acquire_interruptible(m, device):
            if unlocks:
                bus.release()
            return
        device.release()
        bus.release()

    async def probe() -> None:
        async with device:
            await m.point()

    tasks = [m.spawn(body, comm=comm) for comm, body in (("echo", write), ("echo", write), ("probe", probe))]
    for task in tasks:
        await m.join(task)


async def forgets(m: ChoosingMachine) -> None:
    await store(m, unlocks=False)


async def remembers(m: ChoosingMachine) -> None:
    await store(m, unlocks=True)


def test_a_signal_shows_a_lock_that_is_forgotten_on_the_way_out() -> None:
    found = Search(Program(forgets, opaque=False), Limits(runs=200, preemptions=2)).explore().findings
    assert found
    assert any(step.what.startswith("a signal to echo") and step.index for step in found[0].run.steps)
    assert Search(Program(remembers, opaque=False), Limits(runs=400, preemptions=2)).explore().clean


async def drained(m: ChoosingMachine) -> bool:
    gate = Drain(m, "probes under way")

    async def probe() -> None:
        async with gate:
            await m.point()

    task = m.spawn(probe, comm="probe")
    done = await gate.wait(interruptible=True)
    await m.join(task)
    return done


def test_a_wait_that_can_be_interrupted_ends_both_ways() -> None:
    outcomes = Search(Program(drained, opaque=False), Limits()).explore().outcomes
    assert {one.ending.outcome for one in outcomes} == {("True",), ("False",)}


# ---- starvation -----------------------------------------------------------------------------------------------------
async def polls(m: ChoosingMachine) -> None:
    """One asks again and again, another one would answer; the machine's own order lets the first one go on."""
    answer = SharedCell(m, "answer", value=False)

    async def answers() -> None:
        await answer.write(value=True)

    task = m.spawn(answers, comm="answers")
    while not await answer.read():
        pass
    await m.join(task)


def test_who_is_passed_over_for_ever_is_told_apart_from_who_makes_no_progress() -> None:
    (found,) = Search(Program(polls, opaque=False), Limits(runs=1)).explore().findings
    assert found.ending.verdict is Verdict.STARVATION
    assert found.ending.text == "answers could go on for 10000 steps and did not, while main did"


def test_a_bound_on_patience_tells_it_early() -> None:
    (found,) = Search(Program(polls, opaque=False, patience=50), Limits(runs=1)).explore().findings
    assert found.ending.verdict is Verdict.STARVATION
    assert len(found.run.steps) < 60
    assert Search(Program(drained, opaque=False, patience=50), Limits()).explore().findings == []


async def spins(m: ChoosingMachine) -> None:
    while True:
        await m.point()


def test_steps_without_end_that_pass_nobody_over_are_a_livelock() -> None:
    (found,) = Search(Program(spins, opaque=False), Limits(runs=1)).explore().findings
    assert found.ending.verdict is Verdict.LIVELOCK
