"""A cost that nobody divided (a printk line, ``initcall_debug``), and the ways in which it can have been spent.

* As *sleep*: then no policy changes it.
* As *computing*: then probes that shared a CPU waited for each other, and a probe takes only its part by itself.
* As the costs table divides its driver's probes (``costs.toml``), if they were measured: with the share *s* of
  computing and *n* probes on one CPU, the slowest took ``own * (1 - s + n * s)``, and so its own cost is known.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from numaprobe.scenario.phases import Compute, Sleep, Undivided, UndividedCost
from numaprobe.units import parse_time

if TYPE_CHECKING:
    from numaprobe.scenario.phases import Phase


@cache
def _measured() -> dict[str, float]:
    text = (files("numaprobe.scenario") / "costs.toml").read_text(encoding="utf-8")
    drivers: dict[str, Any] = tomllib.loads(text)["drivers"]
    return {name: _share(entry["phases"]) for name, entry in drivers.items() if entry["kind"] == "measured"}


def _share(phases: list[dict[str, str]]) -> float:
    compute, sleep = (sum(parse_time(one[kind]) for one in phases if kind in one) for kind in ("compute", "sleep"))
    return compute / max(1, compute + sleep)


def known_share(driver: str) -> float | None:
    """Return which share of a driver's probe is computing, as the costs table says; None: nobody measured it."""
    return _measured().get(driver)


def undivided_cost(ns: int, share: float | None, contenders: int) -> Phase:
    """Return a cost as a phase: divided as known, else as sleep; at the ends all sleep, and all computing.

    Args:
        ns: the cost, waiting for a CPU included.
        share: which share of the probe's own cost is computing; None: not known.
        contenders: how many probes shared the CPU, itself included.

    """
    asleep = (Sleep.of(sleep=ns),)
    computing = (Compute.of(compute=ns // contenders),)
    if share is None:
        return UndividedCost(undivided=Undivided(expected=asleep, least=computing))
    own = ns / (1 - share + contenders * share)
    half = round(own * (1 - share) / 2)
    divided = (Sleep.of(sleep=half), Compute.of(compute=round(own * share)), Sleep.of(sleep=half))
    return UndividedCost(undivided=Undivided(expected=divided, least=computing, most=asleep))
