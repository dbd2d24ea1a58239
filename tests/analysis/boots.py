"""Made-up boots for the tests of verification: a few probes one after the other, with a noise that is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numaprobe.analysis.verify import VerifiedSide
from numaprobe.records import ProbeRecord, Trace
from numaprobe.topology import symmetric, to_json

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

MACHINE = symmetric("m", nodes=2, llcs=1, cores=4)
OTHER = symmetric("m", nodes=4, llcs=1, cores=4)
MS = 1_000_000


def boot(costs: Sequence[float], **changes: Any) -> Trace:
    """Return a trace of probes that cost so many ms, one after the other on node 1."""
    probes, at = [], 0
    for index, cost in enumerate(costs):
        took = round(cost * MS)
        probes.append(
            ProbeRecord(
                device=f"0000:8{index}:00.0",
                driver="nvme",
                device_node=1,
                cpu=4,
                cpu_node=1,
                comm="kworker/4:1",
                asynchronous=False,
                result="0",
                start_ns=at,
                end_ns=at + took,
                cost_ns=took,
            )
        )
        at += took
    fields: dict[str, Any] = {"source": "kernel", "kernel": "7.2", "machine": to_json(MACHINE)}
    return Trace(probes=tuple(probes), **{**fields, **changes})


def side(label: str, *traces: Trace) -> VerifiedSide:
    """Return a side of these runs."""
    return VerifiedSide(label=label, traces=traces, names=tuple(f"{label}.{n}" for n in range(1, len(traces) + 1)))


def noisy(draw: random.Random, probes: int, *, slower: float = 1.0, noise: float = 0.05) -> Trace:
    """Return a boot of probes of about 10 ms: half of the noise is the boot's, half each probe's own."""
    shared = draw.lognormvariate(0, noise)
    return boot([10 * slower * shared * draw.lognormvariate(0, noise) for _ in range(probes)])
