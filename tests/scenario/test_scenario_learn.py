"""What other traces teach: locks of the virtual machine found again, and predictions that hold."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from numaprobe.errors import InputError, UsageError
from numaprobe.records import RunWarning
from numaprobe.scenario import learn, parse_scenario, prepare, replay_scenario, run_setting
from numaprobe.study import make_setting, run

if TYPE_CHECKING:
    from numaprobe.records import Trace

MS = 1_000_000
WIDE = "1 nodes x 1 llc x 32 cores"


def makespan(trace: Trace) -> int:
    return max(r.end_ns or 0 for r in trace.probes) - min(r.start_ns or 0 for r in trace.probes)


def drivers_of(rng: Random, locks: dict[int, str]) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Return five drivers, some of which take a lock forty times, and for how many ms each has it in all."""
    drivers, holds = [], {}
    for number in range(5):
        compute, sleep, hold = rng.uniform(5, 15), rng.uniform(2, 20), rng.uniform(8, 20)
        phases: list[dict[str, Any]] = []
        for turn in range(40):
            phases.append({"compute": f"{round(compute * MS / 40)}ns"})
            if number in locks:
                held = {"lock": locks[number], "phases": [{"compute": f"{round(hold * MS / 40)}ns"}]}
                phases.append({"hold": held})
                holds[f"d{number}"] = hold
            if turn % 10 == 0:
                phases.append({"sleep": f"{round(sleep * MS / 4)}ns"})
        drivers.append({"name": f"d{number}", "phases": phases})
    return drivers, holds


def recorded(
    drivers: list[dict[str, Any]], *, parallel: bool, policy: str = "strict-node", machine: str = WIDE
) -> Trace:
    loads = [{"load": driver["name"]} for driver in drivers]
    kind = {"probe_type": "async"} if parallel else {}
    data = {
        "machine": machine,
        "kernel": "7.3",
        "drivers": [driver | kind for driver in drivers],
        "devices": [{"name": f"{d['name']}-{{i}}", "count": 2, "node": 0, "compatible": d["name"]} for d in drivers],
        "steps": [{"add": "*"}, *([{"parallel": loads}] if parallel else loads)],
    }
    return run_setting(prepare(parse_scenario(data)), policy, timeline=True).trace


@pytest.mark.parametrize("seed", range(5))
def test_a_lock_that_three_of_five_drivers_share_is_found_with_its_hold_and_its_members(seed: int) -> None:
    drivers, holds = drivers_of(Random(seed), dict.fromkeys(range(3), "acpi"))
    lesson = learn(recorded(drivers, parallel=False), [recorded(drivers, parallel=True)])
    (hold,) = (one for one in lesson.shared if one.hold_ns)
    assert (hold.resource, hold.members, hold.evidence) == ("acpi", ("d0", "d1", "d2"), "seen")
    assert {name: hold.hold_of(name) / MS for name in hold.members} == pytest.approx(holds, rel=0.1)


def untold(trace: Trace) -> Trace:
    """A trace of a kernel that tells no waits."""
    probes = tuple(replace(one, waits=None, lock_wait_ns=None) for one in trace.probes)
    return replace(trace, probes=probes, shared=())


@pytest.mark.parametrize("seed", range(5))
def test_where_no_wait_is_told_members_have_one_hold_and_a_range_that_holds_each_of_theirs(seed: int) -> None:
    drivers, holds = drivers_of(Random(seed), dict.fromkeys(range(3), "acpi"))
    serial, parallel = (untold(recorded(drivers, parallel=together)) for together in (False, True))
    (hold,) = (one for one in learn(serial, [parallel]).shared if one.hold_ns)
    assert (hold.members, hold.by_member, hold.evidence) == (("d0", "d1", "d2"), {}, "suspected")
    low, high = hold.hold_range_ns
    assert all(low <= ms * MS <= high for ms in holds.values())
    assert high < 3 * max(holds.values()) * MS


@pytest.mark.parametrize("seed", range(20))
def test_without_a_lock_none_is_found(seed: int) -> None:
    drivers, _ = drivers_of(Random(seed), {})
    lesson = learn(recorded(drivers, parallel=False), [recorded(drivers, parallel=True)])
    assert [hold for hold in lesson.shared if hold.hold_ns] == []


