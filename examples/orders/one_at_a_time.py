"""A policy to be explored: the January series, on an ordered workqueue."""

from __future__ import annotations

from typing import ClassVar

from numaprobe.policies import OwnQueue
from numaprobe.policies.exec_on_node import ExecOnNode


class OneAtATime(ExecOnNode):
    """One work at a time: a probe that registers a child waits behind itself."""

    name = "one-at-a-time"
    queue: ClassVar = OwnQueue(name="probe", max_active=1, min_active=1)
