"""Rows of the tables, made of a trace.

A row is a list of values in the order of the table's columns; the values of further columns follow.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis import find, summarize, topology_of
from numaprobe.datasets.tables import TABLES
from numaprobe.records.json_codec import probe_to_json
from numaprobe.topology import Housekeeping, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numaprobe.analysis import Summary
    from numaprobe.records import Finding, ProbeRecord, Trace
    from numaprobe.topology import Topology

    Row = Sequence[Any]

#: Of a machine's block these are what people call it.
_NOT_HARDWARE: Final = ("info", "name")
_PROBE_FIELDS: Final = tuple(name for name in TABLES["probes"] if name != "run")
_JSON_FIELDS: Final = ("memory", "waits")
_HASH_LENGTH: Final = 16


@dataclass(slots=True)
class Rows:
    """Rows by table."""

    runs: list[Row] = field(default_factory=list)
    probes: list[Row] = field(default_factory=list)
    findings: list[Row] = field(default_factory=list)
    machines: list[Row] = field(default_factory=list)

    def of(self, table: str) -> list[Row]:
        """Return the rows of a table."""
        rows: list[Row] = getattr(self, table)
        return rows


def rows_of_trace(
    run: int,
    trace: Trace,
    *,
    topology: Topology | None = None,
    machine: Row | None = None,
    failures: Sequence[str] = (),
    file: str | None = None,
    extra: Sequence[Any] = (),
) -> Rows:
    """Return the rows of one run.

    Args:
        run: its number in the dataset.
        trace: what was recorded.
        topology: the trace's machine, where it is at hand; None: made of the trace's block.
        machine: its row (``machine_row``), where it is at hand.
        failures: what did not pass, one line each; the first is told.
        file: where the trace was.
        extra: values of the dataset's own columns of ``runs``.

    Raises:
        InputError: the trace's machine block is broken.

    """
    topology = topology_of(trace) if topology is None else topology
    if machine is None and topology is not None:
        machine = machine_row(topology)
    found = trace.findings or find(trace, topology)
    summary = summarize(trace, topology)
    row = [run, *_origin(trace, topology, machine, file), *_outcome(trace, summary, failures, len(found)), *extra]
    return Rows(
        runs=[row],
        probes=[probe_row(run, record) for record in trace.probes],
        findings=[finding_row(run, index, one) for index, one in enumerate(found)],
        machines=[] if machine is None else [machine],
    )


def error_row(run: int, error: str, origin: Mapping[str, str | None], extra: Sequence[Any] = ()) -> Row:
    """Return the row of a run that came to nothing.

    Args:
        run: its number in the dataset.
        error: why, in one line.
        origin: columns that are known all the same.
        extra: values of the dataset's own columns.

    """
    known = {"run": run, "passed": False, "error": error, **origin}
    return [*(known.get(name) for name in TABLES["runs"]), *extra]


def _origin(trace: Trace, topology: Topology | None, machine: Row | None, file: str | None) -> list[str | None]:
    who = trace.identity
    return [
        trace.source,
        trace.scenario,
        topology.name if topology is not None else None,
        machine[0] if machine is not None else None,
        trace.kernel,
        trace.policy,
        topology.info.get("cmdline") if topology is not None else None,
        *(
            (who.host, who.machine_id, who.date, who.build, who.command, who.numaprobe, who.label)
            if who is not None
            else (None,) * 7
        ),
        file,
    ]


def _outcome(trace: Trace, summary: Summary, failures: Sequence[str], findings: int) -> list[Any]:
    least, most = summary.makespan_range_ns or (summary.makespan_ns, summary.makespan_ns)
    return [
        not failures,
        failures[0] if failures else None,
        summary.probes,
        summary.deferred,
        summary.failed,
        summary.makespan_ns,
        least,
        most,
        summary.worst_ns,
        summary.worst_device,
        summary.mean_ns,
        summary.local,
        summary.remote,
        summary.unplaced,
        summary.local_share,
        summary.held_share,
        len(summary.cpus),
        summary.running_ns,
        summary.runnable_ns,
        summary.sleeping_ns,
        summary.remote_ns,
        summary.memory_local_share,
        findings,
        len(trace.warnings),
    ]


def probe_row(run: int, record: ProbeRecord) -> Row:
    """Return the row of a probe."""
    values = probe_to_json(record)
    for name in _JSON_FIELDS:
        if values[name] is not None:
            values[name] = json.dumps(values[name])
    return [run, *(values[name] for name in _PROBE_FIELDS)]


def finding_row(run: int, index: int, finding: Finding) -> Row:
    """Return the row of a finding."""
    from numaprobe.records.finding_codec import finding_to_json

    block = finding_to_json(finding)
    return [
        run,
        index,
        block["kind"],
        block["severity"],
        json.dumps(block["devices"]),
        json.dumps(block["evidence"]),
        block["advice"],
    ]


def machine_row(topology: Topology) -> Row:
    """Return the row of a machine: of the hardware alone (CPUs, caches, nodes, distances), however it is set up."""
    model = topology.info.get("model")
    bare = replace(
        topology,
        online=topology.present,
        housekeeping=Housekeeping(),
        devices=(),
        info={} if model is None else {"model": model},
        assumptions=(),
    )
    block = to_json(bare)
    hardware = {name: value for name, value in block.items() if name not in _NOT_HARDWARE}
    digest = hashlib.sha256(json.dumps(hardware, sort_keys=True).encode()).hexdigest()[:_HASH_LENGTH]
    memory = sum(node.memory for node in bare.nodes)
    return [digest, bare.name, len(bare.nodes), len(bare.possible), memory, model, json.dumps(block)]
