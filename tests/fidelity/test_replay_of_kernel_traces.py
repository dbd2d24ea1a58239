"""Replays of real kernels' traces under the kernels' own policies: placement exactly, costs within stated bounds.

Each trace of ``tests/data/kernel`` becomes a scenario and runs on the virtual machine. What the guests determine has to
come out again, probe by probe: the worker's kind and pool, its CPU where the pool is per-CPU and its node otherwise,
the caller, the path, the result. Costs are compared where the guests' two host CPUs do not decide them: see
``docs/replay.md`` for all errors.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import pytest

from numaprobe.kernel.readers import read_trace
from numaprobe.scenario import prepare, replay_scenario, run_setting
from numaprobe.topology import DeviceInfo, load_topology

if TYPE_CHECKING:
    from numaprobe.records import ProbeRecord, Trace

DATA = Path(__file__).parents[1] / "data" / "kernel"
TRACES = sorted(path.relative_to(DATA) for path in DATA.glob("debian-*/*/*.trace.gz"))
OWN = {"debian-6.1": ("6.1", "work-on-cpu"), "debian-7.2": ("7.2", "probe-workqueue")}
#: hot-added in the guests, so not in machine.txt
HOT_ADDED = tuple(DeviceInfo(name=f"0000:{bus}:00.0", bus="pci", node=1) for bus in ("86", "87"))
#: one probe after the other, whoever called
SERIAL = {"sync", "sync3", "syncf", "bind", "dprobe", "hotadd", "vblk", "vnest", "vnestb"}
#: of these the machine-wide pool serves the probe: it may run on either node
ANY_NODE = ("debian-7.2/two-nodes-isolated", "kworker/u32")


def replayed(path: Path) -> tuple[Trace, Trace]:
    topology = load_topology(str(DATA / path.parent))
    topology = replace(topology, devices=(*topology.devices, *HOT_ADDED))
    recorded = read_trace(DATA / path, topology=topology)
    profile, policy = OWN[path.parts[0]]
    setting = prepare(replay_scenario(recorded, topology))
    assert (setting.profile.name, setting.profile.pci_policy) == (profile, policy)
    outcome = run_setting(setting, policy)
    assert outcome.passed
    return recorded, outcome.trace


def pool(comm: str | None) -> str:
    assert comm is not None
    return comm.partition(":")[0] if comm.startswith("kworker/") else comm


def placement(record: ProbeRecord, where: str) -> tuple[object, ...]:
    worker = pool(record.comm)
    node = "any" if where == ANY_NODE[0] and worker == ANY_NODE[1] else record.cpu_node
    cpu = "any" if worker.startswith("kworker/u") else record.cpu
    how = (record.path, record.asynchronous, record.nested, record.function)
    return record.device, record.driver, worker, cpu, node, pool(record.caller_comm), record.result, *how


@pytest.mark.parametrize("path", TRACES, ids=str)
def test_every_probe_runs_again_where_the_kernel_ran_it(path: Path) -> None:
    recorded, again = replayed(path)
    where = path.parent.as_posix()
    assert sorted(placement(r, where) for r in again.probes) == sorted(placement(r, where) for r in recorded.probes)
    sync = {r.device: r.caller_cpu for r in recorded.probes if not r.asynchronous and not scenario_moves(path)}
    assert {r.device: r.caller_cpu for r in again.probes if r.device in sync} == sync


def scenario_moves(path: Path) -> bool:
    """Tell whether the caller was free to move from CPU to CPU: not pinned, or a task of the kernel."""
    return scenario(path) in {"syncf", "rescan", "hotadd"}


def scenario(path: Path) -> str:
    return path.name.partition(".")[0]


@pytest.mark.parametrize("path", [path for path in TRACES if scenario(path) in SERIAL], ids=str)
def test_a_serial_probe_costs_what_it_ran_and_slept(path: Path) -> None:
    recorded, again = replayed(path)
    costs = {record.device: record.cost_ns for record in again.probes}
    for record in recorded.probes:
        assert record.runnable_ns is not None
        assert costs[record.device] == pytest.approx(record.cost_ns - record.runnable_ns, rel=0.01)


def test_serial_probes_of_the_7_2_guests_are_within_two_percent() -> None:
    for path in TRACES:
        if path.parts[0] == "debian-7.2" and scenario(path) in SERIAL:
            recorded, again = replayed(path)
            assert worst(again) == pytest.approx(worst(recorded), rel=0.02), path


def test_probes_that_shared_a_cpu_are_within_fifteen_percent() -> None:
    """Where the trace holds all of them; one of a probe alone cannot say what it waited for."""
    shared = 0
    for path in TRACES:
        if path.parts[0] == "debian-7.2" and scenario(path) in {"async", "asyncparam", "pbind", "rescan"}:
            recorded, again = replayed(path)
            if not any(warning.kind == "unfinished" for warning in recorded.warnings):
                shared += 1
                assert worst(again) == pytest.approx(worst(recorded), rel=0.15), path
                assert makespan(again) == pytest.approx(makespan(recorded), rel=0.15), path
    assert shared >= 12


def test_a_synchronous_load_predicts_an_asynchronous_one() -> None:
    """Costs of probes that ran alone, replayed at once: what the guests then did, within a quarter (medians)."""
    for guest in ("two-nodes", "two-nodes-isolated"):
        predicted, measured = [], []
        for path in TRACES:
            if path.parts[:2] == ("debian-7.2", guest) and scenario(path) in {"sync", "sync3", "syncf", "async"}:
                recorded = read_trace(DATA / path, topology=load_topology(str(DATA / path.parent)))
                if scenario(path) == "async":
                    measured.append(worst(recorded))
                else:
                    made = replay_scenario(recorded, overrides=["drivers[0].probe_type=async"])
                    predicted.append(worst(run_setting(prepare(made), "probe-workqueue").trace))
        assert median(predicted) == pytest.approx(median(measured), rel=0.25)


def worst(trace: Trace) -> int:
    return max(record.cost_ns for record in trace.probes)


def makespan(trace: Trace) -> int:
    return max(r.end_ns or 0 for r in trace.probes) - min(r.start_ns or 0 for r in trace.probes)
