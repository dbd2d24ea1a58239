"""Frozen records of what happened, and their codecs."""

from numaprobe.records.model import (
    COMPARE_SCHEMA,
    NO_NODE,
    TRACE_SCHEMA,
    Finding,
    ProbeRecord,
    RunState,
    RunWarning,
    Segment,
    Source,
    Trace,
)

__all__ = [
    "COMPARE_SCHEMA",
    "NO_NODE",
    "TRACE_SCHEMA",
    "Finding",
    "ProbeRecord",
    "RunState",
    "RunWarning",
    "Segment",
    "Source",
    "Trace",
]
