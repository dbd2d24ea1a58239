"""The three places where the threads argue that a probe could be moved to its node.

The core asks its placement at each. A policy is a value (a name and options); ``policy.place(core)`` gives the
placement that holds what one run needs: its queue, whose turn it is. The three places:

* ``call_site`` wraps the three synchronous call sites of ``dd.c`` (the scan in ``__device_attach``, the probe in
  ``device_driver_attach`` and in ``__driver_attach``): the January 2026 series.
* ``probe_device`` wraps ``__driver_probe_device`` and knows whether the caller is an async worker: the review of that
  series, and its second version.
* ``bus_probe`` is asked by a bus that has node code of its own (PCI, ``pci_call_probe``).

Source: ``Introduce NUMA-node-aware synchronous probing`` (7 January 2026) and its review.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.drivercore.model import Device
    from numaprobe.runtime import Machine

T = TypeVar("T")


class HasMachine(Protocol):
    """What a placement sees of its core: the machine that runs it."""

    @property
    def machine(self) -> Machine:
        """What runs the core."""
        ...


class Placing(Protocol):
    """What a policy is to the core."""

    def place(self, core: HasMachine) -> Placement:
        """Return the placement of one core, which is asked at each of the three places."""


class Placement:
    """Leaves every probe where its caller is: the base of all placements.

    What only hands an awaitable on is a plain function here, as that costs no coroutine.
    """

    def __init__(self, core: HasMachine) -> None:
        self.core = core
        self.machine = core.machine

    def call_site(self, dev: Device, function: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        """Run a synchronous call site of ``dd.c`` for ``dev``; return what it returns."""
        del dev
        return function()

    def probe_device(self, dev: Device, function: Callable[[], Awaitable[int]], *, is_async: bool) -> Awaitable[int]:
        """Run ``__driver_probe_device`` for ``dev``; ``is_async``: the caller is an async worker near the node."""
        del dev, is_async
        return function()

    def bus_probe(self, dev: Device, function: Callable[[], Awaitable[int]], *, under_parent: bool) -> Awaitable[int]:
        """Run a bus's own probe; ``under_parent``: a virtual function whose physical function is being probed."""
        del dev, under_parent
        return function()
