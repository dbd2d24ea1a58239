"""Devices as a tree shows them, the door's ends, and the fake kernel that other tests rely on."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_kernel import FakeKernel

from numaprobe.bringup.root import Root
from numaprobe.errors import InputError, MissingInterfaceError, NotPermittedError


@pytest.fixture
def kernel(tmp_path: Path) -> FakeKernel:
    made = FakeKernel(tmp_path)
    made.driver("pci", "nvme", ids=[(0x144D, 0xA808)])
    made.driver("pci", "vfio-pci", only_override=True)
    made.device("pci", "0000:80:01.0", driver="pcieport", node=1, pci_class=0x060400, ids=(0x8086, 0x1))
    made.device("pci", "0000:81:00.0", driver="nvme", above="0000:80:01.0", iommu_group="7")
    made.block("0000:81:00.0", "nvme0n1", "259:0", {"nvme0n1p1": "259:1"})
    return made


def test_a_device_is_read_whole(kernel: FakeKernel) -> None:
    found = kernel.sysfs.device("pci", "0000:81:00.0")
    assert found is not None
    assert found.path == "devices/pci0000:80/0000:80:01.0/0000:81:00.0"
    assert (found.driver, found.node, found.iommu_group, found.has_override) == ("nvme", 1, "7", True)
    assert (found.vendor, found.product, found.pci_class, found.override) == (0x144D, 0xA808, 0x010802, None)
    assert kernel.sysfs.at(found.path) == found
    assert found in list(kernel.sysfs.devices())
    assert kernel.sysfs.group_members("7") == [found.path]


def test_a_node_that_nobody_tells_stays_unknown(kernel: FakeKernel) -> None:
    kernel.device("pci", "0000:01:00.0", node=-1)
    kernel.device("platform", "serial8250")
    nodes = [kernel.sysfs.device(*key).node for key in (("pci", "0000:01:00.0"), ("platform", "serial8250"))]  # type: ignore[union-attr]
    assert nodes == [None, None]
    assert not kernel.sysfs.node_cpus(None)
    assert str(kernel.sysfs.node_cpus(1)) == "4-7"


@pytest.mark.parametrize("name", ["../../../etc/passwd", "..", "a/b", "", "x\0y"])
def test_no_name_becomes_a_path(kernel: FakeKernel, name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name"):
        kernel.sysfs.device("pci", name)
    with pytest.raises(InputError, match="cannot be the name"):
        kernel.sysfs.unbind_file("pci", name)
    with pytest.raises(InputError, match="cannot be the name"):
        kernel.sysfs.override_file(f"devices/../{name}")


def test_a_link_out_of_the_tree_is_no_device(kernel: FakeKernel) -> None:
    (kernel.folder / "sys/bus/pci/devices/0000:99:00.0").symlink_to("/etc")
    (kernel.folder / "sys/bus/pci/devices/0000:98:00.0").symlink_to("../../../../../../../../../../etc")
    (kernel.folder / "sys/bus/pci/devices/0000:97:00.0").symlink_to("../../../../proc")
    names = ("0000:99:00.0", "0000:98:00.0", "0000:97:00.0")
    assert [kernel.sysfs.device("pci", name) for name in names] == [None, None, None]


def test_a_folder_without_sysfs_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(MissingInterfaceError, match="is no sysfs; mount it"):
        Root(tmp_path).must_be_sysfs()


@pytest.fixture
def live(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> Root:
    """A tree that is taken for the running machine's, as root sees it."""
    monkeypatch.setattr(Root, "is_live", True)
    monkeypatch.setattr("numaprobe.bringup.root._filesystem_type", lambda path: 0x62656572)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return kernel.root


def test_a_sysfs_that_can_be_written_is_accepted(live: Root) -> None:
    live.must_be_sysfs()


def test_a_foreign_file_system_at_sys_is_refused(live: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numaprobe.bringup.root._filesystem_type", lambda path: 0x01021994)
    with pytest.raises(MissingInterfaceError, match="is not the kernel's sysfs but another file system"):
        live.must_have_sysfs()


def test_a_sysfs_that_is_read_only_is_refused(live: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.statvfs", lambda path: SimpleNamespace(f_flag=os.ST_RDONLY))
    live.must_have_sysfs()
    with pytest.raises(NotPermittedError, match="mounted read-only, as in a container"):
        live.must_be_sysfs()


def test_only_root_may_write(live: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(NotPermittedError, match="run this as root"):
        live.must_be_sysfs()


def test_a_loop_of_links_and_a_pipe_are_nothing(kernel: FakeKernel) -> None:
    (kernel.folder / "sys/loop").symlink_to("loop")
    assert kernel.root.text("sys/loop") is None
    assert kernel.root.names("sys/loop") == []


# --- the fake kernel itself, held to drivers/base/bus.c


def refused(kernel: FakeKernel, path: str, text: str) -> str:
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        kernel.write(path, text)
    return errno.errorcode[caught.value.errno or 0]


def test_the_fake_kernel_binds_and_unbinds_with_the_kernels_errnos(kernel: FakeKernel) -> None:
    bind, unbind = kernel.sysfs.bind_file("pci", "nvme"), kernel.sysfs.unbind_file("pci", "nvme")
    assert refused(kernel, bind, "0000:81:00.0") == "EBUSY"
    kernel.write(unbind, "0000:81:00.0\n")
    assert kernel.driver_of("0000:81:00.0") is None
    assert not (kernel.folder / "sys/class/block/nvme0n1p1").exists()
    assert refused(kernel, unbind, "0000:81:00.0") == "ENODEV"
    assert refused(kernel, bind, "0000:ff:00.0") == "ENODEV"
    kernel.fails["0000:81:00.0"] = errno.EIO
    assert refused(kernel, bind, "0000:81:00.0") == "EIO"
    kernel.fails.clear()
    kernel.write(bind, "0000:81:00.0")
    assert kernel.driver_of("0000:81:00.0") == "nvme"
    assert (kernel.folder / "sys/class/block/nvme0n1p1").exists()


def test_the_fake_kernel_follows_an_override(kernel: FakeKernel) -> None:
    path = kernel.find("0000:81:00.0").path
    kernel.write(kernel.sysfs.unbind_file("pci", "nvme"), "0000:81:00.0")
    kernel.write(kernel.sysfs.override_file(path), "vfio-pci\n")
    assert refused(kernel, kernel.sysfs.bind_file("pci", "nvme"), "0000:81:00.0") == "ENODEV"
    kernel.write(kernel.root.at("sys/bus/pci/drivers_probe"), "0000:81:00.0")
    assert kernel.driver_of("0000:81:00.0") == "vfio-pci"
    kernel.write(kernel.sysfs.override_file(path), "\n")
    found = kernel.sysfs.device("pci", "0000:81:00.0")
    assert found is not None
    assert (found.driver, found.override) == ("vfio-pci", None)


def test_the_fake_kernel_takes_no_other_write(kernel: FakeKernel) -> None:
    for name in ("proc/swaps", "sys/class/block/nvme0n1/queue", "../outside", "sys/bus/pci/rescan"):
        assert refused(kernel, str(kernel.folder / name), "1") == "EACCES"
    assert len(kernel.strays) == 4


def test_a_device_of_the_fake_kernel_vanishes_with_what_is_below(kernel: FakeKernel) -> None:
    kernel.remove("0000:80:01.0")
    assert list(kernel.sysfs.devices(["pci"])) == []
    assert refused(kernel, kernel.sysfs.bind_file("pci", "nvme"), "0000:81:00.0") == "ENODEV"
