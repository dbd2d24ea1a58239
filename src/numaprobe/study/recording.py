"""The running kernel's probes: record them now, have the next boot recorded, read what this boot recorded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from numaprobe.kernel.boot import boot_parameters, check_length, pci_offset_warning, write_grub, write_systemd_boot
from numaprobe.kernel.btf import KERNEL_BTF, member_offset
from numaprobe.kernel.collect import collect_boot
from numaprobe.kernel.record import PROBING_COMMS, RecordOptions
from numaprobe.kernel.take import take, take_while
from numaprobe.kernel.tracefs import Tracefs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numaprobe.kernel.take import Taken
    from numaprobe.records import Trace

_CMDLINE: Final = Path("/proc/cmdline")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class BootSetup:
    """What records the next boot: the parameters, and where they were written."""

    parameters: tuple[str, ...]
    #: files that were written for GRUB and for systemd-boot; None: not asked for
    grub: Path | None = None
    entry: Path | None = None
    #: what the recording will not tell
    warning: str | None = None


def record_options(
    *,
    sched: bool = True,
    memory: bool = False,
    locks: bool = False,
    comms: Sequence[str] = (),
    functions: Sequence[str] = (),
    buffer_kb: int | None = None,
    btf: bool = True,
) -> RecordOptions:
    """Return what to record: see ``RecordOptions``; ``comms`` are watched beside those that probe by themselves.

    Raises:
        InputError: a function's name cannot be one.

    """
    return RecordOptions(
        sched=sched,
        memory=memory,
        locks=locks,
        comms=(*PROBING_COMMS, *comms),
        functions=tuple(functions),
        buffer_kb=buffer_kb,
        btf=KERNEL_BTF if btf else None,
    )


def record_kernel(
    options: RecordOptions,
    *,
    command: Sequence[str] = (),
    seconds: float | None = None,
    raw: Path | None = None,
    tracefs: Path | None = None,
    told: Callable[[], object] | None = None,
) -> Taken:
    """Record, clean up, and return what was recorded.

    Args:
        options: see ``record_options``.
        command: record while it runs; empty: for ``seconds``.
        seconds: how long; None: until SIGINT, SIGTERM or SIGHUP.
        raw: keep the kernel's own text in this folder.
        tracefs: where it is mounted, if not at the usual places.
        told: called before the recording, once tracefs is known to be there.

    Raises:
        InputError: the command is no program, or a folder cannot be written.
        KernelInterfaceError: the kernel does not offer or permit it.

    """
    found = Tracefs.find(tracefs)
    if told is not None:
        told()
    return take(found, options, command=command, seconds=seconds, raw=raw)


def record_while(
    options: RecordOptions, work: Callable[[], _Result], *, command: Sequence[str] = (), tracefs: Path | None = None
) -> tuple[Taken, _Result]:
    """Record while ``work`` runs, clean up, and return what was recorded and what ``work`` returned.

    Args:
        options: see ``record_options``.
        work: what to record; signals are its own to answer.
        command: what the trace calls it.
        tracefs: where it is mounted, if not at the usual places.

    Raises:
        KernelInterfaceError: the kernel does not offer or permit it; ``work`` did not begin.

    """
    return take_while(Tracefs.find(tracefs), options, work, command=command)


def recorded_boot(*, tracefs: Path | None = None, raw: Path | None = None) -> Trace:
    """Return what this boot recorded, and remove the boot's kprobes.

    Raises:
        KernelInterfaceError: nothing was recorded, or it may not be read.

    """
    return collect_boot(lambda: Tracefs.find(tracefs), raw)


def set_up_boot(
    *, sched: bool = False, btf: bool = True, grub: Path | None = None, entry: Path | None = None
) -> BootSetup:
    """Return the kernel parameters that record the next boot; write them for a boot loader if asked.

    Args:
        sched: scheduler events, too.
        btf: use the kernel's own type information.
        grub: write them for GRUB below this root; ``update-grub`` makes it count.
        entry: write a copy of this systemd-boot entry.

    Raises:
        InputError: they do not fit behind the present command line, or a file cannot be written.

    """
    offset = member_offset("pci_dev", "dev") if btf else None
    parameters = boot_parameters(pci_dev_offset=offset, sched=sched)
    check_length(parameters, _CMDLINE.read_text(encoding="utf-8", errors="replace"))
    return BootSetup(
        parameters=parameters,
        grub=None if grub is None else write_grub(grub, parameters),
        entry=None if entry is None else write_systemd_boot(entry, parameters),
        warning=pci_offset_warning(offset),
    )
