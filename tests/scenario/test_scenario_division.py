"""Costs that nobody divided: ranges, and what the same driver measured elsewhere makes of the measured tables."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from numaprobe.records import ProbeRecord, Trace
from numaprobe.scenario import prepare, replay_scenario, run_setting
from numaprobe.topology import load_topology

TABLES = Path(__file__).parents[1] / "data" / "measured-tables.csv"
AFTER = ("skip-in-worker", "queue-on-node")


def rows(kernel: str) -> list[dict[str, str]]:
    with TABLES.open(newline="") as file:
        return [row for row in csv.DictReader(x for x in file if not x.startswith("#")) if row["kernel"] == kernel]


def before(driver: str) -> Trace:
    """The lines that the kernel printed before the patches: cost, CPU and task, nothing else."""
    probes = tuple(
        ProbeRecord(device=r["device"], driver=driver, cpu=int(r["cpu"]), comm=r["comm"], cost_ns=int(r["cost_ns"]))
        for r in rows("work-on-cpu")
    )
    return Trace(source="kernel", kernel="6.19", probes=probes)


@pytest.mark.parametrize("policy", AFTER)
def test_the_table_before_predicts_the_one_after_with_the_driver_known(policy: str) -> None:
    made = replay_scenario(before("nvme"), load_topology("epyc-9a64"))
    assert [warning.kind for warning in made.warnings if warning.kind == "implied-node"]
    trace = run_setting(prepare(made), policy).trace
    costs = [int(row["cost_ns"]) for row in rows(policy)]
    assert max(record.cost_ns for record in trace.probes) == pytest.approx(max(costs), rel=0.05)
    low, high = trace.worst_range_ns or (0, 0)
    assert all(low <= cost <= high for cost in costs)


@pytest.mark.parametrize("policy", AFTER)
def test_without_knowledge_the_range_holds_it_and_says_why_it_is_wide(policy: str) -> None:
    made = replay_scenario(before("unheard-of"), load_topology("epyc-9a64"))
    trace = run_setting(prepare(made), policy).trace
    low, high = trace.worst_range_ns or (0, 0)
    assert all(low <= int(row["cost_ns"]) <= high for row in rows(policy))
    assert any("not how much of it needed a CPU" in warning.message for warning in made.warnings)
