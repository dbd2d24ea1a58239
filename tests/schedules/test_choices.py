"""Choices that are no order: each finds what no order finds, and a normal run does not make it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from numaprobe.cli.main import run_command
from numaprobe.drivercore.binding import Binding
from numaprobe.errors import InputError
from numaprobe.schedules import (
    Drain,
    Limits,
    OrderError,
    Program,
    ScenarioSubject,
    Search,
    SharedCell,
    Verdict,
    acquire_interruptible,
    explore,
    repeat,
)
from numaprobe.study import make_setting, run
from numaprobe.study.orders import save_found
from schedules.conftest import setting_of

if TYPE_CHECKING:
    from numaprobe.drivercore import Device
    from numaprobe.scenario import Setting
    from numaprobe.schedules import Explored
    from numaprobe.virtual.choosing import ChoosingMachine

ORDERS = Path(__file__).parents[2] / "examples" / "orders"
VANISH = (ORDERS / "vanish.toml").read_text(encoding="utf-8")
TWO_LOCKS = ORDERS / "two-locks.toml"
AWAY = """
    machine = "2 nodes x 1 core"
    expect_async_on_node = true
    drivers = [{ name = "x", probe_type = "async", phases = [{ sleep = "1ms" }] }]
    devices = [{ name = "d", compatible = "x", node = 1 }]
    steps = [{ add = "*" }, { load = "x" }]
"""
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
    text = AWAY.replace("{ load", '{ maybe = [{ offline = "1" }] }, { load')
    assert len(explored(setting_of(AWAY)).outcomes) == 1
    outcomes = explored(setting_of(text)).outcomes
    assert any("FAILED (1 elsewhere, first d on CPU 0)" in line for one in outcomes for line in one.ending.outcome)


def test_an_async_call_may_find_no_memory_and_is_made_by_the_caller() -> None:
    setting = setting_of(AWAY)
    assert run(setting).passed
    assert len(explored(setting).outcomes) == 1
    _, inline = explored(setting, "no-room").outcomes
    assert any("FAILED (1 elsewhere, first d on CPU 0)" in line for line in inline.ending.outcome)
    assert [step.what for step in inline.run.steps if step.index and step.what] == ["no room for an async call"]


def test_a_timeout_comes_first_in_some_order_without_being_asked_for() -> None:
    text = VANISH.replace(MAYBE, "").replace('device = "panel0"', 'device = "panel0", timeout = "100s"')
    assert run(setting_of(text)).passed
    lines = {line for one in explored(setting_of(text)).outcomes for line in one.ending.outcome}
    assert "backlight0: probe by backlight returned ETIMEDOUT" in lines


LATE = """
    machine = "1 node x 2 cores"
    cmdline = "deferred_probe_timeout=10"
    booting = true
    drivers = [
        { name = "panel", phases = [{ sleep = "1ms" }] },
        { name = "backlight", phases = [{ wait = { supplier = "panel0", timeout = "0ns", optional = true } }] },
    ]
    devices = [{ name = "panel0", compatible = "panel" }, { name = "backlight0", compatible = "backlight" }]
    steps = [{ add = "*" }, { load = "backlight" }, { late_initcall = true }, { load = "panel" }, { settle = true }]
