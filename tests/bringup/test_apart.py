"""A run in a process of its own: it tells, it stops when asked, it outlives whoever started it."""

import os
import signal
import threading
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from bringup_world import BringupWorld

from numaprobe.bringup.apart import perform_apart
from numaprobe.bringup.happened import trace_of
from numaprobe.bringup.perform import Performance
from numaprobe.bringup.plan import Plan
from numaprobe.bringup.steps import JournalStep
from numaprobe.bringup.trying import confirm
from numaprobe.errors import KernelInterfaceError, RefusedError
from numaprobe.records import ProbeRecord, Trace, dump_trace, load_trace

if TYPE_CHECKING:
    from numaprobe.bringup.outcome import ChangeOutcome


@pytest.fixture(autouse=True)
def _fork() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads, which the runner of tests has
        yield


def test_what_the_other_process_did_is_told(world: BringupWorld) -> None:
    first, second = world.pci(2)
    world.kernel.fails[second] = 5
    told: list[ChangeOutcome] = []
    report = perform_apart(
        Plan(changes=(world.change(first), world.change(second))), world.tools, command="bind", told=told.append
    )
    assert (
        [one.step for one in told]
        == [one.step for one in report.outcomes]
        == [JournalStep.VERIFIED, JournalStep.UNDONE]
    )
    assert world.drivers() == {first: "nvme", second: None}
    assert world.history.runs[0].begin["pid"] != os.getpid()


def test_what_refuses_there_is_raised_here(world: BringupWorld) -> None:
    (name,) = world.pci(1)
    world.state.write_text("in the way")
    with pytest.raises(Exception, match="is no folder"):
        perform_apart(Plan(changes=(world.change(name),)), world.tools, command="bind")


def test_a_process_that_is_killed_leaves_word_to_recover(world: BringupWorld) -> None:
    (name,) = world.pci(1)
    world.kernel.hooks[name] = lambda: os.kill(os.getpid(), signal.SIGKILL)
    with pytest.raises(KernelInterfaceError, match="'numaprobe recover' finishes or undoes it"):
        perform_apart(Plan(changes=(world.change(name),)), world.tools, command="bind")


def test_ctrl_c_here_is_a_request_there(world: BringupWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    names = world.pci(3)
    here, asked, came = os.getpid(), [], threading.Event()
    stop = Performance.stop
    monkeypatch.setattr(Performance, "stop", lambda self: (stop(self), came.set()))
    world.kernel.hooks[names[0]] = lambda: (os.kill(here, signal.SIGINT), came.wait(20))
    report = perform_apart(
        Plan(changes=tuple(world.change(name) for name in names)),
        world.tools,
        command="bind",
        stopping=lambda: asked.append(1),
    )
    assert asked == [1]
    assert report.interrupted
    assert list(world.drivers().values()) == ["nvme", None, None]


def test_a_second_ctrl_c_leaves_the_run_to_itself(world: BringupWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = world.pci(2)
    here, came, goes_on = os.getpid(), threading.Event(), world.folder / "goes-on"
    stop = Performance.stop
    monkeypatch.setattr(Performance, "stop", lambda self: (stop(self), came.set()))
    os.mkfifo(goes_on)
    world.kernel.hooks[first] = lambda: (
        os.kill(here, signal.SIGINT),
        came.wait(20),
        os.kill(here, signal.SIGINT),
        goes_on.read_text(),
    )
    with pytest.raises(KeyboardInterrupt):
        perform_apart(Plan(changes=(world.change(first), world.change(second))), world.tools, command="bind")
    goes_on.write_text("now")
    os.waitpid(world.history.runs[0].begin["pid"], 0)
    assert world.drivers() == {first: "nvme", second: None}
    assert world.history.runs[0].is_over


def test_a_try_is_undone_by_the_process_that_stays(world: BringupWorld) -> None:
    (name,) = world.pci(1)
    report = perform_apart(Plan(changes=(world.change(name),)), world.tools, command="bind", try_ns=1)
    assert report.waits_until_ns is not None
    os.waitpid(world.history.runs[0].begin["pid"], 0)
    assert world.drivers() == {name: None}
    assert world.history.runs[0].is_over


def test_a_confirmed_try_stays_and_its_process_ends(world: BringupWorld) -> None:
    (name,) = world.pci(1)
    report = perform_apart(Plan(changes=(world.change(name),)), world.tools, command="bind", try_ns=10**12)
    watcher = world.history.runs[0].lines[-1].data["pid"]
    confirm(world.tools)
    assert os.waitpid(watcher, 0)[0] == watcher
    assert world.drivers() == {name: "nvme"}
    assert world.history.runs[0].id == report.run
    with pytest.raises(RefusedError):
        confirm(world.tools)


# ---- the trace -------------------------------------------------------------------------------------------------------
def test_without_the_kernels_record_the_trace_says_what_the_writer_saw(world: BringupWorld) -> None:
    first, second, third = world.pci(2) + world.pci(1, "nvme")
    world.kernel.fails[second] = 5
    plan = Plan(changes=(world.change(first), world.change(second), world.change(third, "unbind")))
    trace = trace_of(plan, world.perform(plan.changes), command="bind", machine={}, recorded=None)
    assert [(one.device, one.result) for one in trace.probes] == [(first, "0"), (second, "EIO")]
    (bound, _) = trace.probes
    assert (bound.cpu, bound.comm, bound.running_ns) == (None, None, None)
    assert bound.caller_comm == "numaprobe-n0"
    assert bound.path == "device_driver_attach"
    assert bound.end_ns is not None
    assert bound.start_ns is not None
    assert bound.cost_ns == bound.end_ns - bound.start_ns
    assert [warning.kind for warning in trace.warnings if warning.kind != "bringup"] == ["undone", "unbound"]
    assert load_trace(dump_trace(trace), "bind") == trace


def test_with_the_record_it_is_said_who_decided_where_probes_ran(world: BringupWorld) -> None:
    """From the record alone: in the task that wrote, or in another."""
    world.kernel.device("virtio", "virtio3", node=1)
    world.kernel.driver("virtio", "virtio_blk")
    first, second = world.pci(2)
    plan = Plan(changes=(world.change(first), world.change(second), world.change("virtio3", after="virtio_blk")))
    report = world.perform(plan.changes)

    def seen(device: str, bus: str, comm: str, cpu: int, node: int, device_node: int) -> ProbeRecord:
        return ProbeRecord(
            device=device, driver="d", bus=bus, comm=comm, cpu=cpu, cpu_node=node, device_node=device_node, cost_ns=5
        )

    recorded = Trace(
        source="kernel",
        probes=(
            seen(first, "pci", "kworker/0:1", 0, 0, 0),
            seen(second, "pci", "kworker/0:1", 0, 0, 1),
            seen("virtio3", "virtio", "numaprobe-n1", 5, 1, 1),
            seen("0000:99:00.0", "pci", "kworker/0:1", 0, 0, 0),  # somebody else's
        ),
    )
    trace = trace_of(plan, report, command="bind", machine={}, recorded=recorded)
    on_pci = "pci: probes where the kernel queued them, whatever the writer's pin: kworker/0:1 on CPU 0 (2)"
    assert [one.message for one in trace.warnings if one.kind == "placed"] == [
        "virtio: probes in the writer's task, so its pin decided the CPU (1); 1 of 1 on their device's node",
        f"{on_pci}; 1 of 2 on their device's node",
    ]
