"""What nothing will act on is told in words: as a warning of every trace, or refused where it can only be a slip."""

from __future__ import annotations

from typing import Any

import pytest
from scenario_text import refusal, run, scenario

from numaprobe.buses import KINDS
from numaprobe.policies import POLICIES
from numaprobe.scenario import builtin_names, load_scenario, prepare
from numaprobe.scenario.schema import BUS_KINDS


def told(**changes: Any) -> list[str]:
    cmdline = changes.pop("cmdline", "")
    return [one.message for one in prepare(scenario(**changes), cmdline=cmdline).warnings]


@pytest.mark.parametrize("name", [name for name in builtin_names() if name != "host"])
def test_nothing_is_said_of_a_sound_scenario(name: str) -> None:
    kinds = {one.kind for one in prepare(load_scenario(name)).warnings}
    assert not kinds & {"unmatched", "supplier", "cmdline"}


# ---- suppliers -----------------------------------------------------------------------------------------------------
def device(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "compatible": "d", **more}


def test_a_supplier_that_is_not_there_is_told_with_the_nearest_one() -> None:
    (line,) = told(devices=[device("gpio0"), device("led{i}", count=5, suppliers=["gpio1"])])
    assert line == (
        "'gpio1' is no device of this scenario, and 'led0', 'led1', 'led2' and 2 more would wait for it for ever;"
        " did you mean 'gpio0'?"
    )


def test_a_supplier_that_a_probe_registers_or_enables_may_come() -> None:
    drivers = [
        {"name": "d", "phases": [{"hold": {"lock": "x", "phases": [{"register": [device("{parent}-{i}", count=2)]}]}}],
         "match": ["hub"]},
        {"name": "nic", "bus": "pci", "phases": [{"enable_vfs": 2}]},
        {"name": "nicvf", "bus": "pci", "match": ["nic-vf"]},
    ]  # fmt: skip
    devices = [
        {"name": "h", "compatible": "hub"},
        {"name": "0000:01:00.0", "bus": "pci", "compatible": "nic"},
        {"name": "a", "compatible": "hub", "suppliers": ["h-1", "0000:01:00.2"]},
    ]
    assert [line for line in told(drivers=drivers, devices=devices) if "for ever" in line] == []
    (line,) = [x for x in told(drivers=drivers[:1], devices=[devices[0], devices[2]]) if "for ever" in x]
    assert line.startswith("'0000:01:00.2' is no device")


def test_a_wait_for_what_never_comes_is_told_unless_it_ends_by_itself() -> None:
    phases = [{"wait": {"device": "devv"}}, {"wait": {"device": "never", "timeout": "1ms"}}]
    assert told(drivers=[{"name": "d", "phases": phases}]) == [
        "'devv' is no device of this scenario, and 'driver d' would wait for it for ever; did you mean 'dev'?"
    ]


# ---- drivers -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("compatible", "bus", "hint"),
    [
        ("nvmee", "pci", "; did you mean 'nvme'?"),
        ("nvme", "platform", "; driver 'nvme' is on bus pci"),
        ("zz", "pci", ""),
    ],
)
def test_a_compatible_that_no_driver_matches_is_told(compatible: str, bus: str, hint: str) -> None:
    devices = [{"name": "x{i}", "count": 5, "bus": bus, "compatible": compatible}]
    (line,) = told(drivers=[{"name": "nvme", "bus": "pci"}], devices=devices)
    assert line == (
        f"no driver on bus {bus} matches compatible '{compatible}' of 'x0', 'x1', 'x2' and 2 more, which nothing will"
        f" probe{hint}"
    )


def test_a_compatible_of_a_child_is_looked_at_and_one_that_counts_may_match() -> None:
    child = {"name": "{parent}-{i}", "bus": "usb", "compatible": "kbdd"}
    drivers = [{"name": "d", "phases": [{"register": [child]}]}, {"name": "kbd", "bus": "usb"}]
    (line,) = told(drivers=drivers)
    assert line.startswith("no driver on bus usb matches compatible 'kbdd' of '{parent}-{i}'")
    assert line.endswith("did you mean 'kbd'?")
    child["compatible"] = "kb{i}"
    assert told(drivers=[drivers[0], {**drivers[1], "match": ["kb0"]}]) == []


