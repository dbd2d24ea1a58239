"""What pytest does otherwise for a mutant (see ``mutants.py``): tests of its room first, and an end to endless ones.

Most mutants fail many of the tests that enter them, so the first to fail should be a short one; those that few notice
are noticed in the tests of their own room. A mutant that never ends is told by the CPU time of a test, not by the
clock: a busy machine must not kill mutants.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

#: mutmut's exit code of a mutant that does not end.
ENDLESS: Final = 36
#: CPU time that each test may take, s, and how many times the wall time that it took without a mutant.
SPARE_S: Final = 10.0
FACTOR: Final = 5.0


def _durations() -> dict[str, float]:
    """Return how long each test took when mutmut looked what it enters, s; nothing before that."""
    try:
        data: dict[str, float] = json.loads(Path("mutmut-stats.json").read_text(encoding="utf-8"))["duration_by_test"]
    except (OSError, ValueError, KeyError):
        return {}
    return data


_TOOK: Final = _durations()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the mutant's own room first, and of these and of the others the short ones."""
    room = "/".join(["tests", *os.environ.get("MUTANT_UNDER_TEST", "").split(".")[1:2], ""])
    items.sort(key=lambda item: (not item.nodeid.startswith(room), _TOOK.get(item.nodeid, 0.0)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """End the process of a mutant in a test that takes far too much CPU time."""
    if item.nodeid not in _TOOK:
        yield
        return
    signal.signal(signal.SIGPROF, _give_up)
    signal.setitimer(signal.ITIMER_PROF, SPARE_S + FACTOR * _TOOK[item.nodeid])
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _give_up(*_: Any) -> None:  # noqa: ANN401  a signal handler's
    os._exit(ENDLESS)
