"""The figures of the pages, each made by runs when the site is built: ``<!-- figure: NAME -->`` in a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.analysis import compare
from numaprobe.report.picture import svg
from numaprobe.scenario import load_scenario, run_scenario

if TYPE_CHECKING:
    from collections.abc import Callable


def _side_by_side(scenario: str, *policies: str) -> str:
    return svg(compare([run_scenario(load_scenario(scenario), policy) for policy in policies]))


#: name -> what it shows, and what makes its SVG
FIGURES: Final[dict[str, tuple[str, Callable[[], str]]]] = {
    "nvme-epyc": (
        "Three NVMe probes of one node: one after the other on CPU 0, and at once on three CPUs",
        lambda: _side_by_side("nvme-epyc", "work-on-cpu", "probe-on-node"),
    ),
    "busy": (
        "Probes of a busy node: queued on it, and kept on it",
        lambda: _side_by_side("busy", "probe-on-node", "strict-node"),
    ),
}
