"""Everything that the project promises to refuse in one line, through the installed command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from command import numaprobe, refused

from numaprobe.cli.main import run_command

if TYPE_CHECKING:
    from pathlib import Path

MACHINE = 'machine = "2 nodes x 1 llc x 2 cores"\n'
DEVICE = '[[devices]]\nname = "x"\ncompatible = "d"\n'
DRIVER = '[[drivers]]\nname = "d"\n'


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["compare", "nvme-epic"], "unknown scenario 'nvme-epic': did you mean 'nvme-epyc'?"),
        (["run", "nvme-epyc", "-p", "probe-on-nod"], "unknown policy 'probe-on-nod': did you mean 'probe-on-node'?"),
        (["comare", "x"], "unknown command 'comare': did you mean 'compare'?"),
        (["compare"], "Missing argument"),
    ],
)
def test_wrong_calls(arguments: list[str], line: str) -> None:
    assert line in refused(*arguments)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["run", "nvme-epyc", "-p", "probe-on-node+pn"],
            "unknown option of policy probe-on-node 'pn': did you mean 'pin'?",
        ),
        (["run", "nvme-epyc", "--kernel", "six"], "kernel 'six' is no release: write 6.12, or what 'uname -r' says"),
        (["run", "nvme-epyc", "--kernel", "4.18"], "kernel '4.18' is older than 5.1"),
        (["run", "nvme-epyc", "--format", "jsn"], "unknown format 'jsn': did you mean 'json'?"),
        (["compare", "nvme-epyc", "--baseline", "inlin"], "unknown policy 'inlin': did you mean 'inline'?"),
        (["run", "nvme-epyc", "--json", "--format", "html"], "--json and --format html contradict each other"),
        (["compare", "nvme-epyc", "pmem-2018"], "one scenario at a time: 'pmem-2018' is no recorded trace"),
        (["topology", "0-3,x"], "machine '0-3,x' is no preset, file, compact or hwloc synthetic string"),
        (["report", "/nonexistent/x.json"], "/nonexistent/x.json: cannot be read: no such file or directory"),
        (["scenarios", "host"], "the scenario 'host' has no file"),
        (["run", "nvme-epyc", "--set", "x"], "'x' sets nothing; write for example drivers[0].probe_type=sync"),
        (["run", "nvme-epyc", "--devices", "1000000"], "nvme-epyc: devices[0].count: 1000000 is no count"),
        (["run", "nvme-epyc", "--nonsense"], "No such option: --nonsense"),
    ],
)
def test_wrong_options(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("numaprobe: ")
    assert err.count("\n") == 1
    assert line in err


FILES = {
    "malformed TOML": ("machine = [", "is no TOML: "),
    "not UTF-8": (b"machine = '\xff'", "is not UTF-8 at byte 11"),
    "a device on a node that does not exist": (
        MACHINE + DEVICE.replace("compatible", "node = 9\ncompatible"),
        "devices[0].node: node 9 does not exist on machine '2 nodes x 1 llc x 2 cores'; it has 0, 1",
    ),
    "a cycle of suppliers": (
        MACHINE + '[[devices]]\nname = "a"\nsuppliers = "b"\n[[devices]]\nname = "b"\nsuppliers = "a"\n',
        "suppliers form a circle, none of them can ever be probed: a -> b -> a",
    ),
    "a negative time": (
        MACHINE + DRIVER + 'phases = [{ sleep = "-5ms" }]\n',
        "drivers[0].phases[0].sleep: '-5ms' is not a time",
    ),
    "an absurd time": (
        MACHINE + DRIVER + 'phases = [{ sleep = "1e9s" }]\n',
        "drivers[0].phases[0].sleep: '1e9s' is not a time",
    ),
    "a time of years": (MACHINE + DRIVER + 'phases = [{ sleep = "99999999s" }]\n', "'99999999s' is longer than a day"),
    "a million devices": (
        MACHINE + DEVICE.replace("compatible", "count = 1000000\ncompatible"),
        "devices[0].count: 1000000",
    ),
    "a malformed CPU list": (
        MACHINE + '[[steps]]\noffline = "3-1"\n',
        "steps[0].offline: '3-1' runs backwards; write 1-3",
    ),
    "a device that a step does not find": (
        MACHINE + '[[steps]]\nadd = "nope"\n',
        "steps[0].add: 'nope' is no device here",
    ),
    "a machine that is none": ('machine = "no such box"\n', "machine: machine 'no such box' is no preset"),
}


@pytest.mark.parametrize(("content", "reason"), FILES.values(), ids=FILES)
def test_wrong_scenarios(content: str | bytes, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    line = refused("run", file, "--output", tmp_path / "result.json")
    assert line.startswith(f"{file}: ")
    assert reason in line
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]


def test_a_file_of_a_million_devices_written_out(tmp_path: Path) -> None:
    file = tmp_path / "million.toml"
    with file.open("w") as stream:
        stream.write(MACHINE)
        stream.writelines(f'[[devices]]\nname = "device-{number}"\n' for number in range(1_000_000))
    told = refused("run", file)
    assert (
        "is larger than 32 MiB, and no TOML scenario is; write devices that are alike as one group with 'count'" in told
    )


def test_a_machine_without_an_online_cpu(tmp_path: Path) -> None:
    machine = numaprobe("topology", "1 nodes x 1 llc x 2 cores", "--json").stdout
    (tmp_path / "box.json").write_text(machine.replace('"online": "0-1"', '"online": ""'))
    assert "no CPU is online" in refused("run", "nvme-epyc", "--machine", tmp_path / "box.json")


def test_malformed_machine_files(tmp_path: Path) -> None:
    (tmp_path / "box.xml").write_text("<topology><object")
    assert str(tmp_path / "box.xml") in refused("topology", tmp_path / "box.xml")
    (tmp_path / "box.json").write_text("{")
    assert str(tmp_path / "box.json") in refused("topology", tmp_path / "box.json")


def test_an_unreadable_sysfs(tmp_path: Path) -> None:
    (tmp_path / "devices/system/cpu/online").mkdir(parents=True)
    assert str(tmp_path) in refused("compare", "host", "--machine", tmp_path)


def test_malformed_traces(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"schema": "numaprobe.trace/99"}')
    assert str(tmp_path / "x.json") in refused("report", tmp_path / "x.json")
    (tmp_path / "empty.log").write_text("nothing to see\n")
    assert str(tmp_path / "empty.log") in refused("report", tmp_path / "empty.log")
    assert "standard input" in refused("report", "-", input="nothing to see\n")
    assert "--policy is for scenarios" in refused("compare", tmp_path / "x.json", "--no-replay", "--policy", "inline")


def test_a_place_that_cannot_be_written() -> None:
    line = refused("run", "nvme-epyc", "--output", "/nonexistent/result.json")
    assert line == "/nonexistent/result.json: cannot be written: No such file or directory"


def test_newlines_and_control_characters_in_names_stay_on_one_line() -> None:
    assert "\x1b" not in refused("run", "a\nb\x1b[31m")


def test_a_deadlock_is_told_and_ends_with_1(tmp_path: Path) -> None:
    file = tmp_path / "stuck.toml"
    file.write_text(MACHINE + DEVICE + DRIVER + 'phases = [{ wait = { device = "never" } }]\n')
    done = numaprobe("run", file)
    assert done.returncode == 1
    assert "never is bound" in done.stdout
    compared = numaprobe("compare", file, "-p", "inline")
    assert compared.returncode == 1
    assert "never is bound" in compared.stdout


def test_a_failed_check_ends_with_1() -> None:
    done = numaprobe("run", "async-probe-test", "--set", "steps[0].at_least=1s")
    assert done.returncode == 1
    assert "check failed: 1 adding one asynchronous device per CPU: at least 1.000 s" in done.stdout
