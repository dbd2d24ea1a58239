"""A difference in a comparison, reading by reading: what is true of one policy is true of the base."""

from numaprobe.analysis import compare
from numaprobe.records import ProbeRecord, Reading, Trace


def trace(policy: str, makespan: int, *readings: Reading) -> Trace:
    probe = ProbeRecord(device="a", driver="d", cost_ns=makespan, start_ns=0, end_ns=makespan)
    return Trace(source="virtual", probes=(probe,), policy=policy, readings=readings)


def test_readings_are_paired_by_what_they_take_to_be_true() -> None:
    base = trace("base", 100, Reading("nothing", 100, 100), Reading("all", 200, 200))
    other = trace("other", 50, Reading("nothing", 50, 40), Reading("all", 190, 180))
    difference = compare([base, other]).entries[1].difference
    assert difference.makespan_percent == -50
    assert difference.makespan_range_percent == (-50, -5)
    assert difference.worst_range_percent == (-60, -10)


def test_a_recorded_base_is_what_it_is_under_each_reading() -> None:
    other = trace("other", 50, Reading("nothing", 50, 50), Reading("all", 110, 90))
    found = compare([trace("recorded", 100), other])
    assert found.entries[1].difference.makespan_range_percent == (-50, 10)
    assert found.entries[0].difference.makespan_range_percent is None
    entry = found.to_dict()["policies"][1]
    assert entry["makespan_range_ns"] == [50, 110]
    assert entry["difference"]["worst_range_percent"] == [-50, -10]
