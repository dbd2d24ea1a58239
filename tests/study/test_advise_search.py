"""What is recommended is the best of everything that could be set: beside a search that only enumerates."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from advise_samples import candidates, every_selection, figures, probing_ns, replay, scenario

from numaprobe.scenario import builtin_names
from numaprobe.study import make_setting
from numaprobe.study.advise import Advice, Selection, Trial, advise, pick
from numaprobe.study.advise import search as searching

if TYPE_CHECKING:
    from numaprobe.scenario import Setting

TRACES = [
    "debian-6.1/two-nodes/sync.1",
    "debian-7.2/two-nodes/sync.2",
    "debian-7.2/two-nodes/vblk.1",
    "debian-7.2/two-nodes/vnestb.1",
    "debian-7.2/two-nodes-isolated/vblk.2",
    "debian-7.2/two-nodes-isolated/vblkasync.1",
    "debian-7.2/two-nodes-isolated/bind.1",
]
#: those whose combinations are many: ``python -m bench advise`` has them
MANY = {"mixed-bus", "deferred-chain", "host"}


def best_of_all(setting: Setting) -> tuple[int, int, int]:
    """Return time, probes off their node and number of settings of the best selection, by running every one.

    Time first: the makespan, and a hundredth of all probing for each setting. Then, of all whose makespan is within
    such a hundredth of that one's, the fewest probes off their node.
    """
    everything = {one: figures(setting, one) for one in every_selection(candidates(setting))}
    _, _, bound, failed = everything[()]
    step = max(1, round(probing_ns(setting) / 100))
    whole = {one: got for one, got in everything.items() if got[2] >= bound and set(got[3]) <= set(failed)}
    fastest = min(whole, key=lambda one: (whole[one][0] + step * len(one), whole[one][1]))
    near = [one for one in whole if whole[one][0] <= whole[fastest][0] + step]
    nearest = min(near, key=lambda one: (whole[one][1], len(one), whole[one][0]))
    best = nearest if whole[nearest][1] < whole[fastest][1] else fastest
    return whole[best][0], whole[best][1], len(best)


def recommended(advice: Advice) -> tuple[int, int, int]:
    trial = advice.base if advice.recommended is None else advice.recommended.trial
    return trial.makespan_ns, trial.remote, len(trial.selection)


@pytest.mark.parametrize("name", [name for name in builtin_names() if name not in MANY])
def test_on_scenarios_the_recommended_is_the_best_of_all(name: str) -> None:
    setting = make_setting(name)
    advice = advise(setting)
    assert advice.searched.exhaustive
    assert recommended(advice) == best_of_all(setting)


@pytest.mark.parametrize("name", TRACES)
def test_on_real_traces_the_recommended_is_the_best_of_all(name: str) -> None:
    setting = replay(name)
    advice = advise(setting)
    assert advice.searched.exhaustive
    if not any(one.trial.readings for one in advice.tried):  # with ranges the best is another one: see below
        assert recommended(advice) == best_of_all(setting)


@pytest.mark.parametrize(
    "name", ["lab-virtio", "isolated", "node-without-cpus", "sriov-sysfs", "debian-7.2/two-nodes/vblk.1"]
)
def test_step_by_step_comes_to_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = replay(name) if "/" in name else make_setting(name)
    full = advise(setting)
    monkeypatch.setattr(searching, "MAX_EXHAUSTIVE", 0)
    stepped = advise(setting)
    assert not stepped.searched.exhaustive
    assert recommended(stepped) == recommended(full)


TWO_DRIVERS = {
    "drivers": [
        {"name": "slow", "phases": [{"sleep": "100ms"}]},
        {"name": "quick", "phases": [{"sleep": "60ms"}]},
    ],
    "devices": [
        {"name": "slow{i}", "count": 2, "node": 0, "compatible": "slow"},
        {"name": "quick{i}", "count": 2, "node": 0, "compatible": "quick"},
    ],
}


def test_combinations_are_run_and_not_added_up() -> None:
    advice = advise(scenario(**TWO_DRIVERS))  # type: ignore[arg-type]
    by_name = {one.trial.name: one.gain_ns[0] for one in advice.tried}
    # asynchronous modules overlap: each alone hides what comes after it, both together end with the slowest probe
    assert by_name["slow.async_probe=1"] == 200_000_000
    assert by_name["quick.async_probe=1"] == 60_000_000
    assert by_name["quick.async_probe=1, slow.async_probe=1"] == 220_000_000
    assert advice.recommended is not None
    assert advice.recommended.trial.makespan_ns == 100_000_000
    assert advice.recommended.names == ["driver_async_probe=quick", "slow.async_probe=1"]


def test_a_line_that_brings_less_than_a_hundredth_is_not_recommended() -> None:
    devices = [
        {"name": "big", "node": 0, "compatible": "big"},
        {"name": "s{i}", "count": 2, "node": 0, "compatible": "s"},
    ]
    drivers = [{"name": "big", "phases": [{"sleep": "1s"}]}, {"name": "s", "phases": [{"sleep": "9ms"}]}]
    advice = advise(scenario(drivers, devices))
    assert advice.recommended is not None
    assert advice.recommended.names == ["big.async_probe=1"]


def test_a_gain_is_sure_only_if_every_reading_has_it() -> None:
    shared = {"lock": "acpi", "drivers": ["slow", "quick"], "hold": "5ms", "least": "0ns"}
    sure = advise(scenario(**TWO_DRIVERS, shared=[shared | {"most": "5ms"}]))  # type: ignore[arg-type]
    assert sure.recommended is not None
    assert sure.recommended.sure
    assert sure.hopeful is None
    doubtful = advise(scenario(**TWO_DRIVERS, shared=[shared | {"most": "1s"}]))  # type: ignore[arg-type]
    assert doubtful.recommended is None
    assert doubtful.hopeful is not None
    low, high = doubtful.hopeful.gain_ns
    assert low <= 3_200_000
    assert high > 200_000_000
    assert doubtful.verdict.startswith("Nothing is sure to help. ")
    assert "may save at most" in doubtful.verdict


def test_when_the_time_is_over_the_best_so_far_is_the_answer() -> None:
    setting = scenario(**TWO_DRIVERS)  # type: ignore[arg-type]
    advice = advise(setting, seconds=0)
    assert advice.searched.timed_out
    assert not advice.searched.exhaustive
    assert advice.recommended is None
    assert advice.runs == 1
    told: list[searching.SearchProgress] = []
    full = advise(setting, progress=told.append)
    assert [one.runs for one in told] == sorted(one.runs for one in told)
    assert {one.total for one in told} == {full.runs}
    assert told[-1].best.makespan_ns >= (full.recommended or full.tried[0]).trial.makespan_ns


def test_nothing_is_asked_of_a_clock_that_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(10_000))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(now)))
    advice = advise(scenario(**TWO_DRIVERS), seconds=6)  # type: ignore[arg-type]
    assert advice.searched.timed_out
    assert 1 < advice.runs < 6


def trial(selection: Selection, makespan: int, remote: int = 0, **readings: int) -> Trial:
    return Trial(
        selection=selection,
        makespan_ns=makespan,
        probing_ns=makespan,
        worst_ns=1,
        worst_device="d",
        readings={name: (value, 1) for name, value in readings.items()},
        local=10 - remote,
        placed=10,
    )


def test_gains_are_taken_reading_by_reading() -> None:
    base = trial((), 100, least=90, most=200)
    other = trial((), 80, least=85, most=150)
    assert other.gain(base) == (6, 25)  # 5 of 90 and 50 of 200 are so much of 100
    assert trial((), 80).gain(trial((), 100)) == (20, 20)
    assert (other.makespan_range(), base.makespan_range()) == ((85, 150), (90, 200))


def test_the_pick_goes_by_the_worst_reading_or_by_the_best() -> None:
    first, second, *_ = (one for one, *_ in candidates(scenario(**TWO_DRIVERS)).slots.values())  # type: ignore[arg-type]
    base = trial((), 1000, least=1000, most=1000)
    bold = trial((first,), 500, least=400, most=1100)
    safe = trial((second,), 800, least=800, most=850)
    assert pick(base, [base, bold, safe]) is safe
    assert pick(base, [base, bold, safe], hopeful=True) is bold
    assert pick(base, [base, bold]) is base
