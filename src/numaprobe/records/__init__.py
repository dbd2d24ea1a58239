"""Frozen records of what happened, and their codecs: JSON, Parquet, and the printk line of the December 2025 threads.

Each name is loaded when it is first used: everything imports this floor, and few parts read a file.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numaprobe.records.boot import Initcall, Milestone
    from numaprobe.records.files import read_records
    from numaprobe.records.finding_codec import finding_to_json
    from numaprobe.records.json_codec import (
        dump_trace,
        identity_to_json,
        load_trace,
        probe_to_json,
        trace_from_json,
        trace_to_json,
        warning_to_json,
    )
    from numaprobe.records.model import (
        COMPARE_SCHEMA,
        NO_NODE,
        TRACE_SCHEMA,
        Aim,
        Figures,
        Finding,
        Identity,
        ProbeRecord,
        Remedy,
        RunState,
        RunWarning,
        Segment,
        Severity,
        Source,
        Trace,
    )
    from numaprobe.records.parquet import read_parquet, write_parquet
    from numaprobe.records.printk import parse_printk_line, printk_line, printk_lines, read_printk
    from numaprobe.records.schemas import json_schema
    from numaprobe.records.shared import LockWait, Reading, SharedHold
    from numaprobe.records.writing import check_output, make_folder, open_output, write_atomically

_LAZY = {
    "boot": ("Initcall", "Milestone"),
    "model": (
        "COMPARE_SCHEMA",
        "NO_NODE",
        "TRACE_SCHEMA",
        "Aim",
        "Figures",
        "Finding",
        "Identity",
        "ProbeRecord",
        "Remedy",
        "RunState",
        "RunWarning",
        "Segment",
        "Severity",
        "Source",
        "Trace",
    ),
    "shared": ("LockWait", "Reading", "SharedHold"),
    "files": ("read_records",),
    "finding_codec": ("finding_to_json",),
    "json_codec": (
        "dump_trace",
        "identity_to_json",
        "load_trace",
        "probe_to_json",
        "trace_from_json",
        "trace_to_json",
        "warning_to_json",
    ),
    "parquet": ("read_parquet", "write_parquet"),
    "printk": ("parse_printk_line", "printk_line", "printk_lines", "read_printk"),
    "schemas": ("json_schema",),
    "writing": ("check_output", "make_folder", "open_output", "write_atomically"),
}
_MODULE_OF = {name: module for module, names in _LAZY.items() for name in names}

__all__ = [
    "COMPARE_SCHEMA",
    "NO_NODE",
    "TRACE_SCHEMA",
    "Aim",
    "Figures",
    "Finding",
    "Identity",
    "Initcall",
    "LockWait",
    "Milestone",
    "ProbeRecord",
    "Reading",
    "Remedy",
    "RunState",
    "RunWarning",
    "Segment",
    "Severity",
    "SharedHold",
    "Source",
    "Trace",
    "check_output",
    "dump_trace",
    "finding_to_json",
    "identity_to_json",
    "json_schema",
    "load_trace",
    "make_folder",
    "open_output",
    "parse_printk_line",
    "printk_line",
    "printk_lines",
    "probe_to_json",
    "read_parquet",
    "read_printk",
    "read_records",
    "trace_from_json",
    "trace_to_json",
    "warning_to_json",
    "write_atomically",
    "write_parquet",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401  whatever the codec's name stands for
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value
