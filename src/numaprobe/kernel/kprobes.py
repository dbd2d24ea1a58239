"""Which kprobe event stands for which kernel function.

A trace shows *events* (``lab/rp``); what they mean is in ``kprobe_events`` of tracefs: ``p:lab/rp really_probe dev=…``.
This file writes the definitions that numaprobe records with, and reads anybody's. Three sources tell what an event
stands for, the first that knows wins: definitions that the user gave (any text that holds such lines), the symbol that
ftrace prints inside the event (``(really_probe+0x0/0x380)``), and the event's own name. Our own events carry the
function's name, a return ``_ret`` behind it, so that a trace of ours reads without any definition.

What the fetch arguments rely on (the same from 5.10 to 7.3): ``struct device`` opens with its kobject, which opens with
the name; ``struct device_driver`` opens with the name; ``struct drv_dev_and_id`` of ``pci-driver.c`` holds the driver,
then the ``pci_dev``. Where ``dev`` stands inside ``struct pci_dev`` differs by configuration: where the kernel does not
tell it, a recording asks for every candidate, and the right one shows itself afterwards (``candidates.py``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from numaprobe.errors import InputError
from numaprobe.kernel.candidates import candidate_arguments

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: our group of events: ``/sys/kernel/tracing/events/numaprobe``
GROUP: Final = "numaprobe"
#: what we put behind the function's name for its return event
RETURN_SUFFIX: Final = "_ret"

REALLY_PROBE: Final = "really_probe"
LOCAL_PCI_PROBE: Final = "local_pci_probe"
DRIVER_ATTACH_ASYNC: Final = "__driver_attach_async_helper"
DEVICE_ATTACH_ASYNC: Final = "__device_attach_async_helper"
DEVICE_ATTACH: Final = "__device_attach"
DEVICE_DRIVER_ATTACH: Final = "device_driver_attach"
#: a driver is registered; it tells what ``device_driver_attach`` means before 5.14 (``roads.py``)
DRIVER_ATTACH: Final = "driver_attach"

#: The functions that lead to a probe, with the path that they stand for. A probe without any of them came from
#: ``__driver_attach``: the driver was registered and the device was there.
PATHS: Final[Mapping[str, str]] = {
    DRIVER_ATTACH_ASYNC: "driver_attach_async",
    DEVICE_ATTACH_ASYNC: "device_attach_async",
    DEVICE_ATTACH: "device_attach",
    DEVICE_DRIVER_ATTACH: "device_driver_attach",
}
SYNC_PATH: Final = "driver_attach_sync"

#: Instances that a return probe keeps for calls in flight; more calls than this at once are counted as missed.
MAX_ACTIVE: Final = 256

_DEVICE: Final = "dev=+0(+0($arg{})):string"
_RESULT: Final = "ret=$retval:s32"


class KprobeDefinition(NamedTuple):
    """One line of ``kprobe_events``."""

    #: name of the event inside its group
    event: str
    #: the kernel function, without offset and compiler suffix
    function: str
    #: a return probe (``r``): the event is the function's return
    returns: bool
    group: str = GROUP
    #: the module that holds the function; None if it is built in
    module: str | None = None
    #: fetch arguments, as the kernel takes them
    arguments: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """The line to append to ``kprobe_events`` that makes it."""
        kind = f"r{MAX_ACTIVE}" if self.returns else "p"
        symbol = f"{self.module}:{self.function}" if self.module else self.function
        return " ".join((f"{kind}:{self.group}/{self.event}", symbol, *self.arguments))


def named_function(text: str) -> tuple[str | None, str]:
    """Return module and function that ``MODULE:FUNCTION`` or ``FUNCTION`` names.

    Raises:
        InputError: it cannot be a kernel symbol; the kernel would read blanks and line ends as more of its commands.

    """
    match = _NAMED.fullmatch(text)
    if match is None:
        raise InputError(f"'{text[:80]}' names no kernel function; write for example nvme:nvme_probe")
    return match["module"], match["function"]


def entry_and_return(function: str, *arguments: str, module: str | None = None) -> tuple[KprobeDefinition, ...]:
    """Return our two events for one function: its entry with ``arguments``, and its return with the result."""
    return (
        KprobeDefinition(function, function, returns=False, module=module, arguments=arguments),
        KprobeDefinition(function + RETURN_SUFFIX, function, returns=True, module=module, arguments=(_RESULT,)),
    )


def kprobe_definitions(*, pci_dev_offset: int | None = None, search: bool = False) -> tuple[KprobeDefinition, ...]:
    """Return the events that numaprobe records with, the indispensable ones first.

    The first two (``really_probe``) are what a record is made of. The others tell more where the kernel offers their
    symbol: a recorder leaves out those that it refuses.

    Args:
        pci_dev_offset: bytes from the start of ``struct pci_dev`` to its ``struct device``; None if not known: then
            the PCI events carry no device.
        search: if it is not known, let them carry every candidate.

    """
    pci = candidate_arguments() if search else ()
    if pci_dev_offset is not None:
        pci = (f"dev=+0(+{pci_dev_offset}(+8($arg1))):string",)
    return (
        *entry_and_return(REALLY_PROBE, _DEVICE.format(1), "drv=+0(+0($arg2)):string"),
        *entry_and_return(LOCAL_PCI_PROBE, *pci),
        KprobeDefinition(DRIVER_ATTACH_ASYNC, DRIVER_ATTACH_ASYNC, returns=False, arguments=(_DEVICE.format(1),)),
        KprobeDefinition(DEVICE_ATTACH_ASYNC, DEVICE_ATTACH_ASYNC, returns=False, arguments=(_DEVICE.format(1),)),
        KprobeDefinition(DEVICE_ATTACH, DEVICE_ATTACH, returns=False, arguments=(_DEVICE.format(1), "async=$arg2:u8")),
        KprobeDefinition(DEVICE_DRIVER_ATTACH, DEVICE_DRIVER_ATTACH, returns=False, arguments=(_DEVICE.format(2),)),
        *entry_and_return(DRIVER_ATTACH),
    )


_NAMED = re.compile(r"(?:(?P<module>\w[\w-]*):)?(?P<function>[A-Za-z_][\w.]*)", re.ASCII)
_LINE = re.compile(
    r"""(?P<kind>[pr])\d{0,9}
        (?::(?:(?P<group>\w+)[/.])?(?P<event>\w+))?
        [ \t]+(?:(?P<module>[\w-]+):)?(?P<symbol>[A-Za-z_][\w.]*)(?:\+(?:0x)?[0-9a-fA-F]+)?(?P<return>%return)?
        (?P<arguments>(?:[ \t]+\S+)*)[ \t]*""",
    re.VERBOSE | re.ASCII,
)


def parse_kprobe_events(lines: Iterable[str]) -> dict[str, KprobeDefinition]:
    """Return the definitions that ``lines`` hold, by event name; every other line is passed over.

    Any text will do: a copy of ``/sys/kernel/tracing/kprobe_events``, notes about a machine. A line counts if it reads
    ``p:GROUP/EVENT [MODULE:]SYMBOL[+OFFSET] ARGUMENTS`` (``r`` or ``%return`` for a return) from its first character.
    """
    found = {}
    for line in lines:
        if line[:1] not in {"p", "r"} or (match := _LINE.fullmatch(line.rstrip("\n"))) is None or not match["event"]:
            continue
        event = match["event"]
        found[event] = KprobeDefinition(
            event,
            bare_symbol(match["symbol"]),
            returns=match["kind"] == "r" or match["return"] is not None,
            group=match["group"] or "kprobes",
            module=match["module"],
            arguments=tuple(match["arguments"].split()),
        )
    return found


def bare_symbol(symbol: str) -> str:
    """Return a symbol without what the compiler put behind it: ``really_probe.isra.0`` is ``really_probe``."""
    return symbol.partition(".")[0]
