"""Boot a guest, record its steps, and bring the trace home.

The guest shares one folder with us. We put two scripts there; it leaves the recording, the trace, the kernel's log and
an exit status. Everything that the kernel prints comes through a pipe and is kept in ``console.log``. A guest ends in
one of four ways: it leaves a status; it panics; it says nothing for too long; QEMU or virtme-ng refuse. Each has its
own line. Whatever happens, the guest's process group is gone when ``run_guest`` returns; if we are killed ourselves,
``timeout`` ends it.

A guest whose time is up while it records (a probe that hangs, most of the time) is told to stop by a clock of its own,
and has ``_SAVING`` seconds more to save what was recorded: the trace then names the device that is still in probe. What
went wrong inside (a step that failed, time that was up, a WARN or worse of the kernel's) is a warning of the trace.

QEMU before 8.1 emulates several CPUs in several threads with a race: a CPU may run into an ``int3`` that the kernel has
already taken away again, and the guest panics (mail "qemu-x86_64 booting with 8.0.0 still see int3", LKML, July 2023).
Switching tracepoints on and off is exactly that. A guest that dies of it is booted once more, in one thread.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe import errors
from numaprobe.errors import RefusedError
from numaprobe.kernel.lab.atboot import BOOT_TRACE
from numaprobe.kernel.lab.cmdline import check_command_line
from numaprobe.kernel.lab.monitor import Monitor, monitor_functions, monitor_options
from numaprobe.kernel.lab.plan import check_plan
from numaprobe.kernel.lab.qemu import vng_command
from numaprobe.kernel.lab.splats import Splat, find_splats
from numaprobe.kernel.lab.stage import staged
from numaprobe.kernel.lab.steps import FAILED, OWN_FAILED, failed_steps, step_function, write_steps
from numaprobe.records import RunWarning
from numaprobe.records.json_codec import load_trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numaprobe.kernel.lab.plan import GuestPlan
    from numaprobe.kernel.lab.tools import KernelImage, Tools
    from numaprobe.records import Trace

#: seconds: a guest of four CPUs boots in 10 to 25 s in software emulation, and Python there is slow
DEFAULT_TIMEOUT: Final = 300.0
#: seconds that ``timeout`` grants beyond ours, in case we are not there to end the guest
_SPARE: Final = 30.0
#: seconds in which a guest that recorded until its time was up saves the recording
_SAVING: Final = 120.0
#: seconds that a guest may take to end after it left its status
_POWER_OFF: Final = 20.0
#: what ``timeout`` exits with when it had to end the command
_TIMED_OUT: Final = frozenset((124, 137))
_BLOCK: Final = 65536
#: seconds between two looks at what a guest asks for
_LOOKS: Final = 0.2

#: files of the shared folder: the recording has begun; the guest's kernel log
STARTED: Final = "started"
KERNEL_LOG: Final = "kernel.log"

_PANIC: Final = re.compile(rb"Kernel panic - not syncing: ([^\r\n]{0,200})")
_EMULATOR_RACE: Final = re.compile(rb"(?m)^.{0,40}\bint3: 0000 \[#1\]")
_REFUSAL: Final = re.compile(rb"(?m)^(?:qemu|qemu-system-\w+|virtme[\w-]*|vng): (?!warning)[^\r\n]{0,300}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestResult:
    """What a guest brought home."""

    trace: Trace
    #: exit status of the recording: 1 = a step failed
    status: int
    #: what went wrong inside; each is a warning of the trace, too
    failures: tuple[RunWarning, ...] = ()
    #: the kernel's complaints, with their lines
    splats: tuple[Splat, ...] = ()
    #: seconds from the first process to the last
    seconds: float
    #: the shared folder: ``console.log``, ``trace.json``, ``recording/``
    folder: Path


def run_guest(
    plan: GuestPlan,
    *,
    kernel: KernelImage,
    tools: Tools,
    folder: Path,
    timeout: float = DEFAULT_TIMEOUT,
    record: Sequence[str] = (),
    kvm: bool = False,
) -> GuestResult:
    """Boot ``kernel`` on the plan's machine, take its steps there under ``numaprobe record``, return the trace.

    Args:
        plan: the machine and what it does.
        kernel: what to boot.
        tools: with what.
        folder: an empty folder for everything that is kept, with a name that ``stage.check_name`` takes.
        timeout: seconds until a guest that does not end is ended.
        record: further options of ``numaprobe record``.
        kvm: use the processor's virtualisation: faster, but it has to work here (nested, it often does not).

    Raises:
        InputError: the machine cannot be emulated, or the name of ``folder`` is not plain.
        RefusedError: the guest panicked, hung, or could not be started; the text names the console's file.

    """
    folder = folder.resolve()
    for left in (FAILED, KERNEL_LOG, STARTED, BOOT_TRACE):
        (folder / left).unlink(missing_ok=True)
    start = time.monotonic()
    lines = _recording(plan, folder, timeout, record)
    status = run_script(plan, lines, kernel=kernel, tools=tools, folder=folder, timeout=timeout, kvm=kvm)
    return _result(plan, folder, status, timeout, start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """What a guest brought home that took the steps of several plans in one recording."""

    result: GuestResult
    #: for each plan: its steps that failed
    failed: tuple[tuple[RunWarning, ...], ...]


def run_together(
    plans: Sequence[GuestPlan],
    *,
    kernel: KernelImage,
    tools: Tools,
    folder: Path,
    timeout: float = DEFAULT_TIMEOUT,
    record: Sequence[str] = (),
    kvm: bool = False,
) -> Together:
    """Boot ``kernel`` once and take the steps of several plans there one after the other, in one recording.

    Args:
        plans: of the first one's machine and kernel parameters; each leaves the guest as it found it (``after``).
        kernel: what to boot.
        tools: with what.
        folder: see ``run_guest``; each plan has a folder of its own in it, by its number.
        timeout: seconds for all of them.
        record: further options of ``numaprobe record``.
        kvm: see ``run_guest``.

    Raises:
        InputError, RefusedError: see ``run_guest``.

    """
    folder = folder.resolve()
    lines: list[str] = []
    for index, plan in enumerate(plans):
        own = folder / str(index)
        own.mkdir()
        lines += [*_shared(plan, own), *plan.setup, *plan.steps, *plan.after, f"rm -f {OWN_FAILED}"]
    one = replace(plans[0], setup=(), steps=tuple(lines), after=(), files={})
    result = run_guest(one, kernel=kernel, tools=tools, folder=folder, timeout=timeout, record=record, kvm=kvm)
    failed = tuple(tuple(_failed_steps(folder / str(index))) for index in range(len(plans)))
    return Together(result=result, failed=failed)


def _shared(plan: GuestPlan, folder: Path) -> list[str]:
    """Write a plan's files, and return the lines with which its others find them and note failures."""
    for name, contents in plan.files.items():
        (folder / name).write_bytes(contents)
    return [f"export NUMAPROBE_SHARED={shlex.quote(str(folder))}", step_function(folder)]


