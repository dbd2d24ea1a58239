"""Under every policy: a ``parent`` is never lost, unbinding it takes its own along, and steps have a place to run."""

from __future__ import annotations

import pytest
from scenario_text import refusal, run

from numaprobe.policies import POLICIES

DRIVERS = [
    {"name": "p", "bus": "nd", "phases": [{"compute": "1ms"}]},
    {"name": "c", "bus": "usb", "phases": [{"compute": "1ms"}]},
]
DEVICES = [
    {"name": "dad", "bus": "nd", "compatible": "p", "node": 1},
    {"name": "kid{i}", "count": 3, "bus": "usb", "compatible": "c", "parent": "dad"},
]


@pytest.mark.parametrize("policy", POLICIES)
def test_the_parent_is_there_before_its_children_though_it_is_registered_asynchronously(policy: str) -> None:
    """The children get their node from it: without the parent it would be -1."""
    outcome = run(policy, drivers=DRIVERS, devices=DEVICES)
    nodes = {probe.device: probe.device_node for probe in outcome.trace.probes}
    assert nodes == {"dad": 1, "kid0": 1, "kid1": 1, "kid2": 1}
    assert outcome.trace.warnings == ()


@pytest.mark.parametrize("policy", POLICIES)
def test_a_child_that_a_step_added_stays_when_its_parent_loses_its_driver(policy: str) -> None:
    """What the probe itself registered goes: a driver's remove takes back what its probe made, and nothing else."""
    drivers = [{**DRIVERS[0], "phases": [{"register": [{"name": "own", "bus": "usb", "compatible": "c"}]}]}, DRIVERS[1]]
    steps = [
        {"add": "*"},
        {"load": ["c", "p"]},
        {"expect_bound": ["own", "kid1"]},
        {"unregister": "p"},
        {"expect_bound": "kid*"},
    ]
    assert run(policy, drivers=drivers, devices=DEVICES, steps=steps).passed
    gone = refusal(lambda: run(policy, drivers=drivers, devices=DEVICES, steps=[*steps, {"expect_bound": "own"}]))
    assert gone == "scenario: steps[5].expect_bound: 'own' is no device here"


@pytest.mark.parametrize("policy", POLICIES)
def test_a_parent_that_is_not_registered_is_refused_in_words(policy: str) -> None:
    said = refusal(lambda: run(policy, drivers=DRIVERS, devices=DEVICES, steps=[{"add": "kid*"}]))
    assert said == "scenario: steps[0].add: parent 'dad' of device 'kid0' is not registered; add it first"


@pytest.mark.parametrize("policy", POLICIES)
def test_steps_beside_each_other_are_taken_though_the_callers_cpu_went_off_line(policy: str) -> None:
    """As a shell whose CPU went: the kernel gave it another mask, and its children have that one."""
    steps = [{"offline": "0"}, {"parallel": [{"add": "*"}, {"load": "d"}]}, {"expect_bound": "dev"}]
    assert run(policy, steps=steps).passed
