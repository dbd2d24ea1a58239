"""Rank test, intervals, shift and Holm's rule: known values, SciPy, invariants, and what they do on made-up boots."""

from __future__ import annotations

import math
import random
from itertools import combinations
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from numaprobe.analysis.statistics import (
    EXACT_RUNS,
    SIGNIFICANCE,
    Sample,
    _approximate,
    _Differences,
    _doubled_ranks,
    compare_runs,
    holm,
    rank_test,
    shift,
    smallest_p,
)
from numaprobe.errors import UsageError

NUMBERS = st.integers(0, 10**12) | st.floats(0, 1e9)
SIDES = st.lists(st.integers(0, 10**9), min_size=1, max_size=9)
#: with so few numbers that many are equal
TIED = st.lists(st.integers(0, 3), min_size=1, max_size=7)


# ---- the test ----
@pytest.mark.parametrize(
    ("first", "second", "p"),
    [(1, 1, 1.0), (2, 2, 1 / 3), (3, 3, 0.1), (4, 4, 2 / 70), (5, 5, 2 / 252), (6, 6, 2 / 924), (10, 10, 2 / 184756)],
)
def test_the_smallest_p_of_each_size_by_hand(first: int, second: int, p: float) -> None:
    apart = rank_test(range(first), range(first, first + second))
    assert apart == pytest.approx(p)
    assert smallest_p(first, second) == pytest.approx(p)
    assert round(smallest_p(3, 3), 2) == 0.1
    assert round(smallest_p(4, 4), 3) == 0.029
    assert round(smallest_p(5, 5), 3) == 0.008


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=16, unique=True), st.data())
def test_without_ties_it_is_scipys_exact_test(values: list[int], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(values) - 1))
    base, runs = values[:cut], values[cut:]
    theirs = stats.mannwhitneyu(base, runs, method="exact").pvalue
    assert rank_test(base, runs) == pytest.approx(theirs)


@settings(max_examples=60, deadline=None)
@given(TIED, TIED)
def test_with_ties_it_is_the_share_of_all_ways_to_deal_them(base: list[int], runs: list[int]) -> None:
    ranks = stats.rankdata([*base, *runs])
    seen, ways = sum(ranks[: len(base)]), [sum(chosen) for chosen in combinations(ranks, len(base))]
    tail = min(sum(way <= seen for way in ways), sum(way >= seen for way in ways))
    assert rank_test(base, runs) == pytest.approx(min(1, 2 * tail / len(ways)))


def test_many_runs_are_approximated_as_scipy_does() -> None:
    draw = random.Random(7)
    base = [draw.randrange(500) for _ in range(EXACT_RUNS)]
    runs = [draw.randrange(40, 540) for _ in range(EXACT_RUNS)]
    theirs = stats.mannwhitneyu(base, runs, method="asymptotic").pvalue
    assert rank_test(base, runs) == pytest.approx(theirs)
    few, others = base[:25], runs[:25]
    ranks = _doubled_ranks([*few, *others])
    distance = abs(sum(ranks[:25]) - 25 * 51) / 2
    assert _approximate(ranks, 25, distance) == pytest.approx(rank_test(few, others), abs=0.002)
    assert rank_test([5] * 80, [5] * 80) == 1.0


# ---- median and shift ----
def test_the_interval_of_the_median_needs_six_runs() -> None:
    assert Sample((3, 1, 2, 5, 4)).interval is None
    assert Sample((3, 1, 2, 5, 4, 6)).interval == (1, 6)
    assert Sample((3, 1, 2, 5, 4, 6)).spread == pytest.approx(6 / 3.5 - 1)
    # n = 10: the second and the ninth, 97.9 %; n = 20: the sixth and the fifteenth, 95.9 % (tables of the sign test)
    assert Sample(tuple(range(1, 11))).interval == (2, 9)
    assert Sample(tuple(range(1, 21))).interval == (6, 15)
    assert Sample((0,) * 9).spread is None


@pytest.mark.parametrize(("size", "left_out"), [(4, 0), (5, 2), (6, 5), (8, 13), (10, 23)])
def test_the_shifts_interval_leaves_out_what_tables_of_u_say(size: int, left_out: int) -> None:
    """Critical values of U at 0.05, two-sided: Mann and Whitney's own table."""
    base, runs = range(size), range(100, 100 + size)
    differences = sorted(after - before for before in base for after in runs)
    found = shift(base, runs)
    assert found.interval == (differences[left_out], differences[-1 - left_out])
    assert found.estimate == 100


