"""Pods, the unbound cpumask, and the ids and names of pools: against figures from real kernels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.cpuset import CpuSet
from numaprobe.errors import UsageError
from numaprobe.runtime import PROFILES, AffinityScope, Work
from numaprobe.topology import Housekeeping, Topology, symmetric
from numaprobe.workqueue.cpus import Cpus

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.runtime import KernelProfile
    from numaprobe.virtual import VirtualMachine

    Make = Callable[..., VirtualMachine]

EPYC = symmetric("epyc", nodes=2, llcs=8, cores=8, smt=2)
"""The machine of the measured tables: 256 CPUs, LLC 0 = 0-7,128-135."""


def guest(isolated: str = "") -> Topology:
    """Return the machine of the recorded guests: node 0 = CPUs 0-3, node 1 = CPUs 4-7, an LLC each."""
    keep = Housekeeping(isolated=CpuSet.parse_list(isolated), managed_irq=CpuSet.parse_list(isolated))
    return symmetric("guest", nodes=2, cores=4, housekeeping=keep)


def where(machine: VirtualMachine, node: int, *, cpu: int = 0, **queue: object) -> tuple[str, CpuSet]:
    """Return the worker that a work queued near ``node`` gets, and the CPUs that it may use."""
    seen: list[tuple[str, CpuSet]] = []
    wq = machine.alloc_workqueue("mine", unbound=True, **queue) if queue else machine.system_dfl_wq  # type: ignore[arg-type]

    async def body() -> None:
        seen.append((machine.current.comm, CpuSet(machine.blocker.running().mask)))

    async def main() -> None:
        work = Work(body, "async_run_entry_fn")
        machine.queue_work_node(node, wq, work)
        await machine.flush_work(work)

    machine.run(main, cpu=cpu)
    return seen[0]


def lists(groups: tuple[int, ...]) -> list[str]:
    return [str(CpuSet(bits)) for bits in groups]


SMALL = symmetric("small", nodes=2, llcs=2, cores=2, smt=2)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (AffinityScope.CPU, [str(cpu) for cpu in range(16)]),
        (AffinityScope.SMT, [f"{core},{core + 8}" for core in range(8)]),
        (AffinityScope.CACHE, ["0-1,8-9", "2-3,10-11", "4-5,12-13", "6-7,14-15"]),
        (AffinityScope.NUMA, ["0-3,8-11", "4-7,12-15"]),
        (AffinityScope.SYSTEM, ["0-15"]),
    ],
)
def test_pods_of_each_scope(scope: AffinityScope, expected: list[str]) -> None:
    assert lists(PROFILES["7.3"].pods(SMALL, scope)) == expected


@pytest.mark.parametrize(
    ("cores", "size", "sizes"),
    [(4, 8, [4]), (8, 8, [8]), (11, 8, [11]), (12, 8, [6, 6]), (16, 8, [8, 8]), (20, 8, [6, 7, 7]), (6, 1, [1] * 6)],
)
def test_an_llc_is_cut_into_shards_of_whole_cores(cores: int, size: int, sizes: list[int]) -> None:
    """max(1, round(cores / size)) shards, as even as they come."""
    topology = symmetric("llc", cores=cores, smt=2)
    shards = replace(PROFILES["7.3"], cache_shard_size=size).pods(topology)
    assert sorted(bits.bit_count() // 2 for bits in shards) == sorted(sizes)
    for bits in shards:
        assert all(core.bits & bits in (0, core.bits) for core in topology.cores)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(AffinityScope),
    st.integers(1, 20),
    st.integers(1, 40),
    st.integers(1, 2),
    st.sets(st.integers(0, 9)),
    st.sampled_from(list(PROFILES.values())),
)
def test_pods_are_a_partition(
    scope: AffinityScope, size: int, cores: int, smt: int, isolated: set[int], profile: KernelProfile
) -> None:
    keep = Housekeeping(isolated=CpuSet.of(isolated))
    topology = symmetric("m", nodes=2, cores=cores, smt=smt, housekeeping=keep)
    seen = 0
    for pod in replace(profile, cache_shard_size=size).pods(topology, scope):
        assert pod
        assert not pod & seen
        seen |= pod
    assert seen == topology.possible.bits


# ---- ids and names -------------------------------------------------------------------------------------------------
def test_the_seeds_pool_ids(make: Make) -> None:
    """256 possible CPUs: 0-1023 for BH and per-CPU pools, 1024 the default one, LLC k is 1025 + k."""
    machine = make(EPYC)
    wq = machine.workqueues.system_dfl_wq
    assert [(pool.label, str(CpuSet(pool.pod))) for pool in wq.pools[:2]] == [
        ("u1025", "0-7,128-135"),
        ("u1026", "8-15,136-143"),
    ]
    assert [pool.id for pool in wq.pools] == [1025 + k for k in range(16)]
    assert where(machine, 0, cpu=64)[0] == "kworker/u1025:0"


@pytest.mark.parametrize(
    ("profile", "node_0", "node_1"),
    [
        ("6.1", ("kworker/u17:0", "0-3"), ("kworker/u18:0", "4-7")),
        ("6.12", ("kworker/u33:0", "0-7"), ("kworker/u34:0", "0-7")),
        ("7.2", ("kworker/u33:0", "0-7"), ("kworker/u34:0", "0-7")),
    ],
)
def test_pools_of_the_recorded_guests(
    make: Make, profile: str, node_0: tuple[str, str], node_1: tuple[str, str]
) -> None:
    """8 CPUs: u16 is 6.1's default pool and u17, u18 its nodes'; with BH pools u32, u33, u34."""
    machine = make(guest(), profile)
    assert where(machine, 0, cpu=4) == (node_0[0], CpuSet.parse_list(node_0[1]))
    assert where(machine, 1, cpu=0) == (node_1[0], CpuSet.parse_list(node_1[1]))


@pytest.mark.parametrize(
    ("profile", "expected"),
    [("6.1", ("kworker/u18:0", "6-7")), ("6.12", ("kworker/u33:0", "0-3,6-7")), ("7.2", ("kworker/u32:0", "0-3,6-7"))],
)
def test_pools_of_the_recorded_isolated_guests(make: Make, profile: str, expected: tuple[str, str]) -> None:
    """isolcpus=4-5: the first CPU of node 1 is in no pod of it: CPU 0's serves it, since 7.2 any; 6.1 stays."""
    assert where(make(guest("4-5"), profile), 1, cpu=0) == (expected[0], CpuSet.parse_list(expected[1]))


