"""A fleet whose truth is known: a thousand hosts with 200 probes each, ten of them unlike the others.

Three classes of machines are run once by the virtual machine for each kernel, 200 devices each: that says where a probe
runs, in which task, and what it costs. Between hosts every cost is multiplied by what real kernels scattered by: each
probe of ``tests/data/kernel`` over the median of its repetitions, drawn again for every probe, beside a factor of the
host (5 %). The hosts of the fourth class are *recorded*: loads of those guests, drawn and set one after the other until
there are 200 probes, with nothing changed but the clock.

Planted, on hosts that a seed draws: a driver three times as slow (3 hosts), half of the probes on another node (3),
devices without a node (2), devices that fail (2). On a recorded host the driver is seven times as slow: these differ so
much from each other that three times is within what they do by themselves, as ``fleet outliers`` says. Besides there
is what is no anomaly of a host: one firmware with a driver that is 40 % slower, probes that are deferred at random, and
from the second day on hosts with a newer kernel, on which one driver is a quarter faster.
"""

from __future__ import annotations

import random
import tomllib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from numaprobe.records import Identity, ProbeRecord, Trace, dump_trace
from numaprobe.scenario import Scenario, parse_scenario
from numaprobe.study import make_setting, read_trace, run
from numaprobe.topology import load_topology, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).parents[2] / "tests/data/kernel"
GUESTS = ("debian-6.1/two-nodes", "debian-7.2/two-nodes")
PROBES = 200
#: kind of sign that must be found -> hosts
PLANTED = {"slow-driver": 3, "off-node": 3, "no-node": 2, "fails": 2}
#: how many times as slow a driver is made, and on a recorded host
SLOW, SLOW_RECORDED = 3, 7
SLOW_FIRMWARE, SLOW_DRIVER, SLOWER = "2.5.6 10/06/2026", "mlx5_core", 1.4
OLD, NEW, NEWER_DRIVER, NEWER = "6.1.0-56-amd64", "6.12.12-amd64", "megaraid_sas", 0.75
#: from the second day on, of the hosts
UPGRADED = 0.4

#: product -> machine, devices of each driver on each of two nodes
CLASSES = {
    "ACME Storage 9": ("epyc-9a64", {"nvme": 24, "mlx5_core": 2, "megaraid_sas": 2, "pcieport": 66, "ahci": 6}),
    "ACME Compute 4": ("xeon-2s", {"nvme": 8, "mlx5_core": 8, "megaraid_sas": 4, "pcieport": 72, "ahci": 8}),
    "Umbrella Edge": ("2 nodes x 2 llc x 8 cores", {"nvme": 30, "mlx5_core": 10, "megaraid_sas": 8, "pcieport": 52}),
}
RECORDED = "QEMU guests"
PHASES = {
    "nvme": '[{allocate="4MiB"},{sleep="12ms"},{compute="9ms"},{sleep="12ms"}]',
    "mlx5_core": '[{allocate="16MiB"},{sleep="60ms"},{compute="15ms"}]',
    "megaraid_sas": '[{sleep="80ms"},{compute="6ms"}]',
    "pcieport": '[{compute="150us"}]',
    "ahci": '[{sleep="4ms"},{compute="2ms"}]',
}


#: What a deferred probe's retry has otherwise.
_RETRIED: dict[str, Any] = {"attempt": 2, "path": "device_attach", "asynchronous": False, "comm": "kworker/u512:7"}
_RETRIED |= {"caller_comm": None, "caller_cpu": None, "cpus_allowed": None, "pod": None}


@dataclass(frozen=True, slots=True)
class Made:
    """What was planted: host -> kind of sign."""

    planted: dict[str, str]
    hosts: int


