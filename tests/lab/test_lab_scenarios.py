"""Scenarios as guests: shell lines, kernel parameters, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from numaprobe.errors import InputError
from numaprobe.records import ProbeRecord, Trace
from numaprobe.scenario import load_scenario, parse_scenario, prepare
from numaprobe.scenario.guest import as_the_kernel_does, guest_names, guest_plan, with_recorded_costs

if TYPE_CHECKING:
    from numaprobe.kernel.lab.plan import GuestPlan

OLD, NEW = (6, 1), (6, 12)

NVME: dict[str, Any] = {
    "machine": "2 nodes x 2 cores",
    "drivers": [{"name": "nvme", "bus": "pci"}],
    "devices": [
        {"name": "0000:0{i}:00.0", "count": 2, "first": 1, "bus": "pci", "node": 1, "compatible": "nvme"},
    ],
}


def plan_of(version: tuple[int, int] = OLD, **changes: Any) -> GuestPlan:
    scenario = parse_scenario({**NVME, **changes}, "test")
    return guest_plan(scenario, prepare(scenario).plan.topology, version)


@pytest.mark.parametrize("name", ["lab-nvme", "lab-nvme-async", "lab-bind", "lab-virtio"])
@pytest.mark.parametrize("version", [OLD, NEW])
def test_the_labs_own_scenarios_fit_a_guest(name: str, version: tuple[int, int]) -> None:
    scenario = as_the_kernel_does(load_scenario(name), version)
    plan = guest_plan(scenario, prepare(scenario).plan.topology, version)
    assert any("modprobe" in line for line in plan.steps)
    assert all(device.node == 1 for device in plan.devices)
    assert len(plan.topology.possible) == 4


def test_loading_is_modprobe_on_the_callers_cpu() -> None:
    assert plan_of().steps == ("taskset -c 0 modprobe nvme",)
    assert plan_of(caller={"cpu": 3, "pinned": False}).steps == ("modprobe nvme",)
    steps = [{"add": "*"}, {"load": "nvme", "async_probe": True, "cpu": 2}]
    assert plan_of(steps=steps).steps == ("taskset -c 2 modprobe nvme async_probe=1",)


def test_a_driver_that_does_not_ask_is_named_on_the_command_line() -> None:
    drivers = [{"name": "nvme", "bus": "pci", "probe_type": "async"}]
    assert plan_of(drivers=drivers, cmdline="isolcpus=3").cmdline == "isolcpus=3 driver_async_probe=nvme"
    assert plan_of(NEW, drivers=drivers).cmdline == ""


def test_a_driver_that_asks_is_predicted_so() -> None:
    scenario = parse_scenario(NVME, "test")
    assert as_the_kernel_does(scenario, NEW).drivers[0].probe_type == "async"
    assert as_the_kernel_does(scenario, OLD).drivers[0].probe_type == "default"


def test_binding_through_sysfs() -> None:
    plan = plan_of(
        buses=[{"name": "pci", "autoprobe": False}],
        steps=[{"add": "*"}, {"load": "nvme"}, {"bind": "*", "comm": "sh", "cpu": 1}, {"unbind": "0000:01:00.0"}],
    )
    assert plan.setup == ("echo 0 > /sys/bus/pci/drivers_autoprobe",)
    assert plan.steps[1:] == (
        "taskset -c 1 /bin/sh -c 'echo 0000:81:00.0 > /sys/bus/pci/drivers/nvme/bind'",
        "taskset -c 1 /bin/sh -c 'echo 0000:82:00.0 > /sys/bus/pci/drivers/nvme/bind'",
        "taskset -c 0 /bin/sh -c 'echo 0000:81:00.0 > /sys/bus/pci/drivers/nvme/unbind'",
    )


def test_parallel_steps_are_waited_for() -> None:
    parallel = [{"bind": "0000:01:00.0", "cpu": 0}, {"sequence": [{"bind": "0000:02:00.0", "cpu": 1}, {"wait": "5ms"}]}]
    lines = plan_of(steps=[{"add": "*"}, {"parallel": parallel}]).steps
    assert lines[0].startswith("{ taskset -c 0 /bin/sh -c 'echo 0000:81:00.0")
    assert lines[0].endswith("; } &")
    assert "; sleep 0.005; } &" in lines[1]
    assert lines[2] == "wait"


def test_devices_that_are_added_later_are_found_by_a_rescan() -> None:
    plan = plan_of(order="drivers-first")
    assert plan.setup == tuple(f"echo 1 > /sys/bus/pci/devices/0000:8{i}:00.0/remove" for i in (1, 2))
    assert plan.steps[-1] == "taskset -c 0 /bin/sh -c 'echo 1 > /sys/bus/pci/rescan'"
    twice = [{"load": "nvme"}, {"add": "0000:01:00.0"}, {"add": "0000:02:00.0"}]
    with pytest.raises(InputError, match="one step only"):
        plan_of(steps=twice)


def test_cpus_off_line_and_the_rest_of_the_steps() -> None:
    steps = [
        {"add": "*"},
        {"offline": "1"},
        {"autoprobe": {"bus": "pci", "on": True}},
        {"drivers_probe": "0000:01:00.0"},
        {"settle": True},
        {"unregister": "nvme"},
        {"expect_bound": "*"},
        {"remove": "0000:01:00.0"},
        {"online": "1"},
    ]
    text = "\n".join(plan_of(steps=steps).steps)
    for part in (
        "echo 0 > /sys/devices/system/cpu/cpu1/online",
        "echo 1 > /sys/bus/pci/drivers_autoprobe",
        "echo 0000:81:00.0 > /sys/bus/pci/drivers_probe",
        "modprobe -r nvme",
        "echo 1 > /sys/bus/pci/devices/0000:81:00.0/remove",
        "echo 1 > /sys/devices/system/cpu/cpu1/online",
    ):
        assert part in text


@pytest.mark.parametrize("step", [{"isolate": "1"}, {"busy": {"cpus": "1"}}, {"block_probing": True}])
def test_what_a_guest_cannot_do_is_refused_with_its_place(step: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"steps\[1\]: the lab cannot take the step"):
        plan_of(steps=[{"add": "*"}, step])


def test_a_driver_without_an_emulated_device_is_refused() -> None:
    drivers = [{"name": "mlx5_core", "bus": "pci", "match": ["nvme"]}]
    with pytest.raises(InputError, match="no device for driver 'mlx5_core'; it has: nvme, virtio_blk"):
        plan_of(drivers=drivers)


def test_a_device_without_a_driver_is_refused() -> None:
    with pytest.raises(InputError, match="no driver here"):
        plan_of(drivers=[{"name": "virtio_blk", "bus": "virtio"}])


def test_a_large_machine_is_refused_with_the_way_out() -> None:
    with pytest.raises(InputError, match="--machine"):
        plan_of(machine="epyc-9a64")


def test_virtio_devices_have_the_name_that_the_guest_gave_them() -> None:
    scenario = load_scenario("lab-virtio")
    plan = guest_plan(scenario, prepare(scenario).plan.topology, OLD)
    devices = [{"bus": "virtio", "name": "virtio8", "parent": "0000:81:00.0"}, {"bus": "pci", "name": "0000:81:00.0"}]
    names = guest_names(plan, Trace(source="kernel", probes=(), machine={"devices": devices}))
    assert names == {"virtio0": "virtio8", "virtio1": "0000:82:00.0"}
    assert "virtio*" in "".join(plan_of_bind_virtio().steps)


def plan_of_bind_virtio() -> GuestPlan:
    scenario = load_scenario("lab-virtio", ["steps=[]"])
    data = scenario.model_copy(update={"steps": parse_scenario({**NVME, "steps": [{"bind": "*"}]}, "t").steps})
    return guest_plan(data, prepare(scenario).plan.topology, OLD)


def test_recorded_costs_take_the_place_of_the_scenarios() -> None:
    scenario = parse_scenario(NVME, "test")
    probes = tuple(
        ProbeRecord(device=name, driver="nvme", cost_ns=1, running_ns=running, runnable_ns=0, sleeping_ns=200)
        for name, running in (("a", 100), ("b", 300), ("c", 200))
    )
    phases = with_recorded_costs(scenario, Trace(source="kernel", probes=probes)).drivers[0].phases
    assert [(phase.compute, phase.sleep) for phase in phases] == [(None, 100), (200, None), (None, 100)]
    assert with_recorded_costs(scenario, Trace(source="kernel", probes=())) == scenario
