"""How a guest can end. A script stands in for virtme-ng; a real guest is in test_lab_real.py."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from numaprobe.errors import InputError, RefusedError
from numaprobe.kernel.lab.guest import GuestResult, run_guest
from numaprobe.kernel.lab.plan import GuestPlan
from numaprobe.kernel.lab.tools import KernelImage, Tools
from numaprobe.records import RunWarning, Trace, dump_trace
from numaprobe.topology import symmetric

PLAN = GuestPlan(topology=symmetric("m", nodes=2, cores=2), devices=(), setup=("echo setup",), steps=("modprobe nvme",))
KERNEL = KernelImage(Path("/boot/vmlinuz-6.1.0"), "6.1.0")


def boot(tmp_path: Path, script: str, timeout: float = 20.0, cmdline: str = "") -> GuestResult:
    """Run a guest that is really this shell script; it finds the shared folder in $S."""
    shared = tmp_path / "shared"
    shared.mkdir(exist_ok=True)
    vng = tmp_path / "vng"
    vng.write_text(f"#!/bin/sh\nS={shared}\n{script}\n")
    vng.chmod(0o755)
    return run_guest(
        replace(PLAN, cmdline=cmdline),
        kernel=KERNEL,
        tools=Tools(vng, os.environ["PATH"]),
        folder=shared,
        timeout=timeout,
        record=["--no-sched"],
    )


def test_a_guest_that_ends_well_brings_its_trace(tmp_path: Path) -> None:
    trace = dump_trace(Trace(source="kernel", probes=(), kernel="6.1.0"))
    (tmp_path / "trace").write_text(trace)
    result = boot(tmp_path, f"cp {tmp_path}/trace $S/trace.json; echo hello; echo 1 > $S/status")
    assert result.trace.kernel == "6.1.0"
    assert result.status == 1
    assert (result.folder / "console.log").read_text() == "hello\n"


def test_the_scripts_record_the_steps(tmp_path: Path) -> None:
    trace = dump_trace(Trace(source="kernel", probes=()))
    (tmp_path / "trace").write_text(trace)
    result = boot(tmp_path, f"cp {tmp_path}/trace $S/trace.json; echo 0 > $S/status")
    guest = (result.folder / "guest.sh").read_text()
    assert guest.index("echo setup") < guest.index("-m numaprobe record")
    assert "--no-sched -- /bin/sh" in guest
    assert "\nmodprobe nvme\n" in (result.folder / "steps.sh").read_text()
    assert os.access(result.folder / "guest.sh", os.X_OK)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo '[  1.0] Kernel panic - not syncing: VFS: no root'", "panicked: VFS: no root"),
        (
            "echo 'qemu-system-x86_64: warning: slow'; echo 'qemu-system-x86_64: -numa: bad node' >&2; exit 1",
            "-numa: bad node",
        ),
        (
            "echo 'qemu: linux kernel too old to load a ram disk'; exit 1",
            "could not be started: qemu: linux kernel too old",
        ),
        ("echo booting; exit 0", "without a result"),
        (
            "echo 'numaprobe: kprobes: not permitted'; echo 3 > $S/status",
            r"failed in the guest \(exit 3\): kprobes: not permitted",
        ),
    ],
)
def test_a_guest_that_ends_badly_is_told_in_one_line_with_its_console(
    tmp_path: Path, script: str, expected: str
) -> None:
    with pytest.raises(RefusedError, match=expected) as caught:
        boot(tmp_path, script)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "shared/console.log") in str(caught.value)
    assert (tmp_path / "shared/console.log").exists()


def test_a_guest_that_hangs_is_ended_with_all_its_processes(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"did not end within 1 s .*--timeout"):
        boot(tmp_path, "echo booting; sleep 3600 & echo $! > $S/child; wait", timeout=1.0)
    child = int((tmp_path / "shared/child").read_text())
    while alive(child):  # it is killed, and not yet gone; were it not killed, it would sleep for an hour
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kernel_trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace"
    hung = RunWarning(kind="unfinished", message="1 probe(s) did not return …: 0000:81:00.0 (nvme) since 9.5 s")
    failed = RunWarning(kind="command-failed", message="'/bin/sh' ended with status 1")
    path.write_text(dump_trace(Trace(source="kernel", probes=(), kernel="6.1.0", warnings=(hung, failed))))
    return path


def test_a_guest_that_records_when_its_time_is_up_has_time_to_save(tmp_path: Path) -> None:
    """The recording is stopped by the guest's own clock, and names the device that is still in probe."""
    save = f"cp {kernel_trace(tmp_path)} $S/trace.json; echo 124 > $S/status"
    result = boot(tmp_path, f"touch $S/started; sleep 3; {save}", timeout=1.0)
    assert result.status == 124
    assert [warning.kind for warning in result.trace.warnings] == ["timed-out", "unfinished"]
    assert "0000:81:00.0 (nvme)" in result.trace.warnings[1].message
    guest = (result.folder / "guest.sh").read_text()
    assert "left=$((1 - $(cut -d. -f1 /proc/uptime)))" in guest
    assert guest.index("timeout --kill-after") < guest.index("-m numaprobe record")


