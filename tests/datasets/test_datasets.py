import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.datasets import DatasetWriter, Rows, Views, is_dataset, pack, read_manifest, rows_of_trace
from numaprobe.datasets.duck import reading_pack
from numaprobe.datasets.rows import error_row
from numaprobe.errors import InputError, RefusedError, UsageError
from numaprobe.records import Trace
from numaprobe.scenario import run_scenario

KEYS = ("kernel", "policy")


@pytest.fixture(scope="module")
def traces() -> list[Trace]:
    from numaprobe.scenario import load_scenario

    scenario = load_scenario("nvme-epyc")
    pairs = [(policy, kernel) for policy in ("inline", "work-on-cpu") for kernel in ("6.12", "7.3")]
    return [run_scenario(scenario, policy, kernel=kernel) for policy, kernel in pairs]


def written(folder: Path, traces: list[Trace], *, parts: int = 1, **options: Any) -> Path:
    with DatasetWriter.create(folder, "test", keys=KEYS, **options) as writer:
        each = -(-len(traces) // parts)
        for number in range(parts):
            some = list(enumerate(traces))[number * each : (number + 1) * each]
            with writer.part(f"{number:04}", runs=some[-1][0] + 1) as part:
                for run, trace in some:
                    part.add(rows_of_trace(run, trace))
    return folder


def digests(folder: Path) -> dict[str, str]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_what_was_written_is_there(tmp_path: Path, traces: list[Trace]) -> None:
    folder = written(tmp_path / "d", traces)
    assert (folder / "runs/kernel=6.12/policy=inline/0000.parquet").is_file()
    with Views([folder]) as views:
        runs = views.ask("SELECT run, kernel, policy, makespan_ns, probes, machine FROM runs ORDER BY run").rows
        assert [row[:3] for row in runs] == [(i, trace.kernel, trace.policy) for i, trace in enumerate(traces)]
        ends = [max(p.end_ns or 0 for p in t.probes) - min(p.start_ns or 0 for p in t.probes) for t in traces]
        assert [row[3] for row in runs] == ends
        assert {row[5] for row in runs} == {"epyc-9a64"}
        probes = views.ask("SELECT run, kernel, device, cost_ns, cpus FROM probes ORDER BY run, start_ns, device").rows
        told = [
            (i, t.kernel, p.device, p.cost_ns, list(p.cpus or ()))
            for i, t in enumerate(traces)
            for p in sorted(t.probes, key=lambda p: (p.start_ns or 0, p.device))
        ]
        assert probes == told
        assert views.ask("SELECT count(*), min(nodes) FROM machines").rows == [(1, 2)]
        assert views.ask("SELECT count(*) FROM findings").rows[0][0] > 0


def test_the_same_runs_give_the_same_bytes(tmp_path: Path, traces: list[Trace]) -> None:
    assert digests(written(tmp_path / "a", traces)) == digests(written(tmp_path / "b", traces))


def test_parts_are_added_and_replaced(tmp_path: Path, traces: list[Trace]) -> None:
    folder = written(tmp_path / "d", traces[:2])
    before = digests(folder)
    with DatasetWriter.open(folder, "test") as writer:
        assert writer.manifest.runs == 2
        with writer.part("0001", runs=3) as part:
            part.add(rows_of_trace(2, traces[2]))
    after = digests(folder)
    assert {name: after[name] for name in before if name != "manifest.json"} == {
        name: digest for name, digest in before.items() if name != "manifest.json"
    }
    with DatasetWriter.open(folder, "test") as writer, writer.part("0001", runs=4) as part:
        part.add(rows_of_trace(3, traces[3]))
    with Views([folder]) as views:
        assert views.ask("SELECT run FROM runs ORDER BY 1").rows == [(0,), (1,), (3,)]
    assert read_manifest(folder).runs == 4


def test_row_groups_are_large(tmp_path: Path, traces: list[Trace]) -> None:
    rows = rows_of_trace(0, traces[0])
    with DatasetWriter.create(tmp_path / "d", "test", keys=KEYS) as writer, writer.part("0", runs=1) as part:
        part.add(rows)
        packed = pack(rows.probes * 1000)
        for _ in range(100):
            part.add_pack("probes", ("6.12", "inline"), packed)
    file = tmp_path / "d/probes/kernel=6.12/policy=inline/0.parquet"
    groups = duckdb.execute(
        "SELECT row_group_num_rows, compression FROM parquet_metadata(?) WHERE column_id = 0 ORDER BY row_group_id",
        [str(file)],
    ).fetchall()
    assert sum(count for count, _ in groups) == 300_003
    assert all(count >= 100_000 for count, _ in groups[:-1])
    assert {kind for _, kind in groups} == {"ZSTD"}


@pytest.mark.parametrize("value", ["a/b", "..", ".", "a=b", "*?[x]", "ü", "", None, "a b%20", "__x__"])
def test_any_text_can_be_a_value_of_a_key(tmp_path: Path, traces: list[Trace], value: str | None) -> None:
    from dataclasses import replace

    folder = tmp_path / "x=1" / "a*b"
    written(folder, [replace(traces[0], policy=value)])
    with Views([folder]) as views:
        assert views.ask("SELECT policy FROM runs").rows == [(value or None,)]
        assert "x" not in views.columns("runs")
    assert {path.name for path in (tmp_path / "x=1").iterdir()} == {"a*b"}


cells = st.none() | st.text(max_size=20) | st.sampled_from(["\\N", "\x01", '","', "\r\n", "\0", "'", "\ud800", "NULL"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(cells, st.none() | st.integers(-(2**63), 2**63 - 1), st.none() | st.booleans()), max_size=5))
def test_packs_hold_any_value(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]]) -> None:
    path = tmp_path_factory.mktemp("p") / "a.csv.gz"
    path.write_bytes(pack(rows) + pack(rows[:1]))
    types = {"text": "VARCHAR", "number": "BIGINT", "flag": "BOOLEAN"}
    found = duckdb.execute(f"SELECT * FROM {reading_pack(path, types)}").fetchall()  # noqa: S608
    assert [row[1:] for row in found] == [row[1:] for row in [*rows, *rows[:1]]]
    for (told, *_), (given_text, *_) in zip(found, [*rows, *rows[:1]], strict=True):
        if given_text is None or given_text.isprintable():
            assert told == given_text
        else:
            assert told is not None
            assert told.isprintable()


