"""Manual pages and completion: every command has its page, no page is faulty, and TAB completes in real shells."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from release.commands import commands
from release.man import roff, write_pages
from release.share import write_share

from numaprobe.cli.completing import SHELLS, completion_script
from numaprobe.cli.main import run_command
from numaprobe.cli.registry import COMMANDS

BIN = Path(sys.executable).parent


def test_every_command_has_a_page_with_all_that_its_help_says(tmp_path: Path) -> None:
    names = {path.name for path in write_pages(tmp_path)}
    assert names == {"numaprobe.1", *(f"numaprobe-{name}.1" for name in COMMANDS)}
    for command in commands():
        text = (tmp_path / "man1" / f"{command.page}.1").read_text()
        for term, _ in (*command.arguments, *command.options):
            assert f".B {roff(term)}\n" in text, command.line
        assert all(roff(example) in text for example in command.examples)
        assert all(f"\n{code}\n" in text.replace(".B ", "") for code, _ in command.exits)


def test_what_the_help_says_is_taken_apart() -> None:
    known = {command.name: command for command in commands()}
    assert known["record"].examples[0] == "sudo numaprobe record -- modprobe nvme"
    assert known["verify"].exits[0][0] == 1
    assert known["verify"].exits[1][0] == 2
    assert known["run"].arguments == (("INPUT", "A scenario, or a recorded trace."),)
    assert known["bind"].usage == ("[OPTIONS]", "[DEVICE...]...")
    assert not any("Exit code" in text for one in known.values() for text in one.paragraphs)


def test_nothing_in_a_text_is_a_command_of_roff() -> None:
    assert roff(".SH X") == r"\&.SH X"
    assert roff("'a' \\n --b") == r"\(aqa\(aq \en \-\-b"


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="no mandoc: make tools installs it")
def test_mandoc_finds_no_fault(tmp_path: Path) -> None:
    pages = write_pages(tmp_path)
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", *pages], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("", 0)
    shown = subprocess.run(["mandoc", "-T", "ascii", *pages], capture_output=True, text=True, check=True).stdout
    assert "NUMAPROBE-ADVISE(1)" in shown


def test_the_pages_are_the_same_for_one_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1763700000")
    write_share(tmp_path / "a")
    write_share(tmp_path / "b")
    one, other = (sorted(p.relative_to(tmp_path / n) for p in (tmp_path / n).rglob("*")) for n in "ab")
    assert one == other
    assert all(
        (tmp_path / "a" / p).is_dir() or (tmp_path / "a" / p).read_bytes() == (tmp_path / "b" / p).read_bytes()
        for p in one
    )
    assert "2025-11-21" in (tmp_path / "a/man/man1/numaprobe.1").read_text()


# ---- completion ------------------------------------------------------------------------------------------------------
def asked(line: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> list[str]:
    """Return what is offered for the last word of a command line."""
    monkeypatch.setenv("_NUMAPROBE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
    with pytest.raises(SystemExit):
        run_command([])
    return capfd.readouterr().out.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("numaprobe r", {"run", "record", "report", "rebind", "recover"}),
        ("numaprobe run nvme-e", {"nvme-epyc"}),
        ("numaprobe run nvme-epyc --policy queue", {"queue-on-node"}),
        ("numaprobe topology h", {"host"}),
        ("numaprobe run x --kernel 7", {"7.0", "7.2", "7.3"}),
        ("numaprobe bind --sa", {"--save-plan"}),
        ("numaprobe run no-such", set()),
    ],
)
def test_what_is_offered(
    line: str, offered: set[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert offered <= set(asked(line, monkeypatch, capfd))
    assert bool(offered) == bool(offered & set(COMMANDS)) or len(offered) < 8


def test_the_commands_are_offered_without_importing_one() -> None:
    code = (
        "import os, sys\n"
        "os.environ.update(_NUMAPROBE_COMPLETE='complete_bash', COMP_WORDS='numaprobe ', COMP_CWORD='1')\n"
        "from numaprobe.cli.main import run_command\n"
        "try: run_command([])\n"
        "except SystemExit: print([m for m in sys.modules if m in ('numaprobe.cli.run', 'numaprobe.cli.bind')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[-2] == "[]"
    assert set(done.stdout.split()) >= set(COMMANDS)


def test_the_script_of_no_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--show-completion", "bahs"]) == 2
    assert "did you mean 'bash'?" in capsys.readouterr().err
    assert run_command(["--show-completion", "fish"]) == 0
    assert capsys.readouterr().out == completion_script("fish")


def typed(command: list[str], keys: list[str], awaited: str, folder: Path) -> str:
    """Type into a shell on a terminal until it shows what is awaited; return all that it showed."""
    shell, terminal = pty.fork()
    if shell == 0:
        environment = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(folder), "TERM": "dumb", "LANG": "C.UTF-8"}
        os.chdir(folder)
        os.execvpe(command[0], command, environment)  # noqa: S606  this process becomes the shell
    shown, until = "", time.monotonic() + 120
    try:
        for key in keys:
            os.write(terminal, key.encode())
            time.sleep(0.5)
        while not re.search(awaited, shown) and time.monotonic() < until:
            if select.select([terminal], [], [], 1)[0]:
                shown += os.read(terminal, 65536).decode(errors="replace")
    finally:
        os.kill(shell, 9)
        os.waitpid(shell, 0)
        os.close(terminal)
    return shown


def installed(folder: Path, shell: str) -> Path:
    path = folder / SHELLS[shell]
    path.parent.mkdir(parents=True)
    path.write_text(completion_script(shell))
    return path


def test_tab_completes_in_bash(tmp_path: Path) -> None:
    script = installed(tmp_path, "bash")
    keys = [f"PS1=; source {script}\n", "numaprobe compa\t", "nvme-e\t"]
    assert "compare nvme-epyc" in typed(["bash", "--norc", "-i"], keys, "compare nvme-epyc", tmp_path)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh: make tools installs it")
def test_tab_completes_in_zsh(tmp_path: Path) -> None:
    script = installed(tmp_path, "zsh")
    keys = [f"fpath=({script.parent} $fpath); autoload -Uz compinit; compinit -u -D\n", "numaprobe compa\t", "nvme-e\t"]
    assert re.search("compare.*nvme-epyc", typed(["zsh", "-f", "-i"], keys, "compare.*nvme-epyc", tmp_path))


@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish: make tools installs it")
def test_fish_completes(tmp_path: Path) -> None:
    script = installed(tmp_path, "fish")
    lines = "; ".join([f"source {script}", "complete -C 'numaprobe compa'", "complete -C 'numaprobe compare nvme-e'"])
    environment = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    done = subprocess.run(["fish", "-N", "-c", lines], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["compare\tevery policy side by side, or recorded traces", "nvme-epyc"]
