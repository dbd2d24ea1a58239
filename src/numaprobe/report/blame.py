"""The probes of a trace as ``systemd-analyze blame`` and ``critical-chain`` show units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TextIO

from numaprobe.analysis.chain import critical_chain
from numaprobe.report.cells import device_text
from numaprobe.report.grid import console_for, print_line, printable, stdout_or
from numaprobe.report.probes import ALL, ProbeChoice
from numaprobe.units import format_time

if TYPE_CHECKING:
    from numaprobe.analysis.chain import Link
    from numaprobe.records import ProbeRecord, Trace

_HEAD: Final = (
    'A probe stands above the one that it had to wait for. After "@": when it was over, since the first start;'
    ' after "+": what it took; in brackets: why it waited.'
)


def print_blame(trace: Trace, stream: TextIO | None = None, choice: ProbeChoice = ALL) -> None:
    """Print the probes by cost, the costliest first: cost, device, driver."""
    out = stdout_or(stream)
    shown = ProbeChoice(sort=choice.sort or "cost", top=choice.top).of(trace.probes)
    costs = [format_time(record.cost_ns) for record in shown]
    width = max(map(len, costs), default=0)
    for cost, record in zip(costs, shown, strict=True):
        out.write(f"{cost:>{width}} {printable(_name(record))}\n")


def print_chain(trace: Trace, stream: TextIO | None = None) -> None:
    """Print the critical chain: from the probe that ended last to the one that nothing held up."""
    out = stdout_or(stream)
    console = console_for(out)
    links = critical_chain(trace)
    if not links:
        print_line("no probe has times, so that none is known to have waited for another", console)
        return
    first = min(record.start_ns for record in trace.probes if record.start_ns is not None)
    print_line(_HEAD, console)
    console.print()
    for depth, link in enumerate(links):
        branch = f"{'  ' * (depth - 1)}└─" if depth else ""
        out.write(f"{branch}{printable(_link(link, first))}\n")


def _link(link: Link, first: int) -> str:
    over, took = format_time(link.end_ns - first), format_time(link.record.cost_ns)
    return f"{_name(link.record)} @{over} +{took}" + (f" [{link.because}]" if link.because else "")


def _name(record: ProbeRecord) -> str:
    return f"{device_text(record)} ({record.driver})"
