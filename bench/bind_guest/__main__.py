"""``make lab-bind``: bind, kill, cut and pull on a real kernel, in QEMU guests of two and four nodes.

Guests have NVMe drives, virtio disks and virtio links on every node, all unbound. What is run, and what must hold:

``table``  every way to bind them all, under the kernel's record: where each probe ran, and the makespan beside the
           others' in the same guest. Every virtio device bound by numaprobe must have probed on its node.
``kills``  kill -9 at random moments, then recover; Ctrl-C at random moments: each device as asked or as before.
``cuts``   the power goes at a random moment of a run (sysrq b), again and again, the journal on the host's disk: the
           next boot closes the run and replays nothing.
``pull``   a drive is pulled (QMP device_del) while it is bound and unbound: the others are bound, no run stays open.
``sriov``  an NVMe drive of each node gets virtual functions: bound on their node; unbinding the drive is refused.

Usage: python -m bench.bind_guest [table|kills|cuts|pull|sriov]... [--kernel 6.12] [--nodes 2,4] [--count N]
"""

from __future__ import annotations

import argparse
import compileall
import json
import shlex
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numaprobe import errors
from numaprobe.errors import RefusedError
from numaprobe.kernel.lab.guest import guest_environment, run_script
from numaprobe.kernel.lab.plan import GuestPlan, place_devices
from numaprobe.study.guests import guest_options
from numaprobe.topology import load_topology

if TYPE_CHECKING:
    from numaprobe.kernel.lab.plan import DeviceKind
    from numaprobe.study.guests import GuestOptions

AGENT = Path(__file__).with_name("agent.py")
MACHINES = {2: "2 nodes x 2 cores, 1GiB per node", 4: "4 nodes x 1 core, 512MiB per node"}
#: of each node: NVMe drives, virtio disks, virtio links
PER_NODE = {2: (4, 2, 1), 4: (4, 1, 1)}
#: the same where what counts is how often a guest boots
FEW = (1, 1, 0)


def _plan(nodes: int, qemu: tuple[str, ...] = (), per_node: tuple[int, int, int] | None = None) -> GuestPlan:
    topology = load_topology(MACHINES[nodes])
    wanted: list[tuple[str, DeviceKind, int]] = []
    kinds: tuple[DeviceKind, ...] = ("nvme", "virtio-blk", "virtio-net")
    for kind, count in zip(kinds, per_node or PER_NODE[nodes], strict=True):
        wanted += [(f"{kind}{node}.{one}", kind, node) for node in range(nodes) for one in range(count)]
    return GuestPlan(topology=topology, devices=place_devices(wanted, topology), qemu=qemu)


def _lines(folder: Path, mode: str, *more: object) -> list[str]:
    agent = shlex.join([sys.executable, str(AGENT), str(folder), mode, *map(str, more)])
    return [f"{guest_environment()} {agent}; status=$?", "(exit $status)"]


def _boot(plan: GuestPlan, mode: str, *more: object, settings: dict[str, Any]) -> dict[str, Any]:
    folder: Path = settings["folder"]
    (folder / "result.json").unlink(missing_ok=True)
    status = run_script(plan, _lines(folder, mode, *more), **settings)
    if status or not (folder / "result.json").is_file():
        raise RefusedError(f"the agent failed in the guest (exit {status}); its console: {folder}/console.log")
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


# ---- the modes -------------------------------------------------------------------------------------------------------
def table(options: GuestOptions, nodes: int, count: int) -> list[str]:
    """Show every method beside the others; return what does not hold."""
    with options.guest() as settings:
        found = _boot(_plan(nodes), "table", count, settings=settings)
    base = _median(found["methods"]["shell loop"])
    print(f"\n{nodes} nodes, {found['devices']} devices, kernel {options.image.release}, medians of {count}")
    print(f"{'':22} {'makespan':>12} {'of the loop':>12} {'pci on node':>12} {'virtio on node':>15}  in")
    faults = []
    for name, rounds in found["methods"].items():
        span = _median(rounds)
        pci, virtio = (_share(rounds, bus) for bus in ("pci", "virtio"))
        tasks = sorted({task for one in rounds for bus in one["buses"].values() for task in bus["tasks"]})
        print(f"{name:22} {span / 1e6:9.1f} ms {span / base:11.2f}x {pci:>12} {virtio:>15}  {', '.join(tasks)}")
        if name.startswith("bind"):
            faults += _remote(name, rounds, found["devices"])
            faults += _unforeseen(name, rounds, found["predicted"])
    for name, buses in found["memory"].items():
        shares = ", ".join(f"{bus} {100 * on / all_:.1f} % of {all_ >> 10:,} KiB" for bus, (on, all_) in buses.items())
        print(f"pages of the probes on their device's node, {name}: {shares}")
    faults += [f"{found['open']} runs are open"] if found["open"] else []
    return faults