def test_a_failed_run_is_a_row(tmp_path: Path, traces: list[Trace]) -> None:
    origin = {"kernel": "6.12", "policy": "inline"}
    with (
        DatasetWriter.create(
            tmp_path / "d", "test", keys=KEYS, columns={"runs": {"drivers.nvme.cost": "VARCHAR"}}
        ) as writer,
        writer.part("0", runs=2) as part,
    ):
        part.add(rows_of_trace(0, traces[0], extra=["1ms"]))
        part.add(Rows(runs=[error_row(1, "it's wrong", origin, ["2ms"])]))
    with Views([tmp_path / "d"]) as views:
        found = views.ask('SELECT run, passed, error, "drivers.nvme.cost", makespan_ns IS NULL FROM runs ORDER BY run')
    assert found.rows == [(0, True, None, "1ms", False), (1, False, "it's wrong", "2ms", True)]


# ---- traces ---------------------------------------------------------------------------------------------------------
def test_traces_and_folders_of_traces_are_views_too(tmp_path: Path, traces: list[Trace]) -> None:
    from numaprobe.records import dump_trace

    folder = tmp_path / "traces"
    (folder / "more").mkdir(parents=True)
    (folder / "a.json").write_text(dump_trace(traces[0]))
    (folder / "more" / "b.json").write_text(dump_trace(traces[1]))
    (folder / "note.md").write_text("nothing\n")
    (folder / ".hidden").write_text("x")
    data = written(tmp_path / "d", traces)
    with Views([folder, folder / "a.json", data]) as views:
        found = views.ask("SELECT input, count(*), sum(probes) FROM runs GROUP BY 1 ORDER BY 1")
        assert found.rows == sorted([(str(folder), 2, 6), (str(folder / "a.json"), 1, 3), (str(data), 4, 12)])
        assert [Path(file).name for file, _ in views.skipped] == ["note.md"]
        assert views.ask("SELECT count(DISTINCT file) FROM runs").rows == [(2,)]
        figures = views.ask("SELECT DISTINCT makespan_ns FROM runs WHERE policy = 'inline' AND kernel = '6.12'")
        assert len(figures.rows) == 1


