"""Two buffers of one recording, merged: order, and what an overwritten one may still tell."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.kernel.buffers import NEVER_NS, count
from numaprobe.kernel.ftrace import read_ftrace
from numaprobe.kernel.merge import merged
from numaprobe.kernel.tracefs import Tracefs

if TYPE_CHECKING:
    from pathlib import Path

    from numaprobe.records import ProbeRecord

HEADER = b"# tracer: nop\n#\n"


def at(micros: int, text: str, task: str = "kworker/u8:1-50", cpu: int = 1) -> bytes:
    return f"     {task}      [{cpu:03}] ..... {micros // 10**6:5}.{micros % 10**6:06}: {text}\n".encode()


def entry(micros: int, device: str = "a") -> bytes:
    return at(micros, f'really_probe: (really_probe+0x0/0x380) dev="{device}" drv="d"')


def end(micros: int) -> bytes:
    return at(micros, "really_probe_ret: (driver_probe_device+0x1/0x2 <- really_probe) ret=0")


def out(micros: int) -> bytes:
    """The worker goes to sleep."""
    return at(
        micros,
        "sched_switch: prev_comm=kworker/u8:1 prev_pid=50 prev_prio=120 prev_state=D ==> next_comm=x next_pid=7 "
        "next_prio=120",
    )


def back(micros: int) -> bytes:
    return at(
        micros,
        "sched_switch: prev_comm=x prev_pid=7 prev_prio=120 prev_state=R ==> next_comm=kworker/u8:1 next_pid=50 "
        "next_prio=120",
        task="x-7",
    )


def woken(micros: int) -> bytes:
    return at(micros, "sched_wakeup: comm=kworker/u8:1 pid=50 prio=120 target_cpu=001", task="x-7")


def read(text: list[bytes]) -> list[ProbeRecord]:
    return list(read_ftrace(io.BytesIO(b"".join(text))).probes)


def test_lines_come_in_the_order_of_time_under_one_header() -> None:
    probes = [HEADER, entry(10), end(50)]
    sched = [HEADER, out(20), woken(39), back(40), out(60)]
    text = list(merged(probes, sched))
    assert b"".join(text) == HEADER + entry(10) + out(20) + woken(39) + back(40) + end(50) + out(60)
    (probe,) = read(text)
    assert (probe.running_ns, probe.runnable_ns, probe.sleeping_ns) == (20_000, 1_000, 19_000)


def test_in_one_microsecond_a_work_begins_before_its_probe_and_after_the_one_before() -> None:
    """Else the reader would think that the worker turned away from a probe that it is in."""
    start = at(30, "workqueue_execute_start: work struct 00000000deadbeef: function async_run_entry_fn")
    probes = [HEADER, entry(10), end(30), entry(30, "b"), end(40)]
    text = list(merged(probes, [HEADER, start, out(50)]))
    assert text[2:5] == [end(30), start, entry(30, "b")]
    assert [probe.device for probe in read(text)] == ["a", "b"]


def test_what_was_overwritten_does_not_read_as_running_time() -> None:
    """CPU 1 lost its events up to 100 µs; another still had its own from the beginning."""
    probes = [HEADER, entry(10), end(60), entry(90, "b"), end(150), entry(200, "c"), end(300)]
    sched = [HEADER, back(5), back(20), out(120), woken(130), back(140), out(210), woken(250), back(251)]
    text = list(merged(probes, sched, whole_from=100_000, lost={1: 4711}))
    assert text.count(b"CPU:1 [LOST 4711 EVENTS]\n") == 1
    first, second, third = read(text)
    assert (first.running_ns, first.sleeping_ns) == (None, None)
    assert (second.running_ns, second.sleeping_ns) == (None, None)
    assert (third.running_ns, third.runnable_ns, third.sleeping_ns) == (59_000, 1_000, 40_000)


TIMES = st.lists(st.integers(0, 50), max_size=20).map(sorted)


@given(TIMES, TIMES, st.lists(st.sampled_from([b"torn\n", b"\xff: \n", b"] 1.5: \n"]), max_size=3))
@settings(deadline=None, max_examples=200)
def test_nothing_is_lost_and_each_text_keeps_its_order(first: list[int], second: list[int], torn: list[bytes]) -> None:
    probes = [HEADER, *(entry(time, f"d{index}") for index, time in enumerate(first)), *torn]
    sched = [out(time) for time in second]
    text = b"".join(merged(probes, sched)).splitlines(keepends=True)
    kept = b"".join(probes).splitlines(keepends=True)
    rest = [line for line in text if b"sched_switch" in line]
    assert rest == sched
    assert [line for line in text if b"sched_switch" not in line] == kept


def stats(folder: Path, cpu: int, overrun: int, oldest: str) -> None:
    path = folder / f"per_cpu/cpu{cpu}/stats"
    path.parent.mkdir(parents=True)
    path.write_text(f"entries: 10\noverrun: {overrun}\ncommit overrun: 1\nbytes: 99\noldest event ts: {oldest}\n")


def test_a_buffer_is_whole_from_its_youngest_oldest_event_on(tmp_path: Path) -> None:
    stats(tmp_path, 0, 5, " 1234.000007")
    stats(tmp_path, 1, 0, " 9999.000000")
    stats(tmp_path, 12, 6, " 1235.500000")
    counts = count(Tracefs(tmp_path))
    assert (counts.entries, counts.lost, counts.whole_from) == (30, 14, 1_235_500_000_000)
    assert counts.overwritten == {0: 5, 12: 6}
    stats(tmp_path, 13, 6, "")
    assert count(Tracefs(tmp_path)).whole_from == NEVER_NS
