"""Run one setting or many; what comes of each is a value, its failure too.

``run_many`` hands the settings to a map: the builtin one, that of a process or thread pool
(``multiprocessing.Pool.map``, ``imap``, ``imap_unordered``, ``concurrent.futures.Executor.map``), or one that gives
futures (dask's ``Client.map``). All give the same list, in the order of the settings: a run is repeatable to the byte,
and which worker did it, or when, changes nothing.

A setting is pickled here, one by one, before any other map than the builtin one sees it: one that cannot travel is a
run that failed, and not the end of its neighbours.
"""

from __future__ import annotations

import builtins
import pickle
import traceback
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from numaprobe.errors import InternalError, NumaprobeError, RefusedError, UsageError
from numaprobe.scenario import Outcome, Setting, run_setting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numaprobe.records import Trace

    #: place of a setting in the list, and what came of it
    Answer = tuple[int, Outcome | NumaprobeError]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One setting and what came of it: an outcome, or the error that ended it."""

    setting: Setting
    outcome: Outcome | None = None
    error: NumaprobeError | None = None

    @property
    def label(self) -> str:
        """The policy, as tables call it."""
        return self.setting.policy.label

    @property
    def trace(self) -> Trace:
        """What was recorded.

        Raises:
            NumaprobeError: the run's error.

        """
        return self.result.trace

    @property
    def result(self) -> Outcome:
        """The outcome.

        Raises:
            NumaprobeError: the run's error.

        """
        if self.outcome is None:
            raise self.error or InternalError(f"a run under {self.label} has neither outcome nor error")
        return self.outcome

    @property
    def failures(self) -> list[str]:
        """What did not pass, one line each: checks, a deadlock, the error."""
        return [str(self.error)] if self.outcome is None else self.outcome.failures


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a number of runs is."""

    #: runs that are over
    done: int
    total: int
    #: the one that just ended; None at the beginning
    last: Run | None = None
    #: what is not over yet and stands first in the list; None at the end
    next: Setting | None = None


def run(
    setting: Setting,
    *,
    timeline: bool = False,
    real: bool = False,
    told: Callable[[int], object] | None = None,
    schedule: str | None = None,
) -> Outcome:
    """Run a setting once.

    Args:
        setting: see ``make_setting``.
        timeline: keep each probe's stretches of running, waiting and sleeping (a real run has none).
        real: on this computer's CPUs and clock, in place of virtual time.
        told: called now and then with the number of probes that are over.
        schedule: the order of its steps, as ``explore`` gives it; None: the scenario's own, else time decides.

    Raises:
        InputError: a step names what is not there at that moment; or the schedule is of something else.
        PolicyError: a policy from outside broke its contract.
        UsageError: ``real``, and a schedule.
        RefusedError: ``real``, and this computer is not the setting's machine, or a step would change it.

    """
    if real:
        if schedule or setting.scenario.schedule:
            raise UsageError("a schedule is an order of virtual time; leave out --real")
        from numaprobe.scenario.real import run_real

        return run_real(setting, told=told)
    order = schedule or setting.scenario.schedule
    if order is not None:
        from numaprobe.schedules import repeat

        return repeat(setting, order)[1]
    return run_setting(setting, timeline=timeline, told=told)


def run_many(
    settings: Iterable[Setting],
    *,
    map: Callable[..., Iterable[Any]] = builtins.map,  # noqa: A002  it is what takes its place
    timeline: bool = False,
    progress: Callable[[Progress], object] | None = None,
) -> list[Run]:
    """Run settings in virtual time; return what came of each, in their order. No run's error ends the others.

    Args:
        settings: what to run.
        map: called once, as ``map(function, items)``; gives results or futures, in any order.
        timeline: see ``run``.
        progress: called in this process before the first run and after each one.

    """
    book = _Book(list(settings), progress)
    book.tell(None)
    for index, result in _answers(book.settings, map, timeline=timeline):
        book.enter(index, result)
    return book.runs


class _Book:
    """What is done of a list of settings, and where progress goes."""

    def __init__(self, settings: list[Setting], progress: Callable[[Progress], object] | None) -> None:
        self.settings = settings
        self._progress = progress
        self._runs: list[Run | None] = [None] * len(settings)
        self._done = 0
        self._next = 0

    @property
    def runs(self) -> list[Run]:
        """What came of each, in order."""
        return [one for one in self._runs if one is not None]

    def enter(self, index: int, result: Outcome | NumaprobeError) -> None:
        if isinstance(result, NumaprobeError):
            run = Run(setting=self.settings[index], error=result)
        else:
            run = Run(setting=self.settings[index], outcome=result)
        self._runs[index] = run
        self._done += 1
        while self._next < len(self._runs) and self._runs[self._next] is not None:
            self._next += 1
        self.tell(run)

    def tell(self, last: Run | None) -> None:
        if self._progress is not None:
            following = self.settings[self._next] if self._next < len(self.settings) else None
            self._progress(Progress(done=self._done, total=len(self.settings), last=last, next=following))


def _answers(settings: list[Setting], map_: Callable[..., Iterable[Any]], *, timeline: bool) -> Iterator[Answer]:
    """Yield an answer for every setting, as they come; those that a broken executor owes come last."""
    if map_ is builtins.map:
        yield from map_(partial(_attempt, timeline=timeline), enumerate(settings))
        return
    owed = dict.fromkeys(range(len(settings)))
    broken: Exception | None = None
    packed = []
    for index, setting in enumerate(settings):
        try:
            packed.append((index, pickle.dumps(setting)))
        except Exception as error:  # noqa: BLE001  pickling a user's policy runs the user's code
            del owed[index]
            yield index, UsageError(f"{setting.policy.label} cannot be sent to another process: {_in_a_line(error)}")
    try:
        for item in map_(partial(_attempt_packed, timeline=timeline), packed):
            try:
                answer: Answer = item.result() if hasattr(item, "result") else item
            except Exception as error:  # noqa: BLE001  a future raises what its executor met
                broken = error
                continue
            del owed[answer[0]]
            yield answer
    except Exception as error:  # noqa: BLE001  an executor may raise whatever it likes
        broken = error
    for index in owed:
        yield index, RefusedError(f"the executor gave no result: {_in_a_line(broken)}")


def _attempt_packed(job: tuple[int, bytes], *, timeline: bool) -> Answer:
    """Run a setting that came as bytes; in a worker."""
    index, data = job
    try:
        setting = pickle.loads(data)  # noqa: S301  from ``_answers``
    except Exception as error:  # noqa: BLE001  whatever its module raises here
        return index, UsageError(f"a setting cannot be read in the worker: {_in_a_line(error)}")
    return _attempt((index, setting), timeline=timeline)


def _attempt(job: tuple[int, Setting], *, timeline: bool) -> Answer:
    index, setting = job
    try:
        return index, run_setting(setting, timeline=timeline)
    except NumaprobeError as error:
        return index, error.with_traceback(None)
    except MemoryError:
        return index, RefusedError("out of memory; use fewer devices, a smaller machine, or fewer workers")
    except Exception as error:  # noqa: BLE001  one run's end is not the end of the others
        return index, InternalError(_in_a_line(error))


def _in_a_line(error: Exception | None) -> str:
    """Return what kind of error it is, what it says, and where it was raised."""
    if error is None:
        return "it ended early"
    text = f"{type(error).__name__}: {error}".strip().removesuffix(":")
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return " ".join(f"{text}{where}".split())
