"""What looking costs: ``status`` of 10,000 devices and a plan for 1,000, on a sysfs tree as large as that.

The tree is a machine of two nodes with 10,000 NVMe drives, each with its disk; one in three is mounted, and 300
processes have three files open each. The times are CPU time (user and system) of the command as a process, its start
included. The least work that such a status can be stands beside it: reading driver, node, vendor and class of each
device and nothing else.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from numaprobe.topology import DeviceInfo, load_topology, write_sysfs

if TYPE_CHECKING:
    from numaprobe.topology import Topology

STATUS = int(os.environ.get("BENCH_STATUS_DEVICES", "10000"))
PLANNED = 1000
PROCESSES = 300
ROUNDS = 3


def machine(count: int) -> Topology:
    base = load_topology("2 nodes x 8 cores")
    devices = tuple(
        DeviceInfo(
            name=f"{index >> 13:04x}:{index >> 5 & 0xFF:02x}:{index & 0x1F:02x}.0",
            bus="pci",
            node=index % 2,
            parent=None,
            driver="nvme",
            modalias=f"pci:v0000144Dd0000A808sv0sd0bc01sc08i02-{index}",
            pci_class=0x010802,
            physfn=None,
        )
        for index in range(count)
    )
    return replace(base, devices=devices)


def link(place: Path, target: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(os.path.relpath(target, place.parent))


def with_disks(top: Path) -> list[str]:
    """Give each drive a disk; return the lines of a mount for one in three."""
    mounts = ["20 1 0:1 / / rw - tmpfs none rw"]
    for index, entry in enumerate(sorted((top / "bus/pci/devices").iterdir())):
        device = Path(os.path.realpath(entry))
        disk = device / f"nvme/nvme{index}/nvme{index}n1"
        number = f"{259 + index // 100000}:{index}"
        (disk / "holders").mkdir(parents=True)
        (disk / "dev").write_text(f"{number}\n")
        (disk / "uevent").write_text(f"DEVNAME={disk.name}\n")
        link(disk / "subsystem", top / "class/block")
        link(top / f"class/block/{disk.name}", disk)
        link(top / f"dev/block/{number}", disk)
        data = top.parent / f"run/udev/data/b{number}"
        data.parent.mkdir(parents=True, exist_ok=True)
        data.write_text("E:ID_FS_TYPE=ext4\n" if index % 5 == 1 else "E:DEVTYPE=disk\n")
        if index % 3 == 0:
            mounts.append(f"{30 + index} 20 {number} / /srv/{index} rw - ext4 /dev/{disk.name} rw")
    return mounts


def with_processes(proc: Path, mounts: list[str]) -> None:
    for pid in (*range(1, PROCESSES), "self"):
        here = proc / str(pid)
        (here / "fd").mkdir(parents=True)
        (here / "stat").write_text(f"{pid if pid != 'self' else 9} (task) S 1 1 1 0 -1 0 0 0\n")
        for descriptor, target in enumerate(("/dev/null", "socket:[1]", "/var/log/messages")):
            (here / "fd" / str(descriptor)).symlink_to(target)
    (proc / "self/mountinfo").write_text("\n".join(mounts) + "\n")
    (proc / "swaps").write_text("Filename Type Size Used Priority\n")


def cpu_seconds(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def least(top: Path) -> float:
    """Read what a row needs at least, in this process."""
    begun = time.process_time()
    for entry in sorted((top / "bus/pci/devices").iterdir()):
        (entry / "driver").readlink()
        for name in ("numa_node", "vendor", "device", "class"):
            (entry / name).read_bytes()
    return time.process_time() - begun


def planning(root: Path) -> float:
    from numaprobe.bringup.guard import Guard
    from numaprobe.bringup.planner import Wish, make_plan
    from numaprobe.bringup.root import Root
    from numaprobe.bringup.select import select
    from numaprobe.bringup.senses import RecordedSenses
    from numaprobe.bringup.sysfs import Sysfs

    begun = time.process_time()
    sysfs = Sysfs(Root(root))
    guard = Guard(sysfs, RecordedSenses())
    plan = make_plan(sysfs, guard, select(sysfs, ["driver=nvme"]), Wish(action="unbind"))
    if len(plan.changes) + len(plan.skipped) != PLANNED:
        sys.exit(f"bench: {PLANNED} devices were chosen, and the plan has {len(plan.changes)} + {len(plan.skipped)}")
    return time.process_time() - begun


def main() -> None:
    for count, what in ((STATUS, "status"), (PLANNED, "plan")):
        with tempfile.TemporaryDirectory(prefix="numaprobe-bench-") as folder:
            top = write_sysfs(machine(count), Path(folder))
            with_processes(top.parent / "proc", with_disks(top))
            if what == "status":
                command = [sys.executable, "-m", "numaprobe", "status", "--root", folder, "--json"]
                ours = min(cpu_seconds(command) for _ in range(ROUNDS))
                table = min(cpu_seconds([*command[:-1]]) for _ in range(ROUNDS))
                floor = min(least(top) for _ in range(ROUNDS))
                print(f"status of {count} devices: {ours:.2f} s of CPU as JSON, {table:.2f} s as a table (budget 3 s)")
                print(f"  reading five files of each and no more: {floor:.2f} s, ratio {ours / floor:.1f}")
            else:
                ours = min(planning(Path(folder)) for _ in range(ROUNDS))
                print(f"a plan for {count} devices: {ours:.2f} s of CPU (planned and bound: budget 2 s)")


if __name__ == "__main__":
    main()
