"""``lab --repeat``: what varies is counted, what was promised is judged in every round. A script is the guest."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from numaprobe.analysis.agreement import deciding_task, judge
from numaprobe.cli.main import run_command
from numaprobe.errors import RefusedError
from numaprobe.kernel.lab.guest import GuestResult
from numaprobe.kernel.lab.splats import Splat
from numaprobe.kernel.lab.tools import KernelImage, Tools
from numaprobe.records import ProbeRecord, RunWarning, Trace, dump_trace, json_schema
from numaprobe.scenario import load_scenario, run_scenario
from numaprobe.study import rounds as rounds_module
from numaprobe.study.guests import GuestOptions
from numaprobe.study.lab import GuestCheck, guest_setting
from numaprobe.study.rounds import GuestRound, GuestRounds, repeat_in_guests

if TYPE_CHECKING:
    from collections.abc import Callable

RELEASE = "7.3.4"
STOCK = "probe-workqueue"
MACHINE = "2 nodes x 2 cores"


@pytest.fixture
def image(tmp_path: Path) -> KernelImage:
    image = KernelImage(tmp_path / f"kernel/boot/vmlinuz-{RELEASE}", RELEASE)
    for path in (image.path, image.modules / "modules.dep"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return image


@pytest.fixture
def guests(image: KernelImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Put a script in virtme-ng's place whose guests bring these traces home, one after the other; None: it panics."""

    def make(*traces: Trace | None) -> str:
        for number, trace in enumerate(traces, 1):
            if trace is not None:
                (tmp_path / f"trace.{number}").write_text(dump_trace(trace))
        vng = tmp_path / "vng"
        vng.write_text(f"""#!/bin/sh
while [ "$1" != --rwdir ]; do shift; done
echo boot >> {tmp_path}/boots
number=$(wc -l < {tmp_path}/boots)
cp {tmp_path}/trace.$number "$2/trace.json" || {{ echo 'Kernel panic - not syncing: no root'; exit; }}
echo 0 > "$2/status"
""")
        vng.chmod(0o755)
        monkeypatch.setattr("numaprobe.kernel.lab.tools.find_tools", lambda: Tools(vng, os.environ["PATH"]))
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # a guest that fails leaves its console
        return str(image.path)

    return make


def guest_trace(policy: str = STOCK, **change: object) -> Trace:
    """Return what a guest of lab-bind records under a policy; change: of every probe's record."""
    scenario = load_scenario("lab-bind")
    options = GuestOptions(image=KernelImage(Path("vmlinuz"), RELEASE), tools=Tools(Path("vng"), ""), timeout=1.0)
    setting = guest_setting(scenario, options, machine=MACHINE)
    trace = run_scenario(setting.scenario, policy, kernel=RELEASE, machine=setting.plan.topology)
    addresses = {device.name: device.address for device in setting.plan.devices}
    probes = (replace(probe, device=addresses[probe.device], **change) for probe in trace.probes)  # type: ignore[arg-type]
    return replace(trace, probes=tuple(probes))


def lab(kernel: str, rounds: int, *options: str) -> int:
    words = ["lab", "lab-bind", "--machine", MACHINE, "--kernel", kernel, "--repeat", str(rounds)]
    return run_command([*words, *options])


AWAY = {"cpu": 1, "cpu_node": 0, "cpus": (1,), "remote_ns": None}


