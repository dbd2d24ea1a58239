"""What an advice holds. Every figure is of a run.

Where a source leaves something open a run has several readings, and a gain is *sure* only if it is there under each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numaprobe.records import RunWarning
    from numaprobe.scenario import Setting
    from numaprobe.study.advise.bound import Bound
    from numaprobe.study.advise.goal import Goal
    from numaprobe.study.advise.keptout import KeptOut
    from numaprobe.study.advise.lines import Line
    from numaprobe.study.advise.search import Searched
    from numaprobe.study.advise.trials import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """A selection, and all that somebody needs to decide on it."""

    trial: Trial
    lines: tuple[Line, ...]
    #: the same for ``--vary``, one key each
    vary: tuple[str, ...]
    #: by how much the makespan is shorter, ns: at least, at most; negative: longer
    gain_ns: tuple[int, int]
    #: the gain is there under every reading, and it is worth a line
    sure: bool

    @property
    def names(self) -> list[str]:
        """The choices, as tables call them."""
        return self.trial.names


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What comes of a search."""

    #: one or two sentences; see ``verdict``
    verdict: str = ""
    setting: Setting
    #: what is to come earlier
    goal: Goal
    #: the setting as it is
    base: Trial
    #: what to set; None: nothing is sure to help
    recommended: Recommendation | None
    #: what may help more, under the reading that is best for it; None: the same, or nothing
    hopeful: Recommendation | None
    #: what would be best if the drivers that are kept out were not; None: the same
    daring: Recommendation | None
    #: all that was run and is whole, best first
    tried: tuple[Recommendation, ...]
    #: what was run and is broken: names, and why
    broken: tuple[tuple[str, str], ...]
    kept_out: tuple[KeptOut, ...]
    bound: Bound
    #: time that probes spent ready, waiting for a CPU, ns; None: not known
    runnable_ns: int | None
    #: no probe was synchronous
    all_asynchronous: bool
    #: what limits the answer, a line each
    limits: tuple[str, ...]
    searched: Searched
    runs: int
    warnings: tuple[RunWarning, ...] = ()