def test_a_step_that_failed_is_told_instead_of_the_shell_that_ran_it(tmp_path: Path) -> None:
    script = f"""cp {kernel_trace(tmp_path)} $S/trace.json
echo "steps[1] failed in the guest: modprobe: FATAL: Module nvme not found (exit 1 of: modprobe nvme)" > $S/steps.failed
echo 1 > $S/status"""
    result = boot(tmp_path, script)
    assert [failure.kind for failure in result.failures] == ["step-failed"]
    assert "steps[1] failed in the guest: modprobe: FATAL" in result.failures[0].message
    assert "command-failed" not in {warning.kind for warning in result.trace.warnings}


@pytest.mark.parametrize("file", ["kernel.log", "console.log"])
def test_a_complaint_of_the_kernel_is_told_with_its_lines(tmp_path: Path, file: str) -> None:
    log = tmp_path / "log"
    log.write_text("[   1.0] x\n[   9.1] WARNING: CPU: 1 PID: 22 at drivers/base/dd.c:1 really_probe\n[   9.2] end\n")
    show = f"cat {log}" if file == "console.log" else f"cp {log} $S/kernel.log"
    result = boot(tmp_path, f"{show}; cp {kernel_trace(tmp_path)} $S/trace.json; echo 0 > $S/status")
    (failure,) = result.failures
    assert failure.message.endswith("WARNING: CPU: 1 PID: 22 at drivers/base/dd.c:1 really_probe")
    assert [line for splat in result.splats for line in splat.lines][-1] == "[   9.2] end"


def test_what_an_earlier_guest_left_in_the_folder_is_not_this_ones(tmp_path: Path) -> None:
    copy = f"cp {kernel_trace(tmp_path)} $S/trace.json; echo 0 > $S/status"
    (tmp_path / "shared").mkdir()
    for name in ("steps.failed", "kernel.log"):
        (tmp_path / "shared" / name).write_text("[ 1.0] WARNING: old\n")
    assert boot(tmp_path, copy).failures == ()


def test_a_guest_that_hangs_after_its_work_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "trace").write_text(dump_trace(Trace(source="kernel", probes=())))
    result = boot(tmp_path, f"cp {tmp_path}/trace $S/trace.json; echo 0 > $S/status; sleep 300", timeout=1.5)
    assert result.status == 0


def test_a_guest_that_dies_of_the_emulators_race_is_booted_once_more_in_one_thread(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    trace.write_text(dump_trace(Trace(source="kernel", probes=())))
    script = f"""echo "$@" >> {tmp_path}/calls
case "$*" in *thread=single*) cp {trace} $S/trace.json; echo 0 > $S/status;;
*) echo '[   65.776641] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI'; echo 'Kernel panic - not syncing: Fatal';; esac"""
    assert boot(tmp_path, script).status == 0
    calls = (tmp_path / "calls").read_text().splitlines()
    assert ["thread=single" in call for call in calls] == [False, True]


def test_another_panic_is_not_tried_again(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="panicked"):
        boot(tmp_path, f"echo x >> {tmp_path}/calls; echo 'Kernel panic - not syncing: Oops'")
    assert (tmp_path / "calls").read_text() == "x\n"


def test_a_torn_trace_is_refused(tmp_path: Path) -> None:
    from numaprobe.errors import InputError

    with pytest.raises(InputError, match=r"trace\.json"):
        boot(tmp_path, f"echo {json.dumps('{')} > $S/trace.json; echo 0 > $S/status")


#: in place of virtme-ng: says what it would start, else leaves a trace
ASKED = """case "$*" in
*--dry-run*) printf "qemu-system-x86_64 -append '%{length}s' -initrd x\n" init=/sbin/init;;
*) touch $S/booted; cp $S/../trace $S/trace.json; echo 0 > $S/status;;
esac"""


@pytest.mark.parametrize(("parameters", "length", "boots"), [(300, 2047, True), (300, 2048, False), (100, 2048, True)])
def test_a_command_line_that_x86_would_cut_is_refused_before_anything_starts(
    tmp_path: Path, parameters: int, length: int, boots: bool
) -> None:
    (tmp_path / "trace").write_text(dump_trace(Trace(source="kernel", probes=())))
    cmdline = "a=b " * (parameters // 4)
    if boots:
        boot(tmp_path, ASKED.format(length=length), cmdline=cmdline)
    else:
        with pytest.raises(InputError, match=r"cmdline: .* has 2048 bytes, and x86 takes 2047: leave out 1 bytes"):
            boot(tmp_path, ASKED.format(length=length), cmdline=cmdline)
    assert (tmp_path / "shared" / "booted").exists() == boots


def test_a_virtme_ng_that_does_not_say_what_it_would_do_is_no_reason_to_refuse(tmp_path: Path) -> None:
    (tmp_path / "trace").write_text(dump_trace(Trace(source="kernel", probes=())))
    dry = 'case "$*" in *--dry-run*) echo "qemu \'"; exit 1;; esac'
    result = boot(tmp_path, f"{dry}\ncp {tmp_path}/trace $S/trace.json; echo 0 > $S/status", cmdline="a=b " * 100)
    assert result.status == 0
