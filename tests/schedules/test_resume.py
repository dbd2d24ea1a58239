"""A search that stops goes on elsewhere, and ends with what an undisturbed one ends with; so do several processes."""

from __future__ import annotations

import json
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any

import pytest

from known_bugs import BUGS
from numaprobe.errors import InputError
from numaprobe.schedules import Limits, Rest, ScenarioSubject, Search, read_rest, write_rest
from numaprobe.study import make_setting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numaprobe.scenario import Setting
    from numaprobe.schedules import Explored, Subject

    Abba = Callable[[str], Setting]


def told(result: Explored) -> Any:
    found = [(one.schedule, one.times, one.first_run, one.ending.key) for one in result.found.values()]
    return found, result.coverage, result.runs, result.steps, result.states, result.longest, result.actors


def in_pieces(subject: Subject, runs: int, pieces: int, path: Path, **how: Any) -> Explored:
    """Search in pieces, each of them from the file that the last one wrote."""
    ends = [runs * number // pieces for number in range(1, pieces + 1)]
    for end in ends:
        limits = Limits(runs=runs, **how)
        search = Search(subject, limits, rest=read_rest(path), keep=lambda rest: write_rest(rest, path))

        def stop(count: int, search: Search = search, end: int = end) -> None:
            search.stopped = count >= end

        search._progress = stop if end < runs else None
        result = search.explore()
    return result


@pytest.mark.parametrize("strategy", ["dfs", "pct", "random", "portfolio"])
def test_a_search_in_pieces_says_what_an_undisturbed_one_says(abba: Abba, tmp_path: Path, strategy: str) -> None:
    subject = ScenarioSubject(abba("abba"))
    whole = Search(subject, Limits(strategy=strategy, runs=60)).explore()
    assert len(whole.found) > 1
    assert told(in_pieces(subject, 60, 3, tmp_path / "rest.json", strategy=strategy)) == told(whole)


@pytest.mark.parametrize("number", ["K01", "K04", "K20", "K26", "K31"])
def test_so_does_one_that_is_reduced_or_remembers_states(number: str, tmp_path: Path) -> None:
    program = next(bug for bug in BUGS if bug.number == number).program(fixed=False)
    whole = Search(program, Limits(runs=120)).explore()
    assert told(in_pieces(program, 120, 5, tmp_path / "rest.json")) == told(whole)


@pytest.mark.parametrize("runs", [1, 17, 90])
@pytest.mark.parametrize("first", [False, True])
def test_any_number_of_processes_finds_the_same_in_depth_first_order(abba: Abba, runs: int, first: bool) -> None:
    subject = ScenarioSubject(abba("abba"))
    limits = Limits(runs=runs, first=first)
    alone = Search(subject, limits).explore()
    with ThreadPool(2) as pool:
        kept: list[Rest] = []
        together = Search(subject, limits, map=pool.imap, keep=kept.append).explore()
    assert told(together) == told(alone)
    goes_on = Search(subject, Limits(runs=runs + 20), rest=kept[-1]).explore()  # wherever the other one ended
    assert told(goes_on) == told(Search(subject, Limits(runs=runs + 20)).explore())


def test_a_closed_space_is_closed_by_parts_too(tmp_path: Path) -> None:
    subject = ScenarioSubject(make_setting("sriov"))
    alone = Search(subject, Limits()).explore()
    assert alone.exhaustive
    assert told(Search(subject, Limits(), map=map).explore()) == told(alone)
    assert told(in_pieces(subject, 107, 20, tmp_path / "rest.json")) == told(alone)
    again = Search(subject, Limits(), rest=read_rest(tmp_path / "rest.json")).explore()  # nothing is left to do
    assert told(again) == told(alone)
    assert again.over


def test_what_is_left_of_something_else_is_refused(abba: Abba, tmp_path: Path) -> None:
    path = tmp_path / "rest.json"
    subject = ScenarioSubject(abba("abba"))
    Search(subject, Limits(runs=20), keep=lambda rest: write_rest(rest, path)).explore()
    rest = read_rest(path)
    with pytest.raises(InputError, match=r"is of scenario under inline on 6\.19, or of another state of it"):
        Search(ScenarioSubject(abba("abab")), Limits(), rest=rest)
    with pytest.raises(InputError, match="of a search with --strategy dfs, not pct"):
        Search(subject, Limits(strategy="pct"), rest=rest)
    for damage in (
        {"schema": "numaprobe.explore/1"},
        {"path": [[1]]},
        {"runs": -1},
        {"version": "np0"},
        {"more": 1},
    ):
        path.write_text(json.dumps(json.loads(rest.model_dump_json(by_alias=True)) | damage), encoding="utf-8")
        with pytest.raises(InputError, match="begin again"):
            read_rest(path)
    path.write_text("no JSON", encoding="utf-8")
    with pytest.raises(InputError, match="take the file away to begin again"):
        read_rest(path)
    assert read_rest(tmp_path / "none.json") is None
    assert rest is not None
    with pytest.raises(InputError, match="does not fit"):
        Search(subject, Limits(), rest=rest.model_copy(update={"path": [(7, False, 0, 1)]})).explore()
