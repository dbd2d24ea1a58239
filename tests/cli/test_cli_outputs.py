"""``-o`` and its like on what is no regular file: every writer writes to it, none replaces it."""

from __future__ import annotations

import ast
import os
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from command import COMMAND, ENVIRONMENT, numaprobe, refused

from numaprobe.cli.main import run_command
from numaprobe.topology import write_sysfs

#: Files of ours that nobody else named: inside private folders, in the guest, and trees in folders that are new.
PRIVATE = {
    "records/writing.py": "the rule itself",
    "records/parquet.py": "rows for DuckDB in a temporary folder",
    "topology/sysfswrite.py": "a tree in a new folder, each file made there",
    "kernel/lab/guest.py": "the folder that we share with the guest",
    "kernel/lab/steps.py": "the same folder",
    "kernel/lab/stage.py": "the image in a folder of our own; what comes home goes by the rule",
    "kernel/lab/fetch.py": "apt's settings in a temporary folder",
    "kernel/lab/build.py": "configuration, log and lock in the cache directory",
    "kernel/lab/headers.py": "a kernel's headers in the cache directory, renamed when they are whole",
    "kernel/lab/testmodule.py": "a module's sources in a temporary folder; what was built is renamed into the cache",
    "kernel/lab/trees.py": "a kernel's layout in the cache directory, renamed when it is whole",
    "kernel/lab/monitor.py": "answers to the guest, in the folder that we share with it",
    "study/review/series.py": "a boot's result, copied within the folder that the review keeps",
    "datasets/writing.py": "parts below a dataset that is locked, renamed when they are whole",
    "study/fleet/piped.py": "what came through a pipe, in a temporary folder",
    "study/fleet/ssh.py": "what hosts sent, in a temporary folder",
    "datasets/views.py": "rows for DuckDB in a temporary folder",
    "kernel/lab/overhead.py": "the same folder, and /sys in the guest",
    "placement/__main__.py": "the same folder, from the guest",
    "cli/main.py": "/dev/null in the place of a closed stream",
}


def is_write(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in {"write_text", "write_bytes", "copyfile", "copy2", "copytree"}:
        return True
    modes = [arg for arg in [*call.args, *(key.value for key in call.keywords)] if isinstance(arg, ast.Constant)]
    return name == "open" and any(
        isinstance(mode.value, str) and set(mode.value) <= set("wxabt+") and set(mode.value) & set("wxa+")
        for mode in modes
    )


def test_every_writer_goes_by_the_one_rule() -> None:
    source = Path(__file__).parents[2] / "src/numaprobe"
    writers = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if any(isinstance(node, ast.Call) and is_write(node) for node in ast.walk(ast.parse(path.read_text())))
    }
    assert writers <= set(PRIVATE), "write with numaprobe.records.open_output, or say here why not"


def through_a_pipe(pipe: Path, *arguments: object) -> bytes:
    """Return what a command wrote to a pipe in the place of a file."""
    if not pipe.exists():
        os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    assert run_command([str(one) for one in arguments]) == 0
    reader.join(30)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    return got[0]


@pytest.mark.parametrize("suffix", ["json", "html", "svg", "png", "parquet", "pftrace", "log", "txt"])
def test_every_format_of_a_run_goes_into_a_pipe(tmp_path: Path, suffix: str) -> None:
    pipe, file = tmp_path / f"pipe.{suffix}", tmp_path / f"file.{suffix}"
    piped = through_a_pipe(pipe, "run", "nvme-epyc", "-o", pipe)
    assert run_command(["run", "nvme-epyc", "-o", str(file)]) == 0
    assert len(piped) == file.stat().st_size
    assert piped[:4] == file.read_bytes()[:4]


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "nvme-epyc", "-p", "inline", "--json"],
        ["topology", "qemu-2n8c", "--format", "xml"],
        ["topology", "qemu-2n8c", "--json"],
        ["scenarios", "nvme-epyc"],
        ["policies", "--json"],
    ],
)
def test_every_other_writer_goes_into_a_pipe(tmp_path: Path, arguments: list[str]) -> None:
    assert len(through_a_pipe(tmp_path / "pipe", *arguments, "-o", tmp_path / "pipe")) > 100


