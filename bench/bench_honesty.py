"""Predictions held against what real kernels did: the table of errors that the documents show.

The traces of ``tests/data/kernel`` are of guests whose eight CPUs are emulated on two: the same load, repeated, differs
by a third from one time to the next, and no prediction can be nearer than that. What is predicted is never among what
taught it. Rows:

* *replay*: each trace under its own kernel's policy;
* *learnt*: a parallel trace, from one serial and one parallel trace, and from all others of its kind;
* *one serial trace*: the range alone, as there is no single figure that such a trace could stand for;
* *pairs*: how long probes take at once, beside one after the other (where ``COMPANY`` comes from).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, NamedTuple

from numaprobe.analysis.hold import bound_worker_cpu, unbound_pool
from numaprobe.kernel.readers import read_trace
from numaprobe.study import make_setting, run
from numaprobe.topology import DeviceInfo, load_topology

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numaprobe.records import ProbeRecord, Trace

DATA = Path(__file__).parents[1] / "tests" / "data" / "kernel"
#: hot-added in the guests, so not in machine.txt
HOT_ADDED = tuple(DeviceInfo(name=f"0000:{bus}:00.0", bus="pci", node=1) for bus in ("86", "87"))
SINGLE = "one serial trace"
GUESTS = ("two-nodes", "two-nodes-isolated")


class Kind(NamedTuple):
    """Serial traces, and the parallel ones of the same probes."""

    name: str
    serial: tuple[str, ...]
    parallel: tuple[str, ...]
    #: a setting makes one of the other: what is replayed is a serial trace; else it is a parallel one
    by_setting: bool


KINDS = (
    Kind("nvme, loaded", ("sync", "sync3", "syncf"), ("async", "asyncparam"), by_setting=True),
    Kind("nvme, bound", ("bind",), ("pbind",), by_setting=False),
    Kind("virtio_blk, loaded", ("vblk",), ("vblkasync",), by_setting=True),
)


class Prediction(NamedTuple):
    """A makespan that was predicted, its range, and the one that was measured, in ns."""

    expected: int
    low: int
    high: int
    truth: int

    @property
    def error(self) -> float:
        """Share of what was measured."""
        return self.expected / self.truth - 1

    @property
    def covered(self) -> bool:
        """Whether the range holds what was measured."""
        return self.low <= self.truth <= self.high


def makespan(trace: Trace) -> int:
    return max(r.end_ns or 0 for r in trace.probes) - min(r.start_ns or 0 for r in trace.probes)


@cache
def traces(kernel: str, guest: str, names: tuple[str, ...]) -> list[Trace]:
    """Return the whole traces of a guest whose scenario is one of these."""
    folder = DATA / kernel / guest
    topology = load_topology(str(folder))
    topology = replace(topology, devices=(*topology.devices, *HOT_ADDED))
    paths = [path for name in names for path in sorted(folder.glob(f"{name}.*.trace.gz"))]
    found = [read_trace(path, topology=topology) for path in paths]
    return [trace for trace in found if not any(warning.kind == "unfinished" for warning in trace.warnings)]


def predict(trace: Trace, others: Sequence[Trace], kind: Kind) -> tuple[int, int, int]:
    overrides = ["drivers[0].probe_type=async"] if kind.by_setting else None
    found = run(make_setting(trace, overrides=overrides, learn=others)).trace
    low, high = found.makespan_range_ns or (makespan(found), makespan(found))
    return makespan(found), low, high


# ---- each trace itself -----------------------------------------------------------------------------------------------
def place(record: ProbeRecord) -> tuple[object, ...]:
    """What the guests determine of where a probe ran (docs/replay.md)."""
    worker = unbound_pool(record.comm), bound_worker_cpu(record.comm)
    cpu = None if worker[0] is not None else record.cpu
    return record.device, worker, cpu, record.result, record.path, record.asynchronous, record.nested


def replays(kernel: str) -> Iterator[tuple[float, int, int]]:
    folders = {(path.parent.name, path.name.partition(".")[0]) for path in (DATA / kernel).glob("*/*.trace.gz")}
    for guest, name in sorted(folders):
        for trace in traces(kernel, guest, (name,)):
            again = run(make_setting(trace)).trace
            same = sum(
                a == b
                for a, b in zip(
                    sorted(map(str, map(place, trace.probes))), sorted(map(str, map(place, again.probes))), strict=False
                )
            )
            yield makespan(again) / makespan(trace) - 1, same, len(trace.probes)


# ---- from other traces -----------------------------------------------------------------------------------------------
def from_pairs(kernel: str, kind: Kind) -> Iterator[Prediction]:
    for guest in GUESTS:
        serial, parallel = (traces(kernel, guest, names) for names in (kind.serial, kind.parallel))
        for one, other in product(serial, parallel):
            found = predict(*((one, [other]) if kind.by_setting else (other, [one])), kind)
            yield from (Prediction(*found, makespan(target)) for target in parallel if target is not other)


def from_all(kernel: str, kind: Kind) -> Iterator[Prediction]:
    for guest in GUESTS:
        serial, parallel = (traces(kernel, guest, names) for names in (kind.serial, kind.parallel))
        for target in parallel:
            rest = [trace for trace in parallel if trace is not target]
            first, *taught = [*serial, *rest] if kind.by_setting else [*rest, *serial]
            yield Prediction(*predict(first, taught, kind), makespan(target))


def from_one(kernel: str, kind: Kind) -> Iterator[Prediction]:
    for guest in GUESTS:
        for one in traces(kernel, guest, kind.serial):
            found = predict(one, [], kind)
            yield from (Prediction(*found, makespan(target)) for target in traces(kernel, guest, kind.parallel))


def ratios(kernel: str, kind: Kind) -> Iterator[float]:
    for guest in GUESTS:
        for one, other in product(traces(kernel, guest, kind.serial), traces(kernel, guest, kind.parallel)):
            if len(one.probes) == len(other.probes):
                yield makespan(other) / sum(r.cost_ns - (r.runnable_ns or 0) for r in one.probes)


# ---- the table -------------------------------------------------------------------------------------------------------
def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def row(name: str, kind: str, found: Sequence[Prediction]) -> str:
    errors = [abs(one.error) for one in found]
    middle = "" if name == SINGLE else f"{median(errors):7.1%}{percentile(errors, 0.9):8.1%}"
    low, high = (median(getattr(one, end) / one.truth - 1 for one in found) for end in ("low", "high"))
    covered = fmean(one.covered for one in found)
    return f"{name:34}{kind:20}{len(found):5}{middle:>15}{covered:9.0%}{low:+9.0%}{high:+7.0%}"


def main() -> None:
    """Print the tables."""
    print(f"{'replay under its own policy':34}{'':20}{'n':>5}{'median':>7}{'9 in 10':>8}{'placed':>9}")
    for kernel in ("debian-7.2", "debian-6.1"):
        found = list(replays(kernel))
        errors = [abs(error) for error, _, _ in found]
        placed = sum(same for _, same, _ in found) / sum(probes for _, _, probes in found)
        print(f"{kernel:54}{len(found):5}{median(errors):7.1%}{percentile(errors, 0.9):8.1%}{placed:9.0%}", flush=True)
    roads = {"one serial, one parallel trace": from_pairs, "all other traces": from_all, SINGLE: from_one}
    for kernel in ("debian-7.2", "debian-6.1"):
        print(
            f"\n{kernel + ': a parallel trace, from':54}{'n':>5}{'median':>7}{'9 in 10':>8}{'covered':>9}   from    to"
        )
        for name, predictions in roads.items():
            together: list[Prediction] = []
            for kind in KINDS:
                if name != SINGLE or kind.by_setting:
                    found_here = list(predictions(kernel, kind))
                    together += found_here
                    print(row(name, kind.name, found_here), flush=True)
            print(row(name, "all", together), flush=True)
    print("\nprobes at once, beside one after the other")
    everything: list[float] = []
    for kernel, kind in product(("debian-7.2", "debian-6.1"), KINDS):
        values = list(ratios(kernel, kind))
        everything += (
            values if (kernel, kind.name) not in {("debian-6.1", KINDS[0].name), ("debian-6.1", KINDS[1].name)} else []
        )
        ends = f"median {median(values):.2f}, 19 in 20 {percentile(values, 0.95):.2f}"
        print(f"{kernel} {kind.name:22}{len(values):4} pairs: {ends}")
    print(f"all but nvme on 6.1, whose probes take 1 to 6 ms: 19 in 20 {percentile(everything, 0.95):.2f}")


if __name__ == "__main__":
    main()
