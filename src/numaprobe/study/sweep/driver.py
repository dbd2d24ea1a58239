"""A sweep from its question to its dataset: who does what, when, and what is kept.

Batches are sized by what the last ones took, so that one takes about a second: the way to a worker and back is a
hundredth of that at most, and no worker is long alone with the last one. Their size decides nothing but that.
"""

from __future__ import annotations

import pickle
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from numaprobe.datasets import DatasetWriter
from numaprobe.errors import InputError, NumaprobeError, RefusedError
from numaprobe.study.sweep.batch import OWN_COLUMNS, Job
from numaprobe.study.sweep.crew import Died
from numaprobe.study.sweep.kept import Kept, forget, gaps, keep, kept_batches
from numaprobe.study.sweep.question import SweepQuestion, make_recipe, question_from_json
from numaprobe.study.sweep.space import AxisSpan, Space
from numaprobe.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numaprobe.study.sweep.batch import Batch, Recipe
    from numaprobe.study.sweep.crew import SweepWorkers

KIND: Final = "sweep"
#: A dataset of a sweep has one part.
_PART: Final = "0"
#: Seconds that a batch should take, and the first batch's runs.
_TARGET: Final = 1.0
_FIRST: Final = 8
_MOST: Final = 20_000
#: A batch may have so many times the runs of the one before.
_GROWTH: Final = 4
#: Of what is left each worker gets half its share at most, so that the last ones end together; but this many seconds.
_SHARE: Final = 2
_LEAST: Final = 0.1
_TICK: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepProgress:
    """How far a sweep is."""

    done: int
    total: int
    #: of those that are done: how many did not pass
    failed: int
    workers: int
    #: runs per second, since it began or was resumed; None: not known yet
    rate: float | None
    #: seconds that the rest will take at this rate
    left: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep came to."""

    folder: Path
    #: runs that were asked for, those that are in the dataset, and those that were done now
    total: int
    done: int
    new: int
    #: how many did not pass, and what the first of them said
    failed: int
    error: str | None
    seconds: float
    #: workers that died meanwhile
    deaths: int = 0

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self.done == self.total


@dataclass(slots=True)
class _Ledger:
    """What is done, and what is still to be given out."""

    space: Space
    recipe: bytes
    kept: list[Kept]
    missing: deque[tuple[int, int]]
    again: deque[Job] = field(default_factory=deque)
    #: seconds of a run, as the last batches took
    pace: float | None = None
    #: when the first batch came, and with how many runs: the rate is that of all after it
    began: tuple[float, int] | None = None
    size: int = _FIRST
    new: int = 0
    deaths: int = 0

    @property
    def done(self) -> int:
        return sum(batch.count for batch in self.kept)

    @property
    def open(self) -> bool:
        return bool(self.missing or self.again)

    def next_job(self, workers: int) -> Job:
        """Return what is to be done next."""
        if self.again:
            return self.again.popleft()
        first, count = self.missing.popleft()
        left = count + sum(count for _, count in self.missing)
        least = int(_LEAST / self.pace) if self.pace else 1
        size = max(1, min(self.size, max(least, -(-left // (_SHARE * max(1, workers)))), count))
        if count > size:
            self.missing.appendleft((first + size, count - size))
        return Job(first=first, points=tuple(self.space.points(first, size)), recipe=self.recipe)

    def learn(self, batch: Batch) -> None:
        """Size the next batches by what this one took."""
        if self.began is None:
            self.began = time.monotonic(), batch.count
        pace = max(batch.seconds, 1e-6) / batch.count
        self.pace = pace if self.pace is None else (self.pace + pace) / 2
        self.size = max(1, min(int(_TARGET / self.pace), self.size * _GROWTH, _MOST))


def begin(folder: str | Path, question: SweepQuestion) -> tuple[DatasetWriter, Recipe, Space]:
    """Return a new dataset for a sweep, and what is run.

    Raises:
        NumaprobeError: the question makes no sense, or the folder cannot be written.

    """
    space = question.space()
    recipe, digest = make_recipe(question, space)
    columns = {axis.key.replace('"', "'"): _column_type(axis) for axis in space.axes if axis.key not in OWN_COLUMNS}
    about = {"question": question.to_json(), "digest": digest, "total": space.count}
    writer = DatasetWriter.create(
        folder, KIND, keys=recipe.keys, columns={"runs": columns}, about=about, complete=False
    )
    return writer, recipe, space


def resume(folder: str | Path) -> tuple[DatasetWriter, Recipe, Space]:
    """Return the dataset of a sweep that is not finished, and what it runs.

    Raises:
        InputError: it is none, is another version's, or what it runs is not what it was.

    """
    writer = DatasetWriter.open(folder, KIND)
    try:
        manifest = writer.manifest
        if manifest.numaprobe != __version__:
            text = f"was begun by numaprobe {manifest.numaprobe[:40]}, and this is {__version__}: its runs may differ"
            raise InputError(f"{text}; resume it with that one, or begin again", str(folder))  # noqa: TRY301
        question = question_from_json(manifest.about.get("question"))
        space = question.space()
        recipe, digest = make_recipe(question, space)
        if digest != manifest.about.get("digest"):
            text = "does not give what it gave when the sweep was begun; begin again in another folder"
            raise InputError(f"'{question.source[:80]}' {text}", str(folder))  # noqa: TRY301
    except BaseException:
        writer.close()
        raise
    return writer, recipe, space


def _column_type(axis: Any) -> str:  # noqa: ANN401  an axis
    if not isinstance(axis, AxisSpan):
        return "VARCHAR"
    return "BIGINT" if axis.unit or axis.whole else "DOUBLE"


def carry_out(
    writer: DatasetWriter,
    recipe: Recipe,
    space: Space,
    crew: Callable[[], SweepWorkers],
    progress: Callable[[SweepProgress], object] | None = None,
) -> Swept:
    """Run what is missing, and finish the dataset; close it in any case.

    Ctrl-C ends it early: the dataset then holds what was done, and can be resumed.

    Args:
        writer: see ``begin`` and ``resume``.
        recipe: as they gave it.
        space: as they gave it.
        crew: hires the workers.
        progress: called now and then.

    Raises:
        NumaprobeError: nobody can do it any more, or there is no space; what was done is kept.

    """
    start = time.monotonic()
    with writer:
        kept = kept_batches(writer.folder)
        data = pickle.dumps(recipe)
        book = _Ledger(space, data, kept, deque(gaps(kept, space.count)))
        if writer.manifest.complete:
            book.missing.clear()
        elif book.open:
            try:
                _run(book, writer.folder, crew, progress)
            except KeyboardInterrupt:
                pass
            except NumaprobeError as error:
                if writer.is_new and not book.kept:
                    writer.discard()
                    raise
                raise _resumable(error, writer.folder, book.done, space.count) from None
        if not writer.manifest.complete and book.kept:
            _finish(writer, book)
        done = writer.manifest.runs
        about = writer.manifest.about
        return Swept(
            folder=writer.folder,
            total=space.count,
            done=done,
            new=book.new,
            failed=about.get("failed", 0),
            error=about.get("error"),
            seconds=time.monotonic() - start,
            deaths=book.deaths,
        )


def _resumable(error: NumaprobeError, folder: Path, done: int, total: int) -> NumaprobeError:
    """Return the error with what to do then; one that nobody can wait out as it is."""
    if not isinstance(error, InputError | RefusedError):
        return error
    text = f"{error}; {done} of {total} runs are kept: numaprobe sweep --resume {folder}"
    return RefusedError(text) if isinstance(error, RefusedError) else InputError(text)


def _run(
    book: _Ledger,
    folder: Path,
    hire: Callable[[], SweepWorkers],
    progress: Callable[[SweepProgress], object] | None,
) -> None:
    """Have everything done that is missing."""
    crew = hire()
    given = 0
    try:
        while book.open or given:
            while book.open and crew.room > 0:
                crew.give(book.next_job(crew.workers))
                given += 1
            answers = crew.take(_TICK)
            given -= len(answers)
            # the workers first: what came is put on disk while they are busy again
            for job, answer in answers:
                if isinstance(answer, Died):
                    book.deaths += 1
                    book.again.append(replace(job, deaths=job.deaths + 1))
                else:
                    book.learn(answer)
            while book.open and crew.room > 0:
                crew.give(book.next_job(crew.workers))
                given += 1
            for _, answer in answers:
                if not isinstance(answer, Died):
                    book.kept.append(keep(folder, answer))
                    book.new += answer.count
            if progress is not None:
                progress(_progress(book, crew.workers))
    finally:
        crew.close()
        book.kept.sort(key=lambda batch: batch.first)


def _progress(book: _Ledger, workers: int) -> SweepProgress:
    rate = None
    if book.began is not None and book.new > book.began[1]:
        since, uncounted = book.began
        rate = (book.new - uncounted) / (time.monotonic() - since)
    left = book.space.count - book.done
    return SweepProgress(
        done=book.done,
        total=book.space.count,
        failed=sum(batch.failed for batch in book.kept),
        workers=workers,
        rate=rate,
        left=left / rate if rate else None,
    )


def _finish(writer: DatasetWriter, book: _Ledger) -> None:
    """Make the dataset of what is done."""
    done = book.done
    about = writer.manifest.about | {
        "failed": sum(batch.failed for batch in book.kept),
        "error": next((batch.error for batch in book.kept if batch.error), None),
    }
    complete = done == book.space.count
    with writer.part(_PART, runs=done, complete=complete, about=about) as part:
        for batch in book.kept:
            batch.pour(part)
    if complete:
        forget(writer.folder)


def sweep(
    question: SweepQuestion,
    folder: str | Path,
    crew: Callable[[], SweepWorkers],
    progress: Callable[[SweepProgress], object] | None = None,
) -> Swept:
    """Ask a question, and keep the answer in a new dataset; see ``begin`` and ``carry_out``."""
    return carry_out(*begin(folder, question), crew, progress)
