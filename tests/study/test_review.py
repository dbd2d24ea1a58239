"""A review of kernels that are policies: every guest's boot is a run of the virtual machine under one of them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from numaprobe.cli.main import run_command
from numaprobe.errors import InputError, RefusedError
from numaprobe.kernel.lab.build import BuildFailedError
from numaprobe.kernel.lab.guest import GuestResult
from numaprobe.kernel.lab.splats import Splat
from numaprobe.kernel.lab.tools import KernelImage, Tools
from numaprobe.records import RunWarning, dump_trace, json_schema
from numaprobe.report.review import review_ktap, review_mail, review_page, review_to_json
from numaprobe.report.review_series import series_ktap, series_mail, series_to_json
from numaprobe.scenario import load_scenario, run_scenario
from numaprobe.study.guests import GuestOptions
from numaprobe.study.lab import guest_setting, record_in_guest
from numaprobe.study.review import reviewed, run, series
from numaprobe.study.review.matrix import SMALL, BootedMachine, Matrix, read_matrix
from numaprobe.study.review.reviewed import ReviewReport, ReviewRequest, review
from numaprobe.study.review.run import BASE, CONTROL, PATCH, ReviewBoot, boots
from numaprobe.study.review.series import SeriesReport, review_series
from numaprobe.study.review.side import SideResult
from numaprobe.study.review.verdict import CellVerdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numaprobe.records import Trace
    from numaprobe.study.lab import GuestSetting

RELEASE = "7.3.4"
STOCK = "probe-workqueue"
ONE = Matrix(scenarios=("lab-bind",), machines=(BootedMachine(machine="2 nodes x 2 cores"),))


def in_guest(trace: Trace, setting: GuestSetting) -> Trace:
    """Return a run as a guest would have recorded it: the devices under the guest's addresses."""
    addresses = {device.name: device.address for device in setting.plan.devices}
    probes = tuple(replace(probe, device=addresses.get(probe.device, probe.device)) for probe in trace.probes)
    return replace(trace, probes=probes)


class Lab:
    """Stands for builds and guests: a kernel is a policy, and may hang, complain, or not be built."""

    def __init__(self, kernels: Mapping[str, str]) -> None:
        self.kernels = kernels
        self.booted: list[str] = []
        self.splats: dict[str, tuple[Splat, ...]] = {}
        self.failures: dict[str, tuple[RunWarning, ...]] = {}
        self.hangs: set[str] = set()
        self.unbuilt: set[str] = set()
        self.files: dict[str, str] = {}

    def build(self, clone: Any, commit: str, *, lockdep: bool = False, told: Any = None) -> KernelImage:
        del told
        name = clone.names[commit]
        if name in self.unbuilt:
            raise BuildFailedError("drivers/base/dd.c:3:1: error: expected ';'")
        return KernelImage(Path("vmlinuz-x"), RELEASE, build_id=name + "-lockdep" * lockdep)

    def record(self, setting: GuestSetting, record: object = (), **_: object) -> GuestResult:
        del record
        name = str(setting.options.image.build_id).removesuffix("-lockdep")
        self.booted.append(name)
        if name in self.hangs:
            raise RefusedError("the guest did not end in 300 s")
        trace = run_scenario(setting.scenario, self.kernels[name], kernel=RELEASE, machine=setting.plan.topology)
        return GuestResult(
            trace=in_guest(trace, setting),
            status=0,
            failures=self.failures.get(name, ()),
            splats=self.splats.get(name, ()),
            seconds=1.0,
            folder=Path(),
        )