def _unforeseen(name: str, rounds: list[Any], predicted: dict[str, int]) -> list[str]:
    """Return the PCI probes that did not run on the very CPU that was predicted."""
    rows = [row for one in rounds for row in one["buses"].get("pci", {"rows": ()})["rows"]]
    print(
        f"{'':22} {sum(predicted.get(row[0]) == row[2] for row in rows)} of {len(rows)} PCI probes on the CPU foretold"
    )
    return [
        f"{name}: {row[0]} was foretold on CPU {predicted.get(row[0])}, and probed on {row[2]}"
        for row in rows
        if predicted.get(row[0]) != row[2]
    ]


def _median(rounds: list[Any]) -> float:
    spans = sorted(one["makespan_ns"] for one in rounds if one["makespan_ns"])
    return spans[len(spans) // 2] if spans else float("nan")


def _share(rounds: list[Any], bus: str) -> str:
    found = [one["buses"][bus] for one in rounds if bus in one["buses"]]
    return f"{sum(one['local'] for one in found)} of {sum(one['probes'] for one in found)}"


def _remote(name: str, rounds: list[Any], devices: int) -> list[str]:
    """Return the probes of our own that did not run on their node, and those that are missing."""
    faults = [
        f"{name}: {one['probes']} of {devices} probes were recorded" for one in rounds if one["probes"] != devices
    ]
    for one in rounds:
        for found in one["buses"].values():
            rows = found["rows"]
            faults += [f"{name}: {row[0]} of node {row[1]} probed on CPU {row[2]}" for row in rows if row[1] != row[3]]
    return faults


def kills(options: GuestOptions, nodes: int, count: int) -> list[str]:
    """Kill and stop runs in one guest; return what does not hold."""
    with options.guest() as settings:
        found = _boot(_plan(nodes), "kills", count, 1, settings=settings)
    took = f"a run takes {found['run_s']:.2f} s"
    print(f"\n{nodes} nodes: {found['killed']} of {count} runs killed at random moments ({took})")
    print(f"recover: {found['open']} runs were open, {found['became']}; {found['stopped']} asked to stop likewise")
    return list(found["wrong"])


def cuts(options: GuestOptions, nodes: int, count: int) -> list[str]:
    """Cut the power again and again; return what does not hold."""
    faults = []
    with options.guest() as settings:
        folder = settings["folder"]
        for _ in range(count):
            try:
                run_script(_plan(nodes, per_node=FEW), _lines(folder, "cut"), **settings)
                faults.append("the guest was to be cut off, and ended by itself")
            except RefusedError as error:
                if "ended without a result" not in str(error):
                    raise
        boots = [json.loads(path.read_text()) for path in sorted(folder.glob("boot-*.json"))]
    under_way = sum(bool(boot["closed"]) for boot in boots)
    print(f"\n{nodes} nodes: power cut {count} times, {under_way} runs under way; what each boot found:")
    for boot in boots:
        print(f"  {boot}")
    active = [boot for boot in boots[1:] if boot["devices"] or boot["open"] or not boot["untouched"]]
    faults += [f"a boot did something about the runs of the one before: {boot}" for boot in active]
    if len(boots) != count:
        faults.append(f"{len(boots)} of {count} boots came to their run")
    return faults


def pull(options: GuestOptions, nodes: int, count: int) -> list[str]:
    """Pull a drive during binds; return what does not hold."""
    faults = []
    for _ in range(count):
        with options.guest() as settings:
            folder = settings["folder"]
            monitor = folder / "qmp"
            plan = _plan(nodes, qemu=("-qmp", f"unix:{monitor},server=on,wait=off"))
            (folder / "pull-now").unlink(missing_ok=True)
            threading.Thread(target=_pull, args=(folder / "pull-now", monitor, plan), daemon=True).start()
            found = _boot(plan, "pull", settings=settings)
        print(f"\n{nodes} nodes, a drive pulled: {found}")
        faults += [f"{what}: {found[what]}" for what in ("is_gone", "others bound") if not found[what]]
        faults += ["a run is open"] if found["open"] else []
    return faults


def _pull(word: Path, monitor: Path, plan: GuestPlan) -> None:
    """Wait for the guest's word, then have QEMU pull the device that it names."""
    while not word.is_file() or not word.read_text():
        time.sleep(0.2)
    address = word.read_text()
    index = next(number for number, device in enumerate(plan.devices) if device.address == address)
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(monitor))
        answers = link.makefile()
        answers.readline()
        for command in ({"execute": "qmp_capabilities"}, {"execute": "device_del", "arguments": {"id": f"dev{index}"}}):
            link.sendall(json.dumps(command).encode() + b"\n")
            print("qmp:", answers.readline().strip(), flush=True)


