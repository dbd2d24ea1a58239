"""Collecting: every form is read, nothing is added twice, what cannot be read is one line, and nothing is lost."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import stat
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fleet_hosts import put, trace

from numaprobe.datasets import DatasetWriter, Views, read_manifest
from numaprobe.errors import InputError, MissingInterfaceError, UsageError
from numaprobe.records import dump_trace, write_parquet
from numaprobe.study.fleet import (
    Collected,
    SshHosts,
    TraceSource,
    check_host,
    collect,
    file_sources,
    piped_sources,
    read_hosts,
    ssh,
)
from numaprobe.study.fleet.settings import load_run

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).parents[1] / "data/kernel"
GUEST = DATA / "debian-7.2/two-nodes"


def rows(dataset: Path, sql: str) -> list[tuple[object, ...]]:
    with Views([dataset]) as views:
        return views.ask(sql).rows


def add(dataset: Path, *paths: Path, **more: str) -> Collected:
    return collect(dataset, file_sources(list(paths), **more))


# ---- what is read ----------------------------------------------------------------------------------------------------
def test_every_form_is_read_from_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    put(folder / "db-1", "boot.json", trace("db-1"))
    (folder / "db-2").mkdir()
    shutil.copy(GUEST / "sync.1.trace.gz", folder / "db-2")
    shutil.copy(GUEST / "machine.txt", folder / "db-2")
    shutil.copy(DATA / "initcall/debian-6.12.log", folder / "web.example.org.log")
    write_parquet(trace("db-3"), folder / "three.parquet")
    (folder / "db-4.json.gz").write_bytes(gzip.compress(dump_trace(trace(None, day=None)).encode()))
    done = add(tmp_path / "ds", folder, date="2026-11-21")
    assert (done.added, done.failed) == (5, 0), done.refused
    found = rows(
        tmp_path / "ds",
        "SELECT host, day, kernel, peers, nodes FROM runs LEFT JOIN machines USING (input, machine_hash) ORDER BY host",
    )
    assert [(host, day) for host, day, *_ in found] == [
        ("db-1", "2026-11-20"),
        ("db-2", "2026-11-21"),
        ("db-3", "2026-11-20"),
        ("db-4", "2026-11-21"),
        ("web.example.org", "2026-11-21"),
    ]
    assert found[1][2:] == ("7.2.12+deb13-amd64", "2 nodes, 8 CPUs", 2)
    placed = rows(
        tmp_path / "ds",
        "SELECT count(*) FROM probes JOIN runs USING (input, run) WHERE host = 'db-2' AND device_node = 1",
    )
    assert placed == [(3,)]


def test_folders_are_of_days_and_kernels(tmp_path: Path) -> None:
    put(tmp_path / "in", "a.json", trace("a"))
    put(tmp_path / "in", "b.json", trace("b", day=None))
    add(tmp_path / "ds", tmp_path / "in")
    found = {path.parent.relative_to(tmp_path / "ds").as_posix() for path in (tmp_path / "ds").rglob("*.parquet")}
    assert "probes/day=2026-11-20/kernel=6.12.5-amd64" in found
    assert "runs/day=__HIVE_DEFAULT_PARTITION__/kernel=6.12.5-amd64" in found


@pytest.mark.parametrize("date", ["2026-11-20' OR 1", "../../etc", "2026-99-01T00:00:00Z", "tomorrow", "\0"])
def test_a_date_that_is_none_is_not_told(date: str, tmp_path: Path) -> None:
    what = json.loads(dump_trace(trace("a")))
    what["identity"]["date"] = date
    (tmp_path / "a.json").write_text(json.dumps(what))
    assert add(tmp_path / "ds", tmp_path / "a.json").added == 1
    assert rows(tmp_path / "ds", "SELECT day FROM runs") == [(None,)]


def test_hostile_names_stay_texts(tmp_path: Path) -> None:
    what = json.loads(dump_trace(trace("a")))
    what["identity"]["host"] = "'; DROP TABLE runs; --\n\x1b[31m$(reboot)"
    what["kernel"] = "../../../etc/x\0'"
    what["probes"][0]["driver"] = "<script>\x02"
    (tmp_path / "a.json").write_text(json.dumps(what))
    assert add(tmp_path / "ds", tmp_path / "a.json").added == 1
    ((host, kernel),) = rows(tmp_path / "ds", "SELECT host, kernel FROM runs")
    assert str(host).startswith("'; DROP TABLE runs; --")
    assert str(kernel).startswith("../../../etc/x")
    inside = {path.relative_to(tmp_path / "ds").parts[0] for path in (tmp_path / "ds").rglob("*") if path.is_file()}
    assert inside == {"runs", "probes", "findings", "machines", "known", "manifest.json"} & inside


def test_what_was_collected_can_be_made_a_trace_again(tmp_path: Path) -> None:
    put(tmp_path, "a.json", trace("a"))
    add(tmp_path / "ds", tmp_path / "a.json")
    with Views([tmp_path / "ds"]) as views:
        again = load_run(views, str(tmp_path / "ds"), 0, "2026-11-20")
    assert again == trace("a")


# ---- once ------------------------------------------------------------------------------------------------------------
def test_a_trace_is_added_once_in_whatever_form_it_comes(tmp_path: Path) -> None:
    put(tmp_path / "in", "a.json", trace("a"))
    (tmp_path / "in" / "copy.json.gz").write_bytes(gzip.compress(dump_trace(trace("a"), indent=2).encode()))
    write_parquet(trace("a").labelled("again"), tmp_path / "in" / "a.parquet")
    done = add(tmp_path / "ds", tmp_path / "in")
    assert (done.added, done.known) == (1, 2)
    assert rows(tmp_path / "ds", "SELECT count(*) FROM runs") == [(1,)]


def test_a_file_that_was_read_is_not_opened_again(tmp_path: Path) -> None:
    file = put(tmp_path / "in", "a.json", trace("a"))
    add(tmp_path / "ds", tmp_path / "in")
    (source,) = file_sources([tmp_path / "in"])

    def opened() -> None:
        raise AssertionError

    done = collect(tmp_path / "ds", [TraceSource(name=source.name, read=opened, key=source.key)])  # type: ignore[arg-type]
    assert (done.added, done.known) == (0, 1)
    file.write_text(dump_trace(trace("a", cost=7_000_000)))
    assert add(tmp_path / "ds", tmp_path / "in").added == 1


def test_a_day_is_added_without_touching_the_others(tmp_path: Path) -> None:
    put(tmp_path / "one", "a.json", trace("a"))
    add(tmp_path / "ds", tmp_path / "one")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "ds").rglob("*.parquet")}
    for path in before:
        path.chmod(0)  # root reads it all the same; the next line does not let it
        path.write_bytes(b"x" * path.stat().st_size)
    put(tmp_path / "two", "a.json", trace("a", day="2026-11-21", cost=6_000_000))
    done = add(tmp_path / "ds", tmp_path / "two")
    assert (done.added, done.days) == (1, {"2026-11-21"})
    manifest = read_manifest(tmp_path / "ds")
    assert manifest.runs == 2
    assert list(manifest.parts) == ["000000", "000001"]


def test_what_is_known_is_found_again_without_the_list(tmp_path: Path) -> None:
    put(tmp_path / "in", "a.json", trace("a"))
    add(tmp_path / "ds", tmp_path / "in")
    shutil.rmtree(tmp_path / "ds/known")
    assert add(tmp_path / "ds", tmp_path / "in").known == 1
    (tmp_path / "ds/known").mkdir(exist_ok=True)
    (tmp_path / "ds/known/000000").write_text("rubbish\n")
    with pytest.raises(InputError, match="is damaged; delete it"):
        add(tmp_path / "ds", tmp_path / "in")


def test_nothing_new_changes_nothing(tmp_path: Path) -> None:
    put(tmp_path / "in", "a.json", trace("a"))
    add(tmp_path / "ds", tmp_path / "in")
    before = (tmp_path / "ds/manifest.json").read_bytes()
    add(tmp_path / "ds", tmp_path / "in")
    assert (tmp_path / "ds/manifest.json").read_bytes() == before


# ---- what goes wrong -------------------------------------------------------------------------------------------------
def test_a_bad_trace_is_one_line_and_the_others_go_on(tmp_path: Path) -> None:
    put(tmp_path / "in", "a.json", trace("a"))
    put(tmp_path / "in", "z.json", trace("z"))
    (tmp_path / "in/b.json").write_text('{"schema": "numaprobe.trace/9"}')
    (tmp_path / "in/c.json").write_text(dump_trace(trace("c"))[:-40])
    (tmp_path / "in/d.gz").write_bytes(gzip.compress(b"\n" * 64_000_000))
    (tmp_path / "in/e.txt").write_text("nothing of interest\n")
    (tmp_path / "in/f").symlink_to("/dev/zero")
    done = add(tmp_path / "ds", tmp_path / "in")
    assert (done.added, done.failed) == (2, 4)
    assert [Path(name).name for name, _ in done.refused] == ["b.json", "c.json", "d.gz", "e.txt"]
    assert "250 times its size" in {Path(name).name: why for name, why in done.refused}["d.gz"]
    assert all("\n" not in why for _, why in done.refused)


def test_ctrl_c_keeps_what_was_read(tmp_path: Path) -> None:
    files = [put(tmp_path / "in", f"{name}.json", trace(name)) for name in "ab"]

    def sources() -> Iterator[TraceSource]:
        yield from file_sources(files)
        raise KeyboardInterrupt

    done = collect(tmp_path / "ds", sources())
    assert (done.added, done.interrupted) == (2, True)
    assert rows(tmp_path / "ds", "SELECT count(*) FROM runs") == [(2,)]


def test_what_ends_it_otherwise_leaves_the_dataset_as_it_was(tmp_path: Path) -> None:
    put(tmp_path / "in", "a.json", trace("a"))
    add(tmp_path / "ds", tmp_path / "in")
    before = sorted(path for path in (tmp_path / "ds").rglob("*") if path.is_file())

    def sources() -> Iterator[TraceSource]:
        yield from file_sources([put(tmp_path / "in", "b.json", trace("b"))])
        raise MemoryError

    with pytest.raises(MemoryError):
        collect(tmp_path / "ds", sources())
    assert sorted(path for path in (tmp_path / "ds").rglob("*") if path.is_file()) == before


def test_only_one_collects_at_a_time_and_only_into_a_fleet(tmp_path: Path) -> None:
    put(tmp_path / "in", "a.json", trace("a"))
    with (
        DatasetWriter.create(tmp_path / "sweep", "sweep"),
        pytest.raises(InputError, match="another numaprobe writes"),
    ):
        add(tmp_path / "sweep", tmp_path / "in")
    with pytest.raises(InputError, match="dataset of a sweep"):
        add(tmp_path / "sweep", tmp_path / "in")
    with pytest.raises(InputError, match="no such file or folder"):
        add(tmp_path / "ds", tmp_path / "missing")


def test_without_duckdb_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "in", "a.json", trace("a"))
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(MissingInterfaceError, match=r"numaprobe\[data\]"):
        add(tmp_path / "ds", tmp_path / "in")
    assert not (tmp_path / "ds").exists()


# ---- standard input --------------------------------------------------------------------------------------------------
def piped(tmp_path: Path, data: bytes) -> Collected:
    with piped_sources(io.BytesIO(data), date="2026-11-21") as sources:
        return collect(tmp_path / "ds", sources)


def archive(mode: str, **files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("__", "/"))
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("evil/passwd")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return out.getvalue()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_a_tar_archive_has_a_folder_for_each_host(mode: str, tmp_path: Path) -> None:
    one = dump_trace(trace(None, day=None)).encode()
    other = gzip.compress(dump_trace(trace("own-name")).encode())
    done = piped(tmp_path, archive(mode, **{"db-1__boot.json": one, "..__..__db-2__b.json.gz": other, "db-3__x": b"?"}))
    assert (done.added, done.failed) == (2, 1)
    assert done.refused[0][0] == "db-3/x"
    assert rows(tmp_path / "ds", "SELECT host, day FROM runs ORDER BY host") == [
        ("db-1", "2026-11-21"),
        ("own-name", "2026-11-20"),
    ]
    assert not (tmp_path / "db-2").exists()


def test_an_archive_that_is_cut_off_is_one_line(tmp_path: Path) -> None:
    data = archive("w", **{"db-1__boot.json": dump_trace(trace(None)).encode()})
    with pytest.raises(InputError, match="standard input: is a tar archive that cannot be read to its end"):
        piped(tmp_path, data[:700])


def test_json_of_hosts_is_salts_ansibles_or_lines_of_traces(tmp_path: Path) -> None:
    log = (DATA / "initcall/debian-6.12.log").read_text(errors="replace")
    salt = json.dumps({"db-1": log, "db-2": "", "db-3": "Minion did not return"})
    done = piped(tmp_path, salt.encode())
    assert (done.added, done.failed) == (1, 2)
    task = {"hosts": {"db-4": {"stdout": log}, "db-5": {"skipped": True, "msg": "no"}}}
    done = piped(tmp_path, json.dumps({"plays": [{"tasks": [task]}], "stats": {}}).encode())
    assert (done.added, done.failed) == (1, 0)
    lines = "\n".join(dump_trace(trace(name)) for name in ("db-6", "db-7"))
    assert piped(tmp_path, lines.encode()).added == 2
    found = rows(tmp_path / "ds", "SELECT host FROM runs ORDER BY host")
    assert found == [("db-1",), ("db-4",), ("db-6",), ("db-7",)]


@pytest.mark.parametrize(
    ("text", "said"), [("{", "line 1 is no JSON"), ('{"a": 1}', "object 1 holds no host"), ("{}", "holds no host")]
)
def test_json_that_is_nothing_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        piped(tmp_path, text.encode())


def test_one_trace_may_be_piped(tmp_path: Path) -> None:
    assert piped(tmp_path, (GUEST / "sync.1.trace.gz").read_bytes()).added == 1


# ---- ssh -------------------------------------------------------------------------------------------------------------
SSH = """#!/bin/sh
printf '%s\\n' "$@" > "$LOG/$(echo "$6" | tr / _)"
case "$6" in
  *slow*) sleep 60 ;;
  *down*) echo "ssh: connect to host $6 port 22: Connection refused" >&2; exit 255 ;;
  *loud*) yes | head -c 3000000 ;;
  *) cat "$TRACE" ;;
