import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sweep_samples import POISON, digests, question

from numaprobe.datasets import Views, read_manifest
from numaprobe.errors import InputError, MissingInterfaceError, NumaprobeError, RefusedError, UsageError
from numaprobe.study import make_setting, run, vary
from numaprobe.study.sweep import driver
from numaprobe.study.sweep.batch import Batch, Job, run_job
from numaprobe.study.sweep.crew import Died, LocalCrew
from numaprobe.study.sweep.driver import SweepProgress, begin, carry_out, resume, sweep
from numaprobe.study.sweep.question import SweepQuestion

ASKED = question("policy=inline,probe-on-node", "kernel=6.12,7.3", "devices=1,2,3,4,5", "seed=1,2,3")


class Here:
    """A crew of one, in this process: jobs are done when they are taken, the last given first."""

    def __init__(self, *, room: int = 3, ends_after: int | None = None) -> None:
        self.workers = 1
        self._room = room
        self._jobs: list[Job] = []
        self._ends_after = ends_after
        self.closed = False

    @property
    def room(self) -> int:
        return self._room - len(self._jobs)

    def give(self, job: Job) -> None:
        self._jobs.append(job)

    def take(self, seconds: float) -> list[tuple[Job, Batch | Died]]:
        if self._ends_after is not None:
            self._ends_after -= 1
            if self._ends_after < 0:
                raise KeyboardInterrupt
        job = self._jobs.pop()
        return [(job, run_job(job))]

    def close(self) -> None:
        self.closed = True


def test_a_run_is_the_run_of_its_setting(tmp_path: Path) -> None:
    done = sweep(ASKED, tmp_path / "d", Here)
    assert (done.total, done.done, done.failed, done.complete) == (60, 60, 0, True)
    base = make_setting("nvme-epyc")
    with Views([tmp_path / "d"]) as views:
        rows = views.ask("SELECT run, policy, kernel, devices, seed, makespan_ns, probes FROM runs ORDER BY run").rows
        assert [row[0] for row in rows] == list(range(60))
        for _, policy, kernel, devices, seed, makespan, probes in rows[::7]:
            trace = run(vary(base, {"seed": int(seed)}, policy=policy, kernel=kernel, devices=int(devices))).trace
            ends = max(p.end_ns or 0 for p in trace.probes) - min(p.start_ns or 0 for p in trace.probes)
            assert (makespan, probes) == (ends, len(trace.probes))
        assert views.ask("SELECT count(*) FROM probes").rows == [(sum(row[6] for row in rows),)]
    assert not (tmp_path / "d" / "batches").exists()


def test_any_number_of_workers_gives_the_same_bytes(tmp_path: Path) -> None:
    sweep(ASKED, tmp_path / "here", lambda: Here(room=5))
    sweep(ASKED, tmp_path / "one", lambda: LocalCrew(1))
    sweep(ASKED, tmp_path / "three", lambda: LocalCrew(3))
    assert digests(tmp_path / "here") == digests(tmp_path / "one") == digests(tmp_path / "three")


def test_interrupted_and_resumed_is_the_same(tmp_path: Path) -> None:
    sweep(ASKED, tmp_path / "whole", Here)
    first = sweep(ASKED, tmp_path / "cut", lambda: Here(ends_after=3))
    assert not first.complete
    assert 0 < first.done < 60
    with Views([tmp_path / "cut"]) as views:
        assert views.ask("SELECT count(*), count(DISTINCT run) FROM runs").rows == [(first.done, first.done)]
    second = carry_out(*resume(tmp_path / "cut"), Here)
    assert (second.complete, second.new) == (True, 60 - first.done)
    assert digests(tmp_path / "whole") == digests(tmp_path / "cut")
    again = carry_out(*resume(tmp_path / "cut"), Here)
    assert (again.complete, again.new, again.done) == (True, 0, 60)
    assert digests(tmp_path / "whole") == digests(tmp_path / "cut")


