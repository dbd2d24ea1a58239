"""Names that users give never reach a shell. A script stands in for virtme-ng, or for what virtme-ng calls."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from numaprobe.cli.main import run_command
from numaprobe.errors import InputError
from numaprobe.kernel.lab.plan import GuestPlan
from numaprobe.kernel.lab.qemu import vng_command
from numaprobe.kernel.lab.stage import bring_home, check_name, private_folder, staged
from numaprobe.kernel.lab.tools import KernelImage, Tools
from numaprobe.records import Trace, dump_trace
from numaprobe.scenario import load_scenario, prepare
from numaprobe.scenario.guest import guest_plan
from numaprobe.topology import symmetric

if TYPE_CHECKING:
    from collections.abc import Callable

#: each does harm, or falls apart, in a shell, in QEMU's options, or as ``--rwdir=GUEST=HOST``
HOSTILE = [
    "a b",
    "`touch pwned`",
    "$(touch pwned)",
    "; touch pwned #",
    "a\nb",
    "it's",
    'say "x"',
    "a,b=c",
    "*",
    "grüße",
]
PLAN = GuestPlan(topology=symmetric("m", nodes=2, cores=2), devices=(), cmdline='quiet dyndbg="file dd.c +p" a=`x`')


def kernel_in(folder: Path) -> KernelImage:
    """Return a kernel in a folder, with modules."""
    image = KernelImage(folder / "boot/vmlinuz-6.1.0-test", "6.1.0-test")
    image.modules.mkdir(parents=True)
    (image.modules / "modules.dep").write_text("")
    image.path.parent.mkdir()
    image.path.write_text("the image")
    return image


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("name", HOSTILE)
def test_virtme_ngs_own_shell_gets_plain_names(tmp_path: Path, name: str) -> None:
    """The real virtme-ng joins its text and gives it to its shell; ``virtme-run`` says what came out of it."""
    kernel = kernel_in(tmp_path / name)
    said, here = tmp_path / "said", tmp_path / "here"
    here.mkdir()
    program(tmp_path / "virtme-run", f'for one; do printf "%s\\0" "$one"; done > {said}')
    shared = private_folder("numaprobe-test-")
    with staged(kernel) as stage:
        script = shared / "guest.sh"
        vng = Path(sys.executable).with_name("vng")
        command = vng_command(PLAN, vng=vng, stage=stage, shared=shared, script=script)
        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(stage.temporary)}
        subprocess.run(command, env=environment, cwd=here, check=True, timeout=60, capture_output=True)
        assert stage.kernel.read_text() == "the image"
        assert (stage.modules / "modules.dep").exists()
    shared.rmdir()
    words = said.read_text().split("\0")
    assert words[words.index("--rwdir") + 1] == str(shared)
    assert words[words.index("--rodir") + 1] == str(stage.modules)
    assert words[words.index("--kimg") + 1] == str(stage.kernel)
    assert words[words.index("--script-sh") + 1] == str(script)
    assert {"quiet", "dyndbg=file dd.c +p", "a=`x`"} <= {
        words[i + 1] for i, word in enumerate(words) if word == "--kopt"
    }
    assert not stage.kernel.exists()
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("name", HOSTILE)
def test_the_lab_works_with_hostile_names(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel = kernel_in(tmp_path / name)
    keep, temporary = tmp_path / f"keep {name}", tmp_path / f"tmp {name}"
    temporary.mkdir()
    keep.mkdir()
    os.mkfifo(keep / "status")  # not ours: neither removed nor filled with an earlier guest's
    (tmp_path / "trace").write_text(dump_trace(Trace(source="kernel", probes=(), kernel="6.1.0")))
    vng = program(
        tmp_path / "vng",
        f"""echo "$TMPDIR" > {tmp_path}/seen; for one; do echo "$one" >> {tmp_path}/seen; done; pwd >> {tmp_path}/seen
