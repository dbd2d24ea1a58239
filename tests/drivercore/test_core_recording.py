"""Records are made when they are read: what they say is what was so when the probe ended, however late that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from numaprobe.buses import PlatformBus
from numaprobe.cpuset import CpuSet
from numaprobe.drivercore import CoreOptions, Device, Driver, DriverCore
from numaprobe.runtime import Usage
from numaprobe.testing import FakeMachine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.records import ProbeRecord

MS = 1_000_000


def probing(
    options: CoreOptions | None, times: int, look: Callable[[DriverCore, Device], None] = lambda _core, _dev: None
) -> DriverCore:
    """Bind and unbind one device ``times`` times; after each time, ``look``."""
    machine = FakeMachine()
    core = DriverCore(machine, None, options)
    bus = core.bus_register(PlatformBus())
    dev = Device(name="d", bus=bus, node=0, compatible="x")

    async def probe(_dev: Device) -> int:
        await machine.compute(MS)
        return 0

    async def main() -> None:
        bus.drivers_autoprobe = False
        await core.device_add(dev)
        await core.driver_register(Driver(name="x", bus=bus, probe=probe, compatible=("x",)))
        for _ in range(times):
            await core.bind("platform", "x", "d")
            await core.unbind("platform", "x", "d")
            look(core, dev)

    machine.run(main, cpu=0)
    core.validate()
    return core


@pytest.mark.parametrize("keep", [None, 0, 1, 3, 9])
def test_reading_between_probes_changes_no_record(keep: int | None) -> None:
    seen: list[list[ProbeRecord]] = []
    options = CoreOptions(keep_records=keep)
    read = probing(options, 6, lambda core, _: seen.append(list(core.records)))
    unread = probing(options, 6)
    assert (read.records, read.records_dropped) == (unread.records, unread.records_dropped)
    for number, records in enumerate(seen, 1):
        first = 1 if keep is None else max(1, number - keep + 1)
        assert [one.attempt for one in records] == list(range(first, number + 1))


def test_reading_every_other_time_drops_the_oldest_ones() -> None:
    def look(core: DriverCore, _dev: Device) -> None:
        if core.bodies.recorder.dropped % 2:
            assert len(core.records) == 3

    core = probing(CoreOptions(keep_records=3), 8, look)
    assert ([one.attempt for one in core.records], core.records_dropped) == ([6, 7, 8], 5)


def test_a_record_is_made_once_and_each_reading_gives_the_same_list() -> None:
    core = probing(None, 3)
    records = core.records
    first = records[0]
    assert core.records is records
    assert core.records[0] is first
    assert len(records) == 3


def test_what_changes_after_the_probe_is_not_in_its_record() -> None:
    def move(_core: DriverCore, dev: Device) -> None:
        dev.node = 1

    records = probing(None, 2, move).records
    assert [(one.device_node, one.remote_ns, one.path) for one in records] == [
        (0, 0, "device_driver_attach"),
        (1, MS, "device_driver_attach"),
    ]


def test_what_the_machine_cannot_tell_stays_unknown() -> None:
    class Vague(FakeMachine):
        async def measure(self, body: Callable[[], Awaitable[Any]]) -> tuple[Any, Usage]:
            result, usage = await super().measure(body)
            return result, Usage(
                start_ns=usage.start_ns,
                end_ns=usage.end_ns,
                running_ns=None,
                runnable_ns=None,
                sleeping_ns=None,
                cpus=usage.cpus,
                running_by_node=None,
                memory=None,
            )

    machine = Vague()
    core = DriverCore(machine)
    bus = core.bus_register(PlatformBus())

    async def probe(_dev: Device) -> int:
        return -19

    async def main() -> None:
        await core.driver_register(Driver(name="x", bus=bus, probe=probe, compatible=("x",)))
        await core.device_add(Device(name="d", bus=bus, node=0, compatible="x"))

    machine.run(main, cpu=0)
    (record,) = core.records
    assert (record.remote_ns, record.running_ns, record.memory, record.result) == (None, None, None, "ENODEV")


def test_where_a_probe_might_run_is_told_as_lists() -> None:
    class Telling(FakeMachine):
        async def measure(self, body: Callable[[], Awaitable[Any]]) -> tuple[Any, Usage]:
            result, usage = await super().measure(body)
            return result, usage._replace(allowed=CpuSet.parse_list("0-1,3"), pod=CpuSet.parse_list("2"))

    machine = Telling()
    core = DriverCore(machine)
    bus = core.bus_register(PlatformBus())

    async def probe(_dev: Device) -> int:
        return 0

    async def main() -> None:
        await core.driver_register(Driver(name="x", bus=bus, probe=probe, compatible=("x",)))
        await core.device_add(Device(name="d", bus=bus, node=0, compatible="x"))

    machine.run(main, cpu=0)
    (record,) = core.records
    assert (record.cpus_allowed, record.pod) == ("0-1,3", "2")


def test_notes_that_nobody_reads_are_no_more_than_the_records_that_are_kept() -> None:
    """A machine may run for months, and nobody ever ask for its records."""
    core = probing(CoreOptions(keep_records=3), 8)
    assert len(core.bodies.recorder._notes) == 3
