"""From an observation to a report: the virtual machine stands in for what was observed."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.errors import InputError
from numaprobe.placement.case import make_cases
from numaprobe.placement.observe import Observation, observation_from_json, observation_to_json
from numaprobe.placement.predict import predict
from numaprobe.placement.report import MAX_LISTED, make_report, report_lines, report_to_json
from numaprobe.policies import POLICIES
from numaprobe.topology import load_topology

if TYPE_CHECKING:
    from numaprobe.topology import Topology


def predicted_observation(topology: Topology, policies: tuple[str, ...] = tuple(POLICIES)) -> Observation:
    cases = make_cases(topology, policies)
    runs = tuple((case, predict(case, topology, "6.19")) for case in cases)
    return Observation(topology=topology, kernel="6.12.0", profile="6.19", runs=runs)


def elsewhere(observation: Observation, device: str) -> Observation:
    """Return it with the probes of one device on CPU 0 of the same worker."""

    def moved(seen: Any) -> Any:
        if seen.device != device:
            return seen
        return replace(seen, record=replace(seen.record, cpu=0, cpu_node=0, cpus=(0,)))

    runs = tuple((case, tuple(moved(seen) for seen in probes)) for case, probes in observation.runs)
    return replace(observation, runs=runs)


@pytest.mark.parametrize(
    "machine", ["2 nodes x 2 cores", "4 nodes x 1 core", "1 core", "2 nodes x 2 llcs x 2 cores, 1 memory nodes of 1GiB"]
)
def test_the_prediction_agrees_with_itself_and_never_needs_more_than_a_node_has(machine: str) -> None:
    topology = load_topology(machine)
    report = make_report(predicted_observation(topology))
    assert report.passed
    assert report.disagreements == ()
    for row in report.rows:
        assert not row.moved, "no body is predicted to leave its node"
        assert row.predicted is not None
        record = row.predicted.record
        assert set(record.memory or ()) == {record.cpu_node}


def test_the_world_has_every_kind_of_device() -> None:
    topology = load_topology("2 nodes x 2 cores")
    (case, *_), probes = make_cases(topology, ["inline"]), predicted_observation(topology, ("inline",)).runs[0][1]
    assert (case.bus, case.asynchronous, case.caller) == ("platform", False, 0)
    nodes = {seen.device: (seen.record.device_node, seen.record.nested) for seen in probes}
    assert nodes == {
        "child": (1, True),
        "no-node": (-1, False),
        "node0.0": (0, False),
        "node0.1": (0, False),
        "node1.0": (1, False),
        "node1.1": (1, False),
        "parent": (1, False),
    }
    assert {case.caller for case in make_cases(topology, ["inline"])} == {0, 3}


def test_what_differs_is_listed_and_counted() -> None:
    topology = load_topology("2 nodes x 2 cores")
    report = make_report(elsewhere(predicted_observation(topology, ("inline", "strict-node")), "node1.0"))
    assert not report.passed
    held = [row for row in report.rows if row.device == "node1.0" and not row.agrees]
    assert {row.case.policy for row in held} == {"inline", "strict-node"}
    lines = list(report_lines(report))
    assert lines[0] == "kernel 6.12.0 (node 0: CPU 0-1, node 1: CPU 2-3); profile 6.19"
    assert any("strict-node, pci, sync, caller on CPU 0, node1.0: DIFFERS (node, stayed)" in line for line in lines)
    assert lines[-1] == f"{len(report.rows) - len(held)} of {len(report.rows)} probes as predicted"
    assert len(lines) < len(report.rows) <= len(list(report_lines(report, details=True)))


def test_a_long_list_of_differences_is_cut() -> None:
    report = make_report(elsewhere(predicted_observation(load_topology("2 nodes x 2 cores")), "node1.0"))
    lines = list(report_lines(report))
    assert sum("DIFFERS" in line for line in lines) == MAX_LISTED
    assert lines[-2] == f"… and {len(report.disagreements) - MAX_LISTED} more that differ (--details lists them)"


def test_an_observation_survives_json() -> None:
    observation = predicted_observation(load_topology("2 nodes x 2 cores"), ("queue-on-node",))
    assert observation_from_json(json.loads(json.dumps(observation_to_json(observation)))) == observation
    block = report_to_json(make_report(observation))
    assert json.loads(json.dumps(block)) == block
    assert (block["passed"], block["disagreements"], block["moved"]) == (True, 0, 0)
    assert block["rows"][0]["same_worker"] is True
    assert {row["witness"] for row in block["rows"]} == {True}


WHOLE = observation_to_json(predicted_observation(load_topology("2 nodes x 1 core"), ("inline",)))
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda v: st.lists(v, max_size=3))


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, item in items:
        found += paths(item, (*path, key))
    return found


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(paths(WHOLE)), JSON)
def test_a_damaged_observation_is_read_or_refused_in_one_line(path: tuple[Any, ...], value: Any) -> None:
    damaged = json.loads(json.dumps(WHOLE))
    inner = damaged
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with contextlib.suppress(InputError):
        read = observation_from_json(damaged)
        assert observation_from_json(json.loads(json.dumps(observation_to_json(read)))) == read


@pytest.mark.parametrize("value", [None, [], {}, 1, "x", {"schema": "numaprobe.trace/1"}])
def test_what_is_no_observation_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="observation"):
        observation_from_json(value)
