"""How a recording ends: by its command, by the clock, by a signal. Real processes, a fake kernel."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from numaprobe.errors import InputError
from numaprobe.kernel.session import StopSignals, find_program, record_command, record_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fake_tracefs import FakeKernel

    from numaprobe.kernel.record import Recorder


def state(kernel: FakeKernel) -> str:
    return (kernel.root / "instances/numaprobe-4242/tracing_on").read_text().strip()


def signal_soon(number: int) -> None:
    threading.Timer(0.2, os.kill, (os.getpid(), number)).start()


def test_the_command_runs_while_it_is_recorded_and_its_status_comes_back(
    kernel: FakeKernel, recorder: Callable[..., Recorder], tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    file = kernel.root / "instances/numaprobe-4242/tracing_on"
    with StopSignals() as stop, recorder() as recording:
        status = record_command(recording, ["sh", "-c", f"cat {file} > {seen}; exit 7"], stop)
        assert state(kernel) == "0"
    assert seen.read_text() == "1\n"
    assert status == 7
    assert kernel.untouched()


def test_a_command_that_a_signal_ended_is_told_as_a_shell_tells_it(recorder: Callable[..., Recorder]) -> None:
    with StopSignals() as stop, recorder() as recording:
        assert record_command(recording, ["sh", "-c", "kill -9 $$"], stop) == 137


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_command_and_recording_and_nothing_is_left(
    kernel: FakeKernel, recorder: Callable[..., Recorder], number: int, tmp_path: Path
) -> None:
    before = signal.getsignal(number)
    with StopSignals() as stop, recorder() as recording:
        signal_soon(number)
        status = record_command(recording, ["sleep", "3600"], stop)
        recording.save(tmp_path / "out")
    assert status == 128 + signal.SIGTERM
    assert stop.received == number
    assert signal.getsignal(number) == before
    assert kernel.untouched()


def test_a_command_that_no_signal_reaches_does_not_keep_the_recording(
    kernel: FakeKernel, recorder: Callable[..., Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe that hangs in the kernel: its task is killed, and stays."""
    children: list[subprocess.Popen[bytes]] = []

    def still_there(self: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        assert timeout is not None, "waiting without an end"
        children.append(self)
        raise subprocess.TimeoutExpired("sleep", timeout)

    monkeypatch.setattr("numaprobe.kernel.session._GRACE", 0.05)
    with monkeypatch.context() as patch, StopSignals() as stop, recorder() as recording:
        patch.setattr(subprocess.Popen, "wait", still_there)
        signal_soon(signal.SIGTERM)
        assert record_command(recording, ["sleep", "30"], stop) == 128 + signal.SIGKILL
        assert recording.save(tmp_path / "out").trace.exists()
    assert kernel.untouched()
    assert children[0].wait() == -signal.SIGTERM


def test_a_time_is_kept(kernel: FakeKernel, recorder: Callable[..., Recorder]) -> None:
    start = time.monotonic()
    with StopSignals() as stop, recorder() as recording:
        record_for(recording, 0.3, stop)
        assert state(kernel) == "0"
    assert time.monotonic() - start >= 0.3


def test_without_a_time_a_signal_ends_it(recorder: Callable[..., Recorder]) -> None:
    with StopSignals() as stop, recorder() as recording:
        signal_soon(signal.SIGTERM)
        record_for(recording, None, stop)
    assert stop.received == signal.SIGTERM


def test_what_is_no_program_is_refused_before_anything_is_made() -> None:
    with pytest.raises(InputError, match="no program"):
        find_program(["no-such-program-anywhere"])
