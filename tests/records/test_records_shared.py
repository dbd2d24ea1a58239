"""What probes share, in JSON: wrong values are refused with their path, and ranges follow from the readings."""

import json
from dataclasses import replace

import pytest
from record_samples import TRACE

from numaprobe.errors import InputError
from numaprobe.records import Reading, Trace, dump_trace, load_trace, trace_to_json

WRONG = [
    ("shared", {"hold_range_ns": [2, 1]}, "shared[0].hold_range_ns", "[low, high]"),
    ("shared", {"hold_range_ns": [1]}, "shared[0].hold_range_ns", "[low, high]"),
    ("shared", {"evidence": "proved"}, "shared[0].evidence", "must be one of seen, suspected"),
    ("shared", {"members": ["nvme", 1]}, "shared[0].members[1]", "a text"),
    ("shared", {"slowdown": -0.5}, "shared[0].slowdown", "not negative"),
    ("shared", {"slowdown_range": [0.5, 0.1]}, "shared[0].slowdown_range", "[low, high]"),
    ("shared", {"by_member": {"nvme": "82ms"}}, "shared[0].by_member.nvme", "a whole number"),
    ("readings", {"worst_ns": -1}, "readings[0].worst_ns", "negative"),
    ("readings", {"name": None}, "readings[0].name", "a text"),
]


@pytest.mark.parametrize(("key", "change", "path", "words"), WRONG)
def test_each_error_names_its_path(key: str, change: dict[str, object], path: str, words: str) -> None:
    document = trace_to_json(TRACE)
    document[key][0] |= change
    with pytest.raises(InputError) as caught:
        load_trace(json.dumps(document), "run.json")
    assert caught.value.where == f"run.json: {path}"
    assert words in caught.value.what


def test_a_wrong_wait_is_refused() -> None:
    document = trace_to_json(TRACE)
    del document["probes"][0]["waits"][0]["times"]
    with pytest.raises(InputError, match="'times' is missing"):
        load_trace(json.dumps(document))


def test_ranges_are_the_least_and_the_most_of_the_readings() -> None:
    readings = (Reading("expected", 5, 3), Reading("least", 4, None), Reading("most", 9, 8))
    trace = replace(TRACE, readings=readings)
    assert (trace.makespan_range_ns, trace.worst_range_ns) == ((4, 9), (3, 8))
    empty = Trace(source="virtual", probes=())
    assert (empty.makespan_range_ns, empty.worst_range_ns) == (None, None)


def test_written_ranges_are_worked_out_again_and_not_believed() -> None:
    document = json.loads(dump_trace(TRACE)) | {"makespan_range_ns": [1, 2]}
    assert load_trace(json.dumps(document)).makespan_range_ns == TRACE.makespan_range_ns == (500, 700)
