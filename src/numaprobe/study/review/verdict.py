"""What may be concluded of a review: cell by cell, then of the whole, and what it could not see.

A probe's *place* is what the kernel decides of it: the kind of task, and what holds it on the device's node. Sides of a
cell are held against each other probe by probe. A cell *cannot tell* if a side did not run, or if base differs from
base (the control, or one boot of it from the next): then what differs is not the patch's. A complaint of the kernel is
*new* if the patch has it and base never, *gone* the other way round, *same* if both have it: then it is not the
patch's.

Nothing different is no proof that nothing differs. If n comparisons show no change, the share of changed ones is below
3/n with 95 % confidence (the rule of three: Hanley and Lippman-Hand, JAMA 249, 1983); the review says that number.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from numaprobe.analysis.statistics import FigureChange, compare_runs
from numaprobe.study.review.run import BASE, CONTROL, PATCH

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numaprobe.study.review.matrix import MatrixCell
    from numaprobe.study.review.run import BootedReview
    from numaprobe.study.review.side import ProbeOutcome, SideResult

#: git bisect run takes these
GOOD, BAD, CANNOT_TELL = 0, 1, 125
_RULE_OF_THREE: Final = 3


class ProbePlace(NamedTuple):
    """What the kernel decided of a probe, to be told and to be compared."""

    text: str
    #: how little it guarantees: held on the node, woken there, anywhere, off it; then the same of failed probes
    rank: int


_NOT_PROBED: Final = ProbePlace("not probed", 9)
_RANKS: Final = {"held": 0, "soft": 1, "anywhere": 2, "away": 3}
_FAILED: Final = 5


class Complaint(NamedTuple):
    """What the kernel complained of."""

    #: first line, numbers masked
    head: str
    #: boots with it
    base: int
    patch: int
    #: of one of them
    lines: tuple[str, ...]


class CellTimes(NamedTuple):
    """A cell's makespans, ns."""

    patch: FigureChange
    #: base against base: what differs here is noise; None: this cell has no control
    control: FigureChange | None


class CellVerdict(StrEnum):
    """What a cell says."""

    SAME = "same"
    CHANGED = "changed"
    WORSE = "worse"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceChange:
    """Probes of a driver whose place or result changed alike."""

    driver: str
    before: str
    after: str
    count: int
    #: less is guaranteed than before, or the probe no longer ends as it did
    worse: bool


@dataclass(frozen=True, kw_only=True)
class JudgedCell:
    """A cell's two sides, held against each other."""

    cell: MatrixCell
    base: Sequence[SideResult]
    patch: Sequence[SideResult]
    control: Sequence[SideResult]

    @cached_property
    def verdict(self) -> CellVerdict:
        """See this file's head."""
        if self.regressed:
            return CellVerdict.WORSE
        if self.reason is not None:
            return CellVerdict.CANNOT_TELL
        if any(change.worse for change in self.changes):
            return CellVerdict.WORSE
        return CellVerdict.CHANGED if self.changes else CellVerdict.SAME

    @cached_property
    def regressed(self) -> str | None:
        """The patch's failure where base has none: it hangs, panics, or a step or probe of it fails."""
        if any(not side.ran or side.troubles for side in (*self.base, *self.control)):
            return None
        for side in self.patch:
            said = side.failure or "; ".join(side.troubles) or (None if side.probes else "nothing was probed")
            if said is not None:
                return said
        return None

    @cached_property
    def reason(self) -> str | None:
        """Why nothing can be said; None: something can."""
        for name, sides in ((BASE, self.base), (CONTROL, self.control), (PATCH, self.patch)):
            for side in sides:
                if not side.ran:
                    return f"{name}: {side.failure or 'nothing was probed'}"
        places = [_places(side) for side in (*self.base, *self.control)]
        return None if all(one == places[0] for one in places) else "base differs from base"

    @cached_property
    def changes(self) -> list[PlaceChange]:
        """What is different with the patch, most probes first."""
        before = _places(self.base[0]) if self.base else {}
        counts: Counter[tuple[str, ProbePlace, ProbePlace]] = Counter()
        for side in self.patch:
            after = _places(side)
            for name in sorted(before.keys() | after.keys()):
                one, other = before.get(name, _NOT_PROBED), after.get(name, _NOT_PROBED)
                if one != other:
                    counts[name[0], one, other] += 1
        return [
            PlaceChange(driver=driver, before=one.text, after=other.text, count=count, worse=other.rank > one.rank)
            for (driver, one, other), count in counts.most_common()
        ]

    @cached_property
    def times(self) -> CellTimes | None:
        """What its probes took, boot by boot (noise on an emulated machine); None: a side has no boot that tells."""
        base, control, patch = (
            [side.makespan_ns for side in sides if side.ran and side.makespan_ns]
            for sides in (self.base, self.control, self.patch)
        )
        if not (base and patch):
            return None
        return CellTimes(compare_runs(base, patch), compare_runs(base, control) if control else None)

    @property
    def compared(self) -> int:
        """Probes of the patch that were held against base's."""
        return 0 if self.reason or self.regressed else sum(len(side.probes) for side in self.patch)

    def on_node(self, side: str) -> tuple[int, int]:
        """Return how many probes of a side began on their device's node, and how many have one."""
        probes = [probe for result in getattr(self, side) for probe in result.probes if probe.local is not None]
        return sum(probe.local is True for probe in probes), len(probes)


