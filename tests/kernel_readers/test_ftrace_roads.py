"""Who waits for a probe that the driver core sent to a worker, and how it got there."""

import io
from pathlib import Path

import pytest
from ftrace_text import Ftrace

from numaprobe.kernel.ftrace import read_ftrace
from numaprobe.kernel.kprobes import kprobe_definitions
from numaprobe.kernel.readers import read_trace
from numaprobe.records import ProbeRecord, Trace
from numaprobe.scenario import prepare, replay_scenario, run_setting
from numaprobe.topology import symmetric

SHELL, OTHER, WORKER, BESIDE = "sh-498", "sh-499", "kworker/u34:0-100", "kworker/u34:1-101"
A, B = "0000:81:00.0", "0000:82:00.0"


def read(text: Ftrace, kernel: str | None = None) -> Trace:
    return read_ftrace(io.BytesIO(b"# tracer: nop\n" + text.text), kernel=kernel)


def road(record: ProbeRecord) -> tuple[object, ...]:
    return record.path, record.caller_cpu, record.caller_comm, record.asynchronous


def two_binds() -> Ftrace:
    text = Ftrace().enter(0, SHELL, 0, "device_driver_attach", A).enter(100, OTHER, 1, "device_driver_attach", B)
    for us, task, cpu, device in ((200, WORKER, 4, A), (300, BESIDE, 5, B)):
        text.probe(us, task, cpu, device).enter(us, task, cpu, "local_pci_probe")
    for us, task, cpu in ((100_200, WORKER, 4), (100_300, BESIDE, 5)):
        text.leave(us, task, cpu, "local_pci_probe").probed(us, task, cpu)
    return text


def queue(text: Ftrace, us: int, task: str, cpu: int, struct: str, function: str = "numa_work_func") -> Ftrace:
    event = f"workqueue_queue_work: work struct={struct} function={function} workqueue=events_unbound req_cpu=4 cpu=4"
    return text.at(us, task, cpu, event)


def start(text: Ftrace, us: int, task: str, cpu: int, struct: str, function: str = "numa_work_func") -> Ftrace:
    return text.at(us, task, cpu, f"workqueue_execute_start: work struct {struct}: function {function}")


def test_a_sysfs_bind_whose_probe_runs_in_a_worker_is_the_shells() -> None:
    first, second = read(two_binds()).probes
    assert road(first) == ("device_driver_attach", 0, "sh", False)
    assert road(second) == ("device_driver_attach", 1, "sh", False)
    assert (first.cpu, first.comm, second.cpu) == (4, "kworker/u34:0", 5)


def test_parallel_binds_in_workers_are_replayed_in_parallel() -> None:
    text = io.BytesIO(b"# tracer: nop\n" + two_binds().text)
    scenario = replay_scenario(read_trace(text, topology=symmetric("two", nodes=2, cores=4)))
    again = run_setting(prepare(scenario), "exec-on-node").trace
    assert {(r.device, r.path, r.caller_comm, r.caller_cpu) for r in again.probes} == {
        (A, "device_driver_attach", "sh", 0),
        (B, "device_driver_attach", "sh", 1),
    }
    first, second = again.probes
    assert second.start_ns is not None
    assert first.end_ns is not None
    assert second.start_ns < first.end_ns


@pytest.mark.parametrize(
    ("helper", "path"),
    [("__device_attach", "device_attach"), ("device_driver_attach", "device_driver_attach")],
)
@pytest.mark.parametrize("events", [True, False])
def test_whoever_entered_the_helper_waits_for_the_worker(helper: str, path: str, events: bool) -> None:
    text = Ftrace().enter(5, SHELL, 2, helper, A)
    if events:
        start(queue(text, 6, SHELL, 2, "0a1"), 8, WORKER, 4, "0a1")
    (record,) = read(text.probe(10, WORKER, 4, A).probed(20, WORKER, 4)).probes
    assert road(record) == (path, 2, "sh", False)


@pytest.mark.parametrize("events", [True, False])
def test_an_async_helper_whose_probe_runs_in_another_worker_waits_itself(events: bool) -> None:
    text = Ftrace()
    if events:
        start(text, 1, BESIDE, 5, "0a0", "async_run_entry_fn")
    text.enter(5, BESIDE, 5, "__driver_attach_async_helper", A)
    if events:
        start(queue(text, 6, BESIDE, 5, "0a1"), 8, WORKER, 4, "0a1")
    (record,) = read(text.probe(10, WORKER, 4, A).probed(20, WORKER, 4)).probes
    assert road(record) == ("driver_attach_async", 5, "kworker/u34:1", True)


def test_the_deferred_worker_waits_for_the_worker_that_it_queued() -> None:
    text = start(Ftrace(), 1, BESIDE, 5, "0a0", "deferred_probe_work_func").enter(5, BESIDE, 5, "__device_attach", A)
    start(queue(text, 6, BESIDE, 5, "0a1"), 8, WORKER, 4, "0a1")
    (record,) = read(text.probe(10, WORKER, 4, A).probed(20, WORKER, 4)).probes
    assert road(record) == ("device_attach", 5, "kworker/u34:1", False)


