"""``numaprobe record`` and ``numaprobe lab`` as a user calls them, without a kernel to record."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from numaprobe.cli.main import run_command
from numaprobe.kernel.kprobes import parse_kprobe_events

if TYPE_CHECKING:
    from pathlib import Path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = run_command(list(arguments))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return code, captured.err


def test_no_tracefs_is_exit_3_with_the_reason(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, text = refused(capsys, "record", "--tracefs", str(tmp_path), "--", "true")
    assert code == 3
    assert "mount -t tracefs" in text


def test_a_tracefs_that_may_not_be_read_is_exit_3(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object) -> list[str]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    code, text = refused(capsys, "record", "--tracefs", str(tmp_path), "--", "true")
    assert code == 3
    assert "sudo" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--for", "1s", "--", "true"], "exclude each other"),
        (["--boot", "--collect"], "exclude each other"),
        (["--grub", "/", "--", "true"], "belong to --boot"),
        (["--for", "ten"], "is not a time"),
        (["--buffer-kb", "1"], "--buffer-kb"),
    ],
)
def test_wrong_usage_is_exit_2(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    code, text = refused(capsys, "record", *arguments)
    assert code == 2
    assert message in text


def test_boot_prints_parameters_that_the_kernel_reads(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["record", "--boot", "--no-btf"]) == 0
    words = capsys.readouterr().out.split()
    assert words[0] == "initcall_debug"
    probes = next(word for word in words if word.startswith("kprobe_event=")).removeprefix("kprobe_event=")
    assert "really_probe" in parse_kprobe_events(part.replace(",", " ") for part in probes.split(";"))
    assert not any(word.startswith("trace_event=") for word in words)


def test_boot_with_sched_asks_for_the_schedulers_events(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["record", "--boot", "--sched"]) == 0
    assert "trace_event=sched:sched_switch" in capsys.readouterr().out


def test_boot_writes_for_grub(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "etc/default").mkdir(parents=True)
    assert run_command(["record", "--boot", "--grub", str(tmp_path)]) == 0
    assert "update-grub" in capsys.readouterr().out
    assert "kprobe_event=" in (tmp_path / "etc/default/grub.d/numaprobe.cfg").read_text()


def test_the_lab_says_what_it_needs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(capsys, "lab")[0] == 2
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    monkeypatch.setattr("numaprobe.kernel.lab.tools.SYSTEM_PATHS", ())
    code, text = refused(capsys, "lab", "lab-nvme")
    assert code == 3
    assert "virtme-ng" in text


def test_the_lab_refuses_a_machine_that_is_too_large(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from numaprobe.kernel.lab.tools import KernelImage, Tools

    monkeypatch.setattr("numaprobe.kernel.lab.tools.find_tools", lambda: Tools(tmp_path, ""))
    monkeypatch.setattr("numaprobe.kernel.lab.tools.find_kernel", lambda _: KernelImage(tmp_path / "boot/v", "6.1.0"))
    code, text = refused(capsys, "lab", "nvme-epyc")
    assert code == 2
    assert "--machine" in text


def test_a_kernel_that_was_fetched_adds_no_line_to_an_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from numaprobe.kernel.lab.tools import KernelImage

    image = KernelImage(tmp_path / "boot/vmlinuz-6.1.0", "6.1.0")
    monkeypatch.setattr("numaprobe.kernel.lab.fetch.fetch_kernel", lambda _: image)
    code, text = refused(capsys, "lab", "--fetch", "6.1", "no-such-scenario")
    assert code == 2
    assert "no-such-scenario" in text
    assert run_command(["lab", "--fetch", "6.1"]) == 0
    assert capsys.readouterr().err == f"kernel 6.1.0: {image.path}\n"


def test_boot_without_btf_says_how_pci_devices_will_be_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["record", "--boot", "--no-btf"]) == 0
    captured = capsys.readouterr()
    assert "dev208=+0(+208(+8($arg1))):x64[2]" in captured.out
    assert captured.err.startswith("no BTF: every plausible place")
    assert captured.err.count("\n") == 1
