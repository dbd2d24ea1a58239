from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.errors import InputError, MissingInterfaceError, NotPermittedError
from numaprobe.kernel.boot import (
    MAX_COMMAND_LINE,
    boot_parameters,
    check_length,
    collect,
    dmesg_line,
    grub_snippet,
    read_kernel_log,
    write_grub,
    write_systemd_boot,
)
from numaprobe.kernel.collect import not_told, read_boot
from numaprobe.kernel.kprobes import kprobe_definitions, parse_kprobe_events
from numaprobe.records import ProbeRecord
from numaprobe.topology import symmetric

if TYPE_CHECKING:
    from pathlib import Path

    from fake_tracefs import FakeKernel

    from numaprobe.kernel.tracefs import Tracefs

PARAMETERS = boot_parameters(pci_dev_offset=208)


def test_the_kernel_reads_back_the_very_definitions() -> None:
    text = next(one for one in PARAMETERS if one.startswith("kprobe_event=")).removeprefix("kprobe_event=")
    lines = [part.replace(",", " ") for part in text.split(";")]
    assert list(parse_kprobe_events(lines).values()) == list(kprobe_definitions(pci_dev_offset=208))


def test_no_parameter_has_a_blank_and_all_fit() -> None:
    assert not any(" " in one for one in PARAMETERS)
    check_length(PARAMETERS, "root=/dev/sda1 ro quiet")
    room = MAX_COMMAND_LINE - 2 - len(" ".join(PARAMETERS))
    check_length(PARAMETERS, "x" * room)
    with pytest.raises(InputError, match=r"would have 2048 bytes, and the kernel takes 2047: "):
        check_length(PARAMETERS, "x" * (room + 1))


def test_sched_events_are_extra() -> None:
    assert any(
        one.startswith("trace_event=sched:sched_switch") for one in boot_parameters(pci_dev_offset=1, sched=True)
    )
    assert not any(one.startswith("trace_event=") for one in PARAMETERS)


def test_a_shell_and_then_grub_take_the_quotes_off_again() -> None:
    """The file is read by a shell (grub-mkconfig); GRUB's own script quotes like one."""
    script = grub_snippet(PARAMETERS) + 'printf "%s" "$GRUB_CMDLINE_LINUX"\n'
    said = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=True, env={"GRUB_CMDLINE_LINUX": "quiet"}
    )
    inner = subprocess.run(["sh", "-c", f"printf '%s\\n' {said.stdout}"], capture_output=True, text=True, check=True)
    assert inner.stdout.splitlines() == ["quiet", *PARAMETERS]


def test_grub_itself_accepts_it() -> None:
    checker = shutil.which("grub-script-check", path="/usr/bin:/bin:/usr/sbin")
    text = "linux /vmlinuz " + " ".join(f"'{one}'" for one in PARAMETERS)
    if checker is not None:
        assert subprocess.run([checker], input=text, text=True, check=False).returncode == 0
    assert "'" not in "".join(PARAMETERS)


def test_grub_gets_a_file_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="etc/default"):
        write_grub(tmp_path, PARAMETERS)
    (tmp_path / "etc/default").mkdir(parents=True)
    assert write_grub(tmp_path, PARAMETERS) == tmp_path / "etc/default/grub.d/numaprobe.cfg"


def test_systemd_boot_gets_a_copy_of_an_entry(tmp_path: Path) -> None:
    entry = tmp_path / "debian.conf"
    entry.write_text("title Debian\nlinux /vmlinuz\noptions root=/dev/sda1\n")
    path = write_systemd_boot(entry, PARAMETERS)
    assert entry.read_text() == "title Debian\nlinux /vmlinuz\noptions root=/dev/sda1\n"
    lines = path.read_text().splitlines()
    assert lines[0] == "title Debian (numaprobe records probes)"
    assert lines[-1].startswith("options initcall_debug ")
    entry.write_text("nothing\n")
    with pytest.raises(InputError, match="systemd-boot entry"):
        write_systemd_boot(entry, PARAMETERS)


ENTRY = b"title Debian\nversion 6.12 \xff\nlinux /vmlinuz\noptions root=/dev/sda1\n"


def written(root: Path) -> tuple[Path, Path]:
    """Write both kinds of boot entry below ``root``, and return their paths."""
    (root / "etc/default").mkdir(parents=True, exist_ok=True)
    entry = root / "debian.conf"
    entry.write_bytes(ENTRY)
    entry.chmod(0o600)
    return write_grub(root, PARAMETERS), write_systemd_boot(entry, PARAMETERS)


def test_an_entry_keeps_its_mode_and_its_bytes(tmp_path: Path) -> None:
    grub, copy = written(tmp_path)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert b"version 6.12 \xff\n" in copy.read_bytes()
    grub.chmod(0o640)
    (tmp_path / "debian.conf").chmod(0o644)
    write_grub(tmp_path, PARAMETERS)
    write_systemd_boot(tmp_path / "debian.conf", PARAMETERS)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (grub, copy)] == [0o640, 0o644]


def test_a_second_call_makes_the_same_copy_and_none_of_the_copy(tmp_path: Path) -> None:
    first = [path.read_bytes() for path in written(tmp_path)]
    paths = written(tmp_path)
    assert [path.read_bytes() for path in paths] == first
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(InputError, match="a copy of ours; give the entry that it was made from"):
        write_systemd_boot(paths[1], PARAMETERS)
    renamed = tmp_path / "renamed.conf"
    text = paths[1].read_bytes().replace(b"(numaprobe records probes)", b"").replace(b"# Records", b"# ")
    renamed.write_bytes(text)
    with pytest.raises(InputError, match="records probes already"):
        write_systemd_boot(renamed, PARAMETERS)
    renamed.unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_what_is_not_ours_is_not_replaced(tmp_path: Path) -> None:
    for path in written(tmp_path):
        path.write_text("linux /mine\n")
        with pytest.raises(InputError, match="was not written by numaprobe"):
            written(tmp_path)
        assert path.read_text() == "linux /mine\n"
        path.unlink()


