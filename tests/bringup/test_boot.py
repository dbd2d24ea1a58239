"""What is installed for the boot: the plan for it, the script on a tree, the units, and taking all of it away."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from bringup_world import BringupWorld

from numaprobe.bringup.boot import install as installing
from numaprobe.bringup.boot.bring import bring_up
from numaprobe.bringup.boot.bring import main as bring
from numaprobe.bringup.boot.files import boot_files
from numaprobe.bringup.boot.install import MANIFEST, Settings, check, install, uninstall
from numaprobe.bringup.boot.plan import LATER, boot_plan, device_list, module_list
from numaprobe.bringup.boot.system import check_not_system
from numaprobe.bringup.plan import Change, Plan, dump_plan, load_plan
from numaprobe.bringup.steps import JournalStep
from numaprobe.cli.main import run_command
from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError, RefusedError

SCRIPT = Path(installing.__file__).with_name("boot.sh")
SETTINGS = Settings(python="/opt/np/bin/python", limit_s=30)


@pytest.fixture
def plan(world: BringupWorld) -> Plan:
    first, second, third = world.pci(3, "nvme")
    changes = [replace(world.change(first, "rebind"), wave=3, cpus=CpuSet(0b11)), world.change(second, "unbind")]
    return Plan(changes=(*changes, replace(world.change(third, "rebind", "vfio-pci"), wave=1, exclusive=True)))


def listing(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


# ---- the plan for the boot -------------------------------------------------------------------------------------------
def test_at_boot_whatever_is_bound_is_bound_from_being_held(plan: Plan) -> None:
    found = boot_plan(plan, 30)
    found.validate()
    assert found.deadline_ns == 15 * 10**9
    assert boot_plan(replace(plan, deadline_ns=5), 30).deadline_ns == 5
    assert [(one.action, one.road, one.wave) for one in found.changes] == [
        ("bind", "override", 1),
        ("bind", "override", 0),
    ]
    assert {(one.driver_before, one.override_before, one.override_after) for one in found.changes} == {
        (None, LATER, None)
    }
    assert device_list(found).splitlines() == [
        "0 1 pci 0000:81:00.2 vfio-pci -",
        "1 0 pci 0000:81:00.0 nvme 0-1",
    ]


def test_a_virtio_device_is_held_by_what_it_stands_on(world: BringupWorld) -> None:
    world.kernel.device("pci", "0000:00:05.0", driver="virtio-pci", node=1, ids=(0x1AF4, 0x1001))
    world.kernel.device("virtio", "virtio3", driver="virtio_blk", above="0000:00:05.0")
    found = boot_plan(Plan(changes=(world.change("virtio3", "rebind", "virtio_blk"),)), 30)
    (change,) = found.changes
    assert (change.bus, change.name, change.driver_after) == ("pci", "0000:00:05.0", "virtio-pci")
    assert change.device == "devices/pci0000:00/0000:00:05.0"
    assert found.modules == ("virtio-pci", "virtio_blk")
    assert load_plan(dump_plan(found), "plan") == found


def test_a_bus_without_override_is_refused(world: BringupWorld) -> None:
    world.kernel.device("usb", "1-1:1.0", driver="uas")
    with pytest.raises(InputError, match=r"usb/1-1:1.0: its bus has no driver_override"):
        boot_plan(Plan(changes=(world.change("1-1:1.0", "rebind", "uas"),)), 30)


def test_a_plan_that_binds_nothing_is_refused(world: BringupWorld) -> None:
    (name,) = world.pci(1, "nvme")
    with pytest.raises(InputError, match="binds nothing"):
        boot_plan(Plan(changes=(world.change(name, "unbind"),)), 30)


def test_a_held_device_is_bound_and_its_hold_is_gone(world: BringupWorld, plan: Plan) -> None:
    """The whole way on the fake kernel: held, then the plan of the boot."""
    for name in world.drivers():
        world.kernel.write(world.kernel.sysfs.unbind_file("pci", "nvme"), name)
        world.kernel.write(world.kernel.sysfs.override_file(world.kernel.find(name).path), LATER)
    report = world.perform(boot_plan(plan, 30).changes)
    assert [one.step for one in report.outcomes] == [JournalStep.VERIFIED] * 2
    assert list(world.kernel.snapshot().values()) == [("nvme", None), (None, LATER), ("vfio-pci", None)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork beside threads, which the runner of tests has
def test_at_boot_only_what_is_held_is_brought_up(world: BringupWorld) -> None:
    held, bound, free, gone = world.pci(4)
    plan = boot_plan(Plan(changes=tuple(world.change(name, after="nvme") for name in (held, bound, free, gone))), 30)
    world.kernel.write(world.kernel.sysfs.override_file(world.kernel.find(held).path), LATER)
    world.kernel.write(world.kernel.sysfs.bind_file("pci", "other"), bound)
    world.kernel.remove(gone)
    report, left = bring_up(plan, world.tools)
    assert [(one.change.name, one.step) for one in report.outcomes] == [(held, JournalStep.VERIFIED)]
    assert world.drivers() | {gone: None} == {held: "nvme", bound: "other", free: None, gone: None}
    assert left == [
        f"pci/{bound} has its driver already: other",
        f"pci/{free} is not held (override: none)",
        f"pci/{gone} is not there",
    ]
    assert world.history.runs[0].begin["command"] == "boot"


def test_a_boot_without_its_plan_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bring([str(tmp_path / "nowhere"), str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_what_binds_at_boot_needs_no_other_package(tmp_path: Path) -> None:
    """With Python alone: what is not there cannot be broken, and what is not loaded takes no time."""
    source = Path(installing.__file__).parents[3]
    code = "import sys, numaprobe.bringup.boot.bring; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(source)},
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    loaded = set(done.stdout.decode().split())
    ours = {"numaprobe", "__main__", "__mp_main__"}
    assert {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names) - ours == set()
    assert not {"asyncio", "numaprobe.hostmachine.machine", "numaprobe.topology.load"} & loaded


# ---- the script ------------------------------------------------------------------------------------------------------
def boot_sh(world: BringupWorld, verb: str, plan: Plan, **more: str) -> None:
    here, run = world.folder / "here", world.folder / "run"
    here.mkdir(exist_ok=True)
    (here / "devices").write_text(device_list(boot_plan(plan, 30)))
    (here / "modules").write_text(module_list(boot_plan(plan, 30)))
    settings = {
        "NUMAPROBE_HERE": str(here),
        "NUMAPROBE_RUN": str(run),
        "NUMAPROBE_SYS": str(world.kernel.folder / "sys"),
    }
    done = subprocess.run(
        ["/bin/sh", SCRIPT, verb], env={**os.environ, **settings, **more}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def overrides(world: BringupWorld) -> list[str | None]:
    return [world.kernel.root.text(f"sys/{device.path}/driver_override") for device in world.kernel.devices.values()]


def unbound(world: BringupWorld) -> None:
    for name, driver in world.drivers().items():
        world.kernel.write(world.kernel.sysfs.unbind_file("pci", str(driver)), name)


def test_devices_of_the_list_are_held(world: BringupWorld, plan: Plan) -> None:
    unbound(world)
    boot_sh(world, "hold", plan)
    assert overrides(world) == [LATER, "(null)", LATER]
    assert (world.folder / "run/holding").exists()


def test_a_device_with_a_driver_or_an_override_is_not_held(world: BringupWorld, plan: Plan) -> None:
    first, _, third = world.kernel.devices.values()
    world.kernel.write(world.kernel.sysfs.unbind_file("pci", "nvme"), third.name)
    world.kernel.write(world.kernel.sysfs.override_file(third.path), "vfio-pci")
    boot_sh(world, "hold", plan)
    assert overrides(world) == ["(null)", "(null)", "vfio-pci"]
    assert first.driver == "nvme"


@pytest.mark.parametrize(("child", "held"), [(None, True), ("virtio_blk", False)])
def test_a_virtio_function_is_held_while_its_device_has_no_driver(
    world: BringupWorld, child: str | None, held: bool
) -> None:
    """In many kernels virtio's PCI driver is built in, and has its functions before anybody could hold them."""
    world.kernel.driver("pci", "virtio-pci")
    world.kernel.device("pci", "0000:00:05.0", driver="virtio-pci", node=1, ids=(0x1AF4, 0x1001))
    world.kernel.device("virtio", "virtio3", driver=child, above="0000:00:05.0")
    boot_sh(world, "hold", Plan(changes=(world.change("virtio3", "bind", "virtio_blk"),)))
    function = world.kernel.find("0000:00:05.0")
    assert (world.kernel.root.text(f"sys/{function.path}/driver_override") == LATER) is held
    unbound = world.kernel.root.text("sys/bus/pci/drivers/virtio-pci/unbind")
    assert unbound == ("0000:00:05.0" if held else "")


