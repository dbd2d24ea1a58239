import csv
import io
import json
import statistics
from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from sweep_samples import question

from browser import CHROMIUM, faults_of_pages
from numaprobe.cli.main import run_command
from numaprobe.datasets import DatasetWriter, Rows, Views
from numaprobe.datasets.rows import error_row
from numaprobe.datasets.tables import TABLES
from numaprobe.errors import InputError, UsageError
from numaprobe.records import json_schema
from numaprobe.report.questions import asked_page
from numaprobe.study.questions import QUESTIONS, AskedTable, ask, frame_of
from numaprobe.study.sweep.crew import LocalCrew
from numaprobe.study.sweep.driver import sweep

POLICIES, KERNELS, MACHINES = ("a", "b", "c"), ("1", "2"), ("m", "n")
PLACE = {name: place for place, name in enumerate(TABLES["runs"])}


def figure(policy: str, kernel: str, machine: str, seed: int) -> int:
    """a and b depend on the machine, c is worse by far; the kernel does nothing."""
    base = {"a": 100, "b": 130, "c": 400}[policy]
    together = 60 if (policy, machine) == ("a", "n") else 0
    return 1000 * (base + together) + seed


def share(policy: str) -> float:
    return {"a": 0.5, "b": 1.0, "c": 0.25}[policy]


