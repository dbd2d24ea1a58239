"""Inside a guest: bring every situation of ``cases.toml`` about with the real thing, and hold the guard to it.

The guard is asked in both ways (a survey, a check before a write), and then for a plan to unbind the device, which must
be empty. That nothing was written is the kernel's word: a kprobe counts every write to a kernfs file meanwhile.
Afterwards all is undone and wiped, and the device must be free. At last the same devices, free, are unbound and bound.

Called with a folder, in which ``result.json`` is written, case by case; and, if not all, with the numbers of the cases
as a list (``0,4-9``).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numaprobe.bringup.clock import system_clock
from numaprobe.bringup.guard import Guard, Intent
from numaprobe.bringup.perform import Performance
from numaprobe.bringup.plan import Change, Plan
from numaprobe.bringup.planner import Wish, make_plan
from numaprobe.bringup.root import Root
from numaprobe.bringup.senses import LiveSenses
from numaprobe.bringup.sysfs import Sysfs, SysfsDevice
from numaprobe.bringup.tools import BringupTools
from numaprobe.bringup.write import Writer
from numaprobe.cpuset import CpuSet

if TYPE_CHECKING:
    from collections.abc import Callable

T = Path("/sys/kernel/tracing")
#: kernfs: every write to sysfs, whichever file and whoever writes
PROBE = "p:guard/wrote kernfs_fop_write_iter"
UNBIND = Intent(action="unbind")
#: the lab's own module, where it could be built for this kernel
MODULE = "numaprobe_lab.ko"


#: there is no udev in the guest
LVM_SETTINGS = """
activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }
backup { backup = 0 archive = 0 }
devices { use_devicesfile = 0 obtain_device_list_from_udev = 0 external_device_info_source = "none" }
"""
#: what sshd puts into the environment of a login: their address and port, ours
LOGIN = "192.0.2.50 40000 192.0.2.7 22"
#: seconds that a program of a situation is given at first, and at most, to bring it about
UNTIL_IT_STANDS = 3.0
AT_MOST = 60.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """A row of ``cases.toml``, which says what each field is."""

    name: str
    make: str
    device: str
    codes: list[str]
    words: str
    undo: str = "true"
    needs: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    login: bool = False


def all_cases() -> list[Case]:
    rows = tomllib.loads(Path(__file__).with_name("cases.toml").read_text())["case"]
    return [Case(**row) for row in rows]


class Lab:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.background: list[subprocess.Popen[bytes]] = []
        self.sysfs = Sysfs(Root())
        self.senses = LiveSenses()
        self.names = self._names()
        settings = folder / "lvm.conf"
        settings.write_text(LVM_SETTINGS)
        os.environ["LVM_SYSTEM_DIR"] = str(folder)

    def _names(self) -> dict[str, str]:
        """Find the devices by the serial numbers that they were given."""
        names: dict[str, str] = {}
        for serial in Path("/sys/class/nvme").glob("nvme*/serial"):
            key, controller = serial.read_text().strip(), serial.parent
            (disk,) = controller.glob("nvme*n1")
            device = Path(os.path.realpath(controller / "device"))
            group = Path(os.path.realpath(device / "iommu_group")).name
            names |= {key: f"/dev/{disk.name}", f"{key}addr": device.name, f"{key}char": f"/dev/{controller.name}"}
            names |= {f"{key}group": group, f"{key}port": device.parent.name}
        (disk,) = Path("/sys/block").glob("vd*")
        (link,) = Path("/sys/class/net").glob("e*")
        for key, thing in (("v", disk), ("nic", link)):
            device = Path(os.path.realpath(thing / "device"))
            names |= {f"{key}dev": device.name, f"{key}addr": device.parent.name}
        return {**names, "v": f"/dev/{disk.name}", "eth": link.name, "module": str(self.folder / MODULE)}

    def device(self, key: str) -> SysfsDevice:
        if key in "abcd":
            place = ("pci", self.names[f"{key}addr"])
        elif key == "vpci":
            place = ("pci", self.names["vaddr"])
        elif key in ("v", "nic"):
            place = ("virtio", self.names[f"{key}dev"])
        elif key == "supplier":
            place = ("guard", "supplier")
        elif key == "port":
            place = ("pci", self.names["aport"])
        else:
            folders = Path("/sys/bus/virtio/drivers/9pnet_virtio").glob("virtio*")
            place = (
                "virtio",
                next(path.name for path in folders if b"ROOT" in (path / "mount_tag").read_bytes().upper()),
            )
        found = self.sysfs.device(*place)
        if found is None:
            raise LookupError(f"no device {place}")
        return found

    def has(self, program: str) -> bool:
        return not subprocess.run(
            ["/bin/sh", "-c", f"command -v {program}"], capture_output=True, check=False
        ).returncode

    def shell(self, text: str) -> str:
        """Run a line; what stands behind ``$BG`` is started and stays, ``$END`` ends all that stayed."""
        if "$END" in text:
            for process in self.background:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            self.background.clear()
        before, _, stays = text.format(**self.names).partition("$BG ")
        done = subprocess.run(["/bin/sh", "-c", before or "true"], capture_output=True, timeout=240, check=False)
        if stays:
            started = subprocess.Popen(["/bin/sh", "-c", f"exec {stays}"], start_new_session=True)
            self.background.append(started)
            time.sleep(UNTIL_IT_STANDS)
        return (done.stdout + done.stderr).decode(errors="replace")

    def wipe(self) -> None:
        """Make the disks empty again."""
        self.shell("wipefs -aqf {a} {b} {c} {v}; blockdev --rereadpt {a}")

    # --- one case

    def run(self, one: Case) -> dict[str, Any]:
        begun = time.monotonic()
        said = self.shell(one.make)
        report: dict[str, Any] = {"case": one.name, "wanted": sorted(one.codes)}
        if one.login:
            report |= self.elsewhere(one)
        else:
            report |= self.stands(one)
        undone = self.shell(one.undo)
        self.wipe()
        free = self.reasons(one.device)
        report["left"] = sorted({reason.code for reason in free})
        words = one.words.format(**self.names)
        report["passed"] = (
            report["codes"] == sorted(one.codes)
            and report["again"] == report["codes"]
            and any(words in sentence for sentence in report["sentences"])
            and report["planned"] == 0
            and report["writes"] + report.get("writes before", 0) == 0
            and set(report["left"]) <= set(one.left)
        )
        if not report["passed"]:
            report["shell"] = (said + undone)[-1500:]
            report["free"] = [reason.sentence for reason in free]
        return report | {"seconds": round(time.monotonic() - begun, 1)}

    def reasons(self, key: str) -> tuple[Any, ...]:
        survey = Guard(self.sysfs, self.senses).survey(read_disks=True)
        return survey.reasons(self.device(key), UNBIND)

    def stands(self, one: Case) -> dict[str, Any]:
        """Look, and look again while a program that brings the situation about may not be there yet."""
        report, deadline = self.looked(one), time.monotonic() + AT_MOST
        while self.background and report["codes"] != sorted(one.codes) and time.monotonic() < deadline:
            time.sleep(UNTIL_IT_STANDS)
            report = self.looked(one) | {"writes before": report["writes"] + report.get("writes before", 0)}
        return report

    def looked(self, one: Case) -> dict[str, Any]:
        before = writes()
        device = self.device(one.device)
        reasons = self.reasons(one.device)
        guard = Guard(self.sysfs, self.senses)
        change = Change(
            device=device.path, bus=device.bus, name=device.name, action="unbind", driver_before=device.driver
        )
        again = guard.recheck(change, Plan(changes=(change,)))
        plan = make_plan(self.sysfs, guard, [device], Wish(action="unbind"))
        return {
            "codes": sorted({reason.code for reason in reasons}),
            "again": sorted({reason.code for reason in again}),
            "sentences": [reason.sentence for reason in reasons],
            "flags": [reason.flag for reason in reasons],
            "planned": len(plan.changes),
            "writes": writes() - before,
        }

    def elsewhere(self, one: Case) -> dict[str, Any]:
        """Look from a process that began with the environment of a login: that is what ``/proc`` shows of it."""
        told = {**os.environ, "SSH_CONNECTION": LOGIN, "GUARD_CASE": one.name}
        done = subprocess.run([sys.executable, __file__, str(self.folder)], env=told, capture_output=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    # --- the same devices free: taken, and given back

    def cycled(self, key: str) -> dict[str, Any]:
        device, before = self.device(key), writes()
        report: dict[str, Any] = {"case": f"{device.name}, free: unbound and bound", "codes": [], "steps": []}
        for action in ("unbind", "bind"):
            guard = Guard(self.sysfs, self.senses)
            now = self.sysfs.device(device.bus, device.name)
            plan = make_plan(self.sysfs, guard, [now] if now else [], Wish(action=action))
            tools = BringupTools(
                state=self.folder / "state",
                clock=system_clock(),
                sysfs=self.sysfs,
                writer=Writer(self.sysfs),
                recheck=partial(guard.recheck, plan=plan),
            )
            with Performance(plan, tools, command=action) as performance:
                performance.run()
            now = self.sysfs.device(device.bus, device.name)
            report["steps"].append(now.driver if now else "gone")
            report["sentences"] = [one.sentence for passed in plan.skipped for one in passed.reasons]
        report["writes"] = writes() - before
        report["passed"] = report["steps"] == [None, device.driver] and report["writes"] >= 2
        return report


def writes() -> int:
    for line in (T / "kprobe_profile").read_text().splitlines():
        fields = line.split()
        if fields[0] == "wrote":
            return int(fields[1])
    raise AssertionError("the kprobe is gone")


def witness() -> int:
    """Switch the counter on, and show that it counts: one write of our own."""
    (T / "kprobe_events").write_text(f"{PROBE}\n")
    (T / "events/guard/wrote/enable").write_text("1")
    before = writes()
    Path("/sys/bus/pci/drivers_autoprobe").write_text("1")
    return writes() - before


def main() -> None:
    folder = Path(sys.argv[1])
    lab = Lab(folder)
    if "GUARD_CASE" in os.environ:
        (one,) = (one for one in all_cases() if one.name == os.environ["GUARD_CASE"])
        print(json.dumps(lab.looked(one)))
        return
    result: dict[str, Any] = {"counted": witness(), "cases": [], "missing": []}
    checks: list[tuple[str, Callable[[], dict[str, Any]]]] = []
    chosen = CpuSet.parse_list(sys.argv[2]) if len(sys.argv) > 2 else None
    for number, one in enumerate(all_cases()):
        if chosen is not None and number not in chosen:
            continue
        missing = [name for name in one.needs if not lab.has(name.format(**lab.names))]
        if missing:
            result["missing"].append({"case": one.name, "programs": missing})
            continue
        checks.append((one.name, partial(lab.run, one)))
    checks += [(f"{key}, free", partial(lab.cycled, key)) for key in ("a", "b", "c", "d", "v", "nic")]
    for name, check in checks:
        try:
            found = check()
        except Exception as error:  # noqa: BLE001  one case must not hide the others
            found = {"case": name, "passed": False, "error": f"{type(error).__name__}: {error}"}
        result["cases"].append(found)
        print(("passed" if found["passed"] else "FAILED"), name, flush=True)
        (folder / "result.json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
