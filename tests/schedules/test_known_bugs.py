"""Each known bug is found in its buggy variant; nothing is said of the fixed one, nor of what only looked like one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from known_bugs import BUGS, CONTROLS, Bug, Control
from numaprobe.schedules import Limits, Search, Verdict
from numaprobe.schedules.attempt import attempt
from numaprobe.schedules.conductor import Repeat
from numaprobe.schedules.replay import read_schedule


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.number)
def test_the_buggy_variant_is_found(bug: Bug) -> None:
    program = bug.program(fixed=False)
    result = Search(program, Limits(runs=200)).explore()
    if bug.oracle == "race":
        assert len(result.outcomes) > 1
        shown = result.outcomes
    else:
        shown = result.findings
        assert Verdict(bug.oracle) in {one.ending.verdict for one in shown}
    for one in shown:  # the schedule that is printed shows it again
        _, (run,) = attempt(program, Repeat(read_schedule(one.schedule, program.digest)))
        assert run.ending.key == one.ending.key


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.number)
def test_nothing_is_said_of_the_fixed_variant(bug: Bug) -> None:
    result = Search(bug.program(fixed=True), Limits(runs=200)).explore()
    assert result.clean, [one.ending.text for one in result.found.values()]


@pytest.mark.parametrize("number", ["K01", "K04", "K06", "K14", "K20", "K22", "K25", "K26", "K31"])
@pytest.mark.parametrize("fixed", [False, True])
def test_the_fake_machine_finds_the_same(number: str, fixed: bool) -> None:
    bug = next(one for one in BUGS if one.number == number)
    program = bug.program(fixed=fixed)
    found = [set(Search(one, Limits(runs=100)).explore().found) for one in (program, replace(program, fake=True))]
    assert found[0] == found[1]


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.number)
def test_nothing_is_said_of_what_only_looks_like_a_bug(control: Control) -> None:
    assert Search(control.program(), Limits(runs=200)).explore().clean
