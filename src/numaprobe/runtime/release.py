"""Kernel releases: what ``uname -r`` prints, as a number that facts can be dated by.

A release is taken by its first two numbers: what probing sees has never changed in a point release of mainline (stable
rules), with exceptions that ``facts`` names. What follows the numbers tells who built the kernel. Debian and Fedora
follow mainline closely; enterprise kernels keep the number and take the code of much later releases, so that the number
alone tells little: that is said (``Release.vendor``), never guessed around.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_NUMBERS: Final = re.compile(r"v?(\d{1,3})\.(\d{1,3})(?![\d])(.*)", re.ASCII | re.DOTALL)

#: (pattern of what follows the numbers, who builds it): kernels that keep their number and take later code.
_BACKPORTERS: Final = (
    (re.compile(r"\.el\d"), "Red Hat and its rebuilds"),
    (re.compile(r"\.(?:amzn|al)\d"), "Amazon or Alibaba"),
    (re.compile(r"el\d+uek|\.uek\b"), "Oracle"),
    (re.compile(r"-\d+-(?:generic|lowlatency|azure|aws|gcp|oracle|kvm|nvidia|raspi)"), "Ubuntu"),
    (re.compile(r"-\d[\d.]*-(?:default|preempt|azure|rt)\b"), "SUSE"),
)


class Release(NamedTuple):
    """The first two numbers of a kernel's release; ordered."""

    major: int
    minor: int

    def __str__(self) -> str:
        """Return ``6.12``."""
        return f"{self.major}.{self.minor}"


def parse_release(text: str) -> Release | None:
    """Return the release that a text of ``uname -r``'s kind starts with (``6.12.43+deb13-amd64``, ``v7.3-rc2``).

    None: it starts with no two numbers.
    """
    match = _NUMBERS.match(text.strip())
    return Release(int(match[1]), int(match[2])) if match else None


def backporter(text: str) -> str | None:
    """Return who builds kernels of this name, if they are known to take code of later releases; else None."""
    return next((who for pattern, who in _BACKPORTERS if pattern.search(text)), None)
