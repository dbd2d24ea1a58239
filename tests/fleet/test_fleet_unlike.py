"""Outliers: what is far from its peers is told, what peers share is not, and few are called so by chance."""

from __future__ import annotations

import random
from dataclasses import replace
from statistics import NormalDist, median

import pytest
from fleet_hosts import MS, driver, host, hosts
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.analysis.fleet import find_unlike, slowness_seen
from numaprobe.analysis.fleet.robust import LEAST_LIMIT, limit_of, width_of
from numaprobe.analysis.fleet.unlike import LEAST_PEERS


# ---- width and limit -------------------------------------------------------------------------------------------------
def test_the_width_of_normal_numbers_is_their_standard_deviation() -> None:
    draw = random.Random(5)
    width = width_of([draw.gauss(50, 4) for _ in range(5000)], 0.0)
    assert width.median == pytest.approx(50, abs=0.3)
    assert width.above == pytest.approx(4, rel=0.06)
    assert width.below == pytest.approx(4, rel=0.06)


def test_the_long_side_of_skewed_numbers_is_not_the_short_one() -> None:
    draw = random.Random(5)
    width = width_of([draw.expovariate(1) for _ in range(5000)], 0.0)
    assert width.above > 1.6 * width.below


@settings(deadline=None)
@given(
    st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=60), st.floats(0.01, 10), st.integers(-(10**6), 10**6)
)
def test_scores_do_not_depend_on_where_zero_is(values: list[int], least: float, shift: int) -> None:
    here, there = width_of(values, least), width_of([value + shift for value in values], least)
    assert here.above >= least
    assert here.below >= least
    for value in values[:5]:
        assert there.score(value + shift) == pytest.approx(here.score(value), rel=1e-3, abs=1e-2)


def test_half_of_the_numbers_may_be_wrong() -> None:
    good = [float(number % 7) for number in range(60)]
    width = width_of([*good, *([1e9] * 40)], 0.1)
    assert width.median < 7


def test_the_limit_grows_with_what_is_looked_at() -> None:
    assert limit_of(1) == LEAST_LIMIT
    assert limit_of(30_000) > 4.6
    chance = 2 * 30_000 * (1 - NormalDist().cdf(limit_of(30_000)))
    assert chance == pytest.approx(0.05)


# ---- signs -----------------------------------------------------------------------------------------------------------
def signs(*changed: object, others: int = 60) -> dict[str, list[str]]:
    found = find_unlike([*hosts(others), *changed])  # type: ignore[list-item]
    return {one.host: [sign.kind for sign in one.signs] for one in found}


def test_a_fleet_of_equals_has_no_outlier() -> None:
    assert find_unlike(hosts(500, spread=0.3)) == []
    assert find_unlike(hosts(40, spread=0.0)) == []


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("slow-driver", driver(ns=40 * MS)),
        ("fast-driver", driver(ns=2 * MS, worst_ns=10 * MS)),
        ("slow-device", driver(worst_ns=90 * MS, worst_device="0000:05:00.0")),
        ("off-node", driver(away=4)),
        ("no-node", driver(no_node=1)),
        ("fails", driver(failed=1)),
        ("devices", driver(devices=7)),
    ],
)
def test_what_is_unlike_is_told_with_its_evidence(kind: str, changed: object) -> None:
    (one,) = find_unlike([*hosts(60), host("odd", changed)])  # type: ignore[arg-type]
    assert one.host == "odd"
    assert [sign.kind for sign in one.signs] == [kind]
    (sign,) = one.signs
    assert (sign.peers, sign.as_far) == (60, 0)
    assert sign.value != sign.typical
    if kind == "slow-device":
        assert sign.device == "0000:05:00.0"


def test_a_driver_that_is_not_there_is_a_number_of_devices() -> None:
    assert signs(host("bare")) == {"bare": ["devices"]}


def test_a_long_run_is_told() -> None:
    assert signs(host("long", driver(), makespan=900 * MS)) == {"long": ["slow-run"]}


