"""The layouts that ftrace and trace-cmd write: the same probe read from each."""

import io

import pytest
from ftrace_text import Ftrace
from hypothesis import given
from hypothesis import strategies as st

from numaprobe.kernel.ftrace import read_ftrace
from numaprobe.kernel.ftrace_line import (
    parse_event_line,
    parse_kprobe,
    parse_lost,
    parse_overwritten,
    parse_time,
    parse_usual_head,
    task_of,
)
from numaprobe.records import ProbeRecord, RunState

LAYOUTS = {
    "trace": "{task:>16}-{pid:<7} [{cpu:03d}] d..1. {time:>12}: {event}",
    "five flags": "{task:>16}-{pid:<7} [{cpu:03d}] dNh2. {time:>12}: {event}",
    "no flags": "{task:>16}-{pid:<7} [{cpu:03d}] {time:>12}: {event}",
    "tgid": "{task:>16}-{pid:<7} (  288) [{cpu:03d}] d..1. {time:>12}: {event}",
    "no tgid known": "{task:>16}-{pid:<7} (-------) [{cpu:03d}] d..1. {time:>12}: {event}",
    "trace-cmd": "{task:>16}-{pid:<5} [{cpu:03d}] {time:>12}: {event}",
    "trace-cmd -l": "{task:>8}-{pid:<5} {cpu:3d}d..1. {time:>12}: {event}",
}


def one_probe(layout: str, decimals: int = 6) -> Ftrace:
    body = Ftrace(layout=layout, decimals=decimals)
    body.probe(1_000_000, "insmod-288", 0, "0000:81:00.0")
    body.enter(1_000_100, "kworker/4:1-89", 4, "nvme_probe", "0000:81:00.0")
    body.switch(1_000_200, 4, "kworker/4:1-89", "D", "swapper/4-0")
    body.wake(1_000_400, 4, "kworker/4:1-89", 4)
    body.switch(1_000_450, 4, "swapper/4-0", "R", "kworker/4:1-89")
    body.leave(1_000_500, "kworker/4:1-89", 4, "nvme_probe")
    return body.probed(1_000_600, "insmod-288", 0)


def check(record: ProbeRecord) -> None:
    assert (record.device, record.driver, record.cpu, record.comm) == ("0000:81:00.0", "nvme", 4, "kworker/4:1")
    assert (record.caller_cpu, record.caller_comm, record.function) == (0, "insmod", "nvme_probe")
    assert (record.start_ns, record.cost_ns) == (1_000_100_000, 400_000)
    assert (record.running_ns, record.runnable_ns, record.sleeping_ns) == (150_000, 50_000, 200_000)
    assert record.segments is not None
    assert [segment.state for segment in record.segments] == [
        RunState.RUNNING,
        RunState.SLEEPING,
        RunState.RUNNABLE,
        RunState.RUNNING,
    ]


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("decimals", [6, 9])
def test_a_probe_reads_the_same_in_every_layout(layout: str, decimals: int) -> None:
    trace = read_ftrace(io.BytesIO(one_probe(layout, decimals).text))
    assert len(trace.probes) == 1
    check(trace.probes[0])


def test_trace_cmds_own_words_for_the_scheduler() -> None:
    text = Ftrace(layout=LAYOUTS["trace-cmd"])
    text.raw("cpus=8").raw("CPU 3 is empty")
    text.at(1_000_000, "insmod-288", 0, 'really_probe:         (ffffffff89b6c8e0) dev="0000:81:00.0" drv="nvme"')
    text.at(1_000_100, "kworker/4:1-89", 4, 'nvme_probe:           (ffffffffc0a00000) dev="0000:81:00.0"')
    text.at(1_000_200, "kworker/4:1-89", 4, "sched_switch:         kworker/4:1:89 [120] D ==> swapper/4:0 [120]")
    text.at(1_000_400, "<idle>-0", 4, "sched_wakeup:         kworker/4:1:89 [120] CPU:004")
    text.at(1_000_450, "<idle>-0", 4, "sched_switch:         swapper/4:0 [120] R ==> kworker/4:1:89 [120]")
    text.at(1_000_500, "kworker/4:1-89", 4, "nvme_probe_ret:       (ffffffff89b6c8e1 <- ffffffffc0a00000) ret=0")
    text.at(1_000_600, "insmod-288", 0, "really_probe_ret:     (ffffffff89b6cc70 <- ffffffff89b6c8e0) ret=0")
    trace = read_ftrace(io.BytesIO(text.text))
    check(trace.probes[0])
    assert not any(warning.kind == "torn-line" for warning in trace.warnings)


