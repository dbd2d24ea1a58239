"""The shell function that takes a step, in a real shell; and what a kernel's log holds of complaints."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from numaprobe.kernel.lab.splats import MAX_LINES, MAX_SPLATS, find_splats
from numaprobe.kernel.lab.steps import failed_steps, write_steps
from numaprobe.scenario.shell import noted

if TYPE_CHECKING:
    from pathlib import Path


def take(tmp_path: Path, *lines: str) -> tuple[int, tuple[str, ...]]:
    shared = tmp_path / "sh'ared"
    shared.mkdir()
    script = write_steps(lines, shared, str(tmp_path))
    done = subprocess.run(["/bin/sh", str(script)], check=False, capture_output=True, text=True)
    assert done.stderr == ""
    return done.returncode, failed_steps(shared)


def test_steps_that_do_what_they_should_leave_no_note(tmp_path: Path) -> None:
    target = tmp_path / "bind"
    assert take(tmp_path, noted(f"echo 0000:81:00.0 > {target}", "steps[0]"), "wait") == (0, ())
    assert target.read_text() == "0000:81:00.0\n"


def test_each_step_that_fails_is_named_with_its_own_words_and_the_rest_are_taken(tmp_path: Path) -> None:
    """As a bind that the kernel refuses, a module that is not there, and two writers at a time."""
    code, failed = take(
        tmp_path,
        noted(f"echo x > {tmp_path}/none/bind", "steps[1]"),
        f"{{ {noted('echo no bus >&2; exit 3', 'steps[2].parallel[0]')}; {noted('true', 'a')}; }} &",
        f"{{ {noted('exit 4', 'steps[2].parallel[1]')}; }} &",
        "wait",
        noted(f"echo done > {tmp_path}/last", "steps[3]"),
    )
    assert code == 1
    assert sorted(line.partition(" ")[0] for line in failed) == [
        "steps[1]", "steps[2].parallel[0]", "steps[2].parallel[1]",
    ]  # fmt: skip
    said = "\n".join(failed)
    assert "steps[2].parallel[0] failed in the guest: no bus (exit 3 of: /bin/sh -c" in said
    assert "/none/bind" in said
    assert (tmp_path / "last").read_text() == "done\n"


WARN = """\
[   71.100000] nvme nvme0: pci function 0000:81:00.0
[   71.200000] ------------[ cut here ]------------
[   71.200001][  T120] {head}
[   71.200002] Modules linked in: nvme
[   71.200003]  <TASK>
[   71.200004]  really_probe+0x1/0x2
[   71.200005]  </TASK>
[   71.300000] nvme nvme0: 2/0/0 default/read/poll queues
""".splitlines()

HEADS = [
    "WARNING: CPU: 1 PID: 120 at drivers/base/dd.c:580 really_probe+0x3a/0x2e0",
    "WARNING: drivers/base/dd.c:580 at really_probe+0x3a/0x2e0, CPU#1: modprobe/120",
    # as guests of Debian 5.10 to 6.12 and 7.3 said it
    "WARNING: CPU: 2 PID: 1 at fs/sysfs/group.c:128 internal_create_group+0x132/0x490",
    "WARNING: fs/sysfs/group.c:137 at internal_create_group+0x102/0x4f0, CPU#1: swapper/0/1",
    "WARNING: possible circular locking dependency detected",
    "WARNING: inconsistent lock state",
    "BUG: kernel NULL pointer dereference, address: 0000000000000008",
    "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:580",
    "kernel BUG at drivers/base/dd.c:580!",
    "Oops: Oops: 0000 [#1] SMP NOPTI",
    "general protection fault, probably for non-canonical address 0xdead: 0000 [#1] PREEMPT SMP",
    "UBSAN: shift-out-of-bounds in drivers/base/dd.c:580:3",
    "INFO: task modprobe:120 blocked for more than 120 seconds.",
]


@pytest.mark.parametrize("head", HEADS)
def test_a_complaint_is_found_with_its_lines(head: str) -> None:
    (splat,) = find_splats(line.format(head=head) for line in WARN)
    assert splat.head == head
    assert [line.partition("] ")[2].strip() for line in splat.lines[1:]] == [
        "Modules linked in: nvme", "<TASK>", "really_probe+0x1/0x2", "</TASK>",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "[    0.1] Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on",
        "[    0.1] ACPI BIOS Warning (bug): Optional FADT field",
        "[   40.0] watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [modprobe:120]",
        "[   40.0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
        "[   40.0] nvme: probe of 0000:81:00.0 failed with error -5",
    ],
)
def test_what_a_slow_emulator_or_a_healthy_kernel_says_is_no_complaint(line: str) -> None:
    assert find_splats([line]) == ()


def test_a_flood_of_complaints_is_bounded() -> None:
    lines = [f"[ {second}.0] BUG: x" if second % 100 == 0 else f"[ {second}.0] more" for second in range(10_000)]
    found = find_splats(lines)
    assert len(found) == MAX_SPLATS
    assert all(len(splat.lines) <= MAX_LINES + 1 for splat in found)


@pytest.mark.parametrize("there", [True, False])
def test_cpus_are_isolated_by_a_partition_or_the_step_says_why_not(tmp_path: Path, *, there: bool) -> None:
    groups = tmp_path / "cgroup"
    if there:
        groups.mkdir()
    script = write_steps([noted("isolate '1-2'", "steps[0]")], tmp_path, str(tmp_path))
    script.write_text(script.read_text().replace("/sys/fs/cgroup", str(groups)))
    done = subprocess.run(["/bin/sh", str(script)], check=False, capture_output=True, text=True)
    if there:
        assert done.returncode == 0, done.stderr
        made = {path.name: path.read_text() for path in (groups / "numaprobe").iterdir()}
        assert made == {"cpuset.cpus": "1-2\n", "cpuset.cpus.partition": "isolated\n"}
        assert (groups / "cgroup.subtree_control").read_text() == "+cpuset\n"
    else:
        (failed,) = failed_steps(tmp_path)
        assert failed.startswith("steps[0] failed in the guest: ")
        assert "cgroup.subtree_control" in failed
