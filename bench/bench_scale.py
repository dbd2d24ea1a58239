"""How the virtual machine grows: devices by the thousand on the largest preset, every policy.

Two tables: 10,000 NVMe-like devices over 4,096 CPUs in 64 nodes under each policy, with time and peak memory; and
time(10 n) / time(n) from 1,000 to 100,000 devices under mainline's policy and the review's, with the events per device
beside it: when devices outnumber CPUs their computing is cut into turns, which is more to simulate. Times are seconds
of one core. Each run is a process of its own, so that peak memory is its own.
"""

from __future__ import annotations

import json
import subprocess
import sys

#: devices -> runs whose median counts
RUNS = {1_000: 7, 10_000: 3, 100_000: 1}

ONE_RUN = """
import json, resource, sys, time
from numaprobe.buses import PciBus, PciDevice
from numaprobe.drivercore import Driver, DriverCore, ProbeType
from numaprobe.policies import make_policy
from numaprobe.runtime import kernel_profile
from numaprobe.topology import load_topology
from numaprobe.virtual import VirtualMachine

count, policy = int(sys.argv[1]), sys.argv[2]
topology = load_topology("large-4096")
start = time.process_time()
vm = VirtualMachine(topology, kernel_profile("6.19"))
core = DriverCore(vm, make_policy(policy))
bus = core.bus_register(PciBus())

async def probe(dev):
    await vm.sleep(12_000_000)
    await vm.compute(9_300_000)
    await vm.sleep(13_000_000)
    return 0

async def main():
    for i in range(count):
        dev = PciDevice(name=f"{i:06x}", bus=bus, node=i % len(topology.nodes), compatible="nvme")
        await core.device_add(dev)
    await core.load_module(Driver(name="nvme", bus=bus, probe=probe, compatible=("nvme",),
                                  probe_type=ProbeType.PREFER_ASYNCHRONOUS))
    await core.wait_for_device_probe()

vm.run(main)
core.validate()
assert len(core.records) == count
seconds = time.process_time() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
makespan = max(r.end_ns for r in core.records) - min(r.start_ns for r in core.records)
print(json.dumps([seconds, peak, makespan / 1e6, vm.loop.serial / count]))
"""


def _run(count: int, policy: str) -> tuple[float, float, float, float]:
    done = subprocess.run(
        [sys.executable, "-c", ONE_RUN, str(count), policy], check=True, capture_output=True, text=True
    )
    seconds, peak, makespan, events = json.loads(done.stdout)
    return seconds, peak, makespan, events


def _policies_table() -> None:
    from numaprobe.policies import POLICIES

    total = worst = 0.0
    print(f"{'10,000 devices, 4,096 CPUs':28} {'time':>8} {'peak':>9} {'virtual makespan':>18}")
    for policy in POLICIES:
        seconds, peak, makespan, _ = _run(10_000, policy)
        total += seconds
        worst = max(worst, peak)
        print(f"{policy:28} {seconds:6.2f} s {peak:6.0f} MB {makespan:15.1f} ms", flush=True)
    print(f"{'all policies':28} {total:6.2f} s {worst:6.0f} MB   bounds: 60 s, 1024 MB")


def _growth_table() -> None:
    print(f"\n{'growth':20} {'n':>8} {'time':>9} {'events/device':>14} {'time(10n)/time(n)':>20}   bound 12")
    for policy in ("work-on-cpu", "probe-on-node"):
        before = None
        for count, times in RUNS.items():
            runs = sorted((_run(count, policy) for _ in range(times)), key=lambda run: run[0])
            seconds, _, _, events = runs[len(runs) // 2]
            ratio = f"{seconds / before:.1f}" if before else "-"
            print(f"{policy:20} {count:8} {seconds:7.2f} s {events:14.1f} {ratio:>20}", flush=True)
            before = seconds


def main() -> None:
    """Print both tables."""
    _policies_table()
    _growth_table()
