"""The two sides of a comparison, and what forbids or limits it.

Figures of two computers are never compared: a machine that is known by its id, or whose nodes, CPUs or caches are
known, must be the same one throughout. What differs in settings (isolation, kernel, command line) may be the very thing
that is verified, and is no obstacle. A recording that lost something still has figures, but nobody knows what they
would be without the loss: it is named, and no verdict is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis.machine import topology_of
from numaprobe.errors import InputError
from numaprobe.records import identity_to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numaprobe.records import Trace
    from numaprobe.topology import Topology

#: Warnings of a trace that lost probes or parts of them: the kernel's buffers, a log that was cut off, a guest's end.
LOSSES: Final = frozenset(
    ("lost-events", "wrapped-buffer", "cut-off", "unfinished", "mixed-clocks", "several-boots", "timed-out")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedSide:
    """Runs of one state, at least one."""

    #: ``before``, or the user's word
    label: str
    traces: tuple[Trace, ...]
    #: where each trace is from
    names: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """Whether it ran in virtual time, where a second run gives the same."""
        return all(trace.source == "virtual" for trace in self.traces)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON, without its probes."""
        runs = [
            {
                "file": name,
                "source": trace.source,
                "kernel": trace.kernel,
                "policy": trace.policy,
                "scenario": trace.scenario,
                "identity": identity_to_json(trace.identity),
            }
            for name, trace in zip(self.names, self.traces, strict=True)
        ]
        return {"label": self.label, "runs": runs}


def common_topology(sides: Iterable[VerifiedSide]) -> Topology | None:
    """Return the machine of all traces; None if none of them tells.

    Raises:
        InputError: they are of different machines, or a machine block is broken.

    """
    first: tuple[str, Topology] | None = None
    ids: dict[str, str] = {}
    for name, trace in _runs(sides):
        identity = trace.identity
        if identity is not None and identity.machine_id is not None:
            ids.setdefault(identity.machine_id, f"{name} ({identity.host or 'host unknown'})")
        if (topology := topology_of(trace)) is None:
            continue
        if first is None:
            first = name, topology
        elif _shape(first[1]) != _shape(topology):
            _refuse(f"{first[0]} ({_short(first[1])})", f"{name} ({_short(topology)})")
    if len(ids) > 1:
        _refuse(*list(ids.values())[:2])
    return None if first is None else first[1]


def losses(sides: Iterable[VerifiedSide]) -> list[str]:
    """Return what the recordings lost, one line for each trace that did."""
    found = []
    for name, trace in _runs(sides):
        if told := [warning.message for warning in trace.warnings if warning.kind in LOSSES]:
            found.append(f"{name}: {told[0]}")
    return found


def limits(sides: Iterable[VerifiedSide]) -> list[str]:
    """Return what else a reader of the comparison must know, one line each."""
    sides = list(sides)
    unknown = [name for name, trace in _runs(sides) if not trace.machine]
    kernels = [{trace.kernel for trace in side.traces if trace.kernel} for side in sides]
    found = [f"the machine of {_some(unknown)} is not told: that it is the same is assumed"] if unknown else []
    return found + [
        f"{side.label} was recorded on several kernels: {', '.join(sorted(names))}"
        for side, names in zip(sides, kernels, strict=True)
        if len(names) > 1
    ]


def _runs(sides: Iterable[VerifiedSide]) -> Iterator[tuple[str, Trace]]:
    for side in sides:
        yield from zip(side.names, side.traces, strict=True)


def _shape(topology: Topology) -> object:
    """Return what makes two machines different ones, and not one machine set up in another way."""
    return topology.possible, [(node.id, node.cpus) for node in topology.nodes], set(topology.llcs)


def _short(topology: Topology) -> str:
    return f"{len(topology.nodes)} nodes, {len(topology.possible)} CPUs, {len(topology.llcs)} LLCs"


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _refuse(one: str, other: str) -> None:
    raise InputError(f"different machines: {one} and {other}; times of two machines say nothing about a change")
