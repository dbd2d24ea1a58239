from __future__ import annotations

import shutil
import subprocess
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
from numaprobe.kernel.collect import not_told
from numaprobe.kernel.kprobes import kprobe_definitions, parse_kprobe_events
from numaprobe.records import ProbeRecord

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
    with pytest.raises(InputError, match=str(MAX_COMMAND_LINE)):
        check_length(PARAMETERS, "x" * 1500)


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