@given(
    st.sampled_from(list(LAYOUTS.values())),
    st.sampled_from(["a", "kworker/u1025:5", "-1 [2] x", "[003]", "<...>", "a-b (1) c"]),
    st.integers(0, 10**7 - 1),
    st.integers(0, 99_999),
    st.from_regex(rb"[0-9]{1,12}(\.[0-9]{1,10})?(us)?", fullmatch=True),
)
def test_the_short_ways_through_a_head_say_what_the_long_one_says(
    layout: str, comm: str, pid: int, cpu: int, time: bytes
) -> None:
    text = layout.format(task=comm, pid=pid, cpu=cpu, time=time.decode(), event="x: y")
    line = text.encode()
    head, event = line.rpartition(b": x")[0], parse_event_line(line)
    if (short := parse_usual_head(head)) is not None:
        assert event is not None
        assert short == (event.cpu, parse_time(event.time))
    if event is not None:
        assert task_of(head, line) == (event.pid, "dNh2." in layout if event.flags else None)


def test_a_comm_that_looks_like_the_layout() -> None:
    text = Ftrace().probe(10, "a: b [001]-288", 0, "d").probed(20, "a: b [001]-288", 0)
    record = read_ftrace(io.BytesIO(text.text)).probes[0]
    assert (record.comm, record.cpu, record.cost_ns) == ("a: b [001]", 0, 10_000)


def test_a_nameless_task_gets_its_name_from_the_scheduler() -> None:
    text = (
        Ftrace()
        .probe(10, "<...>-288", 0, "d")
        .switch(11, 0, "<...>-288", "S", "x-1")
        .switch(15, 0, "x-1", "S", "insmod-288")
    )
    text.probed(20, "<...>-288", 0)
    assert read_ftrace(io.BytesIO(text.text)).probes[0].comm == "insmod"
    bare = Ftrace().probe(10, "<...>-288", 0, "d").probed(20, "<...>-288", 0)
    assert read_ftrace(io.BytesIO(bare.text)).probes[0].comm is None


def test_a_worker_that_has_ended_since_has_the_name_that_it_had_when_it_came() -> None:
    """ftrace shows every event of a task under its last name; a switch holds the one that it has then."""
    text = (
        Ftrace()
        .probe(10, "kworker/dying-288", 0, "d")
        .switch(11, 0, "kworker/u34:2-288", "S", "x-1")
        .switch(15, 0, "x-1", "S", "kworker/u34:2-288")
        .probed(20, "kworker/dying-288", 0)
    )
    trace = read_ftrace(io.BytesIO(text.text))
    assert trace.probes[0].comm == "kworker/u34:2"
    assert not [one for one in trace.warnings if "ended since" in one.message]
    bare = Ftrace().probe(10, "kworker/dying-288", 0, "d").probed(20, "kworker/dying-288", 0)
    trace = read_ftrace(io.BytesIO(bare.text))
    assert trace.probes[0].comm == "kworker/dying"
    assert [one.kind for one in trace.warnings if "1 probe(s) ran in a worker that has ended since" in one.message]


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        (b"11.187711", 11_187_711_000),
        (b"11.187711123", 11_187_711_123),
        (b"15us", 15_000),
        (b"1234", 1234),
        (b"0.5", 500_000_000),
        (b"", None),
        (b"1.", None),
        (b"x.y", None),
        (b"9" * 100, None),
    ],
)
def test_times(text: bytes, ns: int | None) -> None:
    assert parse_time(text) == ns


@pytest.mark.parametrize(
    ("line", "lost"),
    [
        (b"CPU:3 [LOST 123 EVENTS]", 123),
        (b"CPU:12 [LOST EVENTS]", 0),
        (b"CPU:4 [5 EVENTS DROPPED]", 5),
        (b"CPU:4 [EVENTS DROPPED]", 0),
        (b"insmod-1 [000] 1.0: x: y", None),
    ],
)
def test_lost_events(line: bytes, lost: int | None) -> None:
    assert parse_lost(line) == lost


def test_overwritten_events() -> None:
    assert parse_overwritten(b"# entries-in-buffer/entries-written: 882/1000   #P:8") == 118
    assert parse_overwritten(b"# tracer: nop") == 0


def test_kprobe_arguments() -> None:
    found = parse_kprobe(b' (nvme_probe+0x4/0x750 [nvme]) dev="0000:81:00.0"')
    assert found is not None
    assert (found.symbol, found.module, found.returns, found.device) == ("nvme_probe", "nvme", False, "0000:81:00.0")
    found = parse_kprobe(b" (virtio_dev_probe+0x1af/0x25f [virtio] <- virtblk_probe [virtio_blk]) ret=0xfffffdfb")
    assert found is not None
    assert (found.symbol, found.module, found.returns, found.result) == ("virtblk_probe", "virtio_blk", True, -517)
    found = parse_kprobe(b' (really_probe+0x0/0x1) dev=(fault) drv="a" drv="b"')
    assert found is not None
    assert (found.device, found.driver) == (None, "b")
    assert parse_kprobe(b" prev_comm=x") is None


def test_event_lines_of_no_kind() -> None:
    for line in (b"", b" " * 5000, b"# tracer: nop", b"x" * 5000, b"-" * 5000, b"a-1 [0] 1.0:"):
        assert parse_event_line(line) is None
