"""PCI: hot-add by kernel, positive results, virtual functions."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numaprobe.buses.pci import virtfn_name
from numaprobe.errors import DeadlockError, StateError
from numaprobe.policies import make_policy
from numaprobe.runtime import PROFILES

if TYPE_CHECKING:
    from collections.abc import Callable

    from core_world import World
    from numaprobe.buses import PciDevice
    from numaprobe.drivercore import Device

NVME = "0000:01:00.0"


# ---- hot-add ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("profile", "asynchronous"), [(name, name not in {"6.1", "6.12"}) for name in PROFILES])
def test_hot_add_is_async_for_drivers_that_ask_since_6_17(
    make_world: Callable[..., World], profile: str, asynchronous: bool
) -> None:
    world = make_world(profile=profile)

    async def main() -> None:
        await world.core.driver_register(world.driver("nvme", bus=world.pci, asynchronous=True))
        await world.core.device_add(world.device(NVME, bus=world.pci))
        assert bool(world.bound()) is not asynchronous

    world.run(main)
    record = world.record(NVME)
    assert (record.asynchronous, record.path) == (
        (True, "device_attach_async") if asynchronous else (False, "device_attach")
    )


@pytest.mark.parametrize(("profile", "gated"), [("6.1", False), ("6.12", False), ("6.19", True), ("7.3", True)])
def test_autoprobe_gates_hot_add_since_6_17(make_world: Callable[..., World], profile: str, gated: bool) -> None:
    """Before, pci_bus_add_device called device_attach, which does not look at drivers_autoprobe."""
    world = make_world(profile=profile)

    async def main() -> None:
        world.pci.drivers_autoprobe = False
        await world.core.driver_register(world.driver("nvme", bus=world.pci))
        await world.core.device_add(world.device(NVME, bus=world.pci))

    world.run(main)
    assert bool(world.bound()) is not gated


# ---- results ---------------------------------------------------------------------------------------------------------
def test_a_positive_result_is_warned_of_and_taken_as_success(world: World) -> None:
    async def main() -> None:
        await world.core.driver_register(world.driver("nvme", bus=world.pci, results=(1,)))
        await world.core.device_add(world.device(NVME, bus=world.pci))

    world.run(main)
    assert world.bound() == {NVME: "nvme"}
    assert world.warnings("pci") == [f"{NVME}: probe unexpectedly returned 1; taken as success"]


@pytest.mark.parametrize("result", [-errno.EIO, -517])
def test_a_negative_result_is_the_drivers(world: World, result: int) -> None:
    dev = world.device(NVME, bus=world.pci)

    async def main() -> None:
        await world.core.driver_register(world.driver("nvme", bus=world.pci, results=(result,)))
        await world.core.device_add(dev)

    world.run(main)
    assert not dev.is_bound
    assert not dev.is_probed
    assert world.deferred() == ([NVME] if result == -517 else [])


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (OSError(errno.ENOSPC, "full"), "ENOSPC"),
        (ValueError("ours"), "EIO"),
        (MemoryError(), "ENOMEM"),
        (DeadlockError(["a waits for b"]), "EDEADLK"),
        ("yes", "EINVAL"),
        (5000, "EINVAL"),
    ],
)
def test_a_body_that_fails_in_another_way_is_no_success(world: World, answer: object, result: str) -> None:
    """Its errno is negative, as a driver's own: PCI takes a positive one for success."""

    async def body(_: Device) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def main() -> None:
        await world.core.driver_register(world.driver("nvme", bus=world.pci, body=body))
        await world.core.device_add(world.device(NVME, bus=world.pci))

    world.run(main)
    assert world.bound() == {}
    assert world.record(NVME).result == result
    assert world.warnings("pci") == []


# ---- virtual functions -----------------------------------------------------------------------------------------------
def enabling(world: World, count: int) -> Callable[[Device], Any]:
    async def body(dev: Device) -> int:
        await world.pci.sriov_enable(world.core, dev, count)  # type: ignore[arg-type]
        return 0

    return body


def add_pf(world: World, count: int, **more: Any) -> PciDevice:
    """Probe a physical function on node 1 whose driver enables ``count`` virtual ones."""
    pf: Any = world.device("0000:05:00.0", "nic", bus=world.pci, node=1, **more)

    async def main() -> None:
        await world.core.driver_register(world.driver("vf", "nic-vf", bus=world.pci))
        await world.core.driver_register(world.driver("nic", "nic", bus=world.pci, body=enabling(world, count)))
        await world.core.device_add(pf)

    world.run(main)
    return pf


def test_virtual_functions_are_probed_inside_their_physical_ones_probe(make_world: Callable[..., World]) -> None:
    world = make_world(make_policy("work-on-cpu"))
    pf = add_pf(world, 3)
    assert [vf.name for vf in pf.virtfns] == ["0000:05:00.1", "0000:05:00.2", "0000:05:00.3"]
    outer = world.record(pf.name)
    for vf in pf.virtfns:
        record = world.record(vf.name)
        assert vf.is_virtfn
        assert vf.node == 1
        assert record.nested
        # is_probed: in the worker that probes the physical function, with no second hop
        assert (record.cpu, record.comm) == (outer.cpu, outer.comm)
        assert (outer.start_ns or 0) < (record.start_ns or 0) < (record.end_ns or 0) <= (outer.end_ns or 0)
    assert not pf.is_virtfn
    assert not pf.is_probed


