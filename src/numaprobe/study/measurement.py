"""Every policy predicted in virtual time, then run on this computer, several times."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from numaprobe.analysis import validate
from numaprobe.study.comparison import choose_policies
from numaprobe.study.runs import Progress, Run, run
from numaprobe.study.variation import variations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numaprobe.analysis import Validation
    from numaprobe.policies import Policy
    from numaprobe.scenario import Setting

#: Runs of each policy, unless one says otherwise: enough for a median that one slow run cannot move.
REPEAT: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Predictions beside measurements."""

    validation: Validation
    #: one of each policy, in virtual time
    predicted: tuple[Run, ...]
    #: the runs of each policy, in the order in which they were made
    measured: tuple[tuple[Run, ...], ...]

    @property
    def failures(self) -> list[str]:
        """What did not pass, predicted or measured, each line once."""
        runs = [*self.predicted, *(one for turn in zip(*self.measured, strict=True) for one in turn)]
        return list(dict.fromkeys(f"{run.label}: {failure}" for run in runs for failure in run.failures))


def measure(
    setting: Setting,
    policies: Iterable[Policy | str] | None = None,
    *,
    baseline: Policy | str | None = None,
    repeat: int = REPEAT,
    progress: Callable[[Progress], object] | None = None,
) -> Measurement:
    """Return predictions and measurements of these policies.

    The policies take turns, so that whatever else the computer does meanwhile meets them all alike. Nothing here may
    run beside each other, so there is no ``map``.

    Args:
        setting: its machine is this computer (``make_setting(…, machine="host")``), or some of its CPUs.
        policies: see ``choose_policies``; None: all.
        baseline: see ``compare``.
        repeat: runs of each policy.
        progress: called before the first measured run and after each.

    Raises:
        RefusedError: the setting cannot be run on this computer.

    """
    from numaprobe.hostmachine.others import Others
    from numaprobe.scenario.real import here

    chosen, base = choose_policies(policies, setting.policy if baseline is None else baseline)
    settings = variations(here(setting), policy=chosen)
    predicted = [Run(setting=one, outcome=run(one)) for one in settings]
    measured: list[list[Run]] = [[] for _ in settings]
    turns = settings * repeat
    others, load = Others(settings[0].plan.topology.online), os.getloadavg()[0]
    _tell(progress, turns, 0, None)
    for index, one in enumerate(turns):
        last = Run(setting=one, outcome=run(one, real=True))
        measured[index % len(settings)].append(last)
        _tell(progress, turns, index + 1, last)
    validation = validate(
        [one.trace for one in predicted],
        [[one.trace for one in runs] for runs in measured],
        base,
        others_share=others.share(),
        load_average=load,
    )
    return Measurement(validation=validation, predicted=tuple(predicted), measured=tuple(map(tuple, measured)))


def _tell(progress: Callable[[Progress], object] | None, turns: list[Setting], done: int, last: Run | None) -> None:
    if progress is not None:
        following = turns[done] if done < len(turns) else None
        progress(Progress(done=done, total=len(turns), last=last, next=following))
