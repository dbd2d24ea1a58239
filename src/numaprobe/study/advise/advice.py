"""From a setting to an answer: what could be set, what is kept out, the search, and what is said of what it found."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from numaprobe.errors import NumaprobeError
from numaprobe.listing import first_few
from numaprobe.study.advise.answer import Advice, Recommendation
from numaprobe.study.advise.bound import Bound, bound_of
from numaprobe.study.advise.candidates import as_a_stock_kernel, find_candidates, guessed_devices
from numaprobe.study.advise.choices import Choice, Kind, varied_as
from numaprobe.study.advise.goal import Goal
from numaprobe.study.advise.keptout import Around, Reasons
from numaprobe.study.advise.lines import lines_of
from numaprobe.study.advise.search import STEP, pick, search
from numaprobe.study.advise.trials import Trial, Trials
from numaprobe.study.advise.verdict import verdict
from numaprobe.topology import CommandLine
from numaprobe.units import format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from numaprobe.records import RunWarning, Trace
    from numaprobe.scenario import Setting
    from numaprobe.study.advise.candidates import Candidates
    from numaprobe.study.advise.search import SearchProgress

#: Seconds that a search takes at most, unless one says otherwise.
PATIENCE_S: Final = 60.0
#: Drivers that a sentence names; the others are counted.
_SHOWN: Final = 4
#: Kinds of warnings that take the ground from under every figure: then no gain is sure. How a cost divides does not
#: bear on a moment of a boot: there is a CPU for each of the few probes at once.
_SHAKY_MOMENT: Final = ("lost-events", "torn-line", "unfinished", "untimed", "several-boots")
_SHAKY: Final = (*_SHAKY_MOMENT, "assumed-cost", "assumed-order")


def advise(
    setting: Setting,
    *,
    recorded: Trace | None = None,
    around: Around | None = None,
    goal: Goal | None = None,
    allowed: Collection[str] = (),
    seconds: float = PATIENCE_S,
    progress: Callable[[SearchProgress], object] | None = None,
) -> Advice:
    """Search the settings of a stock kernel for those that make a setting's probes faster or more local.

    Args:
        setting: a scenario or the replay of a trace; see ``make_setting``. Its policy does not matter: what is searched
            are the settings of a kernel that follows its own.
        recorded: the trace that the setting repeats.
        around: what is known of the machine beside that.
        goal: what is to come earlier (``goal_of``); None: the end of all probes.
        allowed: drivers that are not kept out, whatever speaks against it; those that always probe synchronously are.
        seconds: time for the search; what was best until then is the answer.
        progress: called before each run.

    Raises:
        NumaprobeError: the setting itself cannot be run.

    """
    around, goal = around or Around(), goal or Goal()
    deadline = time.monotonic() + seconds
    stock = as_a_stock_kernel(setting)
    shaky = _shaky(setting.warnings, recorded, _SHAKY_MOMENT if goal.is_moment else _SHAKY)
    trials = Trials(stock, goal, doubted=bool(shaky or guessed_devices(stock)))

    def asynchronous(driver: str) -> Trace | None:
        try:
            return trials.trace((Choice(f"{driver}: probing", Kind.ASYNC, driver),))
        except NumaprobeError:
            return None

    reasons = Reasons(stock, trials.base_trace, around, asynchronous, recorded, boots=goal.is_moment)
    candidates = find_candidates(stock, trials.base_trace, reasons, allowed, around)
    searched = search(trials, candidates.slots, deadline=deadline, progress=progress)
    whole = trials.all()
    if candidates.daring != candidates.slots:
        search(trials, candidates.daring, deadline=deadline, progress=progress)
    made = _Maker(stock, trials.base, around.modules)
    recommended = made.best(whole)
    if recommended is not None and not recommended.sure and recommended.trial.remote >= trials.base.remote:
        recommended = None
    hopeful, daring = made.best(whole, hopeful=True), made.best(trials.all(), hopeful=True)
    advice = Advice(
        setting=stock,
        goal=goal,
        base=trials.base,
        recommended=recommended,
        hopeful=None if _same(hopeful, recommended) else hopeful,
        daring=None if _same(daring, hopeful) or _same(daring, recommended) else daring,
        tried=tuple(made.all(whole)),
        broken=tuple((trial.name, trial.broken) for trial in trials.all() if trial.broken),
        kept_out=tuple(candidates.kept_out),
        bound=_bound_of_moment(trials, goal) if goal.is_moment else bound_of(stock, trials.base_trace),
        runnable_ns=_runnable(trials.base_trace),
        all_asynchronous=all(record.asynchronous for record in trials.base_trace.probes),
        limits=tuple(_limits(stock, recorded, candidates, shaky)),
        searched=searched,
        runs=trials.runs,
        warnings=setting.warnings,
    )
    return replace(advice, verdict=verdict(advice))


def _bound_of_moment(trials: Trials, goal: Goal) -> Bound:
    """Return when the moment comes with every driver asynchronous: what ``kernel_init`` does besides stays."""
    try:
        everything = trials.trace((Choice("every driver: probing", Kind.ASYNC, "*"),))
    except NumaprobeError:
        return Bound(ns=0, devices=(), moment=goal.name)
    return Bound(ns=goal.reached(everything) or 0, devices=(), moment=goal.name)


class _Maker:
    """Makes recommendations out of trials."""

    def __init__(self, setting: Setting, base: Trial, modules: Mapping[str, str] | None) -> None:
        self._setting = setting
        self._modules = modules
        self._base = base
        self._step = base.worth(STEP)

    def best(self, trials: Sequence[Trial], *, hopeful: bool = False) -> Recommendation | None:
        trial = pick(self._base, trials, hopeful=hopeful)
        return None if trial is self._base else self.make(trial)

    def make(self, trial: Trial) -> Recommendation:
        gain = trial.gain(self._base)
        lines = lines_of(self._setting, trial.selection, self._modules)
        return Recommendation(
            trial=trial,
            lines=tuple(lines),
            vary=tuple(varied_as(self._setting, trial.selection)),
            gain_ns=gain,
            sure=gain[0] >= self._step,
        )

    def all(self, trials: Sequence[Trial]) -> list[Recommendation]:
        whole = [trial for trial in trials if not trial.broken and trial is not self._base]
        ordered = sorted(whole, key=lambda trial: (-trial.gain(self._base)[0], trial.remote, len(trial.selection)))
        return [self.make(trial) for trial in ordered]


def _same(one: Recommendation | None, other: Recommendation | None) -> bool:
    return (None if one is None else one.trial.selection) == (None if other is None else other.trial.selection)


def _runnable(base: Trace) -> int | None:
    known = [record.runnable_ns for record in base.probes if record.runnable_ns is not None and not record.nested]
    return sum(known) if known else None


# ---- limits --------------------------------------------------------------------------------------------------------
def _shaky(warnings: Sequence[RunWarning], recorded: Trace | None, kinds: Collection[str]) -> list[str]:
    """Return what takes the ground from under every figure, each once."""
    said = [*warnings, *(recorded.warnings if recorded is not None else ())]
    guessed = "nobody measured"  # of these drivers nothing is advised
    lines = [f"{one.kind}: {one.message}" for one in said if one.kind in kinds and guessed not in one.message]
    return list(dict.fromkeys(lines))


def _limits(setting: Setting, recorded: Trace | None, candidates: Candidates, shaky: Sequence[str]) -> list[str]:
    found = [*shaky[:3], *([f"{len(shaky) - 3} more of this kind"] if len(shaky) > 3 else [])]  # noqa: PLR2004
    if candidates.guessed:
        text = "nobody measured what their probes cost, so how they are probed was not looked at; record a boot"
        found.append(f"{_names(candidates.guessed)}: {text}")
    if recorded is not None and any(one.kind == "assumed-driver" for one in recorded.warnings):
        text = "names of drivers are guessed from their initcalls: compare with /sys/bus/*/drivers before you write one"
        found.append(text)
    if recorded is not None:
        found.append("one trace: how much one boot differs from the next is not in these figures")
        if recorded.initcalls and not any(one.name.startswith("Run ") for one in recorded.milestones):
            found.append("the log ends before the kernel runs init: what was probed later is not in it")
    if candidates.small:
        text = f"not looked at, since their probes take {format_time(candidates.small_ns)} in all"
        found.append(f"{_names(candidates.small)}: {text}")
    if sum(bool(node.cpus) for node in setting.plan.topology.nodes) > 1:
        found.append("remote memory costs nothing in these figures: what a probe gains on its own node comes on top")
    root = CommandLine.parse(setting.machine.info.get("cmdline", "")).get("root") or ""
    if "=" in root:
        found.append(f"root={root[:50]} does not say which driver serves the root file system: look before it is async")
    return found


def _names(drivers: Sequence[str]) -> str:
    return first_few(drivers, _SHOWN)
