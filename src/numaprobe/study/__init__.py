"""What the commands do, as a Python API: for them, for scripts, for a notebook. See ``docs/study.md``.

A *setting* is everything that a run depends on: a scenario on a machine, a kernel, a command line, a policy. It is made
of a scenario, a recorded trace or this machine (``make_setting``), varied without being read again (``vary``,
``variations``), and run: one (``run``), many on any map-like executor (``run_many``), all policies side by side
(``compare``), or on this computer beside the prediction (``measure``). Progress and results are values; nothing here
prints, and nothing here asks.

``study.lab``, ``study.placement`` and ``study.recording`` are the same for guests in QEMU, for real CPUs, and for the
running kernel. The names below are loaded when first used: to read a trace nothing of scenarios is needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from numaprobe.study.axes import Axis, Variation, make_variations, parse_axes
    from numaprobe.study.comparison import Compared, choose_policies, compare, compare_variations
    from numaprobe.study.confirm import diagnose
    from numaprobe.study.measurement import Measurement, measure
    from numaprobe.study.runs import Progress, Run, run, run_many
    from numaprobe.study.settings import make_setting, recorded_policy, scenario_of
    from numaprobe.study.traces import RECORDED, is_trace, named_file, read_trace, read_traces
    from numaprobe.study.variation import variations, vary
    from numaprobe.study.verification import side_files, verify_files

#: file beside this one -> the names that it gives
_FILES: Final = {
    "axes": ("Axis", "Variation", "make_variations", "parse_axes"),
    "comparison": ("Compared", "choose_policies", "compare", "compare_variations"),
    "confirm": ("diagnose",),
    "measurement": ("Measurement", "measure"),
    "runs": ("Progress", "Run", "run", "run_many"),
    "settings": ("make_setting", "recorded_policy", "scenario_of"),
    "traces": ("RECORDED", "is_trace", "named_file", "read_trace", "read_traces"),
    "variation": ("variations", "vary"),
    "verification": ("side_files", "verify_files"),
}

__all__ = [
    "RECORDED",
    "Axis",
    "Compared",
    "Measurement",
    "Progress",
    "Run",
    "Variation",
    "choose_policies",
    "compare",
    "compare_variations",
    "diagnose",
    "is_trace",
    "make_setting",
    "make_variations",
    "measure",
    "named_file",
    "parse_axes",
    "read_trace",
    "read_traces",
    "recorded_policy",
    "run",
    "run_many",
    "scenario_of",
    "side_files",
    "variations",
    "vary",
    "verify_files",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Load a name when it is first used."""
    for file, names in _FILES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{file}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    """Name what can be used."""
    return sorted(__all__)
