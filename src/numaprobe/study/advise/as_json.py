"""An advice as JSON: the ``numaprobe.advice/1`` object, whose schema is published with the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from numaprobe.records import warning_to_json
from numaprobe.topology import to_json

if TYPE_CHECKING:
    from numaprobe.study.advise.answer import Advice, Recommendation
    from numaprobe.study.advise.choices import Choice
    from numaprobe.study.advise.keptout import KeptOut
    from numaprobe.study.advise.lines import Line
    from numaprobe.study.advise.trials import Trial

#: Version of the form.
ADVICE_SCHEMA: Final = "numaprobe.advice/1"


def advice_to_json(advice: Advice) -> dict[str, Any]:
    """Return an advice as JSON."""
    return {
        "schema": ADVICE_SCHEMA,
        "scenario": advice.setting.scenario.name,
        "machine": to_json(advice.setting.plan.topology),
        "kernel": advice.setting.profile.name,
        "verdict": advice.verdict,
        "goal": {"name": advice.goal.name, "milestone": advice.goal.milestone, "device": advice.goal.device},
        "base": _figures(advice.base),
        "recommended": _recommendation(advice.recommended),
        "hopeful": _recommendation(advice.hopeful),
        "with_kept_out": _recommendation(advice.daring),
        "tried": [_tried(one) for one in advice.tried],
        "broken": [{"name": name, "reason": reason} for name, reason in advice.broken],
        "kept_out": [_kept_out(one) for one in advice.kept_out],
        "bound": {"ns": advice.bound.ns, "devices": list(advice.bound.devices), "lock": advice.bound.lock},
        "limits": list(advice.limits),
        "search": {
            "runs": advice.runs,
            "exhaustive": advice.searched.exhaustive,
            "timed_out": advice.searched.timed_out,
        },
        "warnings": [warning_to_json(warning) for warning in advice.warnings],
    }


def _figures(trial: Trial) -> dict[str, Any]:
    return {
        "makespan_ns": trial.makespan_ns,
        "probing_ns": trial.probing_ns,
        "makespan_range_ns": list(trial.makespan_range()),
        "worst_ns": trial.worst_ns,
        "worst_range_ns": list(trial.worst_range()),
        "worst_device": trial.worst_device or None,
        "on_node": trial.local,
        "placed": trial.placed,
        "milestones": [
            {**one._asdict(), "time_range_ns": list(trial.milestone_range(one))} for one in trial.milestones
        ],
    }


def _recommendation(one: Recommendation | None) -> dict[str, Any] | None:
    return (
        None if one is None else {**_tried(one), "lines": [_line(line) for line in one.lines], "vary": list(one.vary)}
    )


def _tried(one: Recommendation) -> dict[str, Any]:
    return {
        "name": one.trial.name,
        "settings": [_choice(choice) for choice in one.trial.selection],
        **_figures(one.trial),
        "gain_range_ns": list(one.gain_ns),
        "sure": one.sure,
    }


def _choice(choice: Choice) -> dict[str, Any]:
    return {
        "name": choice.name,
        "kind": str(choice.kind),
        "driver": choice.driver or None,
        "value": choice.value or None,
    }


def _line(line: Line) -> dict[str, Any]:
    return {
        "where": line.where,
        "line": line.text,
        "try_once": line.try_once,
        "undo": line.undo,
        "assumes": list(line.assumes),
        "risks": list(line.risks),
    }


def _kept_out(one: KeptOut) -> dict[str, Any]:
    return {
        "driver": one.driver,
        "reason": str(one.reason),
        "text": one.text,
        "devices": list(one.devices),
        "names": {device: list(names) for device, names in one.names.items()},
        "final": one.final,
    }
