"""``python -m bench.boot_guest [CASE…]``: a Debian boots with an installed plan, in QEMU.

A tree that debootstrap makes (as root) gets numaprobe, a plan for four NVMe drives and two virtio disks on two nodes,
and a program that reports when the boot goes on. Its files are listed before the plan is installed, and after it is
taken away. Then, a boot each, as far as udev and our units:

``good``       the plan as it is
``device``     it names a device that is not there
``driver``     it names a disk that never answers (a byte a second), so that its driver hangs
``venv``       the Python that should bind is gone
``package``    the Python is there, and nothing of ours
``hangs``      the Python does not come back
``initramfs``  installed for initramfs-tools: before / is mounted, where there is no Python and no systemd

In each all devices must be up in the end, nothing held, and the boot must go on within the limit; where something of
ours binds, each probe must be on its device's node: by the kernel's own word, two kprobes set on its command line.

``BOOT_FOLDER``: where all is kept; a tree in it is used again. ``BOOT_KERNEL``: 7.3. ``BOOT_LIMIT``: the plan's limit
in seconds, 60; an emulated machine on a busy computer needs more.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

import numaprobe
from numaprobe.bringup.boot.install import Settings, check, install, uninstall
from numaprobe.bringup.boot.plan import boot_plan, device_list, module_list
from numaprobe.bringup.plan import Change, Plan, dump_plan
from numaprobe.cpuset import CpuSet
from numaprobe.kernel.lab.tools import find_kernel

HERE: Final = Path(__file__).parent
SUITE: Final = "trixie"
PACKAGES: Final = "udev,systemd-sysv,initramfs-tools,kmod,util-linux,zstd,cpio,python3"
#: seconds after which a boot is as without us; what an emulated machine may need beyond them
LIMIT, SPARE = int(os.environ.get("BOOT_LIMIT", "60")), 30
#: first bus of each node's host bridge; on each: NVMe, NVMe, virtio disk
BUSES: Final = (0x40, 0x80)
CASES: Final = ("good", "device", "driver", "venv", "package", "hangs", "initramfs")
#: cases in which something of ours binds
OURS: Final = ("good", "device", "driver", "initramfs")
#: of a boot what concerns devices; the rest would take an emulated machine minutes
TARGET: Final = (
    *("systemd-udevd.service", "systemd-udev-trigger.service", "boot-case.service", "boot-report.service"),
    *("numaprobe-hold.service", "numaprobe-bringup.service", "numaprobe-release.timer"),
)
PROBES: Final = "p:bound,really_probe,dev=%di:x64,name=+0(+0(%di)):string;p:local,local_pci_probe,dev=+8(%di):x64"
_EVENT: Final = re.compile(r"\[(\d+)\].* (bound|local): .* dev=0x([0-9a-f]+)(?: name=\"(.*)\")?")


# ---- plans -----------------------------------------------------------------------------------------------------------
def _change(node: int, slot: int) -> Change:
    bus = BUSES[node]
    name, above = f"0000:{bus + slot + 1:02x}:00.0", f"devices/pci0000:{bus:02x}/0000:{bus:02x}:{slot:02x}.0"
    cpus = CpuSet(1 << node)
    if slot < 2:
        return Change(
            device=f"{above}/{name}", bus="pci", name=name, action="bind", driver_after="nvme", node=node, cpus=cpus
        )
    return Change(
        device=f"{above}/{name}/virtio{node}",
        bus="virtio",
        name=f"virtio{node}",
        action="bind",
        driver_after="virtio_blk",
        node=node,
        cpus=cpus,
    )


def plans() -> dict[str, Plan]:
    """Return the plans of the cases that have one of their own."""
    changes = tuple(_change(node, slot) for node in range(2) for slot in range(3))
    good = boot_plan(Plan(changes=changes, jobs=8), LIMIT)
    gone = replace(good.changes[0], device="devices/pci0000:fe/0000:fe:00.0", name="0000:fe:00.0")
    slow = replace(
        changes[-1], device="devices/pci0000:00/0000:00:1c.0/virtio9", name="virtio9", node=None, cpus=CpuSet()
    )
    return {
        "good": good,
        "device": replace(good, changes=(*good.changes, gone)),
        "driver": boot_plan(Plan(changes=(slow, *changes), jobs=8), LIMIT),
    }


# ---- the image -------------------------------------------------------------------------------------------------------
def _run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make_tree(folder: Path, release: str, modules: Path) -> Path:
    """Return a tree with a Debian, this kernel's modules and numaprobe."""
    tree = folder / "tree"
    if not (tree / "usr/bin/python3").exists():
        _run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, tree)
    if not (tree / "usr/lib/modules" / release).exists():
        shutil.copytree(modules, tree / "usr/lib/modules" / release, symlinks=True)
        _run("chroot", tree, "depmod", release)
    ours = tree / "opt/numaprobe"
    shutil.rmtree(ours, ignore_errors=True)
    package = Path(numaprobe.__file__).parent
    shutil.copytree(package, ours / "src/numaprobe", ignore=shutil.ignore_patterns("__pycache__"))
    (ours / "python").write_text('#!/bin/sh\nPYTHONPATH=/opt/numaprobe/src exec /usr/bin/python3 "$@"\n')
    (ours / "python").chmod(0o755)
    _run("chroot", tree, "python3", "-m", "compileall", "-q", "/opt/numaprobe/src")
    return tree


