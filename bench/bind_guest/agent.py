"""What runs inside the guest: binds its devices in every way, or is killed and pulled at, and writes what it saw.

Called with the folder that it shares with the host and a mode:

``table``    bind everything by each method in turn, under the kernel's own record
``kills N``  N times: kill -9 at a random moment of a run, recover; N times: ask it to stop (Ctrl-C) at a random moment
``cut``      recover what the last boot left, begin a run, and stay in it until the power goes
``pull``     bind and unbind one device until it is gone
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numaprobe.bringup.apart import perform_apart
from numaprobe.bringup.forecast import forecast
from numaprobe.bringup.guard import Guard
from numaprobe.bringup.history import read_history
from numaprobe.bringup.perform import Performance
from numaprobe.bringup.plan import Change, Plan
from numaprobe.bringup.planner import Wish, make_plan
from numaprobe.bringup.recover import recover
from numaprobe.bringup.root import Root
from numaprobe.bringup.senses import LiveSenses
from numaprobe.bringup.session import tools_for
from numaprobe.bringup.sysfs import Sysfs
from numaprobe.errors import NumaprobeError
from numaprobe.study.recording import record_options, record_while
from numaprobe.topology import read_sysfs

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.bringup.outcome import Report
    from numaprobe.bringup.sysfs import SysfsDevice
    from numaprobe.records import Trace

DRIVERS = {"pci": ("nvme",), "virtio": ("virtio_blk", "virtio_net")}
#: virtio ids -> driver
BLOCK = 2
VIRTIO = {1: "virtio_net", BLOCK: "virtio_blk"}
NVME = 0x010802
SYSFS = Sysfs(Root("/"))


def driver_for(device: SysfsDevice) -> str | None:
    """Return the driver of a device of this test; None: it is none of them."""
    if device.bus == "pci":
        return "nvme" if device.pci_class == NVME else None
    return VIRTIO.get(device.product or 0)


def devices() -> list[SysfsDevice]:
    """Return the devices of this test."""
    return [device for device in SYSFS.devices(("pci", "virtio")) if driver_for(device)]


def standing() -> dict[str, Any]:
    """Return driver and override of every device of this test."""
    return {device.name: [device.driver, device.override] for device in devices()}


def plan_for(action: str, jobs: int | None = None) -> Plan:
    """Return the plan for all devices of this test."""
    guard = Guard(SYSFS, LiveSenses())
    changes: list[Change] = []
    warnings: list[str] = []
    for driver in ("nvme", "virtio_blk", "virtio_net"):
        chosen = [device for device in devices() if driver_for(device) == driver]
        if chosen:
            wish = Wish(action=action, driver=None if action == "unbind" else driver, jobs=jobs)
            plan = make_plan(SYSFS, guard, chosen, wish)
            changes += plan.changes
            warnings += [reason.sentence for one in plan.skipped for reason in one.reasons]
    if warnings:
        print("agent: passed over:", warnings, flush=True)
    width = jobs or max(1, sum(not change.exclusive for change in changes) + 1)
    return Plan(
        changes=tuple(changes), jobs=min(width, jobs or len(os.sched_getaffinity(0)) * 4), deadline_ns=60 * 10**9
    )


def perform(action: str, state: Path, jobs: int | None = None) -> Report:
    """Carry it out in this process; return what became of it."""
    return perform_plan(plan_for(action, jobs), state, action)


def perform_plan(plan: Plan, state: Path, command: str = "bind") -> Report:
    """Carry a plan out in this process; return what became of it."""
    with Performance(plan, tools_for(plan, state=state), command=command) as performance:
        return performance.run()


# ---- the table -------------------------------------------------------------------------------------------------------
def shell(script: str) -> Callable[[], object]:
    """Return a body that runs a script, pinned to CPU 0, which is of node 0."""
    return lambda: subprocess.run(["taskset", "-c", "0", "sh", "-c", script], check=True)


def bind_lines() -> list[str]:
    """Return FILE DEVICE for each device: what a shell would write where."""
    return [f"/sys/bus/{one.bus}/drivers/{driver_for(one)}/bind {one.name}" for one in devices()]


def spdk_way() -> str:
    """Return a script that binds as SPDK's setup.sh does: NVMe in the background by override, the others one by one."""
    lines = ["one() { echo $2 >$1/driver_override; echo $3 >/sys/bus/pci/drivers_probe; echo >$1/driver_override; }"]
    drives = [device for device in devices() if device.bus == "pci"]
    lines += [f"one /sys/{drive.path} {driver_for(drive)} {drive.name} &" for drive in drives]
    lines += ["wait", *(line for line in loop_lines() if "/pci/" not in line)]
    return "\n".join(lines)


def loop_lines() -> list[str]:
    return [f"echo {line.split()[1]} >{line.split()[0]}" for line in bind_lines()]


