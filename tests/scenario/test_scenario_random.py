"""Random scenarios that are valid: whatever they say, a run ends, with an outcome or with one line."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from scenario_text import refusal, scenario

from numaprobe.drivercore import DriverCore
from numaprobe.policies import POLICIES
from numaprobe.runtime import PROFILES
from numaprobe.scenario import prepare, run_setting

run_module = import_module("numaprobe.scenario.run")

MACHINES = ["1 nodes x 1 llc x 1 cores", "2 nodes x 1 llc x 2 cores", "3 nodes x 2 llcs x 2 cores x 2 threads"]
BUSES = ["platform", "pci", "nd", "virtio"]
TIMES = st.sampled_from(["0ns", "1ms", "3ms", "20ms"])
NAMES = st.sampled_from(["a0", "a1", "b0", "c0", "*", "a*", "nope"])
DRIVERS = st.sampled_from(["da", "db", "dc"])
CPUS = st.sampled_from(["0", "1", "0-1", ""])


def phases(depth: int = 2) -> st.SearchStrategy[list[dict[str, Any]]]:
    simple: list[st.SearchStrategy[dict[str, Any]]] = [
        st.fixed_dictionaries({"compute": TIMES}),
        st.fixed_dictionaries({"sleep": TIMES}),
        st.fixed_dictionaries({"allocate": st.sampled_from(["4KiB", "1GiB"])}),
        st.fixed_dictionaries({"fail": st.sampled_from(["ENODEV", "EIO", "EPROBE_DEFER"])}),
        st.fixed_dictionaries({"fail": st.just("EPROBE_DEFER"), "attempts": st.integers(1, 3)}),
        st.fixed_dictionaries({"enable_vfs": st.integers(1, 3)}),
        st.fixed_dictionaries(
            {"wait": st.fixed_dictionaries({"device": st.sampled_from(["a0", "b0"])}, optional={"timeout": TIMES})}
        ),
        st.fixed_dictionaries({"wait": st.fixed_dictionaries({"supplier": st.just("b0"), "timeout": TIMES})}),
        st.sampled_from(
            [{"register": [{"name": "{parent}-{i}", "count": 2, "bus": bus, "compatible": "c"}]} for bus in BUSES]
        ),
    ]
    if depth:
        lock = st.sampled_from(["acpi", "other"])
        simple.append(
            st.fixed_dictionaries({"hold": st.fixed_dictionaries({"lock": lock, "phases": phases(depth - 1)})})
        )
    return st.lists(st.one_of(simple), max_size=4)


def drivers() -> st.SearchStrategy[list[dict[str, Any]]]:
    def driver(name: str, matches: str) -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries(
            {
                "name": st.just(name),
                "bus": st.sampled_from(BUSES),
                "match": st.just([matches, f"{matches}-vf"]),
                "probe_type": st.sampled_from(["default", "async", "sync"]),
                "phases": phases(),
                "remove": st.lists(st.fixed_dictionaries({"sleep": TIMES}), max_size=1),
            }
        )

    return st.tuples(driver("da", "a"), driver("db", "b"), driver("dc", "c")).map(list)


def devices() -> st.SearchStrategy[list[dict[str, Any]]]:
    def group(name: str) -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries(
            {
                "name": st.just(f"{name}{{i}}"),
                "count": st.integers(1, 4),
                "bus": st.sampled_from(BUSES),
                "compatible": st.just(name),
                "node": st.sampled_from(["none", "spread", "cpu", 0]),
            },
            optional={"suppliers": st.sampled_from([["b0"], ["c0"], ["missing"]])},
        )

    return st.tuples(group("a"), group("b"), group("c")).map(list)


def steps(depth: int = 2) -> st.SearchStrategy[list[dict[str, Any]]]:
    keys: list[st.SearchStrategy[dict[str, Any]]] = [
        *(st.fixed_dictionaries({key: NAMES}) for key in ("add", "remove", "bind", "unbind", "drivers_probe")),
        st.just({"add": "*"}),
        *(st.fixed_dictionaries({key: DRIVERS}) for key in ("load", "register", "unregister")),
        *(st.fixed_dictionaries({key: CPUS}) for key in ("offline", "online", "isolate")),
        st.fixed_dictionaries({"busy": st.fixed_dictionaries({"cpus": CPUS}, optional={"compute": st.just("2ms")})}),
        st.fixed_dictionaries({"wait": TIMES}),
        st.just({"settle": True}),
        st.fixed_dictionaries({"block_probing": st.booleans()}),
        st.fixed_dictionaries(
            {"autoprobe": st.fixed_dictionaries({"bus": st.sampled_from(BUSES), "on": st.booleans()})}
        ),
    ]
    if depth:
        inner = steps(depth - 1).filter(bool)
        keys += [st.fixed_dictionaries({key: inner}) for key in ("parallel", "sequence")]
    return st.lists(st.one_of(keys), max_size=8)


SCENARIOS = st.fixed_dictionaries(
    {"machine": st.sampled_from(MACHINES), "drivers": drivers(), "devices": devices()}, optional={"steps": steps()}
)


@settings(max_examples=120, deadline=None)
@given(SCENARIOS, st.sampled_from(list(POLICIES)), st.sampled_from(list(PROFILES)), st.booleans())
def test_a_run_ends_with_an_outcome_or_with_one_line(
    changes: dict[str, Any], policy: str, kernel: str, isolated: bool
) -> None:
    def run() -> None:
        cmdline = "isolcpus=0 deferred_probe_timeout=1" if isolated else ""
        cores: list[DriverCore] = []
        with mock.patch.object(run_module, "DriverCore", lambda *args: cores.append(DriverCore(*args)) or cores[0]):
            outcome = run_setting(prepare(scenario(**changes), kernel=kernel, cmdline=cmdline), policy, timeline=True)
        if outcome.deadlock is None:
            cores[0].validate()
        for record in outcome.trace.probes:
            parts = (record.running_ns or 0) + (record.runnable_ns or 0) + (record.sleeping_ns or 0)
            assert parts == record.cost_ns, record
            assert sum(s.end_ns - s.start_ns for s in record.segments or ()) == record.cost_ns, record

    assert "\n" not in (refusal(run) or ""), json.dumps(changes)