def listing(tree: Path) -> set[tuple[str, int, bytes]]:
    """Return each file of a tree, but for our own: name, mode, contents."""
    found = set()
    for top in ("etc", "usr/lib/systemd", "usr/lib/udev", "usr/lib/dracut", "usr/share/initramfs-tools", "var/lib"):
        for path in (tree / top).rglob("*"):
            data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            found.add((str(path), path.lstat().st_mode, data))
    return found


def installed(tree: Path, where: str) -> list[str]:
    """Install, take away, install again; return what is not as it should be."""
    plan, settings = plans()["good"], Settings(where=where, python="/opt/numaprobe/python", limit_s=LIMIT)  # type: ignore[arg-type]
    before = listing(tree)
    install(plan, tree, settings)
    faults = [f"{where}: {fault}" for fault in check(plan, tree, settings)]
    uninstall(tree)
    after = listing(tree)
    print(f"{where}: {len(before)} files before, {len(before ^ after)} of them otherwise after install and uninstall")
    faults += [f"{where}: uninstall left {name}" for name, _, _ in before ^ after]
    install(plan, tree, settings)
    return faults


def with_cases(tree: Path) -> None:
    """Add what makes the cases, and what reports."""
    cases = tree / "etc/boot-cases"
    for name, plan in plans().items():
        (cases / name).mkdir(parents=True)
        for file, text in (
            ("plan.json", dump_plan(plan)),
            ("devices", device_list(plan)),
            ("modules", module_list(plan)),
        ):
            (cases / name / file).write_text(text)
    for script in ("case.sh", "report.sh"):
        shutil.copy(HERE / script, cases / script)
        (cases / script).chmod(0o755)
    units = tree / "etc/systemd/system"
    orders = {
        "case": "Before=numaprobe-hold.service systemd-udev-trigger.service",
        "report": "After=local-fs-pre.target",
    }
    for name, order in orders.items():
        unit = f"[Unit]\nDefaultDependencies=no\n{order}\n[Service]\nType=oneshot\nTimeoutStartSec=infinity\n"
        (units / f"boot-{name}.service").write_text(f"{unit}ExecStart=/etc/boot-cases/{name}.sh\n")
    (units / "boot-test.target").write_text(f"[Unit]\nDefaultDependencies=no\nWants={' '.join(TARGET)}\n")
    said = units / "numaprobe-bringup.service.d/boot-said.conf"  # there is no journal to take what the unit says
    said.parent.mkdir(exist_ok=True)
    said.write_text("[Service]\nStandardOutput=file:/run/boot-said\nStandardError=file:/run/boot-said\n")