def methods(state: Path) -> dict[str, Callable[[], object]]:
    """Return every way to bind all devices."""
    xargs = "\n".join(bind_lines())
    return {
        "shell loop": shell("\n".join(loop_lines())),
        "xargs -P 8": shell(f"printf '%s\\n' '{xargs}' | xargs -P 8 -L 1 sh -c 'echo $1 >$0'"),
        "SPDK's way": shell(spdk_way()),
        "bind --jobs 1": lambda: perform("bind", state, 1),
        "bind": lambda: perform("bind", state),
    }


def autoprobe(value: int) -> None:
    for bus in DRIVERS:
        Path(f"/sys/bus/{bus}/drivers_autoprobe").write_text(f"{value}\n")


def modprobe(*options: str) -> Callable[[], object]:
    """Return a body that loads the drivers, which then probe by themselves."""

    def load() -> None:
        for drivers in DRIVERS.values():
            for driver in drivers:
                subprocess.run(["taskset", "-c", "0", "modprobe", driver, *options], check=True)
        for _ in range(600):
            if all(driver for driver, _ in standing().values()):
                time.sleep(2)  # a device has its driver before the probe; the makespan is the kernel's record's
                return
            time.sleep(0.05)

    return load


def summary(trace: Trace, names: set[str]) -> dict[str, Any]:
    """Return what one method did: makespan, and for each bus how many probes ran on their device's node."""
    probes = [
        one for one in trace.probes if one.device in names and one.start_ns is not None and one.end_ns is not None
    ]
    by_bus: dict[str, list[Any]] = {}
    for one in probes:
        by_bus.setdefault(one.bus or "?", []).append(one)
    return {
        "probes": len(probes),
        "makespan_ns": max(one.end_ns or 0 for one in probes) - min(one.start_ns or 0 for one in probes)
        if probes
        else None,
        "buses": {
            bus: {
                "probes": len(found),
                "local": sum(one.local is True for one in found),
                "cpus": sorted({one.cpu for one in found if one.cpu is not None}),
                "tasks": sorted({(one.comm or "?").split(":")[0] for one in found}),
                "rows": [[one.device, one.device_node, one.cpu, one.cpu_node, one.comm] for one in found],
            }
            for bus, found in by_bus.items()
        },
    }


def table(rounds: int) -> dict[str, Any]:
    """Bind by each method, ``rounds`` times, the order turned each time."""
    names = {device.name for device in devices()}
    found: dict[str, list[Any]] = {}
    state = Path("/tmp/state")  # noqa: S108  the guest's own
    for number in range(rounds):
        ways = list(methods(state).items())
        for name, body in ways[number % len(ways) :] + ways[: number % len(ways)]:
            taken, _ = record_while(record_options(sched=False), body)
            found.setdefault(name, []).append(summary(taken.trace, names))
            print("agent:", name, found[name][-1]["makespan_ns"], flush=True)
            report = perform("unbind", state)
            if report.failures:
                print("agent: unbind:", report.failures, flush=True)
    for name, options in (("modprobe", ()), ("modprobe async_probe", ("async_probe=1",))):
        for drivers in DRIVERS.values():
            subprocess.run(["rmmod", *drivers], check=True)
        autoprobe(1)
        taken, _ = record_while(record_options(sched=False), modprobe(*options))
        autoprobe(0)
        found[name] = [summary(taken.trace, names)]
        print("agent:", name, found[name][-1]["makespan_ns"], flush=True)
        perform("unbind", state)
    memory = {name: _memory(methods(state)[name], names, state) for name in ("shell loop", "bind")}
    history = read_history(state)
    return {
        "devices": len(names),
        "methods": found,
        "memory": memory,
        "predicted": predicted(plan_for("bind")),
        "runs": len(history.runs),
        "open": len(history.open_runs),
    }


def predicted(plan: Plan) -> dict[str, int | None]:
    """Return where each device is said to be probed before anything is done."""
    foreseen = forecast(plan, read_sysfs(Path("/sys"), proc=Path("/proc"), devices=False))
    return {name: probe.cpu for (_, name), probe in foreseen.probes.items()}


def _memory(body: Callable[[], object], names: set[str], state: Path) -> dict[str, list[int]]:
    """Bind once more, under a record of the pages: of each bus the bytes on the device's node, and all."""
    taken, _ = record_while(record_options(sched=False, memory=True), body)
    perform("unbind", state)
    found: dict[str, list[int]] = {}
    for one in taken.trace.probes:
        if one.device in names and one.memory and one.device_node is not None:
            sums = found.setdefault(one.bus or "?", [0, 0])
            sums[0] += one.memory.get(one.device_node, 0)
            sums[1] += sum(one.memory.values())
    return found