@pytest.mark.parametrize("content", [None, ""])
def test_no_trace_at_all_is_told(tmp_path: Path, content: str | None) -> None:
    (tmp_path / "t").mkdir()
    if content is not None:
        (tmp_path / "t" / "x").write_text(content)
    with pytest.raises(InputError, match=r"is empty|holds no"):
        Views([tmp_path / "t"])


# ---- what strangers may ask -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM '/etc/passwd.csv'",
        "COPY runs TO 'out.csv'",
        "CREATE TABLE x AS SELECT 1",
        "ATTACH 'x.db'",
        "INSTALL httpfs",
        "SET threads = 1",
        "PRAGMA database_list",
        "SELECT 1; SELECT 2",
        "DROP VIEW runs",
        "",
        "SELEC",
        "SELECT nothing FROM runs",
        "SELECT * FROM read_parquet('https://localhost/x.parquet')",
    ],
)
def test_only_the_views_can_be_read(tmp_path: Path, traces: list[Trace], sql: str, monkeypatch: Any) -> None:
    folder = written(tmp_path / "d", traces[:1])
    before = digests(tmp_path)
    monkeypatch.chdir(tmp_path)
    with Views([folder]) as views, pytest.raises(UsageError) as told:
        views.ask(sql)
    assert "\n" not in str(told.value)
    assert digests(tmp_path) == before


def test_a_query_ends_in_time_and_in_memory(tmp_path: Path, traces: list[Trace]) -> None:
    folder = written(tmp_path / "d", traces[:1])
    with Views([folder], seconds=0.2) as views, pytest.raises(RefusedError, match="stopped after"):
        views.ask("SELECT sum(a.range * b.range) FROM range(10000000) a, range(1000000) b")
    with Views([folder]) as views, pytest.raises(UsageError, match="more than 10 rows"):
        views.ask("SELECT * FROM range(11)", most=10)


# ---- what goes wrong ------------------------------------------------------------------------------------------------
def test_another_version_is_refused(tmp_path: Path, traces: list[Trace]) -> None:
    folder = written(tmp_path / "d", traces[:1])
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace("numaprobe.dataset/1", "numaprobe.dataset/2"))
    text = "schema 'numaprobe.dataset/2' is not known; this version reads numaprobe.dataset/1"
    with pytest.raises(InputError, match=text):
        Views([folder])
    with pytest.raises(InputError, match=text):
        DatasetWriter.open(folder, "test")


@pytest.mark.parametrize("cut", ["manifest.json", "runs/kernel=6.12/policy=inline/0000.parquet"])
def test_a_half_written_file_is_told(tmp_path: Path, traces: list[Trace], cut: str) -> None:
    folder = written(tmp_path / "d", traces[:1])
    data = (folder / cut).read_bytes()
    (folder / cut).write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="half-written"):
        Views([folder])
    (folder / cut).unlink()
    assert is_dataset(folder)
    with pytest.raises(InputError, match=r"no manifest|is missing"):
        Views([folder])


@pytest.mark.parametrize(
    "change",
    [
        {"keys": ["kernel') --"]},
        {"columns": {"runs": {"x": "VARCHAR); DROP"}}},
        {"parts": {"0": {"../../etc/passwd": 3}}},
        {"parts": []},
        {"runs": "many"},
        {"keys": ["nothing"]},
    ],
)
def test_a_damaged_manifest_is_told(tmp_path: Path, traces: list[Trace], change: dict[str, Any]) -> None:
    manifest = written(tmp_path / "d", traces[:1]) / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
    with pytest.raises(InputError, match="is damaged"):
        Views([tmp_path / "d"])


