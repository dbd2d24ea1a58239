"""Findings: one file per rule, and this folder is the catalogue.

A rule is a module with ``KIND``, ``SUMMARY`` and ``find(case)``. It reads records alone. It yields a finding only with
figures that show it, and an advice that the reader can act on; where a source leaves out what the rule needs, it
stays silent. Every threshold is a named constant with its reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.analysis.findings.case import Case
from numaprobe.analysis.findings.catalogue import CATALOGUE
from numaprobe.analysis.machine import topology_of

if TYPE_CHECKING:
    from numaprobe.records import Finding, Trace
    from numaprobe.topology import Topology

__all__ = ["CATALOGUE", "Case", "find"]


def find(trace: Trace, topology: Topology | None = None) -> tuple[Finding, ...]:
    """Return what the catalogue finds in ``trace``; ``topology`` None = the trace's own machine.

    Raises:
        InputError: the trace's machine block is broken.

    """
    case = Case(trace, topology if topology is not None else topology_of(trace))
    return tuple(finding for rule in CATALOGUE for finding in rule.find(case))
