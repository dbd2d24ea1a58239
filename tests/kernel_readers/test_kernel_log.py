import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.kernel.initcall import read_log
from numaprobe.records import Trace
from numaprobe.topology import DeviceInfo, symmetric

PROBE = "probe of 0000:01:00.0 returned 0 after 53372 usecs"
SEED = "nvme 0000:01:00.0: CPU: 5, COMM: kworker/u1025:5, probe cost: 34765890 ns"


def read(*lines: str, **options: object) -> Trace:
    return read_log(io.BytesIO("".join(line + "\n" for line in lines).encode()), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        ("", None),
        ("[    1.234567] ", 1_234_567_000),
        ("[    1.234567][  T123] ", 1_234_567_000),
        ("[    1.234567] [   C1] ", 1_234_567_000),
        ("<7>[    1.234567] ", 1_234_567_000),
        ("kern  :debug : [    1.234567] ", 1_234_567_000),
        ("7,412,1234567,-;", 1_234_567_000),
        ("7,412,1234567,-,caller=T1;", 1_234_567_000),
        ("Nov 21 02:00:00 host kernel: ", None),
        ("bus: 'pci': ", None),
        ("nvme 0000:01:00.0: ", None),
    ],
)
def test_the_line_in_every_dress(prefix: str, end: int | None) -> None:
    (record,) = read(prefix + PROBE).probes
    assert (record.device, record.result, record.cost_ns) == ("0000:01:00.0", "0", 53_372_000)
    assert record.end_ns == end
    assert record.start_ns == (None if end is None else end - 53_372_000)
    assert (record.cpu, record.comm, record.running_ns, record.function) == (None, None, None, "really_probe")


def test_a_stamp_smaller_than_the_cost_tells_no_start() -> None:
    (record,) = read("[    0.000010] " + PROBE).probes
    assert (record.start_ns, record.end_ns) == (None, None)


@pytest.mark.parametrize(
    ("line", "result"),
    [
        ("probe of a returned -517 after 3 usecs", "EPROBE_DEFER"),
        ("probe of a returned 517 after 3 usecs", "EPROBE_DEFER"),
        ("probe of a returned 19 after 3 usecs", "ENODEV"),
        ("probe of a returned -12 after 3 usecs", "ENOMEM"),
        ("probe of a returned 0x13 after 3 usecs", "ENODEV"),
    ],
)
def test_errors_have_names(line: str, result: str) -> None:
    assert read(line).probes[0].result == result


def test_retries_are_counted() -> None:
    records = read(*(f"probe of a returned {result} after 3 usecs" for result in (517, -517, 0, 0))).probes
    assert [record.attempt for record in records] == [1, 2, 3, 1]


def test_the_module_whose_initcall_the_task_is_in_is_the_driver() -> None:
    trace = read(
        "[    1.0][ T12] calling  nvme_init+0x0/0x1000 [nvme] @ 12",
        "[    1.1][ T13] calling  e1000_init+0x0/0x1000 [e1000e] @ 13",
        "[    1.200000][   T12] probe of a returned 0 after 5 usecs",
        "[    1.200001][   T13] probe of b returned 0 after 5 usecs",
        "[    1.200002][   T99] probe of c returned 0 after 5 usecs",
        "probe of d returned 0 after 5 usecs",
        "[    1.3][ T12] initcall nvme_init+0x0/0x1000 [nvme] returned 0 after 100 usecs",
        "probe of e returned 0 after 5 usecs",
    )
    assert {record.device: record.driver for record in trace.probes} == {
        "a": "nvme",
        "b": "e1000e",
        "c": "?",
        "d": "?",  # two initcalls under way and no caller id
        "e": "e1000e",
    }


@pytest.mark.parametrize(
    "line",
    [
        "nvme 0000:01:00.0: probe with driver nvme failed with error -12",
        "nvme: probe of 0000:01:00.0 failed with error -12",
    ],
)
def test_a_line_about_the_failure_names_the_driver(line: str) -> None:
    (record,) = read("[    1.000000] " + line, "probe of 0000:01:00.0 returned 12 after 7 usecs").probes
    assert (record.driver, record.result) == ("nvme", "ENOMEM")


def test_pending_deferrals_and_the_release_are_kept() -> None:
    trace = read(
        "[    0.000000] Linux version 6.12.1-amd64 (x@y) #1 SMP",
        "[   12.000000] platform foo: deferred probe pending: platform: wait for supplier clk",
        "[   12.000001] platform bar: deferred probe pending",
        PROBE,
    )
    assert trace.kernel == "6.12.1-amd64"
    pending = [warning for warning in trace.warnings if warning.kind == "deferred-pending"]
    assert [warning.message for warning in pending] == [
        "foo still waits for what it deferred on: platform: wait for supplier clk",
        "bar still waits for what it deferred on",
    ]
    assert pending[0].time_ns == 12 * 10**9


def test_the_seeds_line_says_more_and_is_told_once() -> None:
    trace = read(PROBE, SEED, "probe of virtio0 returned 0 after 9 usecs")
    assert [(record.device, record.cpu) for record in trace.probes] == [("0000:01:00.0", 5), ("virtio0", None)]


def test_what_a_log_cannot_tell_is_said() -> None:
    messages = [warning.message for warning in read(PROBE, "probe of a returned 0 af").warnings]
    assert messages[0] == "1 line(s) about probes could not be read"
    assert any("no CPU" in message for message in messages)
    assert any("do not tell their driver" in message for message in messages)


def test_the_machine_gives_node_and_bus() -> None:
    import dataclasses

    device = DeviceInfo(name="0000:01:00.0", bus="pci", node=1)
    machine = dataclasses.replace(symmetric("m", nodes=2, cores=4), devices=(device,))
    (record,) = read(SEED, topology=machine).probes
    assert (record.bus, record.device_node, record.cpu_node, record.local) == ("pci", 1, 1, True)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.binary(max_size=60) | st.sampled_from([PROBE.encode(), SEED.encode(), b"calling  x [m] @ 1"])),
    st.data(),
)
def test_any_bytes_are_read(lines: list[bytes], data: st.DataObject) -> None:
    text = b"\n".join(lines)
    cut = data.draw(st.integers(0, len(text)))
    trace = read_log(io.BytesIO(text[:cut]))
    assert all(record.cost_ns >= 0 for record in trace.probes)
