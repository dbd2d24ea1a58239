"""A whole recording against the fake kernel, whose buffer holds what a real Debian 6.1 recorded."""

from __future__ import annotations

import gzip
import os
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from numaprobe.cli.main import run_command
from numaprobe.errors import InputError
from numaprobe.kernel.candidates import CANDIDATES
from numaprobe.kernel.kprobes import kprobe_definitions
from numaprobe.kernel.record import EVERY_COMM, RecordOptions
from numaprobe.kernel.recorded import load_machine, read_recording, with_devices_of
from numaprobe.kernel.take import take, with_command
from numaprobe.records import load_trace
from numaprobe.topology import DeviceInfo, Topology, symmetric

if TYPE_CHECKING:
    from fake_tracefs import FakeKernel

    from numaprobe.kernel.tracefs import Tracefs

REAL = Path(__file__).parent.parent / "data/kernel/debian-6.1/two-nodes/sync.1.trace.gz"


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """A machine of two nodes with four CPUs each, and the NVMe drives of the recorded one."""
    root = tmp_path / "machine/sys"
    files = {f"devices/system/cpu/{name}": "0-7" for name in ("possible", "present", "online")}
    files |= {f"devices/system/node/{name}": "0-1" for name in ("possible", "online")}
    for node in (0, 1):
        files[f"devices/system/node/node{node}/cpulist"] = f"{node * 4}-{node * 4 + 3}"
        files[f"devices/system/node/node{node}/distance"] = "10 20" if node == 0 else "20 10"
    for bus in (0x81, 0x82, 0x83):
        files[f"bus/pci/devices/0000:{bus:02x}:00.0/numa_node"] = "1"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def options(**changes: object) -> RecordOptions:
    return RecordOptions(**{"btf": None, **changes})


def test_a_recording_becomes_a_trace_with_its_machine(
    kernel: FakeKernel, tracefs: Tracefs, sysfs: Path, tmp_path: Path
) -> None:
    kernel.recorded = gzip.decompress(REAL.read_bytes())
    taken = take(tracefs, options(comms=(EVERY_COMM,)), command=["true"], raw=tmp_path / "raw", sysfs=sysfs)
    assert taken.status == 0
    assert [(probe.device, probe.device_node, probe.cpu, probe.cpu_node) for probe in taken.trace.probes] == [
        (f"0000:{bus}:00.0", 1, 4, 1) for bus in (81, 82, 83)
    ]
    assert all(probe.running_ns is not None for probe in taken.trace.probes)
    assert kernel.untouched()
    machine = load_machine(tmp_path / "raw")
    assert machine is not None
    again = read_recording(tmp_path / "raw", machine, warnings=taken.trace.warnings[:0])
    assert again.probes == taken.trace.probes


@pytest.mark.parametrize("name", ["kprobe_events", "machine.json"])
def test_what_raw_keeps_is_written_to_a_pipe_that_stands_there(
    kernel: FakeKernel, tracefs: Tracefs, sysfs: Path, tmp_path: Path, name: str
) -> None:
    pipe = tmp_path / "raw" / name
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    kernel.recorded = gzip.decompress(REAL.read_bytes())
    taken = take(tracefs, options(comms=(EVERY_COMM,)), command=["true"], raw=tmp_path / "raw", sysfs=sysfs)
    reader.join(20)
    assert len(taken.trace.probes) == 3
    assert len(got[0]) > 100
    assert pipe.is_fifo()
    assert kernel.untouched()


def test_probes_of_tasks_that_were_not_watched_have_no_split(kernel: FakeKernel, tracefs: Tracefs, sysfs: Path) -> None:
    kernel.recorded = gzip.decompress(REAL.read_bytes())
    taken = take(tracefs, options(comms=("nobody",)), command=["true"], sysfs=sysfs)
    assert all(probe.running_ns is None and probe.cost_ns > 0 for probe in taken.trace.probes)
    assert "sched-filter" in {warning.kind for warning in taken.trace.warnings}


def test_a_command_that_fails_is_told(tracefs: Tracefs, sysfs: Path) -> None:
    taken = take(tracefs, options(), command=["false"], sysfs=sysfs)
    assert taken.status == 1
    assert "command-failed" in {warning.kind for warning in taken.trace.warnings}