esac
"""


@pytest.fixture
def own_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin/ssh"
    program.parent.mkdir()
    program.write_text(SSH)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    log = tmp_path / "asked"
    log.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(log))
    monkeypatch.setenv("TRACE", str(DATA / "initcall/debian-6.12.log"))
    return log


def test_hosts_are_asked_with_the_users_ssh(own_ssh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "MAX_OUTPUT", 1 << 20)
    asked = SshHosts(["root@db-1", "down-2", "slow-3", "loud-4"], seconds=3)
    with asked.sources() as sources:
        done = collect(tmp_path / "ds", sources)
    assert (done.added, done.failed) == (1, 3)
    assert dict(done.refused) == {
        "down-2": "ssh: connect to host down-2 port 22: Connection refused",
        "slow-3": "did not answer within 3 s",
        "loud-4": "printed more than 1 MiB",
    }
    ((host, day),) = rows(tmp_path / "ds", "SELECT host, day FROM runs")
    assert host == "db-1"
    assert day is not None
    words = (own_ssh / "root@db-1").read_text().splitlines()
    assert words == ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "--", "root@db-1", ssh.COMMAND]
    # the same boot asked for once more is known, though it is another moment
    with SshHosts(["db-1"]).sources() as sources:
        assert collect(tmp_path / "ds", sources).known == 1


@pytest.mark.parametrize(
    "name",
    [
        "-oProxyCommand=reboot",
        "a b",
        "a;reboot",
        "$(reboot)",
        "`id`",
        "a\nb",
        "",
        "user@-oX",
        "-l@host",
        "a|b",
        "a/b",
        "é",
        "a'b",
    ],
)
def test_a_name_that_could_be_something_else_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no name of a host"):
        check_host(name)
    with pytest.raises(UsageError), SshHosts(["good", name]).sources() as sources:
        list(sources)
    file = tmp_path / "hosts"
    file.write_text(f"good\n{name}\n")
    if name.strip() and "\n" not in name:
        with pytest.raises(InputError, match="line 2"):
            read_hosts(file)


@pytest.mark.parametrize(
    "name", ["db-1", "root@db-1.example.org", "10.0.0.7", "fe80::1%eth0", "[::1]", "my_host", "me@[::1]"]
)
def test_names_that_people_have_are_not(name: str) -> None:
    assert check_host(name) == name


def test_a_list_of_hosts_has_comments_and_each_host_once(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("# mine\ndb-1\n\n  db-2  # the second\ndb-1\n")
    assert read_hosts(file) == ["db-1", "db-2"]
    file.write_text("# none\n")
    with pytest.raises(InputError, match="names no host"):
        read_hosts(file)
