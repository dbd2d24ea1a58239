"""Random runs of the virtual machine, replayed under the same policy: the same placements and, undisturbed, costs."""

from __future__ import annotations

import string
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenario_text import refusal

from numaprobe.policies import POLICIES
from numaprobe.records import ProbeRecord, RunState, Segment, Trace
from numaprobe.scenario import (
    Scenario,
    builtin_names,
    load_scenario,
    parse_scenario,
    prepare,
    read_scenario,
    replay_scenario,
    run_scenario,
    run_setting,
    save_scenario,
    scenario_toml,
)
from numaprobe.scenario.reader import parse_toml
from numaprobe.topology import load_topology, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable

MACHINES = ["1 nodes x 1 llc x 1 cores", "2 nodes x 1 llc x 2 cores", "2 nodes x 2 llcs x 2 cores x 2 threads"]
COSTS = [{key: ns} for key in ("compute", "sleep") for ns in ("1ms", "3ms", "1.7ms", "20us")]


def drivers() -> st.SearchStrategy[list[dict[str, Any]]]:
    def driver(name: str) -> st.SearchStrategy[dict[str, Any]]:
        costs = st.lists(st.sampled_from(COSTS), max_size=4)
        child = {"register": [{"name": "{parent}-c", "compatible": "leaf"}]}
        ends: st.SearchStrategy[list[Any]] = st.sampled_from([[], [{"fail": "EIO"}], [child]])
        return st.fixed_dictionaries(
            {
                "name": st.just(name),
                "bus": st.sampled_from(["platform", "pci"]),
                "match": st.just([name]),
                "probe_type": st.sampled_from(["sync", "async"]),
                "phases": st.tuples(costs, ends).map(lambda parts: [*parts[0], *parts[1]]),
            }
        )

    return st.tuples(driver("da"), driver("db")).map(list)


@st.composite
def scenarios(draw: st.DrawFn, most: int = 4) -> Scenario:
    made = draw(drivers())
    choices = st.tuples(st.sampled_from(made), st.sampled_from([0, -1]))
    devices = [
        {"name": f"d{index}", "bus": driver["bus"], "node": node, "compatible": driver["name"]}
        for index, (driver, node) in enumerate(draw(st.lists(choices, min_size=1, max_size=most)))
    ]
    leaf = {"name": "leaf", "probe_type": "sync", "phases": [{"compute": "1ms"}]}
    load = [{"load": "leaf"}, {"add": "*"}, {"load": "da"}, {"load": "db"}]
    return parse_scenario(
        {
            "machine": draw(st.sampled_from(MACHINES)),
            "kernel": draw(st.sampled_from(["6.1", "6.12", "7.3"])),
            "drivers": [leaf, *made],
            "devices": devices,
            "steps": load,
        }
    )


def pool(comm: str | None) -> str:
    return (comm or "").partition(":")[0]


def node(record: ProbeRecord) -> int | None:
    """The node where it ran; a worker that may leave its pool's CPUs has none of its own."""
    return None if pool(record.comm).startswith("kworker/u") else record.cpu_node


def places(probes: Iterable[ProbeRecord], policy: str) -> list[tuple[object, ...]]:
    # 'spread' chooses a pool by what the others hold at that moment
    kind = (lambda comm: pool(comm)[:9]) if policy == "spread" else pool
    return sorted(
        (r.device, r.driver, kind(r.comm), r.asynchronous, r.nested, r.result, r.path, str(node(r))) for r in probes
    )


@settings(max_examples=60, deadline=None)
@given(scenarios(), st.sampled_from(list(POLICIES)))
def test_a_replay_under_the_same_policy_places_every_probe_alike(made: Scenario, policy: str) -> None:
    first = run_scenario(made, policy, timeline=True)
    if first.probes:
        again = run_scenario(replay_scenario(first), policy)
        assert places(again.probes, policy) == places(first.probes, policy)


@settings(max_examples=40, deadline=None)
@given(scenarios(most=1), st.sampled_from(list(POLICIES)))
def test_one_device_costs_the_same_again(made: Scenario, policy: str) -> None:
    first = run_scenario(made, policy, timeline=True)
    if first.probes:
        again = run_scenario(replay_scenario(first), policy)
        assert {r.device: r.cost_ns for r in again.probes} == {r.device: r.cost_ns for r in first.probes}


@settings(max_examples=40, deadline=None)
@given(scenarios())
def test_what_runs_inline_and_in_turn_costs_the_same_again(made: Scenario) -> None:
    in_turn = tuple(driver.model_copy(update={"probe_type": "sync"}) for driver in made.drivers)
    first = run_scenario(made.model_copy(update={"drivers": in_turn}), "inline", timeline=True)
    if first.probes:
        again = run_scenario(replay_scenario(first), "inline")
        assert [(r.device, r.cost_ns) for r in again.probes] == [(r.device, r.cost_ns) for r in first.probes]


#: what a trace does not tell: background load, CPUs that went away, a cpumask that was written
NOT_RECORDED = {"busy", "hotplug", "pciehp", "unbound-cpumask"}


