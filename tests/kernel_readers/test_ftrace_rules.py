"""What makes a record, rule by rule, on traces written by hand."""

import io

import pytest
from ftrace_text import Ftrace

from numaprobe.kernel.ftrace import read_ftrace
from numaprobe.records import Trace
from numaprobe.topology import DeviceInfo, Topology, symmetric

CALLER, WORKER, ASYNC = "insmod-288", "kworker/4:1-89", "kworker/u34:1-69"
DEVICE = "0000:81:00.0"


def read(text: Ftrace, topology: Topology | None = None) -> Trace:
    return read_ftrace(io.BytesIO(text.text), topology=topology)


def kinds(trace: Trace) -> list[str]:
    return [warning.kind for warning in trace.warnings if warning.kind != "not-told"]


def machine() -> Topology:
    import dataclasses

    devices = (DeviceInfo(name=DEVICE, bus="pci", node=1), DeviceInfo(name="x", bus="", node=-1))
    return dataclasses.replace(symmetric("two", nodes=2, cores=4), devices=devices)


def test_an_inline_probe_waits_for_itself() -> None:
    trace = read(Ftrace().probe(10, CALLER, 0, "virtio0", "virtio_blk").probed(30, CALLER, 0))
    (record,) = trace.probes
    assert (record.cpu, record.comm, record.caller_cpu, record.caller_comm) == (0, "insmod", 0, "insmod")
    assert (record.function, record.path, record.asynchronous, record.nested) == (
        "really_probe",
        "driver_attach_sync",
        False,
        False,
    )
    assert record.cost_ns == 20_000


def test_without_the_schedulers_events_the_parts_stay_unknown_and_it_is_said() -> None:
    trace = read(Ftrace().probe(10, CALLER, 0, "pmem0").probed(30, CALLER, 0))
    (record,) = trace.probes
    assert (record.running_ns, record.runnable_ns, record.sleeping_ns, record.cpus, record.segments) == (None,) * 5
    assert any("sched_switch" in warning.message for warning in trace.warnings)


def test_without_wakeups_waiting_and_sleeping_cannot_be_told_apart() -> None:
    text = Ftrace().probe(10, CALLER, 0, "pmem0").switch(12, 0, CALLER, "D", "x-1").switch(20, 0, "x-1", "S", CALLER)
    trace = read(text.probed(30, CALLER, 0))
    (record,) = trace.probes
    assert (record.running_ns, record.runnable_ns, record.sleeping_ns, record.segments) == (12_000, None, None, None)
    assert any("sched_wakeup" in warning.message for warning in trace.warnings)


def test_preemption_and_migration_are_waiting_for_a_cpu() -> None:
    text = Ftrace().probe(10, WORKER, 4, "pmem0").switch(12, 4, WORKER, "R+", "x-1").wake(13, 3, "other-5", 3)
    text.move(15, 2, WORKER, 4, 5).switch(20, 5, "swapper/5-0", "R", WORKER).probed(30, WORKER, 5)
    (record,) = read(text, machine()).probes
    assert (record.running_ns, record.runnable_ns, record.sleeping_ns) == (12_000, 8_000, 0)
    assert record.cpus == (4, 5)
    assert [(segment.state, segment.cpu) for segment in record.segments or ()] == [
        ("running", 4),
        ("runnable", 4),
        ("runnable", 5),
        ("running", 5),
    ]


def test_nodes_and_bus_come_from_the_machine() -> None:
    text = Ftrace().probe(10, WORKER, 4, DEVICE).enter(10, WORKER, 4, "local_pci_probe")
    text.switch(12, 4, WORKER, "R", "x-1").move(13, 1, WORKER, 4, 3).switch(20, 3, "swapper/3-0", "R", WORKER)
    text.leave(30, WORKER, 3, "local_pci_probe").probed(30, WORKER, 3)
    text.probe(40, CALLER, 0, "x").probed(41, CALLER, 0).probe(50, CALLER, 0, "y").probed(51, CALLER, 0)
    first, second, third = read(text, machine()).probes
    assert (first.bus, first.device_node, first.cpu_node, first.remote_ns, first.local) == ("pci", 1, 1, 10_000, True)
    assert (second.bus, second.device_node, second.cpu_node, second.remote_ns) == (None, -1, 0, None)
    assert (third.bus, third.device_node, third.remote_ns) == (None, None, None)


