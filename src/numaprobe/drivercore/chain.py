"""Which devices' bodies a task is inside of.

A *chain* is the list of devices whose probe (or removal) bodies the running task is inside of, the workers that a
policy put in between included. It tells nested probes, and it names at once the deadlock of a body that waits for its
own device, which in the kernel would hang: removing it, unregistering its driver, waiting for all probes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.errors import DeadlockError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.drivercore.model import Device
    from numaprobe.runtime import Machine, Task

#: Devices whose bodies a task is inside of, outermost first.
Chain = tuple["Device", ...]


class Chains:
    """The chains of one core's tasks."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._inside: dict[Task, Chain] = {}

    def inside(self) -> Chain:
        """Return the chain of the current task."""
        return self._inside.get(self._machine.current, ()) if self._inside else ()

    def all(self) -> dict[Task, Chain]:
        """Return every task that is inside of a body, with its chain."""
        return self._inside

    def refuse_inside(self, test: Callable[[Device], bool], what: str) -> None:
        """Refuse a request that would wait for a body which it comes from.

        Raises:
            DeadlockError: ``test`` holds for a device of the chain: its body is about to wait for itself.

        """
        for dev in self.inside():
            if test(dev):
                raise DeadlockError([f"the body for {dev.name} {what}, which waits until that body is over"])

    def enter(self, task: Task, owner: Task, dev: Device) -> Chain:
        """Let ``task`` into a body for ``dev``, whose lock's ``owner`` waits for it: its chain goes on.

        Returns:
            what ``leave`` must be given.

        """
        before = self._inside.get(task, ())
        self._inside[task] = (*self._inside.get(owner, ()), dev)
        return before

    def leave(self, task: Task, before: Chain) -> None:
        """Let ``task`` out of the body that it entered last."""
        if before:
            self._inside[task] = before
        else:
            del self._inside[task]
