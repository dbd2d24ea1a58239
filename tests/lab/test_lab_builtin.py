"""Drivers that are built in: probed at boot, recorded by kernel parameters, and which steps are left. No guest."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from numaprobe.errors import InputError, RefusedError
from numaprobe.kernel.lab.atboot import pci_device_offset, recording_boot
from numaprobe.kernel.lab.guest import GuestResult, run_guest
from numaprobe.kernel.lab.plan import GuestPlan
from numaprobe.kernel.lab.tools import KernelImage, Tools
from numaprobe.records import ProbeRecord, RunWarning, Trace, dump_trace
from numaprobe.runtime.release import Release
from numaprobe.scenario import load_scenario, parse_scenario, prepare, run_scenario
from numaprobe.scenario.guest import as_the_kernel_does, guest_plan
from numaprobe.scenario.guestbuiltin import BOOT_TASK
from numaprobe.scenario.steps import Load, Register
from numaprobe.study.guests import GuestOptions
from numaprobe.study.lab import check_guest, guest_setting, overhead_in_guest, record_in_guest
from numaprobe.topology import symmetric

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numaprobe.scenario.schema import Scenario

NVME: dict[str, Any] = {
    "machine": "2 nodes x 2 cores",
    "drivers": [{"name": "nvme", "bus": "pci"}],
    "devices": [{"name": "0000:0{i}:00.0", "count": 2, "first": 1, "bus": "pci", "node": 1, "compatible": "nvme"}],
}
BUILT_IN = {"nvme", "ext4"}
VERSION = Release(7, 3)


def planned(**changes: Any) -> tuple[Scenario, GuestPlan]:
    scenario = as_the_kernel_does(parse_scenario({**NVME, **changes}, "test.toml"), VERSION, BUILT_IN)
    return scenario, guest_plan(scenario, prepare(scenario).plan.topology, VERSION, BUILT_IN)


# ---- steps ---------------------------------------------------------------------------------------------------------
def test_what_loads_a_built_in_driver_was_taken_at_boot() -> None:
    scenario, plan = planned()
    step = next(step for step in scenario.steps if isinstance(step, Register))
    assert (step.comm, step.pinned, step.drivers) == (BOOT_TASK, False, ("nvme",))
    assert plan.at_boot == ("nvme",)
    assert plan.steps == plan.setup == ()
    (note,) = plan.notes
    assert note.startswith(f"nvme is built in and probed its devices while the kernel booted, by {BOOT_TASK}, whatever")
    assert note.endswith("; no step is left to take")


def test_a_driver_beside_it_is_loaded_as_always() -> None:
    drivers = [*NVME["drivers"], {"name": "virtio_rng", "bus": "virtio"}]
    devices = [*NVME["devices"], {"name": "virtio0", "bus": "virtio", "compatible": "virtio_rng"}]
    steps = [{"add": "*"}, {"load": ["virtio_rng", "nvme"]}]
    scenario, plan = planned(drivers=drivers, devices=devices, steps=steps)
    assert [type(step) for step in scenario.steps[1:]] == [Register, Load]
    assert plan.steps == ("step 'steps[2]' taskset -c 0 modprobe virtio_rng",)
    assert plan.at_boot == ("nvme",)
    assert plan.notes[0].endswith("taken as they stand: steps[2]")


def test_devices_that_were_bound_at_boot_are_unbound_before_the_steps() -> None:
    scenario = as_the_kernel_does(load_scenario("lab-bind"), VERSION, BUILT_IN)
    plan = guest_plan(scenario, prepare(scenario).plan.topology, VERSION, BUILT_IN)
    assert plan.at_boot == ()
    assert plan.setup[0].endswith("'echo 0 > /sys/bus/pci/drivers_autoprobe'")
    assert plan.setup[1].endswith("'echo 0000:81:00.0 > /sys/bus/pci/drivers/nvme/unbind'")
    assert len(plan.setup) == 4
    assert len(plan.steps) == 3
    (note,) = plan.notes
    assert "bound its devices while the kernel booted; they are unbound before the steps" in note
    assert note.endswith("; taken as they stand: steps[2]")


def test_devices_that_come_later_are_taken_off_the_bus_and_found_again() -> None:
    _, plan = planned(order="drivers-first")
    assert plan.at_boot == ()
    assert "remove" in plan.setup[0]
    assert "rescan" in plan.steps[0]
    assert "taken off the bus before the steps" in plan.notes[0]


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (
            [{"load": "nvme"}, {"unregister": "nvme"}],
            r"steps\[1\]: nvme is built into this kernel and cannot be unloaded",
        ),
        ([{"offline": "3"}, {"load": "nvme"}], r"steps\[1\]: nvme is built .* registered before steps\[0\]"),
        ([{"load": "nvme", "async_probe": True}], r"steps\[0\]\.async_probe: .* a parameter of modules"),
        ([{"parallel": [{"load": "nvme"}]}], r"steps\[0\]\.parallel\[0\]: nvme is built in"),
        (
            [{"add": "0000:01:00.0"}, {"load": "nvme"}, {"add": "0000:02:00.0"}],
            "some of its devices are added later",
        ),
    ],
)
def test_what_no_boot_can_do_is_refused_with_its_place(steps: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        planned(steps=steps)
    assert "test.toml" in str(caught.value)


def test_a_kernel_with_modules_is_as_before() -> None:
    scenario = load_scenario("lab-nvme")
    assert as_the_kernel_does(scenario, VERSION, {"ext4"}) == as_the_kernel_does(scenario, VERSION)


# ---- kernel parameters ---------------------------------------------------------------------------------------------
def btf(offset: int) -> bytes:
    """Return type information of one structure, ``pci_dev``, whose member ``dev`` is so many bytes inside."""
    strings = b"\0pci_dev\0dev\0"
    types = struct.pack("=III", 1, 4 << 24 | 1, 4096) + struct.pack("=III", 9, 0, offset * 8)
    header = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    return header + types + strings


@pytest.fixture
def image(tmp_path: Path, with_programs: Callable[[Mapping[str, str]], None]) -> KernelImage:
    """A kernel that was built here, with nvme in it."""
    with_programs({"readelf": f'case "$1" in --sections) cat {tmp_path}/sections;; *) head -n 1 "$2";; esac'})
    types, start = btf(208), f"Build ID: {'ab' * 20}\n".encode()
    (tmp_path / "vmlinux").write_bytes(start + types + b"more")
    place = f"ffffffff81ae9000 {len(start):06x} {len(types):06x}"
    (tmp_path / "sections").write_text(f"  [11] .BTF              PROGBITS        {place} 00   A  0   0  1\n")
    image = KernelImage(tmp_path / "k/boot/vmlinuz-7.3.4", "7.3.4", build_id="ab" * 20, tree=tmp_path)
    image.modules.mkdir(parents=True)
    (image.modules / "modules.builtin").write_text("kernel/drivers/nvme/host/nvme.ko\nkernel/x/virtio-rng.ko\n")
    return image


def test_a_kernel_says_what_is_built_in(image: KernelImage, tmp_path: Path) -> None:
    assert image.built_in == {"nvme", "virtio_rng"}
    assert replace(image, path=tmp_path / "none/boot/vmlinuz-7.3.4").built_in == frozenset()


def test_a_boot_is_recorded_by_few_parameters(image: KernelImage) -> None:
    assert pci_device_offset(image) == 208
    parameters = recording_boot(image, ["nvme_probe"])
    text = " ".join(parameters)
    assert "p:numaprobe/nvme_probe,nvme_probe,dev=+0(+208($arg1)):string;r256:numaprobe/nvme_probe_ret" in text
    assert "local_pci_probe" not in text
    assert "device_driver_attach" not in text
    assert len(text) < 850  # beside about 1,080 bytes that boot the guest
    assert "local_pci_probe,dev=" in " ".join(recording_boot(image, []))


def test_without_type_information_the_pci_cores_call_is_left_out(image: KernelImage, tmp_path: Path) -> None:
    assert pci_device_offset(replace(image, build_id="cd" * 20)) is None, "another build lies there now"
    assert pci_device_offset(replace(image, tree=None)) is None
    (tmp_path / "sections").write_text("  [12] .BTF_ids          PROGBITS        ffffffff81df3000 ff3000 00147c 00\n")
    assert pci_device_offset(image) is None
    text = " ".join(recording_boot(image, ["nvme_probe"]))
    assert "really_probe" in text
    assert "local_pci_probe" not in text
    assert "nvme_probe" not in text


# ---- the guest -----------------------------------------------------------------------------------------------------
def probe(device: str, driver: str, **more: Any) -> ProbeRecord:
    return ProbeRecord(device=device, driver=driver, cost_ns=1, start_ns=1, end_ns=2, cpu=2, comm="kworker/2:0", **more)


def booted(tmp_path: Path, boot: Trace | None, plan: GuestPlan | None = None) -> GuestResult:
    shared = tmp_path / "shared"
    shared.mkdir()
    empty = RunWarning(kind="no-probes", message="nothing was probed while it was recorded")
    later = Trace(source="kernel", probes=(probe("0000:81:00.0", "nvme", attempt=2),), warnings=(empty,))
    (tmp_path / "trace").write_text(dump_trace(later))
    keep = "echo numaprobe: this boot recorded no probes"
    if boot is not None:
        (tmp_path / "boot").write_text(dump_trace(boot))
        keep = f"cp {tmp_path}/boot {shared}/boot.json"
    vng = tmp_path / "vng"
    vng.write_text(f"#!/bin/sh\n{keep}; cp {tmp_path}/trace {shared}/trace.json; echo 0 > {shared}/status\n")
    vng.chmod(0o755)
    given = GuestPlan(topology=symmetric("m", nodes=2, cores=2), devices=(), at_boot=("nvme",), notes=("a note",))
    kernel = KernelImage(Path("/boot/vmlinuz-6.1.0"), "6.1.0")
    return run_guest(plan or given, kernel=kernel, tools=Tools(vng, os.environ["PATH"]), folder=shared, timeout=20.0)


def test_probes_of_the_boot_stand_before_those_of_the_steps(tmp_path: Path) -> None:
    others = RunWarning(kind="no-place", message="3 PCI probe(s) do not tell where they ran")
    boot = Trace(
        source="kernel", probes=(probe("0000:00:01.0", "pcieport"), probe("0000:81:00.0", "nvme")), warnings=(others,)
    )
    result = booted(tmp_path, boot)
    assert [(one.device, one.attempt) for one in result.trace.probes] == [("0000:81:00.0", 1), ("0000:81:00.0", 2)]
    assert [one.kind for one in result.trace.warnings] == ["built-in"], "what others did not tell is not this trace's"
    guest = (result.folder / "guest.sh").read_text()
    assert guest.index("record --collect") < guest.index("touch ")


def test_a_boot_that_was_not_recorded_is_told(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="did not record its boot: this boot recorded no probes; its console"):
        booted(tmp_path, None)


def test_a_built_in_driver_is_held_against_its_prediction(image: KernelImage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way: the setting, the guest's boot (a run of the virtual machine), the comparison."""
    options = GuestOptions(image=image, tools=Tools(Path("vng"), ""), timeout=1.0)
    setting = guest_setting(load_scenario("lab-nvme"), options)
    assert "kprobe_event=p:numaprobe/really_probe" in setting.plan.cmdline
    trace = run_scenario(setting.scenario, "probe-workqueue", kernel="7.3.4", machine=setting.plan.topology)
    addresses = {device.name: device.address for device in setting.plan.devices}
    probes = tuple(replace(one, device=addresses[one.device]) for one in trace.probes)
    asked: list[Any] = []

    def run(plan: GuestPlan, *, record: list[str], folder: Path, **_: Any) -> GuestResult:
        asked.extend(record)
        return GuestResult(trace=replace(trace, probes=probes), status=0, seconds=1.0, folder=folder)

    monkeypatch.setattr("numaprobe.kernel.lab.guest.run_guest", run)
    result = record_in_guest(setting)
    assert asked == ["--function", "nvme_probe"]
    check = check_guest(setting, result.trace)
    assert check.report.passed
    assert len(check.report.rows) == 3
    with pytest.raises(InputError, match=r"nvme is built in .* measured by loading modules"):
        overhead_in_guest(setting, 3)
