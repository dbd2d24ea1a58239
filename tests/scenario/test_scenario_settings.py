"""A trace carries its kernel's settings: nobody who reads it has to guess scope, shards or command line."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from numaprobe.scenario import load_scenario, replay_scenario, run_scenario
from numaprobe.topology import SETTINGS, preset, read_sysfs, symmetric, write_sysfs

if TYPE_CHECKING:
    from pathlib import Path

SCOPE, SHARDS = SETTINGS


def info(kernel: str, cmdline: str = "") -> dict[str, str]:
    trace = run_scenario(load_scenario("nvme-epyc"), "inline", kernel=kernel, cmdline=cmdline)
    return trace.machine["info"]  # type: ignore[no-any-return]


def test_a_run_carries_the_settings_of_its_kernel() -> None:
    assert (info("6.1")[SCOPE], info("6.12")[SCOPE], info("7.3")[SCOPE]) == ("numa", "cache", "cache_shard")
    assert "cmdline" not in info("7.3")
    cmdline = "workqueue.default_affinity_scope=smt workqueue.cache_shard_size=4 isolcpus=domain,3"
    changed = info("7.3", cmdline)
    assert (changed[SCOPE], changed[SHARDS], changed["cmdline"]) == ("smt", "4", cmdline)


def test_sysfs_and_proc_show_them(tmp_path: Path) -> None:
    tree = write_sysfs(symmetric("m", nodes=2), tmp_path)
    assert SCOPE not in read_sysfs(tree).info
    parameters = tree / "module/workqueue/parameters"
    parameters.mkdir(parents=True)
    (parameters / "default_affinity_scope").write_text("cache_shard\n")
    (parameters / "cache_shard_size").write_text("4\n")
    (tmp_path / "proc").mkdir(exist_ok=True)
    (tmp_path / "proc" / "cmdline").write_text("quiet isolcpus=1\n")
    shown = read_sysfs(tree).info
    assert (shown[SCOPE], shown[SHARDS], shown["cmdline"]) == ("cache_shard", "4", "quiet isolcpus=1")


def test_a_replay_keeps_what_was_set_at_run_time() -> None:
    trace = run_scenario(load_scenario("nvme-epyc"), "inline", kernel="7.3")
    assert replay_scenario(trace).cmdline == ""
    machine = {**trace.machine, "info": {**trace.machine["info"], SCOPE: "numa"}}
    assert replay_scenario(replace(trace, machine=machine)).cmdline == f"{SCOPE}=numa"
    # another kernel keeps what somebody chose, and takes no default of the recorded one for a choice
    assert replay_scenario(replace(trace, machine=machine), kernel="6.1").cmdline == f"{SCOPE}=numa"
    assert replay_scenario(trace, kernel="6.1").cmdline == ""


def test_a_preset_says_nothing_of_a_kernel() -> None:
    assert not set(SETTINGS) & set(preset("epyc-9a64").info)
