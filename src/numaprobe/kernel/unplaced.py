"""PCI probes of which nobody saw the body: where they ran is not known.

The PCI core sends the driver's function to another CPU (``work_on_cpu``, since 7.1 a work of its own), and
``really_probe`` waits for it where it is. By the entry of ``local_pci_probe`` a trace tells where the body ran. If that
was not recorded, or a compiler put it into its callers, so that it is never entered as a function, then what is left is
the task that waits: its CPU is not the body's.

A probe that failed may have done so before the PCI core was asked (a supplier is missing): where ``local_pci_probe`` is
seen for others, one without it ran where ``really_probe`` did.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from numaprobe.kernel.candidates import is_pci_address
from numaprobe.kernel.kprobes import LOCAL_PCI_PROBE
from numaprobe.kernel.outer import OUTER
from numaprobe.records import RunWarning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numaprobe.records import ProbeRecord

#: of warnings on such probes
UNPLACED: Final = "no-place"

_BEFORE: Final = OUTER - {LOCAL_PCI_PROBE}
_REMEDY: Final = (
    "record the drivers' own functions, too (--function DRIVER:FUNCTION, as nvme:nvme_probe), or boot a kernel whose "
    f"{LOCAL_PCI_PROBE} is a function of its own"
)


def is_unplaced(probe: ProbeRecord, *, entered: bool) -> bool:
    """Tell whether only the task that waited for a PCI probe is known.

    Args:
        probe: the probe.
        entered: ``local_pci_probe`` was entered for others.

    """
    pci = probe.bus == "pci" or (probe.bus is None and is_pci_address(probe.device))
    return pci and probe.function in _BEFORE and (probe.result == "0" or not entered)


def without_place(probe: ProbeRecord) -> ProbeRecord:
    """Return a probe without its place, and how its time is divided: both were those of the task that waited."""
    return replace(
        probe,
        cpu=None,
        cpu_node=None,
        comm=None,
        cpus=None,
        cpus_allowed=None,
        running_ns=None,
        runnable_ns=None,
        sleeping_ns=None,
        remote_ns=None,
        segments=None,
    )


def told_honestly(
    probes: Sequence[ProbeRecord], *, entered: bool, recorded: bool | None
) -> tuple[list[ProbeRecord], list[RunWarning]]:
    """Take the place from the PCI probes of which only the task that waited is known, and say so.

    Args:
        probes: the probes of a trace.
        entered: ``local_pci_probe`` was entered.
        recorded: it was asked for; None: the trace does not tell.

    """
    unplaced = {index for index, probe in enumerate(probes) if is_unplaced(probe, entered=entered)}
    if not unplaced:
        return list(probes), []
    why = {
        None: f"{LOCAL_PCI_PROBE} is not in the trace",
        True: f"{LOCAL_PCI_PROBE} was recorded and never entered: the compiler put it into its callers",
        False: f"{LOCAL_PCI_PROBE} was not recorded",
    }[recorded]
    if entered:
        why = f"{LOCAL_PCI_PROBE} was entered for others: the compiler put it into some of its callers"
    message = f"{len(unplaced)} PCI probe(s) do not tell where they ran, for {why}; {_REMEDY}"
    kept = [without_place(probe) if index in unplaced else probe for index, probe in enumerate(probes)]
    return kept, [RunWarning(kind=UNPLACED, message=message)]
