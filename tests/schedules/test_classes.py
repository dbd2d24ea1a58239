"""Cycles in the order of lock classes: lockdep's report, and whether a schedule proves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from known_bugs import BUGS, CONTROLS
from numaprobe.report.lockdep import lockdep_text
from numaprobe.report.schedules import explored_to_dict, print_explored
from numaprobe.schedules import Limits, Search
from numaprobe.study.orders import explore_setting

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from numaprobe.scenario import Setting

PROGRAMS = {one.number: one.program(fixed=False) for one in BUGS} | {one.number: one.program() for one in CONTROLS}


def classes_of(number: str) -> dict[frozenset[str], str]:
    result = Search(PROGRAMS[number], Limits(runs=60, classes=True)).explore()
    return {frozenset(cycle.names): schedule for cycle, schedule in result.classes}


def test_one_run_is_enough_for_a_claim_and_a_schedule_proves_it() -> None:
    found = classes_of("K22")
    assert list(found) == [frozenset({"pci_rescan_remove_lock", "device 0000:41:00.0"})]
    assert found.popitem()[1].startswith("np1:")


def test_an_attribute_is_a_class_that_its_drain_takes() -> None:
    assert list(classes_of("K14")) == [frozenset({"dev", "kn->active uevent"})]


def test_class_order_alone_is_said_to_be_that() -> None:
    assert classes_of("F1") == {frozenset({"L", "(work_completion)(work_for_cpu_fn)"}): ""}
    assert classes_of("F2") == {frozenset({"dev_lock"}): ""}
    assert classes_of("F5") == {}


def test_the_report_has_lockdeps_shape(abba: Callable[[str], Setting]) -> None:
    result = explore_setting(abba("abba"), Limits(first=True, classes=True))
    ((cycle, schedule),) = result.classes
    assert schedule == result.findings[0].schedule
    lines = lockdep_text(cycle, "6.19").splitlines()
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
    text = lockdep_text(result.classes[0][0], "6.19")
    assert "possible recursive locking detected" in text
    assert "May be due to missing lock nesting notation" in text


def test_device_locks_are_classes_by_bus_and_level(abba: Callable[[str], Setting]) -> None:
    result = explore_setting(abba("abba"), Limits(first=True, classes=True))
    assert result.classes[0][0].dependencies[-1].holding[0].name == "&dev->mutex platform level 0"


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
