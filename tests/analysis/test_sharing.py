"""What probes share, from records alone: what sleep grew by in company, and what waits tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.analysis import find
from numaprobe.analysis.sharing.company import meetings
from numaprobe.analysis.sharing.covered import RunningTime
from numaprobe.analysis.sharing.machines import why_not_comparable
from numaprobe.analysis.sharing.own import own_costs
from numaprobe.analysis.sharing.pairs import learn_pairs
from numaprobe.analysis.sharing.waits import learn_waits
from numaprobe.kernel.readers import read_trace
from numaprobe.records import Identity, LockWait, ProbeRecord, RunState, Segment, SharedHold, Trace
from numaprobe.topology import load_topology, symmetric, to_json

MS = 1_000_000
DATA = Path(__file__).parents[1] / "data" / "kernel"


def probe(
    device: str, start: float, running: float, sleeping: float, runnable: float = 0, driver: str = "d"
) -> ProbeRecord:
    """Return a probe; times in ms."""
    running, sleeping, runnable, start = (round(ms * MS) for ms in (running, sleeping, runnable, start))
    cost = running + sleeping + runnable
    return ProbeRecord(
        device=device,
        driver=driver,
        start_ns=start,
        end_ns=start + cost,
        cost_ns=cost,
        running_ns=running,
        sleeping_ns=sleeping,
        runnable_ns=runnable,
    )


def trace(*probes: ProbeRecord, **more: object) -> Trace:
    return Trace(source="kernel", probes=probes, **more)  # type: ignore[arg-type]


def serial(count: int, running: float, sleeping: float, driver: str = "d") -> Trace:
    step = running + sleeping + 1
    return trace(*(probe(f"{driver}{i}", i * step, running, sleeping, driver=driver) for i in range(count)))


# ---- company -------------------------------------------------------------------------------------------------------
def test_company_is_who_was_under_way_and_for_how_long() -> None:
    first, second, third = meetings([probe("a", 0, 5, 5), probe("b", 5, 5, 5), probe("c", 20, 1, 1)])
    assert [(other.record.device, share) for other, share in first.others] == [("b", 0.5)]
    assert [(other.record.device, share) for other, share in second.others] == [("a", 0.5)]
    assert (first.alone, third.alone) == (False, True)


def test_probes_inside_others_and_without_parts_are_left_out() -> None:
    nested = replace(probe("n", 1, 1, 1), nested=True)
    undivided = replace(probe("u", 1, 1, 1), running_ns=None)
    deferred = replace(probe("e", 1, 1, 1), result="EPROBE_DEFER")
    assert [met.record.device for met in meetings([probe("a", 0, 5, 5), nested, undivided, deferred])] == ["a"]


def test_sleep_while_nobody_ran_is_the_devices_own() -> None:
    run, sleep = RunState.RUNNING, RunState.SLEEPING
    one = replace(probe("a", 0, 4, 6), segments=(Segment(0, 4, run, 0), Segment(4, 10, sleep, 0)))
    other = replace(probe("b", 0, 4, 6), segments=(Segment(0, 6, sleep, 1), Segment(6, 9, run, 1)))
    running = RunningTime([one, other])
    assert running.within(0, 10) == 7
    assert (running.own_sleep_ns(one), running.own_sleep_ns(other)) == (3, 2)


# ---- alone and in company ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_sleep_that_grew_over_the_others_is_the_hold(count: int) -> None:
    grown = trace(*(probe(f"d{i}", 0, 20, 5 + (count - 1) * 12) for i in range(count)))
    (hold,), own = learn_pairs([serial(count, 20, 5), grown])
    assert hold.hold_ns == pytest.approx(12 * MS, rel=0.01)
    assert (hold.members, hold.evidence, hold.source, hold.takes) == (("d",), "suspected", "two-traces", None)
    assert own.costs["d", "d0"].cost_ns == 25 * MS


def test_a_staircase_waits_half_as_much_for_the_same_hold() -> None:
    stairs = trace(*(probe(f"d{i}", 0, 20, 5 + i * 12) for i in range(3)))
    (hold,), _ = learn_pairs([serial(3, 20, 5), stairs])
    assert hold.hold_ns == pytest.approx(12 * MS, rel=0.2)
    assert hold.takes == 1


def test_on_a_shared_cpu_the_part_of_the_waiting_that_was_asleep_is_the_holds() -> None:
    crowded = trace(*(probe(f"d{i}", 0, 100, 20 + 150, runnable=50) for i in range(3)))
    (hold,), _ = learn_pairs([serial(3, 100, 20), crowded])
    assert hold.hold_ns == pytest.approx(75 * MS, rel=0.01)


def test_nothing_is_shared_where_sleep_is_as_long_alone() -> None:
    assert learn_pairs([serial(3, 20, 5), trace(*(probe(f"d{i}", 0, 20, 5.1) for i in range(3)))])[0] == ()
    noisy = trace(*(probe(f"d{i}", i * 100, 20, 5 + 9 * i) for i in range(3)))
    assert learn_pairs([noisy, trace(*(probe(f"d{i}", 0, 20, 25) for i in range(3)))])[0] == ()


def test_one_kind_of_probes_alone_teaches_nothing() -> None:
    crowded = trace(*(probe(f"d{i}", 0, 20, 50) for i in range(3)))
    assert learn_pairs([crowded])[0] == learn_pairs([serial(3, 20, 5)])[0] == ()
    assert learn_pairs([crowded, serial(3, 20, 5, driver="e")])[0] == ()


def test_two_levels_of_contention_may_stand_in_one_trace() -> None:
    both = [*serial(3, 20, 5).probes, *(probe(f"d{i}", 200, 20, 5 + 24) for i in range(3))]
    (hold,), _ = learn_pairs([trace(*both)])
    assert hold.hold_ns == pytest.approx(12 * MS, rel=0.01)


def test_a_driver_that_did_not_wait_is_no_member_and_longer_computing_is_told_apart() -> None:
    waiting = [probe(f"d{i}", 0, 20, 5 + 12) for i in range(2)]
    other = [probe("e0", 0, 30, 5, driver="e")]
    shared, own = learn_pairs([serial(2, 20, 5), serial(1, 20, 5, driver="e"), trace(*waiting, *other)])
    assert [hold.members for hold in shared] == [("d",), ("e",)]
    assert shared[1].hold_ns == 0
    assert (shared[1].slowdown, own.slowdown["d"][0]) == (0.5, 0)


def test_what_repeated_probes_differ_by_is_wider_the_fewer_there_are() -> None:
    few = own_costs([meetings(serial(1, running, 0).probes) for running in (10, 12)])
    many = own_costs([meetings(serial(1, running, 0).probes) for running in (10, 12) * 10])
    assert few.spread["d"][1] > 1.2 > many.spread["d"][1] > 1
    assert few.costs["d", "d0"].running_ns == 11 * MS


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 50), st.integers(1, 40), st.integers(0, 40), st.integers(0, 40), st.sampled_from("de")
        ),
        max_size=12,
    )
)
def test_whatever_the_records_say_the_answer_makes_sense(rows: list[tuple[int, int, int, int, str]]) -> None:
    probes = [probe(f"{d}{i % 3}", s, r, z, q, driver=d) for i, (s, r, z, q, d) in enumerate(rows)]
    shared, own = learn_pairs([trace(*probes[:6]), trace(*probes[6:])])
    for hold in shared:
        assert 0 <= hold.hold_range_ns[0] <= hold.hold_ns <= hold.hold_range_ns[1]
        assert hold.slowdown_range[0] <= hold.slowdown <= hold.slowdown_range[1]
        assert set(hold.members) <= {"d", "e"}
    assert all(low <= 1 <= high for low, high in own.spread.values())


# ---- waits ---------------------------------------------------------------------------------------------------------
def waiter(device: str, driver: str, *waits: LockWait) -> ProbeRecord:
    return replace(probe(device, 0, 20, 30, driver=driver), waits=waits)


def test_a_hold_is_what_the_longest_waiter_waited_for_it() -> None:
    a = waiter("a0", "d", LockWait("acpi", "b0", 3, 12 * MS, 4 * MS))
    b = waiter("b0", "e", LockWait("acpi", "a0", 3, 8 * MS, 3 * MS))
    c = waiter("c0", "f", LockWait("acpi", "a0", 1, 2 * MS, 2 * MS), LockWait("acpi", "b0", 1, MS, MS))
    (hold,) = learn_waits([trace(a, b, c)])
    assert (hold.resource, hold.members, hold.evidence, hold.source) == ("acpi", ("d", "e", "f"), "seen", "lock-events")
    assert hold.by_member == {"d": 8 * MS, "e": 12 * MS}


def test_two_locks_are_two_and_a_wait_that_matters_to_nobody_is_none() -> None:
    a = waiter("a0", "d", LockWait("acpi", "b0", 3, 12 * MS, 4 * MS), LockWait("msi", "c0", 1, 5 * MS, 5 * MS))
    b = waiter("b0", "d", LockWait("acpi", "a0", 3, 12 * MS, 4 * MS), LockWait("rtnl", "a0", 1, 1000, 1000))
    c = waiter("c0", "e", LockWait("msi", "a0", 1, 4 * MS, 4 * MS))
    assert [(hold.resource, hold.members) for hold in learn_waits([trace(a, b, c)])] == [
        ("acpi", ("d",)),
        ("msi", ("d", "e")),
    ]


def test_what_no_lock_event_names_is_shared_1_and_a_holder_that_queued_for_its_cpu_needs_less() -> None:
    queued = replace(probe("a0", 0, 10, 20, runnable=10), waits=(LockWait("unnamed", "b0", 1, 9 * MS, 9 * MS),))
    other = replace(probe("b0", 0, 10, 20), waits=(LockWait("unnamed", "a0", 1, 12 * MS, 12 * MS),))
    (hold,) = learn_waits([trace(queued, other)])
    assert (hold.resource, hold.source) == ("shared-1", "wake-ups")
    assert 6 * MS <= hold.hold_range_ns[0] < hold.hold_ns < 9 * MS


def test_a_run_that_knows_its_locks_is_believed() -> None:
    told = SharedHold(
        resource="acpi", hold_ns=5, hold_range_ns=(5, 5), members=("d",), evidence="seen", source="scenario"
    )
    a = waiter("a0", "d", LockWait("acpi", "b0", 3, 12 * MS, 4 * MS))
    b = waiter("b0", "d", LockWait("acpi", "a0", 3, 12 * MS, 4 * MS))
    assert learn_waits([trace(a, b, shared=(told,))]) == (told,)


# ---- real kernels --------------------------------------------------------------------------------------------------
def kernel_trace(name: str) -> Trace:
    path = DATA / f"{name}.trace.gz"
    return read_trace(path, topology=load_topology(str(path.parent)))


def test_three_drives_of_a_real_kernel_share_something_for_most_of_what_they_compute() -> None:
    """The quietest pair: 70 to 120 ms of the 102 to 112 ms that each computes; wake-ups and growth agree."""
    folder = "debian-7.2/two-nodes"
    alone, crowded = kernel_trace(f"{folder}/sync.3"), kernel_trace(f"{folder}/async.3")
    (grown,), _ = learn_pairs([alone, crowded])
    (seen,) = learn_waits([crowded])
    for hold in (grown, seen):
        assert hold.members == ("nvme",)
        assert 70 * MS < hold.hold_ns < 120 * MS
    assert (seen.evidence, seen.source) == ("seen", "wake-ups")


@pytest.mark.parametrize("number", [1, 2, 3])
def test_two_disks_of_a_real_kernel_never_woke_each_other(number: int) -> None:
    assert learn_waits([kernel_trace(f"debian-7.2/two-nodes/vblkasync.{number}")]) == ()


# ---- one machine ---------------------------------------------------------------------------------------------------
def test_only_traces_of_one_machine_and_kernel_are_comparable() -> None:
    machine = to_json(symmetric("m", nodes=2, cores=2))
    here = trace(machine=machine, kernel="7.2")
    assert why_not_comparable(here, here) is None
    for other, words in [
        (trace(kernel="7.2"), "not known whether they are of one machine"),
        (trace(machine=machine, kernel="7.3"), "kernels differ: 7.2 and 7.3"),
        (trace(machine=to_json(symmetric("m", nodes=1, cores=4)), kernel="7.2"), "other nodes"),
        (trace(machine=to_json(symmetric("m", nodes=2, cores=4)), kernel="7.2"), "CPUs 0-3 and 0-7"),
        (trace(machine=to_json(symmetric("m", nodes=2, llcs=2, cores=1)), kernel="7.2"), "caches"),
        (replace(here, source="virtual"), "source"),
    ]:
        assert words in (why_not_comparable(here, other) or "")
    mine, theirs = (replace(here, identity=Identity(machine_id=name)) for name in ("a", "b"))
    assert "two computers" in (why_not_comparable(mine, theirs) or "")
    assert why_not_comparable(mine, mine) is None


def test_the_finding_names_what_real_drives_waited_for_and_is_silent_about_disks_and_serial_loads() -> None:
    folder = "debian-7.2/two-nodes"
    (found,) = [finding for finding in find(kernel_trace(f"{folder}/async.1")) if finding.kind == "shared-lock"]
    assert found.evidence["drivers"] == ["nvme"]
    assert 60 * MS < found.evidence["hold_ns"] < 120 * MS
    assert len(found.devices) == 3
    for quiet in ("sync.1", "vblkasync.1", "bind.1"):
        assert "shared-lock" not in [finding.kind for finding in find(kernel_trace(f"{folder}/{quiet}"))]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=12))
def test_how_much_company_a_probe_had_is_the_sum_over_those_that_it_met(spans: list[tuple[int, int]]) -> None:
    for met in meetings([probe(f"d{index}", start, length, 0) for index, (start, length) in enumerate(spans)]):
        assert met.beside == pytest.approx(sum(share for _, share in met.others), abs=1e-9)
