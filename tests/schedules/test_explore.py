"""What a search of a scenario finds, what it claims, and that its schedules repeat what they found."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from functools import partial
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING

import pytest

from numaprobe.errors import InputError, UsageError
from numaprobe.records import dump_trace
from numaprobe.scenario import save_scenario
from numaprobe.schedules import FAULTS, Limits, ScenarioSubject, Search, Verdict, repeat
from numaprobe.schedules.batches import Draw, batch
from numaprobe.study import make_setting, run
from numaprobe.study.orders import explore_setting, save_found

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numaprobe.scenario import Setting

    Abba = Callable[[str], Setting]


def test_the_normal_run_passes_what_a_search_finds(abba: Abba) -> None:
    setting = abba("abba")
    assert run(setting).deadlock is None
    result = explore_setting(setting, Limits(first=True))
    (found,) = result.findings
    assert found.ending.verdict is Verdict.DEADLOCK
    assert found.run.preemptions == 1
    assert {party.waits_for.split(" held")[0] for party in found.ending.cycle} == {"lock 'a'", "lock 'b'"}
    assert not result.exhaustive


def test_a_deadlock_is_told_when_its_cycle_closes(abba: Abba) -> None:
    found = explore_setting(abba("abba"), Limits(first=True)).findings[0]
    assert found.run.steps[-1].notes[-1][0] == "waits for"
    stacks = [party.stack for party in found.ending.cycle]
    assert all(any("drivercore/body.py" in line for line in stack) for stack in stacks)
    assert all("probing" in party.story[-1] for party in found.ending.cycle)


@pytest.mark.parametrize("strategy", ["dfs", "pct", "random", "portfolio"])
def test_each_strategy_finds_it_and_none_reports_the_fixed_one(abba: Abba, strategy: str) -> None:
    limits = Limits(strategy=strategy, runs=100, first=True)
    assert explore_setting(abba("abba"), limits).findings
    assert not explore_setting(abba("abab"), limits).findings


def test_any_order_of_processes_gives_the_same_result(abba: Abba) -> None:
    limits = Limits(strategy="random", runs=40)
    here = Search(ScenarioSubject(abba("abba")), limits).explore()
    with ThreadPool(2) as pool:  # what a process is sent and answers can be pickled: the next test
        there = Search(ScenarioSubject(abba("abba")), limits, map=pool.imap).explore()
    assert [(one.schedule, one.times, one.first_run) for one in here.found.values()] == [
        (one.schedule, one.times, one.first_run) for one in there.found.values()
    ]


def test_what_another_process_is_sent_and_answers_can_be_pickled(abba: Abba) -> None:
    subject, draw = ScenarioSubject(abba("abba")), Draw("random", 0, 3, 20)
    sent = pickle.loads(pickle.dumps(partial(batch, subject, draw)))  # noqa: S301  our own
    answered = pickle.loads(pickle.dumps(sent(range(1, 4))))  # noqa: S301  our own
    assert answered == batch(subject, draw, range(1, 4))


def test_a_schedule_repeats_byte_for_byte_in_another_process_with_another_hash_seed(abba: Abba, tmp_path: Path) -> None:
    setting = abba("abba")
    found = explore_setting(setting, Limits(first=True)).findings[0]
    path = tmp_path / "kept.toml"
    save_scenario(setting.scenario.model_copy(update={"schedule": found.schedule}), path)
    here = [dump_trace(repeat(setting, found.schedule)[1].trace) for _ in range(2)]
    assert here[0] == here[1]
    printed = set()
    for seed in ("1", "2"):
        command = [sys.executable, "-m", "numaprobe", "run", str(path), "--policy", "inline", "--json"]
        env = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert found.schedule in done.stdout
        printed.add(done.stdout)
    assert len(printed) == 1


def test_what_is_kept_is_a_scenario_that_hangs_the_same_way(abba: Abba, tmp_path: Path) -> None:
    setting = abba("abba")
    path = tmp_path / "kept.toml"
    command = save_found(setting, explore_setting(setting, Limits(first=True)), path)
    assert command == f"numaprobe run {path} --policy inline"
    outcome = run(make_setting(path, policy="inline"))
    assert outcome.deadlock is not None
    assert "lock 'a'" in outcome.deadlock


def test_nothing_found_is_nothing_to_keep(abba: Abba, tmp_path: Path) -> None:
    setting = abba("abab")
    with pytest.raises(UsageError, match="nothing was found"):
        save_found(setting, explore_setting(setting, Limits(runs=3)), tmp_path / "kept.toml")


def test_a_schedule_of_something_else_is_refused(abba: Abba) -> None:
    setting = abba("abba")
    digest = ScenarioSubject(setting).digest
    for schedule, why in (
        ("np2:00000000:", "another scenario"),
        ("np9:00000000:", "another version"),
        ("hello", "is none"),
        (f"np2:{digest}:5=1,3=1", "do not grow"),
        (f"np2:{digest}:2=77", "wants number 77"),
        (f"np2:{digest}:900000=1", "never came"),
    ):
        with pytest.raises(InputError, match=why):
            run(setting, schedule=schedule)
    with pytest.raises(UsageError, match="leave out --real"):
        run(setting, schedule=f"np2:{digest}:", real=True)


def test_background_load_is_refused() -> None:
    setting = make_setting("mixed-bus", overrides=['steps=[{busy={cpus="0"}}]'])
    with pytest.raises(InputError, match=r"steps\[0\]: background load has no order"):
        ScenarioSubject(setting)


def test_an_unknown_choice_is_refused(abba: Abba) -> None:
    with pytest.raises(UsageError, match="unknown choice 'x': known: no-room"):
        ScenarioSubject(abba("abba"), ("x",))


@pytest.mark.parametrize("fault", FAULTS)
def test_choices_that_are_no_order_are_part_of_the_schedule(fault: str) -> None:
    setting = make_setting("async-probe-test")
    search = Search(ScenarioSubject(setting, (fault,)), Limits(strategy="random", runs=5))
    result = search.explore()
    for found in result.found.values():
        assert f"+{fault}:" in found.schedule
        assert repeat(setting, found.schedule)[0].ending.key == found.ending.key


def test_exhaustive_is_said_of_a_closed_space_alone() -> None:
    large = explore_setting(make_setting("deferred-chain"), Limits(runs=3))
    assert large.coverage.startswith("bounded: 3 schedules; not even")
    result = explore_setting(make_setting("sriov"))
    assert result.coverage == "exhaustive: every order of this subject, in 107 schedules"
    assert result.clean


def test_a_scenario_that_cannot_be_taken_in_its_own_order_is_refused() -> None:
    setting = make_setting("lab-nvme", overrides=['steps=[{bind="nobody"}]'])
    with pytest.raises(InputError, match=r"steps\[0\]\.bind: 'nobody' is no device here"):
        explore_setting(setting)