@dataclass(frozen=True, kw_only=True)
class ReviewVerdict:
    """What the whole review says."""

    cells: Sequence[JudgedCell]
    #: policy that the patch should follow; None: none was given
    policy: str | None = None

    @cached_property
    def symptoms(self) -> list[Complaint]:
        """The kernel's complaints, by their first lines."""
        return _symptoms(self.cells)

    @property
    def boots(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Boots of base (with its control) and of the patch, and how many of each brought nothing home."""
        sides = [[one for cell in self.cells for one in (*cell.base, *cell.control)]]
        sides.append([one for cell in self.cells for one in cell.patch])
        counts = [(len(each), sum(not one.ran for one in each)) for each in sides]
        return (counts[0][0], counts[1][0]), (counts[0][1], counts[1][1])

    @property
    def new_symptoms(self) -> list[Complaint]:
        """Those that base never had."""
        return [one for one in self.symptoms if not one.base and one.patch]

    @cached_property
    def follows(self) -> list[str]:
        """Policies that explain every boot of the patch that ran."""
        sides = [set(side.follows) for cell in self.cells for side in cell.patch if side.ran]
        order = [name for cell in self.cells for side in cell.patch for name in side.follows]
        return [name for name in dict.fromkeys(order) if all(name in side for side in sides)]

    @property
    def as_policy(self) -> tuple[int, int]:
        """Probes of the patch as the chosen policy predicts, and all."""
        sides = [side for cell in self.cells for side in cell.patch if side.ran]
        return sum(side.as_predicted for side in sides), sum(side.judged for side in sides)

    @property
    def compared(self) -> int:
        """Probes that were held against each other."""
        return sum(cell.compared for cell in self.cells)

    @property
    def unseen(self) -> float | None:
        """The share of changed places that 95 of 100 such reviews would not miss; None: nothing was compared."""
        return _RULE_OF_THREE / self.compared if self.compared else None

    @property
    def exit_code(self) -> int:
        """0 nothing is worse, 1 something is, 125 nothing can be told: as ``git bisect run`` wants it."""
        verdicts = [cell.verdict for cell in self.cells]
        right, judged = self.as_policy
        if CellVerdict.WORSE in verdicts or self.new_symptoms or (self.policy is not None and right < judged):
            return BAD
        return CANNOT_TELL if all(one is CellVerdict.CANNOT_TELL for one in verdicts) else GOOD

    @property
    def sentence(self) -> str:
        """The answer."""
        by_verdict = Counter(cell.verdict for cell in self.cells)
        said = []
        if by_verdict[CellVerdict.WORSE]:
            said.append(f"worse in {by_verdict[CellVerdict.WORSE]} of {len(self.cells)} situations")
        if by_verdict[CellVerdict.CHANGED]:
            said.append(f"placement changed in {by_verdict[CellVerdict.CHANGED]} of {len(self.cells)} situations")
        if not said and by_verdict[CellVerdict.SAME]:
            said.append(f"no difference shown in {by_verdict[CellVerdict.SAME]} of {len(self.cells)} situations")
        if by_verdict[CellVerdict.CANNOT_TELL]:
            said.append(f"{by_verdict[CellVerdict.CANNOT_TELL]} cannot tell")
        if self.new_symptoms:
            said.append(f"{len(self.new_symptoms)} new complaint{'s' * (len(self.new_symptoms) > 1)} of the kernel")
        return "; ".join(said)


def judge_review(booted: BootedReview, policy: str | None = None) -> ReviewVerdict:
    """Hold the sides of every cell against each other."""
    cells = [
        JudgedCell(
            cell=cell,
            base=booted.of(cell, BASE),
            patch=booted.of(cell, PATCH),
            control=booted.of(cell, CONTROL),
        )
        for cell in booted.matrix.cells()
    ]
    return ReviewVerdict(cells=cells, policy=policy)


def _places(side: SideResult) -> dict[tuple[str, str, int], ProbePlace]:
    return {probe.name: _place(probe) for probe in side.probes}


def _place(probe: ProbeOutcome) -> ProbePlace:
    rank = _RANKS.get(probe.hold or "", 0)
    if probe.result == "0":
        return ProbePlace(probe.place, rank)
    return ProbePlace(f"{probe.place}, {probe.result or 'no result'}", _FAILED + rank)


def _symptoms(cells: Iterable[JudgedCell]) -> list[Complaint]:
    counts: dict[str, list[int]] = {}
    lines: dict[str, tuple[str, ...]] = {}
    for cell in cells:
        for column, sides in enumerate(((*cell.base, *cell.control), cell.patch)):
            for side in sides:
                for head, text in dict(side.splats).items():
                    counts.setdefault(head, [0, 0])[column] += 1
                    lines.setdefault(head, text)
    return [Complaint(head, base, patch, lines[head]) for head, (base, patch) in sorted(counts.items())]
