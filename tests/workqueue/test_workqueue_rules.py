"""The rules alone: choices of CPUs with their fall-backs, and a pool whose worker is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from numaprobe.cpuset import CpuSet
from numaprobe.runtime import Work, kernel_profile
from numaprobe.testing import FakeMachine
from numaprobe.topology import Housekeeping, symmetric
from numaprobe.workqueue.cpus import Cpus
from numaprobe.workqueue.validate import validate

if TYPE_CHECKING:
    from numaprobe.runtime import Task


def cpus(online: str, isolated: str = "") -> Cpus:
    keep = Housekeeping(isolated=CpuSet.parse_list(isolated))
    topology = symmetric("two nodes", nodes=2, cores=4, housekeeping=keep)
    return Cpus(topology, kernel_profile("6.12"), CpuSet.parse_list(online).bits)


@pytest.mark.parametrize(
    ("online", "isolated", "shares"),
    [
        ("0-7", "", (10, 10)),
        ("0-3", "", (20, 3)),
        ("0-4", "", (16, 4)),
        ("0-7", "4-6", (16, 4)),
        ("4-7", "4-7", (3, 3)),
    ],
)
def test_a_node_s_share_of_max_active(online: str, isolated: str, shares: tuple[int, int]) -> None:
    """Its part of the unbound CPUs online, rounded up, at least min_active; without any such CPU, min_active."""
    found = cpus(online, isolated)
    assert (found.share(0, 20, 3), found.share(1, 20, 3)) == shares
    assert found.share(-1, 20, 3) == 20, "pods on no single node have all"


@pytest.mark.parametrize(
    ("online", "isolated", "pod", "homeless"),
    [
        ("0-7", "", "4-7", "0-7"),
        ("0-7", "4-5", "6-7", "0-3,6-7"),
        ("0-3", "", "0-7", "0-7"),
        ("4-5", "4-5", "0-3,6-7", "0-7"),
    ],
)
def test_fall_backs_of_sets(online: str, isolated: str, pod: str, homeless: str) -> None:
    found = cpus(online, isolated)
    assert str(CpuSet(found.of_pod(CpuSet.parse_list("4-7").bits))) == pod
    assert str(CpuSet(found.homeless())) == homeless


def test_a_pick_of_an_offline_set_is_any_cpu_online() -> None:
    found = cpus("0-3")
    assert [found.distribute(CpuSet.parse_list("4-7").bits) for _ in range(5)] == [0, 1, 2, 3, 0]


def test_the_works_of_a_lost_worker_are_done_by_others() -> None:
    """What raises breaks a promise and ends its worker; its follower, and what waits for a slot, still run."""
    machine = FakeMachine()
    wq = machine.alloc_workqueue("one", unbound=False, max_active=2)
    seen: list[Task] = []

    async def bad() -> None:
        seen.append(machine.current)
        await machine.sleep(5)
        if len(seen) == 1:
            raise LookupError("as asked")

    async def good() -> None:
        seen.append(machine.current)

    async def main() -> None:
        work, held = Work(bad, "bad_fn"), Work(good, "good_fn")
        machine.queue_work_on(1, wq, work)
        await machine.sleep(1)
        assert machine.queue_work_on(0, wq, work), "it follows itself, on the pool that runs it"
        machine.queue_work_on(1, wq, held)
        machine.validate()
        await machine.flush_work(held)
        await machine.flush_work(work)
        assert [task.comm.partition(":")[0] for task in seen] == ["kworker/1"] * 3
        validate(machine.workqueues)

    with pytest.raises(LookupError):
        machine.run(main)
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("written", "isolated_then", "unbound", "taken"),
    [
        ("2-3", "", "2-3", True),
        ("2-9", "", "2-7", True),  # what is not possible is left out
        ("", "", "0-3,6-7", False),  # EINVAL
        ("8-9", "", "0-3,6-7", False),
        ("4-5", "", "4-5", True),  # isolated ones may be written on purpose
        ("2-5", "2", "3-5", True),  # a partition is taken out of what was asked for last
        ("2", "2", "2", True),  # unless nothing is left of it
    ],
)
def test_the_unbound_cpumask_is_what_was_written(written: str, isolated_then: str, unbound: str, taken: bool) -> None:
    """``workqueue_set_unbound_cpumask`` and ``workqueue_unbound_exclude_cpumask``, on a machine booted with 4-5 out."""
    found = cpus("0-7", "4-5")
    assert found.request(CpuSet.parse_list(written).bits) == taken
    if isolated_then:
        found.isolate(CpuSet.parse_list(isolated_then).bits)
    assert str(CpuSet(found.unbound)) == unbound