def test_virtual_functions_enabled_later_are_placed_as_any_device(make_world: Callable[..., World]) -> None:
    """Through sriov_numvfs: the physical function is not being probed any more."""
    world = make_world(make_policy("work-on-cpu"))
    pf: Any = world.device("0000:05:00.0", "nic", bus=world.pci, node=1)

    async def main() -> None:
        await world.core.driver_register(world.driver("vf", "nic-vf", bus=world.pci))
        await world.core.driver_register(world.driver("nic", "nic", bus=world.pci))
        await world.core.device_add(pf)
        await world.pci.sriov_enable(world.core, pf, 1)

    world.run(main)
    record = world.record("0000:05:00.1")
    assert record.cpu == 2
    assert record.comm == "kworker/2:0"
    assert not record.nested


def test_sriov_drivers_autoprobe_off_keeps_drivers_from_virtual_functions(world: World) -> None:
    pf = add_pf(world, 2, sriov_drivers_autoprobe=False)
    assert world.bound() == {pf.name: "nic"}
    assert [one.device for one in world.core.records] == [pf.name]  # the bodies were never called

    async def by_hand() -> int:
        return await world.core.bind("pci", "vf", pf.virtfns[0].name)

    assert world.run(by_hand) == -errno.ENODEV
    pf.sriov_drivers_autoprobe = True
    assert world.run(by_hand) == 0


def test_functions_are_enabled_once(world: World) -> None:
    pf = add_pf(world, 2)

    async def main() -> None:
        with pytest.raises(StateError, match=r"2 virtual functions of .* are enabled already"):
            await world.pci.sriov_enable(world.core, pf, 1)
        await world.pci.sriov_disable(world.core, pf)
        assert world.bound() == {pf.name: "nic"}
        await world.pci.sriov_enable(world.core, pf, 1)
        await world.pci.sriov_enable(world.core, pf, 0)

    world.run(main)
    assert world.bound() == {pf.name: "nic", "0000:05:00.1": "vf"}
    assert [line for line in world.log if line.startswith("remove")] == [
        "remove vf 0000:05:00.2",
        "remove vf 0000:05:00.1",
    ]


def test_virtual_functions_go_with_their_physical_one(world: World) -> None:
    pf = add_pf(world, 2)
    world.run(lambda: world.core.device_del(pf))
    assert world.pci.devices == {}
    world.run(lambda: world.pci.sriov_disable(world.core, pf))
    assert pf.virtfns == []


def test_a_failed_physical_function_that_disables_what_it_enabled(world: World) -> None:
    async def body(dev: Any) -> int:
        await world.pci.sriov_enable(world.core, dev, 2)
        await world.pci.sriov_disable(world.core, dev)
        return -errno.EIO

    async def main() -> None:
        await world.core.driver_register(world.driver("vf", "nic-vf", bus=world.pci))
        await world.core.driver_register(world.driver("nic", "nic", bus=world.pci, body=body))
        await world.core.device_add(world.device("0000:05:00.0", "nic", bus=world.pci))

    world.run(main)
    assert world.bound() == {}
    assert list(world.pci.devices) == ["0000:05:00.0"]


# ---- addresses -------------------------------------------------------------------------------------------------------
@given(st.integers(0, 0xFFFF), st.integers(0, 255), st.integers(0, 31), st.integers(0, 7), st.integers(0, 300))
def test_a_virtual_functions_routing_id_follows_its_physical_ones(
    domain: int, bus: int, slot: int, function: int, index: int
) -> None:
    """PCI address arithmetic, done the other way round: read the answer and count."""
    name = f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"
    number = bus * 256 + slot * 8 + function + 1 + index
    if number > 0xFFFF:
        with pytest.raises(StateError, match="above ff"):
            virtfn_name(name, index)
        return
    answer = virtfn_name(name, index)
    head, bus_text, rest = answer.split(":")
    slot_text, function_text = rest.split(".")
    assert int(head, 16) == domain
    assert int(bus_text, 16) * 256 + int(slot_text, 16) * 8 + int(function_text, 16) == number
    assert int(slot_text, 16) < 32
    assert int(function_text, 16) < 8
    assert len(answer) == len(name)


@pytest.mark.parametrize(
    ("pf", "index", "expected"),
    [
        ("0000:05:00.0", 0, "0000:05:00.1"),
        ("0000:05:00.0", 6, "0000:05:00.7"),
        ("0000:05:00.0", 7, "0000:05:01.0"),
        ("0000:05:00.1", 0, "0000:05:00.2"),
        ("0000:05:1f.7", 0, "0000:06:00.0"),
        ("0000:05:00.0", 255, "0000:06:00.0"),
        ("05:00.0", 0, "05:00.1"),
        ("nic", 2, "nic-vf2"),
    ],
)
def test_virtual_function_addresses(pf: str, index: int, expected: str) -> None:
    assert virtfn_name(pf, index) == expected


@given(st.text(max_size=20), st.integers(0, 300))
def test_any_name_has_virtual_ones(name: str, index: int) -> None:
    try:
        assert virtfn_name(name, index) != name
    except StateError as error:
        assert "bus number" in str(error)  # noqa: PT017  either outcome is fine, a third is not