def test_two_locks_are_told_apart() -> None:
    drivers, holds = drivers_of(Random(1), {0: "acpi", 1: "acpi", 3: "rtnl", 4: "rtnl"})
    lesson = learn(recorded(drivers, parallel=False), [recorded(drivers, parallel=True)])
    found = {hold.resource: hold for hold in lesson.shared}
    assert {name: hold.members for name, hold in found.items()} == {"acpi": ("d0", "d1"), "rtnl": ("d3", "d4")}
    assert {d: hold.hold_of(d) / MS for hold in found.values() for d in hold.members} == pytest.approx(holds, rel=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_what_was_learnt_under_one_policy_predicts_another(seed: int) -> None:
    """Alone, and crowded on one CPU's node, taught; then the same probes on a wide node."""
    drivers, _ = drivers_of(Random(seed), dict.fromkeys(range(3), "acpi"))
    alone, crowded = recorded(drivers, parallel=False), recorded(drivers, parallel=True, policy="queue-on-node")
    truth = makespan(recorded(drivers, parallel=True))
    lesson = learn(alone, [crowded])
    asynchronous = [f"drivers[{number}].probe_type=async" for number in range(5)]
    made = replay_scenario(crowded, lesson=lesson, overrides=asynchronous)
    assert makespan(run_setting(prepare(made), "strict-node").trace) == pytest.approx(truth, rel=0.15)


def plain(parallel: bool = False, **more: Any) -> Trace:
    drivers, _ = drivers_of(Random(3), {0: "acpi"})
    return replace(recorded(drivers, parallel=parallel), **more)


def drives(*, parallel: bool, locked: bool) -> Trace:
    phases: list[dict[str, Any]] = [{"sleep": "5ms"}, {"compute": "20ms"}]
    if locked:
        phases = [phases[0], {"hold": {"lock": "acpi", "phases": [phases[1]]}}]
    data = {
        "machine": WIDE,
        "drivers": [{"name": "d", "phases": phases, "probe_type": "async" if parallel else "default"}],
        "devices": [{"name": "d{i}", "count": 4, "node": 0, "compatible": "d"}],
    }
    found = run_setting(prepare(parse_scenario(data)), "strict-node", timeline=True).trace
    bare = tuple(replace(record, waits=None, lock_wait_ns=None) for record in found.probes)
    return replace(found, probes=bare, shared=(), policy=None)


@pytest.mark.parametrize("locked", [True, False])
def test_a_replay_without_a_lesson_is_a_range_that_holds_whether_there_is_a_lock_or_not(locked: bool) -> None:
    setting = make_setting(drives(parallel=False, locked=locked), overrides=["drivers[0].probe_type=async"])
    kinds = {warning.kind: warning.message for warning in setting.warnings}
    assert "at most what is shown" in kinds["not-known"]
    low, high = run(setting).trace.makespan_range_ns or (0, 0)
    assert low <= makespan(drives(parallel=True, locked=locked)) <= high


def test_a_parallel_trace_without_a_lesson_is_one_too() -> None:
    locked = drives(parallel=True, locked=True)
    found = run(make_setting(locked, policy="strict-node")).trace
    assert found.makespan_range_ns is not None
    assert found.makespan_range_ns[0] <= makespan(locked) <= found.makespan_range_ns[1]


def test_a_lesson_is_named_with_what_it_taught() -> None:
    setting = make_setting(plain(), learn=[plain(parallel=True, scenario="busy")])
    (said,) = [warning.message for warning in setting.warnings if warning.kind == "learnt"]
    assert said.startswith("learnt from busy: probes of d0 have acpi for ")
    assert "seen" in said


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (plain(kernel="6.1"), "kernels differ"),
        (
            replace(recorded(drivers_of(Random(3), {})[0], parallel=True, machine="2 nodes x 2 cores")),
            "machines differ",
        ),
        (plain(source="kernel"), "source"),
        (plain(probes=()), "teaches nothing"),
    ],
)
def test_what_cannot_teach_is_refused_in_words(other: Trace, words: str) -> None:
    with pytest.raises(InputError, match=words):
        learn(plain(), [other])


def test_lost_events_are_said_to_be_why_a_trace_cannot_teach() -> None:
    probes = tuple(replace(record, running_ns=None, sleeping_ns=None) for record in plain(parallel=True).probes)
    lost = plain(probes=probes, warnings=(RunWarning(kind="lost-events", message="7 events were lost"),))
    with pytest.raises(InputError, match="teaches nothing: 7 events were lost"):
        learn(plain(), [lost])


def test_serial_traces_alone_leave_the_range_as_it_is() -> None:
    setting = make_setting(plain(), learn=[plain()])
    kinds = {warning.kind: warning.message for warning in setting.warnings}
    assert "not-known" in kinds
    assert "both alone and beside others" in kinds["not-known"]


def test_only_a_trace_is_taught() -> None:
    with pytest.raises(UsageError, match="--learn is for recorded traces"):
        make_setting("nvme-epyc", learn=[plain()])