def test_a_failing_run_is_a_row(tmp_path: Path) -> None:
    asked = question("devices[0].node=0,1,7", "policy=inline,spread")
    done = sweep(asked, tmp_path / "d", Here)
    assert (done.done, done.failed) == (6, 2)
    with Views([tmp_path / "d"]) as views:
        rows = views.ask(
            'SELECT DISTINCT passed, error, "devices[0].node", makespan_ns IS NULL FROM runs ORDER BY 3'
        ).rows
    assert [row[:1] + row[2:] for row in rows] == [(True, "0", False), (True, "1", False), (False, "7", True)]
    assert "node 7" in rows[2][1] or "'7'" in rows[2][1] or "7" in rows[2][1]
    assert done.error == rows[2][1]


def test_a_lost_worker_is_replaced_and_what_kills_three_is_a_row(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("odd.py").write_text(POISON)
    points = [("inline", "1", str(seed)) for seed in range(12)]
    points[7] = ("./odd.py:Poison", "2", "7")
    axes = question("policy=inline,./odd.py:Poison", "devices=1,2", "seed=1").axes
    asked = SweepQuestion(source="nvme-epyc", axes=axes, points=tuple(points))
    done = sweep(asked, tmp_path / "d", lambda: LocalCrew(2))
    assert (done.done, done.failed, done.deaths) == (12, 1, 2)
    assert done.error == "it killed 3 processes that ran it: signal 9 (SIGKILL)"
    with Views([tmp_path / "d"]) as views:
        assert views.ask("SELECT run, error FROM runs WHERE NOT passed").rows == [(7, done.error)]
        assert views.ask("SELECT count(*), count(DISTINCT run) FROM runs").rows == [(12, 12)]


def test_a_worker_killed_by_chance_changes_nothing(tmp_path: Path) -> None:
    sweep(ASKED, tmp_path / "whole", Here)
    crew = LocalCrew(2)
    killed: list[int] = []

    def tell(progress: SweepProgress) -> None:
        if progress.done and not killed:
            pid = crew._workers[0].process.pid
            assert pid is not None
            killed.append(pid)
            os.kill(pid, signal.SIGKILL)

    done = sweep(ASKED, tmp_path / "d", lambda: crew, tell)
    assert (done.complete, done.failed, len(killed)) == (True, 0, 1)
    assert digests(tmp_path / "whole") == digests(tmp_path / "d")


def test_progress_counts_up_and_knows_when_it_ends(tmp_path: Path) -> None:
    told: list[SweepProgress] = []
    sweep(ASKED, tmp_path / "d", Here, told.append)
    assert [one.done for one in told] == sorted(one.done for one in told)
    assert told[-1].done == told[-1].total == 60
    assert told[-1].left == 0


def test_batches_take_a_second(tmp_path: Path, monkeypatch: Any) -> None:
    sizes: list[int] = []

    class Slow(Here):
        def take(self, seconds: float) -> list[tuple[Job, Batch | Died]]:
            from dataclasses import replace

            [(job, answer)] = super().take(seconds)
            assert isinstance(answer, Batch)
            sizes.append(answer.count)
            return [(job, replace(answer, seconds=answer.count * 0.25))]

    sweep(question("seed=0..999999", random=60), tmp_path / "d", lambda: Slow(room=1))
    assert sizes[0] == driver._FIRST
    assert set(sizes[1:8]) == {4}


# ---- what is wrong --------------------------------------------------------------------------------------------------
def test_what_changed_meanwhile_is_not_resumed(tmp_path: Path) -> None:
    from numaprobe.scenario import scenario_source

    file = tmp_path / "s.toml"
    file.write_text(scenario_source("nvme-epyc"))
    asked = SweepQuestion(source=str(file), axes=ASKED.axes)
    sweep(asked, tmp_path / "d", lambda: Here(ends_after=2))
    file.write_text(scenario_source("nvme-epyc").replace("count = 3", "count = 4"))
    with pytest.raises(InputError, match="does not give what it gave"):
        resume(tmp_path / "d")
    manifest = tmp_path / "d" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(f'"numaprobe": "{driver.__version__}"', '"numaprobe": "0.0.9"'))
    with pytest.raises(InputError, match=r"begun by numaprobe 0\.0\.9"):
        resume(tmp_path / "d")


