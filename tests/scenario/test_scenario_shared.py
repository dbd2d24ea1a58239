"""Shared resources and undivided costs: turns that mix, what company costs, and one run for each reading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenario_text import refusal, run, scenario

from numaprobe.records import SharedHold, dump_trace, load_trace
from numaprobe.scenario import change_scenario, parse_scenario, prepare, run_setting, scenario_toml
from numaprobe.scenario.reader import parse_toml
from numaprobe.study import compare

if TYPE_CHECKING:
    from numaprobe.records import Trace
    from numaprobe.scenario import Outcome

MS = 1_000_000
#: four CPUs for three probes
WIDE = "1 nodes x 1 llc x 4 cores"


def outcome(
    *shared: dict[str, Any], phases: Any = ({"compute": "10ms"},), count: int = 3, machine: str = WIDE
) -> Outcome:
    return run(
        "strict-node",
        machine=machine,
        drivers=[{"name": "d", "probe_type": "async", "phases": list(phases)}],
        devices=[{"name": "x{i}", "count": count, "node": 0, "compatible": "d"}],
        shared=list(shared),
    )


def makespan(trace: Trace) -> int:
    return max(r.end_ns or 0 for r in trace.probes) - min(r.start_ns or 0 for r in trace.probes)


def test_what_is_shared_is_had_by_one_at_a_time_and_all_end_together() -> None:
    trace = outcome({"lock": "acpi", "drivers": "d", "hold": "8ms"}).trace
    costs = sorted(record.cost_ns for record in trace.probes)
    assert makespan(trace) == pytest.approx(3 * 8 * MS, rel=0.06)
    assert costs[0] > 0.95 * costs[-1]
    assert all(record.running_ns == 10 * MS for record in trace.probes)
    assert all((record.sleeping_ns or 0) > 12 * MS for record in trace.probes)


def test_another_driver_and_another_resource_do_not_wait() -> None:
    drivers = [{"name": n, "probe_type": "async", "phases": [{"compute": "10ms"}]} for n in ("d", "e", "f")]
    devices = [{"name": f"{n}0", "node": 0, "compatible": n} for n in ("d", "e", "f")]
    shared = [{"lock": "a", "drivers": ["d", "e"], "hold": "10ms"}, {"lock": "b", "drivers": ["f"], "hold": "10ms"}]
    steps = [{"add": "*"}, {"parallel": [{"load": n} for n in ("d", "e", "f")]}]
    trace = run("strict-node", machine=WIDE, drivers=drivers, devices=devices, shared=shared, steps=steps).trace
    costs = {record.driver: record.cost_ns for record in trace.probes}
    assert costs["f"] == 10 * MS
    assert costs["d"] > 19 * MS
    assert costs["e"] > 19 * MS


def test_a_hold_that_is_longer_than_the_probe_is_all_of_it_its_sleep_too() -> None:
    trace = outcome({"lock": "l", "drivers": "d", "hold": "60min"}, phases=[{"compute": "4ms"}, {"sleep": "6ms"}]).trace
    assert makespan(trace) == 30 * MS


def test_company_makes_a_probe_compute_longer_and_being_alone_does_not() -> None:
    shared = {"lock": "l", "drivers": "d", "slowdown": 0.5}
    assert min(r.running_ns or 0 for r in outcome(shared).trace.probes) == pytest.approx(15 * MS, rel=0.02)
    assert {r.running_ns for r in outcome(shared, count=1).trace.probes} == {10 * MS}


def test_each_reading_of_what_is_in_doubt_is_run_and_the_trace_holds_their_figures() -> None:
    shared = {"lock": "l", "drivers": "d", "hold": "5ms", "least": "0ms", "most": "10ms", "evidence": "suspected"}
    trace = outcome(shared).trace
    assert [reading.name for reading in trace.readings] == ["expected", "least", "most"]
    assert trace.makespan_range_ns == trace.worst_range_ns == (10 * MS, 30 * MS)
    assert trace.readings[0].makespan_ns == makespan(trace)
    assert trace.shared == (
        SharedHold(
            resource="l",
            hold_ns=5 * MS,
            hold_range_ns=(0, 10 * MS),
            members=("d",),
            evidence="suspected",
            source="scenario",
        ),
    )


def test_without_doubt_there_is_no_range() -> None:
    assert outcome({"lock": "l", "drivers": "d", "hold": "5ms"}).trace.readings == ()
    assert outcome().trace.makespan_range_ns is None


def test_an_undivided_cost_is_spent_as_it_is_read() -> None:
    ways = {"expected": [{"sleep": "4ms"}], "most": [{"compute": "4ms"}]}
    undivided = {"undivided": ways}
    alone = outcome(phases=[undivided], machine="1 nodes x 1 cores").trace
    assert {(r.running_ns, r.sleeping_ns) for r in alone.probes} == {(0, 4 * MS)}
    assert alone.makespan_range_ns == (4 * MS, 12 * MS)


def test_ranges_survive_the_file_the_json_and_a_change() -> None:
    shared = {"lock": "l", "drivers": ["d"], "hold": "1ms", "least": "0ns", "most": "2ms", "slowdown_most": 0.25}
    made = scenario(shared=[shared])
    assert parse_scenario(parse_toml(scenario_toml(made).encode(), "x"), "x").shared == made.shared
    changed = change_scenario(made, {"shared[0].hold": "2ms", "shared[0].most": "3ms"})
    assert (changed.shared[0].hold, changed.shared[0].most) == (2 * MS, 3 * MS)
    trace = outcome(shared).trace
    assert load_trace(dump_trace(trace)).readings == trace.readings


@pytest.mark.parametrize(
    ("shared", "words"),
    [
        ({"lock": "l", "drivers": "d", "hold": "1ms", "least": "2ms"}, "not in this order"),
        ({"lock": "l", "drivers": "d", "hold": "1ms", "most": "0ms"}, "not in this order"),
        ({"lock": "l", "drivers": "d", "slowdown": 0.5, "slowdown_most": 0.1}, "not in this order"),
        ({"lock": "l", "drivers": "d", "slowdown": -1}, "greater than or equal to 0"),
        ({"lock": "l"}, "drivers"),
        ({"lock": "l", "drivers": "d", "hold": 5}, "unit"),
    ],
)
def test_what_makes_no_sense_is_refused(shared: dict[str, Any], words: str) -> None:
    assert words in (refusal(lambda: scenario(shared=[shared])) or "")


def test_undivided_time_holds_nothing_but_time() -> None:
    phases = [{"undivided": {"expected": [{"fail": "EIO"}]}}]
    text = refusal(lambda: scenario(drivers=[{"name": "d", "phases": phases}]))
    assert "nothing but compute and sleep" in (text or "")


@settings(max_examples=25, deadline=None)
@given(
    hold=st.integers(0, 20 * MS),
    compute=st.integers(1, 15 * MS),
    sleep=st.integers(0, 5 * MS),
    count=st.integers(1, 4),
)
def test_nobody_is_lost_and_a_hold_costs_between_nothing_and_all(
    hold: int, compute: int, sleep: int, count: int
) -> None:
    shared = {"lock": "l", "drivers": "d", "hold": f"{hold}ns"}
    phases = [{"compute": f"{compute}ns"}, {"sleep": f"{sleep}ns"}]
    trace = outcome(shared, phases=phases, count=count).trace
    alone = compute + sleep
    assert len(trace.probes) == count
    assert max(alone, count * min(hold, alone)) <= makespan(trace) <= count * alone + 1000
    assert {record.running_ns for record in trace.probes} == {compute}


def test_a_comparison_shows_ranges_policy_by_policy() -> None:
    made = scenario(
        machine=WIDE,
        drivers=[{"name": "d", "probe_type": "async", "phases": [{"compute": "10ms"}]}],
        devices=[{"name": "x{i}", "count": 3, "node": 0, "compatible": "d"}],
        shared=[{"lock": "l", "drivers": "d", "most": "10ms"}],
    )
    compared = compare(prepare(made), ["inline", "strict-node"], baseline="inline").comparison
    inline, strict = compared.entries
    assert inline.trace.makespan_range_ns is not None
    assert strict.trace.makespan_range_ns == (10 * MS, 30 * MS)
    low, high = strict.difference.makespan_range_percent or (0, 0)
    assert low <= high
    assert run_setting(prepare(made), readings=False).trace.readings == ()


def test_a_run_tells_which_probe_waited_for_which_lock_and_how_long_each_had_it() -> None:
    held = {"hold": {"lock": "acpi", "phases": [{"sleep": "4ms"}]}}
    trace = outcome(phases=[held, {"compute": "1ms"}]).trace
    waits = {record.device: record.waits for record in trace.probes}
    assert waits["x0"] == ()
    assert [(wait.held_by, wait.wait_ns) for wait in waits["x2"] or ()] == [("x0", 4 * MS), ("x1", 4 * MS)]
    assert sum(record.lock_wait_ns or 0 for record in trace.probes) == 12 * MS
    (found,) = trace.shared
    assert (found.resource, found.hold_ns, found.members, found.evidence) == ("acpi", 4 * MS, ("d",), "seen")
    assert outcome(phases=[{"compute": "1ms"}]).trace.probes[0].waits is None
