"""The three places where the threads argue that a probe could be moved to its node.

The core asks a placement at each; a policy is a placement that has something to say at one of them:

* ``call_site`` wraps the three synchronous call sites of ``dd.c`` (the scan in ``__device_attach``, the probe in
  ``device_driver_attach`` and in ``__driver_attach``): the January 2026 series.
* ``probe_device`` wraps ``__driver_probe_device`` and knows whether the caller is an async worker: the review of that
  series, and its second version.
* ``bus_probe`` is asked by a bus that has node code of its own (PCI, ``pci_call_probe``).

Source: ``Introduce NUMA-node-aware synchronous probing`` (7 January 2026) and its review.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.drivercore.core import DriverCore
    from numaprobe.drivercore.device import Device

T = TypeVar("T")


class Placement:
    """Leaves every probe where its caller is: the base of all policies.

    What only hands an awaitable on is a plain function here, as that costs no coroutine; a policy writes ``async def``.
    """

    def setup(self, core: DriverCore) -> None:
        """Prepare for one core: make workqueues of one's own. Called once, before anything is registered."""

    def call_site(self, core: DriverCore, dev: Device, function: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        """Run a synchronous call site of ``dd.c`` for ``dev``; return what it returns."""
        del core, dev
        return function()

    def probe_device(
        self, core: DriverCore, dev: Device, function: Callable[[], Awaitable[int]], *, is_async: bool
    ) -> Awaitable[int]:
        """Run ``__driver_probe_device`` for ``dev``; ``is_async``: the caller is an async worker near the node."""
        del core, dev, is_async
        return function()

    def bus_probe(
        self, core: DriverCore, dev: Device, function: Callable[[], Awaitable[int]], *, under_parent: bool
    ) -> Awaitable[int]:
        """Run a bus's own probe; ``under_parent``: a virtual function whose physical function is being probed."""
        del core, dev, under_parent
        return function()
