"""Probes of the boot itself: kernel parameters that record them, and reading them afterwards.

No program runs while built-in drivers probe, so the kernel must record on its own. Two ways, used together:

* ``initcall_debug``: one log line for each probe: device, result, microseconds. From the first probe on, every kernel.
* ``kprobe_event=`` (5.1 and later): the same kprobes as a recording, on as soon as tracing is up
  (an ``fs_initcall``: before the drivers that are ``device_initcall``, after the PCI bridges). CPU, task, caller too.

The parameters hold ``$``, ``;`` and parentheses: GRUB and a shell both would take them apart, so they are quoted once
for each. What is written is a file of its own that can simply be deleted: it is there whole or not at all, has the mode
of the entry that it copies, and takes the place of nothing but an earlier one of ours.
Source: ``Documentation/trace/boottime-trace.rst``, ``Documentation/admin-guide/kernel-parameters.txt``.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError, MissingInterfaceError
from numaprobe.kernel.kprobes import GROUP, kprobe_definitions
from numaprobe.kernel.probe_lines import tells_a_probe
from numaprobe.kernel.tracefs import explain
from numaprobe.reading.files import read_bytes
from numaprobe.records import make_folder, write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numaprobe.kernel.kprobes import KprobeDefinition
    from numaprobe.kernel.tracefs import Tracefs

KMSG: Final = Path("/dev/kmsg")
#: COMMAND_LINE_SIZE of x86 and arm64, with the last zero. Of what is longer a boot loader that keeps to the protocol
#: (GRUB) hands on the beginning, without a word; a kernel that gets it whole may die of it before it has a console
#: ("detected buffer overflow in strlen": Debian's 6.1 and 7.3 do).
MAX_COMMAND_LINE: Final = 2048

_LOG_BUFFER: Final = "16M"
_TRACE_BUFFER: Final = "4M"
#: a record of /dev/kmsg is at most 8 KiB (CONSOLE_EXT_LOG_MAX)
_KMSG_RECORD: Final = 16384
_KMSG: Final = re.compile(r"\d+,\d+,(\d+),[^;]*?(?:,caller=([TC]\d+))?;(.*)")
#: what our files say of themselves, also those of the first versions
_OURS: Final = "Records driver probes of the boot; written by numaprobe."
_TITLE_MARK: Final = "(numaprobe records probes)"
#: an entry of a boot loader is a few hundred bytes
_MAX_ENTRY: Final = 2**20
_TITLE: Final = re.compile(r"(?m)^title[ \t]+(.*)$")


def boot_parameters(
    *, pci_dev_offset: int | None, sched: bool = False, definitions: Sequence[KprobeDefinition] | None = None
) -> tuple[str, ...]:
    """Return the kernel parameters that record boot-time probes.

    Args:
        pci_dev_offset: as for ``kprobe_definitions``; it must be that of the kernel that will boot.
        sched: record scheduler events as well, for running, runnable and sleeping time; they need much buffer.
        definitions: the kprobes; None: those of every recording.

    """
    if definitions is None:
        definitions = kprobe_definitions(pci_dev_offset=pci_dev_offset, search=True)
    probes = ";".join(_as_parameter(one) for one in definitions)
    parameters = [
        "initcall_debug",
        f"log_buf_len={_LOG_BUFFER}",
        "trace_clock=mono",
        f"trace_buf_size={'32M' if sched else _TRACE_BUFFER}",
        f"kprobe_event={probes}",
    ]
    if sched:
        parameters.append("trace_event=sched:sched_switch,sched:sched_wakeup,sched:sched_migrate_task")
    return tuple(parameters)


def _as_parameter(definition: KprobeDefinition) -> str:
    """Write a definition with commas for blanks, as ``kprobe_event=`` wants it."""
    return definition.command.replace(" ", ",")


def check_length(parameters: Sequence[str], present: str) -> None:
    """Return if these parameters still fit behind the ``present`` command line.

    Raises:
        InputError: they do not.

    """
    total = len(present.strip()) + 1 + len(" ".join(parameters))
    if total >= MAX_COMMAND_LINE:
        raise InputError(
            f"the kernel command line would have {total} bytes, and the kernel takes {MAX_COMMAND_LINE - 1}: a boot "
            "loader leaves out the rest, or nothing boots; boot without some of its other parameters, or use "
            "initcall_debug alone"
        )


# ---- boot loaders --------------------------------------------------------------------------------------------------
def grub_snippet(parameters: Sequence[str]) -> str:
    """Return the text of a file for ``/etc/default/grub.d``: quoted for GRUB's script, then for the shell."""
    for_grub = " ".join(_grub_quoted(one) for one in parameters)
    return (
        f"# {_OURS} Delete this file and run update-grub to end it.\n"
        f'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX "{shlex.quote(for_grub)}\n'
    )


def _grub_quoted(parameter: str) -> str:
    return f"'{parameter}'" if re.search(r"[$;(){}<>|&\"\\ ]", parameter) else parameter


def write_grub(root: Path, parameters: Sequence[str]) -> Path:
    """Write the file for GRUB below ``root`` and return its path; ``update-grub`` makes it count.

    Raises:
        InputError: there is no GRUB below ``root``, the file cannot be written, or is not ours.

    """
    folder = root / "etc/default/grub.d"
    if not (root / "etc/default").is_dir():
        raise InputError("there is no etc/default here, so no GRUB to write for; give --root", str(root))
    return _write_ours(folder / "numaprobe.cfg", grub_snippet(parameters), mode=None)


