import json
import subprocess
import sys
from dataclasses import replace

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_samples import FULL, TRACE, json_values, traces

from numaprobe.errors import InputError, UnknownNameError
from numaprobe.records import (
    COMPARE_SCHEMA,
    TRACE_SCHEMA,
    Identity,
    ProbeRecord,
    Trace,
    dump_trace,
    finding_to_json,
    json_schema,
    load_trace,
    probe_to_json,
    trace_from_json,
    trace_to_json,
)


def test_the_form_is_the_published_one() -> None:
    document = json.loads(dump_trace(TRACE))
    assert list(document) == [
        "schema",
        "source",
        "kernel",
        "policy",
        "scenario",
        "identity",
        "machine",
        "probes",
        "findings",
        "warnings",
        "shared",
        "readings",
        "makespan_range_ns",
        "worst_range_ns",
    ]
    assert document["schema"] == "numaprobe.trace/1"
    assert document["probes"][0]["memory"] == {"0": 4096, "1": 8192}
    assert document["probes"][0]["segments"][2] == [1500, 1700, "sleeping", 5]
    assert document["probes"][0]["waits"][1] == {
        "lock": "ffff8881",
        "held_by": None,
        "times": 1,
        "wait_ns": 50,
        "longest_ns": 50,
    }
    assert (document["makespan_range_ns"], document["worst_range_ns"]) == ([500, 700], [300, 300])
    assert set(document["probes"][1]) == set(ProbeRecord.__dataclass_fields__)
    jsonschema.validate(document, json_schema(TRACE_SCHEMA))


def test_what_is_written_is_read_again() -> None:
    assert load_trace(dump_trace(TRACE)) == TRACE
    assert load_trace(dump_trace(TRACE, indent=2).encode()) == TRACE


@settings(max_examples=60, deadline=None)
@given(traces)
def test_any_trace_survives_and_matches_the_schema(trace: Trace) -> None:
    text = dump_trace(trace)
    assert load_trace(text) == trace
    jsonschema.validate(json.loads(text), json_schema(TRACE_SCHEMA))


def test_the_schema_names_every_field_of_a_record() -> None:
    for name in (TRACE_SCHEMA, COMPARE_SCHEMA):
        schema = json_schema(name)
        jsonschema.Draft202012Validator.check_schema(schema)
        assert set(schema["$defs"]["probe"]["properties"]) == set(ProbeRecord.__dataclass_fields__)


def test_the_schemas_name_every_field_of_an_identity() -> None:
    for name in (TRACE_SCHEMA, COMPARE_SCHEMA):
        assert set(json_schema(name)["$defs"]["identity"]["properties"]) == set(Identity.__dataclass_fields__)


def test_a_trace_of_before_there_were_identities_is_read() -> None:
    document = trace_to_json(TRACE)
    del document["identity"]
    assert trace_from_json(document) == replace(TRACE, identity=None)
    document["identity"] = {"host": "db-7", "colour": "red"}
    assert trace_from_json(document).identity == Identity(host="db-7")


