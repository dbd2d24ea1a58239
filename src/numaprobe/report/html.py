"""One self-contained HTML file of a comparison: lanes, bars, findings; for a browser without a network.

Guarantees:

* No text of a trace can become markup or script. The data is a JSON block in which ``<``, ``>``, ``&`` and the two line
  separators that JavaScript dislikes are written as escapes; the page's script puts it in as text nodes alone; and a
  content security policy allows this one script and style by their hashes, and nothing from anywhere else.
* Times in the file are relative to the first start of their trace, so that ns of any clock are exact in JavaScript's
  numbers (up to 104 days).
* The same comparison gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis.machine import topology_of
from numaprobe.records import RunState, write_atomically
from numaprobe.report.alike import alike, first_start
from numaprobe.report.explain import evidence_text, rank_of, summary_of
from numaprobe.report.lanes import stretches
from numaprobe.report.titles import about, subject, surroundings

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numaprobe.analysis.compare import ComparedTrace, Comparison
    from numaprobe.records import Finding, ProbeRecord, Trace

#: The page's script, in the order in which the parts build on each other.
_SCRIPTS: Final = ("data.js", "layout.js", "chart.js", "input.js", "page.js")
#: Stretches of all traces together; beyond, the page shows shares instead, and says so. About 12 bytes each.
MAX_SEGMENTS: Final = 500_000
#: Waits for locks of one probe that the page lists, the longest.
MAX_WAITS: Final = 8
_STATE_CODE: Final = {RunState.RUNNING: 0, RunState.RUNNABLE: 1, RunState.SLEEPING: 2}


def write_html(comparison: Comparison, path: str | os.PathLike[str], *, title: str | None = None) -> None:
    """Write the page to ``path``; the file appears whole or not at all."""
    write_atomically(path, html_page(comparison, title=title))


def html_page(comparison: Comparison, *, title: str | None = None) -> str:
    """Return the page of a comparison (of one trace, if it has one entry)."""
    heading = title or f"numaprobe: {subject(comparison)}"
    style = _asset("page.css")
    script = '"use strict";\n(() => {\n' + "\n".join(_asset(name) for name in _SCRIPTS) + "\n})();\n"
    parts = {
        "SCRIPT_HASH": _hash(script),
        "STYLE_HASH": _hash(style),
        "TITLE": html.escape(" · ".join([heading, *([] if title else surroundings(comparison))])),
        "STYLE": style,
        "SCRIPT": script,
        "DATA": embed(payload(comparison, heading)),
    }
    page = _asset("page.html")
    pieces = page.split("@@")
    return "".join(piece if index % 2 == 0 else parts[piece] for index, piece in enumerate(pieces))


def _asset(name: str) -> str:
    return files("numaprobe.report").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def embed(value: object) -> str:
    """Return ``value`` as JSON that is safe inside a script element: it cannot end it, nor start a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text.encode("utf-8", "backslashreplace").decode()


class _Strings:
    """Texts by number: a driver's name is in the file once."""

    def __init__(self) -> None:
        self.index: dict[str, int] = {}

    def __call__(self, text: str | None) -> int | None:
        return None if text is None else self.index.setdefault(text, len(self.index))


def payload(comparison: Comparison, title: str) -> dict[str, Any]:
    """Return what the page's script reads (``data.js`` has the other half)."""
    strings = _Strings()
    total = sum(len(record.segments or ()) for entry in comparison.entries for record in entry.trace.probes)
    panels = alike(comparison.entries)
    panel_of = {entry.label: index for index, panel in enumerate(panels) for entry in panel}
    traces = [_panel(panel, strings, with_segments=total <= MAX_SEGMENTS) for panel in panels]
    return {
        "title": title,
        "subtitle": _subtitle(comparison, cut=total > MAX_SEGMENTS),
        "baseline": comparison.baseline,
        "traces": traces,
        "runs": [_run(entry, panel_of[entry.label], strings) for entry in comparison.entries],
        "strings": list(strings.index),
    }