# ---- kill -9, Ctrl-C -------------------------------------------------------------------------------------------------
def kills(count: int, seed: int) -> dict[str, Any]:
    """Kill runs at random moments and recover; then stop them at random moments."""
    draw = random.Random(seed)
    state = Path("/tmp/state")  # noqa: S108  the guest's own
    took = _time_of_a_run(state)
    result: dict[str, Any] = {"killed": 0, "finished": 0, "open": 0, "wrong": [], "became": {}, "stopped": 0}
    result["run_s"] = took
    for number in range(count):
        before = standing()
        action = "unbind" if any(driver for driver, _ in before.values()) else "bind"
        killed = _in_a_child(action, state, draw.uniform(0, took * 1.1), signal.SIGKILL)
        result["killed" if killed else "finished"] += 1
        result["open"] += len(read_history(state).open_runs)
        for one in recover(tools_for(Plan(), state=state)).devices:
            result["became"][str(one.step)] = result["became"].get(str(one.step), 0) + 1
        _check(before, action, result["wrong"], f"kill {number}")
    for number in range(count):
        before = standing()
        action = "unbind" if any(driver for driver, _ in before.values()) else "bind"
        _in_a_child(action, state, draw.uniform(0, took * 1.1), signal.SIGTERM)
        result["stopped"] += 1
        if read_history(state).open_runs:
            result["wrong"].append(f"stop {number}: a run is open")
            recover(tools_for(Plan(), state=state))
        _check(before, action, result["wrong"], f"stop {number}")
    return result


def _time_of_a_run(state: Path) -> float:
    """Return the seconds from a plan that is made to the run's end; making it may take longer, and writes nothing."""
    plan = plan_for("bind")
    start = time.monotonic()
    perform_plan(plan, state)
    took = time.monotonic() - start
    perform("unbind", state)
    return took


def _in_a_child(action: str, state: Path, after_s: float, number: int) -> bool:
    """Run in a child, and signal it a while after its plan is made; return whether it was still there."""
    planned, telling = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(NumaprobeError):
            plan = plan_for(action)
            os.write(telling, b".")
            with Performance(plan, tools_for(plan, state=state), command=action) as performance:
                signal.signal(signal.SIGTERM, lambda *_: performance.stop())
                performance.run()
        os._exit(0)
    os.close(telling)
    os.read(planned, 1)
    os.close(planned)
    time.sleep(after_s)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def _check(before: dict[str, Any], action: str, wrong: list[str], what: str) -> None:
    """Every device is as before or as asked, and no override stays."""
    for device in devices():
        wanted = None if action == "unbind" else driver_for(device)
        now = [device.driver, device.override]
        if now not in (before[device.name], [wanted, None]):
            wrong.append(f"{what}: {device.name} has {now}, had {before[device.name]}, asked {wanted}")


# ---- a power cut, a pulled device ------------------------------------------------------------------------------------
def cut(folder: Path) -> dict[str, Any]:
    """Recover what the last boot left; then begin, and stay in it."""
    state = folder / "state"
    before = standing()
    recovery = recover(tools_for(Plan(), state=state))
    history = read_history(state)
    result = {
        "closed": list(recovery.closed),
        "devices": len(recovery.devices),
        "open": len(history.open_runs),
        "damaged": history.damaged,
        "untouched": standing() == before,
        "runs": len(history.runs),
    }
    (folder / f"boot-{time.time_ns()}.json").write_text(json.dumps(result))
    os.sync()
    random.seed()

    def power_off() -> None:
        time.sleep(random.uniform(0, 1.5))
        Path("/proc/sysrq-trigger").write_text("b")

    action = "bind"
    plan = plan_for(action)  # takes longer than to carry it out where all is emulated, and writes nothing
    threading.Thread(target=power_off, daemon=True).start()
    while True:
        perform_plan(plan, state, action)
        action = "unbind" if action == "bind" else "bind"
        plan = plan_for(action)


def pull(folder: Path) -> dict[str, Any]:
    """Bind and unbind everything until the first NVMe drive is gone; the host pulls it meanwhile."""
    state = Path("/tmp/state")  # noqa: S108  the guest's own
    gone = next(device for device in devices() if device.bus == "pci")
    (folder / "pull-now").write_text(gone.name)
    steps: list[list[str]] = []
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and SYSFS.at(gone.path) is not None:
        for action in ("bind", "unbind"):
            plan = plan_for(action)
            try:
                report = perform_apart(plan, tools_for(plan, state=state), command=action)
            except NumaprobeError as error:
                steps.append(["error", str(error)])
                continue
            steps.append(
                [f"{one.change.name} {one.step}: {one.sentence}" for one in report.outcomes if not one.is_as_asked]
            )
    perform("bind", state)
    rest = {name: driver for name, (driver, _) in standing().items()}
    recovery = recover(tools_for(Plan(), state=state))
    return {
        "pulled": gone.name,
        "is_gone": SYSFS.at(gone.path) is None,
        "runs": len(steps),
        "not as asked": [step for step in steps if step],
        "others bound": all(rest.values()),
        "open": len(read_history(state).open_runs),
        "recovered": len(recovery.devices),
    }


