from __future__ import annotations

import pytest

from numaprobe.policies import POLICIES
from numaprobe.runtime import PROFILES
from numaprobe.scenario import (
    builtin_names,
    builtins,
    load_scenario,
    prepare,
    run_scenario,
    run_setting,
    scenario_source,
)

NAMES = [name for name in builtin_names() if name != "host"]


def test_the_catalogue_holds_what_is_promised() -> None:
    promised = {
        "nvme-epyc",
        "pmem-2018",
        "async-probe-test",
        "sriov",
        "deferred-chain",
        "mixed-bus",
        "isolated",
        "hotplug",
    }
    assert promised <= set(NAMES)
    assert builtin_names()[-1] == "host"
    assert all(entry.summary and len(entry.summary) <= 120 for entry in builtins())


@pytest.mark.parametrize("name", NAMES)
def test_every_scenario_explains_itself_and_can_start_another(name: str, tmp_path: object) -> None:
    scenario = load_scenario(name)
    assert scenario.name == name
    assert len(scenario.description) > 100
    assert load_scenario(name).drivers == scenario.drivers
    assert f'summary = "{scenario.summary}"' in scenario_source(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_scenario_runs_under_every_policy_of_every_profile(name: str) -> None:
    scenario = load_scenario(name)
    for kernel in PROFILES:
        setting = prepare(scenario, kernel=kernel)
        for policy in POLICIES:
            outcome = run_setting(setting, policy)
            assert outcome.deadlock is None, (kernel, policy)
            assert outcome.trace.probes, (kernel, policy)


@pytest.mark.parametrize("nodes", range(1, 9))
def test_the_kernels_own_test_passes_on_one_to_eight_nodes(nodes: int) -> None:
    setting = prepare(load_scenario("async-probe-test"), machine=f"{nodes} nodes x 1 llc x 2 cores")
    for policy in POLICIES:
        outcome = run_setting(setting, policy)
        assert len(outcome.checks) == 7
        assert all(check.passed for check in outcome.checks), (policy, outcome.checks)


def test_pmem_regions_load_at_once_only_with_a_probe_per_device() -> None:
    def spans(*overrides: str) -> list[tuple[str, int, int | None]]:
        trace = run_scenario(load_scenario("pmem-2018", overrides), "inline")
        return [(r.device, r.cost_ns, r.start_ns) for r in trace.probes]

    assert spans() == spans("order=drivers-first") == [("pmem0", 3 * 10**9, 0), ("pmem1", 3 * 10**9, 0)]
    assert [start for _, _, start in spans("drivers[0].probe_type=sync")] == [0, 3 * 10**9]


def test_pmem_memory_is_that_of_its_node() -> None:
    trace = run_scenario(load_scenario("pmem-2018"), "inline")
    assert [dict(record.memory or {}) for record in trace.probes] == [{0: 512 << 20}, {1: 512 << 20}]


def test_every_virtual_function_is_probed_inside_its_parent() -> None:
    trace = run_scenario(load_scenario("sriov"), "work-on-cpu")
    outer, *inner = trace.probes
    assert len(inner) == 16
    assert all(record.nested and record.comm == outer.comm and record.cpu == outer.cpu for record in inner)


def test_flushing_inside_a_work_of_its_own_class_is_reported() -> None:
    kinds = {
        policy: {warning.kind for warning in run_scenario(load_scenario("sriov"), policy).warnings}
        for policy in ("work-on-cpu", "exec-on-node", "exec-on-node+nested-inline")
    }
    assert kinds == {"work-on-cpu": set(), "exec-on-node": {"recursion"}, "exec-on-node+nested-inline": set()}


def test_deferred_devices_end_up_on_a_queue_without_a_node() -> None:
    trace = run_scenario(load_scenario("deferred-chain"), "inline")
    retried = [record for record in trace.probes if record.attempt > 1 or record.device in {"display0", "bridge0"}]
    assert retried
    assert all(record.comm and record.comm.startswith("kworker/u") for record in retried)
    assert any(record.local is False for record in retried)


def test_only_pci_has_node_code_of_its_own() -> None:
    local = {r.bus: r.local for r in run_scenario(load_scenario("mixed-bus"), "work-on-cpu").probes}
    assert local == {"pci": True, "virtio": False, "platform": False, "nd": False}
    assert all(r.local for r in run_scenario(load_scenario("mixed-bus"), "probe-on-node").probes)


def test_an_isolated_first_llc_sends_unbound_work_machine_wide() -> None:
    local = {
        policy: all(record.local for record in run_scenario(load_scenario("isolated"), policy).probes)
        for policy in ("work-on-cpu", "probe-on-node", "queue-on-node")
    }
    assert local == {"work-on-cpu": True, "probe-on-node": False, "queue-on-node": False}


def test_parallel_binds_meet_again_on_one_cpu() -> None:
    trace = run_scenario(load_scenario("hotplug"), "work-on-cpu")
    binds = [record for record in trace.probes if record.caller_comm == "sh"]
    assert len(binds) == 3
    assert {record.cpu for record in binds} == {4}