def row(run: int, extra: list[Any], **values: Any) -> list[Any]:
    found: list[Any] = [None] * len(TABLES["runs"])
    for name, value in ({"run": run, "passed": True} | values).items():
        found[PLACE[name]] = value
    return [*found, *extra]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset whose answers are known by construction, one failed run in it."""
    folder = tmp_path_factory.mktemp("q") / "d"
    writer = DatasetWriter.create(folder, "test", columns={"runs": {"seed": "BIGINT", "load": "DOUBLE"}})
    with writer, writer.part("0", runs=0) as part:
        for run, (policy, kernel, machine, seed) in enumerate(product(POLICIES, KERNELS, MACHINES, range(10))):
            time = figure(policy, kernel, machine, seed)
            values = {"policy": policy, "kernel": kernel, "machine": machine}
            figures = {"makespan_ns": time, "makespan_least_ns": time, "makespan_most_ns": time + 7, "remote_ns": 5}
            part.add(Rows(runs=[row(run, [seed, seed / 7], **values, **figures, local_share=share(policy))]))
        part.add(Rows(runs=[error_row(9999, "broken", {"policy": "a", "kernel": "1", "machine": "m"}, [1, 0.5])]))
    return folder


def answer(folder: Path, name: str, *by: str, **more: Any) -> AskedTable:
    with Views([folder]) as views:
        return ask(name, frame_of(views), by=by, **more)


def dicts(asked: AskedTable) -> list[dict[str, Any]]:
    return asked.to_dict()["rows"]  # type: ignore[no-any-return]


def test_the_best_for_each_machine(made: Path) -> None:
    rows = dicts(answer(made, "best"))
    # of m: a under kernel 1 has a failed run and gives way to kernel 2
    assert [(row["machine"], row["policy"], row["kernel"]) for row in rows] == [("m", "a", "2"), ("n", "b", "1")]
    times = [figure("a", "2", "m", seed) for seed in range(10)]
    assert rows[0]["makespan_ns"] == pytest.approx(statistics.median(times), abs=1)
    assert (rows[0]["least_ns"], rows[0]["most_ns"]) == (min(times), max(times) + 7)
    assert (rows[0]["equals"], rows[1]["equals"]) == (0, 1)
    assert rows[1]["beside_worst_percent"] == pytest.approx(-67.5, abs=0.1)
    every = dicts(answer(made, "best", top=6))
    assert len(every) == 12
    assert [row["place"] for row in every] == [1, 2, 3, 4, 5, 6] * 2
    assert every[5]["failed"] == 1


def test_what_a_policy_costs_beside_the_best_in_the_same_place(made: Path) -> None:
    rows = dicts(answer(made, "cost", "machine"))
    found = {(row["machine"], row["policy"]): row for row in rows}
    assert found["m", "a"]["best_share"] == 1.0
    assert found["n", "a"]["best_share"] == 0.0
    assert found["m", "b"]["more_percent"] == pytest.approx(30, abs=0.1)
    assert found["n", "a"]["more_percent"] == pytest.approx(100 * (160 - 130) / 130, abs=0.1)
    assert found["n", "c"]["most_percent"] == pytest.approx(100 * (400 - 130) / 130, abs=0.1)


def test_the_front_has_what_none_beats(made: Path) -> None:
    asked = answer(made, "front")
    found = defaultdict(set)
    for one in dicts(asked):
        found[one["machine"]].add(one["policy"])
    assert found == {"m": {"a", "b"}, "n": {"b"}}


def test_which_knob_matters(made: Path) -> None:
    rows = dicts(answer(made, "sensitivity"))
    shares = {row["knob"]: row["share"] for row in rows}
    values = [(p, m, figure(p, k, m, s)) for p, k, m, s in product(POLICIES, KERNELS, MACHINES, range(10))]
    mean = statistics.fmean(value for *_, value in values)
    total = sum((value - mean) ** 2 for *_, value in values)
    of_policy = {p: statistics.fmean(v for q, _, v in values if p == q) for p in POLICIES}
    of_machine = {m: statistics.fmean(v for _, n, v in values if m == n) for m in MACHINES}
    cells = {(p, m): statistics.fmean(v for q, n, v in values if (p, m) == (q, n)) for p in POLICIES for m in MACHINES}
    alone = sum((of_policy[p] - mean) ** 2 for p, *_ in values) / total
    beyond = sum((cells[p, m] - of_policy[p] - of_machine[m] + mean) ** 2 for p, m, _ in values) / total
    assert shares["policy"] == pytest.approx(alone, abs=1e-3)
    assert shares.get("policy x machine", shares.get("machine x policy")) == pytest.approx(beyond, abs=1e-3)
    assert shares["kernel"] == 0
    assert rows[0]["knob"] == "policy"
    assert (rows[0]["best"], rows[0]["worst"]) == ("a", "c")
    assert sum(shares.values()) <= 1.0 + 1e-9


def test_heat_is_over_two_axes_and_spans_are_cut(made: Path) -> None:
    rows = dicts(answer(made, "heat", "policy", "machine"))
    assert len(rows) == 6
    assert {row["runs"] for row in rows} == {20}
    cut = dicts(answer(made, "heat", "policy", "load"))
    assert sum(row["runs"] for row in cut) == 120
    assert 4 <= len({row["load"] for row in cut}) <= 8


def test_other_figures_count_too(made: Path) -> None:
    with Views([made]) as views:
        assert dicts(ask("heat", frame_of(views, "remote"), by=["policy", "machine"]))[0]["remote_ns"] == 5
        with pytest.raises(UsageError, match="unknown figure 'nonsense'"):
            frame_of(views, "nonsense")
        with pytest.raises(InputError, match="none of 121 runs passed with a worst_ns"):
            frame_of(views, "worst")


@pytest.mark.parametrize("name", QUESTIONS)
def test_failed_runs_are_told(made: Path, name: str) -> None:
    by = ["policy", "machine"] if name == "heat" else []
    assert "1 of 121 runs did not pass and have no figures here" in answer(made, name, *by).notes


@pytest.mark.parametrize("name", ["heat", "front", "sensitivity"])
def test_a_page_has_its_picture_and_nothing_from_elsewhere(made: Path, name: str) -> None:
    page = asked_page([answer(made, name)])
    assert page.count("<svg") == 1
    assert "<script" not in page
    assert "Content-Security-Policy" in page
    assert (
        page.replace('xmlns="http://www.w3.org/2000/svg"', "")
        .replace('xmlns:xlink="http://www.w3.org/1999/xlink"', "")
        .count("http")
        == 1
    )  # "http-equiv"
    assert page == asked_page([answer(made, name)])


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: make tools installs it")
def test_every_page_in_a_browser(made: Path, tmp_path: Path) -> None:
    pages = {name: asked_page([answer(made, name)]) for name in QUESTIONS}
    assert faults_of_pages(pages, tmp_path) == []


def test_texts_of_strangers_are_texts(tmp_path: Path) -> None:
    writer = DatasetWriter.create(tmp_path / "d", "test")
    with writer, writer.part("0", runs=0) as part:
        for run, (policy, machine) in enumerate(product(("<script>x</script>", "b'\"; DROP"), ("<b>", "\x1b[31m"))):
            part.add(Rows(runs=[row(run, [], policy=policy, machine=machine, makespan_ns=run + 1, local_share=1.0)]))
    for name in ("heat", "front", "best", "cost", "sensitivity"):
        page = asked_page([answer(tmp_path / "d", name)])
        assert "<script" not in page
        assert "<b>" not in page
        assert "\x1b" not in page


def test_the_command_answers_in_every_format(made: Path, tmp_path: Path, capsys: Any) -> None:
    def output(*words: str) -> str:
        assert run_command(["query", *words, str(made)]) == 0
        return str(capsys.readouterr().out)

    sql = "SELECT policy, count(*) AS n, avg(local_share) AS s FROM runs WHERE passed GROUP BY 1 ORDER BY 1"
    found = json.loads(output(sql, "--json"))
    jsonschema.validate(found, json_schema("numaprobe.query/1"))
    assert found["rows"] == [["a", 40, 0.5], ["b", 40, 1.0], ["c", 40, 0.25]]
    rows = list(csv.reader(io.StringIO(output(sql, "-f", "csv"))))
    assert rows == [["policy", "n", "s"], ["a", "40", "0.5"], ["b", "40", "1.0"], ["c", "40", "0.25"]]
    assert output(sql).splitlines()[0].split() == ["policy", "n", "s"]
    assert output(sql, "-f", "markdown").startswith("| policy | n | s |")
    assert output("best").splitlines()[0] == "the best setting for each machine, by median makespan"
    prepared = json.loads(output("best", "--json"))
    jsonschema.validate(prepared, json_schema("numaprobe.query/1"))
    assert prepared["rows"][0]["policy"] == "a"
    page = tmp_path / "p.html"
    assert run_command(["query", "front", str(made), "-o", str(page)]) == 0
    assert page.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["SELECT 1 FROM nothing", "{made}"], "the query cannot be answered: Catalog Error"),
        (["SELECT 1", "/nowhere"], "/nowhere: there is no such file or folder"),
        (["bset", "{made}"], "unknown question 'bset': did you mean 'best'?"),
        (["best", "{made}", "--by", "nothing"], "unknown column of runs 'nothing'"),
        (["heat", "{made}", "--by", "policy,kernel,machine"], "heat has two axes"),
        (["SELECT 1", "{made}", "--by", "x"], "are for prepared questions"),
        (["SELECT 1", "{made}", "-f", "html"], "unknown format 'html'"),
    ],
)
def test_what_cannot_be_answered_is_one_line(made: Path, words: list[str], told: str, capsys: Any) -> None:
    assert run_command(["query", *(word.replace("{made}", str(made)) for word in words)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert told in said.err
    assert said.err.count("\n") == 1


def test_an_unfinished_sweep_answers_and_says_so(tmp_path: Path, capsys: Any) -> None:
    from test_sweep_runs import Here

    asked = question("policy=inline,spread", "seed=1,2,3,4,5,6,7,8,9")
    sweep(asked, tmp_path / "d", lambda: Here(ends_after=1))
    assert run_command(["query", "SELECT count(*) FROM runs", str(tmp_path / "d")]) == 0
    said = capsys.readouterr()
    assert f"runs so far; the rest: numaprobe sweep --resume {tmp_path / 'd'}" in said.err
    sweep(question("seed=1,2"), tmp_path / "e", Here)
    with pytest.raises(UsageError, match="cost is asked of runs under several policies"):
        answer(tmp_path / "e", "cost")


def test_the_commands_sweep_and_resume(tmp_path: Path, capsys: Any) -> None:
    folder = str(tmp_path / "d")
    words = ["sweep", "nvme-epyc", "-o", folder, "--vary", "policy=inline,spread", "--workers", "1", "--json"]
    assert run_command(words) == 0
    told = json.loads(capsys.readouterr().out)
    jsonschema.validate(told, json_schema("numaprobe.sweep/1"))
    assert (told["complete"], told["done"], told["failed"]) == (True, 2, 0)
    assert run_command(["sweep", "--resume", folder]) == 0
    assert "0 new" in capsys.readouterr().out
    for wrong in (words, ["sweep", "nvme-epyc"], ["sweep", "x", "--resume", folder], ["sweep", "--resume", "/nowhere"]):
        assert run_command(wrong) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_a_crew_is_hired_only_where_something_is_missing(tmp_path: Path) -> None:
    sweep(question("seed=1"), tmp_path / "d", lambda: LocalCrew(1))
    from numaprobe.study.sweep.driver import carry_out, resume

    def nobody() -> LocalCrew:
        raise AssertionError

    assert carry_out(*resume(tmp_path / "d"), nobody).new == 0
