"""A job that killed workers, with care: children of the worker run it, and what kills them is found by halving.

The worker itself lives. A run that is alone and kills three children is a row with that as its error.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys

from numaprobe.datasets import Rows, pack
from numaprobe.datasets.rows import error_row
from numaprobe.errors import NumaprobeError
from numaprobe.study.sweep.batch import (
    Batch,
    Job,
    axis_values,
    joined,
    key_values,
    origin_of,
    recipe_of,
    run_job,
    values_said,
)

#: So many children may die of one run.
DEATHS = 3


def run_carefully(job: Job) -> Batch:
    """Run a job in children.

    Raises:
        NumaprobeError: a child's: it cannot do such a job at all.

    """
    count = len(job.points)
    died = ""
    for _ in range(DEATHS if count == 1 else 1):
        answer = _in_child(job)
        if isinstance(answer, Batch):
            return answer
        died = answer
    if count == 1:
        return _row(job, f"it killed {DEATHS} processes that ran it: {died}")
    half = count // 2
    return joined([run_carefully(job.part(0, half)), run_carefully(job.part(half, count - half))])


def _row(job: Job, error: str) -> Batch:
    recipe, [point] = recipe_of(job.recipe), job.points
    origin = origin_of(recipe.base) | values_said(recipe.axes, point)
    rows = Rows(runs=[error_row(job.first, error, origin, axis_values(recipe.axes, point))])
    where = ("runs", key_values(recipe.keys, rows))
    return Batch(first=job.first, count=1, packs={where: pack(rows.runs)}, failed=1, error=error)


def _in_child(job: Job) -> Batch | str:
    """Return what came of a job in a child, or what the child died of."""
    command = [sys.executable, "-m", "numaprobe.study.sweep.careful"]
    done = subprocess.run(command, input=pickle.dumps(job), stdout=subprocess.PIPE, check=False)  # noqa: S603  ourselves
    try:
        answer = pickle.loads(done.stdout)  # noqa: S301  from our child
    except Exception:  # noqa: BLE001  whatever a child that died left half-written
        answer = None
    if isinstance(answer, NumaprobeError):
        raise answer
    return answer if isinstance(answer, Batch) and done.returncode == 0 else _cause(done.returncode)


def _cause(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"signal {-code}"


def _child() -> None:
    """Do one job from standard input; what it prints goes to standard error."""
    answer_to = os.dup(1)
    os.dup2(2, 1)
    job = pickle.loads(sys.stdin.buffer.read())  # noqa: S301  from our parent
    try:
        answer: Batch | NumaprobeError = run_job(job)
    except NumaprobeError as error:
        answer = error
    with os.fdopen(answer_to, "wb") as stream:
        stream.write(pickle.dumps(answer))


if __name__ == "__main__":
    _child()
