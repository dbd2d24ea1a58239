from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from numaprobe.analysis.agreement import Agreement, ProbeAgreement, judge, worker_kind
from numaprobe.analysis.hold import Hold
from numaprobe.errors import RefusedError
from numaprobe.kernel.lab.check import report_to_json
from numaprobe.kernel.lab.overhead import WAYS, overhead_lines, probe_costs, summarise
from numaprobe.kernel.readers import read_trace
from numaprobe.records import ProbeRecord, Trace, json_schema
from numaprobe.scenario import prepare, replay_scenario, run_setting
from numaprobe.topology import load_topology, symmetric

DATA = Path(__file__).parents[1] / "data" / "kernel"
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


def check(recorded: tuple[ProbeRecord, ...], predicted: tuple[ProbeRecord, ...] = PREDICTED) -> Agreement:
    return judge(Trace(source="virtual", probes=predicted), Trace(source="kernel", probes=recorded), NAMES, MACHINE)


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


# ---- what holds a task is what is judged -----------------------------------------------------------------------------
SOFT = {"comm": "kworker/u10:0", "cpus_allowed": "0-3", "pod": "2"}


def one(predicted: dict[str, object], recorded: dict[str, object]) -> ProbeAgreement:
    mine, theirs = replace(PREDICTED[0], **predicted), replace(RECORDED[0], **recorded)  # type: ignore[arg-type]
    return check((theirs,), (mine,)).rows[0]


def test_a_soft_worker_is_judged_by_its_pool_and_mask_and_not_by_a_cpu() -> None:
    row = one(SOFT, {"comm": "kworker/u10:3", "cpu": 1, "cpu_node": 0, "cpus": (1, 3)})
    assert (row.same_node, row.same_llc, row.same_pool, row.stayed) == (None, None, True, True)
    assert row.hold is Hold.SOFT
    assert row.agrees


@pytest.mark.parametrize(
    ("recorded", "field"),
    [
        ({"comm": "kworker/u11:3"}, "same_pool"),
        ({"comm": "kworker/u10:3", "cpus": (2, 7)}, "stayed"),
        ({"comm": "kworker/2:1"}, "same_kind"),
    ],
)
def test_a_soft_worker_of_another_pool_or_outside_of_its_mask_is_wrong(recorded: dict[str, object], field: str) -> None:
    row = one(SOFT, recorded)
    assert getattr(row, field) is False
    assert not row.agrees


@pytest.mark.parametrize(
    "held", [{"cpus_allowed": "2-3", "comm": "kworker/u9:1", "pod": "2-3"}, {"cpus_allowed": "2"}, {}]
)
def test_a_probe_that_left_a_guaranteed_node_after_its_start_is_wrong(held: dict[str, object]) -> None:
    """It started where it was predicted and was away for all but its first microsecond."""
    away = {"comm": held.get("comm", "kworker/2:5"), "cpus": (2, 0), "running_ns": 10, "remote_ns": 9}
    row = one(held, away)
    assert (row.same_node, row.stayed) == (True, False)
    assert row.left_ns == 9
    assert row.hold is Hold.HELD
    assert not row.agrees


def test_a_soft_probe_that_left_is_named_and_not_judged() -> None:
    row = one(SOFT, {"comm": "kworker/u10:1", "cpus": (2, 0), "running_ns": 10, "remote_ns": 9})
    assert row.agrees
    assert row.left_ns == 9
    assert report_to_json(Agreement(rows=(row,), unexpected=()))["probes"][0]["left_ns"] == 9


def test_a_pinned_caller_is_held_to_its_cpu() -> None:
    pinned = {"comm": "sh", "cpus_allowed": "0", "cpu": 0, "cpu_node": 0}
    assert one(pinned, {"comm": "sh", "cpu": 0, "cpu_node": 0, "cpus": (0,)}).agrees
    assert not one(pinned, {"comm": "sh", "cpu": 1, "cpu_node": 0, "cpus": (1,)}).agrees


@pytest.mark.parametrize("path", sorted(DATA.glob("debian-*/*/*async.*.trace.gz")), ids=str)
def test_predictions_of_recorded_guests_pass(path: Path) -> None:
    """Soft workers too, of which the guests' machine-wide pool ran on either node."""
    topology = load_topology(str(path.parent))
    recorded = read_trace(path, topology=topology)
    setting = prepare(replay_scenario(recorded, topology))
    predicted = run_setting(setting, setting.profile.pci_policy).trace
    report = judge(predicted, recorded, {}, topology)
    assert report.passed, [row for row in report.rows if not row.agrees]


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
    jsonschema.validate(block, json_schema("numaprobe.lab/1")["properties"]["check"])
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
    jsonschema.validate(figures, json_schema("numaprobe.overhead/1"))
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
