from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest
from fake_tracefs import FakeKernel

from numaprobe.errors import KernelInterfaceError, MissingInterfaceError, NotPermittedError, RefusedError
from numaprobe.kernel.kprobes import parse_kprobe_events
from numaprobe.kernel.record import Recorder, RecordOptions
from numaprobe.kernel.tracefs import Tracefs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_a_recording_makes_an_instance_of_its_own_and_leaves_nothing(
    kernel: FakeKernel, recorder: Callable[..., Recorder], tmp_path: Path
) -> None:
    with recorder() as recording:
        assert kernel.instances == ["numaprobe-4242", "numaprobe-4242-sched"]
        probes, sched = (kernel.root / "instances" / name for name in kernel.instances)
        assert (probes / "events/numaprobe/really_probe/enable").read_text() == "1\n"
        assert (sched / "events/sched/sched_switch/enable").read_text() == "1\n"
        for instance in (probes, sched):
            assert (instance / "trace_clock").read_text() == "mono\n"
            assert (instance / "tracing_on").read_text() == "0\n"
        recording.start()
        assert [(instance / "tracing_on").read_text() for instance in (probes, sched)] == ["1\n", "1\n"]
        (probes / "trace").write_text("# tracer: nop\nline\n")
        recording.stop()
        assert [(instance / "tracing_on").read_text() for instance in (probes, sched)] == ["0\n", "0\n"]
        saved = recording.save(tmp_path / "out")
    assert kernel.untouched()
    assert saved.trace.read_text() == "# tracer: nop\nline\n"
    assert saved.events == 42
    assert "really_probe" in parse_kprobe_events((tmp_path / "out/kprobe_events").read_text().splitlines())
    assert not (tmp_path / "out/zoneinfo").exists()


def test_no_flood_of_other_events_can_push_a_probe_out_of_its_buffer(
    kernel: FakeKernel, recorder: Callable[..., Recorder]
) -> None:
    with recorder(memory=True):
        probes, sched = (kernel.root / "instances" / name for name in kernel.instances)
        on = {
            instance.name: {
                path.parent.parent.name for path in instance.glob("events/*/*/enable") if "1" in path.read_text()
            }
            for instance in (probes, sched)
        }
    assert on == {"numaprobe-4242": {"numaprobe"}, "numaprobe-4242-sched": {"sched", "workqueue", "kmem"}}


def test_nothing_outside_the_instance_is_switched_on(kernel: FakeKernel, recorder: Callable[..., Recorder]) -> None:
    with recorder(memory=True):
        switched = [name for name, text in kernel.log if text == "1"]
    assert switched
    assert all(name.startswith("instances/numaprobe-4242") for name in switched)


@pytest.mark.parametrize(
    "step", ["buffer_size_kb", "trace_clock", "numaprobe/enable", "sched_switch/enable", "kprobe_events"]
)
def test_a_refusal_while_setting_up_leaves_nothing(
    kernel: FakeKernel, recorder: Callable[..., Recorder], step: str
) -> None:
    kernel.refuse[step] = errno.EIO
    with pytest.raises(KernelInterfaceError), recorder():
        pytest.fail("the body must not run")
    assert kernel.instances == []
    kernel.refuse.clear()
    assert kernel.kprobes == []


def test_an_error_in_the_body_leaves_nothing(kernel: FakeKernel, recorder: Callable[..., Recorder]) -> None:
    with pytest.raises(ZeroDivisionError), recorder():
        raise ZeroDivisionError
    assert kernel.untouched()


def test_a_failing_step_of_the_clean_up_does_not_keep_the_others_from_being_done(
    kernel: FakeKernel, recorder: Callable[..., Recorder]
) -> None:
    with pytest.raises(RefusedError, match="trace_pipe"), recorder():
        kernel.refuse["rmdir"] = errno.EBUSY
    assert (kernel.root / "saved_cmdlines_size").read_text() == "128\n"


def test_what_a_dead_recording_left_is_removed(
    kernel: FakeKernel, tracefs: Tracefs, recorder: Callable[..., Recorder]
) -> None:
    dead = recorder()
    dead.pid = 77
    dead.__enter__()
    assert kernel.instances == ["numaprobe-77", "numaprobe-77-sched"]
    with recorder() as recording:
        assert kernel.instances == ["numaprobe-4242", "numaprobe-4242-sched"]
        kinds = [warning.kind for warning in recording.warnings]
    assert kinds.count("stale-recording") == 3
    assert not kernel.instances
    assert not kernel.kprobes


