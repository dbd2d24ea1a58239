from __future__ import annotations

from dataclasses import replace

import pytest

from numaprobe.errors import RefusedError
from numaprobe.kernel.lab.check import Report, compare, report_to_json, worker_kind
from numaprobe.kernel.lab.overhead import WAYS, overhead_lines, probe_costs, summarise
from numaprobe.records import ProbeRecord, Trace
from numaprobe.topology import symmetric

MACHINE = symmetric("m", nodes=2, llcs=2, cores=1, interleaved=False)
NAMES = {"a": "0000:81:00.0", "b": "0000:82:00.0"}


def probe(device: str, start: int, **changes: object) -> ProbeRecord:
    fields: dict[str, object] = {
        "device": device,
        "driver": "nvme",
        "device_node": 1,
        "cpu": 2,
        "cpu_node": 1,
        "comm": "kworker/2:0",
        "asynchronous": False,
        "result": "0",
        "start_ns": start,
        "end_ns": start + 10,
        "cost_ns": 10,
    }
    return ProbeRecord(**{**fields, **changes})  # type: ignore[arg-type]


PREDICTED = (probe("a", 0), probe("b", 20))
RECORDED = (probe("0000:81:00.0", 1000, comm="kworker/2:1"), probe("0000:82:00.0", 2000, comm="kworker/2:3"))


def check(recorded: tuple[ProbeRecord, ...], predicted: tuple[ProbeRecord, ...] = PREDICTED) -> Report:
    return compare(Trace(source="virtual", probes=predicted), Trace(source="kernel", probes=recorded), NAMES, MACHINE)


def test_the_same_run_agrees_whatever_the_workers_number() -> None:
    report = check(RECORDED)
    assert report.passed
    assert [(row.same_node, row.same_llc, row.same_kind, row.same_order, row.same_result) for row in report.rows] == [
        (True,) * 5
    ] * 2
    assert report.median_cost_error == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"cpu": 0, "cpu_node": 0}, "same_node"),
        ({"cpu": 3}, "same_llc"),
        ({"comm": "kworker/u9:1"}, "same_kind"),
        ({"comm": "modprobe"}, "same_kind"),
        ({"result": "ENODEV"}, "same_result"),
    ],
)
def test_each_difference_is_found(change: dict[str, object], field: str) -> None:
    report = check((replace(RECORDED[0], **change), RECORDED[1]))  # type: ignore[arg-type]
    assert not report.passed
    assert getattr(report.rows[0], field) is False
    assert report.rows[1].agrees


def test_serial_probes_in_another_order_are_found() -> None:
    swapped = (replace(RECORDED[0], start_ns=3000, end_ns=3010), RECORDED[1])
    assert [row.same_order for row in check(swapped).rows] == [False, False]


@pytest.mark.parametrize("change", [{"end_ns": 2005}, {"start_ns": None, "end_ns": None}])
def test_order_is_not_defined_where_probes_overlap_or_have_no_times(change: dict[str, object]) -> None:
    report = check((replace(RECORDED[0], **change), RECORDED[1]))  # type: ignore[arg-type]
    assert [row.same_order for row in report.rows] == [None, None]
    assert report.passed


def test_asynchronous_probes_have_no_order() -> None:
    predicted = tuple(replace(one, asynchronous=True) for one in PREDICTED)
    assert [row.same_order for row in check(RECORDED[::-1], predicted).rows] == [None, None]


def test_a_probe_that_did_not_happen_and_one_that_was_not_predicted() -> None:
    report = check((RECORDED[0], probe("0000:99:00.0", 0), probe("x", 0, driver="other")))
    assert report.rows[1].recorded is None
    assert not report.rows[1].agrees
    assert [one.device for one in report.unexpected] == ["0000:99:00.0"]
    assert not report.passed


def test_two_attempts_are_paired_in_order() -> None:
    first, second = (
        replace(RECORDED[0], result="EPROBE_DEFER"),
        replace(RECORDED[0], start_ns=5000, end_ns=5010, attempt=2),
    )
    predicted = (replace(PREDICTED[0], result="EPROBE_DEFER"), replace(PREDICTED[0], attempt=2))
    assert check((first, second), predicted).passed


def test_nothing_predicted_is_no_agreement() -> None:
    assert not check((), ()).passed


def test_the_json_says_what_the_rows_say() -> None:
    block = report_to_json(check(RECORDED[:1]))
    assert block["passed"] is False
    assert [row["agrees"] for row in block["probes"]] == [True, False]
    assert block["probes"][1]["recorded"] is None


@pytest.mark.parametrize(
    ("comm", "kind"),
    [
        ("kworker/4:1", "per-cpu"),
        ("kworker/4:1H", "per-cpu"),
        ("kworker/u18:3", "unbound"),
        ("sh", "caller"),
        (None, None),
    ],
)
def test_kinds_of_workers(comm: str | None, kind: str | None) -> None:
    assert worker_kind(comm) == kind


def test_overhead_is_the_median_of_pairs_of_the_same_device_and_round() -> None:
    none, kprobes, sched = WAYS
    costs = {
        none: {"a": {"1": 100, "2": 200, "3": 100}, "b": {"1": 50}},
        kprobes: {"a": {"1": 105, "2": 210, "3": 90, "4": 9000}, "b": {"1": 50}},
        sched: {"a": {"2": 300}, "b": {"1": 75}},
    }
    figures = summarise(costs, "6.1")
    assert figures["ways"][none]["median_ratio"] == 1
    assert figures["ways"][kprobes]["ratio"] == {"a": pytest.approx(1.05), "b": 1}
    assert figures["ways"][kprobes]["median_ratio"] == pytest.approx(1.025)
    assert figures["ways"][sched]["ratio"] == {"a": 1.5, "b": 1.5}
    assert "median ratio 1.025 (4 pairs" in overhead_lines(figures)[2]


def test_nothing_timed_is_refused() -> None:
    with pytest.raises(RefusedError, match="initcall_debug"):
        summarise({WAYS[0]: {}}, "6.1")


def test_probe_costs_are_those_of_probes_that_succeeded() -> None:
    lines = ["[1.0] probe of a returned 0 after 12 usecs", "probe of b returned 19 after 3 usecs", "x"]
    assert list(probe_costs(lines, "6.12.1")) == [("a", 12)]
    lines = [
        "probe of a with driver nvme returned 0 after 12 usecs",
        "probe of b with driver nvme returned 19 after 3 usecs",
    ]
    assert list(probe_costs(lines, "7.3.4+deb13-amd64")) == [("a", 12)]
    lines = ["probe of a returned 1 after 12 usecs", "probe of b returned 0 after 3 usecs"]
    assert list(probe_costs(lines, "5.10.0-32-amd64")) == [("a", 12)]
