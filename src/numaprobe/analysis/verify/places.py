"""Whether probes ran where they ran before, or where they were predicted: in counts of probes, not in means.

The rules are ``analysis.agreement``'s: a worker that is free to leave is judged by its pool and its mask, a probe that
is held by its node and its cache. Each run of one side is held against one of the other; where a probe's answers differ
from run to run, it *varies*: where it ran was luck, and neither side is wrong for it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis.agreement import judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numaprobe.records import Trace
    from numaprobe.topology import Topology

#: Judged of a prediction only: pools have numbers of their kernel's own, and what was before promises nothing.
_PROMISES: Final = frozenset(("pool", "stayed"))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceCount:
    """How many probes gave which answer to one question: node, LLC, worker, pool, stayed, order, result."""

    question: str
    same: int
    varies: int
    #: the probes that differ in every run: ``nvme 0000:81:00.0``
    differs: tuple[str, ...]

    @property
    def judged(self) -> int:
        """Of how many probes this can be said."""
        return self.same + self.varies + len(self.differs)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"question": self.question, "same": self.same, "varies": self.varies, "differs": list(self.differs)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Two sides' places."""

    #: how many probes the first side has
    probes: int
    #: in the order of a table; those that can be said of no probe are left out
    counts: tuple[PlaceCount, ...]
    #: probes of the first side that some run of the second does not have, and the other way round
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]

    @property
    def differing(self) -> tuple[str, ...]:
        """The probes that differ in anything, or are on one side alone; each once."""
        names = (name for count in self.counts for name in count.differs)
        return tuple(dict.fromkeys((*names, *self.missing, *self.unexpected)))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "probes": self.probes,
            "counts": [count.to_dict() for count in self.counts],
            "missing": list(self.missing),
            "unexpected": list(self.unexpected),
        }


def compare_places(
    first: Sequence[Trace], second: Sequence[Trace], topology: Topology | None, *, predicted: bool
) -> Places:
    """Hold every run of ``second`` against one of ``first``, and each of these at least once.

    Args:
        first: the prediction, or the runs before.
        second: the runs measured, or those after.
        topology: the machine; None: LLCs and guarantees are not known.
        predicted: ``first`` promises pools and masks, and an unexpected probe is one too many.

    """
    answers: dict[str, dict[str, set[bool]]] = defaultdict(lambda: defaultdict(set))
    missing: Counter[str] = Counter()
    unexpected: Counter[str] = Counter()
    pairs, probes = max(len(first), len(second)), 0
    for one, other in zip(islice(cycle(first), pairs), islice(cycle(second), pairs), strict=True):
        report = judge(one, other, {}, topology)
        probes = max(probes, len(report.rows))
        for row, name in zip(report.rows, _numbered(f"{row.driver} {row.device}" for row in report.rows), strict=True):
            if row.recorded is None:
                missing[name] += 1
            for question, verdict in row.verdicts.items():
                if verdict is not None and (predicted or question not in _PROMISES):
                    answers[question][name].add(verdict)
        unexpected.update(_numbered(f"{probe.driver} {probe.device}" for probe in report.unexpected))
    return Places(
        probes=probes,
        counts=tuple(_counted(question, by_probe) for question, by_probe in answers.items()),
        missing=tuple(missing),
        unexpected=tuple(unexpected),
    )


def _numbered(names: Iterable[str]) -> list[str]:
    """Return the names, the second of each as ``NAME (#2)``."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} (#{seen[name]})")
    return found


def _counted(question: str, by_probe: dict[str, set[bool]]) -> PlaceCount:
    verdicts = list(by_probe.values())
    return PlaceCount(
        question=question,
        same=verdicts.count({True}),
        varies=verdicts.count({True, False}),
        differs=tuple(name for name, verdict in by_probe.items() if verdict == {False}),
    )
