"""Workers on a Dask cluster (extra ``cluster``): one that is there, or one that is started for the sweep.

Dask brings jobs to workers and batches back, and gives the job of a lost worker to another one. It does not remember
anything when its scheduler dies: what is done is on our disk, and the rest is asked for again (``--resume``).
"""

from __future__ import annotations

import contextlib
import logging
import queue
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from numaprobe.errors import MissingInterfaceError, NumaprobeError, RefusedError, UsageError
from numaprobe.extras import need
from numaprobe.study.sweep.crew import Died, cpus_here, do_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.study.sweep.batch import Batch, Job

#: Seconds until somebody who does not answer is given up; a queue (Slurm) may take its time.
_PATIENCE: Final = 10
_PATIENCE_SSH: Final = 60
_PATIENCE_QUEUE: Final = 3600
_LATELY: Final = 5.0
#: Jobs that each worker has at hand beside the one that it does.
_AHEAD: Final = 1
_SCHEMES: Final = ("tcp://", "tls://", "ucx://", "ws://", "wss://")


class DaskCrew:
    """The workers of a Dask cluster; a context manager's ``close`` ends what was started for it.

    Args:
        where: ``local``, ``ssh:HOST,HOST``, ``slurm``, the address of a scheduler, or its file.
        workers: how many, where they are started here; None: as many as there are CPUs.

    Raises:
        MissingInterfaceError: Dask is not installed.
        RefusedError: nobody answers there, or there are no workers.
        UsageError: this names no cluster.

    """

    def __init__(self, where: str, workers: int | None = None) -> None:
        need("cluster", f"--cluster {where[:60]}")
        for name in ("distributed", "asyncssh", "dask_jobqueue", "tornado.application"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._where = where
        self._closing = contextlib.ExitStack()
        self._answers: queue.SimpleQueue[tuple[Job, Any]] = queue.SimpleQueue()
        self._given = 0
        self._workers, self._ask_again = 0, 0.0
        with self._closing as closing:
            self._client = _connected(where, workers, closing)
            self._closing = closing.pop_all()

    @property
    def workers(self) -> int:
        """How many threads of workers there are, as far as was asked lately: it is a way to the scheduler and back."""
        now = time.monotonic()
        if now >= self._ask_again:
            known = self._client.scheduler_info(n_workers=-1)["workers"].values()
            self._workers = sum(worker["nthreads"] for worker in known)
            self._ask_again = now + _LATELY
        return self._workers

    @property
    def room(self) -> int:
        """How many more jobs may be given now."""
        return max(1, self.workers) * (1 + _AHEAD) - self._given

    def give(self, job: Job) -> None:
        """Have a job done."""
        key = f"numaprobe-{job.first}-{len(job.points)}-{time.monotonic_ns()}"
        future = self._client.submit(do_job, job, key=key, pure=False)
        self._given += 1
        future.add_done_callback(lambda done: self._answers.put((job, done)))

    def take(self, seconds: float) -> list[tuple[Job, Batch | Died]]:
        """Return what came of jobs; see ``SweepWorkers.take``."""
        found: list[tuple[Job, Batch | Died]] = []
        with contextlib.suppress(queue.Empty):
            found.append(self._read(*self._answers.get(timeout=seconds)))
            while True:
                found.append(self._read(*self._answers.get_nowait()))
        if not found and self._client.status not in ("running", "newly-created"):
            raise self._gone()
        return found

    def _read(self, job: Job, future: Any) -> tuple[Job, Batch | Died]:  # noqa: ANN401  a future of Dask's
        from distributed.scheduler import KilledWorker

        self._given -= 1
        if future.status == "finished":
            try:
                return job, future.result(timeout=_PATIENCE)
            except (OSError, TimeoutError):
                raise self._gone() from None
        if future.status != "error":
            # A busy scheduler that loses workers in quick turn may drop a job with them: it is done once more.
            if self._client.status == "running":
                return job, Died()
            raise self._gone()
        error = future.exception()
        if isinstance(error, KilledWorker):
            return job, Died()
        if isinstance(error, NumaprobeError):
            raise error
        hint = "; is the same numaprobe installed there?" if isinstance(error, ImportError) else ""
        raise RefusedError(f"the workers of {self._where[:80]} cannot do it: {type(error).__name__}: {error}{hint}")

    def _gone(self) -> RefusedError:
        return RefusedError(f"the scheduler of {self._where[:80]} is gone, or threw the jobs away")

    def close(self) -> None:
        """Leave the cluster; end it if it was started here."""
        with contextlib.suppress(Exception):  # it may be gone already
            self._closing.close()


def _connected(where: str, workers: int | None, closing: contextlib.ExitStack) -> Any:  # noqa: ANN401  Dask's client
    """Return a client of a cluster that has workers."""
    from distributed import Client

    started, patience, tried = _started(where, workers)
    options = {"address": _begun(started, tried, closing)} if started is not None else _address(where)
    try:
        client = closing.enter_context(Client(timeout=patience, set_as_default=False, **options))
    except (OSError, TimeoutError, ValueError) as error:
        text = f"no scheduler answered: tried {tried} for {patience} s ({type(error).__name__})"
        raise RefusedError(f"{text}; is it running there?") from None
    except Exception as error:  # noqa: BLE001  whatever a launcher of theirs raises
        raise RefusedError(_why_not(tried, error)) from None
    try:
        client.wait_for_workers(1, timeout=patience)
    except (OSError, TimeoutError):
        raise RefusedError(f"{tried} has no worker after {patience} s; start some: dask worker ADDRESS") from None
    return client


def _begun(start: Callable[[], Any], what: str, closing: contextlib.ExitStack) -> Any:  # noqa: ANN401  Dask's cluster
    """Return a cluster that was started; it ends with ``closing``."""
    try:
        return closing.enter_context(start())
    except Exception as error:  # noqa: BLE001  whatever a launcher of theirs raises
        raise RefusedError(_why_not(what, error)) from None


def _why_not(what: str, error: Exception) -> str:
    return f"{what} cannot be started: {type(error).__name__}: {' '.join(str(error).split())[:400]}"


def _address(where: str) -> dict[str, str]:
    return {"address": where} if where.startswith(_SCHEMES) else {"scheduler_file": where}


def _started(where: str, workers: int | None) -> tuple[Callable[[], Any] | None, int, str]:
    """Return what starts a cluster, how long it may take, and what it is; None: it is there already.

    Raises:
        UsageError: this names none.
        MissingInterfaceError: what it needs is not installed.

    """
    if where == "local":
        return lambda: _local(workers or cpus_here()), _PATIENCE, "a cluster of this machine"
    if where == "slurm":
        try:
            _job_queues()
        except ImportError as error:
            text = f"--cluster slurm needs dask-jobqueue, which is not here ({error}); pip install 'numaprobe[cluster]'"
            raise MissingInterfaceError(text) from None
        if shutil.which("sbatch") is None:
            raise MissingInterfaceError("--cluster slurm needs sbatch, which is not on the PATH: is this a login node?")
        return lambda: _slurm(workers or 1), _PATIENCE_QUEUE, "Slurm (as ~/.config/dask/jobqueue.yaml says)"
    if where.startswith("ssh:"):
        hosts = [host.strip() for host in where.removeprefix("ssh:").split(",") if host.strip()]
        if not hosts or any(host.startswith("-") for host in hosts):
            raise UsageError("--cluster ssh: names hosts: ssh:one,two")
        return lambda: _ssh(hosts, workers), _PATIENCE_SSH, f"ssh to {', '.join(hosts)[:200]}"
    if where.startswith(_SCHEMES):
        return None, _PATIENCE, where[:200]
    if Path(where).is_file():
        return None, _PATIENCE, f"the scheduler that {where[:200]} names"
    known = "local, ssh:HOST,HOST, slurm, tcp://HOST:PORT, or a scheduler's file"
    raise UsageError(f"--cluster '{where[:80]}' is none of: {known}")


def _local(workers: int) -> Any:  # noqa: ANN401  Dask's cluster
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL
    )


