"""The nvdimm-like bus: regions that register asynchronously, and 2018's claim about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core_world import MS
from numaprobe.buses import NvdimmBus

if TYPE_CHECKING:
    from core_world import World


@pytest.fixture
def nd(world: World) -> NvdimmBus:
    return world.core.bus_register(NvdimmBus())


def test_regions_are_added_near_their_node_in_parallel(world: World, nd: NvdimmBus) -> None:
    """The driver is there and synchronous: its probes run in the workers that add the devices."""

    async def main() -> None:
        await world.core.driver_register(world.driver("pmem", bus=nd, ns=20 * MS))
        for node in (0, 1):
            await nd.device_register(world.core, world.device(f"region{node}", bus=nd, node=node))
        assert list(nd.domain.pending) == [1, 2]
        await nd.synchronize(world.core)
        assert 20 * MS <= world.machine.now() < 22 * MS

    world.run(main)
    for node in (0, 1):
        record = world.record(f"region{node}")
        assert (record.cpu_node, record.asynchronous) == (node, False)
        assert (record.comm or "").startswith("kworker/u")


def test_the_domain_is_exclusive(world: World, nd: NvdimmBus) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("pmem", bus=nd, ns=20 * MS))
        await nd.device_register(world.core, world.device("region0", bus=nd))
        await world.core.asyncs.synchronize_full()
        assert world.bound() == {}
        await nd.synchronize(world.core)
        assert world.bound() == {"region0": "pmem"}

    world.run(main)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_devices_first_then_driver_is_parallel_only_with_async_probing(
    world: World, nd: NvdimmBus, asynchronous: bool
) -> None:
    """Per-device async probing (ef0ff68351be): without it two regions that came before their driver load in turn."""

    async def main() -> int:
        for node in (0, 1):
            await nd.device_register(world.core, world.device(f"region{node}", bus=nd, node=node))
        await nd.synchronize(world.core)
        start = world.machine.now()
        await world.core.load_module(world.driver("pmem", bus=nd, ns=20 * MS, asynchronous=asynchronous))
        return world.machine.now() - start

    took = world.run(main)
    assert (20 * MS <= took < 22 * MS) if asynchronous else (40 * MS <= took < 42 * MS)


def test_a_region_whose_name_is_taken_is_a_warning(world: World, nd: NvdimmBus) -> None:
    async def main() -> None:
        for _ in range(2):
            await nd.device_register(world.core, world.device("region0", bus=nd))
        await nd.synchronize(world.core)

    world.run(main)
    assert len(world.warnings("raised")) == 1
    assert "nd_async_device_register raised StateError: device region0" in world.warnings("raised")[0]
    assert list(nd.devices) == ["region0"]