#: virtual functions of a drive, and the flexible queues and vectors that they take
VFS = 4
SRIOV = f"sriov_max_vfs={VFS},sriov_vq_flexible={2 * VFS},sriov_vi_flexible={VFS}"


def sriov(options: GuestOptions, nodes: int, count: int) -> list[str]:  # noqa: ARG001  one round: each takes a boot
    """Bind virtual functions of an NVMe drive of each node; return what does not hold."""
    qemu: list[str] = []
    for node in range(nodes):
        qemu += ["-device", f"pcie-root-port,id=physical{node},bus=pxb{node},chassis={200 + node}"]
        qemu += ["-device", f"nvme-subsys,id=subsystem{node}"]
        qemu += ["-device", f"nvme,serial=sriov{node},subsys=subsystem{node},bus=physical{node},{SRIOV}"]
    with options.guest() as settings:
        found = _boot(_plan(nodes, qemu=tuple(qemu)), "sriov", settings=settings)
    rows = found["rows"]
    counts = {
        "bound": found["bound"],
        "probed on their node": sum(row[1] == row[3] for row in rows),
        "probed on the CPU foretold": sum(found["predicted"].get(row[0]) == row[2] for row in rows),
    }
    told = ", ".join(f"{number} {what}" for what, number in counts.items())
    print(f"\n{nodes} nodes, {found['functions']} virtual functions of {len(found['physical'])} drives: {told}")
    print(f"refused meanwhile: {found['refused']}")
    faults = [f"{number} of {nodes * VFS} {what}" for what, number in counts.items() if number != nodes * VFS]
    free = [name for name in found["physical"] if "vfs" not in found["refused"].get(name, ())]
    faults += [f"{', '.join(free)}: not refused for virtual functions"] if free else []
    faults += [f"refused without functions: {found['refused afterwards']}"] if found["refused afterwards"] else []
    return [*faults, *(["a run is open"] if found["open"] else [])]


MODES = {"table": table, "kills": kills, "cuts": cuts, "pull": pull, "sriov": sriov}


def main() -> int:
    """Run the modes; return 1 if anything does not hold."""
    parser = argparse.ArgumentParser(prog="python -m bench.bind_guest", description=__doc__.split("\n")[0])
    parser.add_argument("modes", nargs="*", default=list(MODES), choices=[*MODES, []], metavar="MODE")
    parser.add_argument("--kernel", default=None)
    parser.add_argument("--nodes", default="2,4")
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--timeout", type=float, default=900.0)
    parser.add_argument("--keep", type=Path, default=None)
    asked = parser.parse_args()
    compileall.compile_dir(Path(errors.__file__).parent, quiet=2)  # an emulated guest would be at it for long
    options = guest_options(asked.kernel, timeout=asked.timeout, keep=asked.keep)
    faults = []
    for mode in asked.modes:
        for nodes in map(int, asked.nodes.split(",")):
            faults += [f"{mode}, {nodes} nodes: {fault}" for fault in MODES[mode](options, nodes, asked.count)]
    for fault in faults:
        print(f"DOES NOT HOLD: {fault}")
    print("all holds" if not faults else f"{len(faults)} do not hold")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