class FakeClone:
    """Stands for a source tree: revisions are names of kernels."""

    names: dict[str, str]

    def __init__(self, kernels: Mapping[str, str]) -> None:
        self.names = {f"{name:0<40}": name for name in kernels}

    def commit_of(self, revision: str) -> str:
        commit = f"{revision:0<40}"
        if commit not in self.names:
            raise InputError(f"has no revision '{revision}'")
        return commit

    def commits(self, base: str, tip: str) -> list[str]:
        found = list(self.names)
        return found[found.index(base) + 1 : found.index(tip) + 1]

    def subject_of(self, commit: str) -> str:
        return f"the {self.names[commit]} kernel"


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Lab]:
    def make(**kernels: str) -> Lab:
        fake = Lab(kernels)
        monkeypatch.setattr(reviewed, "clone_of", lambda *_, **__: FakeClone(kernels))
        monkeypatch.setattr(reviewed, "built_revision", fake.build)
        monkeypatch.setattr(reviewed, "find_tools", lambda: Tools(Path("vng"), ""))
        monkeypatch.setattr(series, "clone_of", lambda *_, **__: FakeClone(kernels))
        monkeypatch.setattr(series, "find_tools", lambda: Tools(Path("vng"), ""))
        monkeypatch.setattr(reviewed, "_versions", lambda: ("gcc 12", "QEMU 7.2"))
        monkeypatch.setattr(run, "record_in_guest", fake.record)
        return fake

    return make


def reviewing(place: Path, matrix: Matrix = ONE, **changes: Any) -> ReviewReport:
    request = ReviewRequest(tree=Path("linux"), base="base", patch="patch", matrix=matrix, folder=place / "r")
    return review(replace(request, **changes))


def test_a_patch_that_changes_where_probes_run(lab: Callable[..., Lab], tmp_path: Path) -> None:
    lab(base=STOCK, patch="queue-on-node")
    report = reviewing(tmp_path, policy="queue-on-node")
    assert report.verdict is not None
    [cell] = report.verdict.cells
    assert cell.verdict is CellVerdict.WORSE  # a soft worker may leave; the per-CPU one could not
    [change] = cell.changes
    assert (change.driver, change.count) == ("nvme", 3)
    assert change.before == "per-CPU worker, held on the node"
    assert change.after == "unbound worker, woken on the node"
    assert report.verdict.follows == ["queue-on-node", "exec-on-node", "probe-on-node"]
    assert report.verdict.as_policy == (3, 3)
    assert report.exit_code == 1


def test_a_patch_that_brings_probes_to_their_node(lab: Callable[..., Lab], tmp_path: Path) -> None:
    lab(base=STOCK, patch="strict-node")
    matrix = ONE.model_copy(update={"scenarios": ("lab-virtio",)})
    report = reviewing(tmp_path, matrix)
    assert report.verdict is not None
    assert report.sentence == "placement changed in 1 of 1 situations"
    assert report.verdict.cells[0].on_node("patch") == (2, 2)
    assert report.verdict.cells[0].on_node("base") == (0, 2)
    assert report.exit_code == 0


def test_a_harmless_patch_shows_no_difference_with_the_power_that_this_has(
    lab: Callable[..., Lab], tmp_path: Path
) -> None:
    lab(base=STOCK, patch=STOCK)
    report = reviewing(tmp_path, SMALL)
    assert report.verdict is not None
    assert report.sentence == "no difference shown in 12 of 12 situations"
    assert report.verdict.compared == 33
    assert report.verdict.unseen == pytest.approx(3 / 33)
    assert "A change of more than 9% of such probes" in " ".join(review_mail(report).split())
    assert report.exit_code == 0
    assert STOCK in report.verdict.follows


def test_a_policy_that_the_patch_does_not_follow(lab: Callable[..., Lab], tmp_path: Path) -> None:
    lab(base=STOCK, patch=STOCK)
    report = reviewing(tmp_path, policy="queue-on-node")
    assert report.verdict is not None
    assert report.verdict.as_policy == (0, 3)
    assert report.exit_code == 1


