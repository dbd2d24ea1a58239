"""Machines for the tests, checked against their own promises after each test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from numaprobe.topology import Topology, symmetric
from numaprobe.virtual import VirtualMachine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def make() -> Iterator[Callable[..., VirtualMachine]]:
    """Make machines; each is validated when the test is over."""
    machines: list[VirtualMachine] = []

    def build(topology: Topology | None = None, profile: str = "6.19", **options: Any) -> VirtualMachine:
        machine = VirtualMachine(topology or symmetric("two nodes", nodes=2, cores=4), profile, **options)
        machines.append(machine)
        return machine

    yield build
    for machine in machines:
        machine.validate()
