"""Findings and warnings as text: what was found, in which devices, the evidence in figures, and what to do."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from numaprobe.listing import first_few
from numaprobe.records import Severity
from numaprobe.report.grid import print_line, print_text, printable
from numaprobe.units import format_size, format_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console

    from numaprobe.analysis.compare import Comparison
    from numaprobe.records import Finding, RunWarning

#: Devices, and findings of one kind, that are spelled out.
SHOWN_DEVICES: Final = 4
#: Items of a list (workers, drivers, CPUs) that are spelled out.
SHOWN_ITEMS: Final = 4
#: A value of the evidence is cut here: a CPU list of a large machine has hundreds of characters.
LONGEST_VALUE: Final = 60
#: Waiting probes that are spelled out, with those that ran meanwhile.
SHOWN_WAITS: Final = 3
SHOWN_FINDINGS: Final = 9
SHOWN_WARNINGS: Final = 9
#: Warnings that stand above the figures: without them those would be read wrongly.
URGENT: Final = frozenset({"cmdline", "check", "deadlock", "lost-events"})
#: Warnings that say what was assumed, besides those that say so themselves (``assumed-…``): they come last.
_ASSUMPTIONS: Final = frozenset({"emulated-cost", "kernel-profile", "unknown-node"})


def print_findings(findings: Sequence[Finding], console: Console) -> None:
    """Print each finding with its devices, evidence and advice."""
    if not findings:
        console.print("\nNothing found.", style="dim")
    for kind, group in _by_kind(("", finding) for finding in findings).items():
        _print_kind(kind, group, console)


def print_comparison_findings(comparison: Comparison, console: Console) -> None:
    """Print the findings of all rows by kind; what is true of several is said once, with their names."""
    pairs = [(entry.label, finding) for entry in comparison.entries for finding in entry.trace.findings]
    if not pairs:
        console.print("\nNothing found under any policy.", style="dim")
    for kind, group in _by_kind(pairs).items():
        _print_kind(kind, group, console)


def print_urgent(warnings: Sequence[RunWarning], console: Console) -> None:
    """Print what must be known before the figures are believed: a refused parameter, a failed check, lost events."""
    for warning in warnings:
        if warning.kind in URGENT:
            _print_warning(warning, console)


def print_late(warnings: Sequence[RunWarning], console: Console) -> None:
    """Print what else the run, or the reader of the trace, wants known; what was assumed comes last."""
    late = sorted((w for w in warnings if w.kind not in URGENT), key=lambda warning: _is_assumed(warning.kind))
    if late:
        console.print()
    for warning in late[:SHOWN_WARNINGS]:
        _print_warning(warning, console)
    if len(late) > SHOWN_WARNINGS:
        console.print(f"… and {len(late) - SHOWN_WARNINGS} more warnings (--json has all)", style="dim")


def print_warnings(warnings: Sequence[RunWarning], console: Console) -> None:
    """Print all of them, below a table that has no place for the urgent ones above it."""
    print_late(sorted(warnings, key=lambda warning: warning.kind not in URGENT), console)


def _print_warning(warning: RunWarning, console: Console) -> None:
    print_line(f"warning: {warning.kind}: {warning.message}", console, style="yellow")


def _is_assumed(kind: str) -> bool:
    return kind.startswith("assumed") or kind in _ASSUMPTIONS


def summary_of(kind: str) -> str:
    """Return the catalogue's line for a kind; empty if the catalogue does not have it."""
    from numaprobe.analysis.findings import CATALOGUE

    return next((rule.SUMMARY for rule in CATALOGUE if kind == rule.KIND), "")


def rank_of(kind: str) -> int:
    """Return the place of a kind in the catalogue, which is the order of a report; unknown kinds come last."""
    from numaprobe.analysis.findings import CATALOGUE

    return next((index for index, rule in enumerate(CATALOGUE) if kind == rule.KIND), len(CATALOGUE))


def evidence_text(evidence: Mapping[str, Any]) -> str:
    """Return the evidence as ``key value`` pairs with units; what is nested deeper is left to the JSON."""
    told = ((_label(key), _value_text(key, value)) for key, value in evidence.items())
    return ", ".join(f"{label} {text}" for label, text in told if text)


def _label(key: str) -> str:
    return printable(key).removesuffix("_ns").removesuffix("_bytes").replace("_", " ")


