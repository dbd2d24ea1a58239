"""Changes of state to stretches: at once, or one by one where neighbours are alike or at one time."""

import gc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numaprobe.errors import InputError
from numaprobe.kernel.calls import LogSpace, StateLog, TaskTime
from numaprobe.reading.collector import PATIENCE, patient_collector
from numaprobe.records import RunState

RUNNING, RUNNABLE, SLEEPING = RunState.RUNNING, RunState.RUNNABLE, RunState.SLEEPING
CHANGES = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(list(RunState)), st.integers(0, 2)), min_size=1)


def log_of(changes: list[tuple[int, RunState, int]]) -> StateLog:
    """Return a log of changes, each so many ns after the one before."""
    log, now = StateLog(), 100
    for after, state, cpu in changes:
        now += after
        log.times.append(now)
        log.states.append(state)
        log.cpus.append(cpu)
    return log


@given(CHANGES, st.integers(0, 2))
def test_stretches_fill_the_time_and_none_is_as_its_neighbour(
    changes: list[tuple[int, RunState, int]], more: int
) -> None:
    log = log_of(changes)
    end = log.times[-1] + more
    found = log.stretches(end)
    assert found == log._joined(end)
    assert sum(one.end_ns - one.start_ns for one in found) == end - log.times[0]
    assert all(before.end_ns == after.start_ns for before, after in pairwise(found))
    assert all(before[2:] != after[2:] for before, after in pairwise(found))


@given(CHANGES, CHANGES, st.data())
def test_what_is_told_at_once_is_what_is_told_one_by_one(
    before: list[tuple[int, RunState, int]], told: list[tuple[int, RunState, int]], data: st.DataObject
) -> None:
    wakes = sorted(data.draw(st.sets(st.integers(0, len(told) - 1))))
    told = [(at, RUNNABLE if i in wakes else state, cpu) for i, (at, state, cpu) in enumerate(told)]
    once, each = (TaskTime(None, LogSpace()) for _ in range(2))
    for task in (once, each):
        log = log_of(before)
        for change in zip(log.states, log.times, log.cpus, strict=True):
            task.enter(*change)
    batch = log_of(told)
    last = -1
    for i, (state, now, cpu) in enumerate(zip(batch.states, batch.times, batch.cpus, strict=True)):
        if i not in wakes or each.state is SLEEPING:
            each.enter(state, now, cpu)
            last = now
    assert once.follow(batch, wakes) == last
    assert (once.log, once.state, once.space.used) == (each.log, each.state, each.space.used)


def test_the_collector_is_patient_while_a_file_is_read_and_then_as_before() -> None:
    before = gc.get_threshold()
    with patient_collector():
        assert gc.get_threshold()[0] == PATIENCE
        with patient_collector():
            assert gc.get_threshold()[0] == PATIENCE
        assert gc.get_threshold()[0] == PATIENCE
    assert gc.get_threshold() == before
    with pytest.raises(InputError), patient_collector():
        raise InputError("broken")
    assert gc.get_threshold() == before


def test_a_collector_that_is_off_stays_off() -> None:
    before = gc.get_threshold()
    gc.disable()
    try:
        with patient_collector():
            assert gc.get_threshold() == before
        assert not gc.isenabled()
    finally:
        gc.enable()