def test_a_release_leaves_nothing_held_and_asks_for_drivers(world: BringupWorld, plan: Plan) -> None:
    unbound(world)
    boot_sh(world, "hold", plan)
    (world.folder / "here/devices").write_text("broken\n")  # the list is not needed
    other = list(world.kernel.devices.values())[1]
    world.kernel.write(world.kernel.sysfs.override_file(other.path), "vfio-pci")  # somebody else's
    boot_sh(world, "release", plan)
    assert overrides(world) == ["", "vfio-pci", ""]
    assert (world.folder / "run/released").read_text().split()[1::3] == ["pci", "pci"]
    probed = (world.kernel.folder / "sys/bus/pci/drivers_probe").read_text().split()
    assert len(probed) == 1  # a plain file keeps the last write
    assert probed[0] in ("0000:81:00.0", "0000:81:00.2")
    assert not (world.folder / "run/holding").exists()


def test_without_python_the_script_binds(world: BringupWorld, plan: Plan) -> None:
    """On a tree no driver comes, so what was held is held again: as it was before."""
    unbound(world)
    boot_sh(world, "hold", plan)
    quiet = world.folder / "bin"
    quiet.mkdir()
    (quiet / "modprobe").symlink_to("/bin/true")
    boot_sh(world, "bring", plan, NUMAPROBE_LIMIT="20", PATH=f"{quiet}:{os.environ['PATH']}")
    assert overrides(world) == [LATER, "(null)", LATER]
    assert (world.kernel.folder / "sys/bus/pci/drivers/nvme/bind").read_text() == "0000:81:00.0\n"
    assert (world.kernel.folder / "sys/bus/pci/drivers/vfio-pci/bind").read_text() == "0000:81:00.2\n"


