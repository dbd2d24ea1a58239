"""What agrees, what differs, and what is nobody's promise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from placement_samples import CASE, TWO_NODES, seen

from numaprobe.placement.case import BYTES, PlacementCase
from numaprobe.placement.check import compare_case

if TYPE_CHECKING:
    from numaprobe.placement.check import PlacementRow
    from numaprobe.placement.seen import Seen

SOFT = {"comm": "kworker/u18:0", "allowed": "0-3"}


def one(predicted: Seen, observed: Seen) -> PlacementRow:
    (row,) = compare_case(CASE, [predicted], [observed], TWO_NODES)
    return row


def wrong(row: PlacementRow) -> list[str]:
    return [name for name, verdict in row.verdicts.items() if verdict is False]


def test_another_worker_of_the_pool_on_another_cpu_of_it_agrees() -> None:
    row = one(seen(), seen(comm="kworker/u19:3", cpu=3, cost_ns=99))
    assert row.agrees
    assert not row.moved
    assert set(row.verdicts.values()) == {True}


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        ({"comm": "kworker/u18:0"}, ["worker"]),
        ({"comm": "modprobe"}, ["worker"]),
        ({"allowed": "0-3"}, ["worker"]),
        ({"cpu": 0, "allowed": "0-3"}, ["worker", "node", "stayed"]),
        ({"cpus": (2, 1)}, ["stayed"]),
        ({"memory": {0: BYTES}, "glimpse": {"memory": {0: 4096}}}, ["memory"]),
        ({"memory": {0: 4096, 1: BYTES - 4096}}, ["memory", "witness"]),
        ({"memory": {}}, ["memory", "witness"]),
        ({"result": "EIO"}, ["outcome"]),
        ({"nested": True}, ["outcome"]),
        ({"asynchronous": True}, ["outcome"]),
        ({"glimpse": {"comm": "python"}}, ["witness"]),
        ({"glimpse": {"cpu": 0}}, ["witness"]),
        ({"glimpse": {"memory": {0: 4096}}}, ["witness"]),
    ],
)
def test_each_difference_is_named(observed: dict[str, Any], expected: list[str]) -> None:
    row = one(seen(), seen(**observed))
    assert wrong(row) == expected
    assert not row.agrees


def test_a_kernel_that_does_not_tell_where_memory_is_judges_nothing() -> None:
    predicted, observed = seen(), seen(glimpse={"memory": None})
    row = one(predicted, type(observed)(record=_without_memory(observed), glimpse=observed.glimpse))
    assert row.same_memory is None
    assert row.agrees


def _without_memory(one_seen: Seen) -> Any:
    from dataclasses import replace

    return replace(one_seen.record, memory=None)


def test_a_soft_worker_that_was_moved_is_counted_but_its_memory_must_be_where_it_prefers_it() -> None:
    row = one(seen(**SOFT), seen(**SOFT, cpus=(2, 0)))
    assert row.agrees
    assert row.moved
    assert not one(seen(**SOFT), seen(**SOFT, cpus=(2, 3))).moved
    lost = seen(**SOFT, cpus=(2, 0), memory={0: BYTES}, glimpse={"memory": {0: 4096}})
    assert wrong(one(seen(**SOFT), lost)) == ["memory"]


@pytest.mark.parametrize("nested", [False, True])
def test_a_soft_worker_may_be_moved_before_its_body_begins_and_a_held_one_may_not(nested: bool) -> None:
    row = one(seen(**SOFT, nested=nested), seen(**SOFT, nested=nested, cpu=0))
    assert row.agrees
    assert row.same_node is None
    assert row.moved
    assert wrong(one(seen(), seen(cpu=0))) == ["node", "stayed", "witness"]
    assert wrong(one(seen(nested=True), seen(nested=True, cpu=0, allowed="0-3"))) == ["worker", "node", "stayed"]


def test_a_name_longer_than_the_kernel_keeps_is_compared_as_far_as_it_goes() -> None:
    long = "kworker/u1025:1234"
    assert one(seen(comm=long), seen(comm=long, glimpse={"comm": long[:15]})).agrees
    assert wrong(one(seen(comm=long), seen(comm=long, glimpse={"comm": long[:14]}))) == ["witness"]


def test_of_async_probes_of_a_node_only_the_set_must_agree() -> None:
    """Two LLCs of node 1 in turn: which device came first is nobody's promise, that both were used is."""

    def pair(first: str, second: str) -> list[Seen]:
        cpu = {"kworker/u20:0": 2, "kworker/u21:0": 3}
        return [
            seen(name, comm=comm, cpu=cpu[comm], allowed=str(cpu[comm]), asynchronous=True)
            for name, comm in (("node1.0", first), ("node1.1", second))
        ]

    case = PlacementCase(policy="spread", bus="pci", asynchronous=True, caller=0)
    u20, u21 = "kworker/u20:0", "kworker/u21:0"
    assert all(row.agrees for row in compare_case(case, pair(u20, u21), pair(u21, u20), TWO_NODES))
    rows = compare_case(case, pair(u20, u21), pair(u21, u21), TWO_NODES)
    assert [row.agrees for row in rows] == [False, True]


def test_a_probe_that_did_not_happen_or_was_not_predicted_differs() -> None:
    rows = compare_case(CASE, [seen(), seen("gone")], [seen(), seen("extra"), seen(attempt=2)], TWO_NODES)
    assert {row.device: row.agrees for row in rows} == {
        "node1.0": True,
        "gone": False,
        "extra": False,
        "node1.0 (attempt 2)": False,
    }