@pytest.mark.parametrize("profile", ["6.12", "6.19", "7.0"])
def test_isolated_cpus_have_the_cache_id_of_cpu_0(make: Make, profile: str) -> None:
    """``sd_llc_id`` starts as 0 and nobody sets it for a CPU in no domain: work for node 1 starts on node 0."""
    machine = make(guest("4-5"), profile)
    assert lists(PROFILES[profile].pods(guest("4-5"))) == ["0-5", "6-7"]
    assert str(CpuSet(machine.workqueues.system_dfl_wq.pools[0].pod)) == "0-3"


@pytest.mark.parametrize("profile", ["6.12", "7.2", "7.3"])
def test_isolated_cpus_are_one_pod_where_no_cache_has_their_id(make: Make, profile: str) -> None:
    """CPU 0 is isolated too, so that no cache has the id 0; since 7.2 the id that they have is no cache's anyhow."""
    machine = make(guest("0,4-5"), profile)
    assert lists(PROFILES[profile].pods(guest("0,4-5"))) == ["0,4-5", "1-3", "6-7"]
    assert where(machine, 1, cpu=2) == ("kworker/u32:0", CpuSet.parse_list("1-3,6-7"))


def test_scope_numa_mends_isolation(make: Make) -> None:
    """``workqueue.default_affinity_scope=numa``: the node's other CPUs serve it."""
    machine = make(guest("4-5"), "7.2", scope=AffinityScope.NUMA)
    label, mask = where(machine, 1, cpu=0)
    assert (label, str(mask)) == ("kworker/u34:0", "0-3,6-7")
    assert str(CpuSet(machine.workqueues.system_dfl_wq.pools[1].pod)) == "6-7"


def test_one_pod_is_the_default_pool(make: Make) -> None:
    """A machine of one LLC has no pod of its own: the same attributes, the same pool."""
    assert where(make(symmetric("laptop", cores=4, smt=2)), 0)[0] == "kworker/u32:0"


def test_other_attributes_get_pools_of_their_own_and_equal_ones_share(make: Make) -> None:
    machine = make(guest(), "7.2")
    assert where(machine, 1, strict=True) == ("kworker/u37:0", CpuSet.parse_list("4-7"))
    assert where(machine, 1, strict=True)[0].startswith("kworker/u37:"), "shared with the queue above"
    assert where(machine, 1, scope=AffinityScope.NUMA)[0].startswith("kworker/u34:"), "the LLC is the node"
    assert where(machine, 1, scope=AffinityScope.CPU)[0].startswith("kworker/u42:"), "a pod for each CPU: u38-u45"


def test_shard_size(make: Make) -> None:
    machine = make(guest(), "7.2", shard_size=2)
    assert [str(CpuSet(pool.pod)) for pool in machine.workqueues.system_dfl_wq.pools] == ["0-1", "2-3", "4-5", "6-7"]
    with pytest.raises(UsageError, match="shard size"):
        make(guest(), "7.2", shard_size=0)


# ---- the unbound cpumask -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("isolated", "nohz_full", "unbound", "profile", "expected"),
    [
        ("", "", None, "6.12", "0-7"),
        ("4-5", "", None, "6.12", "0-3,6-7"),
        ("", "2-3", None, "6.12", "0-1,4-7"),
        ("", "2-3", None, "7.2", "0-7"),
        ("4-5", "2-3", "0-4", "6.12", "0-1"),
        ("4-5", "", "4-5", "6.12", "0-3,6-7"),
        ("0-7", "", None, "6.12", "0-7"),
        ("", "0-7", "6-7", "6.12", "6-7"),
    ],
)
def test_unbound_mask(isolated: str, nohz_full: str, unbound: str | None, profile: str, expected: str) -> None:
    """possible & HK_DOMAIN (& HK_WQ) & unbound_cpus, each skipped if it would leave nothing."""
    keep = Housekeeping(
        isolated=CpuSet.parse_list(isolated),
        nohz_full=CpuSet.parse_list(nohz_full),
        unbound_cpus=None if unbound is None else CpuSet.parse_list(unbound),
    )
    topology = symmetric("8", nodes=2, cores=4, housekeeping=keep)
    assert str(CpuSet(Cpus(topology, PROFILES[profile], topology.online.bits).unbound)) == expected
