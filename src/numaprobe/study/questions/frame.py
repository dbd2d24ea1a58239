"""What a question is asked of: the views, what varies in their runs, and which figure counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from numaprobe.datasets.duck import quoted
from numaprobe.errors import InputError, UnknownNameError, UsageError
from numaprobe.study.axes import is_parameter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numaprobe.datasets import Views

#: figure -> what it is; all but shares are ns, and less is better
METRICS: Final = {
    "makespan_ns": "first start to last end",
    "worst_ns": "the largest cost of a probe",
    "mean_ns": "the mean cost of a probe",
    "remote_ns": "time running on another node than the device's",
    "runnable_ns": "time waiting for a CPU",
    "sleeping_ns": "time asleep in probes",
    "running_ns": "time on CPUs",
}
#: What is set by whoever runs the machine or makes its kernel; all else is what one meets there.
_SETTINGS: Final = ("policy", "kernel", "cmdline")
_SETTING_KEYS: Final = ("load_from", "probe_type")
#: What varies by design, and is told of by itself.
_NUISANCE: Final = ("seed", "input")
#: A column with more values than this is no knob with positions: it is cut into as many parts as ``BINS``.
MOST_LEVELS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedColumn:
    """A column of an answer."""

    name: str
    #: "text", "time", "share", "percent", "count", "number"
    kind: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedTable:
    """The answer to a prepared question."""

    question: str
    #: one sentence: what the table is
    title: str
    columns: tuple[AskedColumn, ...]
    rows: list[tuple[Any, ...]]
    #: what one should know of it, one line each
    notes: tuple[str, ...] = ()
    #: how pictures of it are to be drawn: see ``report.questions``
    pictures: tuple[dict[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as the object that ``--json`` writes."""
        names = [column.name for column in self.columns]
        return {
            "schema": "numaprobe.query/1",
            "question": self.question,
            "title": self.title,
            "columns": [{"name": one.name, "kind": one.kind, "legend": one.legend} for one in self.columns],
            "rows": [dict(zip(names, row, strict=True)) for row in self.rows],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsFrame:
    """Views, and what varies in them."""

    views: Views
    #: columns of ``runs`` that have more than one value, and how many
    varying: dict[str, int]
    #: of these: numbers that were sampled, or have too many values to be told one by one
    spans: tuple[str, ...]
    #: the figure that counts
    metric: str = "makespan_ns"
    runs: int = 0
    failed: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def settings(self) -> list[str]:
        """What one chooses."""
        return [name for name in self.varying if is_setting(name) and name not in self.spans]

    @property
    def conditions(self) -> list[str]:
        """What one meets, as far as it has values that can be told one by one."""
        others = [name for name in self.varying if not is_setting(name)]
        return [name for name in others if name not in self.spans and name not in _NUISANCE]

    def column(self, name: str) -> str:
        """Return a column in SQL, as a text; spans are cut in parts by ``binned``."""
        return f"coalesce(CAST({quoted(name)} AS VARCHAR), '')"

    def check(self, names: Sequence[str]) -> list[str]:
        """Return columns that are there, and can be grouped by.

        Raises:
            UnknownNameError: one is not.

        """
        known = self.views.columns("runs")
        for name in names:
            if name not in known:
                raise UnknownNameError("column of runs", name[:80], self.varying or known)
        return list(dict.fromkeys(names))


def is_setting(name: str) -> bool:
    """Tell whether a column is what one chooses."""
    return name in _SETTINGS or is_parameter(name) or name.rsplit(".", maxsplit=1)[-1] in _SETTING_KEYS


def frame_of(views: Views, metric: str = "makespan_ns") -> RunsFrame:
    """Return what varies in the runs of some views.

    Raises:
        UnknownNameError: no such figure.
        InputError: no run has figures.

    """
    name = metric if metric in METRICS else f"{metric}_ns"
    if name not in METRICS:
        raise UnknownNameError("figure", metric[:40], METRICS)
    columns = views.columns("runs")
    own = [column for manifest in views.manifests.values() for column in manifest.columns.get("runs", {})]
    candidates = [
        one for one in dict.fromkeys([*_SETTINGS, "machine", "scenario", "host", *own, "input"]) if one in columns
    ]
    counts = ", ".join(f"count(DISTINCT coalesce(CAST({quoted(one)} AS VARCHAR), ''))" for one in candidates)
    figures = f"count(*), count(*) FILTER (NOT coalesce(passed, true)), count({name}) FILTER (coalesce(passed, true))"
    [row] = views.ask(f"SELECT {figures}, {counts} FROM runs").rows  # noqa: S608  our own names, or checked ones
    runs, failed, known = row[:3]
    if not known:
        raise InputError(f"none of {runs} runs passed with a {name}", "the input")
    varying = {one: count for one, count in zip(candidates, row[3:], strict=True) if count > 1}
    if "cmdline" in varying and any(is_parameter(one) for one in varying):
        del varying["cmdline"]  # parameters that vary say it better
    numbers = {"BIGINT", "DOUBLE"}
    spans = tuple(one for one, count in varying.items() if columns[one] in numbers or count > MOST_LEVELS)
    notes = (f"{failed} of {runs} runs did not pass and have no figures here",) if failed else ()
    return RunsFrame(views=views, varying=varying, spans=spans, metric=name, runs=runs, failed=failed, notes=notes)


def need_axes(frame: RunsFrame, names: Sequence[str], what: str) -> None:
    """Raise if nothing varies that a question is about.

    Raises:
        UsageError: so it is.

    """
    if not names:
        varying = ", ".join(frame.varying) or "nothing"
        raise UsageError(f"{what} is asked of runs that differ in something; here varies: {varying}")
