import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_samples import FULL, TRACE, traces

from numaprobe.errors import InputError
from numaprobe.records import Trace, read_parquet, write_parquet


def test_a_trace_survives_with_its_header(tmp_path: Path) -> None:
    write_parquet(TRACE, tmp_path / "t.parquet")
    assert read_parquet(tmp_path / "t.parquet") == TRACE


def test_any_engine_reads_the_columns(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_parquet(TRACE, path)
    row = duckdb.execute(
        "SELECT device, cost_ns, asynchronous, cpus, memory FROM read_parquet(?)", [str(path)]
    ).fetchone()
    assert row == ("0000:81:00.0", 700, True, [4, 5], '{"0": 4096, "1": 8192}')


@settings(max_examples=15, deadline=None)
@given(traces)
def test_hostile_values_survive(tmp_path_factory: pytest.TempPathFactory, trace: Trace) -> None:
    path = tmp_path_factory.mktemp("p") / "t.parquet"
    write_parquet(trace, path)
    assert read_parquet(path) == trace


@pytest.mark.parametrize(
    "name", ["a*b?[c].parquet", "it's; DROP TABLE probes--.parquet", "h=1.parquet", "ü \n.parquet"]
)
def test_a_hostile_file_name_is_a_name(tmp_path: Path, name: str) -> None:
    hostile = replace(TRACE, probes=(replace(FULL, device="'); DROP TABLE probes; --", comm="\x00\n\"'"),))
    write_parquet(hostile, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert read_parquet(tmp_path / name) == hostile


def test_an_empty_trace_survives(tmp_path: Path) -> None:
    empty = Trace(source="virtual", probes=())
    write_parquet(empty, tmp_path / "t.parquet")
    assert read_parquet(tmp_path / "t.parquet") == empty


def test_parquet_of_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "o.parquet"
    duckdb.execute(f"COPY (SELECT 1 AS a) TO '{path}' (FORMAT parquet)")
    with pytest.raises(InputError, match="not written by numaprobe"):
        read_parquet(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_parquet(tmp_path / "missing.parquet")


def test_a_wrong_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "w.parquet"
    header = '{"schema": "numaprobe.trace/1", "source": "host"}'
    duckdb.execute(
        f"COPY (SELECT 'd' AS device, 'n' AS driver, -1 AS cost_ns) TO '{path}' "
        f"(FORMAT parquet, KV_METADATA {{numaprobe: '{header}'}})"
    )
    with pytest.raises(InputError, match=r"w\.parquet: row 0\.cost_ns: must not be negative"):
        read_parquet(path)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_damaged_file_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("d") / "t.parquet"
    write_parquet(TRACE, path)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        read_parquet(path)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017  a flipped bit may also go unnoticed


def test_duckdb_is_imported_only_when_used() -> None:
    assert "duckdb" in sys.modules  # by this very test
    source = Path(sys.modules["numaprobe.records.parquet"].__file__ or "").read_text()
    head = source.split("def ")[0]
    assert "\nimport duckdb" not in head
