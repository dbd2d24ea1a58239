"""A real Dask cluster on loopback: a scheduler and workers, each a process of its own, killed as it pleases us."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ssh_server import ssh_home
from sweep_samples import POISON, digests, question

from numaprobe.datasets import Views
from numaprobe.errors import MissingInterfaceError, RefusedError, UsageError
from numaprobe.study.sweep import cluster as ours
from numaprobe.study.sweep.cluster import DaskCrew
from numaprobe.study.sweep.crew import LocalCrew
from numaprobe.study.sweep.driver import SweepProgress, carry_out, resume, sweep
from numaprobe.study.sweep.question import SweepQuestion

#: about 20 ms each
ASKED = question("devices=40", f"seed={','.join(map(str, range(100)))}", overrides=("devices[0].name=d{i}",))


class Cluster:
    """A scheduler and workers that started by themselves."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "scheduler.json"
        self._environment = os.environ | {
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
            "DASK_DISTRIBUTED__ADMIN__LOG_LENGTH": "0",
        }
        self.processes: list[subprocess.Popen[bytes]] = []
        self.scheduler = self._start("scheduler", "--port", "0", "--no-dashboard", "--host", "127.0.0.1")

    def _start(self, what: str, *options: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "distributed.cli.dask_" + what, "--scheduler-file", str(self.file), *options]
        quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, env=self._environment, **quiet)
        self.processes.append(process)
        return process

    def worker(self) -> "subprocess.Popen[bytes]":
        return self._start("worker", "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")

    def close(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setattr(ours, "_PATIENCE", 100)  # this machine may be busy
    made = Cluster(tmp_path)
    try:
        await_address(made)
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("whole") / "d"
    sweep(ASKED, folder, lambda: LocalCrew(2))
    return digests(folder)


def told_once(action: Any) -> Any:
    done: list[bool] = []

    def tell(progress: SweepProgress) -> None:
        if progress.done and not done:
            done.append(True)
            action()

    return tell


def test_workers_that_die_or_are_slow_change_nothing(
    cluster: Cluster, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    victim, slow, _ = (cluster.worker() for _ in range(3))

    def disturb() -> None:
        slow.send_signal(signal.SIGSTOP)
        victim.kill()
        # it goes on later; nobody waits for it before
        timer = threading.Timer(2, slow.send_signal, [signal.SIGCONT])
        timer.daemon = True
        timer.start()

    done = sweep(ASKED, tmp_path / "d", lambda: DaskCrew(str(cluster.file)), told_once(disturb))
    assert (done.complete, done.failed) == (True, 0)
    assert digests(tmp_path / "d") == undisturbed


def test_a_scheduler_that_dies_costs_nothing_that_is_done(
    cluster: Cluster, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    cluster.worker()
    told = rf"is gone.*; \d+ of 100 runs are kept: numaprobe sweep --resume {tmp_path / 'd'}"
    with pytest.raises(RefusedError, match=told):
        sweep(ASKED, tmp_path / "d", lambda: DaskCrew(str(cluster.file)), told_once(cluster.scheduler.kill))
    (tmp_path / "second").mkdir()
    second = Cluster(tmp_path / "second")
    try:
        second.worker()
        address = await_address(second)
        done = carry_out(*resume(tmp_path / "d"), lambda: DaskCrew(address))
    finally:
        second.close()
    assert done.complete
    assert 0 < done.new < 100
    assert digests(tmp_path / "d") == undisturbed


def await_address(cluster: Cluster) -> str:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        try:
            return str(json.loads(cluster.file.read_text())["address"])
        except (OSError, ValueError):
            time.sleep(0.1)
    raise TimeoutError


def test_what_kills_workers_is_a_row(cluster: Cluster, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("odd.py").write_text(POISON)
    for _ in range(3):
        cluster.worker()
    points = [("inline", "1", str(seed)) for seed in range(12)]
    points[7] = ("./odd.py:Poison", "2", "7")
    axes = question("policy=inline,./odd.py:Poison", "devices=1,2", "seed=1").axes
    asked = SweepQuestion(source="nvme-epyc", axes=axes, points=tuple(points))
    done = sweep(asked, tmp_path / "d", lambda: DaskCrew(str(cluster.file)))
    assert (done.done, done.failed) == (12, 1)
    with Views([tmp_path / "d"]) as views:
        rows = views.ask("SELECT run, error FROM runs WHERE NOT passed").rows
        assert rows == [(7, "it killed 3 processes that ran it: signal 9 (SIGKILL)")]
        assert views.ask("SELECT count(*), count(DISTINCT run) FROM runs").rows == [(12, 12)]


def test_hosts_are_reached_by_ssh_with_ones_own_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[str, str]
) -> None:
    monkeypatch.setattr(ours, "_PATIENCE_SSH", 200)  # this machine may be busy
    (tmp_path / "home").mkdir()
    with ssh_home(tmp_path / "home", "one", "two") as home:
        monkeypatch.setenv("HOME", str(home))
        done = sweep(ASKED, tmp_path / "d", lambda: DaskCrew("ssh:one,two", 1))
        assert (done.complete, done.failed) == (True, 0)
        (home / ".ssh/known_hosts").write_text("")
        with pytest.raises(RefusedError, match=r"ssh to one cannot be started: .*[Hh]ost key is not trusted") as told:
            DaskCrew("ssh:one", 1)
    assert "\n" not in str(told.value)
    assert digests(tmp_path / "d") == undisturbed


def test_nobody_there_is_told_after_ten_seconds() -> None:
    start = time.monotonic()
    with pytest.raises(RefusedError, match=r"no scheduler answered: tried tcp://127\.0\.0\.1:1 for 10 s") as told:
        DaskCrew("tcp://127.0.0.1:1")
    assert 9 < time.monotonic() - start < 60
    assert "\n" not in str(told.value)


def test_slurm_that_is_not_there_or_takes_no_job_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dask

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingInterfaceError, match=r"needs sbatch, which is not on the PATH"):
        DaskCrew("slurm")
    sbatch = tmp_path / "sbatch"
    sbatch.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: none' >&2\nexit 1\n")
    sbatch.chmod(0o755)
    with (
        dask.config.set({"jobqueue.slurm.cores": 1, "jobqueue.slurm.memory": "1GB", "jobqueue.slurm.interface": "lo"}),
        pytest.raises(RefusedError, match=r"cannot be started: .*invalid partition specified: none") as told,
    ):
        DaskCrew("slurm")
    assert "\n" not in str(told.value)
    assert signal.getsignal(signal.SIGINT) is before  # dask-jobqueue takes it when it is imported


@pytest.mark.parametrize("where", ["somewhere", "ssh:", "ssh:-oProxyCommand=x", "", "/nowhere/scheduler.json"])
def test_what_is_no_cluster_is_told(where: str) -> None:
    with pytest.raises(UsageError):
        DaskCrew(where)