def _job_queues() -> Any:  # noqa: ANN401  a module
    """Return dask-jobqueue; Ctrl-C stays what it is, which from its import on would end the program without a word."""
    before = signal.getsignal(signal.SIGINT)
    import dask_jobqueue

    if before is not None:
        signal.signal(signal.SIGINT, before)
    return dask_jobqueue


def _slurm(workers: int) -> Any:  # noqa: ANN401  Dask's cluster
    from distributed import Status

    cluster = _job_queues().SLURMCluster()

    async def submit() -> None:
        cluster.scale(n=workers)
        await cluster._correct_state()  # noqa: SLF001  nothing else tells that no job was taken

    try:
        cluster.sync(submit)
    except BaseException:
        for job in cluster.workers.values():
            job.status = Status.failed if job.job_id is None else job.status  # or it would wait for its end
        cluster.close()
        raise
    return cluster


def _ssh(hosts: list[str], workers: int | None) -> Any:  # noqa: ANN401  Dask's cluster
    """Return a cluster over ssh: the first host has the scheduler, too."""
    from distributed import SSHCluster

    options: dict[str, Any] = {"nthreads": 1, "n_workers": "auto" if workers is None else workers}
    return SSHCluster([hosts[0], *hosts], worker_options=options, scheduler_options={"dashboard": False})
