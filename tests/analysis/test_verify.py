"""Verdicts on made-up boots: each code, each refusal, what the gate does, and how often they are wrong."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import jsonschema
import pytest
from boots import MACHINE, OTHER, boot, noisy, side
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.analysis.verify import VERIFY_SCHEMA, VerifiedSide, verify
from numaprobe.errors import InputError, UsageError
from numaprobe.records import Identity, Reading, RunWarning, Trace, json_schema
from numaprobe.topology import to_json

#: five boots of three probes, and five that are a fifth slower
BEFORE = [boot([10 + k / 10, 20 - k / 10, 30 + k / 5]) for k in range(5)]
SLOWER = [boot([12 + k / 10, 24 - k / 10, 36 + k / 5]) for k in range(5)]
A, B = side("before", *BEFORE), side("after", *SLOWER)


def code(first: VerifiedSide, second: VerifiedSide, **options: object) -> str:
    found = verify(first, second, **options)  # type: ignore[arg-type]
    jsonschema.validate(found.to_dict(), json_schema(VERIFY_SCHEMA))
    return str(found.verdict.code)


# ---- the codes -------------------------------------------------------------------------------------------------------
def test_a_slower_state_is_a_regression_and_a_faster_one_an_improvement() -> None:
    assert code(A, B) == "regression"
    assert code(B, A) == "improvement"
    text = verify(A, B).verdict.text
    assert text == (
        "makespan 60.400 ms → 72.400 ms, +19.9 % (+18.9 % to +20.9 %; p=0.008 n=5); of 3 probes 3 slower, 0 faster"
    )


def test_a_makespan_that_stays_with_slower_probes_is_a_regression() -> None:
    """Asynchronous probes that disturb each other: each takes longer, and the boot as long as before."""
    six = [boot([10 + k / 10, 20 - k / 10, 30 + k / 5]) for k in range(6)]
    later = [
        replace(trace, probes=tuple(replace(one, cost_ns=2 * one.cost_ns) for one in trace.probes)) for trace in six
    ]
    found = verify(side("before", *six), side("after", *later))
    assert (found.verdict.code, [figure.shown for figure in found.figures]) == ("regression", [False] + [True] * 5)
    assert "no change of the makespan is shown" in found.verdict.text
    few = verify(side("before", *six[:5]), side("after", *later[:5]))
    assert few.verdict.code == "no-change"
    assert "its 3 probes cannot be judged one by one with less than 6 runs a side" in few.verdict.text


def test_probes_that_go_both_ways_are_mixed() -> None:
    before = [boot([10 + k / 10, 20 - k / 10, 30]) for k in range(6)]
    after = [boot([5 + k / 10, 25 - k / 10, 30]) for k in range(6)]
    assert code(side("a", *before), side("b", *after)) == "mixed"
    assert verify(side("a", *before), side("b", *after)).verdict.text.startswith("nvme 0000:80:00.0 10.250 ms → 5.250")


def test_a_difference_below_one_percent_is_negligible() -> None:
    after = [boot([10.03 + k / 10, 20.03 - k / 10, 30.03 + k / 5]) for k in range(5)]
    steady = [boot([10 + k / 1000] * 3) for k in range(5)]
    barely = [boot([10.05 + k / 1000] * 3) for k in range(5)]
    assert code(side("a", *steady), side("b", *barely)) == "negligible"
    assert code(A, side("after", *after)) == "no-change"


def test_nothing_shown_says_what_can_be_excluded() -> None:
    draw = random.Random(5)
    calm, wild = ([noisy(draw, 3, noise=noise) for _ in range(20)] for noise in (0.005, 0.3))
    assert code(side("a", *calm[:10]), side("b", *calm[10:])) == "no-change"
    assert code(side("a", *wild[:10]), side("b", *wild[10:])) == "too-noisy"
    assert code(side("a", *wild[:10]), side("b", *wild[10:]), gate=80.0) == "no-change"
    assert "a change of 5 % cannot be excluded" in verify(side("a", *wild[:10]), side("b", *wild[10:])).verdict.text


# ---- refusals --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (1, 1, "one run of a side says nothing of chance; record 4 or more"),
        (5, 1, "one run of a side says nothing of chance"),
        (2, 2, "2 against 2 runs can never be significant at 0.05: the smallest p is 0.333; record 4 or more"),
        (3, 3, "3 against 3 runs can never be significant at 0.05: the smallest p is 0.100; record 4 or more"),
    ],
)
def test_too_few_runs_are_refused_with_how_many_it_takes(before: int, after: int, words: str) -> None:
    found = verify(side("a", *BEFORE[:before]), side("b", *SLOWER[:after]), gate=10.0)
    assert (found.verdict.code, found.verdict.passed) == ("too-few", None)
    assert words in found.verdict.text


def test_four_of_each_are_enough_beside_any_number_of_probes() -> None:
    slow, fast = ([boot([scale * 10 + k / 10] * 40) for k in range(4)] for scale in (2, 1))
    assert code(side("a", *fast), side("b", *slow)) == "regression"
    assert code(side("a", *fast), side("b", *slow[:3])) == "too-few"


def test_a_state_that_differs_from_itself_is_refused() -> None:
    drifted = [boot([11 + k / 10, 21 - k / 10, 31 + k / 5]) for k in range(5)]
    found = verify(A, B, control=side("control", *drifted), gate=10.0)
    assert (found.verdict.code, found.verdict.passed) == ("control", None)
    assert "already differs: makespan 60.400 ms → 63.400 ms" in found.verdict.text
    alike = side("control", *(boot([10.05 + k / 10, 20 - k / 10, 30 + k / 5]) for k in range(5)))
    assert code(A, B, control=alike) == "regression"
    with pytest.raises(UsageError, match="the same every time"):
        verify(*_exact(), control=alike)


@pytest.mark.parametrize("kind", ["lost-events", "cut-off", "unfinished", "wrapped-buffer"])
def test_a_recording_that_lost_something_gives_no_verdict(kind: str) -> None:
    lossy = replace(SLOWER[2], warnings=(RunWarning(kind=kind, message="12 events were lost"),))
    found = verify(A, side("after", *SLOWER[:2], lossy), gate=10.0)
    assert (found.verdict.code, found.verdict.passed) == ("incomplete", None)
    assert "after.3: 12 events were lost" in found.verdict.text


def test_different_machines_are_refused() -> None:
    elsewhere = [replace(trace, machine=to_json(OTHER)) for trace in SLOWER]
    with pytest.raises(InputError, match=r"before.1 \(2 nodes, 8 CPUs, 2 LLCs\) and after.1 \(4 nodes, 16 CPUs"):
        verify(A, side("after", *elsewhere))
    there = [replace(trace, identity=Identity(machine_id="aa", host="db-7")) for trace in BEFORE]
    here = [replace(trace, identity=Identity(machine_id="bb", host="db-8")) for trace in SLOWER]
    with pytest.raises(InputError, match=r"before.1 \(db-7\) and after.1 \(db-8\)"):
        verify(side("before", *there), side("after", *here))
    renamed = [replace(trace, identity=Identity(machine_id="aa", host="db-9")) for trace in SLOWER]
    assert code(side("before", *there), side("after", *renamed)) == "regression"


def test_a_machine_that_is_set_up_in_another_way_is_the_same_machine() -> None:
    isolated = to_json(MACHINE) | {"name": "isolated", "info": {"cmdline": "isolcpus=4"}}
    assert code(A, side("after", *(replace(trace, machine=isolated) for trace in SLOWER))) == "regression"


def test_what_is_not_told_is_said() -> None:
    bare = [replace(trace, machine={}) for trace in BEFORE]
    found = verify(side("before", *bare), B)
    assert found.limits == ("the machine of before.1 and 4 more is not told: that it is the same is assumed",)
    mixed = [*SLOWER[:4], replace(SLOWER[4], kernel="6.1")]
    assert verify(A, side("after", *mixed)).limits == ("after was recorded on several kernels: 6.1, 7.2",)


def test_strangers_and_mixtures_are_refused() -> None:
    renamed = [replace(trace, probes=tuple(replace(one, driver="ahci") for one in trace.probes)) for trace in SLOWER]
    with pytest.raises(InputError, match="no probe in common"):
        verify(A, side("after", *renamed))
    with pytest.raises(InputError, match=r"after mixes measurements with a prediction: after\.2"):
        verify(A, side("after", SLOWER[0], replace(SLOWER[1], source="virtual")))


# ---- the gate --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("gate", "passed"), [(5.0, False), (18.0, False), (20.0, True), (50.0, True)])
def test_the_gate_stops_what_is_shown_to_be_beyond_it(gate: float, passed: bool) -> None:
    found = verify(A, B, gate=gate)
    assert (found.verdict.passed, found.verdict.code) == (passed, "regression")
    assert verify(B, A, gate=gate).verdict.passed is True
    assert verify(A, B).verdict.passed is None


def test_a_shorter_makespan_passes_whatever_single_probes_do() -> None:
    parallel = [
        replace(trace, probes=tuple(replace(one, start_ns=0, end_ns=one.cost_ns) for one in trace.probes))
        for trace in SLOWER
    ]
    found = verify(A, side("after", *parallel), gate=10.0)
    assert (found.verdict.code, found.verdict.passed) == ("improvement", True)
    assert "of 3 probes 3 slower" in found.verdict.text


# ---- no chance involved ----------------------------------------------------------------------------------------------
def _exact() -> tuple[VerifiedSide, VerifiedSide]:
    return tuple(side(label, replace(trace, source="virtual")) for label, trace in (("a", BEFORE[0]), ("b", SLOWER[0])))  # type: ignore[return-value]


def test_runs_in_virtual_time_are_compared_exactly_and_without_a_p() -> None:
    first, second = _exact()
    found = verify(first, second, gate=10.0)
    assert (found.mode, found.verdict.code, found.verdict.passed) == ("exact", "regression", False)
    assert "p=" not in found.verdict.text
    assert all(figure["p"] is None for figure in found.to_dict()["figures"])
    assert code(first, first) == "identical"
    twice = side("a", first.traces[0], first.traces[0])
    assert code(twice, second) == "regression"
    with pytest.raises(InputError, match="no repetitions of one run"):
        verify(side("a", first.traces[0], second.traces[0]), second)


# ---- predictions -----------------------------------------------------------------------------------------------------
PREDICTED = replace(boot([10, 20, 30]), source="virtual")
RUNS = [boot([10 + k / 10, 20, 30 - k / 20]) for k in range(-4, 4)]


def test_a_prediction_that_came_true() -> None:
    found = verify(side("predicted", PREDICTED), side("measured", *RUNS), gate=10.0)
    assert (found.mode, found.verdict.code, found.verdict.passed) == ("prediction", "as-predicted", True)
    assert found.verdict.text.startswith(
        "3 of 3 probes ran as predicted; makespan predicted 60.000 ms, measured 59.975"
    )
    assert verify(side("measured", *RUNS), side("predicted", PREDICTED)).verdict == replace(found.verdict, passed=None)


def test_a_prediction_that_did_not() -> None:
    long = [boot([15 + k / 10, 30, 45]) for k in range(8)]
    found = verify(side("p", PREDICTED), side("m", *long), gate=10.0)
    assert (found.verdict.code, found.verdict.passed) == ("off", False)
    assert code(side("p", PREDICTED), side("m", *long), gate=40.0) == "off"
    assert verify(side("p", PREDICTED), side("m", *long), gate=40.0).verdict.passed
    few = verify(side("p", PREDICTED), side("m", *long[:5]), gate=10.0)
    assert (few.verdict.code, few.verdict.passed) == ("too-few", None)
    assert "error -33.5 %; whether that is chance, 5 of the 6 runs" in few.verdict.text


def reading(makespan: int) -> Reading:
    return Reading(name=str(makespan), makespan_ns=makespan, worst_ns=makespan)


@pytest.mark.parametrize(("high", "expected", "passed"), [(70, "as-predicted", True), (58, "outside-range", False)])
def test_a_range_is_what_is_judged_and_takes_one_run(high: int, expected: str, passed: bool) -> None:
    ranged = replace(PREDICTED, readings=(reading(50_000_000), reading(high * 1_000_000)))
    found = verify(side("p", ranged), side("m", RUNS[0]), gate=1.0)
    assert (found.verdict.code, found.verdict.passed) == (expected, passed)
    assert f"predicted 50.000 ms to {high}.000 ms" in found.verdict.text


def test_a_probe_that_ran_elsewhere_is_told_first() -> None:
    away = [
        replace(trace, probes=(replace(trace.probes[0], cpu=0, cpu_node=0, comm="insmod"), *trace.probes[1:]))
        for trace in RUNS
    ]
    found = verify(side("p", PREDICTED), side("m", *away), gate=10.0)
    assert (found.verdict.code, found.verdict.passed) == ("elsewhere", False)
    assert "1 of 3 probes did not run as predicted (nvme 0000:80:00.0)" in found.verdict.text
    counts = {count.question: (count.same, count.varies, count.differs) for count in found.places.counts}
    assert counts["node"] == (2, 0, ("nvme 0000:80:00.0",))
    assert counts["worker"] == (2, 0, ("nvme 0000:80:00.0",))
    once = verify(side("p", PREDICTED), side("m", away[0], *RUNS[1:]))
    assert {count.question: count.varies for count in once.places.counts}["node"] == 1
    assert once.verdict.code == "as-predicted"


def test_a_prediction_for_another_topology_is_refused() -> None:
    with pytest.raises(InputError, match="different machines"):
        verify(side("p", replace(PREDICTED, machine=to_json(OTHER))), side("m", *RUNS))


def test_a_missing_probe_is_no_agreement() -> None:
    short = [replace(trace, probes=trace.probes[:2]) for trace in RUNS]
    found = verify(side("p", PREDICTED), side("m", *short))
    assert (found.verdict.code, found.places.missing) == ("elsewhere", ("nvme 0000:82:00.0",))


# ---- how often it is wrong -------------------------------------------------------------------------------------------
SIDES = st.lists(st.lists(st.integers(1, 10**6), min_size=3, max_size=3), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(SIDES, SIDES)
def test_swapping_the_sides_swaps_the_verdict(base: list[list[int]], runs: list[list[int]]) -> None:
    first, second = (side(name, *map(boot, costs)) for name, costs in (("a", base), ("b", runs)))
    there, back = verify(first, second), verify(second, first)
    for one, other in zip(there.figures, back.figures, strict=True):
        assert (one.slower, one.faster) == (other.faster, other.slower)  # type: ignore[union-attr]
    turned = {"regression": "improvement", "improvement": "regression"}
    if "negligible" not in {there.verdict.code, back.verdict.code}:  # percent of another base
        assert turned.get(there.verdict.code, there.verdict.code) == back.verdict.code or "no" in back.verdict.code
    assert verify(first, first).verdict.code in {"too-few", "no-change", "too-noisy"}


@pytest.mark.parametrize(("size", "probes"), [(4, 3), (5, 20), (10, 3)])
def test_of_equal_states_hardly_any_are_called_different(size: int, probes: int) -> None:
    draw = random.Random(f"{size} {probes}")
    tries, wrong = 120, 0
    for _ in range(tries):
        traces = [noisy(draw, probes) for _ in range(2 * size)]
        found = verify(side("a", *traces[:size]), side("b", *traces[size:]))
        wrong += found.verdict.code in {"regression", "improvement", "mixed", "negligible"}
    assert wrong <= 0.05 * tries + 3 * math.sqrt(tries * 0.05 * 0.95)


@pytest.mark.parametrize(("size", "slower"), [(5, 1.3), (10, 1.15)])
def test_a_change_of_three_times_the_noise_is_hardly_ever_missed(size: int, slower: float) -> None:
    """Boots with a noise of 5 %: ``python -m bench verify`` has the whole table."""
    draw = random.Random(f"{size} {slower}")
    found = 0
    for _ in range(30):
        before = [noisy(draw, 3) for _ in range(size)]
        after = [noisy(draw, 3, slower=slower) for _ in range(size)]
        found += verify(side("a", *before), side("b", *after)).verdict.code == "regression"
    assert found >= 27


def test_a_trace_of_hostile_names_is_told_in_one_line() -> None:
    odd = [replace(one, probes=(replace(one.probes[0], device="a\nb\x1b[31m"), *one.probes[1:])) for one in BEFORE]
    text = verify(side("a", *odd), side("b", *odd)).verdict.text
    assert "\n" not in text
    assert isinstance(odd[0], Trace)
