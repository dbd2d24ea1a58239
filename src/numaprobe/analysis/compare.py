"""Several traces of one scenario beside a base.

Each trace becomes an entry: a label, its figures, its findings, and how its worst, mean and makespan differ from the
base's, in percent *of the base's figure*. The base is always named; an entry is compared with nothing else. Where one
of the two figures is absent, or the base's is zero, there is no difference to state, and it is None.

A label is given, or it is the policy's name; a trace without one (a recorded kernel's) goes by its kernel, else by its
source. Labels are made unique with ``#2``, ``#3`` in the order given.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from numaprobe.analysis.findings import find
from numaprobe.analysis.machine import topology_of
from numaprobe.analysis.summary import Summary, summarize
from numaprobe.errors import UnknownNameError, UsageError
from numaprobe.records import (
    COMPARE_SCHEMA,
    Reading,
    finding_to_json,
    identity_to_json,
    probe_to_json,
    warning_to_json,
)
from numaprobe.records.json_codec import doubt_to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numaprobe.records import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How an entry differs from the base, in percent of the base's figure; negative is faster."""

    #: label of the base
    base: str
    worst_percent: float | None
    mean_percent: float | None
    makespan_percent: float | None
    #: the same, reading by reading: the least and the most; None: nothing is in doubt
    worst_range_percent: tuple[float, float] | None = None
    makespan_range_percent: tuple[float, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "base": self.base,
            "worst_percent": self.worst_percent,
            "mean_percent": self.mean_percent,
            "makespan_percent": self.makespan_percent,
            "worst_range_percent": self.worst_range_percent and list(self.worst_range_percent),
            "makespan_range_percent": self.makespan_range_percent and list(self.makespan_range_percent),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedTrace:
    """One trace of a comparison."""

    #: unique name in this comparison
    label: str
    #: the trace, with its findings
    trace: Trace
    summary: Summary
    #: the base differs from itself by zero
    difference: Difference
    #: of a variation: what it has for each axis, as text
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Traces of one scenario, beside a base."""

    scenario: str | None
    baseline: str
    #: in the order given
    entries: tuple[ComparedTrace, ...]
    #: what varies from entry to entry, and the values it takes; empty: the policy, or nothing that has a name
    axes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the ``numaprobe.compare/1`` object of design §8."""
        return {
            "schema": COMPARE_SCHEMA,
            "scenario": self.scenario,
            "machine": dict(self.entries[0].trace.machine),
            "baseline": self.baseline,
            **(
                {"axes": [{"key": key, "values": list(values)} for key, values in self.axes.items()]}
                if self.axes
                else {}
            ),
            "policies": [_entry_to_dict(entry) for entry in self.entries],
        }


def compare(traces: Sequence[Trace], baseline: str | None = None, *, labels: Sequence[str] | None = None) -> Comparison:
    """Put ``traces`` beside the one labelled ``baseline`` (None = the first), and diagnose each.

    Args:
        traces: at least one.
        baseline: a label.
        labels: of each trace, in place of what ``unique_labels`` would call it; made unique all the same.

    Findings that a trace already holds are replaced by those that the catalogue finds now.

    Raises:
        UsageError: no traces.
        UnknownNameError: no trace goes by that label.
        InputError: a trace's machine block is broken.

    """
    if not traces:
        raise UsageError("nothing to compare: give at least one trace")
    labels = unique_labels(traces) if labels is None else numbered(labels)
    base_label = labels[0] if baseline is None else baseline
    if base_label not in labels:
        raise UnknownNameError("baseline", base_label, labels)
    diagnosed = [_diagnosed(trace) for trace in traces]
    base = diagnosed[labels.index(base_label)]
    return Comparison(
        scenario=traces[0].scenario,
        baseline=base_label,
        entries=tuple(
            ComparedTrace(
                label=label, trace=trace, summary=summary, difference=difference(base_label, base, (trace, summary))
            )
            for label, (trace, summary) in zip(labels, diagnosed, strict=True)
        ),
    )


def unique_labels(traces: Iterable[Trace]) -> list[str]:
    """Return a label for each trace: its policy, kernel or source, numbered where two are alike."""
    return numbered(trace.policy or trace.kernel or trace.source for trace in traces)


def numbered(names: Iterable[str]) -> list[str]:
    """Return these names, the second of two that are alike with ``#2``."""
    labels: dict[str, None] = {}
    for name in names:
        label, number = name, 1
        while label in labels:
            number += 1
            label = f"{name}#{number}"
        labels[label] = None
    return list(labels)


def percent(value: int | None, base: int | None) -> float | None:
    """Return by how many percent of ``base`` ``value`` differs from it, to 0.01; None if that cannot be said."""
    if value is None or base is None or base == 0:
        return None
    return round(100 * (value - base) / base, 2)


def _diagnosed(trace: Trace) -> tuple[Trace, Summary]:
    topology = topology_of(trace)
    return replace(trace, findings=find(trace, topology)), summarize(trace, topology)


def difference(label: str, base: tuple[Trace, Summary], other: tuple[Trace, Summary]) -> Difference:
    """Return how a run differs from the base of this label.

    Args:
        label: of the base.
        base: its trace, of which the readings count alone, and its figures.
        other: likewise.

    """
    (base_trace, before), (trace, after) = base, other
    pairs = list(_paired(base_trace, before, trace))
    return Difference(
        base=label,
        worst_percent=percent(after.worst_ns, before.worst_ns),
        mean_percent=percent(after.mean_ns, before.mean_ns),
        makespan_percent=percent(after.makespan_ns, before.makespan_ns),
        worst_range_percent=_percents((new.worst_ns, old.worst_ns) for new, old in pairs),
        makespan_range_percent=_percents((new.makespan_ns, old.makespan_ns) for new, old in pairs),
    )


def _paired(base: Trace, figures: Summary, other: Trace) -> Iterator[tuple[Reading, Reading]]:
    """Yield the readings of a trace, each with the base's under the same one: what is true of one is of the other.

    A base without readings (a recorded trace) is what it is under each.
    """
    known = {reading.name: reading for reading in base.readings}
    fixed = Reading("", figures.makespan_ns, figures.worst_ns)
    for reading in other.readings:
        yield reading, known.get(reading.name, fixed)


def _percents(pairs: Iterable[tuple[int | None, int | None]]) -> tuple[float, float] | None:
    known = [value for new, old in pairs if (value := percent(new, old)) is not None]
    return (min(known), max(known)) if known else None


def _entry_to_dict(entry: ComparedTrace) -> dict[str, Any]:
    return {
        "policy": entry.label,
        **({"values": dict(entry.values)} if entry.values else {}),
        "source": entry.trace.source,
        "kernel": entry.trace.kernel,
        "identity": identity_to_json(entry.trace.identity),
        **entry.summary.to_dict(),
        "difference": entry.difference.to_dict(),
        "probes": [probe_to_json(record) for record in entry.trace.probes],
        "findings": [finding_to_json(finding) for finding in entry.trace.findings],
        "warnings": [warning_to_json(warning) for warning in entry.trace.warnings],
        **doubt_to_json(entry.trace),
    }