def test_a_slow_driver_does_not_tell_its_slowest_device_too() -> None:
    assert signs(host("odd", driver(ns=40 * MS, worst_ns=80 * MS))) == {"odd": ["slow-driver"]}


def test_two_slow_devices_of_four_are_no_slow_driver() -> None:
    peers = [
        replace(one, drivers={"nvme": replace(one.drivers["nvme"], low_ns=9 * MS, high_ns=11 * MS)})
        for one in hosts(60)
    ]
    half = host("half", driver(ns=40 * MS, worst_ns=15 * MS, low_ns=10 * MS, high_ns=80 * MS))
    whole = host("whole", driver(ns=40 * MS, low_ns=38 * MS, high_ns=42 * MS))
    assert [one.host for one in find_unlike([*peers, half, whole])] == ["whole"]


def test_what_many_hosts_have_is_nobodys_own() -> None:
    some = [host(f"few-{number}", driver(failed=1)) for number in range(5)]
    assert signs(*some) == {}


def test_a_tail_that_many_share_is_none() -> None:
    draw = random.Random(3)
    heavy = [host(f"h{n}", driver(ns=10 * MS * draw.lognormvariate(0, 0.6), worst_ns=MS)) for n in range(400)]
    assert [one for one in find_unlike(heavy) if one.signs[0].kind == "slow-driver"] == []


def test_hosts_are_compared_with_their_own_kind() -> None:
    large = [
        replace(one, host=f"large {one.host}", peers="Y1", drivers={"nvme": driver(ns=80 * MS)}) for one in hosts(30)
    ]
    assert find_unlike([*hosts(60), *large]) == []


def test_hosts_on_another_kernel_are_compared_among_themselves_if_they_are_enough() -> None:
    old = hosts(60, seed=1, kernel="6.1")
    new = [replace(one, drivers={"nvme": driver(ns=50 * MS)}) for one in hosts(40, seed=2, kernel="6.12")]
    assert find_unlike([*old, *new]) == []
    slow = host("odd", driver(ns=50 * MS), kernel="6.1")
    assert [one.host for one in find_unlike([*old, *new, slow])] == ["odd"]


def test_too_few_peers_say_nothing() -> None:
    assert find_unlike([*hosts(LEAST_PEERS - 2), host("odd", driver(ns=900 * MS))]) == []


def test_what_else_differs_is_told_beside_it() -> None:
    odd = host("odd", driver(ns=40 * MS), firmware="1.0", kernel="6.1")
    (one,) = find_unlike([*hosts(25, firmware="2.5", kernel="6.1"), odd])
    assert one.differs == {"firmware": ("1.0", "2.5")}
    assert one.to_dict()["differs"] == {"firmware": {"own": "1.0", "peers": "2.5"}}


def test_chance_alone_finds_next_to_none() -> None:
    found = sum(len(find_unlike(hosts(200, seed=seed, spread=0.5))) for seed in range(20))
    assert found <= 4


def test_how_much_slower_a_driver_must_be_is_said_and_true() -> None:
    """What is as slow as is said is told, what is not is not; of a quick host that becomes slow 99 in 100 are."""
    fleet = hosts(300, spread=0.4)
    (seen,) = slowness_seen(fleet)
    middle = median(one.drivers["nvme"].median_ns for one in fleet)
    assert 3 < seen.least < 12
    for times, told in ((1.1, ["slow-driver"]), (0.9, [])):
        changed = host("odd", driver(ns=times * seen.least * middle, worst_ns=times * seen.least * middle))
        signs_of = {one.host: [sign.kind for sign in one.signs] for one in find_unlike([*fleet, changed])}
        assert [kind for kind in signs_of.get("odd", []) if kind == "slow-driver"] == told
    draw = random.Random(8)
    planted = [seen.surely * middle * draw.lognormvariate(0, 0.4) for _ in range(300)]
    found = sum(ns > seen.least * middle for ns in planted)
    assert found >= 0.98 * len(planted)