def test_two_sweeps_into_one_folder(tmp_path: Path) -> None:
    writer, *_ = begin(tmp_path / "d", ASKED)
    with pytest.raises(InputError, match="another numaprobe writes into this folder"):
        begin(tmp_path / "d", ASKED)
    with pytest.raises(InputError, match="another numaprobe writes into this folder"):
        resume(tmp_path / "d")
    writer.close()
    with pytest.raises(InputError, match="is a dataset already"):
        begin(tmp_path / "d", ASKED)


def test_a_full_disk_keeps_what_is_done(tmp_path: Path, monkeypatch: Any) -> None:
    sweep(ASKED, tmp_path / "whole", Here)
    real, count = driver.keep, iter(range(100))

    def full(*arguments: Any) -> Any:
        if next(count) == 2:
            raise InputError("cannot be written: No space left on device", "x")
        return real(*arguments)

    monkeypatch.setattr(driver, "keep", full)
    told = rf"No space left on device; \d+ of 60 runs are kept: numaprobe sweep --resume {tmp_path / 'd'}"
    with pytest.raises(InputError, match=told):
        sweep(ASKED, tmp_path / "d", Here)
    with pytest.raises(InputError, match="is not finished, and holds nothing yet"):
        Views([tmp_path / "d"])
    assert carry_out(*resume(tmp_path / "d"), Here).complete
    assert digests(tmp_path / "whole") == digests(tmp_path / "d")


def test_a_batch_that_was_cut_short_is_done_again(tmp_path: Path) -> None:
    sweep(ASKED, tmp_path / "whole", Here)
    sweep(ASKED, tmp_path / "d", lambda: Here(ends_after=4))
    batches = sorted((tmp_path / "d" / "batches").iterdir())
    batches[0].write_bytes(batches[0].read_bytes()[:-5])
    (tmp_path / "d" / "batches" / "note").write_text("x")
    assert carry_out(*resume(tmp_path / "d"), Here).complete
    assert digests(tmp_path / "whole") == digests(tmp_path / "d")


@pytest.mark.parametrize("kind", [RefusedError, UsageError, MissingInterfaceError])
def test_nobody_to_do_it_leaves_nothing_behind(tmp_path: Path, kind: type[NumaprobeError]) -> None:
    def nobody() -> LocalCrew:
        raise kind("nobody is here")

    with pytest.raises(kind, match=r"^nobody is here$"):
        sweep(ASKED, tmp_path / "d", nobody)
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("kind", [RefusedError, UsageError])
def test_nobody_to_go_on_with_it_takes_nothing_away(tmp_path: Path, kind: type[NumaprobeError]) -> None:
    def nobody() -> LocalCrew:
        raise kind("nobody is here")

    begin(tmp_path / "d", ASKED)[0].close()
    for _ in range(2):
        with pytest.raises(kind, match=r"^nobody is here"):
            carry_out(*resume(tmp_path / "d"), nobody)
    assert carry_out(*resume(tmp_path / "d"), Here).complete


def test_a_worker_of_another_version_is_told(tmp_path: Path) -> None:
    job = Job(first=0, points=(("1",),), recipe=b"", version="0.0.9")
    with pytest.raises(NumaprobeError, match=r"a worker has numaprobe .*, and 0\.0\.9 asks"):
        run_job(job)


def test_ctrl_c_keeps_what_is_done(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("numaprobe")), "sweep", "nvme-epyc", "-o", str(tmp_path / "d")]
    command += [
        "--devices",
        "40",
        "--set",
        "devices[0].name=d{i}",
        "--vary",
        f"seed={','.join(map(str, range(3000)))}",
        "--workers",
        "1",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    batches = tmp_path / "d" / "batches"
    give_up = time.monotonic() + 200
    while time.monotonic() < give_up and len(list(batches.glob("0*"))) < 2:
        threading.Event().wait(0.1)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=200)
    assert process.returncode == 130, error
    assert f"numaprobe sweep --resume {tmp_path / 'd'}" in error
    done = read_manifest(tmp_path / "d")
    assert not done.complete
    assert 0 < done.runs < 3000
    assert f"{done.runs:,} of 3,000 runs" in out