@pytest.mark.parametrize("there", [True, False])
def test_a_full_disk_leaves_the_old_entry_or_nothing(tmp_path: Path, there: bool) -> None:
    """A limit on the size of files stands for the disk: the write itself fails, in the middle."""
    before = {path: path.read_bytes() for path in written(tmp_path)}
    if not there:
        for path in before:
            path.unlink()
    program = (
        "import resource, signal, sys; from pathlib import Path; from numaprobe.cli.main import run_command\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "sys.exit(run_command(['record', '--boot', '--no-btf', *sys.argv[1:]]))"
    )
    for option, path in zip((["--grub", tmp_path], ["--systemd-boot", tmp_path / "debian.conf"]), before, strict=True):
        done = subprocess.run([sys.executable, "-c", program, *option], capture_output=True, text=True, check=False)
        assert done.returncode == 2, done
        assert f"{path}: cannot be written: File too large" in done.stderr
        assert (path.read_bytes() if path.exists() else None) == (before[path] if there else None)
        assert not list(path.parent.glob(".numaprobe*"))


def test_an_entry_that_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.conf")
    for name, reason in (("x.conf", "is not a regular file"), ("none.conf", "No such file or directory")):
        with pytest.raises(InputError, match=reason):
            write_systemd_boot(tmp_path / name, PARAMETERS)


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (
            "7,339,5140900,-;probe of 0000:01:00.0 returned 0 after 12 usecs",
            "[    5.140900] probe of 0000:01:00.0 returned 0 after 12 usecs",
        ),
        ("6,1,123,-,caller=T1;hello;world", "[    0.000123][   T1] hello;world"),
        (" SUBSYSTEM=pci", " SUBSYSTEM=pci"),
    ],
)
def test_kmsg_becomes_dmesg(record: str, line: str) -> None:
    assert dmesg_line(record) == line


@given(st.text(max_size=100))
@settings(deadline=None, max_examples=100)
def test_any_record_becomes_a_line(text: str) -> None:
    dmesg_line(text)


LOG = "7,1,100,-;calling  x\n7,2,5140900,-;probe of 0000:01:00.0 returned 0 after 12 usecs\n"


def test_what_a_boot_recorded_is_saved_and_its_kprobes_go(kernel: FakeKernel, tracefs: Tracefs, tmp_path: Path) -> None:
    kmsg = tmp_path / "kmsg"
    kmsg.write_text(LOG)
    (kernel.root / "set_event").write_text("")
    for one in kprobe_definitions():
        tracefs.add_kprobe(one.command)
    tracefs.write("events/numaprobe/enable", "1")
    (kernel.root / "trace").write_text("# tracer: nop\nline\n")
    recording = collect(tracefs, tmp_path / "out", kmsg=kmsg)
    assert recording.trace is not None
    assert recording.trace.read_text() == "# tracer: nop\nline\n"
    assert recording.log is not None
    assert "[    5.140900] probe of" in recording.log.read_text()
    assert not kernel.kprobes
    assert (kernel.root / "trace").read_text().strip() == ""


@pytest.mark.parametrize(
    ("line", "driver", "release"),
    [
        ("probe of 0000:01:00.0 with driver nvme returned 0 after 12 usecs", "nvme", "7.3.4+deb13-amd64"),
        ("probe of 0000:01:00.0 returned 1 after 12 usecs", "?", "5.10.0-32-amd64"),
    ],
)
def test_the_log_of_any_release_is_collected(tmp_path: Path, line: str, driver: str, release: str) -> None:
    kmsg = tmp_path / "kmsg"
    kmsg.write_text(f"7,2,5140900,-;{line}\n")
    machine = replace(symmetric("m", nodes=2, cores=2), info={"kernel": release})
    trace = read_boot(collect(None, tmp_path / "out", kmsg=kmsg), machine)
    assert [(probe.device, probe.driver, probe.result) for probe in trace.probes] == [("0000:01:00.0", driver, "0")]
    assert trace.kernel == release


def test_a_boot_that_recorded_nothing_is_told_how_to(tracefs: Tracefs, tmp_path: Path) -> None:
    kmsg = tmp_path / "kmsg"
    kmsg.write_text("6,1,1,-;hello\n")
    with pytest.raises(MissingInterfaceError, match="record --boot"):
        collect(tracefs, tmp_path / "out", kmsg=kmsg)
    with pytest.raises(MissingInterfaceError, match="record --boot"):
        collect(None, tmp_path / "out", kmsg=kmsg)


def test_a_log_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(1, "no")

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(NotPermittedError, match="kernel log"):
        read_kernel_log(tmp_path / "kmsg")


def test_a_probe_that_both_tell_is_told_once() -> None:
    def probe(device: str, end: int | None) -> ProbeRecord:
        return ProbeRecord(device=device, driver="d", cost_ns=5, end_ns=end)

    traced = (probe("a", 10**9),)
    logged = (probe("a", 10**9 + 5_000_000), probe("a", 3 * 10**9), probe("b", 10**9), probe("a", None))
    assert not_told(logged, traced) == logged[1:]
