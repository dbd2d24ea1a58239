"""What differs between a guest and its prediction, the least that explains it, and a scenario that shows it alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from numaprobe.analysis.agreement import Agreement, judge
from numaprobe.cli.main import run_command
from numaprobe.kernel.lab.guest import GuestResult
from numaprobe.kernel.lab.tools import KernelImage, Tools
from numaprobe.kernel.readers import read_trace
from numaprobe.records import ProbeRecord, Trace, json_schema
from numaprobe.runtime import closest_profile
from numaprobe.scenario import load_scenario, prepare, replay_scenario, run_scenario
from numaprobe.scenario.change import change_scenario
from numaprobe.scenario.reader import parse_override
from numaprobe.study.deviation import (
    PredictedCase,
    deviation_lines,
    deviations,
    possible_changes,
    smallest_difference,
)
from numaprobe.topology import load_topology, symmetric

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).parents[1] / "data" / "kernel"
MACHINE = symmetric("m", nodes=2, llcs=1, cores=2)
RELEASE = "7.3.4"
STOCK = "probe-workqueue"


# ---- names ---------------------------------------------------------------------------------------------------------
def probe(**more: Any) -> ProbeRecord:
    given = {
        "cpu": 2,
        "cpu_node": 1,
        "comm": "kworker/2:0",
        "device_node": 1,
        "result": "0",
        "start_ns": 0,
        "end_ns": 9,
    }
    return ProbeRecord(device="a", driver="nvme", cost_ns=9, **{**given, **more})


SOFT = {"comm": "kworker/u18:1", "cpus_allowed": "0-3", "pod": "2-3"}
HELD = {"comm": "kworker/u17:1", "cpus_allowed": "2-3", "pod": "2-3"}


@pytest.mark.parametrize(
    ("said", "seen", "kind", "text"),
    [
        ({}, {"comm": "modprobe", "cpu": 0}, "inline", "inline: modprobe in place of worker of CPU 2"),
        ({"comm": "sh"}, {}, "in a worker", "in a worker: worker of CPU 2 in place of sh"),
        ({}, {"comm": "kworker/u18:0"}, "wrong pool", "worker of unbound pool 18 in place of worker of CPU 2"),
        (SOFT, {"comm": "kworker/u17:0"}, "wrong pool", "unbound pool 17 in place of worker of unbound pool 18"),
        (HELD, {**HELD, "cpus": (2, 0, 1)}, "migrated", "migrated mid-probe: from CPU 2 to 0, 1"),
        (HELD, {**HELD, "cpu": 1, "cpu_node": 0, "cpus": (1,)}, "elsewhere", "elsewhere: CPU 1 in place of 2"),
        ({}, {"result": "ENODEV"}, "result", "result: ENODEV in place of 0"),
    ],
)
def test_a_difference_has_a_name(said: dict[str, Any], seen: dict[str, Any], kind: str, text: str) -> None:
    predicted, recorded = (Trace(source="kernel", probes=(probe(**more),)) for more in (said, seen))
    (found,) = deviations(judge(predicted, recorded, {}, MACHINE))
    assert found.kind == kind
    assert text in found.text


def test_what_was_not_probed_and_what_was_not_predicted() -> None:
    predicted = Trace(source="virtual", probes=(probe(), replace(probe(), device="b"), replace(probe(), device="c")))
    recorded = Trace(source="kernel", probes=(replace(probe(comm="modprobe"), device="d"),))
    found = deviations(judge(predicted, recorded, {}, MACHINE))
    assert [one.kind for one in found] == ["not probed"] * 3 + ["not predicted"]
    assert deviation_lines(found) == ["a, b, c (nvme): not probed", "d (nvme): probed by modprobe, and not predicted"]


# ---- the smallest difference ---------------------------------------------------------------------------------------
def case_of(scenario: str = "lab-bind", policy: str = STOCK, kernel: str = RELEASE) -> PredictedCase:
    given = load_scenario(scenario)
    topology = prepare(given).plan.topology
    return PredictedCase(scenario=given, policy=policy, profile=closest_profile(kernel), topology=topology)


def judged_by(recorded: Trace, case: PredictedCase) -> Callable[[Trace], Agreement]:
    return lambda predicted: judge(predicted, recorded, {}, case.topology)


def test_a_kernel_with_another_policy_is_explained_by_it() -> None:
    case = case_of()
    recorded = replace(case, policy="queue-on-node").run()
    found = smallest_difference(case, judged_by(recorded, case))
    assert (found.wrong, found.left) == (3, 0)
    assert "policy queue-on-node" in [change.text for answer in found.answers for change in answer]
    assert all(len(answer) == 1 for answer in found.answers)
    assert found.line().startswith("explained by one change: ")


@pytest.mark.parametrize(
    "override", ["devices[0].node=none", "devices[0].node=0", "drivers[0].probe_type=async", "caller.cpu=2"]
)
def test_a_setting_that_was_otherwise_is_found(override: str) -> None:
    case = case_of("lab-nvme" if "devices" in override else "lab-virtio", kernel="6.1")
    other = replace(case, scenario=change_scenario(case.scenario, dict([parse_override(override)])))
    found = smallest_difference(case, judged_by(other.run(), case))
    assert found.left == 0
    assert override in [change.text for answer in found.answers for change in answer]


def test_a_fact_of_another_release_is_found() -> None:
    case = case_of("lab-nvme-async", policy="queue-on-node", kernel="6.12")
    other = replace(case, profile=replace(case.profile, bh_pools_per_cpu=0))
    found = smallest_difference(case, judged_by(other.run(), case))
    assert "bh_pools_per_cpu = 0 (a kernel's from 5.1 on)" in [one.text for answer in found.answers for one in answer]


def test_two_things_at_once_are_found_in_pairs() -> None:
    case = case_of("lab-nvme", kernel="6.1")
    changes = dict([parse_override("devices[0].node=0")])
    other = replace(case, scenario=change_scenario(case.scenario, changes), policy="queue-on-node")
    found = smallest_difference(case, judged_by(other.run(), case))
    assert found.left == 0
    assert {len(answer) for answer in found.answers} == {2}
    assert "devices[0].node=0 with policy queue-on-node" in [
        " with ".join(one.text for one in answer) for answer in found.answers
    ]


RECORDED = [
    DATA / f"debian-{release}/two-nodes/{name}.1.trace.gz" for release in ("6.1", "7.2") for name in ("bind", "vblk")
]


@pytest.mark.parametrize("path", [*RECORDED, DATA / "debian-7.2/two-nodes-isolated/async.1.trace.gz"], ids=str)
def test_a_recorded_kernel_is_explained_by_the_policy_that_it_has(path: Path) -> None:
    topology = load_topology(str(path.parent))
    recorded = read_trace(path, topology=topology)
    setting = prepare(replay_scenario(recorded, topology))
    profile = setting.profile
    case = PredictedCase(scenario=setting.plan.scenario, policy="strict-node", profile=profile, topology=topology)
    found = smallest_difference(case, lambda predicted: judge(predicted, recorded, {}, topology))
    assert found.wrong == len(recorded.probes)
    assert found.left == 0
    assert (f"policy {profile.pci_policy}",) in [tuple(one.text for one in answer) for answer in found.answers]


def test_what_nothing_explains_is_said() -> None:
    case = case_of()
    recorded = case.run()
    strange = tuple(replace(one, result="EIO") for one in recorded.probes)
    found = smallest_difference(case, judged_by(replace(recorded, probes=strange), case))
    assert found.answers == ()
    assert found.line().startswith("explained by nothing that was tried (")
    some = tuple(replace(one, result="EIO") if index else one for index, one in enumerate(recorded.probes))
    other = replace(case, policy="queue-on-node").run()
    mixed = (*other.probes[:2], some[2])
    found = smallest_difference(case, judged_by(replace(recorded, probes=mixed), case))
    assert found.left == 1
    assert found.line().startswith("not explained; nearest (2 of 3 probes, one change): ")


def test_changes_exclude_each_other_by_what_they_are_about() -> None:
    changes = list(possible_changes(case_of()))
    assert len({change.text for change in changes}) == len(changes)
    assert {change.about for change in changes} > {"policy", "devices[0].node", "drivers[0].probe_type", "caller.cpu"}
    assert not any("pci_policy" in change.text for change in changes)


# ---- the command ---------------------------------------------------------------------------------------------------
@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A guest whose kernel follows queue-on-node, whatever is predicted."""
    image = KernelImage(tmp_path / f"k/boot/vmlinuz-{RELEASE}", RELEASE)
    for path in (image.path, image.modules / "modules.dep"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.setattr("numaprobe.kernel.lab.tools.find_tools", lambda: Tools(Path("vng"), ""))

    def record(setting: Any, record: object = (), **_: object) -> GuestResult:
        del record
        trace = run_scenario(setting.scenario, "queue-on-node", kernel=RELEASE, machine=setting.plan.topology)
        addresses = {device.name: device.address for device in setting.plan.devices}
        probes = tuple(replace(one, device=addresses[one.device]) for one in trace.probes)
        return GuestResult(trace=replace(trace, probes=probes), status=0, seconds=1.0, folder=tmp_path)

    monkeypatch.setattr("numaprobe.study.lab.record_in_guest", record)
    return str(image.path)


def test_what_differs_is_explained_and_shown_alone(
    guest: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = tmp_path / "alone.toml"
    words = ["lab", "lab-bind", "--kernel", guest, "--check"]
    assert run_command([*words, "--alone", str(alone), "--machine", "2 nodes x 2 cores"]) == 1
    said = capsys.readouterr()
    assert "(nvme): wrong pool: worker of unbound pool 18 in place of worker of CPU 2" in said.out
    assert "explained by one change: policy queue-on-node" in said.out
    assert f"what differs, alone: {alone}" in said.err
    scenario = load_scenario(str(alone))
    assert [group.count for group in scenario.devices] == [1]
    assert scenario.machine == "2 nodes x 2 cores"
    assert scenario.kernel == "7.3"
    assert len(scenario.steps) < 3
    assert "numaprobe lab THIS_FILE --check" in scenario.description
    # What is left shows it: the two predictions of this very file differ as the guest did.
    said_by, seen = (run_scenario(scenario, policy) for policy in (STOCK, "queue-on-node"))
    kinds = {one.kind for one in deviations(judge(said_by, seen, {}, prepare(scenario).plan.topology))}
    assert kinds == {"wrong pool"}


def test_the_json_says_what_explains_it(guest: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["lab", "lab-bind", "--kernel", guest, "--check", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, json_schema("numaprobe.lab/1"))
    assert {one["kind"] for one in document["deviations"]} == {"wrong pool"}
    assert document["explained"]["left"] == 0
    assert ["policy queue-on-node"] in document["explained"]["answers"]


def test_where_nothing_differs_nothing_is_written(
    guest: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = tmp_path / "alone.toml"
    words = ["lab", "lab-bind", "--kernel", guest, "--policy", "queue-on-node", "--alone", str(alone)]
    assert run_command(words) == 0
    said = capsys.readouterr()
    assert "is not written" in said.err
    assert "explained" not in said.out
    assert not alone.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--alone", "x.toml"], "--alone writes what --check finds"),
        (["--check", "--repeat", "3", "--alone", "x.toml"], "without --repeat"),
        (["--check", "--alone", "x.json"], r"ends in .toml"),
    ],
)
def test_options_of_alone(options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["lab", "lab-bind", *options]) == 2
    assert words in capsys.readouterr().err
