"""The host machine beside ``concurrent.futures`` with the same pinning, and processes beside threads.

Both run the same bodies on the same CPUs in the same run, in turns; figures are medians, each with its base.

* numaprobe: from loading the driver until its last probe is done. For each device matching, two locks, states, the
  policy, and a record with the CPU before and after the body, its CPU time, its wait for a CPU and its wall time.
* ``futures``: one pool of pinned threads, one for each CPU. Sync: submit and wait for the result, one by one; async:
  submit all, then wait for all. Nothing else: no order, no states, no record.
* ``measured``: the same pool, and in the body's thread what the record holds, read as the host machine reads it: the
  CPU before and after, the thread's CPU time, the wait for a CPU (schedstat, if the thread was off its CPU), wall time.

The ratio to ``measured`` compares like with like; the ratio to ``futures`` is the price of all that is known besides.
"""

from __future__ import annotations

import os
import resource
import statistics
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from numaprobe.buses import PlatformBus
from numaprobe.drivercore import Device, Driver, DriverCore, ProbeType
from numaprobe.hostmachine import HostMachine
from numaprobe.hostmachine.bodies import burn
from numaprobe.hostmachine.syscalls import SmallFile, getcpu
from numaprobe.policies import make_policy

if TYPE_CHECKING:
    from collections.abc import Callable

MS = 1_000_000
#: (devices, rounds)
EMPTY_SIZES = ((1, 9), (10, 9), (100, 9), (1000, 9), (10_000, 3))
ONE_MS_SIZES = ((100, 5), (1000, 5))


def empty(_dev: object) -> int:
    return 0


def one_ms(_dev: object) -> int:
    burn(MS)
    return 0


def crunch(count: int) -> int:
    """Compute in plain Python: what holds the interpreter lock."""
    return sum(i * i % 7 for i in range(count))


def measured(body: Callable[[object], int]) -> Callable[[object], int]:
    """Return ``body`` with the readings of a record around it, kept in a list."""
    readings: list[tuple[int, ...]] = []
    own = threading.local()

    def run_delay() -> int:
        usage = resource.getrusage(resource.RUSAGE_THREAD)
        switches = usage.ru_nvcsw + usage.ru_nivcsw
        if switches != getattr(own, "switches", -1):
            if not hasattr(own, "file"):
                own.file = SmallFile(f"/proc/self/task/{threading.get_native_id()}/schedstat")
                files.append(own.file)
            own.switches, own.delay = switches, int(own.file.read().split()[1])
        return int(own.delay)

    def call(device: object) -> int:
        start, delay, cpu, used = time.monotonic_ns(), run_delay(), getcpu(), time.thread_time_ns()
        result = body(device)
        used = time.thread_time_ns() - used
        readings.append((start, time.monotonic_ns(), run_delay() - delay, cpu, getcpu(), used))
        return result

    return call


#: what ``measured`` opened
files: list[SmallFile] = []


def futures_ns(devices: int, body: Callable[[object], int], *, serial: bool) -> int:
    """Return the time to run ``body`` for each device in a pool of pinned threads, one per CPU."""
    cpus = os.sched_getaffinity(0)
    with ThreadPoolExecutor(len(cpus), initializer=lambda: os.sched_setaffinity(0, cpus)) as pool:
        list(pool.map(empty, range(len(cpus))))
        start = time.perf_counter_ns()
        if serial:
            for device in range(devices):
                pool.submit(body, device).result()
        else:
            for future in [pool.submit(body, device) for device in range(devices)]:
                future.result()
        took = time.perf_counter_ns() - start
    while files:
        files.pop().close()
    return took