def test_a_living_recording_is_left_alone(
    kernel: FakeKernel, tracefs: Tracefs, recorder: Callable[..., Recorder], proc: Path
) -> None:
    other = recorder()
    other.pid = 77
    (proc / "77").mkdir()
    (proc / "77/cmdline").write_bytes(b"/usr/bin/python3\0numaprobe\0record\0")
    with other:
        before = kernel.kprobes
        with pytest.raises(RefusedError, match="process 77"), recorder():
            pytest.fail("the body must not run")
        assert kernel.kprobes == before
        assert kernel.instances == ["numaprobe-77", "numaprobe-77-sched"]


def test_a_process_that_got_the_number_of_a_dead_recording_does_not_protect_it(
    kernel: FakeKernel, recorder: Callable[..., Recorder], proc: Path
) -> None:
    (kernel.root / "instances/numaprobe-77").mkdir()
    (proc / "77").mkdir()
    (proc / "77/cmdline").write_bytes(b"/sbin/agetty\0")
    with recorder(sched=False):
        assert kernel.instances == ["numaprobe-4242"]


def test_foreign_instances_and_kprobes_stay(
    kernel: FakeKernel, tracefs: Tracefs, recorder: Callable[..., Recorder]
) -> None:
    (kernel.root / "instances/somebody").mkdir()
    kernel._fill(kernel.root / "instances/somebody")
    tracefs.add_kprobe("p:other/open do_sys_open")
    with recorder():
        pass
    assert kernel.instances == ["somebody"]
    assert kernel.kprobes == ["p:other/open do_sys_open"]


def test_a_symbol_that_is_missing_is_said_and_the_rest_recorded(
    tmp_path: Path, kernel: FakeKernel, recorder: Callable[..., Recorder]
) -> None:
    kernel.unknown = ("__device_attach_async_helper",)
    with recorder() as recording:
        assert any("__device_attach_async_helper" in warning.message for warning in recording.warnings)
        assert any("really_probe" in line for line in kernel.kprobes)


def test_without_really_probe_there_is_nothing_to_record(kernel: FakeKernel, recorder: Callable[..., Recorder]) -> None:
    kernel.unknown = ("really_probe",)
    with pytest.raises(MissingInterfaceError, match="really_probe"), recorder():
        pytest.fail("the body must not run")
    assert kernel.untouched()


@pytest.mark.parametrize(
    ("missing", "expected"), [("kprobe_events", "CONFIG_KPROBE_EVENTS"), ("instances", "instances")]
)
def test_a_kernel_without_the_indispensable_is_refused(
    kernel: FakeKernel, recorder: Callable[..., Recorder], missing: str, expected: str
) -> None:
    path = kernel.root / missing
    path.rmdir() if path.is_dir() else path.unlink()
    with pytest.raises(MissingInterfaceError, match=expected), recorder():
        pytest.fail("the body must not run")


def test_a_kernel_without_sched_and_memory_events_still_records(tmp_path: Path, proc: Path) -> None:
    kernel = FakeKernel(tmp_path / "bare", events=())
    (kernel.root / "trace_clock").write_text("[local] global\n")
    with Recorder(Tracefs(kernel.root, kernel), RecordOptions(memory=True, btf=None), pid=1, proc=proc) as recording:
        text = " ".join(warning.message for warning in recording.warnings)
        assert (recording.instance.root / "trace_clock").read_text().startswith("[local]")
    assert "no sched events" in text
    assert "mm_page_alloc" in text
    assert "no clock 'mono'" in text


def test_sched_events_are_filtered_by_the_names_of_probing_tasks(
    kernel: FakeKernel, recorder: Callable[..., Recorder]
) -> None:
    with recorder(comms=("kworker/*", "modprobe", "a-very-long-name-of-a-program"), memory=True):
        events = kernel.root / "instances/numaprobe-4242-sched/events"
        switch = (events / "sched/sched_switch/filter").read_text()
        wakeup = (events / "sched/sched_wakeup/filter").read_text()
        memory = (events / "kmem/mm_page_alloc/filter").read_text()
    assert 'prev_comm ~ "modprobe" || next_comm ~ "modprobe"' in switch
    assert wakeup == 'comm ~ "kworker/*" || comm ~ "modprobe" || comm ~ "a-very-long-nam"\n'
    assert memory.startswith('COMM ~ "kworker/*" ||')


def test_a_star_records_every_task(kernel: FakeKernel, recorder: Callable[..., Recorder]) -> None:
    with recorder(comms=("*", "modprobe")):
        assert (kernel.root / "instances/numaprobe-4242-sched/events/sched/sched_switch/filter").read_text() == "none\n"


def test_a_refused_filter_is_said_and_the_event_recorded_whole(
    kernel: FakeKernel, recorder: Callable[..., Recorder]
) -> None:
    kernel.refuse["sched_switch/filter"] = errno.EINVAL
    with recorder() as recording:
        assert any("every task" in warning.message for warning in recording.warnings)
        assert (kernel.root / "instances/numaprobe-4242-sched/events/sched/sched_switch/enable").read_text() == "1\n"


