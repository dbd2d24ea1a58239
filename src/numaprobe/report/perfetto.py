"""Traces as a Perfetto file (``.pftrace``), for ui.perfetto.dev and trace_processor.

Tracks: one per run, below it one per node, below that the CPUs that were used; where probes of a CPU overlap, each
row has a track of its own, because slices of a track must nest. A probe is a slice of category ``probe`` (and
``remote`` if it ran on another node than its device), with the record's fields as debug annotations; its running,
runnable and sleeping stretches are slices inside it. The caller that waited has a slice on its CPU's ``callers``
track, and a flow leads from there to the probe.

Times start at 0 with the first probe of each run, so that runs can be compared by eye. Probes without times are left
out, and counted in what ``write_perfetto`` returns. Written in chunks: memory stays flat. Only ``trace_builder`` of
the ``perfetto`` package is used; its trace processor would download a program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from numaprobe.extras import need
from numaprobe.records import write_atomically
from numaprobe.report.lanes import Bar, Lane, lanes, stretches

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from numaprobe.analysis.compare import ComparedTrace, Comparison
    from numaprobe.records import ProbeRecord

#: Packets are serialized in chunks of this many.
_CHUNK: Final = 8192
#: All packets come from one writer; 0 would mean "not said".
_SEQUENCE: Final = 1


@dataclass(frozen=True, slots=True)
class Written:
    """What went into a file."""

    probes: int
    #: probes left out because the source tells no times
    untimed: int
    #: slices of all kinds: probes, their stretches, waiting callers
    slices: int


def write_perfetto(comparison: Comparison, path: str | os.PathLike[str]) -> Written:
    """Write the runs of a comparison as a Perfetto trace; the file appears whole or not at all.

    Raises:
        MissingInterfaceError: the extra ``perfetto`` is not installed.

    """
    writer = _PacketWriter()
    for entry in comparison.entries:
        writer.run(entry)
    write_atomically(path, writer.finish())
    return Written(writer.probes, writer.untimed, writer.slices)


class _PacketWriter:
    """A trace being written."""

    def __init__(self) -> None:
        need("perfetto", "a Perfetto trace")
        from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TrackEvent
        from perfetto.trace_builder.proto_builder import TraceProtoBuilder

        self._make_builder = TraceProtoBuilder
        self._builder: Any = TraceProtoBuilder()
        self._begin, self._end = TrackEvent.TYPE_SLICE_BEGIN, TrackEvent.TYPE_SLICE_END
        self._parts: list[bytes] = []
        self._pending = 0
        self._tracks = 0
        self._flows = 0
        self.probes = self.untimed = self.slices = 0

    def finish(self) -> bytes:
        self._flush()
        return b"".join(self._parts)

    def run(self, entry: ComparedTrace) -> None:
        """Write a run: its tracks, its probes, its waiting callers."""
        root = self.track(f"{entry.label} ({entry.trace.source})")
        made = lanes(entry.trace)
        flows: dict[int, int] = {}
        nodes: dict[int | None, int] = {}
        for lane in made:
            if lane.node not in nodes:
                name = "node unknown" if lane.node is None else f"node {lane.node}"
                nodes[lane.node] = self.track(name, root, rank=1 << 20 if lane.node is None else lane.node)
            self.lane(lane, nodes[lane.node], flows)
        self.callers(made, root, flows)

    def lane(self, lane: Lane, node: int, flows: dict[int, int]) -> None:
        name = "CPU unknown" if lane.cpu is None else f"CPU {lane.cpu}"
        rank = (1 << 16 if lane.cpu is None else lane.cpu) << 10
        rows: dict[int, int] = {}
        for bar in lane.bars:
            if bar.record.start_ns is None:
                self.untimed += 1
                continue
            if bar.row not in rows:
                rows[bar.row] = self.track(name if bar.row == 0 else f"{name} +{bar.row}", node, rank + bar.row)
            self.probe(bar, rows[bar.row], flows)

    def probe(self, bar: Bar, track: int, flows: dict[int, int]) -> None:
        record = bar.record
        self.probes += 1
        event = self.begin(bar.start_ns, track, f"{record.driver} {record.device}")
        event.categories.extend(("probe", "remote") if record.local is False else ("probe",))
        if _waits(record):
            self._flows += 1
            flows[id(record)] = self._flows
            event.terminating_flow_ids.append(self._flows)
        _annotate(event, record)
        at = bar.start_ns
        for length, state, cpu in stretches(record):
            inner = self.begin(at, track, state.value)
            inner.categories.append(state.value)
            if cpu != record.cpu:
                inner.debug_annotations.add(name="cpu", int_value=cpu)
            at += length
            self.end(at, track)
        self.end(bar.start_ns + record.cost_ns, track)

    def callers(self, made: list[Lane], root: int, flows: dict[int, int]) -> None:
        """Write the waiting callers: per CPU as many tracks as wait at once."""
        bars = sorted((bar for lane in made for bar in lane.bars if id(bar.record) in flows), key=lambda b: b.start_ns)
        if not bars:
            return
        group = self.track("callers", root, rank=1 << 21)
        tracks: dict[tuple[int, int], int] = {}
        busy: dict[int, list[int]] = {}
        for bar in bars:
            cpu = bar.record.caller_cpu or 0
            row = _free_row(busy.setdefault(cpu, []), bar)
            if (cpu, row) not in tracks:
                name = f"CPU {cpu} callers" if row == 0 else f"CPU {cpu} callers +{row}"
                tracks[cpu, row] = self.track(name, group, (cpu << 10) + row)
            self.caller(bar, tracks[cpu, row], flows[id(bar.record)])

    def caller(self, bar: Bar, track: int, flow: int) -> None:
        event = self.begin(bar.start_ns, track, f"{bar.record.caller_comm or 'caller'} waits for {bar.record.device}")
        event.categories.append("caller")
        event.flow_ids.append(flow)
        self.end(bar.start_ns + bar.record.cost_ns, track)

    def track(self, name: str, parent: int | None = None, rank: int = 0) -> int:
        self._tracks += 1
        packet = self.packet()
        packet.track_descriptor.uuid = self._tracks
        packet.track_descriptor.name = name
        packet.track_descriptor.child_ordering = packet.track_descriptor.EXPLICIT
        packet.track_descriptor.sibling_order_rank = rank
        if parent is not None:
            packet.track_descriptor.parent_uuid = parent
        return self._tracks

    def begin(self, time_ns: int, track: int, name: str) -> Any:  # noqa: ANN401  a protobuf message
        self.slices += 1
        packet = self.packet()
        packet.timestamp = time_ns
        event = packet.track_event
        event.type = self._begin
        event.track_uuid = track
        event.name = name
        return event

    def end(self, time_ns: int, track: int) -> None:
        packet = self.packet()
        packet.timestamp = time_ns
        event = packet.track_event
        event.type = self._end
        event.track_uuid = track

    def packet(self) -> Any:  # noqa: ANN401  a protobuf message
        if self._pending >= _CHUNK:
            self._flush()
        self._pending += 1
        packet = self._builder.add_packet()
        packet.trusted_packet_sequence_id = _SEQUENCE
        return packet

    def _flush(self) -> None:
        self._parts.append(self._builder.serialize())
        self._builder = self._make_builder()
        self._pending = 0


def _waits(record: ProbeRecord) -> bool:
    inline = record.caller_cpu == record.cpu and record.caller_comm == record.comm
    return record.caller_cpu is not None and not inline


def _free_row(ends: list[int], bar: Bar) -> int:
    row = next((index for index, end in enumerate(ends) if end <= bar.start_ns), len(ends))
    if row == len(ends):
        ends.append(0)
    ends[row] = bar.start_ns + max(1, bar.record.cost_ns)
    return row


def _annotate(event: Any, record: ProbeRecord) -> None:  # noqa: ANN401  a protobuf message
    add = event.debug_annotations.add
    for name, value in _facts(record):
        if isinstance(value, bool):
            add(name=name, bool_value=value)
        elif isinstance(value, int):
            add(name=name, int_value=value)
        elif value is not None:
            add(name=name, string_value=value)


def _facts(record: ProbeRecord) -> Iterator[tuple[str, str | int | None]]:
    yield "remote", None if record.local is None else not record.local
    for name in ("device_node", "cpu", "cpu_node", "comm", "asynchronous", "result", "function", "path", "attempt"):
        yield name, getattr(record, name)
    for name in ("cost_ns", "running_ns", "runnable_ns", "sleeping_ns", "remote_ns", "caller_cpu", "caller_comm"):
        yield name, getattr(record, name)
