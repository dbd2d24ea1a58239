"""The texts of cells: times, shares, percentages, CPUs, memory, a probe's place. What a source does not tell is ``-``.

What is green is a gain that stays on the node. A gain that is paid with remote memory says so where it stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.analysis.machine import cpu_list, cpu_node_of
from numaprobe.records import NO_NODE
from numaprobe.report.grid import UNKNOWN, Cell
from numaprobe.units import format_size, format_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numaprobe.analysis.summary import Summary
    from numaprobe.records import ProbeRecord
    from numaprobe.topology import Topology

#: CPU lists longer than this are cut between two CPUs; the number of CPUs follows.
_CPU_TEXT: Final = 22
#: A change smaller than this many percent is neither a gain nor a loss.
_NOISE: Final = 1.0


def time_text(ns: int | None, doubt: tuple[int, int] | None = None) -> str:
    """Return a time; one that is in doubt from its least to its most."""
    if doubt is not None and doubt[0] != doubt[1]:
        return f"{format_time(doubt[0])} to {format_time(doubt[1])}"
    return UNKNOWN if ns is None else format_time(ns)


def share_text(share: float | None) -> str:
    """Return a share in percent."""
    return UNKNOWN if share is None else f"{100 * share:.0f} %"


def change_cell(
    value: float | None, doubt: tuple[float, float] | None, *, bound: bool, remote: bool, home: bool
) -> Cell:
    """Return a change in percent of the base.

    Args:
        value: negative is faster.
        doubt: the least and the most that it can be; None: nothing is in doubt.
        bound: a gain is at most what is said.
        remote: fewer probes are on their node than under the base.
        home: all probes are on their node.

    """
    if value is None:
        return Cell(UNKNOWN)
    least, most = doubt or (value, value)
    text = f"{value:+.1f} %" if least == most else f"{least:+.1f} to {most:+.1f} %"
    gains, loses = most <= -_NOISE, least >= _NOISE
    if least <= -_NOISE and bound and least == most:
        text = f"at most {text}"
    if least <= -_NOISE and remote:
        return Cell(f"{text} off node", "yellow")
    return Cell(text, "red" if loses else "green" if gains and home else "")


def is_away(summary: Summary, base: Summary) -> bool:
    """Tell whether fewer probes are on their node than under the base, at their start or by their memory."""
    pairs = ((summary.local_share, base.local_share), (summary.memory_local_share, base.memory_local_share))
    return any(mine is not None and theirs is not None and mine < theirs for mine, theirs in pairs)


def is_home(summary: Summary) -> bool:
    """Tell whether no probe started off its node, as far as that is known."""
    return summary.local_share in (None, 1.0)


def cpu_text(cpus: Sequence[int]) -> str:
    """Return a CPU list, cut if long: ``0-7,128-135``, ``0,2,4,6,8,… (64 CPUs)``."""
    text = cpu_list(cpus)
    if not text:
        return UNKNOWN
    if len(text) <= _CPU_TEXT:
        return text
    return f"{text[:_CPU_TEXT].rsplit(',', 1)[0]},… ({len(cpus)} CPUs)"


def cpu_cell(record: ProbeRecord, topology: Topology | None) -> Cell:
    """Return where a probe started: ``4 (n1)``, with ``!`` off its node and ``*`` if it moved."""
    if record.cpu is None:
        return Cell(UNKNOWN)
    node = cpu_node_of(record, topology)
    remote = node is not None and record.device_node not in (None, NO_NODE, node)
    moved = len(record.cpus or ()) > 1
    place = str(record.cpu) if node is None else f"{record.cpu} (n{node})"
    return Cell(f"{place}{'!' if remote else ''}{'*' if moved else ''}", "bold red" if remote else "")


def caller_text(record: ProbeRecord) -> str:
    """Return the task that waited, and its CPU."""
    if record.caller_comm is None:
        return UNKNOWN
    return record.caller_comm if record.caller_cpu is None else f"{record.caller_comm} on {record.caller_cpu}"


def memory_text(memory: Mapping[int, int] | None) -> str:
    """Return what was allocated, by node."""
    if memory is None:
        return UNKNOWN
    return ", ".join(f"n{node}: {format_size(size)}" for node, size in sorted(memory.items())) or "0"


def device_text(record: ProbeRecord) -> str:
    """Return the device, and which attempt it was if not the first."""
    return record.device if record.attempt == 1 else f"{record.device} (try {record.attempt})"
