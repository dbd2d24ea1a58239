"""Nothing may leak: every test here begins and ends with the same threads, children and file descriptors."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


def descriptors() -> set[str]:
    """Return the open files that are not the program's own for ever (multiprocessing's tracker)."""
    found = set()
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  names, not paths
        try:
            target = str(Path(f"/proc/self/fd/{name}").readlink())
        except OSError:
            continue
        found.add(f"{name} {target}")
    return found


def own_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread is not threading.main_thread()}


@pytest.fixture(scope="session", autouse=True)
def tracker() -> None:
    """Start multiprocessing's resource tracker before anything is counted: it stays until the program ends."""
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()


@pytest.fixture(autouse=True)
def no_leaks(tracker: None) -> Iterator[None]:
    before = descriptors(), own_threads()
    yield
    end = time.monotonic() + 3
    while (descriptors() - before[0] or own_threads() - before[1]) and time.monotonic() < end:
        time.sleep(0.01)
    assert not descriptors() - before[0]
    assert not own_threads() - before[1]
    assert not multiprocessing.active_children()
