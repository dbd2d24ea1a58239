"""A guest's probes beside the prediction as JSON: ``numaprobe.lab/1``. The rules are ``analysis.agreement``'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from numaprobe.analysis.agreement import Agreement, ProbeAgreement

#: Version of ``numaprobe lab --check --json``.
LAB_SCHEMA: Final = "numaprobe.lab/1"


def report_to_json(report: Agreement) -> dict[str, Any]:
    """Return the ``check`` block of ``numaprobe.lab/1``."""
    return {
        "passed": report.passed,
        "median_cost_error": report.median_cost_error,
        "probes": [_row_to_json(row) for row in report.rows],
        "unexpected": [{"driver": probe.driver, "device": probe.device} for probe in report.unexpected],
    }


def _row_to_json(row: ProbeAgreement) -> dict[str, Any]:
    recorded = row.recorded
    return {
        "device": row.device,
        "guest_device": row.recorded_device,
        "driver": row.driver,
        "agrees": row.agrees,
        "same_node": row.same_node,
        "same_llc": row.same_llc,
        "same_kind": row.same_kind,
        "same_pool": row.same_pool,
        "stayed": row.stayed,
        "guaranteed": row.hold,
        "left_ns": row.left_ns,
        "same_order": row.same_order,
        "same_result": row.same_result,
        "predicted": {"cpu": row.predicted.cpu, "comm": row.predicted.comm, "cost_ns": row.predicted.cost_ns},
        "recorded": {"cpu": recorded.cpu, "comm": recorded.comm, "cost_ns": recorded.cost_ns} if recorded else None,
        "cost_error": row.cost_error,
    }
