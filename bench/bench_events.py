"""Events per second beside SimPy: the same pattern of timeouts, in the same process, turn about.

The pattern: N processes, each of which waits again and again, all with periods of their own (so that no two timeouts
share an instant). Setting up is inside the measured time on both sides. With the CPU model off a wait of ours is what
a timeout of SimPy's is: one event. With it on, each wait is a sleep, a wake-up, a choice of a CPU and a run. Figures
are medians of CPU time; the ratio is that of the medians.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import simpy

from numaprobe.topology import symmetric
from numaprobe.virtual import CpuModel, VirtualMachine

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

TIMEOUTS = 200_000
RUNS = 7


def _simpy(processes: int) -> None:
    env = simpy.Environment()

    def process(period: int) -> Generator[Any, Any, None]:
        for _ in range(TIMEOUTS // processes):
            yield env.timeout(period)

    for number in range(processes):
        env.process(process(1000 + number))
    env.run()


def _ours(processes: int, model: CpuModel) -> None:
    machine = VirtualMachine(symmetric("two sockets", nodes=2, llcs=8, cores=8, smt=2), cpu_model=model)

    async def process(period: int) -> None:
        for _ in range(TIMEOUTS // processes):
            await machine.sleep(period)

    async def main() -> None:
        for number in range(processes):
            machine.spawn(lambda period=1000 + number: process(period), comm="p")

    machine.run(main)


def _median_rates(sides: list[Callable[[], None]]) -> list[float]:
    """Run the sides turn about; return the timeouts per second of CPU time of each."""
    times: list[list[float]] = [[] for _ in sides]
    for _ in range(RUNS):
        for side, taken in zip(sides, times, strict=True):
            start = time.process_time()
            side()
            taken.append(time.process_time() - start)
    return [TIMEOUTS / statistics.median(taken) for taken in times]


def main() -> None:
    """Print the table."""
    print(f"{'timeouts/s':>12} {'SimPy':>11} {'model off':>12} {'ratio':>8} {'model on':>12} {'ratio':>8}")
    for processes in (10, 1_000, 10_000):
        theirs, off, full = _median_rates(
            [
                lambda n=processes: _simpy(n),  # type: ignore[misc]
                lambda n=processes: _ours(n, CpuModel.off),  # type: ignore[misc]
                lambda n=processes: _ours(n, CpuModel()),  # type: ignore[misc]
            ]
        )
        ours = f"{off:12,.0f} {off / theirs:7.2f}x {full:12,.0f} {full / theirs:7.2f}x"
        print(f"{processes:6} procs {theirs:11,.0f} {ours}", flush=True)
    print("bound: model off at least 1.0x SimPy")
