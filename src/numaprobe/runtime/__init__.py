"""The machine protocol: clock, tasks, locks, events, workqueues. No machine is implemented here."""

from numaprobe.runtime.profile import (
    DEFAULT_PROFILE,
    PROFILES,
    AffinityScope,
    KernelProfile,
    closest_profile,
    kernel_profile,
)
from numaprobe.runtime.protocol import Event, HkType, Lock, Machine, Task, Timer, Usage, Work, Workqueue

__all__ = [
    "DEFAULT_PROFILE",
    "PROFILES",
    "AffinityScope",
    "Event",
    "HkType",
    "KernelProfile",
    "Lock",
    "Machine",
    "Task",
    "Timer",
    "Usage",
    "Work",
    "Workqueue",
    "closest_profile",
    "kernel_profile",
]
