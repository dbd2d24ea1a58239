"""Phases about other devices, and failure: children, virtual functions, waiting for a device, an errno."""

import errno
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from numaprobe.drivercore import EPROBE_DEFER, errno_value
from numaprobe.scenario.phases.base import Phase, Probe
from numaprobe.scenario.phases.groups import DeviceGroup
from numaprobe.scenario.quantities import ErrnoName, NamePattern, TimeNs
from numaprobe.scenario.tables import Table, one_thing, refused


class RegisterChildren(Phase):
    """Add these devices, children of the one being probed."""

    registers: ClassVar[bool] = True

    children: Annotated[tuple[DeviceGroup, ...], Field(strict=False, min_length=1, alias="register")]

    async def do(self, probe: Probe) -> int:
        """Register them; those that are probed synchronously are probed here."""
        await probe.around.register_children(probe.device, self.children)
        return 0


class EnableVfs(Phase):
    """PCI: enable this many virtual functions (``sriov_enable``).

    What they match is the device's ``compatible``, ``-vf`` appended.
    """

    registers: ClassVar[bool] = True

    enable_vfs: Annotated[int, Field(ge=1, le=65_536)]

    async def do(self, probe: Probe) -> int:
        """Enable them; they are probed here."""
        await probe.around.enable_vfs(probe.device, self.enable_vfs)
        return 0

    def vfs(self) -> int:
        """Return how many virtual functions it enables."""
        return self.enable_vfs


class Wait(Table):
    """``wait``: until another device is bound. A device times out with ETIMEDOUT, a supplier with EPROBE_DEFER.

    An optional supplier does with ETIMEDOUT when nothing is deferred any more.
    """

    device: NamePattern | None = None
    supplier: NamePattern | None = None
    timeout: TimeNs | None = None
    #: of a supplier: done without, once ``deferred_probe_timeout`` is over (``driver_deferred_probe_check_state``)
    optional: bool = False

    @model_validator(mode="after")
    def _one(self) -> Self:
        keys = ["device", "supplier"]
        said = [key for key in keys if getattr(self, key) is not None]
        if len(said) != 1:
            raise one_thing(said, keys, "wait")
        if self.optional and self.supplier is None:
            raise refused("'optional' belongs to a wait for a supplier")
        return self


class WaitForDevice(Phase):
    """Wait until another device is bound."""

    wait: Wait

    async def do(self, probe: Probe) -> int:
        """Wait."""
        there = probe.around.bound(self.wait.device or self.wait.supplier or "")
        if await there.wait(self.wait.timeout):
            return 0
        given_up = self.wait.optional and probe.around.deferred_timed_out
        return -errno.ETIMEDOUT if self.wait.device or given_up else -EPROBE_DEFER

    def awaited(self) -> str | None:
        """Return the device for which it may wait for ever."""
        return None if self.wait.timeout is not None else self.wait.device or self.wait.supplier


class Fail(Phase):
    """Return this errno."""

    fail: ErrnoName
    #: only the first this many times that a device is probed
    attempts: Annotated[int, Field(ge=1, le=1000)] | None = None

    async def do(self, probe: Probe) -> int:
        """Return it."""
        return -errno_value(self.fail) if self.attempts is None or probe.attempt <= self.attempts else 0
