"""``explore`` on the command line: what it says where it ended, and going on."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

from command import COMMAND, ENVIRONMENT, numaprobe, refused

ORDERS = Path(__file__).parents[2] / "examples" / "orders"


def test_ctrl_c_tells_what_was_seen_and_keeps_what_is_left(tmp_path: Path) -> None:
    path = tmp_path / "rest.json"
    command = [
        COMMAND,
        "explore",
        "sriov",
        "--policy",
        "exec-on-node",
        "--runs",
        "1000000",
        "-j",
        "2",
        "--resume",
        path,
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not path.exists():  # written every 20 s
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "more is left" in out
    assert f"goes on from {path}" in told
    done = numaprobe("explore", "sriov", "--policy", "exec-on-node", "--runs", "1", "--resume", path)
    assert out.splitlines()[1] == done.stdout.splitlines()[1]


def test_a_scenario_that_is_too_large_to_close_is_said_to_be_in_one_line() -> None:
    done = numaprobe("explore", "nvme-epyc", "--runs", "2")
    assert done.returncode == 0
    assert (
        done.stderr
        == "too large to close so: fewer devices (--devices 2), more --runs, --resume FILE, or --strategy pct\n"
    )


def test_what_is_left_of_something_else_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "rest.json"
    assert numaprobe("explore", "deferred-chain", "--runs", "3", "--resume", path).returncode == 0
    assert "what is left is of deferred-chain" in refused("explore", "nested", "--resume", path)
    path.write_text("{}", encoding="utf-8")
    assert "take the file away to begin again" in refused("explore", "nested", "--resume", path)


def test_a_page_has_each_schedule_drawn(tmp_path: Path) -> None:
    path = tmp_path / "found.html"
    done = numaprobe("explore", "deferred-chain", "--runs", "3", "--output", path)
    assert done.returncode == 0
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_one_order_is_shown_again_by_its_text() -> None:
    program = f"{ORDERS / 'rescan_lock.py'}:patched"
    found = json.loads(numaprobe("explore", program, "--first", "--json").stdout)["findings"][0]
    done = numaprobe("explore", program, "--schedule", found["schedule"], "--json")
    again = json.loads(done.stdout)
    assert done.returncode == 1
    assert again["coverage"] == "one schedule, run again"
    assert again["findings"] == [{**found, "first_run": 1, "times": 1}]
    for arguments, why in (
        (["run", program, "--schedule", found["schedule"]], "is a program: numaprobe explore"),
        (["explore", program, "--schedule", "np2:00000000:"], "is of another scenario, policy or kernel"),
        (["explore", program, "--schedule", "np1:00000000:"], "is of another version"),
        (["explore", program, "--schedule", found["schedule"], "--resume", "x.json"], "--resume is for a search"),
    ):
        assert why in refused(*arguments)
