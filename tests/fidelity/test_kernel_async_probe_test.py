"""The kernel's own test of asynchronous probing, on every profile and on 1 to 8 nodes; and the claim of 2018.

``drivers/base/test/test_async_driver_probe.c``: probes sleep 5 s, the threshold is 2.5 s, six checks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from numaprobe.policies import POLICIES
from numaprobe.runtime import PROFILES
from numaprobe.scenario import load_scenario, prepare, run_scenario, run_setting

if TYPE_CHECKING:
    from numaprobe.records import Trace

#: six of the kernel's, and that asynchronous probes start on their node
CHECKS = 6


@pytest.mark.parametrize("kernel", PROFILES)
@pytest.mark.parametrize("nodes", range(1, 9))
def test_all_checks_pass_on_stock_kernels(kernel: str, nodes: int) -> None:
    setting = prepare(load_scenario("async-probe-test"), kernel=kernel, machine=f"{nodes} nodes x 1 llc x 4 cores")
    outcome = run_setting(setting, PROFILES[kernel].pci_policy)
    assert len(outcome.checks) >= CHECKS
    assert [check for check in outcome.checks if not check.passed] == []


@pytest.mark.parametrize("policy", POLICIES)
def test_all_checks_pass_under_every_policy(policy: str) -> None:
    outcome = run_setting(prepare(load_scenario("async-probe-test"), machine="4 nodes x 2 llcs x 4 cores"), policy)
    assert outcome.passed


def test_a_check_can_fail() -> None:
    scenario = load_scenario("async-probe-test")
    sync = tuple(driver.model_copy(update={"probe_type": "sync"}) for driver in scenario.drivers)
    outcome = run_setting(prepare(scenario.model_copy(update={"drivers": sync})), "work-on-cpu")
    assert not outcome.passed


def pmem(order: str, probe_type: str) -> Trace:
    scenario = load_scenario("pmem-2018")
    drivers = tuple(driver.model_copy(update={"probe_type": probe_type}) for driver in scenario.drivers)
    return run_scenario(scenario.model_copy(update={"order": order, "drivers": drivers, "steps": ()}), "inline")


def shape(trace: Trace) -> list[tuple[object, ...]]:
    """What happened to each device, without when."""
    return sorted((r.device, r.driver, r.cpu_node, r.asynchronous, r.result, r.cost_ns, r.memory) for r in trace.probes)


def in_parallel(trace: Trace) -> bool:
    first, second = trace.probes
    assert first.end_ns is not None
    assert second.start_ns is not None
    return second.start_ns < first.end_ns


def test_device_first_and_driver_first_give_the_same_records_when_devices_probe_asynchronously() -> None:
    devices_first, drivers_first = (pmem(order, "async") for order in ("devices-first", "drivers-first"))
    assert [set(map(str, row)) for row in shape(devices_first)] == [set(map(str, row)) for row in shape(drivers_first)]
    assert in_parallel(devices_first)
    assert in_parallel(drivers_first)


def test_without_it_regions_that_come_before_the_driver_load_one_after_the_other() -> None:
    assert not in_parallel(pmem("devices-first", "sync"))


def test_with_the_driver_there_first_the_bus_itself_registers_regions_in_parallel() -> None:
    """ "As long as all the necessary drivers are loaded for libnvdimm you are good" (the 2018 thread)."""
    assert in_parallel(pmem("drivers-first", "sync"))
