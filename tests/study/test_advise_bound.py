"""No setting and no policy is faster than the bound; and the bound is reached where nothing else is in the way."""

from __future__ import annotations

from typing import Any

import pytest
from advise_samples import candidates, every_selection, figures, replay, scenario
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.policies import POLICIES
from numaprobe.scenario import builtin_names, run_setting
from numaprobe.study import make_setting, vary
from numaprobe.study.advise import advise
from numaprobe.study.advise.bound import bound_of

NAMES = [name for name in builtin_names() if name != "host"]


@given(st.sampled_from(NAMES), st.sampled_from(sorted(POLICIES)), st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_policy_goes_below_it(name: str, policy: str, everything_async: bool) -> None:
    setting = make_setting(name)
    bound = bound_of(setting, run_setting(setting).trace)
    parameters = {"driver_async_probe": "*", "module.async_probe": "1"} if everything_async else {}
    probes = run_setting(vary(setting, parameters=parameters), policy).trace.probes
    if {one.device for one in probes if one.result == "0"} >= set(bound.devices):
        makespan = max(one.end_ns or 0 for one in probes) - min(one.start_ns or 0 for one in probes)
        assert bound.ns <= makespan


@pytest.mark.parametrize("name", ["debian-7.2/two-nodes/sync.1", "debian-7.2/two-nodes-isolated/vblk.1"])
def test_no_setting_goes_below_it_on_real_traces(name: str) -> None:
    setting = replay(name)
    advice = advise(setting)
    for selection in every_selection(candidates(setting, allowed=["nvme", "virtio_blk"])):
        assert advice.bound.ns <= figures(setting, selection)[0]


@pytest.mark.parametrize("guest", ["debian-6.1/two-nodes", "debian-6.1/two-nodes-isolated", "debian-7.2/two-nodes"])
@pytest.mark.parametrize("name", ["sync.1", "vblk.1", "bind.1"])
def test_nor_does_a_range_reach_below_it(guest: str, name: str) -> None:
    setting = replay(f"{guest}/{name}")
    everything = vary(setting, parameters={"driver_async_probe": "*", "module.async_probe": "1"})
    low, _ = run_setting(everything, "spread").trace.makespan_range_ns or (0, 0)
    assert 0 < bound_of(setting, run_setting(setting).trace).ns <= low


def chain(**more: Any) -> Any:
    drivers = [
        {"name": name, "probe_type": "async", "phases": [{"compute": "10ms"}, {"sleep": "20ms"}]} for name in "abc"
    ]
    devices = [
        {"name": "a0", "node": 0, "compatible": "a"},
        {"name": "b0", "node": 0, "compatible": "b", "suppliers": ["a0"]},
        {"name": "c0", "node": 1, "compatible": "c", "suppliers": ["b0"]},
    ]
    return scenario(drivers, devices, **more)


def test_a_chain_of_suppliers_is_the_bound() -> None:
    setting = chain()
    bound = bound_of(setting, run_setting(setting).trace)
    assert (bound.ns, bound.devices, bound.lock) == (90_000_000, ("a0", "b0", "c0"), None)
    assert bound.reason == "the chain a0 → b0 → c0"
    advice = advise(setting)
    assert advice.recommended is None
    why = "the chain a0 → b0 → c0 takes 90.000 ms of the 90.000 ms, and no CPU more makes that shorter"
    assert advice.verdict == f"Nothing here would help, because {why}."


def test_a_lock_is_the_bound_where_it_is_longer() -> None:
    phases = [{"sleep": "1ms"}, {"hold": {"lock": "bus", "phases": [{"compute": "10ms"}]}}]
    setting = scenario(
        [{"name": "d", "probe_type": "async", "phases": phases}], [{"name": "d{i}", "count": 4, "compatible": "d"}]
    )
    bound = bound_of(setting, run_setting(setting).trace)
    assert (bound.ns, bound.lock, len(bound.devices)) == (40_000_000, "bus", 4)
    assert "the lock 'bus', which one probe at a time has (d0, d1, d2 and 1 more)" in bound.reason


def test_what_is_learnt_of_a_lock_bounds_with_its_least() -> None:
    shared = {"lock": "acpi", "drivers": ["d"], "hold": "8ms", "least": "5ms", "most": "9ms"}
    setting = scenario(
        [{"name": "d", "probe_type": "async", "phases": [{"compute": "10ms"}]}],
        [{"name": "d{i}", "count": 4, "node": "spread", "compatible": "d"}],
        shared=[shared],
    )
    trace = run_setting(setting).trace
    bound = bound_of(setting, trace)
    assert (bound.ns, bound.lock) == (20_000_000, "acpi")
    assert trace.makespan_range_ns is not None
    assert bound.ns <= trace.makespan_range_ns[0]


def test_a_probe_that_fails_for_good_bounds_nothing() -> None:
    drivers = [
        {"name": "bad", "phases": [{"sleep": "1s"}, {"fail": "EIO"}]},
        {"name": "late", "phases": [{"fail": "EPROBE_DEFER", "attempts": 1}, {"sleep": "30ms"}]},
    ]
    setting = scenario(drivers, [{"name": "x", "compatible": "bad"}, {"name": "y", "compatible": "late"}])
    bound = bound_of(setting, run_setting(setting).trace)
    assert (bound.ns, bound.devices) in {(30_000_000, ("y",)), (0, ())}
