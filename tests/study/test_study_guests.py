"""Guests, real CPUs and the running kernel from Python: what can be said of them without booting one."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from numaprobe.errors import InputError, KernelInterfaceError, RefusedError, UnknownNameError
from numaprobe.kernel.lab.tools import KernelImage, Tools
from numaprobe.scenario import load_scenario
from numaprobe.study.guests import Booting, GuestOptions
from numaprobe.study.lab import guest_setting, record_in_guest
from numaprobe.study.placement import Question, placement_in_guests, question
from numaprobe.study.recording import BootSetup, record_kernel, record_options, set_up_boot

IMAGE = KernelImage(Path("/boot/vmlinuz-6.12.1-test"), "6.12.1-test")


def options(keep: Path | None = None) -> GuestOptions:
    return GuestOptions(image=IMAGE, tools=Tools(Path("/nowhere/vng"), ""), timeout=1.0, keep=keep)


def test_a_guest_s_files_come_home_and_its_boot_is_told(tmp_path: Path) -> None:
    told: list[Booting] = []
    with options(tmp_path / "kept").guest(told.append) as shared:
        folder: Path = shared["folder"]
        (folder / "console.log").write_text("booted")
        assert (shared["kernel"], shared["timeout"], shared["kvm"]) == (IMAGE, 1.0, False)
    assert told == [Booting(release="6.12.1-test", console=folder / "console.log")]
    assert (tmp_path / "kept" / "console.log").read_text() == "booted"
    assert not folder.exists()


def test_a_guest_that_was_refused_names_the_kept_console(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=str(tmp_path / "kept")), options(tmp_path / "kept").guest() as shared:
        raise RefusedError(f"panic; see {shared['folder'] / 'console.log'}")


def test_a_guest_setting_is_a_value_and_its_runner_gets_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = guest_setting(load_scenario("lab-nvme"), options(tmp_path / "kept"))
    assert pickle.loads(pickle.dumps(setting)) == setting  # noqa: S301  our own
    seen: dict[str, Any] = {}

    def run_guest(plan: object, **shared: Any) -> str:
        seen.update(shared, plan=plan)
        return "what it brought"

    monkeypatch.setattr("numaprobe.kernel.lab.guest.run_guest", run_guest)
    assert record_in_guest(setting, ["--memory"]) == "what it brought"  # type: ignore[comparison-overlap]
    assert (seen["plan"], seen["record"], seen["kernel"]) == (setting.plan, ["--memory"], IMAGE)


def test_a_question_is_asked_with_names_that_are_known() -> None:
    assert question(["probe-on-node+pin"], "6.12") == Question(policies=("probe-on-node+pin",), profile="6.12")
    assert len(question().policies) == 10
    with pytest.raises(UnknownNameError):
        question(["inlin"])
    with pytest.raises(InputError):
        next(placement_in_guests(question(), ["no machine at all"], options()))


def test_the_next_boot_is_recorded_by_files_that_are_named(tmp_path: Path) -> None:
    (tmp_path / "etc" / "default").mkdir(parents=True)
    done = set_up_boot(btf=False, grub=tmp_path)
    assert done.grub is not None
    assert done.grub.is_relative_to(tmp_path)
    assert done.grub.is_file()
    assert set_up_boot(btf=False) == BootSetup(parameters=done.parameters, warning=done.warning)


def test_a_recording_without_tracefs_is_refused_before_it_is_announced(tmp_path: Path) -> None:
    told: list[str] = []
    with pytest.raises(KernelInterfaceError):
        record_kernel(record_options(), seconds=0.1, tracefs=tmp_path, told=lambda: told.append("x"))
    assert told == []
    assert record_options(comms=["x"], btf=False).comms[-1] == "x"
    with pytest.raises(InputError):
        record_options(functions=["no function"])
