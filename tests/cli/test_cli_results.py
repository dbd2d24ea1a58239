"""What the commands write when all is well: formats, schemas, choices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from numaprobe.policies import POLICIES
from numaprobe.records import json_schema, read_records
from numaprobe.topology import from_json, load_topology


def test_compare_runs_the_whole_catalogue_beside_the_profiles_own_policy(run: Any) -> None:
    result = json.loads(run("compare", "nvme-epyc", "--json"))
    jsonschema.validate(result, json_schema("numaprobe.compare/1"))
    assert (result["schema"], result["scenario"], result["baseline"]) == (
        "numaprobe.compare/1",
        "nvme-epyc",
        "work-on-cpu",
    )
    assert [entry["policy"] for entry in result["policies"]] == list(POLICIES)
    base = next(entry for entry in result["policies"] if entry["policy"] == "work-on-cpu")
    assert base["cpus"] == [0]
    assert {probe["comm"][:10] for probe in base["probes"]} == {"kworker/0:"}
    assert [finding["kind"] for finding in base["findings"]] == ["same-cpu"]


def test_compare_with_chosen_policies_always_has_its_base(run: Any) -> None:
    def labels(*options: str) -> tuple[str, list[str]]:
        result = json.loads(run("compare", "nvme-epyc", "--json", *options))
        return result["baseline"], [entry["policy"] for entry in result["policies"]]

    assert labels("-p", "inline") == ("work-on-cpu", ["work-on-cpu", "inline"])
    assert labels("-p", "inline", "-p", "spread", "-b", "spread") == ("spread", ["inline", "spread"])
    assert labels("-p", "inline", "--kernel", "7.3") == ("probe-workqueue", ["probe-workqueue", "inline"])
    assert labels("-p", "probe-on-node+pin", "-b", "probe-on-node") == (
        "probe-on-node",
        ["probe-on-node", "probe-on-node+pin"],
    )


def test_run_takes_the_profiles_own_policy_and_its_machine(run: Any) -> None:
    trace = json.loads(run("run", "nvme-epyc", "--kernel", "7.2", "--machine", "1 nodes x 2 llcs x 4 cores", "--json"))
    jsonschema.validate(trace, json_schema("numaprobe.trace/1"))
    assert (trace["policy"], trace["kernel"], trace["source"]) == ("probe-workqueue", "7.2", "virtual")
    assert trace["machine"]["name"] == "1 nodes x 2 llcs x 4 cores"
    assert trace["probes"][0]["segments"]


def test_run_writes_the_lines_of_the_seeds(run: Any) -> None:
    lines = run("run", "nvme-epyc", "--format", "printk").splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("nvme 0000:01:00.0: CPU: 0, COMM: kworker/0:")
    assert lines[0].endswith(" ns")


def test_the_command_line_of_the_kernel_reaches_the_run(run: Any) -> None:
    def cpus(*options: str) -> list[int]:
        return [probe["cpu"] for probe in json.loads(run("run", "nvme-epyc", "--json", *options))["probes"]]

    assert cpus() == [0, 0, 0]
    assert cpus("--cmdline", "isolcpus=0-2") == [3, 3, 3]


def test_devices_and_set_change_the_scenario(run: Any) -> None:
    def probes(*options: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(run("run", "nvme-epyc", "--json", *options))["probes"]
        return found

    assert len(probes("--devices", "17")) == 17
    assert not any(probe["asynchronous"] for probe in probes("--set", "drivers[0].probe_type=sync"))


@pytest.mark.parametrize("suffix", [".json", ".parquet", ".log"])
def test_what_run_writes_report_reads(run: Any, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"result{suffix}"
    assert run("run", "nvme-epyc", "--output", file) == ""
    assert [record.cost_ns for record in read_records(file).probes] == [52_300_000, 52_600_000, 52_900_000]
    assert "0000:03:00.0" in run("report", file)
    again = json.loads(run("report", file, "--json"))
    assert [probe["cpu"] for probe in again["probes"]] == [0, 0, 0]


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("x.html", b"<!DOCTYPE html>"),
        ("x.svg", b"<svg"),
        ("x.png", b"\x89PNG"),
        ("x.perfetto-trace", b"\n"),
        ("x.txt", b"nvme-epyc"),
    ],
)
@pytest.mark.parametrize("command", ["run", "compare"])
def test_pictures_and_pages_are_written_to_files(
    run: Any, tmp_path: Path, command: str, name: str, head: bytes
) -> None:
    assert run(command, "nvme-epyc", "-o", tmp_path / name) == ""
    content = (tmp_path / name).read_bytes()
    assert content[:200].lower().startswith(head.lower()) or head.lower() in content[:400].lower()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_recorded_traces_are_compared_with_each_other(run: Any, tmp_path: Path) -> None:
    for policy in ("work-on-cpu", "probe-on-node"):
        run("run", "nvme-epyc", "-p", policy, "-o", tmp_path / f"{policy}.json")
    files = (tmp_path / "work-on-cpu.json", tmp_path / "probe-on-node.json")
    result = json.loads(run("compare", *files, "--json"))
    assert (result["baseline"], [entry["policy"] for entry in result["policies"]]) == (
        "work-on-cpu.json",
        ["work-on-cpu.json", "probe-on-node.json"],
    )
    assert result["policies"][1]["difference"]["worst_percent"] == pytest.approx(-35.2, abs=0.1)
    assert run("report", *files).count("0000:01:00.0") >= 2
    guests = Path(__file__).parents[1] / "data/kernel/debian-7.2/two-nodes"
    told = run("report", guests / "sync.1.trace.gz", guests / "sync.2.trace.gz")
    assert [name in told for name in ("sync.1.trace.gz, ", "sync.2.trace.gz, ")] == [True, True]


def test_details_are_shown_for_few_probes_or_when_asked_for(run: Any) -> None:
    def shown(*options: str) -> bool:
        return "COMM  " in run("compare", "nvme-epyc", "-p", "inline", *options)

    assert shown()
    assert not shown("--no-details")
    assert not shown("--devices", "17")
    assert shown("--devices", "17", "--details")


def test_warnings_of_a_comparison_are_told_once(run: Any) -> None:
    text = run("compare", "nvme-epyc", "--cmdline", "isolcpus=999")
    assert text.count("warning: cmdline: isolcpus=999") == 1
    text = run("compare", "sriov", "-p", "exec-on-node", "-p", "inline")
    assert "warning: recursion: exec-on-node: possible recursive locking" in text


def test_policies_are_listed_and_explained(run: Any) -> None:
    listed = json.loads(run("policies", "--json"))
    assert [entry["name"] for entry in listed["policies"]] == list(POLICIES)
    text = run("policies", "probe-on-node")
    assert "Origin:" in text
    assert "pin" in text
    assert len(json.loads(run("policies", "inline", "--json"))["policies"]) == 1


def test_scenarios_are_listed_and_written_out(run: Any, tmp_path: Path) -> None:
    listed = json.loads(run("scenarios", "--json"))
    assert {"nvme-epyc", "host"} <= {entry["name"] for entry in listed["scenarios"]}
    run("scenarios", "nvme-epyc", "--output", tmp_path / "mine.toml")
    mine = json.loads(run("run", tmp_path / "mine.toml", "--json"))
    assert mine["scenario"] == "mine"
    assert mine["probes"] == json.loads(run("run", "nvme-epyc", "--json"))["probes"]


@pytest.mark.parametrize("format_name", ["json", "compact", "synthetic", "xml"])
def test_a_machine_is_written_and_read_back(run: Any, tmp_path: Path, format_name: str) -> None:
    text = run("topology", "2 nodes x 2 llcs x 4 cores", "--format", format_name)
    if format_name in {"json", "xml"}:
        file = tmp_path / f"box.{format_name}"
        file.write_text(text)
        text = str(file)
    again = load_topology(text.strip())
    assert [str(node.cpus) for node in again.nodes] == ["0-7", "8-15"]
    assert [str(llc) for llc in again.llcs] == ["0-3", "4-7", "8-11", "12-15"]


def test_topology_shows_isolation(run: Any) -> None:
    assert "isolated" in run("topology", "epyc-9a64", "--cmdline", "isolcpus=0-7")
    block = json.loads(run("topology", "epyc-9a64", "--json", "--cmdline", "nohz_full=1"))
    assert list(from_json(block).housekeeping.nohz_full) == [1]


def test_a_sysfs_tree_is_written_and_is_a_host(run: Any, tmp_path: Path) -> None:
    run("topology", "qemu-2n8c", "--format", "sysfs", "--output", tmp_path / "box")
    assert [str(node.cpus) for node in load_topology(str(tmp_path / "box" / "sys")).nodes] == ["0-3", "4-7"]


def test_without_arguments_help_is_shown(run: Any) -> None:
    assert run() == run("--help")


def test_a_kernels_trace_gets_its_nodes_from_its_machine(run: Any, tmp_path: Path) -> None:
    recorded = Path(__file__).parents[1] / "data/kernel/debian-7.2/two-nodes"
    trace = tmp_path / "alone.trace.gz"
    trace.write_bytes((recorded / "async.1.trace.gz").read_bytes())

    def probes(*options: object) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(run("report", trace, "--json", *options))["probes"]
        return [probe for probe in found if probe["driver"] == "nvme" or probe["device"].startswith("0000:8")]

    machine = recorded / "machine.txt"
    known = probes("--machine", machine, "--kprobes", machine)
    assert known
    assert {(probe["device_node"], probe["cpu_node"]) for probe in known} == {(1, 1)}
    assert {probe["device_node"] for probe in probes()} == {None}
    compared = json.loads(run("compare", trace, trace, "--machine", machine, "--json"))["policies"]
    assert len({entry["policy"] for entry in compared}) == 2
