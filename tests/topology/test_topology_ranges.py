"""Numbers of machine files: what does not fit is one line, what fits is read back; large trees stay cheap."""

from __future__ import annotations

import copy
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from numaprobe.cli.main import run_command
from numaprobe.topology import load_topology, symmetric, to_json

if TYPE_CHECKING:
    from pathlib import Path

ODD = (-5, -1, 0, 7, 255, 1023, 1024, 8191, 8192, 2**31, 2**62, 2**63, 10**30)
TREE = {
    "devices/system/cpu/possible": "0-3",
    "devices/system/cpu/online": "0-3",
    "devices/system/node/online": "0-1",
    "devices/system/node/node0/cpulist": "0-1",
    "devices/system/node/node1/cpulist": "2-3",
    "devices/system/node/node0/meminfo": "Node 0 MemTotal: {} kB",
    "devices/system/node/node0/distance": "10 {}",
    "devices/system/node/node1/distance": "{} 10",
    "bus/pci/devices/0000:01:00.0/numa_node": "{}",
    "bus/pci/devices/0000:01:00.0/class": "0x{}",
}
LOG = "[    1.000001] probe of 0000:01:00.0 returned 0 after 5 usecs\n"


def write(tree: dict[str, str], folder: Path) -> Path:
    """Make a sysfs tree."""
    for name, text in tree.items():
        path = folder / "sys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def read_back(machine: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> bool:
    """Report a probe on a machine as JSON, and that JSON again; tell whether the machine was taken."""
    (folder / "log").write_text(LOG, encoding="utf-8")
    code = run_command(["report", str(folder / "log"), "-m", str(machine), "--json"])
    out, err = capsys.readouterr()
    if code != 0:
        assert (code, out, err.count("\n")) == (2, "", 1), err
        return False
    (folder / "t.json").write_text(out, encoding="utf-8")
    for form in ("json", "parquet", "perfetto", "html"):
        assert run_command(["report", str(folder / "t.json"), "-f", form, "-o", str(folder / form)]) == 0, form
    for form in ("json", "parquet"):
        capsys.readouterr()
        assert run_command(["report", str(folder / form), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["machine"] == json.loads(out)["machine"]
    return True


@pytest.mark.parametrize("field", [name for name, text in TREE.items() if "{" in text])
def test_odd_numbers_of_sysfs(field: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = {name: text.format(10 if "dist" in name else 1) for name, text in TREE.items()}
    assert read_back(write(plain, tmp_path / "plain"), tmp_path, capsys)
    for number in (8192, 10**30):
        tree = plain | {field: TREE[field].format(number)}
        read_back(write(tree, tmp_path / str(number)), tmp_path, capsys)


@pytest.mark.parametrize(
    "path", [("nodes", 0, "memory"), ("nodes", 0, "id"), ("devices", 0, "node"), ("distances", 0, 1)]
)
def test_odd_numbers_of_machine_json(path: tuple[Any, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = to_json(symmetric("two", nodes=2, cores=2)) | {
        "devices": [{"name": "0000:01:00.0", "bus": "pci", "node": 1}]
    }
    taken = []
    for number in ODD:
        block = copy.deepcopy(plain)
        place: Any = block
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = number
        (tmp_path / "m.json").write_text(json.dumps(block), encoding="utf-8")
        if read_back(tmp_path / "m.json", tmp_path, capsys):
            taken.append(number)
    assert max(taken, default=0) < 2**62


@pytest.mark.parametrize(
    "option",
    [
        ("--devices", "{}"),
        ("--set", "devices[0].count={}"),
        ("--set", "devices[0].node={}0"),
        ("--set", "drivers[0].phases[0].compute={}"),
        ("--set", 'drivers[0].phases[0].compute="{}s"'),
        ("--set", 'machine="{} nodes x 1 cores"'),
        ("--set", 'machine="1 nodes x {} cores"'),
    ],
)
def test_odd_numbers_of_scenarios(option: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    for number in (-1, 2**62, 10**30):
        code = run_command(["run", "nvme-epyc", "-p", "inline", option[0], option[1].format(number)])
        out, err = capsys.readouterr()
        assert (code, out) == (2, ""), option[1].format(number)
        assert err.count("\n") == 1


def test_repeat_has_a_range(capsys: pytest.CaptureFixture[str]) -> None:
    for number in (0, 1001, 10**30):
        assert run_command(["compare", "nvme-epyc", "--measure", "--repeat", str(number)]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def calls_to_load(cpus: int, folder: Path) -> int:
    """Return how many calls it takes to load a tree of CPUs without topology directories."""
    tree = {
        "devices/system/cpu/possible": f"0-{cpus - 1}",
        "devices/system/cpu/online": f"0-{cpus - 1}",
        "devices/system/node/online": "0",
        "devices/system/node/node0/cpulist": f"0-{cpus - 1}",
        "devices/system/node/node0/distance": "10",
    }
    machine = str(write(tree, folder / str(cpus)))
    count = 0

    def called(*_: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(called)
    try:
        assert len(load_topology(machine).nodes[0].cpus) == cpus
    finally:
        sys.setprofile(None)
    return count


def test_cpus_without_topology_directories_cost_little_each(tmp_path: Path) -> None:
    few, many = calls_to_load(512, tmp_path), calls_to_load(4096, tmp_path)
    assert many < 10 * few