def test_a_platform_device_matches_by_its_name_and_one_that_says_nothing_is_left_alone() -> None:
    assert told(devices=[{"name": "d.0", "compatible": "other"}, {"name": "bridge"}]) == []


# ---- buses ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"devices": [{"name": "x", "bus": "PCI", "compatible": "d"}]}, "devices[0].bus"),
        ({"drivers": [{"name": "d", "bus": "PCI"}]}, "drivers[0].bus"),
        ({"buses": [{"name": "PCI"}]}, "buses[0].name"),
        ({"drivers": [{"name": "d", "phases": [{"register": [device("c", bus="PCI")]}]}]}, "register: bus"),
    ],
)
def test_a_bus_in_other_letters_is_refused(changes: dict[str, Any], where: str) -> None:
    assert refusal(lambda: run(**changes)) == f"scenario: {where}: 'PCI' is no bus that is known; did you mean 'pci'?"


def test_a_bus_in_other_letters_may_be_said_to_be_one() -> None:
    bus = [{"name": "PCI", "kind": "pci"}]
    drivers, devices = [{"name": "d", "bus": "PCI"}], [device("x", bus="PCI", node=1)]
    (probe,) = run("work-on-cpu", buses=bus, drivers=drivers, devices=devices).trace.probes
    assert probe.cpu_node == 1  # as PCI does


def test_the_buses_that_are_known_are_those_that_behave_by_name() -> None:
    assert tuple(KINDS) == BUS_KINDS


# ---- the command line ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("isolcpu=0", "isolcpus"),
        ("ISOLCPUS=0", "isolcpus"),
        ("nohzfull=1", "nohz_full"),
        ("driver-async-probes=*", "driver_async_probe"),
        ("deferred_probe_timout=1", "deferred_probe_timeout"),
        ("workqueue.unbound_cpu=1", "workqueue.unbound_cpus"),
    ],
)
def test_a_parameter_near_a_known_one_is_told(written: str, meant: str) -> None:
    (line,) = told(cmdline=f"quiet {written} ro")
    assert line.endswith(f"did you mean {meant}=?")


def test_other_parameters_of_a_real_command_line_are_none_of_ours() -> None:
    cmdline = (
        "BOOT_IMAGE=/vmlinuz root=UUID=1 ro quiet nohz=on maxcpus=4 nr_cpus=4 rcu_nocbs=1 isolcpus=1 nvme.async_probe"
    )
    assert told(cmdline=f"{cmdline} rootdelay=1 async_probe=1 workqueue.power_efficient=1 cpuidle.off=1") == []


# ---- after the run -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_deferred_at_the_end_is_told_under_every_policy(policy: str) -> None:
    drivers = [{"name": "d"}, {"name": "bad", "phases": [{"fail": "ENOMEM"}]}]
    devices = [{"name": "s", "compatible": "bad"}, device("x{i}", count=6, node="spread", suppliers=["s"])]
    warnings = [one.message for one in run(policy, drivers=drivers, devices=devices).trace.warnings]
    assert warnings == [
        "still deferred: x0, x1, x2, x3 and 2 more: waiting for supplier s, which was probed and failed: ENOMEM"
    ]


# ---- CPUs ----------------------------------------------------------------------------------------------------------
def test_a_task_that_starts_on_an_isolated_cpu_is_told_so() -> None:
    steps = [{"isolate": "1"}, {"add": "*", "cpu": 1, "pinned": False}]
    assert refusal(lambda: run(steps=steps)) == (
        "scenario: steps[1].cpu: modprobe cannot start on CPU 1: it is isolated, only a task that is pinned to it runs"
        " there"
    )


def test_a_partition_is_taken_back_though_booting_left_no_other_cpu_on_line() -> None:
    steps = [{"add": "*"}, {"offline": "0"}, {"isolate": ""}, {"load": "d", "cpu": 1}]
    assert run(cmdline="isolcpus=1-3", caller={"cpu": 1}, steps=steps).trace.probes
