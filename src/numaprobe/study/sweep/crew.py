"""Who does the jobs: what a sweep asks of its workers, and the workers that are processes of this machine."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import pickle
import signal
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Final, Protocol

from numaprobe.errors import InternalError, NumaprobeError, RefusedError
from numaprobe.study.sweep.batch import Batch, Job, run_job
from numaprobe.study.sweep.careful import run_carefully

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

#: A job that so many workers died of is done with care from then on.
CAREFUL_AFTER: Final = 2
#: A job that so many workers died of although it was done with care: it is not the job.
_HOPELESS: Final = 8
_SECONDS_TO_END: Final = 5.0


class Died:
    """In place of a batch: the worker that had the job is no more."""


class SweepWorkers(Protocol):
    """Workers. One job may kill a worker; all others are answered."""

    @property
    def workers(self) -> int:
        """How many there are now."""
        ...

    @property
    def room(self) -> int:
        """How many more jobs may be given now."""
        ...

    def give(self, job: Job) -> None:
        """Have a job done."""
        ...

    def take(self, seconds: float) -> list[tuple[Job, Batch | Died]]:
        """Return what came of jobs, in any order; nothing if that takes longer.

        Raises:
            NumaprobeError: nothing will come any more.

        """
        ...

    def close(self) -> None:
        """Send everybody home; what is not done is not answered."""
        ...


def do_job(job: Job) -> Batch:
    """Do a job as it should be done; this is what runs in a worker.

    Raises:
        NumaprobeError: this worker cannot do such a job.

    """
    _settle()
    if job.deaths > _HOPELESS:
        raise RefusedError(f"{job.deaths} workers died, whatever they ran: is there memory enough for so many?")
    return run_carefully(job) if job.deaths >= CAREFUL_AFTER else run_job(job)


@cache
def _settle() -> None:
    """Tell the collector, once in a process, that what was imported stays: it need not look at it for ever."""
    gc.collect()
    gc.freeze()


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    pipe: Connection
    job: Job | None = None


class LocalCrew:
    """Processes of this machine.

    Args:
        workers: how many.

    Raises:
        RefusedError: there can be no more processes.

    """

    def __init__(self, workers: int) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        try:
            self._workers.extend(self._hired() for _ in range(workers))
        except BaseException:
            self.close()
            raise

    @property
    def workers(self) -> int:
        """How many there are."""
        return len(self._workers)

    @property
    def room(self) -> int:
        """How many have nothing to do."""
        return sum(worker.job is None for worker in self._workers)

    def give(self, job: Job) -> None:
        """Have a job done by one that has nothing to do."""
        worker = next(worker for worker in self._workers if worker.job is None)
        worker.job = job
        with contextlib.suppress(OSError):  # it died while it waited: ``take`` finds out
            worker.pipe.send(job)

    def take(self, seconds: float) -> list[tuple[Job, Batch | Died]]:
        """Return what came of jobs; see ``SweepWorkers.take``."""
        busy = {worker.pipe: worker for worker in self._workers if worker.job is not None}
        found: list[tuple[Job, Batch | Died]] = []
        for pipe in wait(list(busy), seconds):
            worker = busy[pipe]  # type: ignore[index]  # of those that were given
            job = worker.job
            assert job is not None  # noqa: S101  it is busy
            try:
                answer = worker.pipe.recv()
            except (EOFError, OSError, pickle.UnpicklingError):
                self._replace(worker)
                found.append((job, Died()))
                continue
            worker.job = None
            if isinstance(answer, NumaprobeError):
                raise answer
            found.append((job, answer))
        return found

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.pipe.close()
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(_SECONDS_TO_END)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.process.close()
        self._workers.clear()

    def _hired(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs,), name="numaprobe-sweep", daemon=True)
        try:
            process.start()
        except OSError as error:
            raise RefusedError(f"a process cannot be started: {error.strerror}; use fewer --workers") from None
        theirs.close()
        return _Worker(process, ours)

    def _replace(self, worker: _Worker) -> None:
        worker.pipe.close()
        worker.process.kill()
        worker.process.join()
        worker.process.close()
        self._workers[self._workers.index(worker)] = self._hired()


def _work(pipe: Connection) -> None:
    """Do jobs until the pipe ends; Ctrl-C is for the one who asks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            answer: Batch | NumaprobeError = do_job(job)
        except NumaprobeError as error:
            answer = error
        except Exception as error:  # noqa: BLE001  the one who asks must be told
            answer = InternalError(f"{type(error).__name__}: {error}")
        try:
            pipe.send(answer)
        except OSError:
            return


def cpus_here() -> int:
    """Return on how many CPUs this process may run."""
    return len(os.sched_getaffinity(0))
