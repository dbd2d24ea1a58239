"""Scenarios as guests: shell lines, kernel parameters, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from numaprobe.errors import InputError
from numaprobe.records import ProbeRecord, Trace
from numaprobe.runtime.release import Release
from numaprobe.scenario import load_scenario, parse_scenario, prepare
from numaprobe.scenario.guest import as_the_kernel_does, guest_names, guest_plan, with_recorded_costs

if TYPE_CHECKING:
    from numaprobe.kernel.lab.plan import GuestPlan

OLD, NEW = Release(6, 1), Release(6, 12)

NVME: dict[str, Any] = {
    "machine": "2 nodes x 2 cores",
    "drivers": [{"name": "nvme", "bus": "pci"}],
    "devices": [
        {"name": "0000:0{i}:00.0", "count": 2, "first": 1, "bus": "pci", "node": 1, "compatible": "nvme"},
    ],
}


def plan_of(version: Release = OLD, **changes: Any) -> GuestPlan:
    scenario = parse_scenario({**NVME, **changes}, "test")
    return guest_plan(scenario, prepare(scenario).plan.topology, version)


@pytest.mark.parametrize("name", ["lab-nvme", "lab-nvme-async", "lab-bind", "lab-virtio"])
@pytest.mark.parametrize("version", [OLD, NEW])
def test_the_labs_own_scenarios_fit_a_guest(name: str, version: Release) -> None:
    scenario = as_the_kernel_does(load_scenario(name), version)
    plan = guest_plan(scenario, prepare(scenario).plan.topology, version)
    assert any("modprobe" in line for line in plan.steps)
    assert all(device.node == 1 for device in plan.devices)
    assert len(plan.topology.possible) == 4


def test_loading_is_modprobe_on_the_callers_cpu() -> None:
    assert plan_of().steps == ("step 'steps[1]' taskset -c 0 modprobe nvme",)
    assert plan_of(caller={"cpu": 3, "pinned": False}).steps == ("step 'steps[1]' modprobe nvme",)
    steps = [{"add": "*"}, {"load": "nvme", "async_probe": True, "cpu": 2}]
    assert plan_of(steps=steps).steps == ("step 'steps[1]' taskset -c 2 modprobe nvme async_probe=1",)


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
    assert plan.setup == ("step 'setup[0]' /bin/sh -c 'echo 0 > /sys/bus/pci/drivers_autoprobe'",)
    assert plan.steps[1:] == (
        "step 'steps[2]' taskset -c 1 /bin/sh -c 'echo 0000:81:00.0 > /sys/bus/pci/drivers/nvme/bind'",
        "step 'steps[2]' taskset -c 1 /bin/sh -c 'echo 0000:82:00.0 > /sys/bus/pci/drivers/nvme/bind'",
        "step 'steps[3]' taskset -c 0 /bin/sh -c 'echo 0000:81:00.0 > /sys/bus/pci/drivers/nvme/unbind'",
    )


def test_parallel_steps_are_waited_for() -> None:
    parallel = [{"bind": "0000:01:00.0", "cpu": 0}, {"sequence": [{"bind": "0000:02:00.0", "cpu": 1}, {"wait": "5ms"}]}]
    lines = plan_of(steps=[{"add": "*"}, {"parallel": parallel}]).steps
    assert lines[0].startswith("{ step 'steps[1].parallel[0]' taskset -c 0 /bin/sh -c 'echo 0000:81:00.0")
    assert lines[0].endswith("; } &")
    assert "; sleep 0.005; } &" in lines[1]
    assert lines[2] == "wait"


def test_devices_that_are_added_later_are_found_by_a_rescan() -> None:
    plan = plan_of(order="drivers-first")
    assert plan.setup == tuple(
        f"step 'setup[{i}]' /bin/sh -c 'echo 1 > /sys/bus/pci/devices/0000:8{i + 1}:00.0/remove'" for i in (0, 1)
    )
    assert plan.steps[-1] == "step 'steps[1]' taskset -c 0 /bin/sh -c 'echo 1 > /sys/bus/pci/rescan'"
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


@pytest.mark.parametrize("step", [{"busy": {"cpus": "1"}}, {"block_probing": True}])
def test_what_a_guest_cannot_do_is_refused_with_its_place(step: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"steps\[1\]: the lab cannot take the step"):
        plan_of(steps=[{"add": "*"}, step])


WAIT = {"device": "0000:02:00.0"}


@pytest.mark.parametrize(
    "phase",
    [
        {"fail": "EPROBE_DEFER", "attempts": 2},
        {"wait": WAIT},
        {"hold": {"lock": "acpi", "phases": [{"compute": "1ms"}]}},
        {"allocate": "8KiB"},
        {"enable_vfs": 2},
        {"register": [{"name": "child"}]},
    ],
    ids=lambda phase: next(iter(phase)),
)
def test_what_a_real_driver_would_not_do_is_refused_before_anything_is_booted(phase: dict[str, Any]) -> None:
    key = next(iter(phase))
    phases = [{"compute": "1ms"}, phase]
    with pytest.raises(InputError, match=rf"drivers\[0\]\.phases\[1\]: the lab cannot make a real driver do '{key}'"):
        plan_of(drivers=[{"name": "nvme", "bus": "pci", "phases": phases}])
    with pytest.raises(InputError, match=rf"drivers\[0\]\.remove\[1\]: .*'{key}'"):
        plan_of(drivers=[{"name": "nvme", "bus": "pci", "remove": phases}])
    with pytest.raises(InputError, match=rf"devices\[0\]\.phases\[1\]: .*'{key}'"):
        plan_of(devices=[{**NVME["devices"][0], "phases": phases}])


@pytest.mark.parametrize("key", ["suppliers", "parent"])
def test_relations_between_emulated_devices_are_refused(key: str) -> None:
    first, second = ({**NVME["devices"][0], "name": f"0000:0{i}:00.0", "count": 1} for i in (1, 2))
    with pytest.raises(InputError, match=rf"devices\[1\]\.{key}: the lab cannot give"):
        plan_of(devices=[first, {**second, key: "0000:01:00.0"}])


def test_checks_that_the_lab_does_not_make_are_refused() -> None:
    late = {"load": "nvme", "at_most": "1s"}
    with pytest.raises(InputError, match=r"steps\[1\]\.parallel\[0\]\.at_most: the lab does not judge"):
        plan_of(steps=[{"add": "*"}, {"parallel": [late]}])
    with pytest.raises(InputError, match="expect_async_on_node"):
        plan_of(expect_async_on_node=True)


def test_whether_a_device_is_bound_is_looked_up_in_the_guest() -> None:
    (_, line, *_) = plan_of(steps=[{"load": "nvme"}, {"expect_bound": "*"}]).steps
    assert line.startswith("step 'steps[1]' /bin/sh -c '[ -e /sys/bus/pci/devices/0000:81:00.0/driver ] ||")
    assert "is not bound" in line


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
    assert [phase.model_dump() for phase in phases] == [{"sleep": "100ns"}, {"compute": "200ns"}, {"sleep": "100ns"}]
    assert with_recorded_costs(scenario, Trace(source="kernel", probes=())) == scenario


def test_recorded_costs_take_the_place_of_a_devices_own_too() -> None:
    scenario = parse_scenario({**NVME, "devices": [{**NVME["devices"][0], "phases": [{"compute": "1s"}]}]}, "test")
    probe = ProbeRecord(device="a", driver="nvme", cost_ns=1, running_ns=100, runnable_ns=0, sleeping_ns=200)
    assert with_recorded_costs(scenario, Trace(source="kernel", probes=(probe,))).devices[0].phases is None
