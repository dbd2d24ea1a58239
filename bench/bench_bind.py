"""What binding costs beside the binding: a thousand devices of a fake kernel, planned and bound.

The kernel is the tests' own, which moves links in a folder and takes no time to probe; what it costs alone, in a plain
loop, is measured beside it. Planning holds the guard's look at the whole machine; binding holds threads, journal and
the guard's second look before each write. Times are wall and CPU seconds, medians of several runs.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from numaprobe.bringup.clock import system_clock
from numaprobe.bringup.guard import Guard
from numaprobe.bringup.perform import Performance
from numaprobe.bringup.planner import Wish, make_plan
from numaprobe.bringup.tools import BringupTools
from numaprobe.bringup.write import Writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.bringup.plan import Plan

DEVICES = 1_000
ROUNDS = 5
BOUND_S = 2.0
#: where the fake kernel's tree is, as sysfs is: in memory
MEMORY = "/dev/shm"  # noqa: S108  a folder of random name is made in it


def _kernel(folder: Path) -> object:
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests/bringup"))
    from fake_kernel import FakeKernel

    kernel = FakeKernel(folder)
    kernel.driver("pci", "nvme", ids=[(0x144D, 0xA808)])
    for number in range(DEVICES):
        bus, rest = divmod(number, 256)
        kernel.device("pci", f"{bus:04x}:{rest // 8:02x}:{rest % 8:02x}.0", node=number % 2)
    return kernel


def _timed(body: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    body()
    return time.perf_counter() - wall, time.process_time() - cpu


def _one(folder: Path, jobs: int) -> dict[str, tuple[float, float]]:
    kernel = _kernel(folder / "root")
    guard = Guard(kernel.sysfs, kernel)
    devices = list(kernel.sysfs.devices(["pci"]))
    wish = Wish(action="bind", driver="nvme", jobs=jobs)
    plans: list[Plan] = []
    times = {"plan": _timed(lambda: plans.append(make_plan(kernel.sysfs, guard, devices, wish)))}
    plan = plans[0]
    tools = BringupTools(
        state=folder / "state",
        clock=system_clock(),
        sysfs=kernel.sysfs,
        writer=Writer(kernel.sysfs, lambda path, data: kernel.write(path, data.decode())),
        recheck=lambda change: guard.recheck(change, plan),
    )
    with Performance(plan, tools, command="bind") as performance:
        times["bind"] = _timed(performance.run)
    if performance.report.failures:
        sys.exit(f"bench: {performance.report.failures[0]}")
    plain = [(kernel.sysfs.bind_file("pci", "nvme"), change.name) for change in plan.changes]
    for change in plan.changes:
        kernel.write(kernel.sysfs.unbind_file("pci", "nvme"), change.name)
    times["the fake kernel alone"] = _timed(lambda: [kernel.write(*one) for one in plain])
    return times


def main() -> None:
    """Print the table."""
    print(f"{f'{DEVICES:,} devices':28} {'jobs':>5} {'wall':>9} {'CPU':>9}")
    for jobs in (1, 16):
        with tempfile.TemporaryDirectory(dir=MEMORY if Path(MEMORY).is_dir() else None) as folder:
            rounds = [_one(Path(folder) / str(number), jobs) for number in range(ROUNDS)]
        total = [0.0, 0.0]
        for what in rounds[0]:
            wall, cpu = (statistics.median(one[what][index] for one in rounds) for index in (0, 1))
            if what != "the fake kernel alone":
                total = [total[0] + wall, total[1] + cpu]
            print(f"{what:28} {jobs:>5} {wall:7.2f} s {cpu:7.2f} s", flush=True)
        print(f"{'planned and bound':28} {jobs:>5} {total[0]:7.2f} s {total[1]:7.2f} s   bound {BOUND_S:g} s")