@pytest.mark.parametrize(("overrun", "said"), [(0, "nothing was probed"), (6635, "6635 events of probes were lost")])
def test_a_recording_without_a_probe_is_no_success(
    kernel: FakeKernel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    overrun: int,
    said: str,
) -> None:
    monkeypatch.setattr("numaprobe.kernel.tracefs.TracefsFiles", lambda: kernel)
    kernel.overrun = overrun
    output = tmp_path / "out.json"
    words = ["record", "--no-btf", "--tracefs", str(kernel.root), "-o", str(output), "--", "true"]
    assert run_command(words) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("no-probes: ")]
    assert said in line
    assert load_trace(output.read_bytes()).probes == ()
    assert kernel.untouched()


def without_btf(folder: Path, named: dict[int, bytes]) -> None:
    """Make of the real recording a boot's without BTF: kprobes alone, whose offsets lead to the names ``named``."""
    text = gzip.decompress(REAL.read_bytes()).decode()
    garbage = b"\n\x01\xffgarbage\n"

    def fields(match: re.Match[str]) -> str:
        right = {at: match[1].encode() if name == b"=" else name for at, name in named.items()}
        words = ((at, right.get(at, garbage).ljust(16, b"\0")) for at in CANDIDATES)
        return "".join(
            f" dev{at}={{{int.from_bytes(name[:8], 'little'):#x},{int.from_bytes(name[8:16], 'little'):#x}}}"
            for at, name in words
        )

    lines = [
        re.sub(r' dev="([^"]*)"', fields, line) if "local_pci_probe: " in line or " lpp: " in line else line
        for line in text.splitlines(keepends=True)
        if not re.search(r" nppr?: | workqueue_", line)
    ]
    folder.mkdir()
    (folder / "trace").write_text("".join(lines))
    definitions = [one.command + "\n" for one in kprobe_definitions(search=True)]
    events = {"really_probe": "rp", "really_probe_ret": "rpr", "local_pci_probe": "lpp", "local_pci_probe_ret": "lppr"}
    (folder / "kprobe_events").write_text("".join(definitions + [
        one.command.replace(f"/{one.event} ", f"/{events[one.event]} ") + "\n"
        for one in kprobe_definitions(search=True) if one.event in events
    ]))  # fmt: skip


def test_without_btf_the_devices_are_named_by_the_offset_that_names_known_ones(tmp_path: Path) -> None:
    without_btf(tmp_path / "raw", {208: b"="})
    trace = read_recording(tmp_path / "raw", None)
    assert [(probe.device, probe.cpu, probe.function) for probe in trace.probes] == [
        (f"0000:{bus}:00.0", 4, "local_pci_probe") for bus in (81, 82, 83)
    ]
    assert "torn-line" not in {warning.kind for warning in trace.warnings}


@pytest.mark.parametrize("named", [{}, {208: b"0000:99:00.0"}], ids=["nobody", "a device that is not there"])
def test_without_btf_and_without_a_trusted_offset_no_place_is_told(tmp_path: Path, named: dict[int, bytes]) -> None:
    """The outer task waits on CPU 0; PCI sent the body to CPU 4, and nobody can say so."""
    without_btf(tmp_path / "raw", named)
    trace = read_recording(tmp_path / "raw", None)
    assert [(probe.device, probe.function) for probe in trace.probes] == [
        (f"0000:{bus}:00.0", "really_probe") for bus in (81, 82, 83)
    ]
    for probe in trace.probes:
        assert (probe.cpu, probe.cpu_node, probe.comm, probe.running_ns) == (None,) * 4
        assert probe.caller_comm == "insmod"
    assert any("without BTF, 3 PCI probe(s)" in warning.message for warning in trace.warnings)


def test_an_unknown_command_makes_nothing(kernel: FakeKernel, tracefs: Tracefs, sysfs: Path) -> None:
    with pytest.raises(InputError):
        take(tracefs, options(), command=["no-such-program-anywhere"], sysfs=sysfs)
    assert not kernel.log


def test_the_command_is_watched_with_the_usual_tasks_but_not_with_chosen_ones() -> None:
    assert with_command(options(), ["/opt/tools/bringup"]).comms[-1] == "bringup"
    assert with_command(options(comms=("x",)), ["bringup"]).comms == ("x",)


def test_a_device_that_went_away_keeps_its_node() -> None:
    def machine(*names: str) -> Topology:
        from dataclasses import replace

        devices = tuple(DeviceInfo(name=name, bus="pci", node=1) for name in names)
        return replace(symmetric("m", nodes=2), devices=devices)

    both = with_devices_of(machine("a"), machine("a", "gone"))
    assert [device.name for device in both.devices] == ["a", "gone"]


def test_a_folder_without_a_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no recording"):
        read_recording(tmp_path, None)


def test_a_machine_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "machine.json").write_text("[1")
    with pytest.raises(InputError, match="no JSON"):
        load_machine(tmp_path)
