"""A core that runs for months keeps as much of the past as it was told to, and says how much it did not."""

from __future__ import annotations

import pytest

from numaprobe.buses import PlatformBus
from numaprobe.drivercore import CoreOptions, Device, Driver, DriverCore
from numaprobe.errors import InputError
from numaprobe.testing import FakeMachine


async def succeed(_dev: Device) -> int:
    return 0


def bind_and_unbind(options: CoreOptions, times: int) -> tuple[DriverCore, Device]:
    """Bind and unbind one device again and again."""
    machine = FakeMachine()
    core = DriverCore(machine, None, options)
    bus = core.bus_register(PlatformBus())
    dev = Device(name="d", bus=bus, node=0, compatible="x")

    async def main() -> None:
        await core.device_add(dev)
        await core.driver_register(Driver(name="x", bus=bus, probe=succeed, compatible=("x",)))
        for _ in range(times):
            await core.unbind("platform", "x", "d")
            await core.bind("platform", "x", "d")

    machine.run(main)
    core.validate()
    return core, dev


def test_all_is_kept_by_default() -> None:
    core, dev = bind_and_unbind(CoreOptions(), 20)
    assert len(core.records) == 21
    assert core.records_dropped == 0
    assert len(dev.story()) == 2 + 21 * 2 + 20 * 2


@pytest.mark.parametrize("keep", [0, 1, 7])
def test_the_last_records_are_kept_and_the_others_counted(keep: int) -> None:
    core, _ = bind_and_unbind(CoreOptions(keep_records=keep), 20)
    assert [record.attempt for record in core.records] == list(range(22 - keep, 22))
    assert core.records_dropped == 21 - keep


@pytest.mark.parametrize("keep", [1, 5])
def test_the_last_lines_of_a_story_are_kept_and_the_others_counted(keep: int) -> None:
    _, whole = bind_and_unbind(CoreOptions(), 20)
    _, dev = bind_and_unbind(CoreOptions(keep_story=keep), 20)
    first, *rest = dev.story()
    assert tuple(rest) == whole.story()[-keep:]
    assert f"({len(whole.story()) - keep} earlier lines" in first


@pytest.mark.parametrize("wrong", [{"keep_records": -1}, {"keep_story": 0}, {"keep_story": -3}])
def test_a_bound_that_makes_no_sense_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        CoreOptions(**wrong)  # type: ignore[arg-type]
