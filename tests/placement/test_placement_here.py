"""The witness, and the whole on this computer."""

from __future__ import annotations

import mmap
import os
import threading
from typing import TYPE_CHECKING

import pytest

from numaprobe.cpuset import CpuSet
from numaprobe.placement.look import SIZE, look_around, parse_numa_map
from numaprobe.placement.observe import observe, this_computer
from numaprobe.placement.report import make_report

if TYPE_CHECKING:
    from numaprobe.placement.seen import Glimpse


def look_in_thread(cpu: int) -> Glimpse:
    seen: list[Glimpse] = []

    def main() -> None:
        os.sched_setaffinity(0, {cpu})
        seen.append(look_around())

    thread = threading.Thread(target=main)
    thread.start()
    thread.join()
    return seen[0]


def test_a_pinned_thread_sees_itself() -> None:
    cpu = max(os.sched_getaffinity(0))
    glimpse = look_in_thread(cpu)
    assert glimpse.cpu == cpu
    assert glimpse.allowed == CpuSet.of([cpu])
    assert glimpse.memory is None or sum(glimpse.memory.values()) == SIZE


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("7f00 default anon=4 dirty=4 active=0 N0=3 N1=1 kernelpagesize_kB=4\n", {0: 12288, 1: 4096}),
        ("7f00 prefer:1 file=/dev/zero\\040(deleted) dirty=1 N12=1 kernelpagesize_kB=2048\n", {12: 2 << 20}),
        ("7f00 bind:0 anon=1 N0=1\n", {0: mmap.PAGESIZE}),
        ("7f00 default\n", {}),
        ("", {}),
    ],
)
def test_a_line_of_numa_maps(line: str, expected: dict[int, int]) -> None:
    assert parse_numa_map(line) == expected


def test_this_computer_is_as_predicted() -> None:
    steps: list[str] = []
    observation = observe(["inline", "work-on-cpu", "strict-node"], "6.19", step=steps.append)
    report = make_report(observation)
    assert report.disagreements == ()
    assert report.passed
    assert len(steps) == len(observation.runs)
    assert steps[0].startswith("inline, platform, sync, caller on CPU ")
    assert observation.kernel == os.uname().release


def test_cpus_that_this_process_may_not_use_are_off_line() -> None:
    assert set(this_computer().online) == os.sched_getaffinity(0)