def scenario_of(product: str) -> Scenario:
    machine, drivers = CLASSES[product]
    lines = [f'machine = "{machine}"', 'kernel = "6.1"']
    for name in drivers:
        lines += ["[[drivers]]", f'name = "{name}"', 'bus = "pci"', f"phases = {PHASES[name]}"]
        lines += ['probe_type = "async"'] if name == "nvme" else []
    for node in (0, 1):
        for number, (name, count) in enumerate(drivers.items()):
            device = f"{16 * node + number:04x}:{{i:02x}}:00.0"
            lines += [
                "[[devices]]",
                f'name = "{device}"',
                f"count = {count}",
                f"node = {node}",
                f'compatible = "{name}"',
            ]
            lines += ['bus = "pci"']
    return parse_scenario(tomllib.loads("\n".join(lines)), product)


@lru_cache
def base(product: str, kernel: str) -> Trace:
    return run(make_setting(scenario_of(product), kernel=kernel[:4].rstrip("."))).trace


@lru_cache
def recordings() -> tuple[tuple[str, dict[str, Any], tuple[Trace, ...]], ...]:
    """Each guest's kernel, its machine, and its recorded loads."""
    found = []
    for guest in GUESTS:
        topology = load_topology(str(DATA / guest))
        files = sorted((DATA / guest).glob("*.trace.gz"))
        traces = tuple(read_trace(file, machine=topology, named=False) for file in files)
        found.append((traces[0].kernel or "", to_json(topology), tuple(one for one in traces if one.probes)))
    return tuple(found)


@lru_cache
def scatter() -> tuple[float, ...]:
    """By what factor each recorded probe is off the median of its repetitions."""
    costs: dict[tuple[str, str, str], list[int]] = {}
    for guest in GUESTS:
        for file in sorted((DATA / guest).glob("*.trace.gz")):
            for one in read_trace(file, machine=str(DATA / guest)).probes:
                costs.setdefault((guest, file.name.partition(".")[0], one.device), []).append(one.cost_ns)
    return tuple(cost / median(same) for same in costs.values() if len(same) > 2 for cost in same)


def make_fleet(
    folder: Path, *, hosts: int = 1000, day: int = 1, seed: int = 13, plant: dict[str, int] | None = None
) -> Made:
    """Write the traces of one day, a file for each host; return what is planted.

    Args:
        folder: where.
        hosts: how many, a quarter of each class.
        day: of November 2026.
        seed: of everything that is drawn; the planted hosts are the same on every day.
        plant: how many of each kind; None: ``PLANTED``.

    """
    folder.mkdir(parents=True, exist_ok=True)
    plant = PLANTED if plant is None else plant
    names = [f"host-{number:04d}.example.org" for number in range(hosts)]
    kinds = [kind for kind, count in plant.items() for _ in range(count)]
    planted = dict(zip(random.Random(seed).sample(names, len(kinds)), kinds, strict=True))
    for number, name in enumerate(names):
        trace = _host(number, name, day, random.Random(f"{seed} {name} {day}"), seed)
        if name in planted:
            trace = _spoilt(trace, planted[name])
        (folder / f"{name}.json").write_text(dump_trace(trace), encoding="utf-8")
    return Made(planted, hosts)


def _host(number: int, name: str, day: int, draw: random.Random, seed: int) -> Trace:
    products = (*CLASSES, RECORDED)
    product = products[number % len(products)]
    fixed = random.Random(f"{seed} {name}")  # what is the host's on every day
    firmware = fixed.choice((SLOW_FIRMWARE, "2.7.1 01/15/2026", "2.8.0 03/02/2026"))
    upgraded = fixed.random() < UPGRADED and day > 1
    if product == RECORDED:
        kernel, machine, loads = recordings()[fixed.randrange(len(GUESTS))]
        trace = Trace(source="kernel", probes=tuple(_in_a_row(loads, draw)), kernel=kernel, machine=machine)
    else:
        kernel = NEW if upgraded else OLD
        trace = replace(base(product, kernel), source="kernel", kernel=kernel, policy=None, scenario=None)
        factors = {SLOW_DRIVER: SLOWER} if firmware == SLOW_FIRMWARE and product == "ACME Storage 9" else {}
        factors |= {NEWER_DRIVER: NEWER} if upgraded else {}
        trace = replace(trace, probes=tuple(_scattered(trace.probes, factors, fixed.gauss(1, 0.05), draw)))
    info = {**trace.machine["info"], "product": product, "firmware": firmware, "kernel": kernel}
    identity = Identity(
        host=name,
        machine_id=f"{fixed.getrandbits(128):032x}",
        date=f"2026-11-{day:02d}T0{draw.randrange(10)}:{draw.randrange(60):02d}:00Z",
        numaprobe="0.1.0",
    )
    return replace(trace, identity=identity, findings=(), warnings=(), machine={**trace.machine, "info": info})


