"""What the caller does: one type for each kind of step.

A type says what the step does on a machine (``do``), how it is read and written (its fields), and its lines in a guest
of the lab, or the words with which the lab refuses it (``shell``); ``base`` tells how a new one is made.
"""

from numaprobe.scenario.steps.base import During, MachineChanges, Shell, Step, StepRun, TaskKind, all_steps
from numaprobe.scenario.steps.cpus import Busy, Isolate, Offline, Online, StartBusy, WriteUnboundCpumask
from numaprobe.scenario.steps.devices import (
    Add,
    Authorized,
    Autoprobe,
    Bind,
    DriversProbe,
    ExpectBound,
    NumVfs,
    OnFile,
    ReadFile,
    Remove,
    SriovNumvfs,
    SysfsFile,
    Unbind,
    WriteAuthorized,
    WriteAutoprobe,
    WriteFile,
)
from numaprobe.scenario.steps.drivers import BlockProbing, LateInitcall, Load, Register, Unregister
from numaprobe.scenario.steps.order import Mark, Maybe, Parallel, Pause, Sequence, Settle

__all__ = [
    "Add",
    "Authorized",
    "Autoprobe",
    "Bind",
    "BlockProbing",
    "Busy",
    "DriversProbe",
    "During",
    "ExpectBound",
    "Isolate",
    "LateInitcall",
    "Load",
    "MachineChanges",
    "Mark",
    "Maybe",
    "NumVfs",
    "Offline",
    "OnFile",
    "Online",
    "Parallel",
    "Pause",
    "ReadFile",
    "Register",
    "Remove",
    "Sequence",
    "Settle",
    "Shell",
    "SriovNumvfs",
    "StartBusy",
    "Step",
    "StepRun",
    "SysfsFile",
    "TaskKind",
    "Unbind",
    "Unregister",
    "WriteAuthorized",
    "WriteAutoprobe",
    "WriteFile",
    "WriteUnboundCpumask",
    "all_steps",
]