while [ "$1" != --rwdir ]; do shift; done
cp {tmp_path}/trace "$2/trace.json"; mkdir "$2/recording"; echo text > "$2/recording/trace"
ln -s /etc/passwd "$2/planted"; echo 0 > "$2/done"; mv "$2/done" "$2/status"; rm -f "$2/status.part" """,
    )
    monkeypatch.setattr("numaprobe.kernel.lab.tools.find_tools", lambda: Tools(vng, os.environ["PATH"]))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(temporary)
    reader = subprocess.Popen(["cat", str(keep / "status")], stdout=subprocess.PIPE)
    assert run_command(["lab", "lab-nvme", "--kernel", str(kernel.path), "--keep", str(keep)]) == 0
    assert reader.communicate(timeout=20)[0] == b"0\n"
    seen = (tmp_path / "seen").read_text()
    assert str(tmp_path) not in seen
    assert "pwned" not in seen
    assert sorted(str(path.relative_to(keep)) for path in keep.rglob("*") if path.is_file()) == [
        "console.log", "guest.sh", "recording/trace", "steps.sh", "trace.json",
    ]  # fmt: skip
    assert not (keep / "planted").is_symlink()
    assert list(temporary.iterdir()) == []
    assert capsys.readouterr().err.startswith("kernel 6.1.0-test: 0 probes recorded")


def test_a_guest_that_fails_names_the_console_in_the_users_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel = kernel_in(tmp_path / "k")
    vng = program(tmp_path / "vng", "echo '[  1.0] Kernel panic - not syncing: no root'")
    monkeypatch.setattr("numaprobe.kernel.lab.tools.find_tools", lambda: Tools(vng, os.environ["PATH"]))
    keep = tmp_path / "my keep"
    arguments = ["lab", "lab-nvme", "--kernel", str(kernel.path)]
    assert run_command([*arguments, "--keep", str(keep)]) == 3
    text = capsys.readouterr().err
    assert text == f"numaprobe: the guest's kernel panicked: no root; its console: {keep}/console.log\n"
    assert "panic" in (keep / "console.log").read_text()
    assert run_command(arguments) == 3
    place = re.search(r"console: (\S+)\n", capsys.readouterr().err)
    assert place
    assert "panic" in Path(place[1]).read_text()
    for path in Path(place[1]).parent.iterdir():
        path.unlink()
    Path(place[1]).parent.rmdir()


@pytest.mark.parametrize("name", [*(f"/tmp/{name}" for name in HOSTILE), "relative", "/", "/x/-/../~root", "/x//y"])  # noqa: S108
def test_nothing_but_a_plain_name_is_handed_on(name: str) -> None:
    with pytest.raises(InputError, match="the lab's programs cannot take this name"):
        check_name(Path(name) if name != "/x//y" else Path("/x/~y"))


@pytest.mark.parametrize("name", ["vmlinuz-6.1.0;touch pwned", "vmlinuz-6.1.0`x`", "vmlinuz-6.1 .0", "vmlinuz-6.1.0$x"])
def test_an_image_whose_name_is_no_release_is_refused(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("")
    assert run_command(["lab", "lab-nvme", "--kernel", str(tmp_path / name)]) == 3
    text = capsys.readouterr().err
    assert "name the image vmlinuz-RELEASE" in text
    assert text.count("\n") == 1


@pytest.mark.parametrize("cmdline", ["a\nb", 'quiet "open', "\x1b[31m"])
def test_a_command_line_that_no_kernel_can_have_is_refused(tmp_path: Path, cmdline: str) -> None:
    plan = GuestPlan(topology=PLAN.topology, devices=(), cmdline=cmdline)
    with (
        staged(kernel_in(tmp_path)) as stage,
        pytest.raises(InputError, match="is no command line of a kernel"),
    ):
        vng_command(plan, vng=Path("/bin/vng"), stage=stage, shared=Path("/s"), script=Path("/s/g"))


def test_what_cannot_be_brought_home_is_told_with_where_it_is(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for folder in (source, target, target / "console.log"):
        folder.mkdir()
    (source / "console.log").write_text("x")
    with pytest.raises(InputError, match=r"console\.log: cannot be written: it is a folder"):
        bring_home(source, target)


SCENARIO = """
machine = "2 nodes x 1 llc x 2 cores, 512MiB per node"
[[buses]]
name = "pci"
[[drivers]]
name = "nvme"
bus = "pci"
probe_type = "sync"
[[devices]]
name = "d`touch pwned`"
bus = "pci"
compatible = "nvme"
node = 1
"""

STEPS: dict[str, Callable[[str], str]] = {
    "autoprobe": lambda text: f"[[steps]]\nautoprobe = {{ bus = '{text}', on = false }}\n",
    "driver": lambda text: f"[[steps]]\nload = 'nvme'\n[[steps]]\nbind = 'd*'\ndriver = '{text}'\n",
    "load": lambda text: f"[[steps]]\nload = '{text}'\n",
}


@pytest.mark.parametrize("step", STEPS)
def test_names_of_a_scenario_are_one_word_of_the_guests_shell(tmp_path: Path, step: str) -> None:
    """The lines run here, with ``echo`` for ``modprobe``."""
    (tmp_path / "s.toml").write_text(SCENARIO + STEPS[step]("x; touch pwned #"))
    scenario = load_scenario(str(tmp_path / "s.toml"))
    plan = guest_plan(scenario, prepare(scenario).plan.topology, (6, 1))
    for line in (*plan.setup, *plan.steps):
        assert not {";", "touch"} & set(shlex.split(line)), line
    program(tmp_path / "modprobe", "true")
    for line in (*plan.setup, *plan.steps):
        harmless = line.replace("/sys/", f"{tmp_path}/sys/")
        subprocess.run(["sh", "-c", harmless], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False, cwd=tmp_path)
    assert not (tmp_path / "pwned").exists()


def test_a_modules_name_is_no_option(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(SCENARIO + STEPS["load"]("--remove"))
    scenario = load_scenario(str(tmp_path / "s.toml"))
    with pytest.raises(InputError, match="'--remove' is no name of a module"):
        guest_plan(scenario, prepare(scenario).plan.topology, (6, 1))
