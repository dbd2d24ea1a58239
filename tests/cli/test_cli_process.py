"""The command as a process: pipes that close, signals, full disks, and what it costs to ask for help."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest
from command import COMMAND, ENVIRONMENT, numaprobe, refused

if TYPE_CHECKING:
    from pathlib import Path

LONG_RUN = ["compare", "nvme-epyc", "--devices", "100000", "--set", "devices[0].name=d{i}"]


def piped(command: str) -> str:
    """Run a pipe line of ours; return its exit codes and everything on standard error."""
    script = f"{command}; echo ${{PIPESTATUS[0]}} >&2"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=60, check=True, env=ENVIRONMENT
    )
    return done.stderr


@pytest.mark.parametrize(
    "arguments", ["--help", "run nvme-epyc", "run nvme-epyc --json --devices 200", "scenarios", "topology"]
)
def test_a_closed_pipe_ends_quietly(arguments: str) -> None:
    assert piped(f"{COMMAND} {arguments} | true") == "141\n"


@pytest.mark.parametrize(("closed", "code"), [(">&-", 0), ("2>&-", 0), ("<&-", 0), ("<&- >&- 2>&-", 0)])
def test_streams_that_were_closed_before_do_no_harm(closed: str, code: int) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{COMMAND} run pmem-2018 {closed}"], timeout=60, check=False, capture_output=True
    )
    assert done.returncode == code
    assert b"Traceback" not in done.stderr


def test_a_full_disk_is_told_once() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123  a device, not a path
        done = subprocess.run(
            [COMMAND, "run", "nvme-epyc", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_middle_leaves_no_file(number: signal.Signals, code: int, tmp_path: Path) -> None:
    program = textwrap.dedent(f"""
        import os, sys
        from numaprobe.cli.main import main
        from numaprobe.virtual import VirtualMachine

        def run(machine, *arguments, real=VirtualMachine.run, **options):
            os.write(3, b"it runs")
            return real(machine, *arguments, **options)

        VirtualMachine.run = run
        sys.argv = ["numaprobe", *{LONG_RUN}, "--output", "{tmp_path / "result.json"}"]
        main()
    """)
    ready, told = os.pipe()
    process = subprocess.Popen(
        ["bash", "-c", f'exec 3>&{told}; exec "$0" -c "$1"', sys.executable, program],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, pass_fds=[told],
    )  # fmt: skip
    os.close(told)
    assert os.read(ready, 7) == b"it runs"
    os.close(ready)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert out == ""
    assert err == ("numaprobe: interrupted\n" if number is signal.SIGINT else "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_in_a_probe_body_is_no_fault_of_the_body(number: str, code: int) -> None:
    program = textwrap.dedent(f"""
        import os, signal, sys
        from numaprobe.cli.main import main
        from numaprobe.virtual import VirtualMachine

        compute = VirtualMachine.compute

        def interrupted(machine, ns):
            os.kill(os.getpid(), signal.{number})
            return compute(machine, ns)

        VirtualMachine.compute = interrupted
        sys.argv = ["numaprobe", "run", "nvme-epyc"]
        main()
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""


def test_output_that_cannot_be_encoded_is_escaped() -> None:
    done = numaprobe(
        "run", "nvme-epyc", "--set", 'devices[0].name="d{i}"', "-m", "host", env={"PYTHONIOENCODING": "ascii"}
    )
    assert done.returncode == 0
    done = numaprobe("run", "async-probe-test", "--set", "steps[0].at_least=1us", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 1


def test_a_bug_of_ours_is_one_line_and_can_be_debugged(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import numaprobe.cli.scenarios as s\n"
        "def broken(): raise RuntimeError('this\\nis broken')\n"
        "s.scenarios = broken\n"
    )
    where = {"PYTHONPATH": str(tmp_path)}
    line = refused("scenarios", code=70, env=where)
    assert line == (
        "this is a bug in numaprobe, please report it: RuntimeError: this is broken (NUMAPROBE_DEBUG=1 shows where)"
    )
    assert "Traceback" in numaprobe("scenarios", env={**where, "NUMAPROBE_DEBUG": "1"}).stderr


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["compare", "--help"], ["run", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from numaprobe.cli.main import run_command; run_command(sys.argv[1:]); "
        "heavy = {'rich', 'duckdb', 'perfetto', 'altair', 'vl_convert', 'asyncio'} & set(sys.modules); "
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_python_dash_m_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "numaprobe", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("numaprobe 0.")


def test_nothing_but_the_result_is_written_in_a_pipe() -> None:
    assert numaprobe("compare", "nvme-epyc", "--json").stderr == ""
