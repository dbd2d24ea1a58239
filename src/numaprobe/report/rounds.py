"""Several rounds of a scenario in guests, as a table and as ``numaprobe.lab-rounds/1``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis.words import plural
from numaprobe.kernel.lab.check import report_to_json
from numaprobe.records import trace_to_json
from numaprobe.report.grid import UNKNOWN, Cell, Column, Grid, console_for, draw, print_line, stdout_or
from numaprobe.study.following import explanations_to_json, following_line
from numaprobe.units import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from numaprobe.analysis.statistics import Sample
    from numaprobe.study.rounds import GuestRound, GuestRounds, RepeatedProbe

#: Version of ``numaprobe lab --repeat --json``.
SCHEMA: Final = "numaprobe.lab-rounds/1"
_COLUMNS: Final = (
    Column(title="device"),
    Column(title="driver"),
    Column(title="as predicted"),
    Column(title="task", wraps=True),
    Column(title="CPU"),
    Column(title="guaranteed", spare=2),
    Column(title="cost", spare=1),
)


def print_rounds(found: GuestRounds, stream: TextIO | None = None) -> None:
    """Print a row for each probe, then what the rounds say together."""
    console = console_for(stdout_or(stream))
    draw(Grid(columns=_COLUMNS, rows=[_row(one) for one in found.probes]), console, legend=False)
    for (driver, device), count in found.unexpected:
        print_line(f"{device} {driver}: probed, and not predicted, in {count} of {len(found.checks)} rounds", console)
    print_line(rounds_line(found), console)
    if found.follows:
        print_line(following_line(found.follows, found.checks[0].stock), console)
    elif found.checks:
        print_line(f"predicted: {found.checks[0].policy}", console)


def rounds_line(found: GuestRounds) -> str:
    """Say in one line how many probes were as predicted, and whether the kernel decided alike each time."""
    right, probes = found.as_predicted
    places = f"{plural(len(found.rounds), 'round')} in {plural(found.boots, 'boot')}"
    lost = len(found.rounds) - len(found.checks)
    told = f", {lost} of which brought nothing home" if lost else ""
    text = f"{right} of {probes} probes as predicted in {places}{told}"
    if len(found.checks) > 1:
        text += "; " + (
            f"decided differently from round to round: {', '.join(one.name.device for one in found.undecided)}"
            if found.undecided
            else "every round was decided alike"
        )
    return text


def _row(probe: RepeatedProbe) -> Sequence[str | Cell]:
    wrong = ", ".join(f"{word} {count}" for word, count in probe.wrong)
    predicted = f"{probe.as_predicted} of {probe.rounds}" + (f" ({wrong})" if wrong else "")
    again = f" (probe {probe.name.earlier + 1})" if probe.name.earlier else ""
    return (
        f"{probe.name.device}{again}",
        probe.name.driver,
        Cell(predicted, "bold red" if probe.as_predicted < probe.rounds else ""),
        _counts(probe.tasks),
        _counts(probe.cpus),
        probe.guaranteed or UNKNOWN,
        UNKNOWN if probe.cost is None else _cost(probe.cost),
    )


def _counts(counts: Sequence[tuple[object, int]]) -> str:
    """Return what there was; how often, if it was not always the same."""
    if len(counts) < 2:  # noqa: PLR2004  nothing to tell apart
        return "".join(str(what) for what, _ in counts) or "not probed"
    return ", ".join(f"{what} ({count})" for what, count in counts)


def _cost(sample: Sample) -> str:
    low, high = sample.interval or (min(sample.values), max(sample.values))
    text = format_time(round(sample.median))
    return text if low == high else f"{text} ({format_time(round(low))} to {format_time(round(high))})"


# ---- for machines --------------------------------------------------------------------------------------------------
def rounds_to_json(found: GuestRounds) -> dict[str, Any]:
    """Return ``numaprobe.lab-rounds/1``."""
    first = found.checks[0]
    block = {
        "schema": SCHEMA,
        "boots": found.boots,
        "passed": found.passed,
        "policy": first.policy,
        "probes": [_probe_to_json(one) for one in found.probes],
        "unexpected": [
            {"driver": driver, "device": device, "rounds": count} for (driver, device), count in found.unexpected
        ],
        "rounds": [_round_to_json(one) for one in found.rounds],
    }
    return block | ({"follows": explanations_to_json(found.follows, first.stock)} if found.follows else {})


def _probe_to_json(probe: RepeatedProbe) -> dict[str, Any]:
    interval = None if probe.cost is None else probe.cost.interval
    return {
        "device": probe.name.device,
        "driver": probe.name.driver,
        "earlier": probe.name.earlier,
        "rounds": probe.rounds,
        "as_predicted": probe.as_predicted,
        "wrong": dict(probe.wrong),
        "tasks": dict(probe.tasks),
        "cpus": {str(cpu): count for cpu, count in probe.cpus},
        "on_node": {"rounds": probe.local[0], "of": probe.local[1]},
        "guaranteed": probe.guaranteed,
        "costs_ns": [] if probe.cost is None else [round(value) for value in probe.cost.values],
        "median_cost_ns": None if probe.cost is None else round(probe.cost.median),
        "median_interval_ns": None if interval is None else [round(value) for value in interval],
    }


def _round_to_json(one: GuestRound) -> dict[str, Any]:
    block: dict[str, Any] = {"passed": one.passed, "troubles": one.troubles}
    if one.result is not None:
        block["trace"] = trace_to_json(one.result.trace)
    if one.check is not None:
        block["check"] = report_to_json(one.check.report)
    return block
