"""Drivers that stay as they are, each with what shows it; and whose word changes that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from advise_samples import candidates, replay, scenario

from numaprobe.runtime import kernel_profile
from numaprobe.scenario import prepare, replay_scenario, run_setting
from numaprobe.study import make_setting, vary
from numaprobe.study.advise import Around, KeptOutReason, Kind, advise
from numaprobe.study.advise.candidates import as_a_stock_kernel, moved_to_the_end
from numaprobe.study.advise.known import known_drivers
from numaprobe.topology import load_topology

SLEEP = [{"sleep": "50ms"}]


def reasons(setting: Any, **more: Any) -> dict[str, list[tuple[KeptOutReason, tuple[str, ...]]]]:
    found: dict[str, list[tuple[KeptOutReason, tuple[str, ...]]]] = {}
    for one in candidates(setting, **more).kept_out:
        found.setdefault(one.driver, []).append((one.reason, one.devices))
    return found


def named(setting: Any, **more: Any) -> set[str]:
    return {choice.name for slot in candidates(setting, **more).slots.values() for choice in slot}


def one_driver(name: str = "d", count: int = 2, **more: Any) -> Any:
    devices = [{"name": "dev{i}", "count": count, "node": 0, "compatible": name}]
    return scenario([{"name": name, "phases": SLEEP, **more}], devices)


def test_a_plain_driver_may_be_asynchronous_in_two_ways() -> None:
    assert reasons(one_driver()) == {}
    assert named(one_driver()) >= {"driver_async_probe=d", "d.async_probe=1"}


@pytest.mark.parametrize("setting", [one_driver(probe_type="sync"), one_driver("mlxplat")])
def test_a_driver_that_always_probes_synchronously_is_out_for_good(setting: Any) -> None:
    (name,) = {driver.name for driver in setting.scenario.drivers}
    assert reasons(setting, allowed=[name]) == {name: [(KeptOutReason.SYNCHRONOUS, ())]}
    assert not any("async" in one for one in named(setting, allowed=[name]))
    assert advise(setting).daring is None


def test_who_has_children_that_others_probe_is_out() -> None:
    setting = make_setting("nested")
    assert reasons(setting) == {"virtio-pci": [(KeptOutReason.CHILDREN, ("virtio0",))]}
    assert "driver_async_probe=virtio-pci" in named(setting, allowed=["virtio-pci"])
    real = replay("debian-7.2/two-nodes/vnestb.1")
    assert reasons(real)["virtio-pci"] == [(KeptOutReason.CHILDREN, ("virtio0", "virtio1"))]


def test_who_is_the_parent_of_a_bound_device_is_out() -> None:
    drivers = [{"name": "bridge", "phases": SLEEP}, {"name": "disk", "phases": SLEEP}]
    devices = [
        {"name": "bridge0", "node": 0, "compatible": "bridge"},
        {"name": "disk0", "node": 0, "compatible": "disk", "parent": "bridge0"},
    ]
    assert reasons(scenario(drivers, devices)) == {"bridge": [(KeptOutReason.CHILDREN, ("disk0",))]}


def test_suppliers_are_out_whether_a_scenario_a_deferral_or_sysfs_tells() -> None:
    setting = make_setting("deferred-chain")
    told = reasons(setting)
    assert {driver for driver, why in told.items() if why[0][0] is KeptOutReason.SUPPLIER} == {
        "bridge",
        "clock",
        "regulator",
    }
    # the same as a trace, where nothing but times tells it
    trace = replace(run_setting(setting).trace, source="kernel")
    again = make_setting(trace)
    assert not any(spec.suppliers for spec in again.plan.devices)
    advice = advise(again, recorded=trace)
    assert {one.driver for one in advice.kept_out if one.reason is KeptOutReason.SUPPLIER} >= {
        "bridge",
        "clock",
        "regulator",
    }
    around = Around(consumers={"dev0": ("panel0",)})
    assert reasons(one_driver(), around=around) == {"d": [(KeptOutReason.SUPPLIER, ("panel0",))]}


def test_who_serves_the_root_file_system_is_out() -> None:
    around = Around(serving={"dev1": "nvme0n1 holds /"})
    assert reasons(one_driver(), around=around) == {"d": [(KeptOutReason.ROOT, ("dev1",))]}


@pytest.mark.parametrize(
    ("root", "driver", "out"),
    [
        ("/dev/nvme0n1p2", "nvme", True),
        ("/dev/vda1", "virtio_blk", True),
        ("/dev/sda2", "ahci", True),
        ("/dev/mmcblk0p1", "sdhci-pci", True),
        ("/dev/nfs", "igb", True),
        ("/dev/vda1", "nvme", False),
        ("UUID=1234", "nvme", False),
        ("/dev/mapper/vg-root", "nvme", False),
    ],
)
def test_the_command_line_tells_who_serves_the_root_file_system(root: str, driver: str, out: bool) -> None:
    setting = one_driver(driver, count=1)
    machine = replace(setting.machine, info={**setting.machine.info, "cmdline": f"quiet root={root}"})
    found = reasons(vary(setting, machine=machine))
    assert found == ({driver: [(KeptOutReason.ROOT, ())]} if out else {})


@pytest.mark.parametrize(
    "driver", ["i2c-designware", "i2c_designware", "spi-nor-controller", "dw-spi", "ioatdma", "xhci_hcd"]
)
def test_drivers_known_to_be_unsafe_are_out_with_the_source(driver: str) -> None:
    (one,) = candidates(one_driver(driver, count=1)).kept_out
    assert one.reason is KeptOutReason.UNSAFE
    assert any(source in one.text for source in ("1ea61b68d0f8", "209041", "d405fecd98bf"))


# ---- names ---------------------------------------------------------------------------------------------------------
def drives(driver: str, sleeps: list[str], **more: Any) -> Any:
    devices = [
        {"name": f"dev{i}", "node": i % 2, "compatible": driver, "phases": [{"sleep": sleep}]}
        for i, sleep in enumerate(sleeps)
    ]
    return scenario([{"name": driver}], devices, **more)


def test_names_that_would_change_are_those_of_a_run_with_the_driver_asynchronous() -> None:
    setting = drives("snd_hda_intel", ["90ms", "50ms", "70ms"])  # named at the end of a probe
    (one,) = candidates(setting).kept_out
    assert one.reason is KeptOutReason.NAMES
    assert dict(one.names) == {"dev0": ("card0", "card2"), "dev1": ("card1", "card0"), "dev2": ("card2", "card1")}
    assert "dev0 would be card2 and not card0" in one.text
    assert "driver_async_probe=snd_hda_intel" in named(setting, allowed=["snd_hda_intel"])


def test_names_that_stay_in_a_run_are_kept_by_nothing_all_the_same() -> None:
    (one,) = candidates(drives("snd_hda_intel", ["50ms", "90ms"])).kept_out
    assert (one.reason, dict(one.names), one.devices) == (KeptOutReason.NAMES, {}, ("dev0", "dev1"))
    assert "which nothing keeps then; in the run that was made they stay" in one.text


def test_one_device_keeps_its_name() -> None:
    assert candidates(drives("nvme", ["90ms"])).kept_out == []


def test_interfaces_count_only_where_udev_does_not_rename_them() -> None:
    setting = drives("igb", ["90ms", "50ms"])
    assert candidates(setting).kept_out == []
    machine = replace(setting.machine, info={**setting.machine.info, "cmdline": "net.ifnames=0"})
    (one,) = candidates(vary(setting, machine=machine)).kept_out
    assert dict(one.names) == {"dev0": ("eth0", "eth1"), "dev1": ("eth1", "eth0")}


def test_letters_go_on_after_z_as_the_kernels_do() -> None:
    family = known_drivers().family("virtio_blk")
    assert family is not None
    assert [family.name(i) for i in (0, 25, 26, 51, 52, 701, 702)] == [
        "vda", "vdz", "vdaa", "vdaz", "vdba", "vdzz", "vdaaa",
    ]  # fmt: skip


def test_every_entry_of_the_table_has_a_source() -> None:
    table = known_drivers()
    assert all(one.source for one in (*table.unsafe, *table.synchronous))
    assert all(one.instead for one in table.names)
    assert known_drivers().family("nothing-known") is None


# ---- what is looked at ---------------------------------------------------------------------------------------------
def test_the_kept_out_are_shown_with_what_they_would_bring() -> None:
    advice = advise(make_setting("lab-virtio"))
    assert advice.daring is not None
    assert advice.daring.names == ["driver_async_probe=virtio_blk"]
    assert advice.recommended is not None
    assert advice.recommended.trial.selection != advice.daring.trial.selection
    allowed = advise(make_setting("lab-virtio"), allowed=["virtio_blk"])
    assert allowed.recommended is not None
    assert allowed.recommended.names == ["driver_async_probe=virtio_blk"]
    assert allowed.daring is None


def test_a_setting_that_leaves_a_device_unbound_is_no_choice() -> None:
    advice = advise(make_setting("sriov-sysfs"))
    assert advice.recommended is None
    assert ("driver_async_probe=nicvf" in name for name, _ in advice.broken)
    assert all("bound" in reason for _, reason in advice.broken)


def test_scopes_are_those_of_the_release_that_group_cpus_in_another_way() -> None:
    def scopes(kernel: str, machine: str = "2 nodes x 2 llcs x 8 cores") -> list[str]:
        found = candidates(make_setting("isolated", kernel=kernel, machine=machine))
        return [choice.value for choice in found.slots.get("unbound workqueues", [])]

    assert scopes("6.1") == []
    assert scopes("6.12") == ["numa", "system"]
    assert scopes("7.3") == ["numa", "system"]
    assert scopes("7.3", "2 nodes x 2 llcs x 16 cores") == ["numa", "cache", "system"]
    assert {str(scope) for scope in kernel_profile("7.3").affinity_scopes} >= {"cache_shard", "numa"}


@pytest.mark.parametrize(
    ("machine", "isolated", "moved"),
    [
        ("1 node x 2 llcs x 4 cores", "0-3", "4-7"),
        ("1 node x 1 llc x 8 cores", "0,2", "6-7"),
        ("1 node x 1 llc x 4 cores x 2 threads", "0,4", "3,7"),
        ("1 node x 1 llc x 4 cores x 2 threads", "0", "7"),
    ],
)
def test_isolation_moves_to_the_last_cpus_whole_cores_as_such(machine: str, isolated: str, moved: str) -> None:
    topology = load_topology(machine)
    cpus = topology.possible.parse_list(isolated)
    if "threads" in machine and not any(core == topology.possible.parse_list("0,4") for core in topology.cores):
        pytest.fail("the machine numbers its threads in another way")
    assert str(moved_to_the_end(topology, topology.nodes[0].cpus, cpus)) == moved


def test_isolation_keeps_its_flags_and_takes_nohz_full_along() -> None:
    setting = make_setting("isolated", cmdline="isolcpus=managed_irq,domain,16-23 nohz_full=16-23")
    (choice,) = candidates(setting).slots["isolation"]
    assert (choice.kind, choice.value, choice.with_nohz) == (Kind.ISOLATION, "managed_irq,domain,24-31", True)


def test_what_a_parameter_made_asynchronous_may_be_synchronous_again() -> None:
    sync = one_driver("ahci")
    trace = replace(run_setting(vary(sync, parameters={"driver_async_probe": "ahci"})).trace, source="kernel")
    setting = as_a_stock_kernel(prepare(replay_scenario(trace)))
    assert setting.scenario.drivers[0].probe_type == "default"
    assert setting.cmdline == "driver_async_probe=ahci"
    assert "driver_async_probe= without ahci" in named(setting)
    assert run_setting(setting).trace.probes == run_setting(prepare(replay_scenario(trace))).trace.probes


def test_policies_that_nobody_can_set_are_put_back() -> None:
    stock = as_a_stock_kernel(make_setting("nvme-epyc", policy="spread", kernel="7.3"))
    assert stock.policy.name == "probe-workqueue"


def test_what_the_kernel_loads_itself_is_built_in() -> None:
    setting = vary(one_driver(), {"caller.comm": "swapper/0"})
    assert {name for name in named(setting) if "async" in name} == {"driver_async_probe=d"}


def test_binding_by_hand_is_offered_where_the_command_is_and_loading_bound_all() -> None:
    around = Around(can_bind=True)
    assert "d bound from its nodes" in named(one_driver(), around=around)
    assert "nvme bound from its nodes, together" in named(make_setting("lab-nvme"), around=around, allowed=["nvme"])
    assert not any("bound from" in name for name in named(one_driver()))
    assert not any("bound from" in name for name in named(make_setting("hotplug"), around=around, allowed=["nvme"]))
