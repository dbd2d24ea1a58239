"""Every policy on every built-in scenario and kernel, in as many orders as ``BENCH_RUNS`` (100) schedules allow.

Scenarios have two devices in their first group if they have more than three, and two CPUs a node, where they still run
so. What is known of a cell is kept in ``BENCH_CELLS`` (``explored-cells.jsonl``), a line each: the command can be ended
and goes on, and with more ``BENCH_RUNS`` does again what was not closed. ``BENCH_KERNELS`` chooses profiles (all).

The table is Markdown, a row for each scenario, a column for each policy: ``all`` = every order was seen, ``<=1`` =
every order with one pre-emption at most, ``<0`` = not even every order without one: the least of all kernels that were
explored; then findings (``F``) and, where more than one, outcomes (``O``), the most of them.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numaprobe.errors import InputError
from numaprobe.policies import POLICIES
from numaprobe.runtime import PROFILES
from numaprobe.scenario import builtin_names
from numaprobe.schedules import Explored, Limits
from numaprobe.study import make_setting, run
from numaprobe.study.orders import explore_setting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numaprobe.scenario import Setting

    Cell = dict[str, Any]

RUNS = int(os.environ.get("BENCH_RUNS", "100"))
KERNELS = os.environ.get("BENCH_KERNELS", ",".join(PROFILES)).split(",")
CELLS = Path(os.environ.get("BENCH_CELLS", "explored-cells.jsonl"))
FEW = 3


def smaller(scenario: str, kernel: str) -> Callable[..., Setting]:
    """Return what makes the scenario's settings, with few devices and two CPUs a node where it still runs so."""
    make = partial(make_setting, scenario, kernel=kernel)
    setting = make()
    nodes = setting.plan.topology.nodes
    tries: list[dict[str, Any]] = (
        [{"machine": f"{len(nodes)} nodes x 2 cores"}] if all(one.cpus for one in nodes) else []
    )
    if len(setting.plan.devices) > FEW:
        tries = [{**one, "devices": 2} for one in [*tries, {}]] + tries
    for one in tries:
        with suppress(InputError):
            if run(make(**one)).passed:
                return partial(make, **one)
    return make


def explored(make: Callable[..., Setting], policy: str) -> Cell:
    start = time.process_time()
    setting = make(policy=policy)
    result: Explored = explore_setting(setting, Limits(runs=RUNS))
    return {
        "all": result.exhaustive,
        "preemptions": -1 if result.preemptions is None else result.preemptions,
        "runs": result.runs,
        "findings": [f"{one.ending.verdict}: {one.ending.text} ({one.schedule})" for one in result.findings],
        "outcomes": len(result.outcomes),
        "devices": len(setting.plan.devices),
        "cpus": len(setting.plan.topology.online),
        "seconds": round(time.process_time() - start, 2),
    }


def known() -> dict[tuple[str, str, str], Cell]:
    """Return the cells that are done: closed, or explored in as many schedules."""
    found = {}
    if CELLS.exists():
        for line in CELLS.read_text(encoding="utf-8").splitlines():
            cell = json.loads(line)
            if "refused" in cell or cell["all"] or cell["runs"] >= RUNS:
                found[cell["kernel"], cell["scenario"], cell["policy"]] = cell
    return found


def fill(cells: dict[tuple[str, str, str], Cell]) -> None:
    """Explore what is not known."""
    for kernel in KERNELS:
        for scenario in builtin_names():
            missing = [name for name in POLICIES if (kernel, scenario, name) not in cells]
            if scenario == "host" or not missing:
                continue
            make = smaller(scenario, kernel)
            for policy in missing:
                try:
                    cell = explored(make, policy)
                except InputError as error:
                    cell = {"refused": error.what}
                cells[kernel, scenario, policy] = cell
                with CELLS.open("a", encoding="utf-8") as stream:
                    line = {"kernel": kernel, "scenario": scenario, "policy": policy, **cell}
                    stream.write(json.dumps(line) + "\n")


def text_of(cells: Sequence[Cell]) -> str:
    """Return the least that was covered of these, and the most that was found."""
    cells = [cell for cell in cells if "refused" not in cell]
    if not cells:
        return ""
    least = min(100 if cell["all"] else cell["preemptions"] for cell in cells)
    covered = "all" if least == 100 else "<0" if least < 0 else f"<={least}"
    findings, outcomes = (max(cell) for cell in zip(*((len(c["findings"]), c["outcomes"]) for c in cells), strict=True))
    return covered + (f" {findings}F" if findings else "") + (f" {outcomes}O" if outcomes > 1 else "")


def main() -> None:
    cells = known()
    fill(cells)
    done = {key: cell for key, cell in cells.items() if key[0] in KERNELS}
    print(f"| scenario | kernels | {' | '.join(POLICIES)} |\n|---|---|{'---|' * len(POLICIES)}")
    refused = {}
    for scenario in builtin_names():
        mine = [(key, cell) for key, cell in done.items() if key[1] == scenario]
        refused |= {key[1]: cell["refused"] for key, cell in mine if "refused" in cell}
        if mine and scenario not in refused:
            columns = (text_of([cell for key, cell in mine if key[2] == policy]) for policy in POLICIES)
            print(f"| `{scenario}` | {len({key[0] for key, _ in mine})} | {' | '.join(columns)} |")
    print()
    for scenario, why in refused.items():
        print(f"not explored: {scenario}: {why}")
    for (kernel, scenario, policy), cell in done.items():
        for one in cell.get("findings", ()):
            print(f"{scenario} under {policy} on {kernel}: {one}")
    explored_cells = [cell for cell in done.values() if "refused" not in cell]
    counts = sum(cell["runs"] for cell in explored_cells), sum(cell["seconds"] for cell in explored_cells)
    closed = sum(cell["all"] for cell in explored_cells)
    print(f"{len(explored_cells)} cells, {closed} of them closed; {counts[0]} schedules, {counts[1]:.0f} s of CPU time")
