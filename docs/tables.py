"""The tables of the documents, each made by runs on the virtual machine."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache
from itertools import permutations
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis.hold import Hold, Holds
from numaprobe.analysis.machine import topology_of
from numaprobe.analysis.verify.places import compare_places
from numaprobe.bringup.reasons import CODES, FINAL
from numaprobe.kernel.readers import read_trace
from numaprobe.policies import POLICIES
from numaprobe.reading.budget import BUDGETS
from numaprobe.runtime.facts import FACTS, OLDEST
from numaprobe.runtime.parallel import safeties
from numaprobe.scenario import (
    Scenario,
    load_scenario,
    parse_scenario,
    prepare,
    replay_scenario,
    run_scenario,
    run_setting,
)
from numaprobe.topology import DeviceInfo, load_topology

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numaprobe.records import ProbeRecord, Trace

    Table = tuple[Sequence[str], Iterable[Sequence[str]]]


def budgets() -> Table:
    """What each reader may cost."""
    mib = 2**20
    rows = [
        [
            b.what,
            f"{b.size // mib} MiB" if b.size >= mib else f"{b.size // 2**10} KiB",
            "a stream" if b.weight is None else f"{b.weight // mib} MiB",
            f"{b.memory // mib} MiB",
            f"{b.seconds} s",
            b.reason,
        ]
        for b in BUDGETS.values()
    ]
    return ["form", "largest file, unpacked", "weight", "memory", "CPU time", "why this size"], rows


def reasons() -> Table:
    """Why a device is refused, and what overrides that."""
    rows = [
        [f"`{code}`", text, "nothing" if code in FINAL else f"`--allow DEVICE={code}`"] for code, text in CODES.items()
    ]
    return ["reason", "the device is refused because", "what overrides it"], rows


def parallel_drivers() -> Table:
    """Which drivers' devices may be taken together."""
    rows = [[f"`{one.driver}`", one.bind, one.unbind, "; ".join(one.evidence)] for one in safeties().values()]
    return ["driver", "binding", "unbinding", "how it is known"], rows


MEASURED_TABLES: Final = Path(__file__).parents[1] / "tests" / "data" / "measured-tables.csv"
KERNELS: Final = ("6.1", "6.12", "6.19", "7.3")
NVME_PHASES: Final = [{"sleep": "12.5ms"}, {"compute": "9.3ms"}, {"sleep": "12.5ms"}]


@cache
def run(scenario: Scenario | str, policy: str, kernel: str | None = None) -> Trace:
    """Run a built-in scenario by name, or one that was made here."""
    chosen = load_scenario(scenario) if isinstance(scenario, str) else scenario
    return run_scenario(chosen, policy, kernel=kernel)


def ms(ns: float) -> str:
    """Write nanoseconds as milliseconds."""
    return f"{ns / 1e6:.1f} ms"


def percent(value: float) -> str:
    """Write a share or a change."""
    return f"{100 * value:+.1f} %"


def worst(probes: Iterable[ProbeRecord]) -> int:
    """Return the largest cost."""
    return max(record.cost_ns for record in probes)


def makespan(probes: Sequence[ProbeRecord]) -> int:
    """Return the time from the first start to the last end."""
    return max(r.end_ns or 0 for r in probes) - min(r.start_ns or 0 for r in probes)


def remote_share(probes: Sequence[ProbeRecord]) -> float:
    """Return which share of the running time was on another node than the device's."""
    return sum(r.remote_ns or 0 for r in probes) / sum(r.running_ns or 0 for r in probes)