def _failed_steps(folder: Path) -> Iterator[RunWarning]:
    return (RunWarning(kind="step-failed", message=sentence) for sentence in failed_steps(folder))


def _result(plan: GuestPlan, folder: Path, status: int, timeout: float, start: float) -> GuestResult:
    """Return what a recording left in its folder, with what went wrong in it."""
    trace = _with_boot(plan, _trace(folder, status), folder)
    splats = find_splats(_kernel_text(folder))
    failures = tuple(_failures(folder, status, timeout, splats))
    kept = tuple(one for one in trace.warnings if one.kind != "command-failed" or not failures)
    return GuestResult(
        trace=replace(trace, warnings=(*failures, *kept)),
        status=status,
        failures=failures,
        splats=splats,
        seconds=time.monotonic() - start,
        folder=folder,
    )


def _recording(plan: GuestPlan, folder: Path, timeout: float, record: Sequence[str]) -> list[str]:
    """Return the shell lines that record the plan's steps until they end or time is up, and keep the kernel's log."""
    steps = write_steps([*([monitor_functions(folder)] if plan.hotplug else []), *plan.steps], folder)
    options = ["--output", str(folder / "trace.json"), "--raw", str(folder / "recording"), *record]
    recording = shlex.join([sys.executable, "-m", "numaprobe", "record", *options, "--", "/bin/sh", str(steps)])
    collect = shlex.join([sys.executable, "-m", "numaprobe", "record", "--collect", "-o", str(folder / BOOT_TRACE)])
    return [
        *_shared(plan, folder),
        *([f"{guest_environment()} {collect}"] if plan.at_boot else []),
        *plan.setup,
        f"touch {shlex.quote(str(folder / STARTED))}",
        f"left=$(({int(timeout)} - $(cut -d. -f1 /proc/uptime)))",
        f"{guest_environment()} timeout --kill-after={int(_SAVING)} $((left > 1 ? left : 1)) {recording}",
        f"status=$?; dmesg >{shlex.quote(str(folder / KERNEL_LOG))}; (exit $status)",
    ]