def test_where_a_soft_worker_ran_is_a_distribution_and_no_verdict(
    guests: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    soft = guest_trace("queue-on-node")
    kernel = guests(soft, guest_trace("queue-on-node", **AWAY), soft)
    assert lab(kernel, 3, "--policy", "queue-on-node") == 0
    out = capsys.readouterr().out
    assert "9 of 9 probes as predicted in three rounds in three boots; every round was decided alike" in out
    rows = [line for line in out.splitlines() if line.startswith("0000:8")]
    assert all(word in row for row in rows for word in ("3 of 3", "1 (1)", "soft", "worker of unbound pool"))
    assert len(rows) == 3
    assert "predicted: queue-on-node" in out


def test_what_was_promised_must_hold_in_every_round(
    guests: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    good = guest_trace()
    assert lab(guests(good, good, guest_trace("queue-on-node"), good), 4) == 1
    out = capsys.readouterr().out
    assert "3 of 4 (worker 1)" in out
    assert "9 of 12 probes as predicted in four rounds in four boots; decided differently from round to round:" in out
    assert "follows no policy that is known here" in out


def test_policies_are_excluded_by_all_rounds_together(
    guests: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert lab(guests(guest_trace(), guest_trace()), 2) == 0
    out = capsys.readouterr().out
    assert f"{STOCK} (stock)" in out
    assert "queue-on-node, " in out
    assert out.endswith("excluded by 6 of 6\n")


def test_a_guest_that_panics_is_one_round_that_failed(
    guests: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep = tmp_path / "kept"
    assert lab(guests(guest_trace(), None, guest_trace()), 3, "--keep", str(keep)) == 1
    said = capsys.readouterr()
    assert "6 of 6 probes as predicted in three rounds in three boots, 1 of which brought nothing home" in said.out
    assert "round 2: the guest's kernel panicked: no root" in said.err
    assert sorted(path.name for path in keep.iterdir()) == ["1", "2", "3"]
    assert (keep / "3/trace.json").is_file()
    assert f"{keep}/2/console.log" in said.err


def test_no_round_at_all_is_the_labs_own_failure(
    guests: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert lab(guests(None, None), 2) == 3
    err = capsys.readouterr().err
    assert "panicked: no root" in err
    assert err.count("\n") == 1


def test_the_json_is_as_its_schema_says(guests: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    good = guest_trace()
    assert lab(guests(good, good, None), 3, "--json", "--label", "mine") == 1
    said = capsys.readouterr()
    document = json.loads(said.out)
    jsonschema.validate(document, json_schema("numaprobe.lab-rounds/1"))
    assert [one["passed"] for one in document["rounds"]] == [True, True, False]
    first = document["probes"][0]
    assert first["rounds"] == first["as_predicted"] == 2
    assert first["tasks"] == {"worker of CPU 2": 2}
    assert len(first["costs_ns"]) == 2
    assert document["rounds"][0]["trace"]["identity"]["label"] == "mine"
    assert "check failed: 6 of 6 probes as predicted in three rounds" in said.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--overhead", "3"], "--overhead ROUNDS repeats by itself"),
        (["-o", "x.json"], "--repeat brings several traces"),
    ],
)
def test_what_does_not_go_with_it(options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert lab("6.1", 3, *options) == 2
    assert words in capsys.readouterr().err


# ---- one boot ------------------------------------------------------------------------------------------------------
def test_a_modules_rounds_share_a_guest_and_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []
    splats = (Splat(("WARNING: x",)),)
    said = (RunWarning(kind="kernel-splat", message="the guest's kernel says: WARNING: x"),)

    def together(settings: Any, record: object, told: object = None) -> list[GuestResult | RefusedError]:
        del told
        taken.append((settings, record))
        good = GuestResult(trace=guest_trace(), status=1, seconds=1.0, folder=Path(), splats=splats, failures=said)
        return [good, good, RefusedError("the guest did not come so far")]

    monkeypatch.setattr(rounds_module, "record_together", together)
    options = GuestOptions(image=KernelImage(Path("vmlinuz"), RELEASE), tools=Tools(Path("vng"), ""), timeout=100.0)
    setting = guest_setting(load_scenario("lab-bind"), options, machine=MACHINE)
    plan: Any = type("Plan", (), {"names": {one.name: one.address for one in setting.plan.devices}})()
    found = repeat_in_guests(replace(setting, module=plan), 3, ["--sched"])
    ((settings, record),) = taken
    assert [one.options.timeout for one in settings] == [300.0] * 3
    assert record == ["--sched"]
    assert found.boots == 1
    assert found.as_predicted == (6, 6)
    assert len(found.splats) == 1
    assert found.troubles == [
        "round 1, 2: the guest's kernel says: WARNING: x",
        "round 3: the guest did not come so far",
    ]
    assert not found.passed


def test_the_same_device_probed_twice_is_two_probes(tmp_path: Path) -> None:
    one = ProbeRecord(device="a", driver="d", cost_ns=10, start_ns=0, end_ns=10, cpu=1, comm="kworker/1:0")
    two = replace(one, start_ns=20, end_ns=30, comm="modprobe", cost_ns=30)
    trace = Trace(source="kernel", probes=(one, two))
    check = GuestCheck(report=judge(trace, trace, {}, None), predicted=trace, policy=STOCK, stock=STOCK)
    result = GuestResult(trace=trace, status=0, seconds=1.0, folder=tmp_path)
    found = GuestRounds(rounds=[GuestRound(result=result, check=check)] * 6, boots=6)
    first, second = found.probes
    assert (first.name.earlier, second.name.earlier) == (0, 1)
    assert first.tasks == (("worker of CPU 1", 6),)
    assert second.cost is not None
    assert second.cost.interval == (30, 30)
    assert found.passed


@pytest.mark.parametrize(
    ("comm", "task"),
    [
        ("kworker/3:1", "worker of CPU 3"),
        ("kworker/u17:4", "worker of unbound pool 17"),
        ("modprobe", "modprobe"),
        (None, "task unknown"),
    ],
)
def test_what_a_kernel_decided_of_a_task(comm: str | None, task: str) -> None:
    assert deciding_task(ProbeRecord(device="a", driver="d", cost_ns=1, comm=comm)) == task
