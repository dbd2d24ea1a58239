"""Which kernel a trace is of, where its own text does not say."""

import json
from pathlib import Path

import pytest

from numaprobe.kernel.readers import read_trace
from numaprobe.topology import load_topology

LOG = "probe of 0000:01:00.0 returned 0 after 5 usecs\nprobe of 0000:02:00.0 returned -517 after 5 usecs\n"
MACHINE_TXT = "Linux guest 5.10.0-32-amd64 #1 SMP x86_64 GNU/Linux\nroot=/dev/vda\nnode0 0-3 dist 10\n"


def log(folder: Path) -> Path:
    path = folder / "dmesg.txt"
    path.write_text(LOG)
    return path


def test_the_machines_file_names_the_kernel_and_what_its_results_mean(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    machine = tmp_path / "other" / "machine.txt"
    machine.write_text(MACHINE_TXT)
    trace = read_trace(log(tmp_path), topology=load_topology(str(machine)))
    assert (trace.kernel, trace.probes[0].result) == ("5.10.0-32-amd64", "E?")
    assert [w.kind for w in trace.warnings if w.kind in ("kernel", "assumed-results")] == ["kernel"]


@pytest.mark.parametrize(
    ("name", "text", "release"),
    [
        ("machine.txt", MACHINE_TXT, "5.10.0-32-amd64"),
        ("uname", "Linux host 6.1.0-18-amd64 #1 SMP PREEMPT_DYNAMIC x86_64 GNU/Linux\n", "6.1.0-18-amd64"),
        ("uname", "7.3.4+deb13-amd64\n", "7.3.4+deb13-amd64"),
        ("machine.json", json.dumps({"info": {"kernel": "6.12.1"}}), "6.12.1"),
        ("uname", "no release\n", None),
        ("machine.json", "[1, 2", None),
        ("machine.json", '"x"', None),
    ],
)
def test_a_file_beside_the_trace_names_the_kernel(tmp_path: Path, name: str, text: str, release: str | None) -> None:
    (tmp_path / name).write_text(text)
    assert read_trace(log(tmp_path)).kernel == release


def test_a_log_that_names_its_kernel_is_believed(tmp_path: Path) -> None:
    (tmp_path / "uname").write_text("5.10.0-32-amd64\n")
    path = log(tmp_path)
    path.write_text("Linux version 6.1.0 (x)\n" + LOG)
    assert (read_trace(path).kernel, read_trace(path).probes[0].result) == ("6.1.0", "0")


def test_an_ftrace_text_takes_the_kernel_of_its_machine(tmp_path: Path) -> None:
    path = tmp_path / "x.trace"
    path.write_text(
        "# tracer: nop\n"
        '   sh-4 [000] .....    10.0: really_probe: (really_probe+0x0/0x3f0) dev="a" drv="b"\n'
        "   sh-4 [000] .....    10.1: really_probe_ret: (__driver_probe_device+0x92/0x1a0 <- really_probe) ret=0\n"
    )
    assert read_trace(path).kernel is None
    (tmp_path / "machine.txt").write_text(MACHINE_TXT)
    assert read_trace(path).kernel == "5.10.0-32-amd64"
