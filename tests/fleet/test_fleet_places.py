"""Where drivers are slow, what changed, and shares: shown where it is, held to 5 % where it is not."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from fleet_hosts import MS, driver, host, hosts
from scipy import stats

from numaprobe.analysis.fleet import HostFigures, compare_hosts, find_slow_places, share_interval


def placed(count: int, seed: int, slow: float = 1.0, peers: str = "X9", **facts: str) -> list[HostFigures]:
    draw = random.Random(seed)
    return [
        host(f"{peers}-{seed}-{n}", driver(ns=slow * 10 * MS * draw.lognormvariate(0, 0.1)), peers=peers, **facts)
        for n in range(count)
    ]


def test_a_slow_firmware_is_told_with_its_ratio() -> None:
    fleet = [*placed(20, 1, 1.5, firmware="1.0"), *placed(20, 2, firmware="2.0"), *placed(20, 3, firmware="3.0")]
    (one,) = find_slow_places(fleet)
    assert (one.driver, one.place, one.hosts, one.rest) == ("nvme", (("firmware", "1.0"),), 20, 40)
    assert one.ratio == pytest.approx(1.5, rel=0.1)
    assert one.adjusted_p < 0.05


def test_places_of_the_same_hosts_are_one_row() -> None:
    fleet = [*placed(20, 1, 1.5, firmware="1.0", kernel="6.1"), *placed(20, 2, firmware="2.0", kernel="6.12")]
    (one,) = find_slow_places(fleet)
    assert one.place == (("kernel", "6.1"), ("firmware", "1.0"))


def test_a_node_is_a_place() -> None:
    draw = random.Random(4)
    fleet = [
        host(
            f"h{n}",
            driver(by_node={0: 10 * MS * draw.lognormvariate(0, 0.1), 1: 14 * MS * draw.lognormvariate(0, 0.1)}),
        )
        for n in range(30)
    ]
    (one,) = find_slow_places(fleet)
    assert one.place == (("node", "1"),)


def test_large_machines_do_not_make_a_firmware_slow() -> None:
    # all of the large machines have it, and hardly any of the small ones; within each it makes no difference
    small = [*placed(40, 1, firmware="2.0"), *placed(6, 2, firmware="1.0")]
    large = [*placed(6, 3, 3.0, "Y1", firmware="2.0"), *placed(40, 4, 3.0, "Y1", firmware="1.0")]
    assert {one.place[0][0] for one in find_slow_places([*small, *large])} == {"peers"}


def test_where_nothing_differs_next_to_nothing_is_claimed() -> None:
    claimed = 0
    for seed in range(40):
        draw = random.Random(seed)
        fleet = [
            replace(one, facts={"kernel": draw.choice("abc"), "firmware": draw.choice("abc")})
            for one in placed(60, seed + 100)
        ]
        claimed += bool(find_slow_places(fleet))
    assert claimed <= 6  # 5 % of 40 are 2


# ---- changes ---------------------------------------------------------------------------------------------------------
def test_a_change_is_shown_in_the_group_that_has_it() -> None:
    before = [*placed(20, 1), *placed(20, 2, peers="Y1")]
    after = [*placed(20, 3, 1.3), *placed(20, 4, peers="Y1")]
    shown = [one for one in compare_hosts(before, after) if one.shown]
    assert [(one.peers, one.figure, one.worse) for one in shown] == [("X9", "driver nvme", True)]
    assert shown[0].change.percent == pytest.approx(30, abs=10)
    assert shown[0].to_dict()["hosts_before"] == 20


def test_more_large_machines_are_no_change() -> None:
    before = [*placed(30, 1), *placed(5, 2, 4.0, peers="Y1")]
    after = [*placed(5, 3), *placed(30, 4, 4.0, peers="Y1")]
    assert not any(one.shown for one in compare_hosts(before, after))


def test_less_on_node_is_worse_and_more_is_not() -> None:
    good = [host(f"a{n}", driver(away=n % 2)) for n in range(30)]
    bad = [host(f"b{n}", driver(away=4 + n % 2)) for n in range(30)]
    (one,) = [one for one in compare_hosts(good, bad) if one.figure == "on node"]
    assert one.worse
    (one,) = [one for one in compare_hosts(bad, good) if one.figure == "on node"]
    assert one.shown
    assert not one.worse


def test_groups_with_few_hosts_are_not_compared() -> None:
    assert compare_hosts(placed(3, 1), placed(30, 2, 9.0)) == []


def test_hundreds_of_hosts_are_compared() -> None:
    changes = compare_hosts(placed(400, 1), placed(400, 2, 1.05))
    (one,) = [one for one in changes if one.figure == "driver nvme"]
    assert one.shown
    assert one.change.shift.interval is not None
    assert 0 < one.change.shift.interval[0] < one.change.shift.estimate < one.change.shift.interval[1]


def test_nothing_changed_is_rarely_called_a_change() -> None:
    claimed = sum(
        any(one.shown for one in compare_hosts(hosts(30, seed=seed), hosts(30, seed=seed + 500))) for seed in range(100)
    )
    assert claimed <= 12  # 5 % of 100, and the dice


# ---- shares ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("part", "whole"), [(0, 10), (10, 10), (1, 10), (37, 1000), (999, 1000)])
def test_the_interval_of_a_share_is_wilsons(part: int, whole: int) -> None:
    theirs = stats.binomtest(part, whole).proportion_ci(method="wilson")
    assert share_interval(part, whole) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
