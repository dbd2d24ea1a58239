"""Fixtures over every machine: the driver core, the buses and the policies are tested on each that can carry the test.

``machine_kind`` names the machine of a test; ``make_machine`` and ``make_world`` build on it. After each test every
world is validated. A machine that needs closing is closed.
"""

from __future__ import annotations

import faulthandler
import os
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from core_world import World
from host_exceptions import host_kinds, make_host
from numaprobe.runtime import DEFAULT_PROFILE, kernel_profile
from numaprobe.testing import FakeMachine
from numaprobe.topology import symmetric
from numaprobe.virtual import VirtualMachine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numaprobe.drivercore import CoreOptions, Placing
    from numaprobe.runtime import Machine
    from numaprobe.topology import Topology

# pytest-xdist tells its workers the width of its own terminal; what our commands print must not depend on it.
os.environ.pop("COLUMNS", None)

#: kind -> how to make one of a topology and a kernel profile
MACHINES: dict[str, Callable[..., Any]] = {"fake": FakeMachine, "virtual": VirtualMachine, "host": make_host}
#: machines in virtual time: every test runs on these
EXACT = ("fake", "virtual")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "machine_kind" in metafunc.fixturenames:
        only = metafunc.definition.get_closest_marker("machines")
        exact_and_real = EXACT + host_kinds(metafunc.definition.path.parent.name, metafunc.function.__name__)
        metafunc.parametrize("machine_kind", only.args if only else exact_and_real)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "machines(*kinds): run on these machines; without it, on those in virtual time")


#: A test with real threads takes a few seconds at most. One that takes this long hangs.
HANG_S = 50


@pytest.fixture(autouse=True)
def no_hang(request: pytest.FixtureRequest) -> Iterator[None]:
    """End the program with the stacks of all threads if a test of the host machine hangs: better than a stuck run.

    Set up before the machine, and so still there when the machine is closed.
    """
    kind = getattr(getattr(request.node, "callspec", None), "params", {}).get("machine_kind")
    if kind != "host" and request.path.parent.name != "host":
        yield
        return
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        stderr = os.dup(2)  # the terminal's or the log's, not what pytest captures and would take with it
    with os.fdopen(stderr, "w") as stacks:
        faulthandler.dump_traceback_later(HANG_S, exit=True, file=stacks)
        yield
        faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def make_machine(machine_kind: str) -> Iterator[Callable[..., Machine]]:
    """Makes machines: by default two nodes of two CPUs each (0-1, 2-3), the kernel of the measured tables."""
    with ExitStack() as stack:

        def make(topology: Topology | None = None, profile: str = DEFAULT_PROFILE) -> Machine:
            topology = topology or symmetric("two nodes", nodes=2, cores=2)
            machine = MACHINES[machine_kind](topology, kernel_profile(profile))
            if isinstance(machine, AbstractContextManager):
                stack.enter_context(machine)
            return machine

        yield make


@pytest.fixture
def machine(make_machine: Callable[..., Machine]) -> Machine:
    return make_machine()


@pytest.fixture
def make_world(make_machine: Callable[..., Machine]) -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def make(
        policy: Placing | None = None,
        options: CoreOptions | None = None,
        *,
        topology: Topology | None = None,
        profile: str = DEFAULT_PROFILE,
    ) -> World:
        worlds.append(World(make_machine(topology, profile), policy, options))
        return worlds[-1]

    yield make
    for world in worlds:
        world.validate()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()
