"""The examples of the two pages on records and traces do what they say."""

import json
import re
from pathlib import Path

import pytest

from numaprobe.kernel import initcall
from numaprobe.kernel.kprobes import kprobe_definitions, parse_kprobe_events
from numaprobe.kernel.reader_warnings import ReaderCounts, reader_warnings
from numaprobe.records import ProbeRecord, trace_from_json

DOCS = Path(__file__).parents[2] / "docs"
RECORDS = (DOCS / "records.md").read_text(encoding="utf-8")
TRACES = (DOCS / "reading-kernel-traces.md").read_text(encoding="utf-8")


def test_the_python_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", RECORDS, re.DOTALL)
    exec(code, {})  # noqa: S102  our own page
    assert capsys.readouterr().out == "nvme 0000:01:00.0: CPU: 5, COMM: sh, probe cost: 7 ns\n"


def test_the_json_example_is_a_trace() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", RECORDS, re.DOTALL)
    assert trace_from_json(json.loads(text)).probes[0].cost_ns == 416_489_000


def test_every_field_of_a_record_is_explained() -> None:
    table = RECORDS.split("\n## Who made a trace")[0]
    explained = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE))))
    assert explained == set(ProbeRecord.__dataclass_fields__)


def test_the_definitions_on_the_page_are_ours() -> None:
    assert tuple(parse_kprobe_events(TRACES.splitlines()).values()) == kprobe_definitions()


def test_every_warning_is_explained() -> None:
    from numaprobe.kernel.probes import ProbeAssembler
    from numaprobe.kernel.unplaced import UNPLACED

    counts = ReaderCounts(
        torn=1, lost_events=1, lost_places=1, overwritten=1, unordered=1, clock_changes=1, whole_number_clock=True,
        cut_off=True,
    )  # fmt: skip
    assembler = ProbeAssembler()
    for name in ("unfinished", "orphans", "unnamed", "segments_dropped"):
        setattr(assembler.counts, name, 1)
    given = {
        warning.kind for warning in reader_warnings(counts, assembler, [ProbeRecord(device="a", driver="b", cost_ns=1)])
    }
    table = TRACES.split("### What goes wrong")[1].split("##")[0]
    assert given | {UNPLACED} == set(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE))


def test_every_warning_on_logs_is_explained() -> None:
    table = TRACES.split("### Warnings on logs")[1].split("##")[0]
    source = Path(initcall.__file__).read_text(encoding="utf-8")
    given = set(re.findall(r'kind="([\w-]+)"', source)) - {"torn-line", "not-told"}
    assert given == set(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE))
