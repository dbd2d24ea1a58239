"""JSON of a finding: what was found, in which devices, how bad it is, and what the changes did that were tried.

A change that was proposed and not run is not written: nobody could tell it from one that helps.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from numaprobe.errors import InputError
from numaprobe.records import checks
from numaprobe.records.model import Aim, Figures, Finding, Remedy, Severity
from numaprobe.records.plain import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

_TEXTS: Final = ("policy", "parameter", "load_from", "caution")
_FIGURES: Final = tuple(Figures.__dataclass_fields__)


def finding_to_json(finding: Finding) -> dict[str, Any]:
    """Return a finding as a JSON object."""
    return {
        "kind": finding.kind,
        "devices": plain(finding.devices),
        "evidence": plain(finding.evidence),
        "advice": plain(finding.advice),
        "severity": str(finding.severity),
        "remedies": [_remedy_to_json(remedy) for remedy in finding.remedies if remedy.after is not None],
    }


def _remedy_to_json(remedy: Remedy) -> dict[str, Any]:
    return {
        "aim": str(remedy.aim),
        **{name: plain(getattr(remedy, name)) for name in _TEXTS},
        "before": _figures_to_json(remedy.before),
        "after": _figures_to_json(remedy.after),
        "makespan_range_percent": plain(remedy.makespan_range_percent),
    }


def _figures_to_json(figures: Figures | None) -> dict[str, Any] | None:
    return None if figures is None else {name: getattr(figures, name) for name in _FIGURES}


def _severity(value: object, path: str) -> Severity:
    return Severity(checks.choice(*Severity)(value, path))


def _aim(value: object, path: str) -> Aim:
    return Aim(checks.choice(*Aim)(value, path))


def _figures(value: object, path: str) -> Figures:
    return Figures(**checks.fields(value, path, {}, _FIGURES_KNOWN))


def _percents(value: object, path: str) -> tuple[float, float]:
    numbers = checks.listing(value, path)
    if len(numbers) != 2 or not all(isinstance(one, int | float) and math.isfinite(one) for one in numbers):  # noqa: PLR2004
        raise InputError("must be [least, most], in percent", path)
    return float(numbers[0]), float(numbers[1])


def _remedy(value: object, path: str) -> Remedy:
    return Remedy(**checks.fields(value, path, {"aim": _aim}, _REMEDY_KNOWN))


_FIGURES_KNOWN: Final[Mapping[str, checks.Check]] = {
    **dict.fromkeys(("makespan_ns", "worst_ns", "remote_ns"), checks.time),
    **dict.fromkeys(("local_share", "drawn_share"), checks.share),
}
_REMEDY_KNOWN: Final[Mapping[str, checks.Check]] = {
    **dict.fromkeys(_TEXTS, checks.text),
    **dict.fromkeys(("before", "after"), _figures),
    "makespan_range_percent": _percents,
}
_REQUIRED: Final[Mapping[str, checks.Check]] = {
    "kind": checks.text,
    "devices": checks.each(checks.text),
    "evidence": lambda value, path: checks.free(checks.mapping(value, path), path),
    "advice": checks.text,
}
_KNOWN: Final[Mapping[str, checks.Check]] = {"severity": _severity, "remedies": checks.each(_remedy)}


def finding_from_json(value: object, path: str = "finding") -> Finding:
    """Return the finding that a JSON object holds.

    Raises:
        InputError: a field is missing or wrong.

    """
    return Finding(**checks.fields(value, path, _REQUIRED, _KNOWN))
