"""Every policy on every built-in scenario, in as many orders as ``BENCH_RUNS`` (150) schedules allow.

A cell says what was covered and what was found: ``all`` = every order was seen; ``<=1`` = every order with one
pre-emption at most; ``<0`` = not even every order without one; then findings (``F``) and, where more than one, outcomes
(``O``). Scenarios of more than three devices have two in their first group, where that can be. ``BENCH_KERNELS``
chooses profiles (6.1 and 7.3).
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from numaprobe.errors import InputError
from numaprobe.policies import POLICIES
from numaprobe.scenario import builtin_names
from numaprobe.schedules import Explored, Limits
from numaprobe.study import make_setting, run
from numaprobe.study.orders import explore_setting

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.scenario import Setting

RUNS = int(os.environ.get("BENCH_RUNS", "150"))
KERNELS = os.environ.get("BENCH_KERNELS", "6.1,7.3").split(",")
FEW = 3


def cell(result: Explored) -> str:
    covered = "all" if result.exhaustive else "<0" if result.preemptions is None else f"<={result.preemptions}"
    found = f" {len(result.findings)}F" if result.findings else ""
    return covered + found + (f" {len(result.outcomes)}O" if len(result.outcomes) > 1 else "")


def smaller(scenario: str, kernel: str) -> Callable[..., Setting]:
    """Return what makes the scenario's settings, with two devices in its first group if it has many and still runs."""
    make = partial(make_setting, scenario, kernel=kernel)
    if len(make().plan.devices) > FEW:
        with suppress(InputError):
            few = partial(make, devices=2)
            run(few())
            return few
    return make


def main() -> None:
    names = list(POLICIES)
    for kernel in KERNELS:
        print(f"kernel {kernel}: {' '.join(names)}")
        for scenario in builtin_names():
            if scenario == "host":
                continue
            try:
                make = smaller(scenario, kernel)
                cells = [cell(explore_setting(make(policy=name), Limits(runs=RUNS))) for name in names]
            except InputError as error:
                print(f"{scenario:22} not explored: {error.what}")
                continue
            print(f"{scenario:22} {' | '.join(cells)}", flush=True)
