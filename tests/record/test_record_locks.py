"""Lock events: switched on where the kernel has them, refused in one line where it has not."""

from __future__ import annotations

import errno
import io
from typing import TYPE_CHECKING

import pytest
from fake_tracefs import EVENTS, LOCK_EVENTS, FakeKernel

from numaprobe.errors import MissingInterfaceError
from numaprobe.kernel.ftrace import read_ftrace
from numaprobe.kernel.record import Recorder, RecordOptions
from numaprobe.kernel.tracefs import Tracefs

if TYPE_CHECKING:
    from pathlib import Path

PROBE = b"""\
 kworker/4:1-89      [004] .....    10.000000: really_probe: (really_probe+0x0/0x380) dev="a" drv="nvme"
 kworker/4:1-89      [004] .....    10.001000: really_probe_ret: (driver_probe+0x7c/0x120 <- really_probe) ret=0
"""


def recorder(
    tmp_path: Path, proc: Path, *events: str, comms: tuple[str, ...] = ("sh",), sched: bool = True
) -> Recorder:
    kernel = FakeKernel(tmp_path / "tracing", events=(*EVENTS, *events))
    options = RecordOptions(locks=True, btf=None, comms=comms, sched=sched)
    return Recorder(Tracefs.find(kernel.root, kernel), options, pid=4242, proc=proc)


def test_waits_and_their_stacks_are_recorded_beside_the_probes_and_without_spinlocks(
    tmp_path: Path, proc: Path
) -> None:
    with recorder(tmp_path, proc, *LOCK_EVENTS, sched=False) as recording:
        sched = tmp_path / "tracing/instances/numaprobe-4242-sched/events/lock"
        assert [(sched / name / "enable").read_text() for name in ("contention_begin", "contention_end")] == ["1\n"] * 2
        assert (sched / "contention_begin/filter").read_text() == 'flags != 1 && (COMM ~ "sh")\n'
        assert (sched / "contention_begin/trigger").read_text() == 'stacktrace if flags != 1 && (COMM ~ "sh")\n'
        assert (sched / "contention_end/filter").read_text() == 'COMM ~ "sh"\n'
        assert (tmp_path / "tracing/events/lock/contention_begin/enable").read_text() == "0\n"
    assert not recording.warnings


def test_every_task_s_waits_are_still_without_spinlocks(tmp_path: Path, proc: Path) -> None:
    with recorder(tmp_path, proc, *LOCK_EVENTS, comms=("*",)):
        sched = tmp_path / "tracing/instances/numaprobe-4242-sched/events/lock"
        assert (sched / "contention_begin/filter").read_text() == "flags != 1\n"
        assert (sched / "contention_end/filter").read_text() == "none\n"


def test_a_kernel_that_writes_no_stacks_still_tells_of_waits(tmp_path: Path, proc: Path) -> None:
    recording = recorder(tmp_path, proc, *LOCK_EVENTS)
    assert isinstance(recording.tracefs.files, FakeKernel)
    recording.tracefs.files.refuse["contention_begin/trigger"] = errno.EINVAL
    with recording:
        pass
    assert [warning.message.partition(":")[0] for warning in recording.warnings] == [
        "locks go by their addresses, not by who takes them"
    ]


@pytest.mark.parametrize(
    ("events", "says"),
    [((), r"since 5.19, without lockdep\);"), (("lock/lock_acquire",), "it has lockdep's events instead")],
)
def test_a_kernel_without_lock_events_is_said_in_one_line_and_nothing_is_left(
    tmp_path: Path, proc: Path, events: tuple[str, ...], says: str
) -> None:
    recording = recorder(tmp_path, proc, *events)
    with pytest.raises(MissingInterfaceError, match=says) as caught, recording:
        pytest.fail("nothing may be recorded")
    assert "\n" not in str(caught.value)
    assert isinstance(recording.tracefs.files, FakeKernel)
    assert recording.tracefs.files.untouched()


def test_that_nothing_waited_is_told_only_where_waits_were_recorded() -> None:
    assert [probe.waits for probe in read_ftrace(io.BytesIO(PROBE)).probes] == [None]
    assert [(probe.waits, probe.lock_wait_ns) for probe in read_ftrace(io.BytesIO(PROBE), locks=True).probes] == [
        ((), 0)
    ]
