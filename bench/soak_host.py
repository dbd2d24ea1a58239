"""A soak: real probes for long, faults among them; nothing may be lost, and the process may not grow.

``make soak`` (``python -m bench.soak_host [SECONDS] [SEED]``): one core for the whole time, as in a daemon. Each round
adds devices whose bodies (plain, async, in a process) do what a seeded dice says: mostly bind, else raise something of
every kind, hang past their deadline, cancel themselves, add a child, fork; now and then the system has no thread to
give. After each round every device must have as many records as probes, and be bound or unbound as its fault says;
then it is removed. Records, stories and warnings are bounded.

A line every so often says what the process holds; at the end there is a table of faults and outcomes. The exit status
is 1 if a device was lost or had another outcome than it should, or if memory, threads or files grew since the first
tenth by more than 2 MB, or than idle workers explain. It is no part of ``make bench``.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numaprobe
from numaprobe.drivercore import CoreOptions
from numaprobe.hostmachine import machine

if TYPE_CHECKING:
    from collections.abc import Callable

POLICIES: Final = ("strict-node", "inline")
DEVICES: Final = 60
LINES: Final = 40
MOST_KB: Final = 2048
#: Idle workers keep their threads, each with one file open; how many there are depends on the last rounds.
MOST_IDLE: Final = 16
#: So many warnings are kept: as many as the first rounds make, so that they are no growth later.
KEPT: Final = 500
#: A round that takes longer has lost something.
LONGEST_S: Final = 120.0
DEADLINE: Final = "150ms"

RAISES: Final[dict[str, Callable[[], BaseException]]] = {
    "raises": lambda: RuntimeError("as asked"),
    "memory": MemoryError,
    "cancelled": asyncio.CancelledError,
    "ctrl-c": KeyboardInterrupt,
    "exit": lambda: SystemExit(1),
    "generator-exit": GeneratorExit,
    "stop": StopIteration,
}
#: fault -> the results that a device with it may have
OUTCOMES: Final[dict[str, set[str]]] = {
    "good": {"0"},
    "sleeps": {"0"},
    "child": {"0"},
    "fork": {"0"},
    "defer": {"EPROBE_DEFER"},
    "hang": {"ETIMEDOUT"},
    "self-cancel": {"EIO"},
    **{name: {"ENOMEM" if name == "memory" else "EIO"} for name in RAISES},
}
#: How often each is thrown: half of all bodies are good.
WEIGHTS: Final = [12, 4, 2, 1, 1, 1, 1, *(1 for _ in RAISES)]


class Held(NamedTuple):
    """What the process holds."""

    memory_kb: int
    threads: int
    files: int


def held() -> Held:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  names, not paths
    return Held(pages * os.sysconf("SC_PAGE_SIZE") // 1024, threading.active_count(), files)


def fault_of(dev: numaprobe.Device | numaprobe.DeviceView) -> str:
    return dev.name.split(".")[1]


def plain_fault(core: numaprobe.Core, dev: numaprobe.Device) -> None:
    """Do what a plain body is to do."""
    what = fault_of(dev)
    if what in RAISES or what == "self-cancel":
        error = RAISES.get(what, asyncio.CancelledError)()
        raise error
    if what == "defer":
        raise numaprobe.Defer("for ever")
    if what == "sleeps":
        time.sleep(0.001)
    elif what == "hang":
        time.sleep(0.4)
    elif what == "child":
        core.add(f"{dev.name}.child", compatible="leaf", parent=dev)
    elif what == "fork":
        fork(core, dev)


def fork(core: numaprobe.Core, dev: numaprobe.Device) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            core.add("never", parent=dev)
        except numaprobe.errors.UsageError:
            os._exit(0)
        os._exit(1)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise RuntimeError("the core answered a child that was forked")


async def async_fault(core: numaprobe.Core, dev: numaprobe.Device) -> None:
    """Do what an async body is to do."""
    what = fault_of(dev)
    await asyncio.sleep(0)
    if what == "self-cancel":
        task = asyncio.current_task()
        if task is not None:
            task.cancel()
        await asyncio.sleep(1)
    elif what == "hang":
        await asyncio.sleep(5)
    elif what == "sleeps":
        await core.machine.sleep(1_000_000)
    elif what == "child":
        await core.aio.add(f"{dev.name}.child", compatible="leaf", parent=dev)
    elif what != "fork":
        plain_fault(core, dev)


@numaprobe.driver("process-*", process=True, deadline="60s")
def process(dev: numaprobe.DeviceView) -> None:
    what = fault_of(dev)
    if what in RAISES:
        error = RAISES[what]()
        raise error


@numaprobe.driver("leaf")
def leaf(dev: numaprobe.Device) -> None:
    """Bind."""


def drivers(core: numaprobe.Core) -> list[numaprobe.DeviceDriver]:
    """Return a driver of each kind, synchronous and asynchronous."""
    made: list[numaprobe.DeviceDriver] = [process, leaf]
    for kind in (numaprobe.ProbeType.FORCE_SYNCHRONOUS, numaprobe.ProbeType.PREFER_ASYNCHRONOUS):

        @numaprobe.driver(f"plain-{kind}", name=f"plain-{kind}", probe_type=kind, deadline=DEADLINE)
        def plain(dev: numaprobe.Device) -> None:
            plain_fault(core, dev)

        @numaprobe.driver(f"async-{kind}", name=f"async-{kind}", probe_type=kind, deadline=DEADLINE)
        async def coroutine(dev: numaprobe.Device) -> None:
            await async_fault(core, dev)

        made += [plain, coroutine]
    return made


class Scarcity:
    """While it is on, the system has no thread to give."""

    def __init__(self) -> None:
        self._real = threading.Thread.start
        self._on = False
        scarcity = self

        def start(thread: threading.Thread) -> None:
            if scarcity._on and thread.name.startswith("kworker"):
                raise RuntimeError("can't start new thread")
            scarcity._real(thread)

        threading.Thread.start = start  # type: ignore[method-assign]

    def set(self, *, on: bool) -> None:
        self._on = on


class Soak:
    """One core and what happened to its devices."""

    def __init__(self, core: numaprobe.Core, seed: int, scarcity: Scarcity) -> None:
        self._core = core
        self._dice = random.Random(seed)
        self._scarcity = scarcity
        self._count = 0
        self.seen: Counter[tuple[str, str, str]] = Counter()
        self.lost: list[str] = []
        core.register(*drivers(core))

    def round(self) -> None:
        """Add devices, wait, look at each, remove them."""
        scarce = self._dice.random() < 0.1
        self._scarcity.set(on=scarce)
        devices = [self._add() for _ in range(DEVICES)]
        self._core.machine.submit(self._core._operations.wait, comm="soak").result(LONGEST_S)  # noqa: SLF001
        self._scarcity.set(on=False)
        last = {record.device: record.result or "" for record in self._core.records}
        for dev in devices:
            self._judge(dev, last.get(dev.name), scarce=scarce)
        self._core._operations.core.validate()  # noqa: SLF001
        for dev in reversed(devices):
            self._core.remove(dev)

    def _add(self) -> numaprobe.Device:
        kind = self._dice.choice(["plain", "async"])
        when = self._dice.choice(["force-synchronous", "prefer-asynchronous"])
        (what,) = self._dice.choices(list(OUTCOMES), WEIGHTS)
        if self._dice.random() < 0.05 and what in (*RAISES, "good"):
            kind = "process"
        self._count += 1
        return self._core.add(f"{kind}.{what}.{self._count}", compatible=f"{kind}-{when}", node=0)

    def _judge(self, dev: numaprobe.Device, result: str | None, *, scarce: bool) -> None:
        kind, what, _ = dev.name.split(".")
        self.seen[kind, what, result or "NONE"] += 1
        right = OUTCOMES[what] | ({"EAGAIN", "ETIMEDOUT"} if scarce else set())
        late = {"ETIMEDOUT"}  # any body may be late where others have the CPU
        if result not in right | late or dev.is_bound != (result == "0") or dev.state not in ("bound", "unbound"):
            self.lost.append(f"{dev.name}: {result}, {dev.state}")


def soak(most_s: float, seed: int) -> int:
    scarcity, failures = Scarcity(), 0
    machine.WARNINGS_KEPT = KEPT  # type: ignore[misc]
    for policy in POLICIES:
        options = CoreOptions(keep_records=10 * DEVICES, keep_story=50)
        with numaprobe.host(policy, options=options, shutdown_s=30, grace_s=5) as core:
            work = Soak(core, seed, scarcity)
            lines = go_on(work, policy, most_s / len(POLICIES))
            print_table(work, policy)
        failures += bool(work.lost) + growth(lines)
    print(f"seed {seed}: {'FAILED' if failures else 'nothing lost, nothing grew'}")
    return int(failures > 0)


def go_on(work: Soak, policy: str, most_s: float) -> list[Held]:
    start, lines = time.monotonic(), []
    while (passed := time.monotonic() - start) < most_s:
        work.round()
        if passed >= len(lines) * most_s / LINES:
            lines.append(held())
            print(f"{policy:12} {work.seen.total():9} devices {passed:6.0f} s   {lines[-1]}", flush=True)
    return lines


def print_table(work: Soak, policy: str) -> None:
    rows: dict[str, Counter[str]] = {}
    for (kind, what, result), count in sorted(work.seen.items()):
        rows.setdefault(f"{kind} {what}", Counter())[result] += count
    for name, results in rows.items():
        print(f"{policy:12} {name:24} {', '.join(f'{result} {count}' for result, count in results.most_common())}")
    for line in work.lost[:20]:
        print(f"LOST {line}")
    print(f"{policy}: {work.seen.total()} devices, {len(work.lost)} lost")


def growth(lines: list[Held]) -> int:
    if len(lines) < 4:
        print("too short to say anything of growth")
        return 0
    first, last = lines[max(1, len(lines) // 10)], lines[-1]
    memory, threads, files = (b - a for a, b in zip(first, last, strict=True))
    most = [max(column) for column in zip(*lines[len(lines) // 10 :], strict=True)]
    print(f"growth since the first tenth: {memory} KB, {threads} threads, {files} files; at most {Held(*most)}")
    return int(memory > MOST_KB or threads > MOST_IDLE or files > MOST_IDLE)


if __name__ == "__main__":
    arguments = [float(text) for text in sys.argv[1:]]
    sys.exit(soak(arguments[0] if arguments else 600, int(arguments[1]) if len(arguments) > 1 else 1))
