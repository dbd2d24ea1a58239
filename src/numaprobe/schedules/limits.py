"""How far a search goes, and by which strategy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from numaprobe.errors import UsageError

STRATEGIES: Final = ("dfs", "pct", "random", "portfolio")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far a search goes.

    Raises:
        UsageError: a number makes no sense.

    """

    strategy: str = "dfs"
    #: pre-emptions up to which dfs goes; None: as far as its budget lets it, and to a closed space if it can
    preemptions: int | None = None
    #: orders between steps that a bug needs, for pct
    depth: int = 3
    runs: int = 10_000
    seconds: float | None = None
    seed: int = 0
    #: states that are remembered at most
    states: int = 1_000_000
    #: stop at the first finding
    first: bool = False
    #: look at lock classes too
    classes: bool = False

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise UsageError(f"unknown strategy '{self.strategy[:40]}': known: {', '.join(STRATEGIES)}")
        for name, least in (("preemptions", 0), ("depth", 1), ("runs", 1), ("states", 0)):
            if getattr(self, name) is not None and getattr(self, name) < least:
                raise UsageError(f"--{name} {getattr(self, name)}: it is {least} or more")
