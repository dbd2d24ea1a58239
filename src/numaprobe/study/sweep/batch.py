"""What a worker does: it makes settings of points, runs them, and gives back rows, packed.

A job brings everything along: the base, once per worker kept, and the points. So any worker can do any job, at any
time, and again.
"""

from __future__ import annotations

import hashlib
import pickle
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from numaprobe.datasets import TABLES, Rows, pack, rows_of_trace
from numaprobe.datasets.rows import error_row, machine_row
from numaprobe.errors import InternalError, NumaprobeError, RefusedError
from numaprobe.policies import make_policy
from numaprobe.study.axes import together
from numaprobe.study.runs import run_many
from numaprobe.study.sweep.space import AxisSpan
from numaprobe.study.variation import vary
from numaprobe.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numaprobe.datasets import Packed
    from numaprobe.scenario import Setting
    from numaprobe.study.axes import Axis
    from numaprobe.study.runs import Run
    from numaprobe.study.sweep.space import Point
    from numaprobe.topology import Topology

#: Runs whose traces are in memory at a time.
_BLOCK: Final = 64
#: Columns of a run that an axis of this key already is.
OWN_COLUMNS: Final = ("policy", "kernel", "machine", "cmdline")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What all runs of a sweep have in common."""

    #: what is varied
    base: Setting
    axes: tuple[Axis | AxisSpan, ...]
    #: machines that an axis names, read where their files are
    machines: dict[str, Topology] = field(default_factory=dict)
    #: columns whose values part the dataset
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Some points that stand behind each other."""

    first: int
    points: tuple[Point, ...]
    #: a ``Recipe``, pickled
    recipe: bytes
    #: workers that died while they had it
    deaths: int = 0
    #: the numaprobe that asks
    version: str = __version__

    def part(self, first: int, count: int) -> Job:
        """Return a job of some of these points, from one on."""
        return replace(self, first=self.first + first, points=self.points[first : first + count])


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What came of a job."""

    first: int
    count: int
    packs: Packed
    #: how many did not pass, and what the first of them said
    failed: int = 0
    error: str | None = None
    #: how long it took
    seconds: float = 0.0


def joined(parts: Sequence[Batch]) -> Batch:
    """Return batches that stand behind each other as one."""
    packs: Packed = {}
    for part in parts:
        for where, data in part.packs.items():
            packs[where] = packs.get(where, b"") + data
    return Batch(
        first=parts[0].first,
        count=sum(part.count for part in parts),
        packs=packs,
        failed=sum(part.failed for part in parts),
        error=next((part.error for part in parts if part.error), None),
        seconds=sum(part.seconds for part in parts),
    )


def run_job(job: Job) -> Batch:
    """Run a job here.

    Raises:
        RefusedError: this is another version of numaprobe than the one that asks.

    """
    if job.version != __version__:
        raise RefusedError(f"a worker has numaprobe {__version__}, and {job.version} asks: install the same everywhere")
    start = time.monotonic()
    recipe = recipe_of(job.recipe)
    collected: dict[tuple[str, tuple[str, ...]], list[Any]] = {}
    failed, error = 0, None
    for rows, why in _all_rows(recipe, job):
        values = key_values(recipe.keys, rows)
        for table in TABLES:
            if found := rows.of(table):
                collected.setdefault((table, () if table == "machines" else values), []).extend(found)
        failed += why is not None
        error = error or why
    packs = {where: pack(_once(rows) if where[0] == "machines" else rows) for where, rows in sorted(collected.items())}
    seconds = time.monotonic() - start
    return Batch(first=job.first, count=len(job.points), packs=packs, failed=failed, error=error, seconds=seconds)


def key_values(keys: Sequence[str], rows: Rows) -> tuple[str, ...]:
    """Return the values of the keys in the row of a run."""
    return tuple(rows.runs[0][_PLACE[key]] or "" for key in keys)


_PLACE: Final = {name: place for place, name in enumerate(TABLES["runs"])}
_RECIPES: Final[dict[str, Recipe]] = {}
_MACHINES: Final[dict[tuple[int, ...], tuple[Topology, Any]]] = {}
_MOST_MACHINES: Final = 256


def recipe_of(data: bytes) -> Recipe:
    """Return a recipe, unpacked once in a process."""
    digest = hashlib.sha256(data).hexdigest()
    if digest not in _RECIPES:
        _RECIPES.clear()
        _RECIPES[digest] = pickle.loads(data)  # noqa: S301  from the one who started this worker
    return _RECIPES[digest]


def _once(rows: list[Any]) -> list[Any]:
    return list({row[0]: row for row in rows}.values())


def _all_rows(recipe: Recipe, job: Job) -> Iterator[tuple[Rows, str | None]]:
    """Yield the rows of each run, and what did not pass."""
    for start in range(0, len(job.points), _BLOCK):
        points = job.points[start : start + _BLOCK]
        settings = list(settings_of(recipe, points))
        runs = iter(run_many([one for one in settings if not isinstance(one, NumaprobeError)]))
        for place, (point, setting) in enumerate(zip(points, settings, strict=True), job.first + start):
            extra = axis_values(recipe.axes, point)
            if isinstance(setting, NumaprobeError):
                origin = origin_of(recipe.base) | values_said(recipe.axes, point)
                yield Rows(runs=[error_row(place, str(setting), origin, extra)]), str(setting)
            else:
                yield _rows(place, next(runs), extra)


def settings_of(recipe: Recipe, points: Sequence[Point]) -> Iterator[Setting | NumaprobeError]:
    """Yield each point's setting, or why there is none; those that differ in their policies alone share a plan."""
    made: dict[Point, Setting | NumaprobeError] = {}
    policies = [place for place, axis in enumerate(recipe.axes) if axis.key == "policy"]
    for point in points:
        plain = tuple(value for place, value in enumerate(point) if place not in policies)
        if plain not in made:
            made[plain] = _varied(recipe, point)
        setting = made[plain]
        if policies and not isinstance(setting, NumaprobeError):
            try:
                policy = make_policy(point[policies[-1]])
            except NumaprobeError as error:
                yield error
                continue
            setting = replace(setting, policy=policy, follows_kernel=False)
        yield setting


