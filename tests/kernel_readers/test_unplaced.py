"""Where a PCI probe ran is not guessed from the task that waited for it."""

import io
import json
from pathlib import Path

import pytest
from tests.cli.command import numaprobe
from tests.kernel_readers.ftrace_text import Ftrace

from numaprobe.kernel.ftrace import read_ftrace
from numaprobe.kernel.kprobes import KprobeDefinition, kprobe_definitions
from numaprobe.kernel.unplaced import UNPLACED
from numaprobe.records import ProbeRecord, Trace

A, B = "0000:81:00.0", "0000:82:00.0"
CALLER, WORKER = "insmod-288", "kworker/4:1-89"
ASKED = {one.event: one for one in kprobe_definitions()}
NOT_ASKED = {event: one for event, one in ASKED.items() if one.function != "local_pci_probe"}


def read(text: Ftrace, definitions: dict[str, KprobeDefinition] | None = None) -> Trace:
    return read_ftrace(io.BytesIO(b"# tracer: nop\n" + text.text), definitions=definitions)


def inlined(result: int = 0) -> Ftrace:
    """Return a probe that PCI sent to another CPU, where the compiler left no function to be entered."""
    text = Ftrace().probe(10, CALLER, 0, A).switch(12, 0, CALLER, "D", "x-1").switch(40, 0, "x-1", "S", CALLER)
    return text.probed(50, CALLER, 0, result)


def seen(us: int, device: str = B) -> Ftrace:
    """Return a probe that PCI sent to a worker in which its function is seen."""
    text = Ftrace().probe(us, CALLER, 0, device).enter(us + 2, WORKER, 4, "local_pci_probe", device)
    return text.leave(us + 8, WORKER, 4, "local_pci_probe").probed(us + 9, CALLER, 0)


def both(one: Ftrace, other: Ftrace) -> Ftrace:
    return Ftrace(lines=[*one.lines, *other.lines])


def place(record: ProbeRecord) -> tuple[object, ...]:
    return (
        *(record.cpu, record.cpu_node, record.comm, record.cpus, record.cpus_allowed, record.running_ns),
        *(record.runnable_ns, record.sleeping_ns, record.remote_ns, record.segments),
    )


def warnings(trace: Trace) -> list[str]:
    return [warning.message for warning in trace.warnings if warning.kind == UNPLACED]


@pytest.mark.parametrize(
    ("definitions", "why"),
    [
        (ASKED, "was recorded and never entered"),
        (NOT_ASKED, "was not recorded"),
        (None, "is not in the trace"),
    ],
)
def test_the_place_of_a_bound_device_whose_body_nobody_saw_is_unknown(
    definitions: dict[str, KprobeDefinition] | None, why: str
) -> None:
    trace = read(inlined(), definitions)
    (record,) = trace.probes
    assert place(record) == (None,) * 10
    assert (record.caller_cpu, record.caller_comm, record.cost_ns, record.result) == (0, "insmod", 40_000, "0")
    (message,) = warnings(trace)
    assert message.startswith(f"1 PCI probe(s) do not tell where they ran, for local_pci_probe {why}")
    assert "--function DRIVER:FUNCTION" in message


def test_one_that_failed_is_placed_where_the_function_is_seen_for_others() -> None:
    """It may have failed before PCI was asked: there is no supplier."""
    assert place(read(inlined(-517), ASKED).probes[0]) == (None,) * 10
    trace = read(both(inlined(-517), seen(100)), ASKED)
    assert [record.cpu for record in trace.probes] == [0, 4]
    assert warnings(trace) == []


def test_one_that_is_bound_is_not_placed_although_the_function_is_seen_for_others() -> None:
    trace = read(both(inlined(), seen(100)), ASKED)
    assert [record.cpu for record in trace.probes] == [None, 4]
    (message,) = warnings(trace)
    assert "was entered for others: the compiler put it into some of its callers" in message


def test_the_drivers_own_function_tells_the_place() -> None:
    text = Ftrace().probe(10, CALLER, 0, A).enter(12, WORKER, 4, "nvme_probe", A).leave(18, WORKER, 4, "nvme_probe")
    trace = read(text.probed(20, CALLER, 0), ASKED)
    assert (trace.probes[0].cpu, trace.probes[0].function, warnings(trace)) == (4, "nvme_probe", [])


@pytest.mark.parametrize("device", ["virtio0", "ndbus0", "0000:00:1c.0:pcie001", "1-1:1.0"])
def test_other_buses_probe_where_really_probe_runs(device: str) -> None:
    trace = read(Ftrace().probe(10, CALLER, 0, device).probed(20, CALLER, 0), ASKED)
    assert (trace.probes[0].cpu, warnings(trace)) == (0, [])


def test_a_table_shows_that_the_place_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes(b"# tracer: nop\n" + both(inlined(), seen(100)).text)
    done = numaprobe("report", str(path), "--json")
    probe, _ = json.loads(done.stdout)["probes"]
    assert (probe["cpu"], probe["comm"], probe["caller_comm"]) == (None, None, "insmod")
    text = numaprobe("report", str(path)).stdout
    (row,) = (line for line in text.splitlines() if A in line)
    assert row.split()[:6] == ["0", "ns", A, "nvme", "-", "-"]
    assert text.count("do not tell where they ran") == 1
