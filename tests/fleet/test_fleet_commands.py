"""``collect`` and ``fleet`` as a user calls them, and a small fleet whose truth is known."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from bench.fleet.made import NEWER_DRIVER, SLOW_DRIVER, SLOW_FIRMWARE, Made, make_fleet
from fleet_hosts import put, trace

from browser import CHROMIUM, faults_of_pages
from numaprobe.cli.fleet import SHAPES
from numaprobe.cli.main import run_command
from numaprobe.errors import InputError, UnknownNameError, UsageError
from numaprobe.records import json_schema
from numaprobe.study.fleet import QUESTIONS, FleetAnswer, ask_fleet, collect, file_sources
from numaprobe.study.fleet.advised import FILE, ClassAdvice

COMMAND = Path(sys.executable).with_name("numaprobe")
PLANTED = {"slow-driver": 1, "off-node": 1, "no-node": 1, "fails": 1}
HOSTS = 96


def run(*arguments: object, stdin: bytes | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, input=stdin, timeout=120, check=False)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Made]:
    """Two days of a small fleet, one anomaly of each kind."""
    folder = tmp_path_factory.mktemp("fleet")
    for day in (1, 2):
        truth = make_fleet(folder / f"day-{day}", hosts=HOSTS, day=day, seed=13, plant=PLANTED)
        done = collect(folder / "ds", file_sources([folder / f"day-{day}"]))
        assert (done.added, done.failed) == (HOSTS, 0)
    return folder / "ds", truth


def ask(question: str, made: tuple[Path, Made], **more: object) -> FleetAnswer:
    return ask_fleet(question, str(made[0]), **more)  # type: ignore[arg-type]


def test_every_planted_anomaly_is_found_and_hardly_any_other(made: tuple[Path, Made]) -> None:
    answer = ask("outliers", made)
    found = {row["host"]: {sign["kind"] for sign in row["signs"]} for row in (one.to_dict() for one in answer.rows)}
    for host, kind in made[1].planted.items():
        assert kind in found.get(host, ()), f"{host}: {kind}"
    assert len(found) <= len(made[1].planted) + 2


def test_a_slow_firmware_is_found_behind_machines_of_all_kinds(made: tuple[Path, Made]) -> None:
    rows = [one.to_dict() for one in ask("slow", made).rows]
    firmware = [row for row in rows if row["place"][0]["what"] == "firmware"]
    assert [(row["driver"], row["place"][0]["value"]) for row in firmware] == [(SLOW_DRIVER, SLOW_FIRMWARE)]


def test_what_the_upgrade_changed_is_found(made: tuple[Path, Made]) -> None:
    answer = ask("changes", made, before=["kernel=6.1"], after=["kernel=6.12"])
    shown = {row["figure"] for row in (one.to_dict() for one in answer.rows) if row["shown"]}
    assert shown == {f"driver {NEWER_DRIVER}"}
    assert answer.sides == ("kernel=6.1 (83 hosts)", "kernel=6.12 (29 hosts)")
    days = ask("changes", made)
    assert days.sides == ("date=2026-11-01 (96 hosts)", "date=2026-11-02 (96 hosts)")


def test_findings_are_counted_by_hosts(made: tuple[Path, Made]) -> None:
    rows = {row["kind"]: row for row in (one.to_dict() for one in ask("findings", made).rows)}
    assert rows["unknown-node"]["hosts"] == 1
    assert rows["unknown-node"]["of"] == HOSTS
    assert rows["unknown-node"]["drivers"] == {"nvme": 1}


def test_settings_are_advised_by_class(made: tuple[Path, Made]) -> None:
    answer = ask("settings", made, only=["product=QEMU*"], seconds=60.0)
    assert 1 <= len(answer.rows) <= 2
    assert sum(row["hosts"] for row in (one.to_dict() for one in answer.rows)) == 24
    jsonschema.validate(answer.to_dict(), json_schema("numaprobe.fleet/1"))


def test_settings_end_with_their_time_and_say_what_is_left(made: tuple[Path, Made]) -> None:
    (made[0] / FILE).unlink(missing_ok=True)
    answer = ask("settings", made, only=["kernel=6.1"], seconds=0.01)
    assert len(answer.rows) == 1
    assert "were not looked at: the time was over; ask again" in answer.limits[-1]


def quick(_: object, one: Any, __: float) -> ClassAdvice:
    """What a search that took its time would say."""
    return ClassAdvice(
        peers=one.peers, kernel=one.kernel, cmdline=one.cmdline, hosts=len(one.hosts), example=one.hosts[0].name
    )


def test_a_class_that_was_searched_is_not_searched_again(
    made: tuple[Path, Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    (made[0] / FILE).unlink(missing_ok=True)
    monkeypatch.setattr("numaprobe.study.fleet.settings._advised", quick)
    searched: list[str] = []
    first = ask("settings", made, seconds=60.0, told=searched.append)
    assert len(searched) == len(first.rows) > 4
    searched.clear()
    again = ask("settings", made, seconds=0.0, told=searched.append)
    assert (again, searched) == (first, [])
    other = ask("settings", made, only=["kernel=6.1", "product=ACME*"], seconds=0.0, told=searched.append)
    assert (len(other.rows), searched) == (2, [])


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": "numaprobe.advised/1", "numaprobe": "0", "classes": []}'])
def test_kept_answers_that_are_damaged_or_anothers_are_as_good_as_none(made: tuple[Path, Made], text: str) -> None:
    (made[0] / FILE).write_text(text)
    searched: list[str] = []
    ask("settings", made, only=["product=QEMU*", "kernel=6.1"], seconds=0.01, told=searched.append)
    assert len(searched) == 1


def test_answers_that_cannot_be_kept_are_given_all_the_same(made: tuple[Path, Made]) -> None:
    (made[0] / FILE).unlink(missing_ok=True)
    (made[0] / FILE).mkdir()
    try:
        answer = ask("settings", made, only=["product=QEMU*", "kernel=6.1"], seconds=0.01)
    finally:
        (made[0] / FILE).rmdir()
    assert len(answer.rows) == 1
    assert answer.limits[-1].startswith("what was found is not kept for the next time: ")


def test_a_class_whose_replay_fails_is_told(made: tuple[Path, Made], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise InputError("driver x is not registered")

    (made[0] / FILE).unlink(missing_ok=True)
    monkeypatch.setattr("numaprobe.study.fleet.settings.load_run", fail)
    answer = ask("settings", made, only=["product=QEMU*"], seconds=60.0)
    assert answer.verdict.startswith("none of the classes of machines that were looked at can be repeated")
    assert any("cannot be repeated: driver x is not registered" in limit for limit in answer.limits)
    assert "cannot be repeated" in shown(answer, "table")


def shown(answer: FleetAnswer, form: str) -> str:
    """What the command prints of an answer."""
    out = io.StringIO()
    stream = SHAPES[form].stream
    assert stream is not None
    stream(answer, out)
    return out.getvalue()


@pytest.mark.parametrize("question", [one for one in QUESTIONS if one != "settings"])
def test_every_format_of_every_answer(question: str, made: tuple[Path, Made]) -> None:
    answer = ask(question, made)
    document = json.loads(shown(answer, "json"))
    jsonschema.validate(document, json_schema("numaprobe.fleet/1"))
    assert document["rows"]
    assert shown(answer, "table").startswith(document["verdict"])
    assert len(shown(answer, "csv").splitlines()) == len(document["rows"]) + 1
    assert "\n| " in shown(answer, "markdown")
    page = shown(answer, "html")
    assert page.startswith("<!DOCTYPE html>")
    assert "<script" not in page
    assert page.count("<table>") == page.count("</table>") >= 1


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: make tools installs it")
def test_every_page_in_a_browser(made: tuple[Path, Made], tmp_path: Path) -> None:
    pages = {question: shown(ask(question, made, seconds=1.0), "html") for question in QUESTIONS}
    assert faults_of_pages(pages, tmp_path) == []


def test_the_command_prints_the_answer(made: tuple[Path, Made], tmp_path: Path) -> None:
    done = run("fleet", "outliers", made[0], "--only", "peers=QEMU*", "-o", tmp_path / "x.html")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "<table>" in (tmp_path / "x.html").read_text()


def test_runs_are_chosen(made: tuple[Path, Made]) -> None:
    assert ask("slow", made, only=["host=host-000*"]).hosts == 10
    assert ask("slow", made, only=["kernel=6.1"]).hosts == 83
    assert ask("slow", made, only=["date=2026-11-01..2026-11-02", "product=ACME Storage 9"]).hosts == 24
    with pytest.raises(InputError, match="no run is like that"):
        ask("slow", made, only=["kernel=9.9"])
    with pytest.raises(InputError, match="no run is like that"):
        ask("slow", made, only=["host=' OR 1=1 --"])
    for word in ("kernel", "kernel=", "cost=1", "=x"):
        with pytest.raises(UsageError, match="chooses no runs"):
            ask("slow", made, only=[word])


def test_bad_questions_are_one_line(made: tuple[Path, Made], tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'outliers'"):
        ask("outlier", made)
    with pytest.raises(UsageError, match="are for 'changes'"):
        ask("slow", made, before=["kernel=6.1"])
    with pytest.raises(UsageError, match="name both sides"):
        ask("changes", made, before=["kernel=6.1"])
    with pytest.raises(InputError, match="the runs are of one day"):
        ask("changes", made, only=["date=2026-11-01"])
    with pytest.raises(InputError, match="is no dataset; make one"):
        ask_fleet("slow", str(tmp_path))
    done = run("fleet", "collect", tmp_path / "ds", "x.json")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "numaprobe collect" in done.stderr


def test_hostile_names_do_no_harm_in_any_format(tmp_path: Path) -> None:
    names = ["<script>alert(1)</script>", "a\x1b[31mb", "x|y`z`"]
    for number in range(40):
        name = names[number] if number < len(names) else f"h{number}"
        cost = 500_000_000 if number < len(names) else 5_000_000
        put(tmp_path / "in", f"{number}.json", trace(name, cost=cost + number))
    collect(tmp_path / "ds", file_sources([tmp_path / "in"]))
    answer = ask_fleet("outliers", str(tmp_path / "ds"))
    for form in ("table", "html", "markdown", "csv", "json"):
        text = shown(answer, form)
        assert "alert(1)" in text
        assert "\x1b" not in text
        assert form != "html" or "<script" not in text
        assert form != "markdown" or "<script" not in text.replace("\\<", "")


# ---- collect ---------------------------------------------------------------------------------------------------------
def test_collect_says_what_it_did(tmp_path: Path) -> None:
    put(tmp_path / "in", "a.json", trace("a"))
    (tmp_path / "in/bad.json").write_text("{")
    done = run("collect", tmp_path / "ds", tmp_path / "in")
    assert done.returncode == 1
    assert done.stdout == f"{tmp_path}/ds: 1 trace added (3 probes, 1 host, 2026-11-20), 1 could not be read\n"
    assert re.fullmatch(r"numaprobe: .*/in/bad\.json: [^\n]+\n", done.stderr)
    (tmp_path / "in/bad.json").unlink()
    again = run("collect", tmp_path / "ds", tmp_path / "in", "--json")
    assert again.returncode == 0
    document = json.loads(again.stdout)
    jsonschema.validate(document, json_schema("numaprobe.collected/1"))
    assert (document["added"], document["known"]) == (0, 1)


def test_collect_reads_standard_input(tmp_path: Path) -> None:
    from numaprobe.records import dump_trace

    done = run("collect", tmp_path / "ds", "-", stdin=dump_trace(trace("a")).encode())
    assert done.returncode == 0, done.stderr
    assert "1 trace added" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name traces"),
        (["--ssh", "-oProxyCommand=reboot"], "is no name of a host"),
        (["--ssh=-oProxyCommand=reboot"], "is no name of a host"),
        (["--date", "yesterday", "x"], "is no day"),
        (["missing.json"], "no such file or folder"),
        (["--hosts", "missing"], "no such file"),
        (["--jobs", "0", "x"], "--jobs"),
    ],
)
def test_a_wrong_call_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["collect", str(tmp_path / "ds"), *arguments]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert said in line
    assert not (tmp_path / "ds").exists()