def test_a_saved_scenario_goes_into_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "s.toml"
    text = through_a_pipe(pipe, "run", "nvme-epyc", "--save-scenario", pipe, "-o", tmp_path / "r.json")
    assert b"[[devices]]" in text


def test_a_saved_machine_goes_into_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "s.machine.json"
    text = through_a_pipe(pipe, "run", "host", "--save-scenario", tmp_path / "s.toml", "-o", tmp_path / "r.json")
    assert b'"nodes"' in text


def test_a_circle_of_links_and_a_folder_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for target, reason in ((tmp_path / "a", "lead in a circle"), (tmp_path, "it is a folder")):
        assert reason in refused("run", "nvme-epyc", "--json", "-o", target)
        assert reason in refused("record", "-o", target, "--", "true")
        assert reason in refused("lab", "lab-nvme", "-o", target)
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]  # noqa: PTH208  pathlib follows nothing here either


@pytest.mark.parametrize("redirection", [">>", "|"])
def test_standard_output_by_name_is_standard_output(tmp_path: Path, redirection: str) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    to = f">> {log}" if redirection == ">>" else f"| cat >> {log}"
    subprocess.run(["sh", "-c", f"{COMMAND} policies -o /dev/stdout {to}"], check=True, timeout=60, env=ENVIRONMENT)
    lines = log.read_text().splitlines()
    assert lines[0] == "before"
    assert any("probe-on-node" in line for line in lines)


def test_a_reader_that_goes_away_ends_quietly_as_in_a_pipe_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["head", "-c", "1", tmp_path / "pipe"], stdout=subprocess.PIPE) as head:
        done = numaprobe("run", "nvme-epyc", "--devices", "2000", "--json", "-o", tmp_path / "pipe")
        assert head.communicate()[0] == b"{"
    assert (done.returncode, done.stdout, done.stderr) == (141, "", "")


def test_raw_on_a_device_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "raw").symlink_to("/dev/null")
    tracefs = tmp_path / "tracing"
    tracefs.mkdir()
    for name in ("trace", "kprobe_events", "tracing_on", "instances"):
        (tracefs / name).write_text("") if name != "instances" else (tracefs / name).mkdir()
    options = ["--tracefs", str(tracefs), "--raw", str(tmp_path / "raw"), "-o", str(tmp_path / "o.json")]
    assert run_command(["record", *options, "--", "true"]) == 2
    text = capsys.readouterr().err
    assert text == f"numaprobe: {tmp_path}/raw: is no folder; name one, or a new name\n"
    assert (tmp_path / "raw").is_symlink()


def test_a_tree_that_cannot_be_finished_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(topology: object, root: Path) -> Path:
        write_sysfs(topology, root)  # type: ignore[arg-type]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numaprobe.topology.sysfswrite.write_sysfs", full)
    assert run_command(["topology", "qemu-2n8c", "--format", "sysfs", "-o", str(tmp_path / "tree")]) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["run", "compare"])
@pytest.mark.parametrize("name", ["x.pdf", "x.PDF", "x.y.docx", "x.\x1b[31m"])
def test_a_suffix_that_nothing_is_written_as_is_refused(command: str, name: str, tmp_path: Path) -> None:
    line = refused(command, "nvme-epyc", "-o", tmp_path / name)
    assert "no file is written as '." in line
    assert all(name in line for name in ("table", "json", "markdown", "csv", "svg"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "options", "head"),
    [
        ("x.md", (), "pmem0 took "),
        ("x.csv", (), "device,driver,bus"),
        ("x.pdf", ("-f", "csv"), "device,driver,bus"),
        ("x", (), "pmem0 took "),
    ],
)
def test_a_suffix_or_a_name_chooses_the_format(name: str, options: tuple[str, ...], head: str, tmp_path: Path) -> None:
    assert run_command(["run", "pmem-2018", *options, "-o", str(tmp_path / name)]) == 0
    assert (tmp_path / name).read_text().startswith(head)


def test_a_recording_is_json_and_nothing_else(tmp_path: Path) -> None:
    for command in (["record"], ["lab", "lab-nvme"]):
        assert "a recording is .json" in refused(*command, "-o", tmp_path / "x.html")