def _with_boot(plan: GuestPlan, trace: Trace, folder: Path) -> Trace:
    """Return a recording with what the kernel did by itself: its probes of the boot that are the plan's, and notes.

    Raises:
        RefusedError: the boot was to be recorded, and left nothing.

    """
    notes = tuple(RunWarning(kind="built-in", message=note) for note in plan.notes)
    if not plan.at_boot:
        return replace(trace, warnings=(*trace.warnings, *notes))
    path = folder / BOOT_TRACE
    if not path.is_file():
        reason = _last_line(folder / "console.log", rb"numaprobe: ")
        raise RefusedError(f"the guest's kernel did not record its boot{reason}; its console: {folder / 'console.log'}")
    boot = load_trace(path.read_bytes(), str(path))
    probes = [probe for probe in boot.probes if probe.driver in plan.at_boot]
    lost = any(probe.comm is None for probe in probes)
    told = tuple(warning for warning in boot.warnings if lost and warning not in trace.warnings)
    own = tuple(one for one in trace.warnings if one.kind != "no-probes" or not probes)
    return replace(trace, probes=(*probes, *trace.probes), warnings=(*own, *told, *notes))


def _failures(folder: Path, status: int, timeout: float, splats: Sequence[Splat]) -> Iterator[RunWarning]:
    """Yield what went wrong inside the guest."""
    yield from _failed_steps(folder)
    if status in _TIMED_OUT:
        message = f"the steps did not end within {timeout:.0f} s and were stopped; what was recorded until then is kept"
        yield RunWarning(kind="timed-out", message=message)
    for splat in splats:
        yield RunWarning(kind="kernel-splat", message=f"the guest's kernel says: {splat.head}")


def _kernel_text(folder: Path) -> list[str]:
    """Return the kernel's log as the guest saved it, or what its console showed."""
    log = folder / KERNEL_LOG
    path = log if log.is_file() and log.stat().st_size else folder / "console.log"
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []


def guest_environment() -> str:
    """Return shell assignments with which this Python finds this very numaprobe in the guest."""
    source = Path(errors.__file__).parent.parent
    return f"PYTHONPATH={shlex.quote(str(source))} PYTHONDONTWRITEBYTECODE=1"


def run_script(
    plan: GuestPlan,
    lines: Sequence[str],
    *,
    kernel: KernelImage,
    tools: Tools,
    folder: Path,
    timeout: float,
    kvm: bool = False,
    one_thread: bool = False,
) -> int:
    """Boot ``kernel`` on the plan's machine, run shell ``lines`` there, and return the last one's exit status.

    Args:
        plan: the machine.
        lines: what to run.
        kernel: what to boot.
        tools: with what.
        folder: shared with the guest.
        timeout: seconds.
        kvm: use the processor's virtualisation.
        one_thread: emulate all CPUs in one thread from the beginning.

    Raises:
        InputError: the machine cannot be emulated.
        RefusedError: the guest panicked, hung, or could not be started.

    """
    check_plan(plan)
    console = folder / "console.log"
    monitor = Monitor(plan, folder) if plan.hotplug else None
    if monitor is not None:
        plan = replace(plan, qemu=(*plan.qemu, *monitor_options(folder)))
    with staged(kernel) as stage:
        for alone in (True,) if one_thread or kvm else (False, True):
            script = _write_script(lines, folder)
            command = vng_command(
                plan, vng=tools.vng, stage=stage, shared=folder, script=script, kvm=kvm, one_thread=alone
            )
            environment = {"PATH": tools.path, "TMPDIR": str(stage.temporary)}
            check_command_line(plan.cmdline, command, environment)
            serve = None if monitor is None else monitor.serve
            ended = supervise(
                command, console, timeout=timeout, environment=environment, done=folder / "status", serve=serve
            )
            status = _status(folder)
            if status is not None:
                return status
            if not _EMULATOR_RACE.search(console.read_bytes()):
                break
    raise RefusedError(what_went_wrong(console, ended=ended, timeout=timeout))


