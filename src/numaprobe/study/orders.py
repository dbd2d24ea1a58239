"""Explore the orders of a setting, keep what was found as a scenario, and run it again."""

from __future__ import annotations

import signal
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from numaprobe.errors import UsageError
from numaprobe.scenario import save_scenario
from numaprobe.schedules import Limits, ScenarioSubject, Search

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numaprobe.scenario import Setting
    from numaprobe.schedules import Explored


def explore_setting(
    setting: Setting,
    limits: Limits | None = None,
    *,
    faults: Sequence[str] = (),
    progress: Callable[[int], object] | None = None,
) -> Explored:
    """Run a setting in one order after the other; return what was found and what was covered.

    Args:
        setting: see ``make_setting``; its policy is explored with it.
        limits: strategy, bounds and budget.
        faults: kinds of choices that are no order, and are offered too (``schedules.FAULTS``).
        progress: called after each run with the number of runs.

    Raises:
        InputError: the scenario has background load.
        UsageError: an unknown kind of choice.

    """
    return Search(ScenarioSubject(setting, tuple(faults)), limits or Limits(), progress).explore()


@contextmanager
def processes(count: int) -> Iterator[Callable[..., Any] | None]:
    """Give a map over so many processes; of one: None. Ctrl-C is for the one that asked."""
    if count == 1:
        yield None
        return
    context = get_context("spawn")
    quiet = (signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(count, context, initializer=signal.signal, initargs=quiet) as pool:
        yield pool.map


@contextmanager
def stopped_by_hand(search: Search) -> Iterator[None]:
    """Let the first Ctrl-C end the search after the run under way, a second one at once."""

    def stop(*_: object) -> None:
        search.stopped = True
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def save_found(setting: Setting, explored: Explored, path: Path) -> str:
    """Keep the first finding (else the second outcome) as a scenario with its schedule; return how to run it.

    Raises:
        UsageError: there is nothing to keep.
        InputError: the file cannot be written.

    """
    found = next(iter([*explored.findings, *explored.outcomes[1:]]), None)
    if found is None:
        raise UsageError(f"nothing was found that could be kept: {explored.coverage}")
    update = {"schedule": found.schedule, "kernel": setting.profile.name, "cmdline": setting.cmdline}
    save_scenario(setting.scenario.model_copy(update=update).with_origin_of(setting.scenario), path)
    return f"numaprobe run {path} --policy {setting.policy.spec}"