def _varied(recipe: Recipe, point: Point) -> Setting | NumaprobeError:
    values = {axis.key: value for axis, value in zip(recipe.axes, point, strict=True)}
    try:
        arguments = together(recipe.axes, values)
        if "machine" in arguments:
            arguments["machine"] = recipe.machines[arguments["machine"]]
        return vary(recipe.base, arguments.pop("changes", None), **arguments)
    except NumaprobeError as error:
        return error.with_traceback(None)
    except Exception as error:  # noqa: BLE001  one variation's end is not the end of the others
        return InternalError(f"{type(error).__name__}: {error}")


def axis_values(axes: Sequence[Axis | AxisSpan], point: Point) -> list[Any]:
    """Return the values of the dataset's own columns."""
    return [
        axis.number(value) if isinstance(axis, AxisSpan) else value
        for axis, value in zip(axes, point, strict=True)
        if axis.key not in OWN_COLUMNS
    ]


def values_said(axes: Sequence[Axis | AxisSpan], point: Point) -> dict[str, str | None]:
    """Return the columns that a point says by itself."""
    return {axis.key: value for axis, value in zip(axes, point, strict=True) if axis.key in OWN_COLUMNS}


def origin_of(setting: Setting) -> dict[str, str | None]:
    """Return what is known of a run before it runs."""
    return {
        "source": "virtual",
        "scenario": setting.scenario.name,
        "machine": setting.machine.name,
        "kernel": setting.profile.name,
        "policy": setting.policy.label,
        "cmdline": setting.cmdline or None,
        "numaprobe": __version__,
    }


def _rows(place: int, run: Run, extra: list[Any]) -> tuple[Rows, str | None]:
    setting, failures = run.setting, run.failures
    why = failures[0] if failures else None
    if run.outcome is None:
        return Rows(runs=[error_row(place, why or "", origin_of(setting), extra)]), why
    topology = setting.plan.topology
    machine = _machine(topology)
    return rows_of_trace(place, run.trace, topology=topology, machine=machine, failures=failures, extra=extra), why


def _machine(topology: Topology) -> Any:  # noqa: ANN401  a row
    """Return the row of a machine; variations share what it is made of."""
    parts = (topology.nodes, topology.cores, topology.llcs, topology.packages, topology.distances, topology.present)
    key = tuple(id(part) for part in parts)
    if key not in _MACHINES:
        if len(_MACHINES) >= _MOST_MACHINES:
            _MACHINES.clear()
        _MACHINES[key] = topology, machine_row(topology)
    return _MACHINES[key][1]