def test_what_is_not_as_predicted_is_named_and_explained(lab: Callable[..., Lab], tmp_path: Path) -> None:
    lab(base=STOCK, patch="queue-on-node")
    report = reviewing(tmp_path)
    mail = " ".join(review_mail(report).split())
    assert f"Of patch, not as {STOCK} predicts (lab-bind, on 2 nodes x 2 cores):" in mail
    assert "(nvme): wrong pool: worker of unbound pool 18 in place of worker of CPU 2" in mail
    assert "explained by one change: policy queue-on-node; or policy exec-on-node" in mail
    assert "Of base" not in mail
    (cell,) = review_to_json(report)["cells"]
    assert [one["side"] for one in cell["not_as_predicted"]] == ["patch"]
    jsonschema.validate(review_to_json(report), json_schema("numaprobe.review/1"))
    assert "not as" not in review_mail(reviewing(tmp_path, policy="queue-on-node", folder=tmp_path / "other"))


def test_what_was_booted_is_not_booted_again(lab: Callable[..., Lab], tmp_path: Path) -> None:
    fake = lab(base=STOCK, patch="spread")
    first = reviewing(tmp_path)
    assert sorted(fake.booted) == ["base", "base", "patch"]
    again = reviewing(tmp_path)
    assert len(fake.booted) == 3
    assert review_to_json(again) == review_to_json(first)
    # Half a file, or another build's, is no result.
    result = tmp_path / "r" / next(boots(ONE)).folder / "result.json"
    result.write_text(result.read_text()[:-40])
    assert review_to_json(reviewing(tmp_path)) == review_to_json(first)
    assert fake.booted[3:] == ["base"]


