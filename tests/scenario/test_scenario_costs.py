"""What own traces add to the costs table (``--costs``): per driver and kernel, for sums and for a machine's devices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from numaprobe.errors import InputError, UsageError
from numaprobe.records import LockWait, ProbeRecord, Trace
from numaprobe.scenario import cost_table, machine_scenario
from numaprobe.scenario.phases import UndividedCost
from numaprobe.study import make_setting, read_trace
from numaprobe.topology import DeviceInfo, load_topology, to_json

MS = 1_000_000
MACHINE = load_topology("2 nodes x 2 cores")


def measured(
    driver: str, running: int, sleeping: int, *, kernel: str = "6.12.5", count: int = 3, gap: int = 100
) -> Trace:
    """Return a trace of probes that compute and sleep so many ms each, one every ``gap`` ms."""
    cost = (running + sleeping) * MS
    probes = tuple(
        ProbeRecord(device=f"{driver}{i}", driver=driver, start_ns=i * gap * MS, end_ns=i * gap * MS + cost,
                    cost_ns=cost,
                    running_ns=running * MS, runnable_ns=0, sleeping_ns=sleeping * MS)
        for i in range(count)
    )  # fmt: skip
    return Trace(source="kernel", kernel=kernel, probes=probes, scenario=f"{driver}-{kernel}.json")


def printed(driver: str, *, kernel: str = "6.12.9", cost: int = 10) -> Trace:
    """Return what the kernel printed of two probes: nothing but costs."""
    probes = tuple(
        ProbeRecord(device=f"0000:0{i}:00.0", driver=driver, bus="pci", device_node=0, cost_ns=cost * MS)
        for i in range(2)
    )
    return Trace(source="kernel", kernel=kernel, probes=probes, scenario="dmesg", machine=to_json(MACHINE))


def expected(trace: Trace, *costs: Trace) -> list[tuple[int, int]]:
    """Return what each probe computes and sleeps in a replay, in ns."""
    found = []
    for group in make_setting(trace, costs=costs).scenario.devices:
        spans = [one.undivided.expected for one in group.phases or () if isinstance(one, UndividedCost)]
        sums = {kind: sum(getattr(p, kind, 0) for phases in spans for p in phases) for kind in ("compute", "sleep")}
        found.append((sums["compute"], sums["sleep"]))
    return found


def test_an_own_trace_divides_what_only_sums_tell() -> None:
    assert expected(printed("foo")) == [(0, 10 * MS)] * 2
    assert expected(printed("foo"), measured("foo", 3, 9)) == [(2_500_000, 7_500_000)] * 2
    setting = make_setting(printed("foo"), costs=[measured("foo", 3, 9)])
    (told,) = (one.message for one in setting.scenario.warnings if one.kind == "costs")
    assert told.endswith("divided as 3 probes of the driver in foo-6.12.5.json: 25 % of a probe is computing")


def test_of_several_kernels_the_same_one_counts_and_another_one_is_said() -> None:
    old, new = measured("foo", 9, 3, kernel="6.1.20"), measured("foo", 3, 9)
    assert expected(printed("foo"), old, new) == [(2_500_000, 7_500_000)] * 2
    assert expected(printed("foo", kernel="6.1.3"), new, old) == [(7_500_000, 2_500_000)] * 2
    warnings = make_setting(printed("foo"), costs=[old]).scenario.warnings
    assert any("another kernel (6.1.20): 75 % of a probe is computing" in one.message for one in warnings)


def test_an_own_trace_goes_before_the_built_in_table_and_its_range_stays_honest() -> None:
    nvme = measured("nvme", 1, 9)
    assert expected(printed("nvme"), nvme) == [(1_000_000, 9_000_000)] * 2
    (group, _) = make_setting(printed("nvme"), costs=[nvme]).scenario.devices
    (cost,) = group.phases or ()
    assert isinstance(cost, UndividedCost)
    assert cost.in_doubt


def test_probes_that_were_never_alone_teach_nothing_unless_their_waits_are_known() -> None:
    together = measured("foo", 3, 9, gap=0)
    with pytest.raises(InputError, match=r"foo-6.12.5.json: teaches no cost: no probe was alone"):
        cost_table([together])
    waits = (LockWait("acpi", "foo1", 1, 6 * MS, 6 * MS),)
    known = replace(together, probes=tuple(replace(one, waits=waits) for one in together.probes))
    found = cost_table([known]).find("foo", "6.12")
    assert found is not None
    assert found.sleeping_ns == 3 * MS


def test_a_trace_without_parts_teaches_nothing_and_one_with_parts_needs_nothing() -> None:
    with pytest.raises(InputError, match="does not tell when its probes ran and slept"):
        cost_table([printed("foo")])
    told = make_setting(replace(measured("foo", 3, 9), machine=to_json(MACHINE)), costs=[measured("foo", 1, 1)])
    assert any("no other one (--costs) is asked" in one.message for one in told.scenario.warnings)
    with pytest.raises(UsageError, match="says its costs itself"):
        make_setting("nvme-epyc", costs=[measured("nvme", 3, 9)])


def test_of_a_boots_log_own_traces_divide_what_they_show_and_nothing_else_is() -> None:
    boot = read_trace(Path("examples/slow-boot.log"))
    plain = [one for one in expected(boot) if one != (0, 0)]
    assert plain == []  # as sleep, which the built-in table does not divide either
    divided = [one for one in expected(boot, measured("leds-gpio", 1, 9)) if one != (0, 0)]
    count = sum(probe.driver == "leds-gpio" for probe in boot.probes)
    assert len(divided) == count > 0
    assert all(8.9 < sleeping / computing < 9.1 for computing, sleeping in divided)
    (said,) = (one.message for one in make_setting(boot, costs=[measured("foo", 3, 9)]).warnings if one.kind == "costs")
    assert said == "no trace of --costs has a probe of a driver of this one, so it is not used"


def test_the_devices_of_a_machine_cost_what_own_traces_say_and_are_no_assumption() -> None:
    machine = replace(MACHINE, devices=(DeviceInfo(name="0000:01:00.0", bus="pci", node=0, driver="foo"),))
    before, after = machine_scenario(machine), machine_scenario(machine, costs=cost_table([measured("foo", 3, 9)]))
    assert any(one.kind == "assumed-cost" for one in before.warnings)
    assert not any(one.kind == "assumed-cost" for one in after.warnings)
    assert sum(getattr(phase, "compute", 0) for phase in after.drivers[0].phases) == 3 * MS
    assert sum(getattr(phase, "sleep", 0) for phase in after.drivers[0].phases) == 9 * MS
