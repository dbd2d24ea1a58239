"""How a guest can end. A script stands in for virtme-ng; a real guest is in test_lab_real.py."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from numaprobe.errors import RefusedError
from numaprobe.kernel.lab.guest import GuestResult, run_guest
from numaprobe.kernel.lab.plan import GuestPlan
from numaprobe.kernel.lab.tools import KernelImage, Tools
from numaprobe.records import Trace, dump_trace
from numaprobe.topology import symmetric

PLAN = GuestPlan(topology=symmetric("m", nodes=2, cores=2), devices=(), setup=("echo setup",), steps=("modprobe nvme",))
KERNEL = KernelImage(Path("/boot/vmlinuz-6.1.0"), "6.1.0")


def boot(tmp_path: Path, script: str, timeout: float = 20.0) -> GuestResult:
    """Run a guest that is really this shell script; it finds the shared folder in $S."""
    shared = tmp_path / "shared"
    shared.mkdir()
    vng = tmp_path / "vng"
    vng.write_text(f"#!/bin/sh\nS={shared}\n{script}\n")
    vng.chmod(0o755)
    return run_guest(
        PLAN, kernel=KERNEL, tools=Tools(vng, os.environ["PATH"]), folder=shared, timeout=timeout, record=["--no-sched"]
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
    assert (result.folder / "steps.sh").read_text().endswith("modprobe nvme\n")
    assert os.access(result.folder / "guest.sh", os.X_OK)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo '[  1.0] Kernel panic - not syncing: VFS: no root'", "panicked: VFS: no root"),
        (
            "echo 'qemu-system-x86_64: warning: slow'; echo 'qemu-system-x86_64: -numa: bad node' >&2; exit 1",
            "-numa: bad node",
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
    start = time.monotonic()
    with pytest.raises(RefusedError, match=r"did not end within 1 s .*--timeout"):
        boot(tmp_path, "echo booting; sleep 300 & echo $! > $S/child; wait", timeout=1.0)
    assert time.monotonic() - start < 15
    child = int((tmp_path / "shared/child").read_text())
    for _ in range(100):
        if not alive(child):
            break
        time.sleep(0.05)
    assert not alive(child)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


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
