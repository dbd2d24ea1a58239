"""What a page or a picture is of: the scenario, the machine, the kernel; who recorded it, and when.

All of it is text of strangers: control characters are written as escapes, and what is longer than a title is cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.listing import first_few
from numaprobe.report.grid import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numaprobe.analysis.compare import Comparison
    from numaprobe.records import Trace

#: Of names that differ, so many are told; of one, so many letters.
NAMED: Final = 3
LONGEST: Final = 60


def subject(comparison: Comparison) -> str:
    """Return what happened: the scenario; where the runs are of several, their labels."""
    scenarios = {entry.trace.scenario for entry in comparison.entries}
    if len(scenarios) > 1:
        return _some(entry.label for entry in comparison.entries)
    return _short(comparison.scenario or comparison.entries[0].trace.source)


def surroundings(comparison: Comparison) -> list[str]:
    """Return where it happened: the machine, if it is told, and the kernel; several where runs differ."""
    traces = [entry.trace for entry in comparison.entries]
    machines = [str(name) for trace in traces if (name := trace.machine.get("name"))]
    return [*([_some(machines)] if machines else []), _some(kernel_of(trace) for trace in traces)]


def kernel_of(trace: Trace) -> str:
    """Return ``kernel 7.2 (virtual)``."""
    return f"kernel {trace.kernel} ({trace.source})" if trace.kernel else f"kernel unknown ({trace.source})"


def about(trace: Trace) -> str:
    """Return ``3 probes, kernel 7.2.12 (kernel), db-7, 2026-11-21 19:50``."""
    identity = trace.identity
    count = "1 probe" if len(trace.probes) == 1 else f"{len(trace.probes)} probes"
    parts = [count, kernel_of(trace)]
    if identity is not None:
        parts += [identity.host] if identity.host else []
        parts += [identity.date[:16].replace("T", " ")] if identity.date else []
    return ", ".join(_short(part) for part in parts)


def _some(names: Iterable[str]) -> str:
    different = list(dict.fromkeys(names))
    return first_few([_short(name) for name in different[:NAMED]], NAMED, of=len(different))


def _short(text: str) -> str:
    shown = printable(text)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"