def test_damaged_content_is_one_line(tmp_path: Path, traces: list[Trace]) -> None:
    file = written(tmp_path / "d", traces[:1]) / "runs/kernel=6.12/policy=inline/0000.parquet"
    file.write_bytes(b"\0" * file.stat().st_size)
    with pytest.raises((InputError, UsageError)) as told, Views([tmp_path / "d"]) as views:
        views.ask("SELECT * FROM runs")
    assert "\n" not in str(told.value)


def test_two_writers_in_one_folder(tmp_path: Path, traces: list[Trace]) -> None:
    with DatasetWriter.create(tmp_path / "d", "test", keys=KEYS):
        with pytest.raises(InputError, match="another numaprobe writes into this folder"):
            DatasetWriter.create(tmp_path / "d", "test", keys=KEYS)
        with pytest.raises(InputError, match="another numaprobe writes"):
            DatasetWriter.open(tmp_path / "d", "test")
    with DatasetWriter.open(tmp_path / "d", "test"):
        pass
    with pytest.raises(InputError, match="of a test, not of a sweep"):
        DatasetWriter.open(tmp_path / "d", "sweep")
    with pytest.raises(InputError, match="is a dataset already"):
        DatasetWriter.create(tmp_path / "d", "test", keys=KEYS)


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(InputError, match="is not empty"):
        DatasetWriter.create(tmp_path, "test")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is no folder"):
        DatasetWriter.create(tmp_path / "file", "test")


def test_a_failed_part_changes_nothing(tmp_path: Path, traces: list[Trace], monkeypatch: Any) -> None:
    folder = written(tmp_path / "d", traces[:2])
    before = digests(folder)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with DatasetWriter.open(folder, "test") as writer:
        with monkeypatch.context() as patched:
            patched.setattr("numaprobe.datasets.writing._sync", full)
            refused = pytest.raises(InputError, match="cannot be written: No space left on device")
            with refused, writer.part("0001", runs=3) as part:
                part.add(rows_of_trace(2, traces[2]))
        with pytest.raises(ZeroDivisionError), writer.part("0001", runs=3) as part:  # noqa: PT012
            part.add(rows_of_trace(2, traces[2]))
            raise ZeroDivisionError
    assert digests(folder) == before


def test_what_a_killed_writer_left_is_removed(tmp_path: Path, traces: list[Trace]) -> None:
    folder = written(tmp_path / "d", traces[:2])
    before = digests(folder)
    (folder / "runs/kernel=6.12/policy=inline/0007.parquet").write_bytes(b"PAR1")
    (folder / "unfinished").mkdir()
    (folder / "unfinished" / "x").write_bytes(b"x")
    (folder / "lock").write_bytes(b"")
    with Views([folder]) as views:
        assert views.ask("SELECT count(*) FROM runs").rows == [(2,)]
    with DatasetWriter.open(folder, "test"):
        pass
    assert digests(folder) == before


def test_a_full_disk_is_one_line(tmp_path: Path, traces: list[Trace]) -> None:
    """A real full disk: a tmpfs of its own, where one may be mounted."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from test_datasets import KEYS, DatasetWriter, rows_of_trace, run_scenario\n"
        "from numaprobe.errors import InputError\n"
        "from numaprobe.scenario import load_scenario\n"
        "rows = rows_of_trace(0, run_scenario(load_scenario('nvme-epyc'), 'inline'))\n"
        "writer = DatasetWriter.create(sys.argv[1], 'test', keys=KEYS)\n"
        "with writer.part('0', runs=1) as part: part.add(rows)\n"
        "try:\n"
        "    with writer.part('1', runs=2) as part:\n"
        "        for n in range(100000): part.add_rows('findings', ('a', 'b'), [[n, n, str(hash(str(n)) ** 9)]])\n"
        "except InputError as error: print(error)\n"
        "print(writer.manifest.runs, *sorted(writer.manifest.parts))\n"
    )
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size=1m tmpfs {disk} && exec {sys.executable} -c "$0" {disk}/d {Path(__file__).parent}'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    assert done.stderr == ""
    assert done.stdout.splitlines() == [f"{disk}/d: cannot be written: No space left on device", "1 0"]
