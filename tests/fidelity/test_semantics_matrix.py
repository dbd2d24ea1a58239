"""What the kernels do, case by case: profile by policy, where each probe starts and whether it leaves its node.

Expectations are from the list of observed and read facts in ``docs/kernel-profiles.md`` (guests of 6.1, 6.12, 7.2, 7.3
and their sources), not from the virtual machine.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest

from numaprobe.policies import POLICIES
from numaprobe.runtime import PROFILES
from numaprobe.scenario import load_scenario, run_scenario
from numaprobe.scenario.schema import Caller

if TYPE_CHECKING:
    from numaprobe.records import ProbeRecord, Trace

#: policies whose PCI probes end in a kworker of one CPU
PER_CPU = ("work-on-cpu", "probe-workqueue")
#: policies whose async probes stay in their soft async worker
SOFT = ("inline", "skip-in-worker", "queue-on-node", "exec-on-node", "probe-on-node")
SINCE_7 = ("7.0", "7.2", "7.3")
NON_STRICT = [name for name, profile in PROFILES.items() if not profile.hard_unbound_pools]


@cache
def run(scenario: str, policy: str, kernel: str, cmdline: str | None = None, caller_cpu: int | None = None) -> Trace:
    chosen = load_scenario(scenario)
    if caller_cpu is not None:
        chosen = chosen.model_copy(update={"caller": Caller(cpu=caller_cpu)})
    return run_scenario(chosen, policy, kernel=kernel, cmdline=cmdline)


def cpus(trace: Trace) -> set[int | None]:
    return {record.cpu for record in trace.probes}


def left_node(record: ProbeRecord) -> bool:
    return bool(record.remote_ns)


def kinds(trace: Trace) -> set[str]:
    return {warning.kind for warning in trace.warnings}


# ---- isolation at boot ---------------------------------------------------------------------------------------------
BOOT_ISOLATED = "isolcpus=domain,0-3"


@pytest.mark.parametrize("kernel", PROFILES)
@pytest.mark.parametrize("policy", PER_CPU)
def test_boot_isolation_moves_pci_to_the_next_cpu_of_the_node(kernel: str, policy: str) -> None:
    assert cpus(run("nohz-full", policy, kernel, BOOT_ISOLATED)) == {4}


@pytest.mark.parametrize("kernel", PROFILES)
@pytest.mark.parametrize("policy", PER_CPU)
def test_pci_probes_in_the_caller_for_a_wholly_isolated_node(kernel: str, policy: str) -> None:
    trace = run("nohz-full", policy, kernel, "isolcpus=domain,0-7", 8)
    assert {record.comm for record in trace.probes} == {record.caller_comm for record in trace.probes}


@pytest.mark.parametrize("kernel", NON_STRICT)
@pytest.mark.parametrize("policy", SOFT)
def test_an_isolated_first_pod_sends_unbound_work_machine_wide(kernel: str, policy: str) -> None:
    trace = run("nohz-full", policy, kernel, BOOT_ISOLATED, 8)
    first_unbound = 4 * 16  # two BH and two per-CPU pools for each of the 16 possible CPUs
    assert {record.comm.partition(":")[0] for record in trace.probes if record.comm} == {f"kworker/u{first_unbound}"}


@pytest.mark.parametrize("kernel", NON_STRICT)
def test_scope_numa_mends_it(kernel: str) -> None:
    trace = run("nohz-full", "probe-on-node", kernel, f"{BOOT_ISOLATED} workqueue.default_affinity_scope=numa", 8)
    assert {record.comm.partition(":")[0] for record in trace.probes if record.comm} == {"kworker/u65"}
    assert all(record.local for record in trace.probes)


@pytest.mark.parametrize("policy", SOFT)
def test_hard_pools_of_6_1_stay_on_the_node_however_it_is_isolated(policy: str) -> None:
    trace = run("nohz-full", policy, "6.1", BOOT_ISOLATED, 8)
    assert cpus(trace) <= set(range(4, 8))
    assert not any(left_node(record) for record in trace.probes)


# ---- isolation at run time, nohz_full ------------------------------------------------------------------------------
@pytest.mark.parametrize("kernel", PROFILES)
@pytest.mark.parametrize("policy", PER_CPU)
def test_run_time_isolation_is_followed_by_pci_since_7_0(kernel: str, policy: str) -> None:
    assert cpus(run("isolated-at-run-time", policy, kernel)) == ({4} if kernel in SINCE_7 else {0})


@pytest.mark.parametrize("kernel", PROFILES)
def test_nohz_full_cpus_are_avoided_by_pci_until_6_19_and_not_since(kernel: str) -> None:
    mainline = PROFILES[kernel].pci_policy
    assert cpus(run("nohz-full", mainline, kernel)) == ({0} if kernel in SINCE_7 else {4})


# ---- shards, nodes without CPUs, no node -----------------------------------------------------------------------------
@pytest.mark.parametrize("policy", SOFT)
def test_small_shards_start_all_of_a_node_in_its_first_shard(policy: str) -> None:
    trace = run("small-shards", policy, "7.3")
    pools = {record.comm.partition(":")[0] for record in trace.probes if record.comm}
    assert pools == {"kworker/u129"}  # 32 CPUs: default pool u128, the first shard's after it
    assert all(record.local for record in trace.probes)


@pytest.mark.parametrize("kernel", PROFILES)
@pytest.mark.parametrize("policy", PER_CPU)
def test_pci_probes_in_the_caller_for_a_node_without_cpus(kernel: str, policy: str) -> None:
    trace = run("node-without-cpus", policy, kernel)
    assert {(record.cpu, record.comm) for record in trace.probes} == {(0, "modprobe")}


@pytest.mark.parametrize("kernel", PROFILES)
@pytest.mark.parametrize("policy", ["queue-on-node", "exec-on-node", "probe-on-node"])
def test_queue_work_node_takes_the_callers_pod_for_a_node_without_cpus(kernel: str, policy: str) -> None:
    trace = run("node-without-cpus", policy, kernel)
    assert all((record.comm or "").startswith("kworker/u") for record in trace.probes)
    assert {record.cpu_node for record in trace.probes} == {0}


@pytest.mark.parametrize("kernel", PROFILES)
@pytest.mark.parametrize("policy", POLICIES)
def test_without_a_node_sync_stays_with_the_caller_and_async_on_its_pod(kernel: str, policy: str) -> None:
    trace = run("no-node", policy, kernel)
    sync = {(record.cpu, record.comm) for record in trace.probes if not record.asynchronous}
    assert sync == {(8, "modprobe")}
    asynchronous = [record for record in trace.probes if record.asynchronous]
    assert {record.cpu_node for record in asynchronous} == {1}
    assert all(record.local is None for record in asynchronous)


# ---- a busy machine --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kernel", NON_STRICT)
@pytest.mark.parametrize("policy", SOFT)
def test_soft_workers_leave_a_busy_node(kernel: str, policy: str) -> None:
    trace = run("busy", policy, kernel)
    assert any(left_node(record) for record in trace.probes if record.asynchronous)


@pytest.mark.parametrize("kernel", PROFILES)
@pytest.mark.parametrize("policy", [*PER_CPU, "migrate-caller", "strict-node", "spread"])
def test_bound_and_strict_workers_stay_on_a_busy_node_and_wait(kernel: str, policy: str) -> None:
    trace = run("busy", policy, kernel)
    assert not any(left_node(record) for record in trace.probes)
    assert all(record.local for record in trace.probes)
    assert sum(record.runnable_ns or 0 for record in trace.probes) > 0


@pytest.mark.parametrize("policy", SOFT)
def test_hard_pools_of_6_1_stay_too(policy: str) -> None:
    trace = run("busy", policy, "6.1")
    assert not any(left_node(record) for record in trace.probes if record.asynchronous)


def test_pinning_keeps_a_sync_probe_on_a_busy_node() -> None:
    loose, pinned = (run("busy", policy, "7.3") for policy in ("probe-on-node", "probe-on-node+pin"))
    assert any(left_node(record) for record in loose.probes if not record.asynchronous)
    assert not any(left_node(record) for record in pinned.probes if not record.asynchronous)


# ---- parallel binds, nested probes -----------------------------------------------------------------------------------
@pytest.mark.parametrize("kernel", PROFILES)
@pytest.mark.parametrize("policy", [*PER_CPU, "skip-in-worker"])
def test_parallel_binds_collapse_on_the_nodes_first_cpu(kernel: str, policy: str) -> None:
    trace = run("parallel-binds", policy, kernel)
    nvme = [record for record in trace.probes if record.driver == "nvme"]
    assert {record.cpu for record in nvme} == {8}
    assert {record.caller_cpu for record in nvme} == {0, 1, 2}


@pytest.mark.parametrize("kernel", PROFILES)
@pytest.mark.parametrize("policy", [*PER_CPU, "inline", "migrate-caller", "skip-in-worker", "queue-on-node"])
def test_a_pinned_writer_chooses_the_cpu_of_a_bus_without_node_code(kernel: str, policy: str) -> None:
    trace = run("parallel-binds", policy, kernel)
    platform = [record for record in trace.probes if record.driver == "pmem"]
    assert {(record.cpu, record.comm) for record in platform} == {(0, "sh"), (1, "sh"), (2, "sh")}
    assert not any(record.local for record in platform)


@pytest.mark.parametrize("policy", ["exec-on-node", "probe-on-node", "strict-node", "spread"])
def test_driver_core_policies_move_it_to_its_node(policy: str) -> None:
    assert all(record.local for record in run("parallel-binds", policy, "7.3").probes)


@pytest.mark.parametrize("kernel", PROFILES)
@pytest.mark.parametrize("policy", PER_CPU)
def test_a_nested_virtio_probe_runs_in_the_pci_worker(kernel: str, policy: str) -> None:
    trace = run("nested", policy, kernel)
    assert len({record.comm for record in trace.probes}) == 1
    assert {record.driver for record in trace.probes if record.nested} == {"virtio_blk"}


@pytest.mark.parametrize("policy", ["exec-on-node", "probe-on-node"])
def test_nested_sync_probes_flush_their_own_class(policy: str) -> None:
    assert "recursion" in kinds(run("nested", policy, "7.3"))
    assert "recursion" not in kinds(run("nested", f"{policy}+nested-inline", "7.3"))