"""


def test_the_timeout_of_deferred_probes_comes_first_in_some_order() -> None:
    setting = setting_of(LATE)
    bound, given_up = explored(setting, runs=60).outcomes
    assert bound.ending.outcome == ("backlight0: backlight", "panel0: panel")
    assert "backlight0: probe by backlight returned ETIMEDOUT" in given_up.ending.outcome
    works = {what for step in given_up.run.steps for verb, what in step.notes if verb == "begins"}
    assert "deferred_probe_timeout_work_func" in works
    assert repeat(setting, given_up.schedule)[0].ending == given_up.ending


def test_a_supplier_that_is_not_optional_is_waited_for_beyond_the_timeout() -> None:
    assert len(explored(setting_of(LATE.replace(", optional = true", "")), runs=60).outcomes) == 1


# ---- files of sysfs -------------------------------------------------------------------------------------------------
FILE = (ORDERS / "attribute.toml").read_text(encoding="utf-8")


def test_a_file_that_takes_the_device_lock_hangs_where_it_is_taken_away_under_it() -> None:
    setting = setting_of(FILE)
    assert run(setting).passed
    result = explored(setting, preemptions=2)
    (found,) = result.findings
    assert found.ending.verdict is Verdict.DEADLOCK
    reader, user = found.ending.cycle
    assert reader.waits_for == "lock 'device platform/panel0'"
    assert user.waits_for == "event 'kn->active platform/panel0/brightness'"
    assert user.behind == (reader.task,)
    assert any(line.startswith("DeviceFiles.remove") for line in user.stack)
    assert repeat(setting, found.schedule)[0].ending == found.ending


def test_a_file_without_the_lock_is_waited_for_and_comes_to_an_end() -> None:
    result = Search(ScenarioSubject(setting_of(FILE.replace("locked = true", "locked = false"))), Limits()).explore()
    assert result.exhaustive
    assert not result.findings
    lost = "reading panel0/brightness failed: ENOENT"
    assert sorted(lost in one.ending.outcome for one in result.outcomes) == [False, True]


def test_writing_comes_at_any_moment_too() -> None:
    text = FILE.replace("read =", "write =").replace("show =", "store =")
    assert [one.ending.verdict for one in explored(setting_of(text), preemptions=2).findings] == [Verdict.DEADLOCK]


def test_the_active_reference_is_a_lock_class_of_its_own() -> None:
    subject = ScenarioSubject(setting_of(FILE))
    result = Search(subject, Limits(preemptions=0, runs=20, classes=True)).explore()
    (claimed,) = result.classes
    assert sorted(claimed.cycle.names) == ["&dev->mutex platform level 0", "kn->active brightness"]
    assert claimed.schedule


async def computes(m: ChoosingMachine) -> list[str]:
    done = []

    async def first() -> None:
        await m.compute(1)
        done.append("before")
        await m.point()
        done.append("after")

    async def second() -> None:
        done.append("between")

    for task in [m.spawn(first, comm="first"), m.spawn(second, comm="second")]:
        await m.join(task)
    return done


@pytest.mark.parametrize("fake", [False, True])
def test_who_has_computed_can_be_held_up_as_anyone(fake: bool) -> None:
    result = Search(Program(computes, fake=fake), Limits()).explore()
    assert result.exhaustive
    outcomes = {one.ending.outcome for one in result.outcomes}
    assert outcomes == {
        ("['between', 'before', 'after']",),
        ("['before', 'between', 'after']",),
        ("['before', 'after', 'between']",),
    }


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


# ---- use after the end ----------------------------------------------------------------------------------------------
async def nothing_awaited(*_: object) -> None:
    """In place of what waits in a core that is right."""


def test_a_function_of_a_driver_that_has_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    text = AWAY.replace("{ load", "{ register").replace(
        '{ register = "x" }]', '{ register = "x" }, { unregister = "x" }]'
    )
    assert not explored(setting_of(text), preemptions=1, runs=60).findings
    monkeypatch.setattr("numaprobe.drivercore.release.Releasing.driver_detach", nothing_awaited)
    found = explored(setting_of(text), preemptions=1, runs=60).findings[0]
    assert found.ending.verdict is Verdict.USE_AFTER_END
    assert found.ending.text == "d is in a function of x, which has gone"


def test_a_probe_of_a_device_that_is_deleted_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    text = AWAY.replace("{ load", "{ register").replace('{ register = "x" }]', '{ register = "x" }, { remove = "d" }]')
    assert not explored(setting_of(text), preemptions=1, runs=60).findings
    refusal = Binding._refusal

    def forgets_dead(self: Binding, dev: Device) -> int:
        dead, dev.p.dead = dev.p.dead, False
        result = refusal(self, dev)
        dev.p.dead = dead
        return result

    monkeypatch.setattr(Binding, "_refusal", forgets_dead)
    found = explored(setting_of(text), preemptions=1, runs=60).findings[0]
    assert found.ending.verdict is Verdict.USE_AFTER_END
    assert found.ending.text == "d is probed after its removal began"


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


def test_a_starved_task_is_told_again_by_the_schedule_alone() -> None:
    setting = make_setting(str(TWO_LOCKS), policy="inline")
    (found,) = Search(ScenarioSubject(setting, patience=4), Limits(runs=1)).explore().findings
    assert found.ending.verdict is Verdict.STARVATION
    assert "+patience-4:" in found.schedule
    again, outcome = repeat(setting, found.schedule)
    assert (again.ending, len(again.steps)) == (found.ending, len(found.run.steps))
    assert outcome.failures == [f"starvation: {found.ending.text}"]
    assert len(outcome.trace.probes) == 2  # it went on, so that there is something to show


@pytest.mark.parametrize("suffix", ["table", "json", "markdown", "csv", "printk", "html", "perfetto"])
def test_every_format_says_who_starves_in_the_same_words(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setting = make_setting(str(TWO_LOCKS), policy="inline")
    explored_ = Search(ScenarioSubject(setting, patience=4), Limits(runs=1)).explore()
    save_found(setting, explored_, tmp_path / "kept.toml")
    shown = tmp_path / "shown"
    assert run_command(["run", str(tmp_path / "kept.toml"), "--policy=inline", f"--format={suffix}", f"-o{shown}"]) == 1
    words = f"starvation: {explored_.findings[0].ending.text}"
    assert words in capsys.readouterr().err
    assert suffix in {"printk", "csv", "perfetto"} or words in shown.read_bytes().decode(errors="replace")


async def spins(m: ChoosingMachine) -> None:
    while True:
        await m.point()


def test_a_test_of_ones_own_repeats_a_starvation_too() -> None:
    (found,) = Search(Program(polls, patience=50), Limits(runs=1)).explore().findings
    with pytest.raises(OrderError, match="starvation: answers could go on for 50 steps"):
        explore(polls, schedule=found.schedule)


def test_steps_without_end_that_pass_nobody_over_are_a_livelock() -> None:
    (found,) = Search(Program(spins, opaque=False), Limits(runs=1)).explore().findings
    assert found.ending.verdict is Verdict.LIVELOCK
