"""``run --real`` and ``compare --measure``: what they write, what they refuse, how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import jsonschema
import pytest
from command import COMMAND, ENVIRONMENT, numaprobe, refused

from numaprobe.analysis import validate
from numaprobe.records import json_schema
from numaprobe.scenario import parse_scenario, prepare, run_setting
from numaprobe.version import __version__

FIRST = min(os.sched_getaffinity(0))
#: nvme-epyc on a computer of any size, and short
SHORT = (
    *("--set", f"caller.cpu={FIRST}"),
    *("--set", 'drivers[0].phases=[{allocate="64KiB"},{sleep="1ms"},{compute="100us"}]'),
)


def test_a_real_run_is_a_trace_of_this_computer() -> None:
    done = numaprobe("run", "nvme-epyc", "--real", "--json", "-p", "strict-node", *SHORT)
    assert (done.returncode, done.stderr) == (0, "")
    trace = json.loads(done.stdout)
    jsonschema.validate(trace, json_schema("numaprobe.trace/1"))
    assert (trace["source"], trace["policy"], trace["machine"]["name"]) == ("host", "strict-node", "host")
    assert [probe["result"] for probe in trace["probes"]] == ["0", "0", "0"]
    assert all(probe["cost_ns"] >= 1_100_000 for probe in trace["probes"])
    identity = trace["identity"]
    assert (identity["host"], identity["numaprobe"]) == (os.uname().nodename, __version__)
    assert identity["date"].startswith("2")


@pytest.mark.parametrize("form", ["table", "printk", "html", "svg"])
def test_a_real_run_is_shown_like_any_other(form: str) -> None:
    done = numaprobe("run", "nvme-epyc", "--real", "-f", form, *SHORT)
    assert (done.returncode, done.stderr) == (0, "")
    assert "0000:02:00.0" in done.stdout


def test_predictions_and_measurements_stand_side_by_side() -> None:
    done = numaprobe("compare", "nvme-epyc", "--measure", "--json", "--repeat", 3, "-p", "strict-node", *SHORT)
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    jsonschema.validate(result, json_schema("numaprobe.compare/1"))
    assert result["measurement"]["repeat"] == 3
    assert [entry["policy"] for entry in result["policies"]] == ["work-on-cpu", "strict-node"]
    for entry in result["policies"]:
        measured = entry["measured"]
        assert measured["source"] == "host"
        for name in ("makespan", "worst", "mean"):
            runs = measured["runs"][f"{name}_ns"]
            assert measured[f"{name}_ns"] == sorted(runs)[1]
            error = 100 * (entry[f"{name}_ns"] - sorted(runs)[1]) / sorted(runs)[1]
            assert measured["error"][f"{name}_percent"] == pytest.approx(error, abs=0.01)
        assert {probe["device"] for probe in measured["probes"]} == {probe["device"] for probe in entry["probes"]}


def test_the_table_has_a_row_for_each_policy_and_says_what_its_columns_are() -> None:
    lines = numaprobe(
        "compare", "nvme-epyc", "--measure", "--repeat", 1, "-p", "inline", "-p", "spread", *SHORT
    ).stdout.splitlines()
    assert lines[0].startswith("nvme-epyc on host, kernel 6.19 predicted, measured once each. Other programs used ")
    assert lines[2].split()[:4] == ["policy", "makespan", "measured", "error"]
    assert [line.split()[0] for line in lines[3:6]] == ["work-on-cpu", "inline", "spread"]
    assert any(line.startswith("error ") and "(predicted - measured) / measured" in line for line in lines)


def test_the_base_of_an_error_is_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    from numaprobe.report.validation import print_validation

    devices = [{"name": "d", "compatible": "x"}]

    def trace(sleep: str) -> object:
        drivers = [{"name": "x", "phases": [{"sleep": sleep}]}]
        scenario = parse_scenario(
            {"name": "s", "machine": "1 nodes x 1 cores", "drivers": drivers, "devices": devices}, "s"
        )
        return run_setting(prepare(scenario), "inline").trace

    found = validate(
        [trace("30ms")], [[trace("40ms"), trace("900ms"), trace("20ms")]], others_share=0.25, load_average=1.5
    )
    assert found.measured[0].makespan.runs_ns == (40_000_000, 900_000_000, 20_000_000)
    assert found.measured[0].typical.probes[0].cost_ns == 40_000_000
    print_validation(found)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "s on 1 nodes x 1 cores, kernel 6.19 predicted, measured 3 times each. "
        "Other programs used 25 % of its CPUs meanwhile (load average 1.5)."
    )
    row = "inline 30.000 ms 40.000 ms -25.0 % 30.000 ms 40.000 ms -25.0 % 30.000 ms 40.000 ms -25.0 %"
    assert " ".join(lines[3].split()).startswith(row + " 20.000 ms to 900.000 ms")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["run", "nvme-epyc", "--real", "-m", "epyc-9a64"], 3, "give --machine host"),
        (["compare", "nvme-epyc", "--measure", "-m", "epyc-9a64"], 3, "give --machine host"),
        (
            ["run", "isolated-at-run-time", "--real", "--set", 'steps[0].isolate="0"', "--set", "devices[0].node=0"],
            3,
            "no scenario changes the CPUs",
        ),
        (["compare", "nvme-epyc", "--repeat", "3"], 2, "give --measure with it"),
        (["compare", "-", "--measure"], 2, "--measure is for scenarios"),
        (["compare", "nvme-epyc", "pmem-2018", "--measure"], 2, "one scenario at a time"),
        (["compare", "nvme-epyc", "--measure", "-f", "html"], 2, "known: table, json"),
        (["compare", "nvme-epyc", "--measure", "--repeat", "0"], 2, "--repeat"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(arguments: list[str], code: int, says: str) -> None:
    assert says in refused(*arguments, code=code, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_real_run_that_is_stopped_leaves_nothing_behind(number: signal.Signals, code: int, tmp_path: Path) -> None:
    scenario = tmp_path / "long.toml"
    scenario.write_text(
        f'machine = "host"\ncaller = {{ cpu = {FIRST} }}\n'
        '[[drivers]]\nname = "slow"\nprobe_type = "async"\nphases = [{ sleep = "60s" }]\n'
        '[[devices]]\nname = "d{i}"\ncount = 4\nnode = 0\ncompatible = "slow"\n'
        f'[[steps]]\nadd = "*"\n[[steps]]\nbusy = {{ cpus = "{FIRST}" }}\n[[steps]]\nload = "slow"\n'
    )
    output = tmp_path / "trace.json"
    command = [COMMAND, "run", scenario, "--real", "-o", output]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        burner = _burning_child(process.pid)
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
    assert process.returncode == code
    assert error == ("numaprobe: interrupted\n" if number is signal.SIGINT else "")
    assert not output.exists()
    assert not Path(f"/proc/{burner}").exists()


def _burning_child(pid: int) -> int:
    """Wait until the run has a burner at work: then its devices are being probed, or will be in a moment."""
    while True:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        for child in children:
            fields = Path(f"/proc/{child}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
            if fields[0] == "R" and int(fields[11]) > 2:
                return int(child)
        time.sleep(0.02)