@pytest.mark.parametrize("flags", ["d..1. ", ""])
def test_a_worker_that_was_queued_belongs_to_its_caller_without_naming_the_device(flags: str) -> None:
    text = Ftrace(layout="{task:>16}-{pid:<7} [{cpu:03d}] " + flags + "{time:>12}: {event}")
    text.probe(10, CALLER, 0, DEVICE)
    text.at(
        11,
        CALLER,
        0,
        "workqueue_queue_work: work struct=00000000aa function=work_for_cpu_fn workqueue=events req_cpu=4 cpu=4",
    )
    text.at(12, WORKER, 4, "workqueue_execute_start: work struct 00000000aa: function work_for_cpu_fn")
    text.enter(13, WORKER, 4, "local_pci_probe").leave(19, WORKER, 4, "local_pci_probe")
    text.at(20, WORKER, 4, "workqueue_execute_end: work struct 00000000aa: function work_for_cpu_fn")
    (record,) = read(text.probed(30, CALLER, 0)).probes
    assert (record.device, record.cpu, record.comm, record.caller_comm) == (DEVICE, 4, "kworker/4:1", "insmod")
    assert (record.function, record.bus, record.cost_ns) == ("local_pci_probe", "pci", 6_000)


def test_a_nested_probe_and_the_outer_one() -> None:
    text = Ftrace().probe(10, CALLER, 0, DEVICE, "virtio-pci").enter(12, WORKER, 4, "local_pci_probe", DEVICE)
    text.enter(13, WORKER, 4, "__device_attach", "virtio0", " async=1").probe(14, WORKER, 4, "virtio0", "virtio_blk")
    text.enter(15, WORKER, 4, "virtblk_probe", "virtio0").leave(18, WORKER, 4, "virtblk_probe").probed(19, WORKER, 4)
    text.leave(25, WORKER, 4, "local_pci_probe").probed(30, CALLER, 0)
    outer, inner = read(text).probes
    assert (outer.device, outer.nested, outer.function, outer.cost_ns) == (DEVICE, False, "local_pci_probe", 13_000)
    assert (inner.device, inner.nested, inner.function, inner.cost_ns) == ("virtio0", True, "virtblk_probe", 3_000)
    assert (inner.path, inner.asynchronous) == ("device_attach", False)
    assert (inner.caller_cpu, inner.caller_comm) == (4, "kworker/4:1")


@pytest.mark.parametrize(
    ("helper", "path", "asynchronous"),
    [
        ("__driver_attach_async_helper", "driver_attach_async", True),
        ("__device_attach_async_helper", "device_attach_async", True),
        ("__device_attach", "device_attach", False),
        ("device_driver_attach", "device_driver_attach", False),
    ],
)
def test_the_helper_tells_the_path(helper: str, path: str, asynchronous: bool) -> None:
    text = Ftrace().enter(9, ASYNC, 6, helper, DEVICE).probe(10, ASYNC, 6, DEVICE).probed(20, ASYNC, 6)
    text.probe(30, ASYNC, 6, "other").probed(40, ASYNC, 6)
    first, second = read(text).probes
    assert (first.path, first.asynchronous) == (path, asynchronous)
    assert second.path == "driver_attach_sync"  # the helper was for another device


def test_without_helpers_the_async_worker_tells_and_the_path_is_unknown() -> None:
    event = "rp: (really_probe+0x0/0x1)"
    text = Ftrace().at(1, ASYNC, 6, "workqueue_execute_start: work struct 00aa: function async_run_entry_fn")
    text.at(2, ASYNC, 6, f'{event} dev="a" drv="n"').at(3, ASYNC, 6, "rpr: (x+0x1/0x2 <- really_probe) ret=0")
    text.at(4, ASYNC, 6, "workqueue_execute_end: work struct 00aa: function async_run_entry_fn")
    text.at(5, ASYNC, 6, f'{event} dev="b" drv="n"').at(6, ASYNC, 6, "rpr: (x+0x1/0x2 <- really_probe) ret=0")
    text.at(7, CALLER, 6, f'{event} dev="c" drv="n"').at(8, CALLER, 6, "rpr: (x+0x1/0x2 <- really_probe) ret=0")
    trace = read(text)
    assert [record.asynchronous for record in trace.probes] == [True, None, False]
    assert {record.path for record in trace.probes} == {None}
    assert any("how they were reached" in warning.message for warning in trace.warnings)


