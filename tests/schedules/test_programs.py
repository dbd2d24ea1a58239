"""``numaprobe.explore``: a test of somebody's drivers in many orders."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import numaprobe
from numaprobe.drivercore import Bus, Device, Driver, DriverCore, ProbeType
from numaprobe.errors import InputError, UnknownNameError
from numaprobe.schedules import Limits, Search, load_program

if TYPE_CHECKING:
    from numaprobe.virtual.choosing import ChoosingMachine


async def numbered(machine: ChoosingMachine) -> list[int]:
    """Two devices whose driver numbers them, with a read and a write that are not one."""
    core, count, given = DriverCore(machine), [0], []

    async def probe(_: Device) -> int:
        number = count[0]
        await machine.sleep(1)
        count[0] = number + 1
        given.append(number)
        return 0

    bus = core.bus_register(Bus("plain"))
    for name in ("d0", "d1"):
        await core.device_add(Device(name=name, bus=bus, compatible="x"))
    await core.driver_register(
        Driver(name="x", bus=bus, probe=probe, compatible=("x",), probe_type=ProbeType.PREFER_ASYNCHRONOUS)
    )
    await core.settle()
    return sorted(given)


async def careless(machine: ChoosingMachine) -> None:
    if await numbered(machine) != [0, 1]:
        raise ValueError("two devices of one number")


def test_two_outcomes_are_told_with_their_schedules() -> None:
    with pytest.raises(numaprobe.OrderError, match=r"2 outcomes: \[0, [01]\] \(schedule='np2:[0-9a-f]{8}:"):
        numaprobe.explore(numbered, runs=60, one_outcome=True)
    result = numaprobe.explore(numbered, runs=60)
    assert result is not None
    assert {one.ending.outcome[0] for one in result.outcomes} == {"[0, 0]", "[0, 1]"}


def test_what_a_test_raises_is_told_and_can_be_repeated() -> None:
    with pytest.raises(AssertionError, match="ValueError: two devices of one number") as told:
        numaprobe.explore(careless, runs=60)
    schedule = re.findall(r"schedule='(.*)'", str(told.value))[0]
    with pytest.raises(numaprobe.OrderError, match="two devices of one number"):
        numaprobe.explore(careless, schedule=schedule)
    with pytest.raises(InputError, match="of another scenario"):
        numaprobe.explore(numbered, schedule=schedule)


def test_a_test_that_holds_in_every_order_says_so() -> None:
    async def one_task(machine: ChoosingMachine) -> int:
        await machine.sleep(5)
        return 1

    result = numaprobe.explore(one_task, strategy="dfs")
    assert result is not None
    assert result.exhaustive
    assert result.clean


def test_a_program_of_a_file_is_found_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("async def hello(machine):\n    await machine.sleep(1)\n    return 7\n", encoding="utf-8")
    result = Search(load_program(f"{path}:hello"), Limits()).explore()
    assert result.exhaustive
    assert result.outcomes[0].ending.outcome == ("7",)
    with pytest.raises(UnknownNameError, match="did you mean 'hello'"):
        load_program(f"{path}:hallo")
    with pytest.raises(InputError, match="cannot be read"):
        load_program(f"{tmp_path}/none.py:hello")


def test_the_rescan_lock_from_the_claim_to_the_schedule() -> None:
    file = Path(__file__).parents[2] / "examples" / "orders" / "rescan_lock.py"
    limits = Limits(preemptions=1)
    found = {name: Search(load_program(f"{file}:{name}"), limits).explore() for name in ("base", "patched", "outside")}
    assert [one.ending.verdict for one in found["base"].findings] == ["error"]
    assert [one.ending.verdict for one in found["patched"].findings] == ["deadlock"]
    assert found["outside"].clean
