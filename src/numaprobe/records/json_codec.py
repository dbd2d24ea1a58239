"""JSON of a trace: the stable form that ``run``, ``report``, ``record``, ``bind`` and ``lab`` print.

Version ``numaprobe.trace/1``: published as a JSON Schema beside this file (``schemas/trace-1.json``). What a source
cannot tell is ``null``. Fields that are not known here are passed over, so that an addition does not break an older
reader; another version of the schema is refused. Object keys are texts in JSON: ``memory`` is ``{"0": 4096}``.
A segment is ``[start_ns, end_ns, state, cpu]``. ``makespan_range_ns`` and ``worst_range_ns`` follow from ``readings``:
they are written, and not read.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NoReturn

from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError
from numaprobe.records import checks
from numaprobe.records.boot import Initcall, Milestone
from numaprobe.records.finding_codec import finding_from_json, finding_to_json
from numaprobe.records.model import TRACE_SCHEMA, Identity, ProbeRecord, RunState, RunWarning, Segment, Trace
from numaprobe.records.plain import plain
from numaprobe.records.shared_codec import (
    hold_from_json,
    hold_to_json,
    reading_from_json,
    reading_to_json,
    wait_from_json,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLAIN_FIELDS: Final = tuple(name for name in ProbeRecord.__dataclass_fields__ if name not in ("segments", "waits"))
_IDENTITY_FIELDS: Final = tuple(Identity.__dataclass_fields__)
_STATES: Final = {str(state): state for state in RunState}


# ---- writing ----------------------------------------------------------------------------------------------------
def probe_to_json(record: ProbeRecord) -> dict[str, Any]:
    """Return a record as a JSON object, every field in it."""
    values = {name: plain(getattr(record, name)) for name in _PLAIN_FIELDS}
    segments = record.segments
    values["segments"] = None if segments is None else [[s.start_ns, s.end_ns, str(s.state), s.cpu] for s in segments]
    values["waits"] = None if record.waits is None else [plain(wait._asdict()) for wait in record.waits]
    return values


def warning_to_json(warning: RunWarning) -> dict[str, Any]:
    """Return a warning as a JSON object."""
    told = {"kind": warning.kind, "message": plain(warning.message), "time_ns": warning.time_ns}
    return told | ({"devices": plain(warning.devices)} if warning.devices else {})


def identity_to_json(identity: Identity | None) -> dict[str, Any] | None:
    """Return who made a trace as a JSON object, every field in it; None if it does not tell."""
    return None if identity is None else {name: plain(getattr(identity, name)) for name in _IDENTITY_FIELDS}


def trace_to_json(trace: Trace) -> dict[str, Any]:
    """Return a trace as a JSON object, ready for ``json.dump``."""
    return {
        **header_to_json(trace),
        "probes": [probe_to_json(record) for record in trace.probes],
        "findings": [finding_to_json(finding) for finding in trace.findings],
        "warnings": [warning_to_json(warning) for warning in trace.warnings],
        **doubt_to_json(trace),
        **boot_to_json(trace),
    }


def boot_to_json(trace: Trace) -> dict[str, Any]:
    """Return what a trace says of a boot; of anything else nothing."""
    if not trace.initcalls and not trace.milestones:
        return {}
    return {
        "initcalls": [plain(one._asdict()) for one in trace.initcalls],
        "milestones": [plain(one._asdict()) for one in trace.milestones],
    }


def doubt_to_json(trace: Trace) -> dict[str, Any]:
    """Return what a trace says of what its probes share, and of what that leaves in doubt."""
    return {
        "shared": [plain(hold_to_json(hold)) for hold in trace.shared],
        "readings": [plain(reading_to_json(reading)) for reading in trace.readings],
        "makespan_range_ns": plain(trace.makespan_range_ns),
        "worst_range_ns": plain(trace.worst_range_ns),
    }


def header_to_json(trace: Trace) -> dict[str, Any]:
    """Return what a trace says besides its records, findings and warnings."""
    return {
        "schema": trace.schema,
        "source": trace.source,
        "kernel": plain(trace.kernel),
        "policy": plain(trace.policy),
        "scenario": plain(trace.scenario),
        "identity": identity_to_json(trace.identity),
        "machine": plain(trace.machine),
    }


def dump_trace(trace: Trace, *, indent: int | None = None) -> str:
    """Return a trace as JSON text, without a newline at its end."""
    return json.dumps(trace_to_json(trace), indent=indent, allow_nan=False)


# ---- reading ----------------------------------------------------------------------------------------------------
def _memory(value: object, path: str) -> dict[int, int]:
    sizes = {}
    for key, size in checks.mapping(value, path).items():
        digits = key.removeprefix("-")
        if not digits.isdecimal() or not digits.isascii() or len(key) > 9:  # noqa: PLR2004  a node has few digits
            raise InputError(f"'{key[:40]}' is not the number of a node", path)
        sizes[checks.node(int(key), path)] = checks.count(size, f"{path}.{key}")
    return sizes


def _cpu_list(value: object, path: str) -> str:
    text = checks.text(value, path)
    try:
        return str(CpuSet.parse_list(text))
    except InputError as error:
        raise InputError(f"must be a list of CPUs such as '0-3,8': {error.what}", path) from None


def _segment(value: object, path: str) -> Segment:
    parts = checks.listing(value, path)
    if len(parts) != len(Segment._fields):
        raise InputError("must be [start_ns, end_ns, state, cpu]", path)
    start, end = checks.time(parts[0], f"{path}[0]"), checks.time(parts[1], f"{path}[1]")
    state = checks.text(parts[2], f"{path}[2]")
    if end < start:
        raise InputError(f"ends at {end} before it starts at {start}", path)
    if state not in _STATES:
        raise InputError(f"must be one of {', '.join(_STATES)}, and is '{state[:40]}'", f"{path}[2]")
    return Segment(start, end, _STATES[state], checks.cpu(parts[3], f"{path}[3]"))


_INITCALL_REQUIRED: Final[Mapping[str, checks.Check]] = {
    "function": checks.text,
    **dict.fromkeys(("start_ns", "end_ns"), checks.time),
}
_INITCALL_KNOWN: Final[Mapping[str, checks.Check]] = {"module": checks.text, "devices": checks.each(checks.text)}


def _initcall(value: object, path: str) -> Initcall:
    found = checks.fields(value, path, _INITCALL_REQUIRED, _INITCALL_KNOWN)
    if found["end_ns"] < found["start_ns"]:
        raise InputError(f"ends at {found['end_ns']} before it starts at {found['start_ns']}", path)
    return Initcall(**{"module": None, **found})


def _milestone(value: object, path: str) -> Milestone:
    return Milestone(**checks.fields(value, path, {"name": checks.text, "time_ns": checks.time}, {}))


_PROBE_REQUIRED: Final[Mapping[str, checks.Check]] = {
    "device": checks.text,
    "driver": checks.text,
    "cost_ns": checks.time,
}
_PROBE_KNOWN: Final[Mapping[str, checks.Check]] = {
    **dict.fromkeys(("bus", "comm", "result", "caller_comm", "function", "path"), checks.text),
    **dict.fromkeys(("device_node", "cpu_node"), checks.node),
    **dict.fromkeys(("cpu", "caller_cpu"), checks.cpu),
    **dict.fromkeys(("start_ns", "end_ns", "running_ns", "runnable_ns", "sleeping_ns", "remote_ns"), checks.time),
    **dict.fromkeys(("asynchronous", "nested"), checks.flag),
    "cpus": checks.each(checks.cpu),
    **dict.fromkeys(("cpus_allowed", "pod"), _cpu_list),
    "memory": _memory,
    "attempt": checks.positive,
    "segments": checks.each(_segment),
    "lock_wait_ns": checks.time,
    "waits": checks.each(wait_from_json),
}
_WARNING_REQUIRED: Final[Mapping[str, checks.Check]] = {"kind": checks.text, "message": checks.text}
_WARNING_KNOWN: Final[Mapping[str, checks.Check]] = {"time_ns": checks.time, "devices": checks.each(checks.text)}
_HEADER_REQUIRED: Final[Mapping[str, checks.Check]] = {
    "source": checks.choice("virtual", "host", "kernel"),
}
_IDENTITY_KNOWN: Final[Mapping[str, checks.Check]] = dict.fromkeys(_IDENTITY_FIELDS, checks.text)


def identity_from_json(value: object, path: str = "identity") -> Identity:
    """Return who made a trace, as a JSON object says it.

    Raises:
        InputError: a field is wrong.

    """
    return Identity(**checks.fields(value, path, {}, _IDENTITY_KNOWN))


_HEADER_KNOWN: Final[Mapping[str, checks.Check]] = {
    **dict.fromkeys(("kernel", "policy", "scenario"), checks.text),
    "identity": identity_from_json,
    "machine": lambda value, path: checks.free(checks.mapping(value, path), path),
}


def probe_from_json(value: object, path: str = "probe") -> ProbeRecord:
    """Return the record that a JSON object holds.

    Raises:
        InputError: a field is missing or wrong; ``where`` is its path.

    """
    record = ProbeRecord(**checks.fields(value, path, _PROBE_REQUIRED, _PROBE_KNOWN))
    if record.start_ns is not None and record.end_ns is not None and record.end_ns < record.start_ns:
        raise InputError(f"ends at {record.end_ns} before it starts at {record.start_ns}", path)
    return record


def warning_from_json(value: object, path: str = "warning") -> RunWarning:
    """Return the warning that a JSON object holds.

    Raises:
        InputError: a field is missing or wrong.

    """
    return RunWarning(**checks.fields(value, path, _WARNING_REQUIRED, _WARNING_KNOWN))


_LISTS: Final[Mapping[str, checks.Check]] = {
    "probes": checks.each(probe_from_json),
    "findings": checks.each(finding_from_json),
    "warnings": checks.each(warning_from_json),
    "shared": checks.each(hold_from_json),
    "readings": checks.each(reading_from_json),
    "initcalls": checks.each(_initcall),
    "milestones": checks.each(_milestone),
}


def check_schema(value: object, expected: str) -> dict[str, Any]:
    """Return the object if it says that it is of this version of this schema.

    Raises:
        InputError: it is no object, or of another schema, or says none.

    """
    document = checks.mapping(value, "top")
    schema = document.get("schema")
    if schema is None:
        raise InputError(f"'schema' is missing; this reader knows {expected}", "top")
    if schema != expected:
        raise InputError(f"schema is '{str(schema)[:60]}', and this reader knows {expected}", "schema")
    return document


def trace_from_json(value: object) -> Trace:
    """Return the trace that a JSON object holds.

    Raises:
        InputError: not of this schema, or a field is missing or wrong; ``where`` is its path.

    """
    document = check_schema(value, TRACE_SCHEMA)
    found = checks.fields(document, "", {**_HEADER_REQUIRED, "probes": _LISTS["probes"]}, _HEADER_KNOWN)
    found |= checks.fields(document, "", {}, {name: _LISTS[name] for name in _LISTS if name != "probes"})
    return Trace(**found)


def load_trace(text: str | bytes, where: str = "JSON") -> Trace:
    """Return the trace that a JSON text holds.

    Raises:
        InputError: no JSON, or not of this schema; ``where`` is the file and the path inside it.

    """
    try:
        return trace_from_json(parse_json(text))
    except InputError as error:
        raise InputError(error.what, f"{where}: {error.where}" if error.where else where) from None


def parse_json(text: str | bytes) -> Any:  # noqa: ANN401  any JSON value
    """Return the value of a JSON text; NaN and Infinity are no JSON.

    Raises:
        InputError: no JSON, or nested too deep.

    """
    try:
        return json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise InputError(f"is no JSON: {error.msg}", f"line {error.lineno} column {error.colno}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"is no JSON: byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise InputError("is no JSON that can be read: nested too deep") from None
    except ValueError as error:
        raise InputError(f"is no JSON that can be read: {str(error)[:80]}") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