def test_an_interrupted_review_keeps_what_was_booted(
    lab: Callable[..., Lab], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = lab(base=STOCK, patch="spread")
    record = fake.record

    def interrupted(*arguments: Any, **named: Any) -> GuestResult:
        if len(fake.booted) == 2:
            raise KeyboardInterrupt
        return record(*arguments, **named)

    monkeypatch.setattr(run, "record_in_guest", interrupted)
    with pytest.raises(KeyboardInterrupt):
        reviewing(tmp_path)
    monkeypatch.setattr(run, "record_in_guest", record)
    reviewing(tmp_path)
    assert len(fake.booted) == 3


def test_a_patch_that_hangs_and_one_whose_base_hangs(lab: Callable[..., Lab], tmp_path: Path) -> None:
    fake = lab(base=STOCK, patch="spread")
    fake.hangs = {"patch"}
    report = reviewing(tmp_path)
    assert (report.sentence, report.exit_code) == ("worse in 1 of 1 situations", 1)
    assert "the guest did not end in 300 s" in review_mail(report)
    fake.hangs = {"base"}
    report = reviewing(tmp_path, folder=tmp_path / "other")
    assert (report.sentence, report.exit_code) == ("1 cannot tell", 125)
    assert "# SKIP base: the guest did not end in 300 s" in review_ktap(report)


def test_a_patch_that_does_not_build_is_a_result_and_a_base_is_not(lab: Callable[..., Lab], tmp_path: Path) -> None:
    fake = lab(base=STOCK, patch="spread")
    fake.unbuilt = {"patch"}
    report = reviewing(tmp_path)
    assert report.exit_code == 1
    assert report.sentence.startswith("the patch does not build: drivers/base/dd.c:3:1: error")
    assert review_ktap(report).splitlines()[2] == "not ok 1 the patch builds"
    assert not fake.booted
    fake.unbuilt = {"base"}
    with pytest.raises(BuildFailedError):
        reviewing(tmp_path)


def complaint(text: str) -> Splat:
    return Splat((f"[   12.345678] {text}", "[   12.345679] Call Trace:", "[   12.345680]  ? pci_call_probe+0x1f/0x90"))


def test_complaints_are_told_apart_by_what_they_say_and_not_by_their_numbers(
    lab: Callable[..., Lab], tmp_path: Path
) -> None:
    fake = lab(base=STOCK, patch=STOCK)
    old = "WARNING: CPU: {} PID: {} at kernel/old.c:12 f+0x12/0x30"
    fake.splats = {
        "base": (complaint(old.format(1, 99)),),
        "patch": (complaint(old.format(3, 4)), complaint("WARNING: possible recursive locking detected")),
    }
    report = reviewing(tmp_path)
    assert report.verdict is not None
    assert [(base, patch) for _, base, patch, _ in report.verdict.symptoms] == [(2, 1), (0, 1)]
    assert report.sentence.endswith("1 new complaint of the kernel")
    assert report.exit_code == 1
    mail = review_mail(report)
    assert "  0      1  new: WARNING: possible recursive locking detected" in mail
    assert "same: WARNING: CPU: # PID: # at" in mail
    assert "    2      1  boot_successes\n    0      0  boot_failures\n" in mail
    assert "  [   12.345680]  ? pci_call_probe+0x1f/0x90" in mail


def test_times_of_a_real_machine_stand_beside_those_of_base_against_base(
    lab: Callable[..., Lab], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Makespans in ms, boot by boot: base, patch and control of one situation."""
    lab(base=STOCK, patch="queue-on-node")
    spans = {BASE: [100, 102, 101, 103], PATCH: [150, 153, 151, 152], CONTROL: [101, 100, 103, 104]}
    order = [boot.side for boot in boots(ONE.model_copy(update={"repeats": 4}))]
    taken = {side: iter(values) for side, values in spans.items()}
    sides = iter(order)
    monkeypatch.setattr(run, "summarize", lambda _: SimpleNamespace(makespan_ns=next(taken[next(sides)]) * 10**6))
    report = reviewing(tmp_path, ONE.model_copy(update={"repeats": 4}), kvm=True)
    mail = review_mail(report)
    assert " 101.5 +- 1%    +49.3%    151.5 +- 1%    +0.5%  lab-bind, on 2 nodes x\n" in mail
    assert max(map(len, mail.splitlines())) <= 72
    assert mail.isascii()
    assert "The machines were emulated" not in mail
    emulated = review_mail(replace(report, request=replace(report.request, kvm=False)))
    assert "makespan" not in emulated
    block = review_to_json(report)
    assert block["cells"][0]["makespans_ns"]["patch"] == [150 * 10**6, 153 * 10**6, 151 * 10**6, 152 * 10**6]
    jsonschema.validate(block, json_schema("numaprobe.review/1"))


def test_times_that_chance_alone_explains_are_no_change(lab: Callable[..., Lab], tmp_path: Path) -> None:
    lab(base=STOCK, patch="queue-on-node")
    mail = review_mail(reviewing(tmp_path, kvm=True))
    assert " ~ " in mail
    assert "--repeat 4 is the least that" in " ".join(mail.split())


def test_where_base_differs_from_base_nothing_is_said(
    lab: Callable[..., Lab], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = lab(base=STOCK, patch="queue-on-node")
    kernels = iter([STOCK, "queue-on-node", "spread"])
    record = fake.record

    def unsteady(*arguments: Any, **named: Any) -> GuestResult:
        kernel = next(kernels)
        fake.kernels = {"base": kernel, "patch": kernel}
        return record(*arguments, **named)

    monkeypatch.setattr(run, "record_in_guest", unsteady)
    report = reviewing(tmp_path)
    assert (report.sentence, report.exit_code) == ("1 cannot tell", 125)
    assert "base differs from base" in review_mail(report)


def test_a_step_that_fails_with_the_patch_alone_is_the_patchs(lab: Callable[..., Lab], tmp_path: Path) -> None:
    fake = lab(base=STOCK, patch=STOCK)
    failed = RunWarning(kind="step-failed", message="steps[0]: modprobe: nvme: No such device")
    fake.failures = {"patch": (failed,)}
    assert reviewing(tmp_path).exit_code == 1
    fake.failures = {"patch": (failed,), "base": (failed,)}
    assert reviewing(tmp_path, folder=tmp_path / "both").exit_code == 0


def test_the_mail_fits_a_list(lab: Callable[..., Lab], tmp_path: Path) -> None:
    lab(base=STOCK, patch="strict-node")
    mail = review_mail(reviewing(tmp_path, SMALL, policy="strict-node"))
    assert max(len(line) for line in mail.splitlines()) <= 72
    assert mail.isascii()
    again = review_mail(reviewing(tmp_path, SMALL, matrix_file=Path("my matrix.toml")))
    assert "    --matrix 'my matrix.toml'" in again
    assert "As strict-node predicts: 33 of 33 probes." in mail
    for invented in ("Tested-by", "Reviewed-by", "Reported-by"):
        assert invented not in mail


def test_the_page_has_both_timelines_of_each_situation(lab: Callable[..., Lab], tmp_path: Path) -> None:
    lab(base=STOCK, patch="spread")
    report = reviewing(tmp_path)
    with pytest.raises(InputError, match="no boot left a trace"):
        review_page(report)
    for side in (BASE, PATCH):
        folder = tmp_path / "r" / ReviewBoot(cell=next(ONE.cells()), side=side, number=0).folder
        (folder / "trace.json").write_text(dump_trace(run_scenario(load_scenario("lab-bind"), STOCK)))
    page = review_page(report)
    assert "lab-bind, on 2 nodes x 2 cores: base" in page
    assert "lab-bind, on 2 nodes x 2 cores: patch" in page


def test_json_and_ktap_say_the_same(lab: Callable[..., Lab], tmp_path: Path) -> None:
    lab(base=STOCK, patch="spread")
    report = reviewing(tmp_path, SMALL)
    block = json.loads(json.dumps(review_to_json(report)))
    jsonschema.validate(block, json_schema("numaprobe.review/1"))
    lines = review_ktap(report).splitlines()
    assert lines[:2] == ["KTAP version 1", f"1..{len(block['cells']) + 1}"]
    verdicts = [line.split()[0] for line in lines[3:] if not line.startswith("#")]
    assert verdicts == ["not" if cell["verdict"] == "worse" else "ok" for cell in block["cells"]]


# ---- the matrix ----------------------------------------------------------------------------------------------------
# ---- commit by commit ------------------------------------------------------------------------------------------------
def reviewing_each(place: Path, **changes: Any) -> SeriesReport:
    request = ReviewRequest(tree=Path("linux"), base="base", patch="last", matrix=ONE, folder=place / "r")
    return review_series(replace(request, **changes))


def test_a_series_names_the_commit_that_is_worse(lab: Callable[..., Lab], tmp_path: Path) -> None:
    fake = lab(base=STOCK, harmless=STOCK, bad="queue-on-node", last=STOCK)
    report = reviewing_each(tmp_path)
    assert [one.exit_code for one in report.reports] == [0, 1, 0]
    assert report.exit_code == 1
    assert report.sentence == "1 of 3 commits worse than the one before, first bad000000000"
    # What was booted as a patch is the next commit's base; every commit has a control of its own.
    assert fake.booted == ["base", "harmless", "base", "bad", "harmless", "last", "bad"]
    assert [path.name for path in sorted((tmp_path / "r").iterdir())] == [
        "01-harmless0000",
        "02-bad000000000",
        "03-last00000000",
    ]
    mail = series_mail(report)
    assert max(map(len, mail.splitlines())) <= 72
    assert "bad000000000 WORSE        the bad kernel: worse in 1 of 1 situations" in mail
    assert "[2/3]" in mail
    assert "numaprobe review --each --tree linux" in mail
    jsonschema.validate(series_to_json(report), json_schema("numaprobe.review-series/1"))
    assert [line.split()[0] for line in series_ktap(report).splitlines() if "kernel" in line] == ["ok", "not", "ok"]
    assert reviewing_each(tmp_path).exit_code == 1
    assert len(fake.booted) == 7, "a series goes on where it was"


def test_a_commit_that_does_not_build_is_nobodys_base(lab: Callable[..., Lab], tmp_path: Path) -> None:
    fake = lab(base=STOCK, torn=STOCK, last=STOCK)
    fake.unbuilt = {"torn"}
    report = reviewing_each(tmp_path, policy="queue-on-node")
    first, last = report.reports
    assert first.unbuilt is not None
    assert (last.base.commit[:4], last.exit_code) == ("base", 1), "the policy is the last commit's"
    assert "the patch does not build" in series_mail(report)
    fake = lab(base=STOCK, last=STOCK)
    fake.hangs = {"base"}
    hung = reviewing_each(tmp_path, folder=tmp_path / "other")
    assert (hung.exit_code, hung.sentence) == (125, "1 cannot tell")
    assert "# SKIP" in series_ktap(hung)


def test_a_series_without_a_commit_is_bad_input(lab: Callable[..., Lab], tmp_path: Path) -> None:
    lab(last=STOCK, base=STOCK)
    with pytest.raises(InputError, match="0 commits lead there from base00000000"):
        reviewing_each(tmp_path)


def test_each_has_no_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["review", "--tree", "x", "--patch", "y", "--each", "-o", "x.html"]) == 2
    assert "--each has no page" in capsys.readouterr().err


def test_each_scenario_has_one_control() -> None:
    sides = [boot.side for boot in boots(SMALL)]
    assert [sides.count(side) for side in (BASE, PATCH, CONTROL)] == [12, 12, 4]
    assert len({boot.folder for boot in boots(SMALL.model_copy(update={"repeats": 3, "lockdep": True}))}) == 3 * 2 * 28


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scenarios = []", "scenarios"),
        ("scenarios = ['lab-nvme']", "machines: Field required"),
        ("scenario = 'x'\nscenarios = ['lab-nvme']\n[[machines]]\nmachine = '2 nodes x 2 cores'", "scenario: Extra"),
        ("scenarios = ['a', 'a']\n[[machines]]\nmachine = '2 nodes x 2 cores'", "two of its cells are the same"),
        (
            "repeats = 100\nscenarios = ['a', 'b']\n" + "[[machines]]\nmachine = 'X'\n".replace("X", "1 node") * 1,
            "boots",
        ),
        ("scenarios = [", "Invalid|Unclosed|invalid"),
    ],
)
def test_a_bad_matrix_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "matrix.toml"
    path.write_text(text if message != "boots" else text + "cmdlines = ['a','b','c','d','e','f','g','h','i','j','k']")
    with pytest.raises(InputError, match=message):
        read_matrix(path)


def test_a_guest_that_cannot_be_is_refused_before_the_first_boot(lab: Callable[..., Lab], tmp_path: Path) -> None:
    fake = lab(base=STOCK, patch=STOCK)
    matrix = Matrix(scenarios=("lab-nvme", "nvme-epyc"), machines=(BootedMachine(machine="2 nodes x 16 cores"),))
    with pytest.raises(InputError, match="too large for the lab"):
        reviewing(tmp_path, matrix)
    assert not fake.booted


def test_a_side_that_ran_without_a_probe_is_no_result() -> None:
    assert not SideResult(build_id="x").ran
    assert ReviewBoot(cell=next(ONE.cells()), side=BASE, number=0).folder == "cells/lab-bind_2-nodes-x-2-cores/base.0"


def test_the_command_needs_a_tree(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "numaprobe", "review", "--tree", str(tmp_path), "--patch", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "is no kernel's source tree" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_kernel_that_was_built_here_has_its_drivers_own_functions_recorded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its compiler may have put ``local_pci_probe`` into its callers; Debian's are built so that it does not."""
    recorded: list[list[str]] = []
    monkeypatch.setattr("numaprobe.kernel.lab.guest.run_guest", lambda _, record, **__: recorded.append(record))
    for build_id in (None, "b1"):
        image = KernelImage(tmp_path / "vmlinuz", RELEASE, build_id=build_id)
        options = GuestOptions(image=image, tools=Tools(Path("vng"), ""), timeout=1)
        record_in_guest(guest_setting(load_scenario("lab-bind"), options), ["--memory"])
    assert recorded == [["--memory"], ["--memory", "--function", "nvme:nvme_probe"]]