def _scattered(
    probes: tuple[ProbeRecord, ...], factors: dict[str, float], host: float, draw: random.Random
) -> Iterator[ProbeRecord]:
    drawn = scatter()
    for one in probes:
        slept = draw.random() < 0.01
        factor = host * draw.choice(drawn) * factors.get(one.driver, 1.0)
        if slept:  # the first attempt found that something was missing, and was over before the second one began
            first = replace(_costing(one, 0.01), result="EPROBE_DEFER")
            start = max((one.start_ns or 0) - 2 * first.cost_ns, 0)
            yield replace(first, start_ns=start, end_ns=start + first.cost_ns)
        again = _costing(one, factor)
        yield replace(again, **_RETRIED) if slept else again


def _costing(one: ProbeRecord, factor: float) -> ProbeRecord:
    parts = [round((part or 0) * factor) for part in (one.running_ns, one.runnable_ns, one.sleeping_ns)]
    return replace(
        one,
        cost_ns=sum(parts),
        end_ns=(one.start_ns or 0) + sum(parts),
        running_ns=parts[0],
        runnable_ns=parts[1],
        sleeping_ns=parts[2],
        remote_ns=None if one.remote_ns is None else min(one.remote_ns, parts[0]),
        segments=None,
    )


def _in_a_row(loads: tuple[Trace, ...], draw: random.Random) -> Iterator[ProbeRecord]:
    count, now = 0, 5_000_000_000
    while count < PROBES:
        load = draw.choice(loads)
        first = min(one.start_ns or 0 for one in load.probes)
        for one in load.probes:
            start = now + (one.start_ns or 0) - first
            yield replace(one, start_ns=start, end_ns=start + one.cost_ns, segments=None, waits=None)
        now += 1_000_000_000 + max((one.end_ns or 0) - first for one in load.probes)
        count += len(load.probes)


def _spoilt(trace: Trace, kind: str) -> Trace:
    """Return the trace with an anomaly in the driver that most hosts have."""
    product = trace.machine["info"]["product"]
    probes = []
    for number, one in enumerate(trace.probes):
        spoilt = one
        if one.driver == "nvme" and kind == "slow-driver":
            cost = one.cost_ns * (SLOW if product != RECORDED else SLOW_RECORDED)
            spoilt = replace(one, cost_ns=cost, end_ns=(one.start_ns or 0) + cost)
            spoilt = replace(spoilt, running_ns=None, runnable_ns=None, sleeping_ns=None, remote_ns=None)
        elif one.driver == "nvme" and kind == "off-node" and number % 2 and one.device_node is not None:
            node = 1 - one.device_node if one.device_node in (0, 1) else 0
            cpu = {0: 0, 1: max(one.cpu or 0, 1)}[node]
            spoilt = replace(
                one, cpu_node=node, cpu=cpu, cpus=(cpu,), comm="kworker/u16:1", cpus_allowed=None, pod=None
            )
        elif one.driver == "nvme" and kind == "no-node":
            spoilt = replace(one, device_node=-1, remote_ns=None)
        elif one.driver == "nvme" and kind == "fails" and one.device.endswith(("1:00.0", "2:00.0")):
            spoilt = replace(one, result="ETIMEDOUT")
        probes.append(spoilt)
    return replace(trace, probes=tuple(probes))
