"""Cycles in the order of lock classes: lockdep's report, and whether a schedule proves it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from known_bugs import BUGS, CONTROLS
from numaprobe.report.lockdep import lockdep_text
from numaprobe.report.schedules import explored_to_dict, print_explored, proof_text
from numaprobe.schedules import Limits, Program, Search, repeat
from numaprobe.study.orders import explore_setting

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.scenario import Setting
    from numaprobe.virtual.choosing import ChoosingMachine

PROGRAMS = {one.number: one.program(fixed=False) for one in BUGS} | {one.number: one.program() for one in CONTROLS}


def classes_of(number: str) -> dict[frozenset[str], str]:
    result = Search(PROGRAMS[number], Limits(runs=60, classes=True)).explore()
    return {frozenset(one.cycle.names): one.schedule for one in result.classes}


def test_one_run_is_enough_for_a_claim_and_a_schedule_proves_it() -> None:
    found = classes_of("K22")
    assert list(found) == [frozenset({"pci_rescan_remove_lock", "device 0000:41:00.0"})]
    assert found.popitem()[1].startswith("np2:")


def test_an_attribute_is_a_class_that_its_drain_takes() -> None:
    assert list(classes_of("K14")) == [frozenset({"dev", "kn->active uevent"})]


def test_class_order_alone_is_said_to_be_that() -> None:
    assert classes_of("F1") == {frozenset({"L", "(work_completion)(work_for_cpu_fn)"}): ""}
    assert classes_of("F2") == {frozenset({"dev_lock"}): ""}
    assert classes_of("F5") == {}


def test_the_report_has_lockdeps_shape(abba: Callable[[str], Setting]) -> None:
    result = explore_setting(abba("abba"), Limits(first=True, classes=True))
    (claimed,) = result.classes
    assert claimed.schedule == result.findings[0].schedule
    assert not claimed.directed
    lines = lockdep_text(claimed.cycle, "6.19").splitlines()
    assert lines[:4] == ["=" * 54, "WARNING: possible circular locking dependency detected", "6.19 (virtual)", "-" * 54]
    table = lines.index(" Possible unsafe locking scenario:")
    assert [line.split() for line in lines[table + 4 : table + 8]] == [
        ["lock(a);"],
        ["lock(b);"],
        ["lock(a);"],
        ["lock(b);"],
    ]
    assert lines[table + 5].startswith(" " * 31)
    assert "-> #1 (a)" in "\n".join(lines)
    assert "2 locks held by" in "\n".join(lines)


def test_a_class_taken_under_itself_is_recursion() -> None:
    result = Search(PROGRAMS["F2"], Limits(runs=60, classes=True)).explore()
    text = lockdep_text(result.classes[0].cycle, "6.19")
    assert "possible recursive locking detected" in text
    assert "May be due to missing lock nesting notation" in text


def test_device_locks_are_classes_by_bus_and_level(abba: Callable[[str], Setting]) -> None:
    result = explore_setting(abba("abba"), Limits(first=True, classes=True))
    assert result.classes[0].cycle.dependencies[-1].holding[0].name == "&dev->mutex platform level 0"


def test_text_and_json_say_the_same(abba: Callable[[str], Setting], capsys: pytest.CaptureFixture[str]) -> None:
    result = explore_setting(abba("abba"), Limits(first=True, classes=True))
    data = explored_to_dict(result)
    print_explored(result)
    text = capsys.readouterr().out
    assert data["schema"] == "numaprobe.explore/1"
    assert not data["clean"]
    for part in (data["coverage"], data["findings"][0]["text"], data["findings"][0]["schedule"]):
        assert part in text
    assert data["classes"][0]["proof"] in text
    assert data["findings"][0]["steps"][0]["task"] == "modprobe"


def test_runs_are_directed_at_a_cycle_that_the_search_did_not_close(abba: Callable[[str], Setting]) -> None:
    result = explore_setting(abba("abba"), Limits(runs=1, classes=True))
    (claimed,) = result.classes
    assert 1 <= claimed.directed < 100
    assert [one.schedule for one in result.findings] == [claimed.schedule]
    assert repeat(abba("abba"), claimed.schedule)[0].ending.verdict == "deadlock"
    assert "proved by schedule" in proof_text(result, claimed)


@pytest.mark.parametrize("number", ["K10", "K13", "K14", "K22", "K23", "K25", "K31", "K32"])
def test_directed_runs_prove_known_bugs_by_their_classes_alone(number: str) -> None:
    result = Search(PROGRAMS[number], Limits(runs=1, classes=True)).explore()
    assert result.classes
    assert all(one.schedule for one in result.classes), [one.cycle.names for one in result.classes]


@pytest.mark.parametrize("number", ["F1", "F2", "F5"])
def test_directed_runs_prove_nothing_of_what_only_looks_like_a_bug(number: str) -> None:
    result = Search(PROGRAMS[number], Limits(runs=1, classes=True)).explore()
    assert not any(one.schedule for one in result.classes)
    assert not result.findings


async def ring(m: ChoosingMachine, *, count: int) -> None:
    """Tasks that take two locks of a ring each, after one another in a run: no two of them are enough."""
    locks = [m.lock(f"L{number}") for number in range(count)]

    async def take(first: int) -> None:
        async with locks[first], locks[(first + 1) % count]:
            pass

    tasks = [m.spawn(partial(take, number), comm=f"t{number}") for number in range(count)]
    for task in tasks:
        await m.join(task)


def test_a_ring_of_three_is_closed_by_direction() -> None:
    result = Search(Program(partial(ring, count=3), name="ring", opaque=False), Limits(runs=1, classes=True)).explore()
    (claimed,) = result.classes
    assert len(claimed.cycle.names) == 3
    assert claimed.schedule