def test_modules_are_loaded_by_one_program(world: BringupWorld, plan: Plan) -> None:
    """A program each took longer than the limit in an emulated guest."""
    for device in world.kernel.devices.values():
        (world.kernel.folder / "sys" / device.path / "modalias").write_text("pci:v0000144Dd0000A808\n")
    loads = world.folder / "bin"
    loads.mkdir()
    (loads / "modprobe").write_text(f'#!/bin/sh\necho "$@" >>{world.folder}/loaded\n')
    (loads / "modprobe").chmod(0o755)
    boot_sh(world, "load", plan, PATH=f"{loads}:{os.environ['PATH']}")
    assert (world.folder / "loaded").read_text() == "-qa -- nvme vfio-pci pci:v0000144Dd0000A808\n"


def test_a_boot_without_our_script_is_usage(tmp_path: Path) -> None:
    assert subprocess.run(["/bin/sh", SCRIPT, "x"], capture_output=True, check=False).returncode == 2


# ---- installing ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("where", ["system", "dracut", "initramfs-tools"])
def test_what_was_installed_goes_without_a_trace(tmp_path: Path, plan: Plan, where: str) -> None:
    root = tmp_path / "image"
    (root / "etc/systemd/system").mkdir(parents=True)
    (root / "etc/fstab").write_text("")
    before = listing(root)
    settings = replace(SETTINGS, where=where, python="/etc/fstab")  # type: ignore[arg-type]
    names = install(boot_plan(plan, 30), root, settings)
    assert set(names) | {MANIFEST} <= set(listing(root))
    assert check(boot_plan(plan, 30), root, settings) == []
    uninstall(root)
    assert listing(root) == before


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "image").mkdir()
    return tmp_path / "image"


