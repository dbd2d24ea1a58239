"""``numaprobe advise``: the verdict first, a published JSON, and refusals in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from command import refused

from numaprobe.records import json_schema

DATA = Path(__file__).parents[1] / "data" / "kernel"
GUEST = DATA / "debian-7.2" / "two-nodes"


def advice(text: str) -> Any:
    found = json.loads(text)
    jsonschema.validate(found, json_schema("numaprobe.advice/1"))
    return found


def test_the_first_line_is_the_verdict(run: Any) -> None:
    first, *_ = run("advise", "lab-virtio").splitlines()
    assert first == advice(run("advise", "lab-virtio", "--json"))["verdict"]
    assert first.startswith("virtio_blk loaded from node 1 puts 2 of 2 probes on their device's node, which were 0;")


def test_the_json_says_what_the_table_shows(run: Any) -> None:
    found = advice(run("advise", "mixed-bus", "--json", "--for", "600s"))  # every combination, on a busy machine too
    table = run("advise", "mixed-bus", "--for", "600s")
    best = found["recommended"]
    assert best["name"] == ", ".join(one["name"] for one in best["settings"])
    assert best["gain_range_ns"] == [found["base"]["makespan_ns"] - best["makespan_ns"]] * 2
    assert best["sure"] is True
    for line in best["lines"]:
        assert f"{line['where']}: {line['line']}" in table
    assert found["search"]["exhaustive"] is True
    assert [one["driver"] for one in found["kept_out"]] == ["virtio_blk"]
    assert found["kept_out"][0]["text"][:40] in " ".join(table.split())


def test_nothing_helps_is_an_answer_with_its_bound(run: Any) -> None:
    text = run("advise", "pmem-2018")
    assert text.startswith("Nothing here would help, because the probe of pmem0 takes 3.000 s of the 3.000 s")
    found = advice(run("advise", "nvme-epyc", "--json"))
    assert found["recommended"] is None
    assert (found["bound"]["ns"], found["bound"]["devices"]) == (34_300_000, ["0000:01:00.0"])
    assert "54.900 ms in all for a CPU that others used" in found["verdict"]


def test_a_trace_says_that_it_is_one_boot(run: Any) -> None:
    found = advice(run("advise", GUEST / "sync.1.trace.gz", "-m", GUEST, "--json"))
    assert [one["reason"] for one in found["kept_out"]] == ["names"]
    assert any(limit.startswith("one trace:") for limit in found["limits"])
    allowed = advice(run("advise", GUEST / "sync.1.trace.gz", "-m", GUEST, "--json", "--allow", "nvme"))
    assert allowed["kept_out"] == []
    assert any(one["name"] == "driver_async_probe=nvme" for one in allowed["tried"])


def test_another_trace_teaches_what_is_shared(run: Any) -> None:
    options = ["-m", GUEST, "--allow", "nvme", "--json"]
    alone = advice(run("advise", GUEST / "sync.1.trace.gz", *options))
    taught = advice(run("advise", GUEST / "sync.1.trace.gz", *options, "--learn", GUEST / "async.1.trace.gz"))

    def width(found: Any) -> int:
        one = next(one for one in found["tried"] if one["name"] == "driver_async_probe=nvme")
        low, high = one["makespan_range_ns"]
        return int(high - low)

    assert width(taught) < width(alone)


def test_lost_events_leave_nothing_sure(run: Any, tmp_path: Path) -> None:
    import gzip

    text = gzip.decompress((GUEST / "vblk.1.trace.gz").read_bytes()).decode()
    lines = text.splitlines(keepends=True)
    cut = tmp_path / "lost.trace"
    cut.write_text("".join([*lines[: len(lines) // 2], "CPU:0 [LOST 12 EVENTS]\n", *lines[len(lines) // 2 :]]))
    found = advice(run("advise", cut, "-m", GUEST, "--json", "--allow", "virtio_blk"))
    assert any(limit.startswith("lost-events:") for limit in found["limits"])
    assert not any(one["sure"] for one in found["tried"])
    assert found["hopeful"] is not None
    assert found["verdict"].startswith(("Nothing is sure to help.", "virtio_blk loaded from node 1 puts"))


def test_a_log_that_is_cut_off_is_answered_with_its_limit(run: Any, tmp_path: Path) -> None:
    text = (DATA / "initcall" / "debian-6.12.log").read_text(errors="replace")
    cut = tmp_path / "cut.log"
    calls = [line for line in text.splitlines() if "probe of" in line or "initcall" in line or "calling" in line]
    cut.write_text("\n".join(calls[: len(calls) // 2]) + "\n" + calls[len(calls) // 2][:30])
    found = advice(run("advise", cut, "-m", "2 nodes x 1 llc x 4 cores", "--json"))
    assert found["limits"]


def test_the_time_limit_gives_the_best_so_far(run: Any) -> None:
    found = advice(run("advise", "mixed-bus", "--for", "0s", "--json"))
    assert found["search"] == {"runs": found["search"]["runs"], "exhaustive": False, "timed_out": True}
    assert "until the time was over: the best so far" in run("advise", "mixed-bus", "--for", "0s")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nvme-epic"], "unknown scenario 'nvme-epic': did you mean 'nvme-epyc'?"),
        (["nvme-epyc", "--learn", "x"], "--learn is for recorded traces"),
        (["nvme-epyc", "--for", "soon"], "'soon' is not a time"),
        (["nvme-epyc", "--format", "html"], "unknown format 'html'"),
        ([DATA / "initcall" / "debian-6.12.log"], "does not say on which machine it was recorded"),
        ([GUEST / "sync.1.trace.gz", "-m", GUEST, "--devices", "3"], "--devices is for scenarios"),
    ],
)
def test_bad_input_is_one_line(arguments: list[object], line: str) -> None:
    assert line in refused("advise", *arguments)