def test_deferrals_count_attempts_and_errors_have_names() -> None:
    text = Ftrace()
    for index, result in enumerate([517, "0xfffffdfb", 0, 19, 0]):
        text.probe(10 * index, CALLER, 0, "a").probed(10 * index + 5, CALLER, 0, result)
    records = read(text).probes
    assert [record.result for record in records] == ["EPROBE_DEFER", "EPROBE_DEFER", "0", "ENODEV", "0"]
    assert [record.attempt for record in records] == [1, 2, 3, 1, 1]


def test_the_drivers_own_function_is_timed_not_its_helpers_nor_the_bus() -> None:
    text = Ftrace().probe(10, CALLER, 0, "a").enter(11, CALLER, 0, "platform_probe").enter(12, CALLER, 0, "foo_probe")
    text.enter(13, CALLER, 0, "foo_probe_channel").leave(14, CALLER, 0, "foo_probe_channel")
    text.leave(16, CALLER, 0, "foo_probe", -517).leave(17, CALLER, 0, "platform_probe").probed(18, CALLER, 0, 517)
    (record,) = read(text).probes
    assert (record.function, record.cost_ns, record.result) == ("foo_probe", 4_000, "EPROBE_DEFER")


def test_other_kprobes_inside_are_no_body() -> None:
    text = Ftrace().probe(10, CALLER, 0, "a").enter(11, CALLER, 0, "pci_enable_device")
    text.leave(14, CALLER, 0, "pci_enable_device").probed(18, CALLER, 0)
    (record,) = read(text).probes
    assert record.function == "really_probe"


def test_a_probe_whose_really_probe_was_not_recorded_has_no_caller() -> None:
    text = Ftrace().at(11, WORKER, 4, f'npp: (nvme_probe+0x4/0x750 [nvme]) dev="{DEVICE}"')
    trace = read(text.leave(20, WORKER, 4, "nvme_probe", -12))
    (record,) = trace.probes
    assert (record.driver, record.result, record.caller_cpu, record.caller_comm) == ("nvme", "ENOMEM", None, None)
    assert any("which task waited" in warning.message for warning in trace.warnings)


def test_a_wrapped_buffer_and_a_return_without_its_call() -> None:
    text = Ftrace().raw("# tracer: nop").raw("# entries-in-buffer/entries-written: 100/250   #P:8")
    trace = read(text.probed(5, CALLER, 0).probe(10, CALLER, 0, "a").probed(20, CALLER, 0))
    assert kinds(trace) == ["wrapped-buffer", "begin-missing"]
    assert [record.device for record in trace.probes] == ["a"]
    assert "150 event(s)" in trace.warnings[0].message


def test_lost_events_leave_the_cost_and_take_the_parts() -> None:
    text = Ftrace().switch(1, 0, "x-1", "S", CALLER).probe(10, CALLER, 0, "a").raw("CPU:4 [LOST 12 EVENTS]")
    trace = read(text.probed(30, CALLER, 0).probe(40, CALLER, 0, "b").probed(50, CALLER, 0))
    assert kinds(trace) == ["lost-events"]
    assert [(record.cost_ns, record.running_ns) for record in trace.probes] == [(20_000, None), (10_000, 10_000)]


def test_a_missed_return_does_not_swallow_what_follows() -> None:
    text = Ftrace().at(9, WORKER, 4, "workqueue_execute_start: work struct 00aa: function async_run_entry_fn")
    text.probe(10, WORKER, 4, "a")
    text.at(19, WORKER, 4, "workqueue_execute_end: work struct 00aa: function async_run_entry_fn")
    text.at(20, WORKER, 4, "workqueue_execute_start: work struct 00bb: function async_run_entry_fn")
    trace = read(text.probe(30, WORKER, 4, "b").probed(40, WORKER, 4))
    assert [(record.device, record.nested) for record in trace.probes] == [("b", False)]
    assert kinds(trace) == ["unfinished"]


