"""A soak: real probes one after the other, for long, and what the process holds meanwhile.

``python -m bench.soak_host [PROBES] [SECONDS]`` binds and unbinds devices (half of them synchronously, half through
async workers), and adds and removes some, until so many probes or seconds have passed: 1,000,000 or 600 by default.
Records and stories are bounded, as in a daemon. A line every so often says memory, threads and open files; at the end
the growth since the first tenth is printed, and the exit code is 1 if it is more than 2 MB, a thread or a file.
It is no part of ``make bench``.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

from numaprobe.buses import PlatformBus
from numaprobe.drivercore import CoreOptions, Device, Driver, DriverCore, ProbeType
from numaprobe.host import HostMachine
from numaprobe.policies import make_policy

DEVICES = 50
ROUNDS_PER_LINE = 200
MOST_KB = 2048


class Held(NamedTuple):
    """What the process holds."""

    memory_kb: int
    threads: int
    files: int


def held() -> Held:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  names, not paths
    return Held(pages * os.sysconf("SC_PAGE_SIZE") // 1024, threading.active_count(), files)


class Soak:
    """One core, its two drivers, and a round of what happens to them."""

    def __init__(self, machine: HostMachine) -> None:
        self._machine = machine
        self.core = DriverCore(machine, make_policy("strict-node"), CoreOptions(keep_records=1000, keep_story=50))
        self._bus = self.core.bus_register(PlatformBus())
        self._drivers = [
            Driver(name="sync", bus=self._bus, probe=self._probe, compatible=("sync",)),
            Driver(
                name="async",
                bus=self._bus,
                probe=self._probe,
                compatible=("async",),
                probe_type=ProbeType.PREFER_ASYNCHRONOUS,
            ),
        ]

    async def _probe(self, dev: Device) -> int:
        return await self._machine.call(len, dev.name) * 0

    @property
    def probes(self) -> int:
        return len(self.core.records) + self.core.records_dropped

    async def round(self) -> None:
        """Load both drivers over all devices, rename some of these, unload."""
        for driver in self._drivers:
            await self.core.load_module(driver)
        await self.core.wait_for_device_probe()
        for driver in self._drivers:
            await self.core.driver_unregister(driver)
        oldest = next(iter(self._bus.devices.values()), None)
        if oldest is not None:
            await self.core.device_del(oldest)
        await self.fill()

    async def fill(self) -> None:
        """Add devices until there are as many as there should be; names are never used again."""
        while len(self._bus.devices) < DEVICES:
            number = int(next(reversed(self._bus.devices), "d-1")[1:]) + 1
            kind = "async" if number % 2 else "sync"
            await self.core.device_add(Device(name=f"d{number}", bus=self._bus, node=0, compatible=kind))


def soak(most_probes: int, most_s: float) -> int:
    machine, start = HostMachine(), time.monotonic()
    lines: list[Held] = []

    async def main() -> None:
        work = Soak(machine)
        rounds = 0
        await work.fill()
        while work.probes < most_probes and time.monotonic() - start < most_s:
            await work.round()
            rounds += 1
            if rounds % ROUNDS_PER_LINE == 0:
                work.core.validate()
                lines.append(held())
                print(f"{work.probes:9} probes {time.monotonic() - start:6.0f} s   {lines[-1]}", flush=True)

    machine.run(main)
    return growth(lines)


def growth(lines: list[Held]) -> int:
    if len(lines) < 2:
        print("too short to say anything of growth")
        return 1
    first, last = lines[len(lines) // 10], lines[-1]
    memory, threads, files = (b - a for a, b in zip(first, last, strict=True))
    print(f"growth since the first tenth: {memory} KB, {threads} threads, {files} files")
    return int(memory > MOST_KB or threads > 0 or files > 0)


if __name__ == "__main__":
    arguments = [float(text) for text in sys.argv[1:]]
    sys.exit(soak(int(arguments[0] if arguments else 1_000_000), arguments[1] if len(arguments) > 1 else 600))
