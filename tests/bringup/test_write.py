"""The one place that writes: what it reaches, and what it refuses to reach."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from bringup_world import BringupWorld

from numaprobe.bringup.plan import Change
from numaprobe.bringup.write import SysfsAttributes, Write, Writer
from numaprobe.errors import InputError

NAME = "0000:81:00.0"


@pytest.fixture
def change(world: BringupWorld) -> Change:
    world.pci(1, "nvme")
    return world.change(NAME, "rebind")


def test_a_write_lands_in_its_file(world: BringupWorld, change: Change) -> None:
    writer = Writer(world.kernel.sysfs)
    writer.unbind(change, "nvme")
    writer.bind(change, "vfio-pci")
    writer.override(change, "vfio-pci")
    sys = world.kernel.folder / "sys"
    assert (sys / "bus/pci/drivers/nvme/unbind").read_text() == NAME
    assert (sys / "bus/pci/drivers/vfio-pci/bind").read_text() == NAME
    assert (sys / change.device / "driver_override").read_text().startswith("vfio-pci")
    assert [Path(write.path).name for write in writer.writes] == ["unbind", "bind", "driver_override"]


def test_no_override_is_an_empty_line(world: BringupWorld, change: Change) -> None:
    writer = Writer(world.kernel.sysfs, world.store)
    writer.override(change, "nvme")
    writer.override(change, None)
    assert world.kernel.snapshot() == {f"pci/{NAME}": ("nvme", None)}


@pytest.mark.parametrize("name", ["../../../etc/passwd", "..", "", "a/b", "a\nb", "a\0b", "x" * 256])
def test_a_name_that_is_none_is_never_written(world: BringupWorld, change: Change, name: str) -> None:
    writer = Writer(world.kernel.sysfs)
    for write in (writer.bind, writer.unbind, writer.override):
        with pytest.raises(InputError, match="cannot be the name"):
            write(change, name)
    assert writer.writes == []


def swap_directory(sys: Path, outside: Path) -> None:
    (sys / "bus/pci/drivers/nvme").rename(sys / "bus/pci/drivers/old")
    (sys / "bus/pci/drivers/nvme").symlink_to(outside)


def swap_bus(sys: Path, outside: Path) -> None:
    (outside / "drivers/nvme").mkdir(parents=True)
    (outside / "drivers/nvme/unbind").write_text("")
    (sys / "bus/pci").rename(sys / "bus/old")
    (sys / "bus/pci").symlink_to(outside)


def swap_file(sys: Path, outside: Path) -> None:
    (sys / "bus/pci/drivers/nvme/unbind").unlink()
    (sys / "bus/pci/drivers/nvme/unbind").symlink_to(outside / "unbind")


def swap_for_pipe(sys: Path, _outside: Path) -> None:
    (sys / "bus/pci/drivers/nvme/unbind").unlink()
    os.mkfifo(sys / "bus/pci/drivers/nvme/unbind")


@pytest.mark.parametrize("swap", [swap_directory, swap_bus, swap_file, swap_for_pipe])
def test_what_is_swapped_for_a_link_or_a_pipe_is_not_followed(
    world: BringupWorld, change: Change, tmp_path: Path, swap: Callable[[Path, Path], None]
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "unbind").write_text("")
    swap(world.kernel.folder / "sys", outside)
    refusals = "|".join(os.strerror(number) for number in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO))
    with pytest.raises(OSError, match=refusals):
        Writer(world.kernel.sysfs).unbind(change, "nvme")
    assert all(path.read_text() == "" for path in outside.rglob("unbind"))


def test_what_is_mounted_over_sysfs_is_not_written_to(
    world: BringupWorld, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, devices = os.fstat, iter((1, 2))
    writer = Writer(world.kernel.sysfs)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fstat", lambda fd: SimpleNamespace(st_dev=next(devices), st_mode=real(fd).st_mode))
        with pytest.raises(OSError, match="cross-device"):
            writer.unbind(change, "nvme")


@pytest.mark.parametrize("path", ["/etc/passwd", "/sys/../etc/passwd", "sys/../../etc/passwd"])
def test_nothing_outside_of_the_root_is_reached(tmp_path: Path, path: str) -> None:
    (tmp_path / "root/sys").mkdir(parents=True)
    with pytest.raises(OSError, match=r"cross-device|No such file"):
        SysfsAttributes(str(tmp_path / "root")).store(path, b"x")


def test_a_driver_that_is_not_there_is_the_kernels_answer(world: BringupWorld, change: Change) -> None:
    writer = Writer(world.kernel.sysfs)
    with pytest.raises(FileNotFoundError):
        writer.bind(change, "nosuch")
    assert writer.writes == [Write(world.kernel.sysfs.bind_file("pci", "nosuch"), NAME)]