def test_an_image_is_checked(image: Path, plan: Plan) -> None:
    assert "nothing is installed" in check(None, image, SETTINGS)[0]
    install(boot_plan(plan, 30), image, SETTINGS)
    (image / "etc/numaprobe/boot.sh").write_text("exit 0\n")
    (image / "etc/udev/rules.d/40-numaprobe.rules").unlink()
    faults = check(boot_plan(plan, 30), image, SETTINGS)
    assert [fault.partition(": ")[2] for fault in faults] == [
        "is not there",
        "is not there; at boot the devices would be given back to the kernel at once",
        "is not what this plan would install",
    ]


def test_nothing_of_others_is_replaced_and_nothing_half_installed(image: Path, plan: Plan) -> None:
    (image / "etc/systemd/system").mkdir(parents=True)
    (image / "etc/systemd/system/numaprobe-hold.service").write_text("theirs")
    before = listing(image)
    with pytest.raises(InputError, match="is there already, and is not ours"):
        install(boot_plan(plan, 30), image, SETTINGS)
    assert listing(image) == before


def test_an_installation_that_breaks_off_is_taken_away(
    image: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def breaks(path: Path, text: str, mode: int) -> None:
        if len(written) == 4:
            raise OSError(28, "No space left on device")
        written.append(path)
        path.write_text(text)

    monkeypatch.setattr(installing, "write_atomically", breaks)
    with pytest.raises(RefusedError, match="No space left"):
        install(boot_plan(plan, 30), image, SETTINGS)
    assert listing(image) == []


def test_a_second_plan_is_not_put_over_the_first(image: Path, plan: Plan) -> None:
    install(boot_plan(plan, 30), image, SETTINGS)
    with pytest.raises(InputError, match="numaprobe uninstall"):
        install(boot_plan(plan, 30), image, SETTINGS)


def test_a_manifest_that_leads_elsewhere_removes_nothing(tmp_path: Path) -> None:
    (tmp_path / "image/etc/numaprobe").mkdir(parents=True)
    (tmp_path / "precious").write_text("")
    (tmp_path / "image" / MANIFEST).write_text("../precious\n")
    with pytest.raises(InputError, match="leads out of the root"):
        uninstall(tmp_path / "image")
    assert (tmp_path / "precious").exists()


def test_every_script_is_one(tmp_path: Path, plan: Plan) -> None:
    for where in ("system", "dracut", "initramfs-tools"):
        for name, text in boot_files(boot_plan(plan, 30), where, python="/bin/python3", limit_s=5).items():  # type: ignore[arg-type]
            if text.startswith("#!"):
                (tmp_path / "script").write_text(text)
                subprocess.run([text[2:].split("\n")[0], "-n", tmp_path / "script"], check=True), name


def test_units_are_what_systemd_takes(tmp_path: Path, plan: Plan) -> None:
    """By systemd's own word where it is installed; by its sections and their keys in any case."""
    contents = boot_files(boot_plan(plan, 30), "system", python="/bin/sh", limit_s=30)
    units = {Path(name).name: text for name, text in contents.items() if "systemd/system" in name}
    assert len(units) == 4
    for name, text in units.items():
        (tmp_path / name).write_text(text)
        assert text.startswith("[Unit]\nDescription=")
        assert "DefaultDependencies=no" in text
        assert "Conflicts=shutdown.target" in text
    assert "ExecStopPost=/bin/sh /etc/numaprobe/boot.sh release" in units["numaprobe-bringup.service"]
    assert "TimeoutStartSec=30" in units["numaprobe-bringup.service"]
    assert "OnActiveSec=30" in units["numaprobe-release.timer"]
    if shutil.which("systemd-analyze"):
        done = subprocess.run(
            ["systemd-analyze", "verify", *(tmp_path / name for name in units)],
            env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_a_path_with_blanks_is_one_word_to_systemd(plan: Plan) -> None:
    text = boot_files(boot_plan(plan, 30), "system", python="/opt/my 50%/py$thon", limit_s=5)
    assert (
        'ExecStart="/opt/my 50%%/py$$thon" -m numaprobe.bringup.boot.bring /etc'
        in text["etc/systemd/system/numaprobe-bringup.service"]
    )


def test_a_name_is_no_pattern_for_udev(world: BringupWorld) -> None:
    world.kernel.device("platform", "a*b|c[d]", driver="x")
    plan = boot_plan(Plan(changes=(world.change("a*b|c[d]", "rebind", "x"),)), 30)
    assert (
        'KERNEL=="a?b?c?d?"'
        in boot_files(plan, "system", python="/p", limit_s=5)["etc/udev/rules.d/40-numaprobe.rules"]
    )


def test_a_name_with_a_blank_is_refused(world: BringupWorld) -> None:
    path = world.kernel.device("platform", "a b", driver="x")
    change = Change(device=path, bus="platform", name="a b", action="bind", driver_after="x")
    with pytest.raises(InputError, match="a name with a blank"):
        device_list(boot_plan(Plan(changes=(change,)), 30))


# ---- the commands ----------------------------------------------------------------------------------------------------
@pytest.fixture
def plan_file(plan: Plan, tmp_path: Path) -> Path:
    (tmp_path / "plan.json").write_text(dump_plan(plan))
    return tmp_path / "plan.json"


def test_an_image_gets_its_files_and_loses_them(
    plan_file: Path, image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--root", str(image), "--python", "/etc/numaprobe/boot.sh"]
    assert run_command(["install", str(plan_file), *options]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert f"{image}/etc/systemd/system/numaprobe-bringup.service" in printed
    assert run_command(["install", str(plan_file), "--check", *options]) == 0
    (image / "etc/numaprobe/devices").write_text("")
    assert run_command(["install", str(plan_file), "--check", *options]) == 1
    capsys.readouterr()
    assert run_command(["uninstall", "--root", str(image)]) == 0
    assert capsys.readouterr().out.splitlines() == printed
    assert listing(image) == []


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["install"], 2, "install what?"),
        (["install", "nowhere"], 2, "nowhere: is not there"),
        (["install", "PLAN", "--initramfs", "mkinitcpio"], 2, "'mkinitcpio' makes no initramfs that is known"),
        (["install", "PLAN", "--root", "IMAGE", "--initramfs", "dracut"], 3, "nobody can see from here"),
        (["install", "PLAN", "--root", "IMAGE", "--limit", "long"], 2, "'long' is not a time"),
        (["uninstall", "--root", "IMAGE"], 2, "nothing is installed"),
        (["install", "--check", "--root", "IMAGE"], 1, ""),
    ],
)
def test_what_cannot_be_installed_is_one_line(
    plan_file: Path, image: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, text: str
) -> None:
    words = [str(plan_file) if word == "PLAN" else str(image) if word == "IMAGE" else word for word in arguments]
    assert run_command(words) == code
    printed, said = capsys.readouterr()
    assert text in said
    assert (printed + said).count("\n") == 1
    assert listing(image) == []


@pytest.mark.parametrize("where", ["/", "/image"])
def test_what_the_system_stands_on_is_refused(world: BringupWorld, where: str) -> None:
    (name,) = world.pci(1, "nvme")
    world.kernel.block(name, "nvme0n1", "259:0")
    world.kernel.mount("259:0", "/", "ext4", "/dev/nvme0n1")
    plan = Plan(changes=(world.change(name, "rebind"),))
    with pytest.raises(RefusedError, match="must leave it alone"):
        check_not_system(plan, Path(where), in_initramfs=False, sysfs=world.kernel.sysfs, senses=world.kernel)
    world.kernel.unmount("/")
    check_not_system(plan, Path("/"), in_initramfs=True, sysfs=world.kernel.sysfs, senses=world.kernel)
