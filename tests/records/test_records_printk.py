import csv
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_samples import BARE, FULL, records

from numaprobe.records import ProbeRecord, Trace, parse_printk_line, printk_line, printk_lines, read_printk

LINE = "nvme 0000:01:00.0: CPU: 5, COMM: kworker/u1025:5, probe cost: 34765890 ns"
SEEDS = Path(__file__).parents[1] / "data" / "measured-tables.csv"


def seed_rows() -> list[dict[str, str]]:
    with SEEDS.open(encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def test_the_seeds_line_is_read_and_written_to_the_letter() -> None:
    record = parse_printk_line(LINE)
    assert record == ProbeRecord(
        device="0000:01:00.0", driver="nvme", cpu=5, comm="kworker/u1025:5", cost_ns=34_765_890
    )
    assert printk_line(record) == LINE


def test_every_row_of_the_seeds_tables_survives() -> None:
    rows = seed_rows()
    assert len(rows) == 9
    for row in rows:
        cpu, cost = int(row["cpu"]), int(row["cost_ns"])
        record = ProbeRecord(device=row["device"], driver="nvme", cpu=cpu, comm=row["comm"], cost_ns=cost)
        line = f"nvme {row['device']}: CPU: {cpu}, COMM: {row['comm']}, probe cost: {cost} ns"
        assert printk_line(record) == line
        assert parse_printk_line(line) == record


@pytest.mark.parametrize(
    "prefix",
    [
        "[   12.345678] ",
        "[   12.345678][  T123] ",
        "[   12.345678] [  C1] ",
        "<6>[   12.345678] ",
        "> > ",
        ">",
        "Dec 27 12:00:00 host kernel: ",
        "kern  :info  : [   12.345678] ",
        "6,339,5140900,-,caller=T1;",
    ],
)
def test_what_stands_in_front_of_the_line_does_not_matter(prefix: str) -> None:
    record = parse_printk_line(prefix + LINE + "\n")
    assert record is not None
    assert (record.driver, record.device, record.cpu) == ("nvme", "0000:01:00.0", 5)
    if "12.345678" in prefix:
        assert record.end_ns == 12_345_678_000
        assert record.start_ns == record.end_ns - record.cost_ns


def test_what_is_not_known_is_a_question_mark() -> None:
    assert printk_line(BARE) == "virtio_blk virtio0: CPU: ?, COMM: ?, probe cost: 5 ns"
    assert parse_printk_line(printk_line(BARE)) == BARE


def test_a_hostile_name_cannot_break_the_line() -> None:
    record = replace(FULL, device="a\nb c", comm="x\r\ny", driver="")
    line = printk_line(record)
    assert len(line.splitlines()) == 1
    again = parse_printk_line(line)
    assert again is not None
    assert (again.device, again.comm, again.driver) == ("a\\x0ab\\x20c", "x\\x0d\\x0ay", "?")


@settings(max_examples=100, deadline=None)
@given(records())
def test_one_record_is_one_line_whatever_it_holds(record: ProbeRecord) -> None:
    assert len(printk_lines(Trace(source="virtual", probes=(record, record))).splitlines()) == 2


@pytest.mark.parametrize(
    "line",
    [
        "nvme 0000:01:00.0: CPU: five, COMM: x, probe cost: 1 ns",
        "nvme 0000:01:00.0: CPU: 5, COMM: x, probe cost: 1",
        "nvme 0000:01:00.0: CPU: 5, COMM: x, probe cost: -1 ns",
        ": CPU: 5, COMM: x, probe cost: 1 ns",
        ", probe cost: ",
        "",
    ],
)
def test_no_whole_line_is_no_record(line: str) -> None:
    assert parse_printk_line(line) is None


def test_torn_lines_are_counted_and_what_is_not_told_is_said() -> None:
    trace = read_printk(["hello", LINE, "nvme 0000:02:00.0: CPU: 5, probe cost: 3"])
    assert [record.device for record in trace.probes] == ["0000:01:00.0"]
    assert [warning.kind for warning in trace.warnings] == ["torn-line", "not-told"]
    assert trace.source == "kernel"


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=80), st.integers(0, 80))
def test_any_text_and_any_cut_is_read_or_passed_over(junk: str, cut: int) -> None:
    read_printk([junk, LINE[:cut] + junk, junk + ": CPU: 1, COMM: " + junk + ", probe cost: 5 ns"])