def without_cases(tree: Path) -> None:
    """Take that away again."""
    shutil.rmtree(tree / "etc/boot-cases", ignore_errors=True)
    for path in (tree / "etc/systemd/system").rglob("boot-*"):
        path.unlink()
    shutil.rmtree(tree / "etc/systemd/system/numaprobe-bringup.service.d", ignore_errors=True)
    if (tree / "etc/numaprobe/installed").exists():
        uninstall(tree)


def make_image(tree: Path, image: Path) -> None:
    """Make a disk of a tree."""
    image.unlink(missing_ok=True)
    _run("mke2fs", "-q", "-t", "ext4", "-d", tree, image, "1200M")


def make_initramfs(tree: Path, release: str, target: Path, *, small: bool) -> None:
    """Make an initramfs in the tree; a small one has the root disk's modules alone."""
    settings = tree / "tmp/settings"
    shutil.rmtree(settings, ignore_errors=True)
    shutil.copytree(tree / "etc/initramfs-tools", settings)
    if small:
        config = settings / "initramfs.conf"
        config.write_text(re.sub("(?m)^MODULES=.*", "MODULES=list", config.read_text()))
        (settings / "modules").write_text("ahci\nsd_mod\next4\n")
    _run("chroot", tree, "mkinitramfs", "-d", "/tmp/settings", "-o", "/tmp/initrd", release)  # noqa: S108
    shutil.move(tree / "tmp/initrd", target)
    shutil.rmtree(settings)


# ---- a boot ----------------------------------------------------------------------------------------------------------
def _devices(folder: Path, *, slow: bool) -> list[str]:
    options = []
    for node, bus in enumerate(BUSES):
        options += ["-device", f"pxb-pcie,id=node{node},bus_nr={bus},numa_node={node},bus=pcie.0"]
        for slot in range(3):
            key = f"{node}{slot}"
            options += [
                "-device",
                f"pcie-root-port,id=port{key},bus=node{node},addr={slot},chassis={3 * node + slot + 1}",
            ]
            kind = "virtio-blk-pci" if slot == 2 else f"nvme,serial=s{key}"
            options += [*_disk(folder, key), "-device", f"{kind},drive=disk{key},bus=port{key}"]
    if slow:
        options += [*_disk(folder, "slow", ",throttling.bps-total=1"), "-device"]
        options += ["virtio-blk-pci,drive=diskslow,bus=pcie.0,addr=0x1c"]
    return options


def _disk(folder: Path, key: str, more: str = "") -> list[str]:
    image = folder / f"{key}.img"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    return ["-drive", f"if=none,id=disk{key},file={image},format=raw{more}"]


def boot(folder: Path, case: str, kernel: Path, initrd: Path, image: Path) -> list[str]:
    """Boot once; return what was reported."""
    first = "/etc/boot-cases/report.sh" if case == "initramfs" else "/usr/lib/systemd/systemd"
    line = f"console=ttyS0 root=/dev/sda rw panic=-1 no_timer_check loglevel=4 edd=off init={first}"
    line += " systemd.show_status=0 systemd.unit=boot-test.target"
    command = ["timeout", "900", "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-m", "1024", "-nographic"]
    command += ["-no-reboot", "-smp", "2,sockets=2"]
    for node in range(2):
        command += ["-object", f"memory-backend-ram,id=memory{node},size=512M"]
        command += ["-numa", f"node,nodeid={node},cpus={node},memdev=memory{node}"]
    command += _devices(folder, slow=case == "driver")
    command += [
        "-drive",
        f"if=none,id=root,file={image},format=raw,snapshot=on",
        "-device",
        "ide-hd,drive=root,bus=ide.0",
    ]
    command += ["-kernel", str(kernel), "-initrd", str(initrd)]
    command += ["-append", f"{line} boot.case={case} kprobe_event={PROBES}"]
    console = folder / f"{case}.log"
    with console.open("wb") as log:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
    text = console.read_text(errors="replace")
    return [line.strip() for line in re.findall("REPORT (.*)", text)]