def write_systemd_boot(entry: Path, parameters: Sequence[str]) -> Path:
    """Write a copy of a systemd-boot entry that records the boot, beside it, and return its path.

    Raises:
        InputError: ``entry`` is no loader entry, or one that records already, or the copy cannot be written.

    """
    text = _read_entry(entry)
    if entry.suffix != ".conf" or not re.search(r"(?m)^(?:linux|efi)[ \t]", text):
        raise InputError("is no systemd-boot entry (a .conf file with a 'linux' line)", str(entry))
    if _is_ours(text) or f"p:{GROUP}/" in text:
        raise InputError("records probes already, as a copy of ours; give the entry that it was made from", str(entry))
    text = _TITLE.sub(lambda match: f"title {match[1]} {_TITLE_MARK}", text)
    text = f"{text.rstrip()}\n# {_OURS} Delete this file to end it.\noptions {' '.join(parameters)}\n"
    mode = stat.S_IMODE(entry.stat().st_mode) & 0o777
    return _write_ours(entry.with_name(f"{entry.stem}-numaprobe.conf"), text, mode=mode)


def _read_entry(path: Path) -> str:
    """Return an entry's text; bytes that are no UTF-8 survive as surrogates."""
    data = read_bytes(path, _MAX_ENTRY)
    if data is None:
        raise InputError("cannot be read: No such file or directory", str(path))
    return data.decode("utf-8", "surrogateescape").replace("\r\n", "\n")


def _is_ours(text: str) -> bool:
    return _OURS in text or _TITLE_MARK in text


def _write_ours(path: Path, text: str, *, mode: int | None) -> Path:
    """Write a file that a boot loader reads, unless there is one that we did not write."""
    if path.exists() and not _is_ours(_read_entry(path)):
        raise InputError("is there already and was not written by numaprobe; rename it", str(path))
    make_folder(path.parent)
    write_atomically(path, text.encode("utf-8", "surrogateescape"), mode=mode)
    return path


def _write(path: Path, text: str) -> Path:
    make_folder(path.parent)
    write_atomically(path, text)
    return path


# ---- after the boot ------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class BootRecording:
    """What a boot recorded, as files in a folder."""

    folder: Path
    #: the ftrace text; None if the boot had no kprobes of ours
    trace: Path | None
    #: the kernel's log; None if it has no probe in it
    log: Path | None


def collect(tracefs: Tracefs | None, folder: Path, *, kmsg: Path = KMSG) -> BootRecording:
    """Save what this boot recorded to ``folder``, then take the boot's kprobes away.

    Args:
        tracefs: where tracing is; None if there is none: then the log alone is read.
        folder: where to save.
        kmsg: the kernel's log.

    Raises:
        MissingInterfaceError: this boot recorded nothing.
        NotPermittedError: the log or the trace may not be read.

    """
    make_folder(folder)
    text = read_kernel_log(kmsg)
    log = None
    if tells_a_probe(text):
        log = _write(folder / "dmesg", text)
    trace = _collect_trace(tracefs, folder) if tracefs is not None else None
    if trace is None and log is None:
        raise MissingInterfaceError(
            "this boot recorded no probes; boot with the parameters that 'numaprobe record --boot' prints"
        )
    return BootRecording(folder=folder, trace=trace, log=log)


def _collect_trace(tracefs: Tracefs, folder: Path) -> Path | None:
    definitions = tracefs.kprobes(GROUP)
    if not definitions:
        return None
    path = _write(folder / "trace", tracefs.read("trace"))
    _write(folder / "kprobe_events", "".join(line + "\n" for line in definitions))
    tracefs.remove_kprobes(GROUP)
    if not tracefs.read("set_event").strip():
        tracefs.write("trace", "")
    return path


def read_kernel_log(path: Path = KMSG) -> str:
    """Return the kernel's log as ``dmesg`` prints it.

    Raises:
        KernelInterfaceError: it cannot be read.

    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise explain(error, f"reading the kernel log {path}") from None
    try:
        return "".join(dmesg_line(record) + "\n" for record in _records(descriptor))
    finally:
        os.close(descriptor)


def _records(descriptor: int) -> list[str]:
    records = []
    while True:
        try:
            data = os.read(descriptor, _KMSG_RECORD)
        except BlockingIOError:
            break
        except BrokenPipeError:  # overwritten while we read: go on with the next
            continue
        except OSError as error:
            raise explain(error, "reading the kernel log") from None
        if not data:
            break
        records += data.decode("utf-8", "replace").splitlines()
    return records


def dmesg_line(record: str) -> str:
    """Return a record of ``/dev/kmsg`` as a line of ``dmesg``; anything else as it is."""
    match = _KMSG.match(record)
    if match is None:
        return record
    seconds, micros = divmod(int(match[1]), 10**6)
    caller = f"[{match[2]:>5}]" if match[2] else ""
    return f"[{seconds:5d}.{micros:06d}]{caller} {match[3]}"


def pci_offset_warning(offset: int | None) -> str | None:
    """Return what to say if the place of the device in PCI events is not known before."""
    if offset is not None:
        return None
    return (
        "no BTF: every plausible place of the device in struct pci_dev is recorded, and --collect takes the one that "
        "names the devices that are there; if none does, PCI probes of the boot will not tell where they ran"
    )