# ---- the measured tables -------------------------------------------------------------------------------------------
def measured() -> Table:
    """Measured against modelled."""
    with MEASURED_TABLES.open(newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    cases = (("dec27", "work-on-cpu"), ("dec27", "skip-in-worker"), ("dec30", "queue-on-node"))
    lines = []
    for table, policy in cases:
        measured = [int(row["cost_ns"]) for row in rows if (row["table"], row["kernel"]) == (table, policy)]
        modelled = [record.cost_ns for record in run("nvme-epyc", policy).probes]
        for what, figure in (("worst", max), ("mean", mean)):
            ours, theirs = figure(modelled), figure(measured)
            lines.append((f"{policy} ({table})", what, ms(theirs), ms(ours), percent(ours / theirs - 1)))
    return ("policy (table)", "figure", "measured", "virtual machine", "error"), lines


def growth() -> Table:
    """Worst cost from 1 to 64 devices of one node."""
    scenario = load_scenario("nvme-epyc")
    lines = []
    for count in (1, 2, 3, 4, 8, 16, 32, 64):
        group = scenario.devices[0].model_copy(update={"count": count})
        more = scenario.model_copy(update={"devices": (group,)})
        before, after = (run_scenario(more, policy).probes for policy in ("work-on-cpu", "probe-on-node"))
        gain = worst(after) / worst(before) - 1
        lines.append(
            (str(count), ms(worst(before)), ms(worst(after)), percent(gain), ms(makespan(before)), ms(makespan(after)))
        )
    header = (
        "devices",
        "worst, work-on-cpu",
        "worst, probe-on-node",
        "change",
        "makespan, work-on-cpu",
        "… probe-on-node",
    )
    return header, lines


# ---- the reviewers' questions --------------------------------------------------------------------------------------
def _sync_case(*, caller: int, busy: str, pinned: bool = True) -> Scenario:
    """Return eight sync drives of node 0, loaded by a caller on a CPU, beside ``busy`` CPUs."""
    steps: list[dict[str, Any]] = [{"add": "*"}]
    if busy:
        steps.append({"busy": {"cpus": busy}})
    data = {
        "machine": "2 nodes x 2 llcs x 4 cores",
        "kernel": "7.3",
        "caller": {"cpu": caller, "pinned": pinned},
        "drivers": [{"name": "ahci", "bus": "pci", "probe_type": "sync", "phases": NVME_PHASES}],
        "devices": [
            {"name": "0000:{i:02x}:00.0", "count": 8, "first": 1, "bus": "pci", "node": 0, "compatible": "ahci"}
        ],
        "steps": [*steps, {"load": "ahci"}],
    }
    return parse_scenario(data, "docs")


SITUATIONS: Final = {
    "caller on the node, idle": _sync_case(caller=5, busy=""),
    "caller elsewhere, idle": _sync_case(caller=12, busy=""),
    "caller on the node, node busy": _sync_case(caller=5, busy="0-7", pinned=False),
    "caller elsewhere, node busy": _sync_case(caller=12, busy="0-7"),
    "caller elsewhere, all busy": _sync_case(caller=12, busy="0-15"),
}


def questions() -> Table:
    """Already on the node, pinning, strict: eight sync probes, one after the other."""
    policies = ("inline", "probe-on-node", "probe-on-node+skip-if-on-node", "probe-on-node+pin", "strict-node")
    lines = []
    for situation, scenario in SITUATIONS.items():
        for policy in policies:
            probes = run(scenario, policy).probes
            local = sum(bool(record.local) for record in probes)
            waited = sum(record.runnable_ns or 0 for record in probes)
            share = f"{100 * remote_share(probes):.0f} %"
            lines.append((situation, policy, f"{local} of {len(probes)}", share, ms(waited), ms(makespan(probes))))
    return ("situation", "policy", "started on the node", "ran off the node", "waited for a CPU", "makespan"), lines


def strict() -> Table:
    """What a strict queue costs and brings when the node is busy and its neighbour is not (scenario ``busy``)."""
    lines = []
    for policy in ("work-on-cpu", "probe-on-node", "probe-on-node+pin", "strict-node", "spread"):
        probes = run("busy", policy, "7.3").probes
        gone = sum(bool(record.remote_ns) for record in probes)
        lines.append(
            (
                policy,
                f"{gone} of {len(probes)}",
                f"{100 * remote_share(probes):.0f} %",
                ms(worst(probes)),
                ms(makespan(probes)),
            )
        )
    return ("policy", "probes that left the node", "ran off the node", "worst", "makespan"), lines


def sync_is_serial() -> Table:
    """Sync probing is serial under every policy: the most probes that run at once."""
    lines = []
    for policy in POLICIES:
        probes = run(SITUATIONS["caller elsewhere, idle"], policy).probes
        at_once = max(sum((o.start_ns or 0) <= (r.start_ns or 0) < (o.end_ns or 0) for o in probes) for r in probes)
        local = sum(bool(record.local) for record in probes)
        lines.append((policy, str(at_once), f"{local} of {len(probes)}", ms(makespan(probes))))
    return ("policy", "probes at once", "on the node", "makespan"), lines


def caches() -> Table:
    """64 drives of one node: how many of its eight LLCs they start in."""
    scenario = load_scenario("nvme-epyc")
    group = scenario.devices[0].model_copy(update={"count": 64})
    more = scenario.model_copy(update={"devices": (group,)})
    lines = []
    for policy in ("work-on-cpu", "probe-on-node", "strict-node", "spread"):
        trace = run_scenario(more, policy)
        llcs = {(record.cpu or 0) % 128 // 8 for record in trace.probes}
        cpus = {record.cpu for record in trace.probes}
        lines.append((policy, str(len(llcs)), str(len(cpus)), ms(worst(trace.probes)), ms(makespan(trace.probes))))
    return ("policy", "LLCs", "CPUs", "worst", "makespan"), lines


# ---- replays of kernels' traces --------------------------------------------------------------------------------------
GUESTS: Final = Path(__file__).parents[1] / "tests" / "data" / "kernel"
#: hot-added in the guests, so not in machine.txt
HOT_ADDED: Final = tuple(DeviceInfo(name=f"0000:{bus}:00.0", bus="pci", node=1) for bus in ("86", "87"))
#: what the scenarios of the guests have in common -> how they call it
GROUPS: Final = {
    "load, synchronous": ("sync", "sync3", "syncf", "vblk", "vnest"),
    "bind, drivers_probe, hot-add, one by one": ("bind", "dprobe", "hotadd", "vnestb"),
    "at once, on one CPU": ("async", "asyncparam", "pbind"),
    "rescan (6.1: one by one, 7.2: at once)": ("rescan",),
    "at once, on several CPUs": ("vblkasync",),
}


@cache
def _replayed(folder: Path, scenario: str) -> list[tuple[Trace, Trace]]:
    """Return each trace of a guest's scenario with its replay under the kernel's own policy."""
    topology = load_topology(str(folder))
    topology = replace(topology, devices=(*topology.devices, *HOT_ADDED))
    pairs = []
    for path in sorted(folder.glob(f"{scenario}.*.trace.gz")):
        recorded = read_trace(path, topology=topology)
        if not any(warning.kind == "unfinished" for warning in recorded.warnings):
            setting = prepare(replay_scenario(recorded, topology))
            pairs.append((recorded, run_setting(setting, setting.profile.pci_policy).trace))
    return pairs


def replay() -> Table:
    """Errors of replays of real kernels' traces, by group: the median, and the largest."""
    lines = []
    for folder in sorted(GUESTS.glob("debian-*/*/")):
        for group, scenarios in GROUPS.items():
            pairs = [pair for scenario in scenarios for pair in _replayed(folder, scenario)]
            probes = sum(len(recorded.probes) for recorded, _ in pairs)
            if not pairs:
                continue
            cells = []
            for figure in (worst, makespan):
                errors = [figure(again.probes) / figure(recorded.probes) - 1 for recorded, again in pairs]
                cells += [percent(median(errors)), percent(max(errors, key=abs))]
            lines.append((f"{folder.parent.name} {folder.name}", group, str(len(pairs)), str(probes), *cells))
    header = (
        "guest",
        "probes came by",
        "traces",
        "probes",
        "worst: median error",
        "largest",
        "makespan: median",
        "largest",
    )
    return header, lines


def predictions() -> Table:
    """Each repetition's replay held against the others, which it does not know; and these against each other."""
    lines = []
    for folder in sorted(GUESTS.glob("debian-*/*/")):
        for group, scenarios in GROUPS.items():
            cases = [case for scenario in scenarios for case in permutations(_replayed(folder, scenario), 2)]
            cases = [case for case in cases if _probed(case[0][0]) == _probed(case[1][0])]
            if not cases:
                continue
            places = [compare_places([p], [other], topology_of(p), predicted=True) for (_, p), (other, _) in cases]
            probes = sum(one.probes for one in places)
            agree = probes - sum(len(one.differing) for one in places)
            errors = [makespan(p.probes) / makespan(other.probes) - 1 for (_, p), (other, _) in cases]
            runs = [makespan(run.probes) / makespan(other.probes) - 1 for (run, _), (other, _) in cases]
            cells = [cell for values in (errors, runs) for cell in _spread(values)]
            guest = f"{folder.parent.name} {folder.name}"
            lines.append((guest, group, str(len(cases)), f"{agree} of {probes}", *cells))
    header = ("guest", "probes came by", "predictions", "ran as predicted")
    figures = ("makespan off by: median", "nine in ten", "another run off by: median", "nine in ten")
    return (*header, *figures), lines


def _probed(trace: Trace) -> set[tuple[str, str]]:
    return {(record.driver, record.device) for record in trace.probes}


def _spread(errors: Sequence[float]) -> tuple[str, str]:
    """Return the median of the distances, and below what nine in ten are."""
    off = sorted(map(abs, errors))
    return f"{100 * median(off):.0f} %", f"{100 * off[round(0.9 * (len(off) - 1))]:.0f} %"


# ---- where probes run ----------------------------------------------------------------------------------------------
def _where(trace: Trace) -> str:
    """Say in a few words where a trace's probes started, and whether they left."""
    workers = sorted({(record.comm or "?").partition(":")[0] for record in trace.probes})
    nodes = sorted({record.cpu_node for record in trace.probes if record.cpu_node is not None})
    on = "node " + "+".join(map(str, nodes))
    cpus = {record.cpu for record in trace.probes}
    if len(cpus) == 1:
        on = f"CPU {cpus.pop()}"
    away = sum(bool(record.remote_ns) for record in trace.probes)
    flag = f", {away} of {len(trace.probes)} off their node" if away else ""
    holds = Holds(trace, topology_of(trace)).count()
    if holds:
        flag += f" ({', '.join(hold for hold in Hold if holds[hold])})"
    return f"{' '.join(workers)} on {on}{flag}"


def _matrix(scenario: str) -> Table:
    lines = []
    for policy in POLICIES:
        cells = [_where(run(scenario, policy, kernel)) for kernel in KERNELS]
        lines.append((policy, *cells))
    return ("policy", *KERNELS), lines


MATRIX: Final = (
    "isolated-at-run-time",
    "nohz-full",
    "small-shards",
    "node-without-cpus",
    "no-node",
    "busy",
    "parallel-binds",
    "nested",
)


def _listed(value: object) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)


def facts() -> Table:
    """All facts of kernel releases."""
    header = ["fact", "since", "value", "source", "how the date is known", "seen in guests of"]
    return header, [
        [
            f"`{fact.field}`",
            "before" if fact.since == OLDEST else str(fact.since),
            f"`{_listed(fact.value)}`",
            fact.source,
            fact.dated,
            ", ".join(fact.seen) or "-",
        ]
        for fact in FACTS
    ]


#: name in a page -> what makes it
TABLES: Final[dict[str, Callable[[], Table]]] = {
    "reader-budgets": budgets,
    "reasons": reasons,
    "parallel-drivers": parallel_drivers,
    "measured": measured,
    "growth": growth,
    "questions": questions,
    "strict": strict,
    "sync-is-serial": sync_is_serial,
    "caches": caches,
    "facts": facts,
    "replay": replay,
    "predictions": predictions,
    **{name: (lambda name=name: _matrix(name)) for name in MATRIX},  # type: ignore[misc]
}
