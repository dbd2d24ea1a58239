"""Whether probes ran at once, beside what chance would have: a lock that is taken often keeps them apart."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.analysis import find
from numaprobe.analysis.sharing.timeline import _moved, timeline
from numaprobe.kernel.readers import read_trace
from numaprobe.records import ProbeRecord, RunState, Segment, Trace
from numaprobe.topology import load_topology

US = 1000
DATA = Path(__file__).parents[1] / "data" / "kernel"


def probe(name: str, cpu: int, *spans: tuple[RunState, int], start: int = 0) -> ProbeRecord:
    """Return a probe of stretches of so many µs."""
    now, segments = start, []
    for state, us in spans:
        segments.append(Segment(now * US, (now + us) * US, state, cpu))
        now += us
    sums = {state: sum(us for kind, us in spans if kind is state) * US for state in RunState}
    return ProbeRecord(device=name, driver="d", cpu=cpu, cpus=(cpu,), start_ns=start * US, end_ns=now * US,
                       cost_ns=(now - start) * US, running_ns=sums[RunState.RUNNING],
                       runnable_ns=sums[RunState.RUNNABLE], sleeping_ns=sums[RunState.SLEEPING],
                       segments=tuple(segments))  # fmt: skip


def by_turns(count: int, seed: int) -> list[ProbeRecord]:
    """Probes of which one runs at a time, in hundreds of short turns; between them the devices sleep, too."""
    choose = random.Random(seed)
    spans: list[list[tuple[RunState, int]]] = [[] for _ in range(count)]
    for _ in range(100 * count):
        turn, us = choose.randrange(count), choose.randrange(50, 150)
        for index, mine in enumerate(spans):
            mine.append((RunState.RUNNING if index == turn else RunState.SLEEPING, us))
    return [probe(f"d{index}", index, *mine) for index, mine in enumerate(spans)]


def on_their_own(count: int, seed: int) -> list[ProbeRecord]:
    """Probes that run and sleep as they like."""
    choose = random.Random(seed)
    turns = (RunState.RUNNING, RunState.SLEEPING)
    return [
        probe(f"d{index}", index, *((turns[one % 2], choose.randrange(50, 150)) for one in range(200)), start=index)
        for index in range(count)
    ]


def suspected(records: list[ProbeRecord]) -> bool:
    found = [one for one in find(Trace(source="kernel", probes=tuple(records))) if one.kind == "shared-lock"]
    return any(one.evidence["shown_by"] == "timeline" for one in found)


@pytest.mark.parametrize("seed", range(20))
def test_a_lock_is_suspected_where_there_is_one_and_nowhere_else(seed: int) -> None:
    assert suspected(by_turns(3, seed))
    assert not suspected(on_their_own(3, seed))


def test_two_that_compute_once_one_after_the_other_say_nothing() -> None:
    run, sleep = RunState.RUNNING, RunState.SLEEPING
    apart = [probe("a", 0, (run, 100), (sleep, 400)), probe("b", 1, (sleep, 200), (run, 100), (sleep, 300))]
    found = timeline(apart)
    assert found is not None
    assert (found.two_or_more, found.of_chance, found.unusual) == (0.0, 0.0, False)
    assert not suspected(apart)


def test_on_one_cpu_probes_take_turns_whatever_they_share() -> None:
    assert timeline([replace(one, cpu=0, cpus=(0,)) for one in by_turns(3, 0)]) is None


def test_who_waits_for_cpus_and_who_does_not_sleep_is_not_suspected() -> None:
    found = timeline(by_turns(3, 0))
    assert found is not None
    assert found.kept_apart
    assert not replace(found, runnable=0.2).kept_apart
    assert not replace(found, asleep=0.2).kept_apart


def test_real_probes_without_a_lock_run_at_once_about_as_often_as_chance_has_it() -> None:
    found = []
    for kernel in ("debian-6.1", "debian-7.2"):
        machine = load_topology(str(DATA / kernel / "two-nodes"))
        for path in sorted((DATA / kernel / "two-nodes").glob("vblkasync.*.trace.gz")):
            ran = timeline(read_trace(path, topology=machine).probes)
            assert ran is not None
            found.append(ran)
    assert len(found) == 6
    assert all(0.9 < ran.of_chance < 1.1 for ran in found)
    assert not any(ran.kept_apart for ran in found)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=2, max_size=8), st.integers(0, 200))
def test_moving_keeps_every_length_and_stays_inside(lengths: list[int], by: int) -> None:
    edges = [sum(lengths[:index]) for index in range(len(lengths) + 1)]
    spans = list(zip(edges[::2], edges[1::2], strict=False))
    moved = _moved(spans, by % edges[-1], 0, edges[-1])
    assert sum(end - start for start, end in moved) == sum(end - start for start, end in spans)
    assert all(0 <= start < end <= edges[-1] for start, end in moved)
