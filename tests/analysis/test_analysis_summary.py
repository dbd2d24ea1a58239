from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import jsonschema
import pytest
import synthetic as s
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.analysis import compare, summarize, unique_labels
from numaprobe.analysis.sweep import clusters, coverage
from numaprobe.errors import InputError, UnknownNameError, UsageError
from numaprobe.records import Trace, json_schema, trace_from_json

MS = s.MS


def test_summary_of_three_probes_by_hand() -> None:
    trace = s.trace(
        s.probe("a", cost_ns=10 * MS, memory={0: 100, 1: 300}, running_ns=4 * MS, runnable_ns=MS, sleeping_ns=5 * MS),
        s.probe("b", start_ns=5 * MS, cost_ns=20 * MS, cpu=6, cpu_node=1, result="ENODEV", remote_ns=MS),
        s.probe("c", start_ns=40 * MS, cost_ns=MS, device_node=-1, result="EPROBE_DEFER", cpus=(2, 3)),
    )
    summary = summarize(trace)
    assert (summary.probes, summary.deferred, summary.failed) == (3, 1, 1)
    assert (summary.worst_ns, summary.worst_device, summary.mean_ns) == (20 * MS, "b", 15 * MS)
    assert summary.makespan_ns == 41 * MS
    assert (summary.local, summary.remote, summary.unplaced, summary.local_share) == (1, 1, 1, 0.5)
    assert summary.cpus == (1, 2, 3, 6)
    assert (summary.running_ns, summary.split_known) == (4 * MS, 1)
    assert summary.memory == {0: 100, 1: 300}
    assert summary.memory_local_share == 0.25


def test_summary_of_what_tells_nothing_is_none_and_never_zero() -> None:
    summary = summarize(s.seed_table("dec27", "work-on-cpu"))
    assert summary.worst_ns == 53372612
    for name in ("makespan_ns", "local_share", "running_ns", "remote_ns", "memory", "memory_local_share"):
        assert getattr(summary, name) is None, name
    assert summarize(Trace(source="host", probes=())).mean_ns is None


def test_a_nested_probe_is_counted_once_in_the_sums() -> None:
    outer = s.probe("pf", running_ns=30 * MS)
    inner = s.probe("vf", running_ns=10 * MS, nested=True)
    assert summarize(s.trace(outer, inner)).running_ns == 30 * MS


def test_the_node_of_a_cpu_comes_from_the_machine_where_the_record_has_none() -> None:
    trace = s.trace(s.probe(cpu=6, cpu_node=None, device_node=0), machine=s.small())
    assert summarize(trace).remote == 1


def test_the_seeds_differences_name_their_base() -> None:
    """Worst -34.9 %, mean -31.6 %: the figures that the first patch is about."""
    comparison = compare([s.seed_table("dec27", "work-on-cpu"), s.seed_table("dec27", "skip-in-worker")])
    difference = comparison.entries[1].difference
    assert difference.base == "work-on-cpu"
    assert (round(difference.worst_percent or 0, 1), round(difference.mean_percent or 0, 1)) == (-34.9, -31.6)
    assert difference.makespan_percent is None


def test_compare_object_has_the_fields_of_the_schema() -> None:
    comparison = compare([s.nvme_before(), s.nvme_after()], baseline="queue-on-node")
    data = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    assert data["schema"] == "numaprobe.compare/1"
    assert (data["scenario"], data["baseline"], data["machine"]["name"]) == ("nvme-epyc", "queue-on-node", "epyc-9a64")
    before = data["policies"][0]
    for key in ("policy", "makespan_ns", "worst_ns", "mean_ns", "local_share", "cpus", "probes", "findings"):
        assert key in before
    assert before["cpus"] == [0]
    assert before["findings"][0]["kind"] == "same-cpu"
    assert before["difference"]["worst_percent"] > 50
    probe = before["probes"][0]
    again = trace_from_json({"schema": "numaprobe.trace/1", "source": "virtual", "probes": [probe]})
    assert again.probes[0] == comparison.entries[0].trace.probes[0]


@pytest.mark.parametrize(
    "traces",
    [
        [s.nvme_before(), s.nvme_after(), s.nvme_inline()],
        [s.seed_table("dec27", "work-on-cpu"), s.seed_table("dec30", "queue-on-node")],
        [Trace(source="host", probes=())],
        [s.trace(s.probe(device_node=-1, memory={1: 5}, result="EPROBE_DEFER"), machine=s.small())],
    ],
    ids=["three policies", "no times", "no probes", "no node"],
)
def test_compare_object_is_what_the_published_schema_says(traces: list[Trace]) -> None:
    data = json.loads(json.dumps(compare(traces).to_dict(), allow_nan=False))
    schema = json_schema("numaprobe.compare/1")
    jsonschema.validate(data, schema)
    named = schema["$defs"]["entry"]["properties"]
    assert all(set(entry) <= set(named) for entry in data["policies"])


def test_compare_refuses_what_it_cannot_do() -> None:
    with pytest.raises(UsageError, match="at least one"):
        compare([])
    with pytest.raises(UnknownNameError, match="work-on-cpu"):
        compare([s.nvme_before()], baseline="work-on-cpo")
    with pytest.raises(InputError):
        compare([replace(s.nvme_before(), machine={"nodes": 5})])


def test_labels_are_unique() -> None:
    plain = Trace(source="kernel", probes=())
    assert unique_labels([plain, plain, replace(plain, kernel="6.1"), plain]) == [
        "kernel",
        "kernel#2",
        "6.1",
        "kernel#3",
    ]


# ---- sweep lines ----

SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 20)).map(lambda t: (t[0], t[0] + t[1])), max_size=12)


@settings(max_examples=80, deadline=None)
@given(SPANS)
def test_coverage_against_counting_every_tick(spans: list[tuple[int, int]]) -> None:
    depth = [sum(a <= tick < b for a, b in spans) for tick in range(61)]
    covered = coverage(spans)
    assert covered.union_ns == sum(d >= 1 for d in depth)
    assert covered.overlap_ns == sum(d >= 2 for d in depth)
    assert covered.peak == max(depth)


@settings(max_examples=80, deadline=None)
@given(SPANS, st.integers(0, 5))
def test_clusters_keep_everything_and_cut_only_at_gaps(spans: list[tuple[int, int]], gap: int) -> None:
    made = list(clusters(spans, lambda span: span, gap))
    assert sorted(span for cluster in made for span in cluster) == sorted(spans)
    for before, after in pairwise(made):
        assert min(a for a, _ in after) > max(b for _, b in before) + gap
