"""Boot a guest, record its steps, and bring the trace home.

The guest shares one folder with us. We put two scripts there; it leaves the recording, the trace and an exit status.
Everything that the kernel prints comes through a pipe and is kept in ``console.log``. A guest ends in one of four ways:
it leaves a status; it panics; it says nothing for too long; QEMU or virtme-ng refuse. Each has its own line. Whatever
happens, the guest's process group is gone when ``run_guest`` returns; if we are killed ourselves, ``timeout`` ends it.

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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe import errors
from numaprobe.errors import RefusedError
from numaprobe.kernel.lab.plan import check_plan
from numaprobe.kernel.lab.qemu import vng_command
from numaprobe.kernel.lab.stage import staged
from numaprobe.records.json_codec import load_trace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numaprobe.kernel.lab.plan import GuestPlan
    from numaprobe.kernel.lab.tools import KernelImage, Tools
    from numaprobe.records import Trace

#: seconds: a guest of four CPUs boots in 10 to 25 s in software emulation, and Python there is slow
DEFAULT_TIMEOUT: Final = 300.0
#: seconds that ``timeout`` grants beyond ours, in case we are not there to end the guest
_SPARE: Final = 30.0
_BLOCK: Final = 65536

_PANIC: Final = re.compile(rb"Kernel panic - not syncing: ([^\r\n]{0,200})")
_EMULATOR_RACE: Final = re.compile(rb"(?m)^.{0,40}\bint3: 0000 \[#1\]")
_REFUSAL: Final = re.compile(rb"(?m)^(?:qemu-system-\w+|virtme[\w-]*|vng): (?!warning)[^\r\n]{0,300}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestResult:
    """What a guest brought home."""

    trace: Trace
    #: exit status of the recording: 1 = a step failed
    status: int
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
    steps = folder / "steps.sh"
    steps.write_text("#!/bin/sh\nset -u\n" + "".join(f"{line}\n" for line in plan.steps), encoding="utf-8")
    options = ["--output", str(folder / "trace.json"), "--raw", str(folder / "recording"), *record]
    recording = shlex.join([sys.executable, "-m", "numaprobe", "record", *options, "--", "/bin/sh", str(steps)])
    start = time.monotonic()
    status = run_script(
        plan,
        [*plan.setup, f"{guest_environment()} {recording}"],
        kernel=kernel,
        tools=tools,
        folder=folder,
        timeout=timeout,
        kvm=kvm,
    )
    return GuestResult(trace=_trace(folder, status), status=status, seconds=time.monotonic() - start, folder=folder)


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
    with staged(kernel) as stage:
        for alone in (True,) if one_thread or kvm else (False, True):
            script = _write_script(lines, folder)
            command = vng_command(
                plan, vng=tools.vng, stage=stage, shared=folder, script=script, kvm=kvm, one_thread=alone
            )
            environment = {"PATH": tools.path, "TMPDIR": str(stage.temporary)}
            ended = supervise(command, console, timeout=timeout, environment=environment, done=folder / "status")
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
    command: Sequence[str], console: Path, *, timeout: float, environment: Mapping[str, str], done: Path
) -> bool:
    """Run a guest to its end, or end it; return False if it had to be ended before it was ``done``.

    It runs in ``/``: virtme-ng makes a kernel parameter of the folder that it runs in.

    Raises:
        RefusedError: the command cannot be started.

    """
    limited = ["timeout", "--kill-after=5", str(int(timeout + _SPARE)), "nice", "-n", "5", *command]
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
        return _pump(guest, console, time.monotonic() + timeout) or done.exists()
    finally:
        _end_group(guest)


def _pump(guest: subprocess.Popen[bytes], console: Path, deadline: float) -> bool:
    """Copy the console to its file until the guest ends (True) or the deadline passes (False)."""
    pipe = guest.stdout
    if pipe is None:
        return False
    with console.open("wb", buffering=0) as log:
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([pipe], [], [], min(left, 1.0))
            if not ready:
                continue
            block = os.read(pipe.fileno(), _BLOCK)
            if not block:
                return True
            log.write(block)
    return False


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