def host_ns(devices: int, body: Callable[[object], int], policy: str, *, serial: bool) -> int:
    """Return the time from loading the driver until its last probe is done."""
    machine = HostMachine()
    probe_type = ProbeType.FORCE_SYNCHRONOUS if serial else ProbeType.PREFER_ASYNCHRONOUS

    async def main() -> int:
        core = DriverCore(machine, make_policy(policy))
        bus = core.bus_register(PlatformBus())
        for index in range(devices):
            await core.device_add(Device(name=f"d{index}", bus=bus, node=0, compatible="x"))

        async def probe(dev: Device) -> int:
            return await machine.call(body, dev)

        driver = Driver(name="x", bus=bus, probe=probe, compatible=("x",), probe_type=probe_type)
        start = time.perf_counter_ns()
        await core.load_module(driver)
        return time.perf_counter_ns() - start

    return machine.run(main)


def per_probe(devices: int, body: Callable[[object], int], policy: str, *, serial: bool, rounds: int) -> None:
    ours, theirs, like = [], [], []
    for _ in range(rounds):
        theirs.append(futures_ns(devices, body, serial=serial) / devices)
        ours.append(host_ns(devices, body, policy, serial=serial) / devices)
        like.append(futures_ns(devices, measured(body), serial=serial) / devices)
    own, base, fair = (statistics.median(one) / 1000 for one in (ours, theirs, like))
    mode = "sync" if serial else "async"
    print(
        f"{body.__name__:6} {mode:5} {policy:11} {devices:5} devices {own:11.1f}{fair:11.1f}{base:11.1f}"
        f"{own / fair:11.2f}{own / base:6.2f}"
    )


def memory_per_device() -> None:
    tracemalloc.start()
    machine = HostMachine()

    async def main() -> float:
        core = DriverCore(machine, make_policy("inline"))
        bus = core.bus_register(PlatformBus())
        before = tracemalloc.get_traced_memory()[0]
        for index in range(2000):
            await core.device_add(Device(name=f"d{index}", bus=bus, node=0, compatible="x"))
        return (tracemalloc.get_traced_memory()[0] - before) / 2000

    print(f"memory of a registered device: {machine.run(main):.0f} bytes")
    tracemalloc.stop()


def scaling() -> None:
    """Pure Python bodies: one, then one per CPU in threads, then one per CPU in processes."""
    count = 2_000_000
    cpus = len(os.sched_getaffinity(0))

    def wall(bodies: int, *, process: bool) -> float:
        machine = HostMachine()

        async def body() -> None:
            call = machine.call_process if process else machine.call
            await call(crunch, 1)  # the child is there
            there.append(bodies)
            if len(there) == bodies:
                all_there.set()
            await ready.wait()
            await call(crunch, count)

        async def main() -> float:
            tasks = [machine.spawn(body, comm=f"body{i}") for i in range(bodies)]
            await all_there.wait()
            start = time.perf_counter()
            ready.set()
            for task in tasks:
                await machine.join(task)
            return time.perf_counter() - start

        there: list[int] = []
        all_there, ready = machine.event("all there"), machine.event("ready")
        return machine.run(main)

    one = statistics.median(wall(1, process=False) for _ in range(3))
    threads = statistics.median(wall(cpus, process=False) for _ in range(3))
    processes = statistics.median(wall(cpus, process=True) for _ in range(3))
    print(
        f"pure Python body: one {one * 1000:.0f} ms; {cpus} in threads {threads * 1000:.0f} ms ({threads / one:.2f}x "
        f"of one); {cpus} in processes {processes * 1000:.0f} ms ({processes / one:.2f}x of one)"
    )


def main() -> None:
    print(f"load average {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} CPUs")
    print("us per probe:                             numaprobe   measured    futures   numaprobe / measured, / futures")
    cases = [(policy, serial) for policy in ("inline", "strict-node") for serial in (True, False)]
    for body, sizes in ((empty, EMPTY_SIZES), (one_ms, ONE_MS_SIZES)):
        for devices, rounds in sizes:
            for policy, serial in cases:
                per_probe(devices, body, policy, serial=serial, rounds=rounds)
    memory_per_device()
    scaling()


if __name__ == "__main__":
    main()
