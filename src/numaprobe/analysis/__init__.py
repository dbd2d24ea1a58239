"""What records say: figures of a trace, traces beside a base, findings, and whether two sets of runs differ."""

from numaprobe.analysis.compare import ComparedTrace, Comparison, Difference, compare, numbered, unique_labels
from numaprobe.analysis.findings import CATALOGUE, find
from numaprobe.analysis.machine import topology_of
from numaprobe.analysis.measured import Figure, Measured, Validation, validate
from numaprobe.analysis.statistics import FigureChange, Sample, Shift, compare_runs
from numaprobe.analysis.summary import Summary, summarize

__all__ = [
    "CATALOGUE",
    "ComparedTrace",
    "Comparison",
    "Difference",
    "Figure",
    "FigureChange",
    "Measured",
    "Sample",
    "Shift",
    "Summary",
    "Validation",
    "compare",
    "compare_runs",
    "find",
    "numbered",
    "summarize",
    "topology_of",
    "unique_labels",
    "validate",
]