def _write_script(lines: Sequence[str], folder: Path) -> Path:
    """Write what the guest runs: the lines, then the status of the last one, in one step."""
    (folder / "status").unlink(missing_ok=True)
    part, status = shlex.quote(str(folder / "status.part")), shlex.quote(str(folder / "status"))
    text = [
        "#!/bin/sh",
        "cd /",
        "[ -e /sys/kernel/tracing/trace ] || mount -t tracefs nodev /sys/kernel/tracing",
        *lines,
        f"echo $? > {part}; mv {part} {status}; sync",
    ]
    script = folder / "guest.sh"
    script.write_text("\n".join(text) + "\n", encoding="utf-8")
    script.chmod(0o755)
    return script


def supervise(
    command: Sequence[str],
    console: Path,
    *,
    timeout: float,
    environment: Mapping[str, str],
    done: Path,
    serve: Callable[[], None] | None = None,
) -> bool:
    """Run a guest to its end, or end it; return False if it had to be ended before it was ``done``.

    It runs in ``/``: virtme-ng makes a kernel parameter of the folder that it runs in. ``serve`` is called some times a
    second while it runs.

    Raises:
        RefusedError: the command cannot be started.

    """
    limited = ["timeout", "--kill-after=5", str(int(timeout + _SAVING + _SPARE)), "nice", "-n", "5", *command]
    try:
        guest = subprocess.Popen(  # noqa: S603  our own command, no shell
            limited,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **environment},
            cwd="/",
        )
    except OSError as error:
        raise RefusedError(f"the guest cannot be started: {error.strerror or error}") from None
    try:
        return _pump(guest, console, time.monotonic() + timeout, done, serve) or done.exists()
    finally:
        _end_group(guest)


def _pump(
    guest: subprocess.Popen[bytes], console: Path, deadline: float, done: Path, serve: Callable[[], None] | None
) -> bool:
    """Copy the console to its file until the guest ends (True) or the deadline passes (False).

    A guest that records by then has time to save the recording; one that is done and does not end (a task that hangs
    keeps it from powering off) has no more than ``_POWER_OFF`` seconds.
    """
    pipe = guest.stdout
    if pipe is None:
        return False
    is_saving = is_ending = False
    with console.open("wb", buffering=0) as log:
        while True:
            if not is_ending and done.exists():
                is_ending, deadline = True, min(deadline, time.monotonic() + _POWER_OFF)
            left = deadline - time.monotonic()
            if left <= 0 and not is_saving and not is_ending and done.with_name(STARTED).exists():
                is_saving = True
                deadline += _SAVING
            elif left <= 0:
                return False
            ready, _, _ = select.select([pipe], [], [], min(max(left, 0), _LOOKS if serve else 1.0))
            if serve is not None:
                serve()
            if not ready:
                continue
            block = os.read(pipe.fileno(), _BLOCK)
            if not block:
                return True
            log.write(block)


def _end_group(guest: subprocess.Popen[bytes]) -> None:
    """End every process of the guest: its own session, so its own group, and nobody else's."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(guest.pid, signal.SIGKILL)
    guest.wait()
    if guest.stdout is not None:
        guest.stdout.close()


def _status(folder: Path) -> int | None:
    try:
        text = (folder / "status").read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _trace(folder: Path, status: int) -> Trace:
    path = folder / "trace.json"
    if not path.is_file():
        reason = _last_line(folder / "console.log", rb"numaprobe: ")
        text = f"numaprobe record failed in the guest (exit {status}){reason}; its console: {folder / 'console.log'}"
        raise RefusedError(text)
    return load_trace(path.read_bytes(), str(path))


def what_went_wrong(console: Path, *, ended: bool, timeout: float) -> str:
    """Return the line that says how a guest without a result ended."""
    text = console.read_bytes() if console.is_file() else b""
    kept = f"its console: {console}"
    panic = _PANIC.search(text)
    if panic:
        return f"the guest's kernel panicked: {panic[1].decode('utf-8', 'replace').strip()}; {kept}"
    if not ended:
        return f"the guest did not end within {timeout:.0f} s and was ended; give it longer (--timeout), or see {kept}"
    refusals = _REFUSAL.findall(text)
    if refusals:
        return f"the guest could not be started: {refusals[0].decode('utf-8', 'replace').strip()}; {kept}"
    return f"the guest ended without a result; {kept}"


def _last_line(console: Path, mark: bytes) -> str:
    lines = [line for line in console.read_bytes().splitlines() if line.startswith(mark)] if console.is_file() else []
    return f": {lines[-1].removeprefix(mark).decode('utf-8', 'replace').strip()}" if lines else ""
