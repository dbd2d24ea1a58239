"""Predict what was observed, and show both: JSON, a table of policy and node."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from numaprobe.placement.check import PlacementReport, PlacementRow, compare_case
from numaprobe.placement.observe import case_to_json
from numaprobe.placement.predict import predict
from numaprobe.placement.seen import seen_to_json
from numaprobe.records import NO_NODE
from numaprobe.topology import to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numaprobe.placement.observe import Observation
    from numaprobe.placement.seen import Seen

#: Version of ``numaprobe placement --json``.
PLACEMENT_SCHEMA: Final = "numaprobe.placement/1"


def make_report(observation: Observation) -> PlacementReport:
    """Return the comparison of what was observed with what the virtual machine says of the same machine."""
    rows: list[PlacementRow] = []
    for case, observed in observation.runs:
        predicted = predict(case, observation.topology, observation.profile)
        rows += compare_case(case, predicted, observed, observation.topology)
    return PlacementReport(
        topology=observation.topology, kernel=observation.kernel, profile=observation.profile, rows=tuple(rows)
    )


# ---- JSON ----------------------------------------------------------------------------------------------------------
def report_to_json(report: PlacementReport) -> dict[str, Any]:
    """Return one machine's block of ``numaprobe.placement/1``."""
    return {
        "kernel": report.kernel,
        "profile": report.profile,
        "machine": to_json(report.topology),
        "passed": report.passed,
        "probes": len(report.rows),
        "disagreements": len(report.disagreements),
        "moved": sum(row.moved for row in report.rows),
        "rows": [_row_to_json(row) for row in report.rows],
    }


def _row_to_json(row: PlacementRow) -> dict[str, Any]:
    return {
        **case_to_json(row.case),
        "device": row.device,
        "device_node": row.device_node,
        "agrees": row.agrees,
        **{f"same_{name}" if name not in _PLAIN else name: verdict for name, verdict in row.verdicts.items()},
        "moved": row.moved,
        "predicted": None if row.predicted is None else seen_to_json(row.predicted),
        "observed": None if row.observed is None else seen_to_json(row.observed),
    }


_PLAIN: Final = {"stayed", "witness"}
#: disagreements that a table lists unasked
MAX_LISTED: Final = 20


# ---- text ----------------------------------------------------------------------------------------------------------
_HEADER: Final = ("policy", "device on", "probes", "ran on node", "observed", "memory on", "observed", "agree", "moved")


def report_lines(report: PlacementReport, *, details: bool = False) -> Iterator[str]:
    """Yield the table of policy and node, then what disagrees, then the verdict.

    A cell ``0:6 1:2`` says: six probes on node 0, two on node 1.

    Args:
        report: what to show.
        details: list every probe, not only those that disagree.

    """
    nodes = ", ".join(f"node {node.id}: CPU {node.cpus or 'none'}" for node in report.topology.nodes)
    yield f"kernel {report.kernel} ({nodes}); profile {report.profile}"
    yield from _columns([_HEADER, *_cells(report.rows)])
    listed = report.rows if details else report.disagreements[:MAX_LISTED]
    for row in listed:
        yield _line(row)
    if len(report.disagreements) > len(listed):
        yield f"… and {len(report.disagreements) - len(listed)} more that differ (--details lists them)"
    agreeing = len(report.rows) - len(report.disagreements)
    yield f"{agreeing} of {len(report.rows)} probes as predicted"


def _cells(rows: Iterable[PlacementRow]) -> Iterator[tuple[str, ...]]:
    """Yield a line for each policy, in the order in which they came, and node."""
    groups: dict[tuple[str, int], list[PlacementRow]] = {}
    for row in rows:
        groups.setdefault((row.case.policy, row.device_node), []).append(row)
    places = {policy: place for place, policy in enumerate(dict.fromkeys(policy for policy, _ in groups))}
    for (policy, node), group in sorted(groups.items(), key=lambda item: (places[item[0][0]], _last(item[0][1]))):
        yield (
            policy,
            "no node" if node == NO_NODE else f"node {node}",
            str(len(group)),
            _count(_node(row.predicted) for row in group),
            _count(_node(row.observed) for row in group),
            _count(_memory(row.predicted) for row in group),
            _count(_memory(row.observed) for row in group),
            f"{sum(row.agrees for row in group)}/{len(group)}",
            str(sum(row.moved for row in group)),
        )


def _last(node: int) -> tuple[bool, int]:
    """Return where a node stands in the table: no node comes last."""
    return node == NO_NODE, node


def _node(seen: Seen | None) -> str:
    return "?" if seen is None else str(seen.record.cpu_node)


def _memory(seen: Seen | None) -> str:
    if seen is None or seen.record.memory is None:
        return "?"
    return "+".join(str(node) for node in sorted(seen.record.memory)) or "-"


def _count(names: Iterable[str]) -> str:
    return " ".join(f"{name}:{count}" for name, count in sorted(Counter(names).items()))


def _columns(table: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _line(row: PlacementRow) -> str:
    wrong = [name for name, verdict in row.verdicts.items() if verdict is False]
    verdict = "as predicted" if row.agrees else f"DIFFERS ({', '.join(wrong) or 'not in both'})"
    return f"{row.case}, {row.device}: {verdict}: predicted {_seen(row.predicted)}; observed {_seen(row.observed)}"


def _seen(seen: Seen | None) -> str:
    if seen is None:
        return "no probe"
    record, memory = seen.record, _memory(seen)
    return f"CPU {record.cpu} of {seen.glimpse.allowed} {record.comm} memory on {memory}, {record.result}"


def all_lines(reports: Iterable[PlacementReport], *, details: bool, echo: Callable[[str], object]) -> None:
    """Show several machines, an empty line between them."""
    for index, report in enumerate(reports):
        if index:
            echo("")
        for line in report_lines(report, details=details):
            echo(line)
