"""``numaprobe verify`` on real traces: two kernels, repetitions of one, predictions; what it refuses; how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from command import numaprobe, refused

from numaprobe.cli.main import run_command
from numaprobe.records import json_schema

GUESTS = Path(__file__).parents[1] / "data" / "kernel"
NEW, OLD = GUESTS / "debian-7.2/two-nodes", GUESTS / "debian-6.1/two-nodes"


def verified(run: Any, *arguments: object, code: int = 0) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(run("verify", *arguments, "--json", code=code))
    jsonschema.validate(result, json_schema("numaprobe.verify/1"))
    return result


def figures(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one.get("figure") or one["device"]: one for one in result["figures"]}


def test_a_synchronous_load_that_becomes_asynchronous_is_no_gain_on_a_real_kernel(run: Any) -> None:
    """Where a replay of the synchronous load promises less than half: each probe takes longer, and the boot as long."""
    result = verified(run, f"sync={NEW}/sync*.gz", f"async={NEW}/async*.gz", "-m", NEW)
    found = figures(result)
    assert [len(side["runs"]) for side in result["sides"]] == [9, 6]
    assert not found["makespan"]["shown"]
    assert found["worst"]["shown"]
    assert found["worst"]["change_percent"] == pytest.approx(200.9, abs=0.1)
    assert found["worst"]["p"] == pytest.approx(2 / 5005)
    assert result["mode"] == "change"
    # three of the asynchronous loads were not recorded to their end
    assert result["verdict"]["code"] == "incomplete"
    assert "asyncparam.1.trace.gz: 2 probe(s) did not return" in result["verdict"]["text"]


def test_repetitions_of_one_load_do_not_differ(run: Any) -> None:
    """Where the loading shell was pinned makes no difference: six runs beside three of the same kernel."""
    result = verified(run, f"a={NEW}/sync.*.gz", f"a={NEW}/sync3.*.gz", f"b={NEW}/syncf.*.gz", "-m", NEW)
    assert result["verdict"]["code"] in {"too-noisy", "no-change"}
    assert not any(one["shown"] for one in result["figures"])


def test_one_load_by_one_load_is_slower_and_its_control_is_not(run: Any) -> None:
    sides = (f"load={NEW}/sync.*.gz", f"load={NEW}/sync3.*.gz", f"bind={NEW}/bind.*.gz", f"bind={NEW}/dprobe.*.gz")
    result = verified(run, *sides, "-m", NEW, "--control", f"{NEW}/syncf.*.gz")
    assert result["verdict"]["code"] in {"regression", "too-noisy"}
    assert result["control"][0]["figure"] == "makespan"
    assert not any(one["shown"] for one in result["control"])


def test_two_kernels_in_three_runs_each_give_no_verdict(run: Any) -> None:
    arguments = ("verify", f"{OLD}/async.*.gz", "--", f"{NEW}/async.*.gz")
    text = run(*arguments)
    assert text.startswith("too-few: no verdict: 3 against 3 runs can never be significant at 0.05")
    done = numaprobe(*arguments, "--gate", "10%")
    assert done.returncode == 2
    assert done.stderr.startswith("numaprobe: the gate cannot be judged: too-few: ")


def test_a_replay_is_held_against_the_runs_that_it_does_not_know(run: Any, tmp_path: Path) -> None:
    """The prediction comes of the first repetition, and is held against the others."""
    prediction = tmp_path / "prediction.json"
    run("run", NEW / "async.1.trace.gz", "-m", NEW, "-o", prediction)
    result = verified(run, prediction, NEW / "async.2.trace.gz", NEW / "async.3.trace.gz", "-m", NEW)
    assert result["mode"] == "prediction"
    assert [side["label"] for side in result["sides"]] == ["predicted", "measured"]
    counts = {one["question"]: (one["same"], one["differs"]) for one in result["places"]["counts"]}
    assert counts["node"] == counts["worker"] == counts["stayed"] == (3, [])
    assert abs(figures(result)["makespan"]["error_percent"]) < 15


def test_a_load_replayed_as_asynchronous_is_held_to_its_range(run: Any, tmp_path: Path) -> None:
    """One synchronous load, replayed as an asynchronous one: what the probes share is in doubt, and so is a range."""
    prediction = tmp_path / "prediction.json"
    changed = ("--set", "drivers[0].probe_type=async")
    run("run", NEW / "sync.1.trace.gz", "-m", NEW, *changed, "-o", prediction)
    result = verified(run, prediction, f"{NEW}/async.1.trace.gz", f"{NEW}/async.2.trace.gz", "-m", NEW, "--gate", "10%")
    assert (result["verdict"]["code"], result["verdict"]["passed"]) == ("as-predicted", True)
    makespan = figures(result)["makespan"]
    assert makespan["inside"]
    assert makespan["range_ns"][0] < makespan["measured"]["median_ns"] < makespan["range_ns"][1]


def test_virtual_runs_are_compared_exactly_and_the_gate_decides_the_exit(run: Any, tmp_path: Path) -> None:
    fast, slow = tmp_path / "fast.json", tmp_path / "slow.json"
    for path, policy in ((fast, "probe-on-node"), (slow, "work-on-cpu")):
        run("run", "nvme-epyc", "-p", policy, "-o", path)
    assert run("verify", slow, fast, "--gate", "10%").startswith("improvement: makespan 52.900 ms → 34.300 ms, -35.2 %")
    assert run("verify", fast, slow, code=0).startswith("regression: ")
    assert "beyond the gate of 10 %" in run("verify", fast, slow, "--gate", "10", code=1)
    assert run("verify", fast, "--", slow, "--gate", "60%").startswith("regression: ")
    assert run("verify", fast, fast, "--gate", "0").startswith("identical: ")
    assert "p=" not in run("verify", slow, fast)
    done = numaprobe("verify", fast, slow, "--gate", "10%", "--json")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert json.loads(done.stdout)["verdict"]["passed"] is False


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([NEW / "sync.1.trace.gz"], "these are not two sides"),
        (["--", NEW / "sync.1.trace.gz"], "files before and after one '--'"),
        ([NEW / "sync.1.trace.gz", "--", NEW / "sync.2.trace.gz", "--", NEW / "sync.3.trace.gz"], "one '--'"),
        ([NEW / f"sync.{n}.trace.gz" for n in (1, 2, 3)], "which of 3 files are of which side?"),
        ([f"a={NEW}/sync.1.trace.gz", f"a={NEW}/sync.2.trace.gz"], "these are not two sides"),
        ([f"a={NEW}/sync.1.trace.gz", NEW / "sync.2.trace.gz"], "these are not two sides"),
        ([f"{NEW}/nothing.*", "--", NEW / "sync.2.trace.gz"], "nothing.*: no file is called so"),
        ([NEW / "sync.1.trace.gz", "--", "no-such-file"], "no-such-file"),
        ([NEW / "sync.1.trace.gz", NEW / "sync.2.trace.gz", "--gate", "much"], "--gate 'much' is no percentage"),
        ([NEW / "sync.1.trace.gz", NEW / "sync.2.trace.gz", "--gate", "-1"], "is no percentage"),
        ([NEW / "sync.1.trace.gz", NEW / "vblk.1.trace.gz"], "no probe in common"),
        ([NEW / "sync.1.trace.gz", NEW / "sync.2.trace.gz", "-f", "pdf"], "unknown format 'pdf'"),
    ],
)
def test_wrong_sides_are_refused_in_one_line(arguments: list[object], words: str) -> None:
    assert words in refused("verify", *arguments)


def test_a_prediction_for_another_topology_is_refused(run: Any, tmp_path: Path) -> None:
    prediction = tmp_path / "prediction.json"
    run("run", NEW / "async.1.trace.gz", "-m", NEW, "-o", prediction)
    trace = json.loads(prediction.read_text())
    other = json.loads(run("topology", "4 nodes x 2 cores", "--json"))
    prediction.write_text(json.dumps(trace | {"machine": other}))
    assert "different machines" in refused("verify", prediction, NEW / "async.2.trace.gz", "-m", NEW)


def test_a_log_that_was_cut_off_is_answered_with_its_limit(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    whole = "".join(f"[    {n}.000000] probe of 0000:0{n}:00.0 returned 0 after {900 + n} usecs\n" for n in range(1, 6))
    cut = whole + "[    7.100000] bus: 'pci': really_probe: probing driver nvme with device 0000:09:00.0\n"
    for name, text in (("a", whole), ("b", cut)):
        (tmp_path / name).write_text(text)
    assert run_command(["verify", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert capsys.readouterr().out.startswith("incomplete: no verdict: ")


def test_narrow_terminals_lose_columns_and_never_a_number() -> None:
    arguments = ("verify", f"a={NEW}/sync*.gz", f"b={NEW}/async*.gz", "-m", NEW)
    narrow, wide = (numaprobe(*arguments, env={"COLUMNS": width}).stdout for width in ("80", "200"))
    assert "left out on this width: 95 %" in narrow
    assert "+200.9 %  p=0.000 n=9+6\n" in narrow
    assert "+200.9 %  p=0.000 n=9+6  +159.7 % to +239.2 %" in wide


def test_a_hostile_label_stays_in_its_line(run: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        run("run", "pmem-2018", "--label", f"{name}\n\x1b[31m|", "-o", tmp_path / f"{name}.json")
    text = run("verify", tmp_path / "a.json", tmp_path / "b.json")
    assert "\x1b" not in text
    assert "a\\n\\x1b[31m|: 1 run (a.json)" in text
    assert "a\\\\n\\\\x1b\\[31m\\|" in run("verify", tmp_path / "a.json", tmp_path / "b.json", "-f", "markdown")
