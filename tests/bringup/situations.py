"""Ways in which a device can be in use, each as it looks in sysfs and proc; not a test.

Each situation is a function that brings it about on the machine of ``machine``, with the device that is refused, the
codes of its reasons, and a part of what is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fake_kernel import FakeKernel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NVME, NIC, BRIDGE, GPU = "0000:81:00.0", "0000:82:00.0", "0000:80:01.0", "0000:83:00.0"


def machine(folder: Path) -> FakeKernel:
    """Return a machine: a disk behind a bridge, another one, a NIC, a GPU, and a virtio disk."""
    kernel = FakeKernel(folder)
    kernel.driver("pci", "nvme", ids=[(0x144D, 0xA808)])
    kernel.driver("pci", "vfio-pci", only_override=True)
    kernel.device("pci", BRIDGE, driver="pcieport", node=1, pci_class=0x060400, ids=(0x8086, 1))
    kernel.device("pci", NVME, driver="nvme", above=BRIDGE, node=1, iommu_group="7")
    kernel.block(NVME, "nvme0n1", "259:0", {"nvme0n1p1": "259:1", "nvme0n1p2": "259:2"})
    kernel.char(NVME, "nvme", "nvme0", "242:0")
    kernel.device("pci", "0000:84:00.0", driver="nvme", node=0)
    kernel.block("0000:84:00.0", "nvme1n1", "259:3")
    kernel.device("pci", NIC, driver="ixgbe", node=1, pci_class=0x020000, ids=(0x8086, 0x1563), iommu_group="7")
    kernel.link(NIC, "eth1")
    kernel.device("pci", GPU, driver="amdgpu", node=0, pci_class=0x030000, ids=(0x1002, 0x744C), iommu_group="8")
    kernel.char(GPU, "drm", "card0", "226:0", "dri/card0")
    kernel.device("pci", "0000:00:03.0", driver="virtio-pci", ids=(0x1AF4, 0x1042), pci_class=0x018000)
    kernel.device("virtio", "virtio1", above="0000:00:03.0", driver="virtio_blk", ids=(0x1AF4, 2))
    kernel.block("virtio1", "vda", "254:0")
    kernel.put("proc/self/stat", "4242 (numaprobe) R 4000 4242 4000 0 -1 0")
    kernel.process(4000, "bash", parent=1)
    return kernel


@dataclass(frozen=True)
class Situation:
    """A way of being in use."""

    make: Callable[[FakeKernel], object]
    #: the device that is refused
    device: str
    #: the codes of its reasons
    codes: set[str]
    #: what one of its sentences says
    words: str
    #: the device that the reasons name, if it is another
    used: str | None = None

    @property
    def name(self) -> str:
        return self.make.__name__.strip("_")


def _md(kernel: FakeKernel) -> None:
    kernel.virtual_block("md0", "9:0", on=["nvme0n1p1", "nvme1n1"], md__level="raid1")


def _lvm_on_md(kernel: FakeKernel) -> None:
    _md(kernel)
    kernel.virtual_block("dm-0", "253:0", on=["md0"], dm__name="vg-srv", dm__uuid="LVM-abc")


def mounted_disk(kernel: FakeKernel) -> None:
    kernel.mount("254:0", "/srv", "ext4", "/dev/vda")


def mounted_partition(kernel: FakeKernel) -> None:
    kernel.mount("259:2", "/mnt/with blank".replace(" ", "\\040"), "xfs", "/dev/nvme0n1p2")


def mounted_in_another_namespace(kernel: FakeKernel) -> None:
    kernel.process(77, "postgres", mount_space="mnt:[77]", exe="/usr/bin/postgres")
    kernel.mount("259:1", "/data", "ext4", "/dev/nvme0n1p1", pid=77)


def lvm_on_md_mounted(kernel: FakeKernel) -> None:
    _lvm_on_md(kernel)
    kernel.mount("253:0", "/srv", "ext4", "/dev/mapper/vg-srv")


def lvm_on_md_active(kernel: FakeKernel) -> None:
    _lvm_on_md(kernel)


def md_assembled(kernel: FakeKernel) -> None:
    _md(kernel)


def dm_crypt_mounted(kernel: FakeKernel) -> None:
    kernel.virtual_block("dm-1", "253:1", on=["nvme0n1p1"], dm__name="secret", dm__uuid="CRYPT-LUKS2-x")
    kernel.mount("253:1", "/home/x", "ext4", "/dev/mapper/secret")


def multipath(kernel: FakeKernel) -> None:
    kernel.virtual_block("dm-2", "253:2", on=["nvme0n1"], dm__name="mpatha", dm__uuid="mpath-3600")


def bcache(kernel: FakeKernel) -> None:
    kernel.virtual_block("bcache0", "250:0", on=["nvme0n1p1"])
    kernel.mount("250:0", "/srv", "xfs", "/dev/bcache0")


def loop_on_a_disk(kernel: FakeKernel) -> None:
    kernel.virtual_block("loop0", "7:0", loop__backing_file="/dev/nvme0n1p1")
    kernel.mount("7:0", "/snap/core", "squashfs", "/dev/loop0")


def loop_on_a_file(kernel: FakeKernel) -> None:
    kernel.mount("259:1", "/images", "ext4", "/dev/nvme0n1p1")
    kernel.virtual_block("loop1", "7:1", loop__backing_file="/images/root.img")
    kernel.mount("7:1", "/", "squashfs", "/dev/loop1")


def btrfs_member(kernel: FakeKernel) -> None:
    for name in ("nvme1n1", "nvme0n1"):
        kernel.link_to(f"sys/fs/btrfs/5e1f/devices/{name}", f"sys/class/block/{name}")
    kernel.mount("0:55", "/pool", "btrfs", "/dev/nvme1n1")


def bcachefs_member(kernel: FakeKernel) -> None:
    kernel.mount("0:56", "/pool", "bcachefs", "/dev/nvme1n1:/dev/nvme0n1")


def zfs_member(kernel: FakeKernel) -> None:
    kernel.holds("nvme0n1", "zfs_member 'tank'")
    kernel.claimed.add("nvme0n1")
    kernel.mount("0:57", "/tank/home", "zfs", "tank/home")


def zfs_of_the_root(kernel: FakeKernel) -> None:
    kernel.holds("nvme0n1p1", "zfs_member 'rpool'")
    kernel.mount("0:57", "/", "zfs", "rpool/ROOT")


def swap_partition(kernel: FakeKernel) -> None:
    kernel.swap("/dev/nvme0n1p2")


def swap_file(kernel: FakeKernel) -> None:
    kernel.mount("259:1", "/srv", "ext4", "/dev/nvme0n1p1")
    kernel.swap("/srv/swapfile", "file")


def swap_on_lvm_of_md(kernel: FakeKernel) -> None:
    _lvm_on_md(kernel)
    kernel.swap("/dev/dm-0")


def zram_writes_back(kernel: FakeKernel) -> None:
    kernel.virtual_block("zram0", "251:0", backing_dev="/dev/nvme0n1p2")
    kernel.swap("/dev/zram0")


def open_disk(kernel: FakeKernel) -> None:
    kernel.process(500, "fio", fds=["/dev/null", "/dev/nvme0n1", "socket:[9]"])


def open_controller(kernel: FakeKernel) -> None:
    kernel.process(501, "nvme", fds=["/dev/nvme0"])


def process_that_may_not_be_looked_into(kernel: FakeKernel) -> None:
    kernel.process(510, "container-init")
    see = kernel.root.links_or_denied
    kernel.root.links_or_denied = lambda path: None if path == "proc/510/fd" else see(path)  # type: ignore[method-assign]


def open_md(kernel: FakeKernel) -> None:
    _md(kernel)
    kernel.process(502, "dd", fds=["/dev/md0"])


def open_gpu(kernel: FakeKernel) -> None:
    kernel.process(503, "Xorg", fds=["/dev/dri/card0"])


def mapped_gpu(kernel: FakeKernel) -> None:
    kernel.process(504, "python", maps=["/usr/lib/libc.so", "/dev/dri/card0"])


def mapped_dax(kernel: FakeKernel) -> None:
    kernel.device("dax", "dax0.0", driver="device_dax", node=1)
    kernel.char("dax0.0", "dax", "dax0.0", "252:0")
    kernel.process(505, "redis", maps=["/dev/dax0.0"])


def memory_of_the_system(kernel: FakeKernel) -> None:
    kernel.device("dax", "dax1.0", driver="kmem", node=1)


def memory_of_the_system_over_cxl(kernel: FakeKernel) -> None:
    kernel.device("cxl", "mem0", driver="cxl_mem")
    kernel.device("cxl", "region0")
    kernel.device("dax", "dax2.0", above="region0", driver="kmem")


def memory_of_a_virtual_machine(kernel: FakeKernel) -> None:
    kernel.device("virtio", "virtio7", driver="virtio_mem", ids=(0x1AF4, 24))


def open_vfio_group(kernel: FakeKernel) -> None:
    kernel.char(None, "vfio", "8", "511:0", "vfio/8")
    kernel.process(506, "qemu-system-x86", fds=["/dev/vfio/8"])


def open_vfio_device_of_a_partner(kernel: FakeKernel) -> None:
    kernel.device("pci", "0000:85:00.0", driver="vfio-pci", iommu_group="8", ids=(0x1002, 0xAB30))
    kernel.char("0000:85:00.0", "vfio-dev", "vfio0", "510:0", "vfio/devices/vfio0")
    kernel.process(507, "qemu-system-x86", fds=["/dev/vfio/devices/vfio0"])


def ublk_served_from_a_disk(kernel: FakeKernel) -> None:
    kernel.virtual_block("ublkb0", "259:9")
    kernel.char(None, "ublk-char", "ublkc0", "509:0")
    kernel.process(508, "ublk", fds=["/dev/ublkc0", "/dev/nvme0n1"])
    kernel.mount("259:9", "/u", "ext4", "/dev/ublkb0")


def data_on_an_unused_disk(kernel: FakeKernel) -> None:
    kernel.holds("nvme0n1", "ext4 'backup'")


def partition_table(kernel: FakeKernel) -> None:
    kernel.udev("259:0", ID_PART_TABLE_TYPE="gpt")
    kernel.holds("nvme0n1", "a gpt partition table")


def nobody_can_read_it(kernel: FakeKernel) -> None:
    kernel.contents_of = dict.fromkeys  # type: ignore[method-assign, assignment]


def claimed_by_drbd(kernel: FakeKernel) -> None:
    kernel.claimed.add("nvme0n1")


def exported_over_fabrics(kernel: FakeKernel) -> None:
    here = "sys/kernel/config/nvmet/subsystems/nqn.x/namespaces/1"
    kernel.put(f"{here}/device_path", "/dev/nvme0n1")
    kernel.put(f"{here}/enable", "1")


def nvme_of_two_paths(kernel: FakeKernel) -> None:
    head = "sys/devices/virtual/nvme-subsystem/nvme-subsys0"
    kernel.device("pci", "0000:86:00.0", driver="nvme", node=0)
    kernel.char("0000:86:00.0", "nvme", "nvme4", "242:4")
    kernel.link_to("sys/class/nvme-subsystem/nvme-subsys0", head)
    kernel.link_to(f"{head}/nvme4", f"{kernel.root.target('sys/class/nvme/nvme4')}")
    kernel._block(head.removeprefix("sys/") + "/nvme4n1", "nvme4n1", "259:40")
    kernel.mount("259:40", "/srv", "ext4", "/dev/nvme4n1")


def link_up(kernel: FakeKernel) -> None:
    kernel.put(f"sys/{kernel.find(NIC).path}/net/eth1/flags", "0x1003")


def link_with_an_address(kernel: FakeKernel) -> None:
    kernel.addresses.setdefault("eth1", []).append("198.51.100.7")


def link_with_an_ipv6_address(kernel: FakeKernel) -> None:
    kernel.put(
        "proc/net/if_inet6", "20010db8000000000000000000000001 03 40 00 80 eth1\nfe80" + "0" * 28 + " 03 40 20 80 eth1"
    )


def link_with_the_default_route(kernel: FakeKernel) -> None:
    header = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT"
    kernel.put("proc/net/route", f"{header}\neth1 00000000 010200C0 0003 0 0 0 00000000 0 0 0")


def link_with_an_ipv6_route(kernel: FakeKernel) -> None:
    zero, local = "0" * 32, "fe80" + "0" * 28
    lines = [f"{zero} 00 {zero} 00 {local} 400 1 0 3 eth1", f"{local} 40 {zero} 00 {zero} 100 1 0 1 eth1"]
    kernel.put("proc/net/ipv6_route", "\n".join(lines))


def link_in_a_bond(kernel: FakeKernel) -> None:
    kernel.link(None, "bond0", up=True, lower=["eth1"])


def link_in_a_bridge_with_an_address(kernel: FakeKernel) -> None:
    kernel.link(None, "br0", addresses=["192.0.2.9"])
    kernel.link_to(f"sys/{kernel.find(NIC).path}/net/eth1/master", "sys/devices/virtual/net/br0")


def link_in_another_namespace(kernel: FakeKernel) -> None:
    for path in (f"sys/{kernel.find(NIC).path}/net/eth1", "sys/class/net/eth1"):
        kernel._drop(path)


def login_by_ssh(kernel: FakeKernel) -> None:
    kernel.addresses.setdefault("eth1", []).append("192.0.2.9")
    kernel.process(4000, "bash", parent=3999, environ={"SSH_CONNECTION": "203.0.113.5 50000 192.0.2.9 22"})


def login_by_ssh_through_a_bond_and_sudo(kernel: FakeKernel) -> None:
    kernel.link(None, "bond0", lower=["eth1"], addresses=["192.0.2.9"])
    kernel.process(300, "sshd-session", fds=["socket:[4711]"], parent=1)
    header = "sl local_address rem_address st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode"
    line = "0: 090200C0:0016 057100CB:C350 01 00000000:00000000 02:0 00000000 0 0 4711 2"
    kernel.put("proc/net/tcp", f"{header}\n{line}")


def login_by_a_serial_line(kernel: FakeKernel) -> None:
    kernel.device("platform", "serial8250", driver="serial8250")
    kernel.char("serial8250", "tty", "ttyS3", "4:67")
    kernel.put("proc/self/stat", f"4242 (numaprobe) R 4000 4242 4000 {4 << 8 | 67} -1 0")


def console_of_the_kernel(kernel: FakeKernel) -> None:
    kernel.device("platform", "serial8250", driver="serial8250")
    kernel.char("serial8250", "tty", "ttyS0", "4:64")
    kernel.put("sys/class/tty/console/active", "tty0 ttyS0")


def console_on_a_frame_buffer(kernel: FakeKernel) -> None:
    kernel.char(GPU, "graphics", "fb0", "29:0")
    kernel.put("sys/class/vtconsole/vtcon1/name", "(M) frame buffer device")
    kernel.put("sys/class/vtconsole/vtcon1/bind", "1")


def root_file_system(kernel: FakeKernel) -> None:
    kernel.mount("259:2", "/", "ext4", "/dev/nvme0n1p2")


def root_by_lvm_of_md(kernel: FakeKernel) -> None:
    _lvm_on_md(kernel)
    kernel.mount("253:0", "/", "ext4", "/dev/mapper/vg-root")


def root_by_an_overlay(kernel: FakeKernel) -> None:
    kernel.mount("259:1", "/media/live", "ext4", "/dev/nvme0n1p1")
    kernel.mount("0:70", "/", "overlay", "overlay", "rw,lowerdir=/media/live/low,upperdir=/media/live/up,workdir=/x")


def boot_partition(kernel: FakeKernel) -> None:
    kernel.mount("259:1", "/boot/efi", "vfat", "/dev/nvme0n1p1")


def running_program(kernel: FakeKernel) -> None:
    kernel.mount("259:1", "/opt", "ext4", "/dev/nvme0n1p1")
    kernel.process(600, "app", exe="/opt/bin/app")


def shared_folder_as_root(kernel: FakeKernel) -> None:
    kernel.device("virtio", "virtio9", driver="9pnet_virtio", ids=(0x1AF4, 9))
    kernel.put(f"sys/{kernel.find('virtio9').path}/mount_tag", "ROOTFS\0")
    kernel.mount("0:20", "/", "9p", "ROOTFS")


def root_over_nfs(kernel: FakeKernel) -> None:
    link_with_the_default_route(kernel)
    kernel.mount("0:90", "/", "nfs4", "192.0.2.1:/root")


def dma_channel(kernel: FakeKernel) -> None:
    kernel.device("pci", "0000:00:04.0", driver="ioatdma", ids=(0x8086, 0x6F20), pci_class=0x088000)
    here = f"sys/{kernel.find('0000:00:04.0').path}/dma/dma0chan0"
    kernel.put(f"{here}/in_use", "1")
    kernel.link_to(f"{here}/subsystem", "sys/class/dma")
    kernel.link_to("sys/class/dma/dma0chan0", here)


def supplier_with_an_active_consumer(kernel: FakeKernel) -> None:
    kernel.driver("platform", "clk")
    kernel.device("platform", "clock", driver="clk")
    kernel.device("platform", "uart", driver="serial")
    kernel.devlink("clock", "uart")


def supplier_linked_before_its_consumer_was_registered(kernel: FakeKernel) -> None:
    kernel.driver("platform", "clk")
    kernel.device("platform", "clock", driver="clk")
    kernel.device("platform", "uart--0", driver="serial")
    kernel.devlink("clock", "uart--0", early=True)


def supplier_of_a_mounted_disk(kernel: FakeKernel) -> None:
    kernel.device("platform", "clock", driver="clk")
    kernel.devlink("clock", NVME)
    kernel.mount("259:1", "/srv", "ext4", "/dev/nvme0n1p1")


def guest_that_talks_to_its_host(kernel: FakeKernel) -> None:
    kernel.device("virtio", "virtio3", driver="vmw_vsock_virtio_transport", ids=(0x1AF4, 19))
    kernel.process(800, "agent", fds=["socket:[55]"])
    kernel.process(801, "sshd", fds=["/dev/null", "socket:[56]"])
    kernel.vsocks |= {(800, "0"), (801, "1")}


def function_with_vfs(kernel: FakeKernel) -> None:
    kernel.device("pci", "0000:82:10.0", driver="ixgbevf", ids=(0x8086, 0x1565))
    kernel.put(f"sys/{kernel.find(NIC).path}/sriov_numvfs", "1")
    kernel.link_to(f"sys/{kernel.find(NIC).path}/virtfn0", f"sys/{kernel.find('0000:82:10.0').path}")


def vf_in_a_guest(kernel: FakeKernel) -> None:
    kernel.device("pci", "0000:82:10.0", driver="vfio-pci", ids=(0x8086, 0x1565), iommu_group="21")
    kernel.put(f"sys/{kernel.find(NIC).path}/sriov_numvfs", "1")
    kernel.link_to(f"sys/{kernel.find(NIC).path}/virtfn0", f"sys/{kernel.find('0000:82:10.0').path}")
    kernel.char(None, "vfio", "21", "511:21", "vfio/21")
    kernel.process(700, "qemu-system-x86", fds=["/dev/vfio/21"])


def bridge_above_a_mounted_disk(kernel: FakeKernel) -> None:
    kernel.mount("259:1", "/srv", "ext4", "/dev/nvme0n1p1")


def virtio_function_of_a_mounted_disk(kernel: FakeKernel) -> None:
    kernel.mount("254:0", "/srv", "ext4", "/dev/vda")


SITUATIONS = [
    Situation(mounted_disk, "virtio1", {"mounted"}, "vda is mounted on /srv (ext4)"),
    Situation(mounted_partition, NVME, {"mounted"}, "nvme0n1p2 is mounted on /mnt/with blank (xfs)"),
    Situation(mounted_in_another_namespace, NVME, {"mounted"}, "on /data (ext4) in another mount namespace"),
    Situation(
        lvm_on_md_mounted,
        NVME,
        {"mounted", "holder"},
        "nvme0n1p1 > md0 (raid1) > dm-0 (vg-srv, LVM) is mounted on /srv",
    ),
    Situation(lvm_on_md_mounted, "0000:84:00.0", {"mounted", "holder"}, "nvme1n1 > md0 (raid1) > dm-0 (vg-srv, LVM)"),
    Situation(lvm_on_md_active, NVME, {"holder"}, "nvme0n1p1 > md0 (raid1) > dm-0 (vg-srv, LVM)"),
    Situation(md_assembled, "0000:84:00.0", {"holder"}, "nvme1n1 > md0 (raid1)"),
    Situation(dm_crypt_mounted, NVME, {"mounted", "holder"}, "dm-1 (secret, dm-crypt) is mounted on /home/x"),
    Situation(multipath, NVME, {"holder"}, "nvme0n1 > dm-2 (mpatha, multipath)"),
    Situation(bcache, NVME, {"mounted", "holder"}, "nvme0n1p1 > bcache0 is mounted on /srv"),
    Situation(loop_on_a_disk, NVME, {"mounted", "holder"}, "nvme0n1p1 > loop0 is mounted on /snap/core"),
    Situation(loop_on_a_file, NVME, {"system", "mounted", "holder"}, "nvme0n1p1 > loop1 holds /"),
    Situation(btrfs_member, NVME, {"mounted"}, "nvme0n1 is mounted on /pool (btrfs)"),
    Situation(bcachefs_member, NVME, {"mounted"}, "nvme0n1 is mounted on /pool (bcachefs)"),
    Situation(zfs_member, NVME, {"mounted"}, "nvme0n1 is a part of the ZFS pool 'tank', mounted on /tank/home"),
    Situation(zfs_of_the_root, NVME, {"system"}, "nvme0n1p1 is a part of the ZFS pool 'rpool', mounted on /"),
    Situation(swap_partition, NVME, {"swap"}, "nvme0n1p2 holds the swap /dev/nvme0n1p2"),
    Situation(swap_file, NVME, {"swap", "mounted"}, "nvme0n1p1 holds the swap /srv/swapfile"),
    Situation(swap_on_lvm_of_md, "0000:84:00.0", {"swap", "holder"}, "dm-0 (vg-srv, LVM) holds the swap /dev/dm-0"),
    Situation(zram_writes_back, NVME, {"swap"}, "nvme0n1p2 holds the swap /dev/zram0, which writes back to it"),
    Situation(open_disk, NVME, {"open"}, "nvme0n1 is open in fio (pid 500)"),
    Situation(open_controller, NVME, {"open"}, "nvme0 is open in nvme (pid 501)"),
    Situation(process_that_may_not_be_looked_into, NVME, {"unseen"}, "what container-init (pid 510) may have open"),
    Situation(open_md, NVME, {"open", "holder"}, "nvme0n1p1 > md0 (raid1) is open in dd (pid 502)"),
    Situation(open_gpu, GPU, {"open"}, "card0 is open in Xorg (pid 503)"),
    Situation(mapped_gpu, GPU, {"open"}, "card0 is mapped in python (pid 504)"),
    Situation(mapped_dax, "dax0.0", {"open"}, "dax0.0 is mapped in redis (pid 505)"),
    Situation(memory_of_the_system, "dax1.0", {"memory"}, "dax1.0 is memory of the system's"),
    Situation(memory_of_the_system_over_cxl, "mem0", {"memory"}, "dax2.0 is memory of the system's over CXL"),
    Situation(memory_of_a_virtual_machine, "virtio7", {"memory"}, "virtio7 is memory of the system's (virtio_mem)"),
    Situation(open_vfio_group, GPU, {"open"}, "vfio/8 is open in qemu-system-x86 (pid 506)"),
    Situation(
        open_vfio_device_of_a_partner, GPU, {"open"}, "vfio0 is open in qemu-system-x86 (pid 507)", "pci/0000:85:00.0"
    ),
    Situation(ublk_served_from_a_disk, NVME, {"open"}, "nvme0n1 is open in ublk (pid 508)"),
    Situation(data_on_an_unused_disk, NVME, {"data"}, "nvme0n1 holds ext4 'backup'"),
    Situation(partition_table, NVME, {"data"}, "nvme0n1 holds a gpt partition table"),
    Situation(nobody_can_read_it, NVME, {"unknown-data"}, "nobody could say what nvme0n1 holds"),
    Situation(claimed_by_drbd, NVME, {"claimed"}, "the kernel holds nvme0n1 exclusively"),
    Situation(exported_over_fabrics, NVME, {"holder"}, "nvme0n1 is exported over NVMe-oF as nqn.x"),
    Situation(nvme_of_two_paths, "0000:86:00.0", {"mounted"}, "nvme4n1 is mounted on /srv"),
    Situation(link_up, NIC, {"link-up"}, "eth1 is up"),
    Situation(link_with_an_address, NIC, {"address"}, "eth1 has 198.51.100.7"),
    Situation(link_with_an_ipv6_address, NIC, {"address"}, "eth1 has 2001:db8::1"),
    Situation(link_with_the_default_route, NIC, {"route"}, "the default route leads over eth1"),
    Situation(link_with_an_ipv6_route, NIC, {"route"}, "the default route leads over eth1"),
    Situation(link_in_a_bond, NIC, {"master", "link-up"}, "eth1 is part of bond0; "[:-2]),
    Situation(link_in_a_bridge_with_an_address, NIC, {"master", "address"}, "br0 (on eth1) has 192.0.2.9"),
    Situation(link_in_another_namespace, NIC, {"namespace"}, "is in another network namespace"),
    Situation(login_by_ssh, NIC, {"login", "address"}, "a login comes over eth1"),
    Situation(
        login_by_ssh_through_a_bond_and_sudo, NIC, {"login", "master", "address"}, "comes over bond0, which is on eth1"
    ),
    Situation(login_by_a_serial_line, "serial8250", {"login"}, "somebody is logged in on ttyS3"),
    Situation(console_of_the_kernel, "serial8250", {"console"}, "the kernel's console is on ttyS0"),
    Situation(console_on_a_frame_buffer, GPU, {"console"}, "the kernel's console is on fb0"),
    Situation(root_file_system, NVME, {"system", "mounted"}, "nvme0n1p2 holds /"),
    Situation(root_by_lvm_of_md, "0000:84:00.0", {"system", "mounted", "holder"}, "dm-0 (vg-srv, LVM) holds /"),
    Situation(root_by_an_overlay, NVME, {"system", "mounted"}, "nvme0n1p1 holds /"),
    Situation(boot_partition, NVME, {"system", "mounted"}, "nvme0n1p1 holds /boot/efi"),
    Situation(running_program, NVME, {"system", "mounted"}, "nvme0n1p1 holds /opt/bin/app, which runs (pid 600)"),
    Situation(shared_folder_as_root, "virtio9", {"system"}, "the shared folder 'ROOTFS' holds /"),
    Situation(root_over_nfs, NIC, {"system", "route"}, "the running system reaches its files over eth1"),
    Situation(dma_channel, "0000:00:04.0", {"dma"}, "dma0chan0 has a client in the kernel"),
    Situation(supplier_with_an_active_consumer, "clock", {"consumers"}, "uart needs it and is bound"),
    Situation(
        supplier_linked_before_its_consumer_was_registered, "clock", {"consumers"}, "uart--0 needs it and is bound"
    ),
    Situation(supplier_of_a_mounted_disk, "clock", {"consumers", "mounted"}, "nvme0n1p1 is mounted on /srv"),
    Situation(
        guest_that_talks_to_its_host, "virtio3", {"login", "open"}, "a socket of sshd (pid 801) goes to the host"
    ),
    Situation(function_with_vfs, NIC, {"vfs"}, "1 virtual functions are enabled"),
    Situation(vf_in_a_guest, NIC, {"vfs", "open"}, "vfio/21 is open in qemu-system-x86 (pid 700)"),
    Situation(bridge_above_a_mounted_disk, BRIDGE, {"mounted"}, "nvme0n1p1 is mounted on /srv", f"pci/{NVME}"),
    Situation(
        virtio_function_of_a_mounted_disk, "0000:00:03.0", {"mounted"}, "vda is mounted on /srv", "virtio/virtio1"
    ),
]