# ---- virtual functions -----------------------------------------------------------------------------------------------
#: NVMe, Virtualization Management: opcode, actions, resources (base specification, 1.3 and later)
VIRTUALIZATION, PRIMARY, ASSIGN, ONLINE = 0x1C, 1, 8, 9
QUEUES, VECTORS = 0, 1
#: ``NVME_IOCTL_ADMIN_CMD``, and its ``struct nvme_passthru_cmd`` (linux/nvme_ioctl.h)
ADMIN, COMMAND = 0xC0484E41, "BBHIIIQQIIIIIIIIII"
VFS = 4


def manage(drive: str, controller: int, action: int, resource: int = QUEUES, count: int = 0) -> None:
    """Give queues or vectors to a controller of a drive (``nvme0``), or put it on line."""
    word10, word11 = controller << 16 | resource << 8 | action, count
    command = bytearray(struct.pack(COMMAND, VIRTUALIZATION, *[0] * 9, word10, word11, *[0] * 6))
    with Path(f"/dev/{drive}").open("rb") as file:
        status = fcntl.ioctl(file, ADMIN, command)
    if status:
        raise OSError(f"{drive}: virtualization management {action} of controller {controller}: status {status:#x}")


def enable(physical: str) -> list[str]:
    """Enable the virtual functions of a bound drive, each with a queue pair and a vector; return their paths."""
    folder = Path(f"/sys/{physical}")
    drive = next((folder / "nvme").iterdir()).name
    for resource in (VECTORS, QUEUES):
        manage(drive, 0, PRIMARY, resource)
    (folder / "reset").write_text("1")
    (folder / "sriov_drivers_autoprobe").write_text("0")
    (folder / "sriov_numvfs").write_text(str(VFS))
    for controller in range(1, VFS + 1):
        manage(drive, controller, ASSIGN, VECTORS, 1)
        manage(drive, controller, ASSIGN, QUEUES, 2)
        manage(drive, controller, ONLINE)
    return [str((folder / f"virtfn{number}").resolve().relative_to("/sys")) for number in range(VFS)]


def sriov() -> dict[str, Any]:
    """Bind virtual functions; the physical ones are refused meanwhile, and free afterwards."""
    state = Path("/tmp/state")  # noqa: S108  the guest's own
    able = [one for one in devices() if (Path(f"/sys/{one.path}") / "sriov_totalvfs").exists()]
    physical = [one.path for one in able]
    for one in able:
        Path("/sys/bus/pci/drivers/nvme/bind").write_text(one.name)
    functions = [path for one in physical for path in enable(one)]
    plan = _plan_of("bind", functions)
    names = {change.name for change in plan.changes}
    taken, _ = record_while(record_options(sched=False), lambda: perform_plan(plan, state))
    bound = sum(SYSFS.driver_of(path) == "nvme" for path in functions)
    refused = _refusals("unbind", physical)
    perform_plan(_plan_of("unbind", functions), state)
    for path in physical:
        Path(f"/sys/{path}/sriov_numvfs").write_text("0")
    return {
        "functions": len(functions),
        "physical": [one.name for one in able],
        "bound": bound,
        "rows": summary(taken.trace, names)["buses"].get("pci", {"rows": []})["rows"],
        "predicted": predicted(plan),
        "refused": refused,
        "refused afterwards": _refusals("unbind", physical),
        "open": len(read_history(state).open_runs),
    }


def _plan_of(action: str, paths: list[str]) -> Plan:
    """Return the plan for devices as they are now: functions have come and gone since the first look."""
    now = Sysfs(Root("/"))
    chosen = [device for device in map(now.at, paths) if device is not None]
    wish = Wish(action=action, driver=None if action == "unbind" else "nvme", jobs=VFS)
    return make_plan(now, Guard(now, LiveSenses()), chosen, wish)


def _refusals(action: str, paths: list[str]) -> dict[str, list[str]]:
    """Return of each device that would be left alone the reasons."""
    return {one.name: [reason.code for reason in one.reasons] for one in _plan_of(action, paths).skipped}


def main() -> None:
    folder, mode, *more = Path(sys.argv[1]), *sys.argv[2:]
    autoprobe(0)
    for drivers in DRIVERS.values():
        for driver in drivers:
            subprocess.run(["modprobe", driver], check=True)
    count = int(more[0]) if more else 1
    bodies = {
        "table": lambda: table(count),
        "kills": lambda: kills(count, int(more[1])),
        "cut": lambda: cut(folder),
        "pull": lambda: pull(folder),
        "sriov": sriov,
    }
    result = bodies[mode]()
    (folder / "result.json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