@given(st.lists(st.integers(-50, 10**12), min_size=1, max_size=40), st.lists(NUMBERS, min_size=1, max_size=40))
def test_differences_that_are_searched_are_those_that_would_be_listed(base: list[int], runs: list[float]) -> None:
    listed = sorted(after - before for before in base for after in runs)
    searched = _Differences(base, runs)
    searched._listed = None
    for index in (0, len(listed) // 3, len(listed) // 2, len(listed) - 1):
        assert searched[index] == pytest.approx(listed[index], rel=1e-12, abs=1e-3)


def test_three_runs_give_a_shift_without_an_interval() -> None:
    assert shift([1, 2, 3], [11, 12, 13]).interval is None
    assert shift([1, 2, 3], [11, 12, 13]).estimate == 10


@settings(max_examples=80, deadline=None)
@given(SIDES, SIDES, st.integers(0, 10**6))
def test_sides_may_be_swapped_and_figures_moved(base: list[int], runs: list[int], more: int) -> None:
    there, back = compare_runs(base, runs), compare_runs(runs, base)
    assert there.p_value == back.p_value
    assert there.shift.estimate == -back.shift.estimate
    if there.shift.interval is not None and back.shift.interval is not None:
        assert there.shift.interval == (-back.shift.interval[1], -back.shift.interval[0])
        assert there.shift.interval[0] <= there.shift.estimate <= there.shift.interval[1]
    moved = shift(base, [value + more for value in runs])
    assert moved.estimate == there.shift.estimate + more
    both = compare_runs([value + more for value in base], [value + more for value in runs])
    assert (both.p_value, both.shift) == (there.p_value, there.shift)
    assert 0 < there.p_value <= 1
    assert there.p_value >= smallest_p(len(base), len(runs)) - 1e-12


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=30))
def test_an_interval_holds_its_median(values: list[int]) -> None:
    interval = Sample(tuple(values)).interval
    assert (interval is None) == (len(values) < 6)
    if interval is not None:
        assert min(values) <= interval[0] <= median(values) <= interval[1] <= max(values)


# ---- many figures ----
def test_holms_rule_by_hand() -> None:
    """Holm's own steps: 0.01 of three times three, 0.02 times two, and never less than the one before."""
    assert holm([0.02, 0.01, 0.9], [1, 1, 1]) == pytest.approx([0.04, 0.03, 0.9])
    assert holm([0.02, 0.021], [1, 1]) == pytest.approx([0.04, 0.04])
    # the first figure has 60 % of what is permitted: four against four can show it beside any number of others
    assert holm([2 / 70, *([0.5] * 20)], [0.6, *([0.02] * 20)])[0] < SIGNIFICANCE
    assert holm([], []) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(1e-9, 1), min_size=1, max_size=8), st.data())
def test_adjusted_ps_are_never_smaller_and_know_no_order(values: list[float], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.floats(0.1, 10), min_size=len(values), max_size=len(values)))
    adjusted = holm(values, weights)
    assert all(one >= p * (1 - 1e-9) for one, p in zip(adjusted, values, strict=True))
    order = data.draw(st.permutations(range(len(values))))
    again = holm([values[i] for i in order], [weights[i] for i in order])
    assert again == pytest.approx([adjusted[i] for i in order])


# ---- boots ----
def test_ten_boots_each() -> None:
    """4.30 s and 3.13 s with a spread of a few percent: what a user found by hand."""
    before = [4.30 + 0.02 * (i % 5) for i in range(10)]
    after = [3.13 + 0.02 * (i % 5) for i in range(10)]
    change = compare_runs(before, after)
    assert change.p_value < 0.001
    assert change.percent == pytest.approx(-26.9, abs=0.2)
    interval = change.percent_interval
    assert interval is not None
    assert -29 < interval[0] < -27 < interval[1] < -25


def test_noise_is_no_change_and_equal_runs_are_equal() -> None:
    assert compare_runs([10, 11, 12, 13, 14], [10.5, 11.5, 12.5, 13.5, 14.5]).p_value > 0.3
    same = compare_runs([5, 5, 5], [5, 5, 5])
    assert (same.p_value, same.shift.estimate, same.percent) == (1.0, 0, 0)


def test_statistics_need_runs() -> None:
    with pytest.raises(UsageError):
        compare_runs([], [1.0])
    assert compare_runs([0.0], [1.0]).percent is None
    assert compare_runs([0.0] * 6, [1.0] * 6).percent_interval is None


@pytest.mark.parametrize(("size", "figures"), [(4, 1), (5, 12), (10, 12)])
def test_of_equal_sides_hardly_any_are_called_different(size: int, figures: int) -> None:
    """Boots of skewed, correlated probes, nothing changed: at most 5 % of comparisons may claim anything at all."""
    draw = random.Random(f"{size} {figures}")
    weights = [0.6, *([0.4 / (figures - 1)] * (figures - 1))] if figures > 1 else [1.0]
    claimed, tries = 0, 400
    for _ in range(tries):
        boots = [_boot(draw, figures) for _ in range(2 * size)]
        values = [rank_test(column[:size], column[size:]) for column in zip(*boots, strict=True)]
        claimed += min(holm(values, weights)) <= SIGNIFICANCE
    # 5 % of 400, and three standard deviations of so many coins
    assert claimed <= 20 + 3 * math.sqrt(400 * 0.05 * 0.95)


def _boot(draw: random.Random, figures: int) -> list[float]:
    shared = draw.lognormvariate(0, 0.1)
    probes = [shared * draw.lognormvariate(3, 0.3) for _ in range(max(1, figures - 1))]
    return [sum(probes), *probes][:figures]
