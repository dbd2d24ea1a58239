"""A trace.dat is read through trace-cmd: a program of that name that the test wrote, and the real one if there."""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ftrace_text import Ftrace

from numaprobe.errors import InputError
from numaprobe.kernel.readers import read_trace
from numaprobe.reading.budget import BUDGETS

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
NUMAPROBE = Path(sys.executable).parent / "numaprobe"
BINARY = b"\x17\x08\x44tracing6\0rest of it"
TEXT = b"cpus=2\n" + Ftrace(decimals=9).probe(1, "a-1", 0, "0000:81:00.0").probed(3, "a-1", 0).text
DATA = ROOT / "tests" / "data" / "kernel" / "debian-7.2" / "two-nodes"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a ``trace-cmd`` before all others on PATH, which does what a script says."""

    def make(script: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / "text").write_bytes(TEXT)
        program = folder / "trace-cmd"
        program.write_text(f"#!/bin/sh\ncd {folder}\n{script}\n", encoding="utf-8")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    return make


def test_its_text_is_read_and_it_gets_the_file_itself(fake: Callable[[str], None], tmp_path: Path) -> None:
    fake('echo "$@" > arguments; cat "$4" > given; cat text')
    path = tmp_path / "x; touch hacked `touch hacked` $(touch hacked).dat"
    path.write_bytes(BINARY)
    (probe,) = read_trace(path).probes
    assert (probe.device, probe.cost_ns) == ("0000:81:00.0", 2000)
    assert (tmp_path / "bin" / "given").read_bytes() == BINARY
    words = (tmp_path / "bin" / "arguments").read_text(encoding="utf-8").split()
    assert words[:3] == ["report", "-t", "-i"]
    assert words[3].startswith("/dev/fd/")
    assert not list(tmp_path.rglob("hacked"))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_stream_and_a_packed_file_are_given_whole(
    fake: Callable[[str], None], tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    fake('cat "$4" > given; cat text')
    content = BINARY + bytes(300_000)
    assert len(read_trace(io.BytesIO(pack(content))).probes) == 1
    assert (tmp_path / "bin" / "given").read_bytes() == content


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo '  no such thing' >&2; echo second >&2; exit 22", "ended with 22: no such thing$"),
        ("exit 1", "ended with 1: it does not say why$"),
        ("kill -SEGV $$", "ended with -11: "),
        ("cat text; exit 3", "ended with 3"),
        ("head -c 9000000 /dev/zero >&2; exit 5", "ended with 5"),
    ],
)
def test_what_it_says_when_it_fails_is_one_line(fake: Callable[[str], None], script: str, words: str) -> None:
    fake(script)
    with pytest.raises(InputError, match=words) as caught:
        read_trace(io.BytesIO(BINARY))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_it_may_not_take_for_ever(fake: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUDGETS, "trace.dat", BUDGETS["trace.dat"]._replace(seconds=1))
    fake("exec sleep 1000")
    with pytest.raises(InputError, match="more than 1 s"):
        read_trace(io.BytesIO(BINARY))


def test_it_may_not_write_for_ever(fake: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUDGETS, "text", BUDGETS["text"]._replace(size=1 << 20))
    fake("exec yes '  a-1 [000] 1.000000: sched_switch: a:1 [120] S ==> b:2 [120]'")
    with pytest.raises(InputError, match="of text: record less"):
        read_trace(io.BytesIO(BINARY))


def test_without_it_the_command_to_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "t.dat").write_bytes(BINARY)
    done = subprocess.run([NUMAPROBE, "report", tmp_path / "t.dat"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "'trace-cmd report -i FILE'" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("program", ["fake", *(["real"] if shutil.which("trace-cmd") else [])])
def test_the_probes_are_those_of_the_text(program: str, fake: Callable[[str], None], tmp_path: Path) -> None:
    text = gzip.decompress((DATA / "async.1.trace.gz").read_bytes())
    (tmp_path / "text").write_bytes(text)
    path = tmp_path / "trace.dat"
    if program == "fake":
        fake(f"cat {tmp_path}/text")
    make = "import sys; from pathlib import Path; from bench.trace_dat import write_trace_dat; "
    make += "write_trace_dat(Path(sys.argv[1]), Path(sys.argv[2]).read_bytes())"
    subprocess.run([sys.executable, "-c", make, path, tmp_path / "text"], cwd=ROOT, check=True)
    found = read_trace(path, kprobes=DATA / "machine.txt").probes
    wanted = read_trace(io.BytesIO(text), kprobes=DATA / "machine.txt").probes
    told = ("device", "driver", "cpu", "cost_ns", "start_ns", "result", "running_ns", "sleeping_ns", "caller_comm")
    assert [[getattr(p, name) for name in told] for p in found] == [[getattr(p, name) for name in told] for p in wanted]
