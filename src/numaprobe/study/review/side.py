"""One boot of a cell: what a kernel did with the scenario, as a small value that is kept in a file.

A boot that hangs, panics or does not start is a result like any other, with the line that says so and its console. What
is kept per probe is what can be held against another kernel: which kind of task ran it, what held that task on the
device's node (``analysis.hold``), and how it ended. On which CPU a soft worker happened to run is in the trace; it is
nobody's doing and judges nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis.agreement import worker_kind
from numaprobe.analysis.hold import Holds
from numaprobe.records import make_folder, write_atomically
from numaprobe.topology import from_json

if TYPE_CHECKING:
    from pathlib import Path

    from numaprobe.kernel.lab.guest import GuestResult
    from numaprobe.records import ProbeRecord, Trace

#: Version of the files; another one is booted again.
SCHEMA: Final = "numaprobe.review-side/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOutcome:
    """What became of one probe."""

    device: str
    driver: str
    attempt: int
    result: str | None
    #: ``per-cpu``, ``unbound``, ``caller``; None: not known
    kind: str | None
    #: ``held``, ``soft``, ``anywhere``, ``away``; None: the device has no node, or it is not known
    hold: str | None
    #: it began on its device's node; None: that has none
    local: bool | None
    cost_ns: int

    @property
    def name(self) -> tuple[str, str, int]:
        """What is the same probe on another kernel."""
        return (self.driver, self.device, self.attempt)

    @property
    def place(self) -> str:
        """Where it ran, as far as the kernel decides that: ``per-cpu worker, held on the node``."""
        task = {"per-cpu": "per-CPU worker", "unbound": "unbound worker"}.get(
            self.kind or "", self.kind or "task unknown"
        )
        held = {
            "held": "held on the node",
            "soft": "woken on the node",
            "anywhere": "anywhere",
            "away": "off the node",
        }.get(self.hold or "")
        return f"{task}, {held}" if held else task


@dataclass(frozen=True, slots=True, kw_only=True)
class SideResult:
    """What one boot of one kernel brought."""

    build_id: str
    #: why there is nothing to judge: the guest hung, panicked, did not start; None: it ran
    failure: str | None = None
    #: what went wrong inside a guest that came home: a step, a time-out
    troubles: tuple[str, ...] = ()
    #: first lines of the kernel's complaints, digits masked, and all of their lines
    splats: tuple[tuple[str, tuple[str, ...]], ...] = ()
    probes: tuple[ProbeOutcome, ...] = ()
    #: from the first probe's start to the last one's end, ns; None: not known
    makespan_ns: int | None = None
    #: policies that explain every probe; empty also if none does
    follows: tuple[str, ...] = ()
    #: of the policy that it should follow (or its release's own): probes as predicted, and all
    predicted: str = ""
    as_predicted: int = 0
    judged: int = 0
    #: what differs from that prediction, a line each, and the least that explains it; empty: nothing differs
    differs: tuple[str, ...] = ()
    explained: str = ""

    @property
    def ran(self) -> bool:
        """Whether there is something to judge."""
        return self.failure is None and bool(self.probes)


def outcomes(trace: Trace) -> tuple[ProbeOutcome, ...]:
    """Return what became of each probe of a guest, in a fixed order."""
    holds = Holds(trace, from_json(trace.machine))
    found = [_outcome(probe, holds) for probe in trace.probes]
    return tuple(sorted(found, key=lambda one: one.name))


def _outcome(probe: ProbeRecord, holds: Holds) -> ProbeOutcome:
    hold = holds.of(probe)
    return ProbeOutcome(
        device=probe.device,
        driver=probe.driver,
        attempt=probe.attempt or 1,
        result=probe.result,
        kind=worker_kind(probe.comm),
        hold=None if hold is None else str(hold),
        local=probe.local,
        cost_ns=probe.cost_ns or 0,
    )


def troubles(result: GuestResult) -> tuple[str, ...]:
    """Return what went wrong inside a guest that brought its trace home; complaints of the kernel are apart."""
    return tuple(failure.message for failure in result.failures if failure.kind != "kernel-splat")


# ---- on disk -------------------------------------------------------------------------------------------------------
def save_side(side: SideResult, path: Path) -> None:
    """Write a result; the file appears whole or not at all."""
    make_folder(path.parent)
    write_atomically(path, json.dumps({"schema": SCHEMA, **asdict(side)}, indent=1) + "\n")


def load_side(path: Path, build_id: str) -> SideResult | None:
    """Return a result of this very kernel; None: there is none, or it is another kernel's or version's."""
    try:
        block = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(block, dict) or block.pop("schema", None) != SCHEMA or block.get("build_id") != build_id:
        return None
    try:
        return _side(block)
    except (TypeError, ValueError, KeyError):
        return None


def _side(block: dict[str, Any]) -> SideResult:
    known = {field.name for field in fields(SideResult)}
    block = {name: value for name, value in block.items() if name in known}
    block["probes"] = tuple(ProbeOutcome(**probe) for probe in block["probes"])
    block["splats"] = tuple((head, tuple(lines)) for head, lines in block["splats"])
    for name in ("troubles", "follows", "differs"):
        block[name] = tuple(block.get(name, ()))
    return SideResult(**block)