@pytest.mark.parametrize(
    ("identity", "where", "words"),
    [
        ("db-7", "identity", "must be an object"),
        ({"host": 7}, "identity.host", "must be a text"),
        ({"label": "\ud800"}, "identity.label", "surrogate"),
    ],
)
def test_a_wrong_identity_is_refused_with_its_path(identity: object, where: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        trace_from_json(trace_to_json(TRACE) | {"identity": identity})
    assert caught.value.where == where


def test_a_label_is_the_last_that_was_given() -> None:
    assert replace(TRACE, identity=None).labelled("after").identity == Identity(label="after")
    assert TRACE.labelled("after").identity == replace(TRACE.identity, label="after")
    assert TRACE.labelled(None) is TRACE


def test_the_compare_schema_takes_the_form_of_the_design_with_further_figures() -> None:
    entry = {
        "policy": "work-on-cpu",
        "makespan_ns": 1,
        "worst_ns": 1,
        "mean_ns": 0.5,
        "local_share": 1.0,
        "cpus": [0],
        "probes": [probe_to_json(FULL)],
        "findings": [finding_to_json(TRACE.findings[0])],
        "remote_ns": 3,
    }
    document = {
        "schema": COMPARE_SCHEMA,
        "scenario": "x",
        "machine": {},
        "baseline": "work-on-cpu",
        "policies": [entry],
    }
    jsonschema.validate(document, json_schema(COMPARE_SCHEMA))
    del entry["worst_ns"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, json_schema(COMPARE_SCHEMA))


def test_an_unknown_schema_is_refused_in_one_line() -> None:
    document = trace_to_json(TRACE)
    for schema, words in (("numaprobe.trace/2", "schema is 'numaprobe.trace/2'"), (None, "'schema' is missing")):
        with pytest.raises(InputError, match=words) as caught:
            trace_from_json(document | {"schema": schema})
        assert "\n" not in str(caught.value)
        assert "numaprobe.trace/1" in str(caught.value)
    with pytest.raises(UnknownNameError):
        json_schema("numaprobe.trace/9")


def test_unknown_fields_are_passed_over_and_null_is_absent() -> None:
    document = trace_to_json(TRACE)
    document["probes"][0] |= {"colour": "red", "bus": None}
    document |= {"later": {"any": 1}, "warnings": None}
    read = trace_from_json(document)
    assert read.probes[0] == replace(FULL, bus=None)
    assert read.warnings == ()


WRONG = [
    ({"cost_ns": "5"}, "probes[0].cost_ns", "a whole number, and is a text"),
    ({"cost_ns": 1.5}, "probes[0].cost_ns", "is a fraction"),
    ({"cost_ns": True}, "probes[0].cost_ns", "is true or false"),
    ({"cost_ns": -1}, "probes[0].cost_ns", "must not be negative"),
    ({"cost_ns": 2**64}, "probes[0].cost_ns", "64 bits"),
    ({"device": None}, "probes[0].device", "a text, and is null"),
    ({"device": "\ud800"}, "probes[0].device", "surrogate"),
    ({"cpus": [1, "2"]}, "probes[0].cpus[1]", "a whole number"),
    ({"device_node": -2}, "probes[0].device_node", "a node from 0 to 1023, or -1"),
    ({"nested": 1}, "probes[0].nested", "true or false"),
    ({"attempt": 0}, "probes[0].attempt", "1 or more"),
    ({"memory": {"x": 1}}, "probes[0].memory", "not the number of a node"),
    ({"memory": {"1": -1}}, "probes[0].memory.1", "negative"),
    ({"segments": [[1, 2]]}, "probes[0].segments[0]", "[start_ns, end_ns, state, cpu]"),
    ({"segments": [[2, 1, "running", 0]]}, "probes[0].segments[0]", "before it starts"),
    ({"segments": [[1, 2, "idle", 0]]}, "probes[0].segments[0][2]", "must be one of running"),
    ({"start_ns": 9, "end_ns": 3}, "probes[0]", "ends at 3 before it starts at 9"),
]


@pytest.mark.parametrize(("change", "path", "words"), WRONG)
def test_each_error_names_its_path(change: dict[str, object], path: str, words: str) -> None:
    document = trace_to_json(TRACE)
    document["probes"][0] |= change
    with pytest.raises(InputError) as caught:
        load_trace(json.dumps(document), "run.json")
    assert caught.value.where == f"run.json: {path}"
    assert words in caught.value.what


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{", '{"schema": NaN}', "[" * 100_000, '{"a":' * 100_000, "9" * 5000, b"\xff\xfe{", '"\\ud800"'],
)
def test_what_is_no_trace_is_an_input_error(text: str | bytes) -> None:
    with pytest.raises(InputError) as caught:
        load_trace(text, "f.json")
    assert "\n" not in str(caught.value)


def test_a_free_value_nested_too_deep_is_an_input_error() -> None:
    deep: object = 1
    for _ in range(200):
        deep = [deep]
    with pytest.raises(InputError, match="deep"):
        trace_from_json(trace_to_json(TRACE) | {"machine": {"a": deep}})


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_mutated_document_is_read_or_refused(data: st.DataObject) -> None:
    document = json.loads(dump_trace(TRACE))
    place = data.draw(
        st.sampled_from([document, document["probes"][0], document["findings"][0], document["warnings"][0]])
    )
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(json_values)
    try:
        read = trace_from_json(document)
    except InputError:
        return
    assert load_trace(dump_trace(read)) == read


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(junk: bytes) -> None:
    with pytest.raises(InputError):
        load_trace(junk)


def test_names_that_are_no_text_are_written_as_escapes() -> None:
    odd = replace(TRACE, probes=(replace(FULL, device="disk\udcff"),), kernel="6\udc80")
    read = load_trace(dump_trace(odd))
    assert (read.probes[0].device, read.kernel) == ("disk\\udcff", "6\\udc80")


def test_the_floor_imports_nothing_until_a_name_is_used() -> None:
    code = (
        "import __future__, sys, dataclasses, enum, typing; before = set(sys.modules); import numaprobe.records;"
        "print(*sorted(set(sys.modules) - before))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert set(loaded) == {"numaprobe", "numaprobe.version", "numaprobe.records"}