def _value_text(key: str, value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return _number(key, value)
    if isinstance(value, str):
        return _cut(printable(value))
    if isinstance(value, list):
        return _waits(value) if key == "waits" else _items(value)
    if isinstance(value, dict):
        return _pairs(key, value)
    return ""


def _number(key: str, value: int) -> str:
    if key.endswith("_ns"):
        return format_time(value)
    return format_size(value) if key.endswith("_bytes") else str(value)


def _cut(text: str) -> str:
    """Return a long text cut between two of its parts, never within a number."""
    if len(text) <= LONGEST_VALUE:
        return text
    kept = text[:LONGEST_VALUE]
    return f"{kept[: max(kept.rfind(','), kept.rfind(' ')) + 1] or kept}…"


def _items(values: Sequence[Any]) -> str:
    if not all(isinstance(item, str | int) for item in values):
        return ""
    more = " …" if len(values) > SHOWN_ITEMS else ""
    return " ".join(printable(str(item)) for item in values[:SHOWN_ITEMS]) + more


def _pairs(key: str, values: Mapping[Any, Any]) -> str:
    """A mapping of one level: ``phy after clk``, ``node 1: 3``, ``0000:01:00.0 9.000 ms``."""
    shown = [(printable(str(name)), item) for name, item in list(values.items())[:SHOWN_ITEMS]]
    if key == "after":
        return "; ".join(f"{name} after {printable(str(item))}" for name, item in shown)
    if not all(isinstance(item, int) for _, item in shown):
        return ""
    return "; ".join(f"{name}: {_number(key, item)}" for name, item in shown)


def _waits(waits: Sequence[Any]) -> str:
    """Which waited how long for the CPU, and which others ran meanwhile; the longest first."""
    known = [wait for wait in waits if isinstance(wait, dict) and isinstance(wait.get("runnable_ns"), int)]
    return " | ".join(
        f"{printable(str(wait.get('device')))} {format_time(wait['runnable_ns'])}{_meanwhile(wait)}"
        for wait in known[:SHOWN_WAITS]
    )


def _meanwhile(wait: Mapping[str, Any]) -> str:
    ran = wait.get("because_of")
    if not isinstance(ran, dict) or not ran:
        return ""
    more = int(wait.get("others") or 0) - SHOWN_ITEMS
    return f" (meanwhile ran {_pairs('because_of_ns', ran)}{f' and {more} more' if more > 0 else ''})"


def devices_text(devices: Sequence[str]) -> str:
    """Return the first few devices and how many more there are."""
    return first_few([printable(device) for device in devices[:SHOWN_DEVICES]], SHOWN_DEVICES, of=len(devices))


def _by_kind(pairs: Iterable[tuple[str, Finding]]) -> dict[str, list[tuple[str, Finding]]]:
    """Return findings by kind: those that matter most first, then in the order of the catalogue."""
    groups: dict[str, list[tuple[str, Finding]]] = defaultdict(list)
    for label, finding in pairs:
        groups[finding.kind].append((label, finding))
    return dict(sorted(groups.items(), key=lambda item: (_weight(_worst(item[1])), rank_of(item[0]))))


def _worst(group: Iterable[tuple[str, Finding]]) -> Severity:
    return min((finding.severity for _, finding in group), key=_weight)


def _weight(severity: Severity) -> int:
    return list(Severity).index(severity)


def _by_advice(group: Iterable[tuple[str, Finding]]) -> dict[str, dict[str, list[str]]]:
    """Return what is said of a kind by its advice, each once, with the rows of which it is true."""
    told: dict[str, dict[str, list[str]]] = {}
    for label, finding in group:
        body = f"{devices_text(finding.devices)}; {evidence_text(finding.evidence)}"
        labels = told.setdefault(finding.advice, {}).setdefault(body, [])
        if printable(label) not in labels:
            labels.append(printable(label))
    return told


def _print_kind(kind: str, group: Sequence[tuple[str, Finding]], console: Console) -> None:
    console.print()
    print_line(f"{kind} ({_worst(group)}): {summary_of(kind)}", console, style="yellow")
    left = SHOWN_FINDINGS
    for advice, bodies in _by_advice(group).items():
        for body, labels in list(bodies.items())[: max(left, 0)]:
            names = f"{', '.join(labels)}: " if any(labels) else ""
            print_text(f"{names}{body}", console, indent=2)
        if left > 0:
            print_text(f"→ {advice}", console, indent=2, style="cyan")
        left -= len(bodies)
    if left < 0:
        console.print(f"  … and {-left} more of this kind (--json has all)", style="dim")
