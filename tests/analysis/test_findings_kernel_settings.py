"""Findings follow the kernel of the trace, with the settings that its machine shows: no rule of their own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from numaprobe.analysis import find
from numaprobe.analysis.hold import Hold, Holds
from numaprobe.analysis.machine import kernel_of, topology_of
from numaprobe.runtime import PROFILES, AffinityScope, kernel_profile
from numaprobe.scenario import parse_scenario, run_scenario
from numaprobe.topology import SETTINGS


def trace_of(kernel: str, cmdline: str = "", machine: str = "1 node x 1 llc x 16 cores"):  # noqa: ANN201
    data = {
        "name": "sixteen cores of one cache",
        "machine": machine,
        "kernel": kernel,
        "cmdline": cmdline,
        "drivers": [{"name": "nvme", "probe_type": "async", "phases": [{"compute": "5ms"}]}],
        "devices": [{"name": "d{i}", "count": 3, "node": 0, "compatible": "nvme"}],
    }
    return run_scenario(parse_scenario(data, "test"), "inline")


def first_llc(trace) -> list[str]:  # noqa: ANN001
    return [f.evidence["group_cpus"] for f in find(trace) if f.kind == "first-llc"]


@pytest.mark.parametrize(
    ("kernel", "cmdline", "groups"),
    [
        ("7.3", "", ["0-7"]),
        ("7.3", "workqueue.cache_shard_size=4", ["0-3"]),
        ("7.3", "workqueue.default_affinity_scope=numa", []),
        ("7.3", "workqueue.default_affinity_scope=cache", []),
        ("6.12", "", []),
    ],
)
def test_the_first_shard_is_the_kernels(kernel: str, cmdline: str, groups: list[str]) -> None:
    trace = trace_of(kernel, cmdline)
    assert first_llc(trace) == groups
    pods = kernel_of(trace, topology_of(trace)).pods(topology_of(trace))  # type: ignore[union-attr]
    assert not groups or pods[0] == sum(1 << cpu for cpu in range(int(groups[0].split("-")[1]) + 1))


def test_the_kernel_is_that_of_the_trace_with_what_its_machine_shows() -> None:
    trace = trace_of("7.3", "workqueue.default_affinity_scope=smt workqueue.cache_shard_size=4")
    kernel = kernel_of(trace, topology_of(trace))
    assert kernel is not None
    assert (kernel.default_scope, kernel.cache_shard_size) == (AffinityScope.SMT, 4)
    odd = replace(topology_of(trace), info={SETTINGS[0]: "galaxy", SETTINGS[1]: "-1"})  # type: ignore[type-var]
    assert kernel_of(trace, odd) == kernel_of(trace, None) == kernel_profile("7.3")
    assert kernel_of(replace(trace, kernel=None), None) is None
    assert kernel_of(replace(trace, kernel="mystery"), None) is None


@pytest.mark.parametrize(("kernel", "hold"), [("6.1", Hold.HELD), ("6.5", Hold.HELD), ("6.6", Hold.SOFT)])
def test_workers_are_held_by_their_pool_until_the_release_that_set_them_free(kernel: str, hold: Hold) -> None:
    trace = trace_of(kernel, machine="2 nodes x 4 cores")
    told = replace(trace, probes=tuple(replace(r, cpus_allowed=None, pod=None) for r in trace.probes))
    assert set(Holds(told, topology_of(trace)).count()) == {hold}


@pytest.mark.parametrize("kernel", PROFILES)
def test_the_machine_wide_pool_is_the_first_one(kernel: str) -> None:
    trace = trace_of(kernel)
    topology = topology_of(trace)
    assert topology is not None
    assert Holds(trace, topology).machine_wide_pool == kernel_profile(kernel).first_pool_id(topology)
