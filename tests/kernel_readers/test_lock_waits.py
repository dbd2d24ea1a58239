"""Waits for each other in ftrace text: by which task woke which, and by lock events."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from ftrace_text import Ftrace
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.analysis import find
from numaprobe.kernel.ftrace import read_ftrace
from numaprobe.kernel.readers import read_trace
from numaprobe.records import LockWait, ProbeRecord, Trace

A, B, C = "kworker/4:1-89", "kworker/5:2-122", "kworker/6:0-44"
INTERRUPT = "{task:>16}-{pid:<7} [{cpu:03d}] dNh1. {time:>12}: {event}"
PLAIN = Ftrace().layout
US = 1000


def read(text: Ftrace) -> Trace:
    return read_ftrace(io.BytesIO(text.text))


def by_device(trace: Trace) -> dict[str, ProbeRecord]:
    return {record.device: record for record in trace.probes}


def wakes(text: Ftrace, us: int, waker: str, cpu: int, task: str) -> Ftrace:
    comm, _, pid = task.rpartition("-")
    return text.at(us, waker, cpu, f"sched_wakeup: comm={comm} pid={pid} prio=120 target_cpu=005")


def asleep(text: Ftrace, since: int, task: str, cpu: int, waker: str, until: int) -> Ftrace:
    """A task sleeps from one moment to another, and is woken by another task."""
    text.switch(since, cpu, task, "D", "swapper/5-0")
    wakes(text, until, waker, 4, task)
    return text.switch(until, cpu, "swapper/5-0", "R", task)


def two_probes() -> Ftrace:
    return Ftrace().probe(10, A, 4, "a").probe(12, B, 5, "b")


def ended(text: Ftrace) -> Ftrace:
    return text.probed(900, A, 4).probed(950, B, 5)


def test_a_probe_that_another_probe_wakes_waited_for_it() -> None:
    found = by_device(read(ended(asleep(two_probes(), 20, B, 5, A, 320))))
    assert found["b"].waits == (LockWait("unnamed", "a", 1, 300 * US, 300 * US),)
    assert (found["b"].lock_wait_ns, found["a"].waits) == (None, None)
    assert found["b"].sleeping_ns == 300 * US


@pytest.mark.parametrize("waker", ["<idle>-0", "rcu_preempt-15", "kworker/u34:3-446"])
def test_who_is_in_no_probe_is_not_waited_for(waker: str) -> None:
    assert by_device(read(ended(asleep(two_probes(), 20, B, 5, waker, 320))))["b"].waits is None


def test_an_interrupt_that_borrows_a_probing_task_tells_nothing() -> None:
    text = two_probes().switch(20, 5, B, "D", "swapper/5-0")
    text.layout = INTERRUPT
    wakes(text, 320, A, 4, B)
    text.layout = PLAIN
    assert by_device(read(ended(text.switch(321, 5, "swapper/5-0", "R", B))))["b"].waits is None


def test_time_before_the_waker_had_it_belongs_to_the_one_that_the_waker_waited_for() -> None:
    text = two_probes().probe(13, C, 6, "c")
    text.switch(20, 5, B, "D", "swapper/5-0").switch(30, 6, C, "D", "swapper/6-0")
    wakes(text, 220, A, 4, B)
    text.switch(220, 5, "swapper/5-0", "R", B)
    wakes(text, 320, B, 5, C)
    found = by_device(read(ended(text.switch(320, 6, "swapper/6-0", "R", C)).probed(960, C, 6)))
    assert found["b"].waits == (LockWait("unnamed", "a", 1, 200 * US, 200 * US),)
    assert found["c"].waits == (
        LockWait("unnamed", "a", 1, 190 * US, 190 * US),
        LockWait("unnamed", "b", 1, 100 * US, 100 * US),
    )


# ---- lock events ---------------------------------------------------------------------------------------------------
LOCK = "00000000d1b2a3c4"
STACK = ["__traceiter_contention_begin", "__mutex_lock.constprop.0", "mutex_lock", "acpi_ex_enter_interpreter", "probe"]
SEMAPHORE = [
    "__down_common",
    "down_timeout",
    "acpi_os_wait_semaphore",
    "acpi_ut_acquire_mutex",
    "acpi_ex_enter_interpreter",
]


def contended(text: Ftrace, us: int, task: str, cpu: int, stack: list[str], flags: str = "MUTEX") -> Ftrace:
    text.at(us, task, cpu, f"contention_begin: {LOCK} (flags={flags})").at(us, task, cpu, "<stack trace>")
    for function in stack:
        text.raw(f" => {function}")
    return text


def released(text: Ftrace, us: int, task: str, cpu: int) -> Ftrace:
    return text.at(us, task, cpu, f"contention_end: {LOCK} (ret=0)")


@pytest.mark.parametrize(("stack", "flags"), [(STACK, "MUTEX"), (SEMAPHORE, "")])
def test_a_lock_goes_by_the_function_that_takes_it_a_semaphore_too(stack: list[str], flags: str) -> None:
    text = asleep(contended(two_probes(), 18, B, 5, stack, flags), 20, B, 5, A, 320)
    found = by_device(read(ended(released(text, 330, B, 5))))
    assert found["b"].waits == (
        LockWait("acpi_ex_enter_interpreter", "a", 1, 300 * US, 300 * US),
        LockWait("acpi_ex_enter_interpreter", None, 1, 12 * US, 12 * US),
    )
    assert found["b"].lock_wait_ns == 312 * US
    assert (found["a"].waits, found["a"].lock_wait_ns) == ((), 0)


def test_a_wait_that_begins_twice_is_one_and_its_holder_may_be_no_probe() -> None:
    text = contended(contended(two_probes(), 18, B, 5, STACK, "MUTEX|SPIN"), 19, B, 5, STACK)
    text = asleep(text, 20, B, 5, "udevd-300", 320)
    (first, _) = by_device(read(ended(released(text, 330, B, 5))))["b"].waits or ()
    assert first == LockWait("acpi_ex_enter_interpreter", "udevd", 1, 300 * US, 300 * US)


def test_without_a_stack_a_lock_goes_by_its_address_and_spinning_is_no_wait() -> None:
    text = two_probes().at(18, B, 5, f"contention_begin: {LOCK} (flags=SPIN)")
    text = released(text, 40, B, 5).at(50, B, 5, f"contention_begin: 0x{LOCK} (flags=READ)")
    found = by_device(read(ended(released(text, 90, B, 5))))
    assert found["b"].waits == (LockWait(LOCK, None, 1, 40 * US, 40 * US),)


def test_trace_cmds_words_are_understood() -> None:
    text = two_probes().at(18, B, 5, f"contention_begin:     0xff{LOCK[2:]} (flags=MUTEX)")
    text.at(18, B, 5, "kernel_stack:         <stack trace >")
    for function in STACK:
        text.raw(f"=> {function} (ffffffff9a2b{len(function):04x})")
    text.at(60, B, 5, f"contention_end:       0xff{LOCK[2:]} (ret=0)")
    trace = read(ended(text))
    assert by_device(trace)["b"].waits == (LockWait("acpi_ex_enter_interpreter", None, 1, 42 * US, 42 * US),)
    assert not [warning for warning in trace.warnings if warning.kind == "torn-line"]


def test_an_end_without_a_begin_and_a_stack_of_nobody_are_passed_over() -> None:
    text = released(two_probes(), 30, B, 5).at(40, "bash-7", 1, "<stack trace>").raw(" => schedule")
    trace = read(ended(text))
    assert by_device(trace)["b"].waits == ()
    assert not [warning for warning in trace.warnings if warning.kind == "torn-line"]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 60),
            st.sampled_from([A, B, C]),
            st.sampled_from(["begin", "end", "sleep", "wake-a", "wake-b", "wake-i", "run", "stack", "probe", "probed"]),
        ),
        max_size=40,
    )
)
def test_whatever_comes_waits_lie_within_their_probe(events: list[tuple[int, str, str]]) -> None:
    text, now = Ftrace(), 0
    for step, task, what in events:
        now += step
        cpu = int(task.partition("/")[2][0])
        if what.startswith("wake"):
            wakes(text, now, {"a": A, "b": B, "i": "<idle>-0"}[what[-1]], 4, task)
            continue
        {
            "begin": lambda now=now, task=task, cpu=cpu: contended(text, now, task, cpu, STACK),
            "end": lambda now=now, task=task, cpu=cpu: released(text, now, task, cpu),
            "sleep": lambda now=now, task=task, cpu=cpu: text.switch(now, cpu, task, "D", "swapper/5-0"),
            "run": lambda now=now, task=task, cpu=cpu: text.switch(now, cpu, "swapper/5-0", "R", task),
            "stack": lambda now=now, task=task, cpu=cpu: text.at(now, task, cpu, "<stack trace>").raw(" => f"),
            "probe": lambda now=now, task=task, cpu=cpu: text.probe(now, task, cpu, task[:9]),
            "probed": lambda now=now, task=task, cpu=cpu: text.probed(now, task, cpu),
        }[what]()
    for record in read(text).probes:
        for wait in record.waits or ():
            assert 0 < wait.longest_ns <= wait.wait_ns
            assert wait.wait_ns <= record.cost_ns
            assert wait.held_by != record.device


# ---- a real one: `numaprobe lab lab-nvme --kernel 7.3 --locks`, the lines of the three tasks that probed -----------
def test_on_a_real_kernel_the_acpi_interpreters_semaphore_shows_with_its_name_and_its_holders() -> None:
    trace = read_trace(Path(__file__).parents[1] / "data/kernel/locks/debian-7.3.trace.gz")
    drives = {f"0000:8{index}:00.0" for index in (1, 2, 3)}
    assert {record.device for record in trace.probes} == drives
    for record in trace.probes:
        waits = record.waits or ()
        assert {wait.lock for wait in waits} <= {"acpi_ex_enter_interpreter", "acpi_ns_get_node"}
        assert {wait.held_by for wait in waits} - {None} <= drives - {record.device}
        assert record.lock_wait_ns == pytest.approx(sum(wait.wait_ns for wait in waits))
        assert 0 < record.lock_wait_ns < (record.sleeping_ns or 0) + (record.runnable_ns or 0)
    longest = max((wait for record in trace.probes for wait in record.waits or ()), key=lambda wait: wait.wait_ns)
    assert longest == LockWait("acpi_ex_enter_interpreter", "0000:83:00.0", 1, 437_785_000, 437_785_000)
    found = {one.evidence["resource"] for one in find(trace) if one.kind == "shared-lock"}
    assert found == {"acpi_ex_enter_interpreter", "acpi_ns_get_node"}
