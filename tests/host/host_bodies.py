"""Bodies that run in other processes: they must be importable by name."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numaprobe
from numaprobe.hostmachine import syscalls


def where() -> tuple[int, set[int], int]:
    return os.getpid(), os.sched_getaffinity(0), syscalls.getcpu()


def die(number: int) -> None:
    os.kill(os.getpid(), number)


def leave(code: int) -> None:
    os._exit(code)


def hang() -> None:
    time.sleep(600)


def unpicklable() -> Any:
    return lambda: None


def fail() -> None:
    raise LookupError("as asked")


def crunch(count: int) -> int:
    return sum(i * i % 7 for i in range(count))


class ProcessDriver(numaprobe.DeviceDriver):
    """Does what the device's data says, in a process."""

    name = "process"
    compatible = ("process",)
    process = True
    deadline = "5s"

    def probe(self, dev: numaprobe.DeviceView) -> Any:
        what = dev.platform_data
        if what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "garbage":
            return lambda: None
        if what == "defer":
            raise numaprobe.Defer("not yet")
        if what == "fail":
            raise OSError(19, "no such device")
        return {"pid": os.getpid(), "node": dev.node}


@numaprobe.driver("fn", process=True)
def by_function(dev: numaprobe.DeviceView) -> dict[str, int]:
    """Decorated, and run in a process."""
    return {"pid": os.getpid(), "length": len(dev.name)}
