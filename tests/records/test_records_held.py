"""What holds a worker is in its record: the CPUs it may use, and the pod where it is woken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from numaprobe.errors import InputError
from numaprobe.kernel.readers import read_trace
from numaprobe.records import ProbeRecord, Trace, dump_trace, load_trace
from numaprobe.records.parquet import read_parquet, write_parquet
from numaprobe.scenario import load_scenario, run_scenario

RECORD = ProbeRecord(device="d", driver="x", cpu=5, comm="kworker/u33:0", cost_ns=7, cpus_allowed="0-7", pod="4-7")


def test_both_survive_json_and_parquet(tmp_path: Path) -> None:
    trace = Trace(source="virtual", probes=(RECORD, replace(RECORD, cpus_allowed=None, pod=None)))
    assert load_trace(dump_trace(trace)) == trace
    write_parquet(trace, tmp_path / "t.parquet")
    assert read_parquet(tmp_path / "t.parquet") == trace


def test_a_trace_from_before_is_read_as_unknown() -> None:
    old = '{"schema": "numaprobe.trace/1", "source": "host", "probes": [{"device": "d", "driver": "x", "cost_ns": 7}]}'
    (record,) = load_trace(old).probes
    assert (record.cpus_allowed, record.pod) == (None, None)


@pytest.mark.parametrize("text", ['"4-"', '"a"', '"7-4"', "5", '"99999999"'])
def test_what_is_no_list_of_cpus_is_refused_with_its_path(text: str) -> None:
    probe = f'{{"device": "d", "driver": "x", "cost_ns": 7, "cpus_allowed": {text}}}'
    with pytest.raises(InputError) as caught:
        load_trace(f'{{"schema": "numaprobe.trace/1", "source": "host", "probes": [{probe}]}}')
    assert "probes[0].cpus_allowed" in str(caught.value)


@pytest.mark.parametrize(
    ("policy", "kernel", "allowed", "pod"),
    [
        ("probe-workqueue", "7.3", {"0"}, {None}),
        ("queue-on-node", "7.3", {"0-255"}, {"0-7,128-135"}),
        ("strict-node", "7.3", {"0-63,128-191"}, {"0-63,128-191"}),
        ("queue-on-node", "6.1", {"0-63,128-191"}, {"0-63,128-191"}),
    ],
)
def test_a_simulated_probe_says_what_held_it(
    policy: str, kernel: str, allowed: set[str | None], pod: set[str | None]
) -> None:
    probes = run_scenario(load_scenario("nvme-epyc"), policy, kernel=kernel).probes
    assert {record.cpus_allowed for record in probes} == allowed
    assert {record.pod for record in probes} == pod


def test_a_kernels_trace_says_it_of_bound_workers_alone() -> None:
    data = Path(__file__).parents[1] / "data" / "kernel" / "debian-7.2" / "two-nodes"
    bound = read_trace(data / "async.1.trace.gz").probes
    assert {(record.comm or "")[:10] for record in bound} == {"kworker/4:"}
    assert {record.cpus_allowed for record in bound} == {"4"}
    free = read_trace(data / "vblkasync.1.trace.gz").probes
    assert {record.cpus_allowed for record in free} == {None}
