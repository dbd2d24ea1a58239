"""What bodies do wrong, by name, for bodies of every kind; those in processes must be importable."""

from __future__ import annotations

import asyncio
import errno
from typing import Any, NoReturn

import numaprobe


class MuteError(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class LoudError(Exception):
    """Its constructor wants more than its copy has: it can be sent to another process, and not be received."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


class Mute:
    """A result that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


#: what is raised -> the result of the probe
RAISES: dict[str, tuple[Any, str]] = {
    "cancelled": (lambda: asyncio.CancelledError("by itself"), "EIO"),
    "ctrl-c": (KeyboardInterrupt, "EIO"),
    "exit": (lambda: SystemExit(3), "EIO"),
    "generator-exit": (GeneratorExit, "EIO"),
    "stop": (lambda: StopIteration(7), "EIO"),
    "stop-async": (StopAsyncIteration, "EIO"),
    "group": (lambda: BaseExceptionGroup("all", [KeyboardInterrupt(), SystemExit(1)]), "EIO"),
    "memory": (MemoryError, "ENOMEM"),
    "runtime": (lambda: RuntimeError("two\nlines"), "EIO"),
    "mute": (MuteError, "EIO"),
    "loud": (lambda: LoudError("a", "b"), "EIO"),
    "errno": (lambda: OSError(errno.ENXIO, "not there"), "ENXIO"),
    "strange-errno": (lambda: OSError(10**6, "garbage"), "EIO"),
    "no-thread": (lambda: BlockingIOError(errno.EAGAIN, "no thread"), "EAGAIN"),
}
#: what is returned -> the result
RETURNS: dict[str, tuple[Any, str]] = {
    "good": (0, "0"),
    "text": ("seven", "EINVAL"),
    "large": (10**9, "EINVAL"),
    "negative": (-errno.ENODEV, "ENODEV"),
}
RESULTS = {name: result for name, (_, result) in (RAISES | RETURNS).items()} | {"defer": "EPROBE_DEFER"}


def act(what: str) -> Any:
    """Do it."""
    if what == "defer":
        raise numaprobe.Defer("not yet")
    if what in RAISES:
        fail(what)
    return RETURNS[what][0]


def fail(what: str) -> NoReturn:
    error: BaseException = RAISES[what][0]()
    raise error


@numaprobe.driver("x", name="faulty", process=True, deadline="60s")
def in_process(dev: numaprobe.DeviceView) -> Any:
    return act(dev.name)