# ---- what it says ----------------------------------------------------------------------------------------------------
def _fields(lines: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines:
        key, _, rest = line.partition(": ")
        found.setdefault(key, []).append(rest)
    return found


def placed(events: list[str]) -> dict[str, int]:
    """Return the CPU on which each device's last probe ran: of PCI that of its body, which the kernel queues."""
    found: dict[str, int] = {}
    names: dict[int, str] = {}
    for event in events:
        match = _EVENT.search(event)
        if match is None:
            continue
        cpu, kind, address, name = int(match[1]), match[2], int(match[3], 16), match[4]
        if kind == "bound":
            names[address] = name
            found[name] = cpu
        else:  # a PCI function, whose ``struct device`` lies a little further on
            inside = [one for one in names if 0 < one - address < 1024]
            found |= {names[one]: cpu for one in inside}
    return found


def judged(case: str, lines: list[str]) -> list[str]:
    """Print what a boot came to; return what does not hold."""
    report = _fields(lines)
    if "end" not in report:
        return [f"{case}: the boot did not come to its report"]
    #: name, driver, node, what is above it
    rows = [words for words in (line.split() for line in report["device"]) if len(words) == 4]
    wanted = [change.name for change in plans()["good"].changes]
    wanted += [f"on {name}" for name in wanted if name.endswith(("43:00.0", "83:00.0"))]
    found = {(f"on {row[3]}" if row[0].startswith("virtio") else row[0]): (row[0], int(row[2])) for row in rows}
    up = [name for name in wanted if name in found]
    cpus = placed(report.get("trace", []))
    local = [name for name in up if cpus.get(found[name][0]) == found[name][1]]
    times = {key: int(report[key][0]) / 1e6 for key in ("hold InactiveExit", "bringup InactiveEnter") if key in report}
    held = times["bringup InactiveEnter"] - times["hold InactiveExit"] if len(times) == 2 else 0.0
    print(f"\n{case}: {len(up)} of {len(wanted)} up, {len(local)} of them probed on their node,", end=" ")
    print(f"held for {held:.0f} s; {report.get('service', ['-'])[0]}")
    for line in report.get("said", []):
        print(f"  | {line}")
    faults = [f"{case}: {name} is not up" for name in wanted if name not in up]
    faults += [f"{case}: {report['held'][0]} are held still"] if report["held"] != ["0"] else []
    faults += [f"{case}: held for {held:.0f} s"] if held > LIMIT + SPARE else []
    if case in OURS:
        faults += [f"{case}: {name} was probed on CPU {cpus.get(found[name][0])}" for name in up if name not in local]
    return faults


def main() -> int:
    """Make the image, boot the cases; return 1 if anything does not hold."""
    folder = Path(os.environ.get("BOOT_FOLDER") or tempfile.mkdtemp(prefix="numaprobe-boot-"))
    folder.mkdir(exist_ok=True)
    cases = sys.argv[1:] or CASES
    kernel = find_kernel(os.environ.get("BOOT_KERNEL", "7.3"))
    tree = make_tree(folder, kernel.release, kernel.modules)
    faults: list[str] = []
    for where, chosen in (("initramfs-tools", {"initramfs"}), ("system", {*CASES} - {"initramfs"})):
        mine = [case for case in cases if case in chosen]
        if not mine:
            continue
        without_cases(tree)
        faults += installed(tree, where)
        with_cases(tree)
        initrd, image = folder / f"{where}.initrd", folder / f"{where}.img"
        make_initramfs(tree, kernel.release, initrd, small=where == "system")
        make_image(tree, image)
        for case in mine:
            faults += judged(case, boot(folder, case, kernel.path, initrd, image))
        without_cases(tree)
    for fault in faults:
        print(f"DOES NOT HOLD: {fault}")
    print("all holds" if not faults else f"{len(faults)} do not hold", f"(kept: {folder})")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