def test_the_workqueue_tells_which_task_loads_the_driver() -> None:
    text = Ftrace().enter(0, "x-1", 3, "__device_attach", "other")
    start(queue(text, 6, "modprobe-77", 2, "0a1"), 8, WORKER, 4, "0a1").probe(10, WORKER, 4, A).probed(20, WORKER, 4)
    start(queue(text, 26, "modprobe-77", 3, "0a2"), 28, WORKER, 4, "0a2").probe(30, WORKER, 4, B).probed(40, WORKER, 4)
    first, second = read(text).probes
    assert road(first) == ("driver_attach_sync", 2, "modprobe", False)
    assert road(second) == ("driver_attach_sync", 3, "modprobe", False)


def test_without_the_workqueues_events_it_is_not_known_which_task_loads_the_driver() -> None:
    text = Ftrace().enter(0, "x-1", 3, "__device_attach", "other").probe(10, WORKER, 4, A).probed(20, WORKER, 4)
    trace = read(text)
    assert road(trace.probes[0]) == ("driver_attach_sync", None, None, False)
    assert any("which task waited" in warning.message for warning in trace.warnings)


def test_a_task_that_did_something_else_does_not_wait() -> None:
    text = Ftrace().enter(5, SHELL, 2, "__device_attach", A).enter(6, SHELL, 2, "__device_attach", B)
    (record,) = read(text.probe(10, WORKER, 4, A).probed(20, WORKER, 4)).probes
    assert (record.path, record.caller_comm) == ("driver_attach_sync", None)


def test_a_helper_long_ago_did_not_lead_to_this_probe() -> None:
    text = Ftrace().enter(5, SHELL, 2, "__device_attach", A).probe(5_000_000, WORKER, 4, A).probed(5_000_010, WORKER, 4)
    assert read(text).probes[0].caller_comm is None


def test_the_next_driver_is_tried_for_the_same_waiter() -> None:
    text = Ftrace().enter(5, SHELL, 2, "__device_attach", A).probe(10, WORKER, 4, A, "first")
    text.probed(2_000_000, WORKER, 4, 19).probe(2_000_010, WORKER, 4, A, "second").probed(2_000_020, WORKER, 4)
    assert [road(record) for record in read(text).probes] == [("device_attach", 2, "sh", False)] * 2


def test_a_child_of_a_probe_in_a_worker_waits_there() -> None:
    text = Ftrace().enter(5, SHELL, 2, "device_driver_attach", A).probe(10, WORKER, 4, A, "virtio-pci")
    text.enter(12, WORKER, 4, "__device_attach", "virtio0").probe(13, BESIDE, 5, "virtio0", "virtio_blk")
    outer, inner = read(text.probed(20, BESIDE, 5).probed(30, WORKER, 4)).probes
    assert road(outer) == ("device_driver_attach", 2, "sh", False)
    assert road(inner) == ("device_attach", 4, "kworker/u34:0", False)


# ---- before 5.14 __driver_attach enters device_driver_attach, too: the order of events is that of a 5.10 guest -------
def one_probe(text: Ftrace, us: int, task: str) -> Ftrace:
    text.enter(us, task, 2, "device_driver_attach", A).probe(us + 1, task, 2, A)
    return text.probed(us + 9, task, 2)


def loaded_then_bound() -> Ftrace:
    text = one_probe(Ftrace().enter(0, "modprobe-77", 2, "driver_attach"), 1, "modprobe-77")
    return one_probe(text.leave(20, "modprobe-77", 2, "driver_attach"), 30, "sh-78")


@pytest.mark.parametrize("kernel", [None, "5.10.0-46-amd64", "6.1.0-56-amd64"])
def test_loading_a_driver_is_no_bind(kernel: str | None) -> None:
    assert [(probe.path, probe.caller_comm) for probe in read(loaded_then_bound(), kernel).probes] == [
        ("driver_attach_sync", "modprobe"),
        ("device_driver_attach", "sh"),
    ]


def test_a_task_that_loaded_a_driver_may_bind_by_hand_afterwards() -> None:
    text = Ftrace().enter(0, SHELL, 2, "driver_attach").enter(1, SHELL, 2, "driver_attach")
    text.leave(2, SHELL, 2, "driver_attach").leave(3, SHELL, 2, "driver_attach")
    assert read(one_probe(text, 10, SHELL), "5.10.0").probes[0].path == "device_driver_attach"


@pytest.mark.parametrize(
    ("kernel", "path"),
    [("5.10.0-46-amd64", None), ("5.13.19", None), ("5.14.0", "device_driver_attach"), (None, "device_driver_attach")],
)
def test_without_driver_attach_an_old_kernel_does_not_tell(kernel: str | None, path: str | None) -> None:
    trace = read(one_probe(Ftrace(), 10, SHELL), kernel)
    assert road(trace.probes[0]) == (path, 2, "sh", False)
    told = [warning.message for warning in trace.warnings if "how they were reached" in warning.message]
    assert bool(told) == (path is None)


def test_the_definitions_say_that_driver_attach_was_recorded() -> None:
    ours = {one.event: one for one in kprobe_definitions()}
    text = io.BytesIO(b"# tracer: nop\n" + one_probe(Ftrace(), 10, SHELL).text)
    (record,) = read_ftrace(text, definitions=ours, kernel="5.10.0").probes
    assert record.path == "device_driver_attach"


def test_the_release_beside_a_trace_says_what_a_helper_means(tmp_path: Path) -> None:
    (tmp_path / "trace").write_bytes(b"# tracer: nop\n" + one_probe(Ftrace(), 10, SHELL).text)
    (tmp_path / "uname").write_text("Linux lab 5.10.0-46-amd64 #1 SMP\n")
    assert read_trace(tmp_path / "trace").probes[0].path is None
