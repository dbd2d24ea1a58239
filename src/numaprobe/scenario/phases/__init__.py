"""What a probe does: one type for each kind of phase.

A type says what the phase does on a machine (``do``), how it is read and written (its fields), and whether a guest's
recording takes its place (``measured``); ``base`` tells how a new one is made.
"""

from numaprobe.scenario.phases.attributes import AttributeModel, Attributes
from numaprobe.scenario.phases.base import Phase, Phases, Probe, Surroundings, do_all, spans_of, with_inner
from numaprobe.scenario.phases.costs import (
    Allocate,
    AllocateMemory,
    Compute,
    HoldLock,
    LockedPhases,
    Sleep,
    Span,
    Undivided,
    UndividedCost,
)
from numaprobe.scenario.phases.groups import DeviceGroup
from numaprobe.scenario.phases.others import EnableVfs, Fail, RegisterChildren, Wait, WaitForDevice

__all__ = [
    "Allocate",
    "AllocateMemory",
    "AttributeModel",
    "Attributes",
    "Compute",
    "DeviceGroup",
    "EnableVfs",
    "Fail",
    "HoldLock",
    "LockedPhases",
    "Phase",
    "Phases",
    "Probe",
    "RegisterChildren",
    "Sleep",
    "Span",
    "Surroundings",
    "Undivided",
    "UndividedCost",
    "Wait",
    "WaitForDevice",
    "do_all",
    "spans_of",
    "with_inner",
]
