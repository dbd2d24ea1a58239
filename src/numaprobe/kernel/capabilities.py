"""What this kernel offers to a recording: found by looking, never by its version.

Each thing that is not there is a sentence for the user, and the recording goes on without it where it can. Two things
it cannot do without: tracing instances, and kprobe events.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError, MissingInterfaceError, NotPermittedError
from numaprobe.kernel.btf import KERNEL_BTF, member_offset
from numaprobe.kernel.tracefs import LOCKDOWN, lockdown_mode

if TYPE_CHECKING:
    from numaprobe.kernel.tracefs import Tracefs

INITCALL_DEBUG: Final = Path("/sys/module/kernel/parameters/initcall_debug")
#: the clock of the machine's other figures (perf, dmesg with --time-format=…, this program)
TRACE_CLOCK: Final = "mono"

SCHED_EVENTS: Final = ("sched/sched_switch", "sched/sched_wakeup", "sched/sched_wakeup_new", "sched/sched_migrate_task")
WORKQUEUE_EVENTS: Final = ("workqueue/workqueue_queue_work", "workqueue/workqueue_execute_start")
MEMORY_EVENT: Final = "kmem/mm_page_alloc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a recording can use here."""

    #: sched events that exist
    sched_events: tuple[str, ...]
    #: ``kmem:mm_page_alloc`` exists
    memory: bool
    #: the clock ``mono`` exists (4.1 and later)
    mono_clock: bool
    #: bytes from the start of ``struct pci_dev`` to its ``struct device``; None if the kernel does not tell
    pci_dev_offset: int | None
    #: ``initcall_debug`` can be switched while the kernel runs
    initcall_debug: bool
    #: one sentence for each thing that is missing
    missing: tuple[str, ...]


def detect(tracefs: Tracefs, *, btf: Path | None = KERNEL_BTF, initcall: Path = INITCALL_DEBUG) -> Capabilities:
    """Look what the kernel behind ``tracefs`` offers.

    Args:
        tracefs: the mounted tracefs.
        btf: the kernel's type information; None: do not use it.
        initcall: the switch of ``initcall_debug``.

    Raises:
        MissingInterfaceError: no kprobe events or no instances: nothing can be recorded.
        NotPermittedError: the kernel is locked down for kprobes.

    """
    _indispensable(tracefs)
    missing: list[str] = []
    sched = tuple(name for name in SCHED_EVENTS if tracefs.has(f"events/{name}"))
    if "sched/sched_switch" not in sched:
        missing.append("no sched events: running, runnable and sleeping time will be unknown")
    memory = tracefs.has(f"events/{MEMORY_EVENT}")
    if not memory:
        missing.append("no kmem:mm_page_alloc: the memory of probes will be unknown")
    mono = TRACE_CLOCK in tracefs.read("trace_clock").replace("[", " ").replace("]", " ").split()
    if not mono:
        missing.append("no clock 'mono': times are on the trace's local clock")
    offset, why = _pci_offset(btf)
    if why:
        missing.append(why)
    return Capabilities(
        sched_events=sched,
        memory=memory,
        mono_clock=mono,
        pci_dev_offset=offset,
        initcall_debug=initcall.exists(),
        missing=tuple(missing),
    )


def _indispensable(tracefs: Tracefs) -> None:
    if not tracefs.has("kprobe_events"):
        if os.geteuid() == 0 and lockdown_mode(LOCKDOWN) == "confidentiality":
            raise NotPermittedError("kprobes: the kernel is locked down (confidentiality); boot without lockdown=")
        raise MissingInterfaceError(
            f"{tracefs.root} has no kprobe_events: this kernel is built without CONFIG_KPROBE_EVENTS; "
            "initcall_debug still tells costs (numaprobe record --boot)"
        )
    if not tracefs.has("instances"):
        raise MissingInterfaceError(
            f"{tracefs.root} has no instances (kernels before 3.10): recording would disturb others"
        )


def _pci_offset(btf: Path | None) -> tuple[int | None, str]:
    consequence = "the address of the device in local_pci_probe is looked for among candidates"
    if btf is None:
        return None, ""
    with contextlib.suppress(InputError):
        offset = member_offset("pci_dev", "dev", btf)
        return offset, "" if offset is not None else f"no BTF at {btf}: {consequence}"
    return None, f"{btf} is not readable as BTF: {consequence}"
