"""A cost that nobody divided (a printk line, ``initcall_debug``), and the ways in which it can have been spent.

* As *sleep*: then no policy changes it.
* As *computing*: then probes that shared a CPU waited for each other, and a probe takes only its part by itself.
* As the costs table divides its driver's probes (``costtable.py``), if they were measured: with the share *s* of
  computing and *n* probes on one CPU, the slowest took ``own * (1 - s + n * s)``, and so its own cost is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.scenario.phases import Compute, Sleep, Undivided, UndividedCost

if TYPE_CHECKING:
    from numaprobe.scenario.phases import Phase


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