@pytest.mark.parametrize("name", [name for name in builtin_names()[:-1] if name not in NOT_RECORDED])
def test_a_built_in_scenario_repeats_its_figures(name: str) -> None:
    first = run_scenario(load_scenario(name), "work-on-cpu", timeline=True)
    again = run_scenario(replay_scenario(first), "work-on-cpu")
    assert sorted(r.cost_ns for r in again.probes) == sorted(r.cost_ns for r in first.probes)
    assert makespan(again) == makespan(first)
    assert places(again.probes, "") == places(first.probes, "")


def makespan(trace: Trace) -> int:
    return max(r.end_ns or 0 for r in trace.probes) - min(r.start_ns or 0 for r in trace.probes)


# ---- hostile traces ------------------------------------------------------------------------------------------------
FIGURES = st.one_of(st.none(), st.integers(0, 10**8), st.integers(0, 2**63 - 1))
TEXTS = st.one_of(st.none(), st.sampled_from(["kworker/0:1", "sh", "c", ""]), st.text(string.printable, max_size=5))
SEGMENTS = st.one_of(
    st.none(),
    st.lists(
        st.builds(Segment, st.integers(0, 10**8), st.integers(0, 10**8), st.sampled_from(RunState), st.just(0)),
        max_size=5,
    ).map(tuple),
)
RECORDS = st.builds(
    ProbeRecord,
    device=st.one_of(st.sampled_from(["a", "b", "0000:01:00.0"]), st.text(string.printable, max_size=5)),
    driver=st.one_of(st.sampled_from(["d", "e"]), st.text(string.printable, max_size=5)),
    bus=st.one_of(st.none(), st.sampled_from(["pci", "nd", "virtio", "platform"]), st.text(max_size=3)),
    device_node=st.one_of(st.none(), st.integers(-1, 3)),
    cpu=st.one_of(st.none(), st.integers(0, 9)),
    cpu_node=st.one_of(st.none(), st.integers(-1, 3)),
    comm=TEXTS,
    asynchronous=st.sampled_from([None, True, False]),
    nested=st.sampled_from([None, True, False]),
    result=st.sampled_from([None, "0", "EIO", "EPROBE_DEFER", "E?"]),
    start_ns=FIGURES,
    end_ns=FIGURES,
    cost_ns=st.integers(0, 10**8),
    running_ns=FIGURES,
    runnable_ns=FIGURES,
    sleeping_ns=FIGURES,
    caller_cpu=st.one_of(st.none(), st.integers(0, 9)),
    caller_comm=TEXTS,
    path=st.sampled_from(
        [
            None,
            "driver_attach_sync",
            "driver_attach_async",
            "device_attach",
            "device_attach_async",
            "device_driver_attach",
            "?",
        ]
    ),
    memory=st.one_of(st.none(), st.dictionaries(st.integers(-1, 9), st.integers(0, 2**51), max_size=3)),
    segments=SEGMENTS,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(RECORDS, max_size=8), st.sampled_from(["inline", "work-on-cpu", "probe-on-node"]))
def test_any_trace_is_replayed_or_refused_in_one_line(records: list[ProbeRecord], policy: str) -> None:
    machine = to_json(load_topology("2 nodes x 1 llc x 2 cores"))
    recorded = Trace(source="kernel", probes=tuple(records), machine=machine, kernel="7.3")

    def run() -> None:
        setting = prepare(replay_scenario(recorded))
        run_setting(setting, policy)
        assert again_from_text(setting.plan.scenario) == plain(setting.plan.scenario)

    text = refusal(run)
    assert text is None or "\n" not in text


# ---- and as text ---------------------------------------------------------------------------------------------------
def plain(scenario: Scenario) -> dict[str, Any]:
    return scenario.model_dump()


def again_from_text(scenario: Scenario) -> dict[str, Any]:
    return plain(parse_scenario(parse_toml(scenario_toml(scenario).encode(), "x"), "x"))


def test_every_built_in_scenario_can_be_written_and_read_back() -> None:
    for name in builtin_names()[:-1]:
        scenario = load_scenario(name)
        assert again_from_text(scenario) == plain(scenario)


@settings(max_examples=40, deadline=None)
@given(scenarios(), st.text(string.printable + "\x7f\x80é\u2028", max_size=30))
def test_a_written_scenario_reads_back_as_itself(made: Scenario, description: str) -> None:
    made = made.model_copy(update={"description": description})
    made.model_fields_set.add("description")
    assert again_from_text(made) == plain(made)


def test_a_replay_is_kept_with_its_machine() -> None:
    first = run_scenario(load_scenario("nvme-epyc"), "work-on-cpu", timeline=True)
    scenario = replay_scenario(replace(first, scenario="kept"))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "kept.toml"
        save_scenario(scenario, path)
        again = run_scenario(read_scenario(path), "work-on-cpu")
    assert again.machine == first.machine
    assert [r.cost_ns for r in again.probes] == [r.cost_ns for r in run_scenario(scenario, "work-on-cpu").probes]