def _subtitle(comparison: Comparison, *, cut: bool) -> str:
    parts = surroundings(comparison)
    if len(comparison.entries) > 1:
        parts.append(f"percentages are of {comparison.baseline}")
    if cut:
        parts.append("timelines left out: too many, bars show shares")
    return " · ".join(parts)


def _run(entry: ComparedTrace, panel: int, strings: _Strings) -> dict[str, Any]:
    """Return a row of the overview: a run's figures and findings, and where it is drawn."""
    return {
        "label": entry.label,
        "panel": panel,
        "summary": entry.summary.to_dict(),
        "difference": entry.difference.to_dict(),
        "findings": [_finding(finding, strings) for finding in entry.trace.findings],
    }


def _panel(entries: Sequence[ComparedTrace], strings: _Strings, *, with_segments: bool) -> dict[str, Any]:
    """Return what is drawn of runs that look the same."""
    trace = entries[0].trace
    first = first_start(trace)
    nodes, places = _places(trace)
    return {
        "labels": [entry.label for entry in entries],
        "about": about(trace),
        "nodes": nodes,
        "places": places,
        "warnings": [f"{warning.kind}: {warning.message}" for warning in trace.warnings],
        "probes": [_probe(record, first, strings, with_segments=with_segments) for record in trace.probes],
    }


def _places(trace: Trace) -> tuple[dict[str, int], dict[str, list[int | None]]]:
    """Return the CPUs of each node, and node and LLC of each CPU that a probe or a caller used."""
    topology = topology_of(trace)
    known = {record.cpu: record.cpu_node for record in trace.probes}
    used = {cpu for record in trace.probes for cpu in (record.cpu, record.caller_cpu) if cpu is not None}
    if topology is None:
        return {}, {str(cpu): [known.get(cpu), None] for cpu in sorted(used)}
    places: dict[str, list[int | None]] = {}
    for cpu in sorted(used):
        inside = cpu in topology.possible
        places[str(cpu)] = [
            topology.node_of(cpu) if inside else known.get(cpu),
            topology.llc_of(cpu) if inside else None,
        ]
    return {str(node.id): len(node.cpus) for node in topology.nodes}, places


def _finding(finding: Finding, strings: _Strings) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "rank": rank_of(finding.kind),
        "summary": summary_of(finding.kind),
        "devices": [strings(device) for device in finding.devices],
        "evidence": evidence_text(finding.evidence),
        "advice": finding.advice,
    }


def _probe(record: ProbeRecord, first: int, strings: _Strings, *, with_segments: bool) -> list[Any]:
    segments = record.segments if with_segments else None
    return [
        strings(record.device),
        strings(record.driver),
        strings(record.bus),
        record.device_node,
        record.cpu,
        record.cpu_node,
        strings(record.comm),
        None if record.start_ns is None else record.start_ns - first,
        record.cost_ns,
        record.running_ns,
        record.runnable_ns,
        record.sleeping_ns,
        record.cpus,
        record.remote_ns,
        record.caller_cpu,
        strings(record.caller_comm),
        strings(record.function),
        None if record.memory is None else {str(node): size for node, size in sorted(record.memory.items())},
        strings(record.result),
        record.asynchronous,
        record.nested,
        record.attempt,
        strings(record.path),
        _waits(record, strings),
        None
        if segments is None
        else [part for ns, state, cpu in stretches(record) for part in (ns, _STATE_CODE[state], cpu)],
    ]


def _waits(record: ProbeRecord, strings: _Strings) -> list[Any] | None:
    """Return how long a probe waited for locks, and for which of whom; None: it was not recorded."""
    if record.waits is None:
        return None
    named = [[strings(one.lock), strings(one.held_by), one.times, one.wait_ns] for one in record.waits[:MAX_WAITS]]
    return [sum(one.wait_ns for one in record.waits), len(record.waits) - len(named), *named]
