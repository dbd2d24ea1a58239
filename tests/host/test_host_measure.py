"""What a stretch cost adds up, whatever the clocks say: cost = running + runnable + sleeping."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from numaprobe.cpuset import CpuSet
from numaprobe.hostmachine.attributes import ANYTHING
from numaprobe.hostmachine.measure import Stretch
from numaprobe.topology import symmetric


def task(*delays_ns: int) -> Any:
    """Return a task whose thread waited so long for CPUs, at each time of asking."""
    left = list(delays_ns)
    thread = SimpleNamespace(run_delay_ns=lambda: left.pop(0), held_on=None)
    return SimpleNamespace(stretch=None, thread=thread, home=ANYTHING)


@pytest.mark.parametrize("jobs", [[(9_000_000, 0)], [(600_000, 0), (9_000_000, 2)], [(9_000_000, 0), (9_000_000, 2)]])
def test_a_thread_clock_ahead_of_the_wall_leaves_no_negative_time(jobs: list[tuple[int, int]]) -> None:
    stretch = Stretch(task(0, 5_000), symmetric("two", nodes=2, cores=2), now=1_000)
    for running_ns, cpu in jobs:
        stretch.ran(running_ns, cpu, cpu)
    usage = stretch.usage(1_001_000, CpuSet.parse_list("0-3"))
    assert usage.running_ns == sum((usage.running_by_node or {}).values()) == 1_000_000
    assert (usage.runnable_ns, usage.sleeping_ns) == (0, 0)


def test_clocks_that_agree_are_taken_as_they_are() -> None:
    stretch = Stretch(task(100, 400_100), symmetric("two", nodes=2, cores=2), now=0)
    stretch.ran(500_000, 0, 0)
    usage = stretch.usage(1_000_000, CpuSet.parse_list("0-3"))
    assert (usage.running_ns, usage.runnable_ns, usage.sleeping_ns) == (500_000, 400_000, 100_000)