@pytest.mark.parametrize("flags", ["..s1.", ".....", ""])
def test_a_work_in_a_softirq_does_not_end_what_it_borrows(flags: str) -> None:
    text = Ftrace().at(9, WORKER, 4, "workqueue_execute_start: work struct 00aa: function async_run_entry_fn")
    text.probe(10, WORKER, 4, "a")
    text.layout = "{task:>16}-{pid:<7} [{cpu:03d}] " + flags + " {time:>12}: {event}"
    text.at(20, WORKER, 4, "workqueue_execute_start: work struct 00bb: function bh_work")
    text.at(21, WORKER, 4, "workqueue_execute_end: work struct 00bb: function bh_work")
    trace = read(text.probed(40, WORKER, 4))
    assert [(record.device, record.cost_ns) for record in trace.probes] == [("a", 30_000)]
    assert kinds(trace) == []


def test_a_body_that_returned_is_kept_though_the_trace_ends() -> None:
    text = (
        Ftrace()
        .probe(10, CALLER, 0, "a")
        .enter(11, WORKER, 4, "nvme_probe", "a")
        .leave(15, WORKER, 4, "nvme_probe", -5)
    )
    (record,) = read(text).probes
    assert (record.cost_ns, record.result, record.caller_comm) == (4_000, "EIO", "insmod")


def test_torn_lines_are_counted() -> None:
    text = Ftrace().probe(10, CALLER, 0, "a").raw("   insmod-288     [000] d.").raw("garbage").probed(20, CALLER, 0)
    trace = read(text)
    assert kinds(trace) == ["torn-line"]
    assert trace.warnings[0].message == "2 line(s) could not be read"
    assert len(trace.probes) == 1


def test_a_clock_that_steps_back_stands_still() -> None:
    text = Ftrace().probe(2_000_000, CALLER, 0, "a").probed(1_999_990, CALLER, 0)
    trace = read(text)
    assert trace.probes[0].cost_ns == 0
    assert kinds(trace) == ["unordered"]


def test_mixed_clocks_are_told_and_do_not_mix() -> None:
    text = Ftrace().probe(10_000_000, CALLER, 0, "a").probe(5, CALLER, 0, "b").probed(9, CALLER, 0)
    trace = read(text)
    assert kinds(trace) == ["mixed-clocks", "unfinished"]
    assert [(record.device, record.cost_ns) for record in trace.probes] == [("b", 4_000)]


def test_whole_numbers_are_taken_as_ns_with_a_warning() -> None:
    layout = "{task:>16}-{pid:<7} [{cpu:03d}] d..1. {time}: {event}"
    text = Ftrace(layout=layout).probe(10, CALLER, 0, "a").probed(30, CALLER, 0)
    lines = text.text.replace(b" 0.0000", b" ")
    trace = read_ftrace(io.BytesIO(lines))
    assert trace.probes[0].cost_ns == 20
    assert kinds(trace) == ["whole-number-clock"]


def test_two_traces_one_after_the_other() -> None:
    one = Ftrace().raw("# tracer: nop").probe(9_000_000, CALLER, 0, "a").probed(9_000_010, CALLER, 0).text
    two = Ftrace().raw("# tracer: nop").probe(10, CALLER, 0, "b").probed(20, CALLER, 0).text
    trace = read_ftrace(io.BytesIO(one + two))
    assert [record.device for record in trace.probes] == ["b", "a"]
    assert kinds(trace) == []


def test_a_device_that_could_not_be_read() -> None:
    text = Ftrace().at(1, CALLER, 0, 'really_probe: (really_probe+0x0/0x1) dev=(fault) drv="n"')
    text.enter(2, CALLER, 0, "nvme_probe").leave(5, CALLER, 0, "nvme_probe").probed(6, CALLER, 0)
    (record,) = read(text).probes
    assert (record.device, record.driver, record.function) == ("?", "n", "nvme_probe")


def test_a_call_that_names_no_device_and_belongs_to_no_probe_is_counted() -> None:
    trace = read(Ftrace().enter(2, CALLER, 0, "nvme_probe").leave(5, CALLER, 0, "nvme_probe"))
    assert trace.probes == ()
    assert kinds(trace) == ["begin-missing", "no-device"]


def test_hostile_names_are_names() -> None:
    name = 'a" drv="evil"; \x1b[31m <script>'
    text = Ftrace().probe(10, CALLER, 0, name, 'd\\n"x').probed(20, CALLER, 0)
    (record,) = read(text).probes
    assert record.device.startswith("a")
    assert record.cost_ns == 10_000
