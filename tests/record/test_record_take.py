"""A whole recording against the fake kernel, whose buffer holds what a real Debian 6.1 recorded."""

from __future__ import annotations

import gzip
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from numaprobe.errors import InputError
from numaprobe.kernel.record import EVERY_COMM, RecordOptions
from numaprobe.kernel.recorded import load_machine, read_recording, with_devices_of
from numaprobe.kernel.take import take, with_command
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
    assert taken.trace.warnings[-1].kind == "command-failed"


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