def test_without_sched_only_kprobes_are_on(kernel: FakeKernel, recorder: Callable[..., Recorder]) -> None:
    with recorder(sched=False):
        events = kernel.root / "instances/numaprobe-4242/events"
        on = [path.parent.name for path in events.glob("*/*/enable") if path.read_text() == "1\n"]
    assert "really_probe" in on
    assert not {"sched_switch", "workqueue_queue_work", "mm_page_alloc"} & set(on)


def test_the_buffer_shrinks_until_the_kernel_has_the_memory(
    kernel: FakeKernel, recorder: Callable[..., Recorder]
) -> None:
    kernel.largest_buffer = 300
    with recorder(buffer_kb=2048):
        assert (kernel.root / "instances/numaprobe-4242/buffer_size_kb").read_text() == "256\n"


def test_the_cache_of_names_grows_meanwhile_and_a_kernel_that_refuses_it_records_all_the_same(
    kernel: FakeKernel, recorder: Callable[..., Recorder]
) -> None:
    with recorder():
        assert (kernel.root / "saved_cmdlines_size").read_text() == "4096\n"
    assert kernel.untouched()
    kernel.refuse["saved_cmdlines_size"] = errno.ENOMEM
    with recorder():
        assert (kernel.root / "saved_cmdlines_size").read_text() == "128\n"
    assert kernel.untouched()


def test_a_buffer_that_never_fits_is_an_error(kernel: FakeKernel, recorder: Callable[..., Recorder]) -> None:
    kernel.largest_buffer = 10
    with pytest.raises(RefusedError, match="buffer_size_kb"), recorder():
        pytest.fail("the body must not run")
    assert kernel.untouched()


def test_lost_events_and_missed_kprobes_are_counted(
    kernel: FakeKernel, recorder: Callable[..., Recorder], tmp_path: Path
) -> None:
    with recorder() as recording:
        for instance, text in zip(kernel.instances, ("overrun: 7\ndropped events: 2", "overrun: 4"), strict=True):
            (kernel.root / "instances" / instance / "per_cpu/cpu1/stats").write_text(f"entries: 5\n{text}\n")
        (kernel.root / "kprobe_profile").write_text("  really_probe    12    3\n  other   1  9\n")
        saved = recording.save(tmp_path / "out")
    assert saved.lost == 13
    assert saved.lost_probes == 12
    assert [warning.message[:26] for warning in saved.warnings if warning.kind == "lost-events"] == [
        "9 events of probes were lo", "4 events beside the probes",
    ]  # fmt: skip
    assert {warning.kind for warning in saved.warnings} >= {"lost-events", "missed-kprobes"}
    assert any("3 calls of really_probe" in warning.message for warning in saved.warnings)


def test_candidates_that_point_nowhere_are_no_missed_calls(
    kernel: FakeKernel, recorder: Callable[..., Recorder], tmp_path: Path
) -> None:
    """5.10 counts each fault of a fetch argument as a miss, of every probe at that address (84 for three probes)."""
    with recorder() as recording:
        text = "  local_pci_probe    3    84\n  local_pci_probe_ret   3  84\n  __device_attach   1  0\n"
        (kernel.root / "kprobe_profile").write_text(text)
        saved = recording.save(tmp_path / "out")
    assert saved.lost_probes == 0
    assert "missed-kprobes" not in {warning.kind for warning in saved.warnings}


def test_memory_saves_the_zones(recorder: Callable[..., Recorder], tmp_path: Path) -> None:
    with recorder(memory=True) as recording:
        recording.save(tmp_path / "out")
    assert "spanned" in (tmp_path / "out/zoneinfo").read_text()


def test_further_functions_get_an_entry_and_a_return(kernel: FakeKernel, recorder: Callable[..., Recorder]) -> None:
    with recorder(functions=("nvme:nvme_probe", "platform_probe")):
        lines = parse_kprobe_events(kernel.kprobes)
    assert lines["nvme_probe"].module == "nvme"
    assert lines["nvme_probe_ret"].returns
    assert lines["platform_probe"].module is None


def test_not_permitted_is_told_as_such(kernel: FakeKernel, recorder: Callable[..., Recorder]) -> None:
    kernel.refuse["mkdir"] = errno.EPERM
    with pytest.raises(NotPermittedError), recorder():
        pytest.fail("the body must not run")


def test_no_tracefs_is_told_with_the_way_to_mount_it(tmp_path: Path) -> None:
    with pytest.raises(MissingInterfaceError, match="mount -t tracefs"):
        Tracefs.find(tmp_path)
