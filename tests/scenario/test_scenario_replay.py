"""Traces as scenarios: what is taken from each record, what is assumed, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from numaprobe.errors import InputError
from numaprobe.records import ProbeRecord, RunState, Segment, Trace
from numaprobe.scenario import ReadAs, Scenario, parse_scenario, prepare, replay_scenario, run_setting
from numaprobe.scenario.phases import AllocateMemory, Compute, RegisterChildren, Sleep
from numaprobe.scenario.replay.phases import capped, merged
from numaprobe.topology import DeviceInfo, load_topology, to_json

MS = 1_000_000
MACHINE = load_topology("2 nodes x 1 llc x 4 cores")


def record(device: str = "d0", **fields: Any) -> ProbeRecord:
    """A sync probe of 10 ms on node 1, all of it computing."""
    start = fields.pop("start", 0)
    cost = fields.pop("cost", 10 * MS)
    base: dict[str, Any] = {
        "driver": "drv",
        "bus": "platform",
        "device_node": 1,
        "cpu": 0,
        "cpu_node": 0,
        "comm": "insmod",
        "asynchronous": False,
        "nested": False,
        "result": "0",
        "start_ns": start,
        "end_ns": start + cost,
        "cost_ns": cost,
        "running_ns": cost,
        "runnable_ns": 0,
        "sleeping_ns": 0,
        "caller_cpu": 0,
        "caller_comm": "insmod",
        "path": "driver_attach_sync",
    }
    return ProbeRecord(device=device, **(base | fields))


def trace(*records: ProbeRecord, **fields: Any) -> Trace:
    return Trace(source="kernel", probes=records, **({"machine": to_json(MACHINE)} | fields))


def replay(*records: ProbeRecord, policy: str = "inline") -> Trace:
    outcome = run_setting(prepare(replay_scenario(trace(*records))), policy)
    assert outcome.passed
    return outcome.trace


def scenario(*records: ProbeRecord) -> Scenario:
    return replay_scenario(trace(*records))


def kinds(made: Scenario) -> list[str]:
    return [next(iter(step.model_fields_set - {"driver", "cpu", "comm"})) for step in made.steps]


def phases(made: Scenario, device: int = 0) -> list[tuple[str, Any]]:
    found = []
    for phase in made.devices[device].phases or ():
        key = next(iter(phase.model_fields_set - {"attempts"}))
        found.append((key, getattr(phase, key)))
    return found


def told(made: Scenario) -> dict[str, str]:
    return {warning.kind: warning.message for warning in made.warnings}


# ---- the machine ---------------------------------------------------------------------------------------------------
def test_a_trace_without_its_machine_says_what_to_pass() -> None:
    with pytest.raises(InputError, match=r"^x\.log: does not say on which machine .* pass --machine MACHINE"):
        replay_scenario(trace(record(), machine={}, scenario="x.log"))


def test_a_given_machine_is_taken() -> None:
    made = replay_scenario(trace(record(device_node=3)), load_topology("4 nodes x 1 llc x 1 cores"))
    assert (made.topology and len(made.topology.nodes), made.devices[0].node) == (4, 3)


def test_a_broken_machine_is_one_line() -> None:
    with pytest.raises(InputError, match="nodes"):
        replay_scenario(trace(record(), machine={"schema": "numaprobe.machine/1"}))


@pytest.mark.parametrize(
    ("release", "kernel", "said"),
    [
        ("6.18.4-amd64", "6.18", None),
        ("7.9", "7.9", "kernel 7.9 is newer than 7.3"),
        ("6.8.0-51-generic", "6.8", "kernel 6.8.0-51-generic is built by Ubuntu"),
        ("4.18", "6.19", "kernel '4.18' is older than 5.1"),
        ("mystery", "6.19", "kernel 'mystery' is no release"),
    ],
)
def test_the_kernel_of_the_trace_is_followed(release: str, kernel: str, said: str | None) -> None:
    made = replay_scenario(trace(record(), kernel=release))
    assert made.kernel == kernel
    line = told(made).get("kernel-profile")
    assert line is None if said is None else (line or "").startswith(said)
    assert replay_scenario(trace(record(), kernel=release), kernel="6.19").kernel == "6.19"


def test_a_profile_as_kernel_needs_no_word() -> None:
    made = replay_scenario(trace(record(), kernel="7.2"))
    assert (made.kernel, told(made)) == ("7.2", {"assumed-order": told(made)["assumed-order"]})


@pytest.mark.parametrize(("node", "expected"), [(None, "not known"), (7, "node 7 is not on machine")])
def test_a_node_that_is_not_known_is_none_and_said(node: int | None, expected: str) -> None:
    made = scenario(record(device_node=node))
    assert made.devices[0].node is None
    assert expected in told(made)["unknown-node"]


# ---- costs ---------------------------------------------------------------------------------------------------------
def segments(*parts: tuple[RunState, int]) -> tuple[Segment, ...]:
    found, at = [], 0
    for state, ns in parts:
        found.append(Segment(at, at + ns, state, 0))
        at += ns
    return tuple(found)


RUN, WAIT, SLEEP = RunState.RUNNING, RunState.RUNNABLE, RunState.SLEEPING


def test_segments_become_phases_without_the_waiting() -> None:
    parts = segments((RUN, 2), (WAIT, 5), (RUN, 1), (SLEEP, 4), (RUN, 3))
    assert phases(scenario(record(cost=15, segments=parts))) == [("compute", 3), ("sleep", 4), ("compute", 3)]


def test_sums_become_phases_with_the_compute_in_the_middle() -> None:
    made = scenario(record(cost=20, running_ns=8, runnable_ns=1, sleeping_ns=11))
    assert phases(made) == [("sleep", 5), ("compute", 8), ("sleep", 6)]
    assert "assumed-order" in told(made)


def test_a_bare_cost_is_sleep_or_computing_and_said() -> None:
    made = scenario(record(running_ns=None, runnable_ns=None, sleeping_ns=None))
    ((kind, undivided),) = phases(made)
    assert kind == "undivided"
    assert [(phase.key, phase.said) for read in ReadAs for phase in undivided.read(read)] == [
        ("sleep", 10 * MS),
        ("compute", 10 * MS),
        ("sleep", 10 * MS),
    ]
    assert told(made)["assumed-cost"].startswith("d0: only the cost is known")


def test_memory_is_allocated_where_it_was() -> None:
    made = scenario(record(cpu_node=0, memory={0: 4096, 1: 100, 9: 7}))
    allocated = [phase.allocate for phase in made.devices[0].phases or () if isinstance(phase, AllocateMemory)]
    found = [(allocate.size, allocate.where) for allocate in allocated]
    assert found == [(4103, "local"), (100, 1)]


def test_many_segments_keep_their_sums() -> None:
    parts = segments(*((RUN, 3), (SLEEP, 2)) * 5000)
    made = scenario(record(cost=25_000, segments=parts))
    found = phases(made)
    assert len(found) <= 1000
    assert sum(ns for key, ns in found if key == "compute") == 15_000
    assert sum(ns for key, ns in found if key == "sleep") == 10_000


def test_pieces_are_put_together_in_order() -> None:
    pieces = merged([(Compute, 1), (Compute, 2), (Sleep, 0), (RegisterChildren, ["a"]), (RegisterChildren, ["b"])])
    assert pieces == [(Compute, 3), (RegisterChildren, ["a", "b"])]
    assert capped([(Compute, 1), (Sleep, 2)] * 10, 6) == [
        (Compute, 5),
        (Sleep, 10),
        (Compute, 5),
        (Sleep, 10),
    ]


# ---- results -------------------------------------------------------------------------------------------------------
def test_a_failure_fails_again() -> None:
    again = replay(record(result="EIO"), record("d1", start=10 * MS))
    assert [(r.device, r.result, r.cost_ns) for r in again.probes] == [("d0", "EIO", 10 * MS), ("d1", "0", 10 * MS)]


def test_an_unknown_errno_is_eio_and_said() -> None:
    made = scenario(record(result="EWHATEVER"))
    assert phases(made)[-1] == ("fail", "EIO")
    assert "assumed-errno" in told(made)


def test_a_deferral_is_retried_by_the_core() -> None:
    deferred = record(cost=2 * MS, result="EPROBE_DEFER")
    supplier = record("s0", driver="other", start=5 * MS)
    retry = record(start=20 * MS, asynchronous=False, path="device_attach", comm="kworker/u9:0", attempt=2)
    made = scenario(deferred, supplier, retry)
    assert phases(made) == [("compute", 2 * MS), ("fail", "EPROBE_DEFER"), ("compute", 8 * MS)]
    again = replay(deferred, supplier, retry)
    assert [(r.device, r.result, r.cost_ns // MS) for r in again.probes] == [
        ("d0", "EPROBE_DEFER", 2),
        ("s0", "0", 10),
        ("d0", "0", 10),
    ]


def test_a_second_bind_succeeds_where_the_first_failed() -> None:
    bind = {"path": "device_driver_attach", "caller_comm": "sh"}
    again = replay(record(cost=MS, result="EIO", **bind), record(start=20 * MS, **bind))
    assert [(r.result, r.cost_ns // MS) for r in again.probes] == [("EIO", 1), ("0", 10)]


# ---- order of events -----------------------------------------------------------------------------------------------
def test_a_registration_is_a_load_by_its_caller() -> None:
    made = scenario(record(caller_cpu=3, caller_comm="udevd"), record("d1", start=10 * MS, caller_comm="udevd"))
    assert kinds(made) == ["add", "load", "settle"]
    assert (made.caller.comm, made.caller.cpu) == ("udevd", 3)


def test_a_new_device_finds_its_driver_loaded() -> None:
    made = scenario(record(path="device_attach"), record("d1", start=12 * MS, path="device_attach"))
    assert kinds(made) == ["load", "add", "wait", "add", "settle"]
    assert [r.path for r in replay(record(path="device_attach")).probes] == ["device_attach"]


def test_binds_keep_their_callers_and_overlap() -> None:
    bind = {"path": "device_driver_attach", "caller_comm": "sh"}
    one, two = record(caller_cpu=1, **bind), record("d1", start=4 * MS, caller_cpu=2, **bind)
    made = scenario(one, two)
    assert kinds(made) == ["autoprobe", "add", "load", "autoprobe", "parallel", "settle"]
    again = replay(one, two)
    assert [(r.device, r.caller_cpu, (r.start_ns or 0) // MS) for r in again.probes] == [("d0", 1, 0), ("d1", 2, 4)]


def test_a_sync_attach_of_an_async_driver_is_drivers_probe() -> None:
    by_hand = record(path="device_attach")
    on_its_own = record("d1", start=20 * MS, asynchronous=True, path="device_attach_async")
    again = replay(by_hand, on_its_own)
    assert [(r.device, r.asynchronous) for r in again.probes] == [("d0", False), ("d1", True)]


@pytest.mark.parametrize("path", ["driver_attach_sync", "device_attach", "device_driver_attach"])
def test_what_was_probed_twice_is_probed_twice(path: str) -> None:
    first, second = record(path=path), record(start=50 * MS, path=path)
    again = replay(first, second)
    assert [(r.path, (r.start_ns or 0) // MS) for r in again.probes] == [(path, 0), (path, 50)]
    assert not [w for w in again.warnings if w.kind not in {"repeated", "assumed-order", "kernel-profile"}]


def test_a_driver_that_was_there_gets_its_devices_as_new_ones() -> None:
    made = [record(path="device_attach"), record("d1", start=20 * MS), record("d2", start=30 * MS)]
    assert [r.device for r in replay(*made).probes] == ["d0", "d1", "d2"]


def test_a_bind_after_the_drivers_registration_does_not_come_too_early() -> None:
    late = record("d1", start=20 * MS, path="device_driver_attach")
    assert [(r.device, (r.start_ns or 0) // MS) for r in replay(record(), late).probes] == [("d0", 0), ("d1", 20)]


# ---- nested probes -------------------------------------------------------------------------------------------------
def nested(device: str, start: int, cost: int, **fields: Any) -> ProbeRecord:
    return record(device, driver="child", start=start, cost=cost, nested=True, path="device_attach", **fields)


def test_a_nested_probe_happens_inside_its_parent_at_its_time() -> None:
    parent = record(segments=(Segment(0, 10 * MS, RUN, 0),))
    inner = nested("c0", 4 * MS, 3 * MS, segments=(Segment(4 * MS, 7 * MS, RUN, 0),))
    made = scenario(parent, inner)
    assert [key for key, _ in phases(made)] == ["compute", "children", "compute"]
    again = replay(parent, inner)
    found = {r.device: (r.start_ns, r.end_ns, r.nested) for r in again.probes}
    assert found == {"d0": (0, 10 * MS, False), "c0": (4 * MS, 7 * MS, True)}


def test_virtual_functions_run_under_their_physical_one() -> None:
    names = {"bus": "pci", "comm": "kworker/4:0", "cpu": 4, "cpu_node": 1}
    pf = record("0000:81:00.0", **names)
    vf = nested("0000:81:00.1", 2 * MS, 3 * MS, caller_cpu=4, caller_comm="kworker/4:0", **names)
    made = scenario(pf, vf)
    children = next(phase.children for phase in made.devices[0].phases or () if isinstance(phase, RegisterChildren))
    assert children[0].virtual_function
    again = replay(pf, vf, policy="work-on-cpu")
    assert [(r.device, r.comm, r.nested) for r in again.probes] == [
        ("0000:81:00.0", "kworker/4:0", False),
        ("0000:81:00.1", "kworker/4:0", True),
    ]


def test_two_probes_inside_each_other_are_no_circle() -> None:
    both = [nested("c0", 0, 10 * MS), nested("c1", 0, 10 * MS)]
    made = scenario(*both)
    assert "ran inside another probe that is not in the trace" in told(made)["nested"]
    assert {r.device for r in replay(*both).probes} == {"c0", "c1"}


def test_nesting_is_as_deep_as_a_file_may_be() -> None:
    chain = [nested(f"c{i}", i * 1000, (100 - 2 * i) * 1000) for i in range(40)]
    assert {r.device for r in replay(*chain).probes} == {f"c{i}" for i in range(40)}


# ---- what sources leave out ----------------------------------------------------------------------------------------
def bare(device: str, comm: str) -> ProbeRecord:
    return ProbeRecord(device=device, driver="nvme", cost_ns=50 * MS, cpu=0, comm=comm)


def test_lines_of_the_log_are_enough() -> None:
    made = scenario(*(bare(f"0000:0{i}:00.0", f"kworker/0:{i}") for i in (1, 2, 3)))
    assert [d.bus for d in made.devices] == ["pci"] * 3
    assert made.drivers[0].probe_type == "async"
    assert set(told(made)) == {
        "kernel-profile",
        "assumed-async",
        "assumed-order",
        "implied-node",
        "assumed-cost",
        "not-known",
    }
    alone = scenario(*(bare(f"0000:0{i}:00.0", "kworker/0:1") for i in (1, 2, 3)))
    assert alone.drivers[0].probe_type == "default"


def test_several_drivers_of_one_device_leave_the_one_that_bound_it() -> None:
    made = scenario(record(driver="sd", result="ENODEV"), record(driver="sr", start=20 * MS))
    assert [driver.name for driver in made.drivers] == ["sr"]
    assert "several drivers" in told(made)["not-replayed"]


def test_names_that_a_scenario_cannot_hold_are_left_out() -> None:
    made = scenario(record(), record("a/b"), record("{i}"), record("x" * 200))
    assert [device.name for device in made.devices] == ["d0"]
    assert "cannot hold" in told(made)["not-replayed"]


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([record("a/b")], "holds no probe that can be replayed"),
        ([], "holds no probe that can be replayed"),
        ([record(cost=10**18)], "lasts longer than an hour"),
        ([record(end_ns=2**62)], "lasts longer than an hour"),
        ([record(memory={0: 2**60})], "allocates more than 1 PiB"),
        ([record(f"d{i}", path="device_attach", cost=MS, start=i) for i in range(4100)], "more than 4000 tasks"),
    ],
    ids=["names", "empty", "cost", "end", "memory", "tasks"],
)
def test_absurd_traces_are_one_line(records: list[ProbeRecord], reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        scenario(*records)
    assert "\n" not in str(caught.value)


def test_far_away_times_do_not_matter() -> None:
    far = [replace(record(start=2**62), end_ns=2**62 + 10 * MS), record("d1", start=0)]
    assert [r.device for r in replay(*far).probes] == ["d1", "d0"]


def test_ten_thousand_probes() -> None:
    many = [record(f"d{i}", start=i * MS, cost=MS, path="device_driver_attach") for i in range(10_000)]
    made = scenario(*many)
    assert len(made.devices) == 10_000
    again = run_setting(prepare(made), "inline").trace
    assert len(again.probes) == 10_000
    assert again.probes[-1].end_ns == 10_000 * MS


def test_values_of_a_replay_can_be_put_in_place() -> None:
    made = replay_scenario(trace(record()), overrides=["drivers[0].probe_type=async"])
    assert made.drivers[0].probe_type == "async"


def test_probes_that_overlapped_are_said_to_have_slept_for_their_devices_or_for_each_other() -> None:
    sleep: dict[str, Any] = {"running_ns": 4 * MS, "sleeping_ns": 6 * MS}
    both = [record(**sleep), record("d1", start=5 * MS, path="device_driver_attach", **sleep)]
    assert told(scenario(*both))["overlapped"].startswith("d0, d1: overlapped other probes")
    assert "overlapped" not in told(scenario(record(**sleep), record("d1", start=10 * MS, **sleep)))


# ---- phases of a device --------------------------------------------------------------------------------------------
def test_a_device_with_phases_of_its_own_does_not_do_its_drivers() -> None:
    made = parse_scenario(
        {
            "machine": "1 nodes x 1 llc x 1 cores",
            "drivers": [{"name": "d", "phases": [{"compute": "9ms"}, {"register": [{"name": "{parent}-c"}]}]}],
            "devices": [{"name": "a", "compatible": "d"}, {"name": "b", "compatible": "d", "phases": []}],
        }
    )
    setting = prepare(made)
    assert [(r.device, r.cost_ns) for r in run_setting(setting, "inline").trace.probes] == [("a", 9 * MS), ("b", 0)]


# ---- nodes that the source implies -----------------------------------------------------------------------------------
def of_unknown_node(device: str, start: int, cost: int, **more: object) -> ProbeRecord:
    fields = {"driver": "ixgbevf", "device_node": None, "bus": "pci", "asynchronous": False, "comm": "sh", **more}
    return record(device, start=start, cost=cost, **fields)


def node_in_replay(device: str, *records: ProbeRecord, devices: tuple[DeviceInfo, ...] = ()) -> tuple[int, str]:
    made = replay_scenario(trace(*records), replace(MACHINE, devices=devices))
    probes = run_setting(prepare(made)).trace.probes
    found = next(one.device_node for one in probes if one.device == device)
    return -1 if found is None else found, told(made).get("implied-node", "")


def test_a_virtual_function_has_its_physical_functions_node() -> None:
    physical = record("0000:41:00.0", start=0, cost=10 * MS, driver="ixgbe", bus="pci", device_node=1, comm="sh")
    virtual = of_unknown_node("0000:41:10.0", 2 * MS, MS, nested=True)
    node, said = node_in_replay("0000:41:10.0", physical, virtual)
    assert node == 1
    assert "the probe of 0000:41:00.0 registered it, so it is that one's, node 1" in said


def test_a_hot_added_device_has_the_node_of_the_bridge_above_it() -> None:
    devices = (
        DeviceInfo(name="0000:00:1f.0", bus="pci", node=0),
        DeviceInfo(name="0000:40:01.0", bus="pci", node=1),
        DeviceInfo(name="0000:41:00.0", bus="pci", node=1, parent="0000:40:01.0"),
    )
    for address, node in (("0000:05:00.0", 0), ("0000:42:00.0", 1), ("0001:42:00.0", -1)):
        found, said = node_in_replay(address, of_unknown_node(address, 0, MS), devices=devices)
        assert (found, "below the same host bridge" in said) == (node, node >= 0)


def test_a_bridge_with_devices_of_two_nodes_implies_none() -> None:
    devices = tuple(DeviceInfo(name=f"0000:40:0{node}.0", bus="pci", node=node) for node in (0, 1))
    assert node_in_replay("0000:42:00.0", of_unknown_node("0000:42:00.0", 0, MS), devices=devices) == (-1, "")
