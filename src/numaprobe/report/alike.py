"""Runs that look the same, so that a page draws them once.

Two runs do if everything that a picture or its details show is equal: times since the first start, places, tasks,
results, stretches; and what is said above it, the machine's nodes and the warnings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.records import ProbeRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numaprobe.analysis.compare import ComparedTrace
    from numaprobe.records import Trace

#: Not drawn, and not in the details: what a task might have used.
_UNSEEN: Final = ("cpus_allowed", "pod", "start_ns", "end_ns", "segments")
_SEEN: Final = tuple(name for name in ProbeRecord.__dataclass_fields__ if name not in _UNSEEN)


def alike(entries: Sequence[ComparedTrace]) -> list[list[ComparedTrace]]:
    """Return the entries by what they look like, in the order in which the first of each stands."""
    groups: dict[str, list[ComparedTrace]] = {}
    for entry in entries:
        groups.setdefault(_looks(entry.trace), []).append(entry)
    return list(groups.values())


def first_start(trace: Trace) -> int:
    """Return the earliest start; 0 if none is known."""
    return min((record.start_ns for record in trace.probes if record.start_ns is not None), default=0)


def _looks(trace: Trace) -> str:
    first = first_start(trace)
    return repr(
        (
            trace.kernel,
            trace.source,
            trace.identity and (trace.identity.host, trace.identity.date),
            trace.machine.get("nodes"),
            [(warning.kind, warning.message) for warning in trace.warnings],
            [_probe(record, first) for record in trace.probes],
        )
    )


def _probe(record: ProbeRecord, first: int) -> object:
    start = None if record.start_ns is None else record.start_ns - first
    stretches = [(s.start_ns - first, s.end_ns - first, s.state, s.cpu) for s in record.segments or ()]
    return start, stretches, [getattr(record, name) for name in _SEEN]
