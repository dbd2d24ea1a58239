"""What a bus brings to a scenario: its kind, its devices, what their probes may do, their files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from scenario_text import refusal, run, scenario

from numaprobe import buses
from numaprobe.buses import PciBus, PlatformBus, make_bus
from numaprobe.drivercore import Bus, Device

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from numaprobe.drivercore import CoreForBuses

STICKS: list[dict[str, Any]] = [
    {"name": "1-1", "bus": "usb"},
    {"name": "1-1:1.{i}", "bus": "usb", "count": 2, "parent": "1-1", "compatible": "uas"},
]
UAS = {"name": "uas", "bus": "usb", "probe_type": "async", "phases": [{"sleep": "10ms"}]}


def overlap(probes: Any) -> bool:
    first, second = sorted(probes, key=lambda probe: probe.start_ns)
    return bool(second.start_ns < first.end_ns)


@pytest.mark.parametrize("bus", ["usb", "hid"])
def test_on_usb_the_interfaces_of_one_device_are_probed_in_turn(bus: str) -> None:
    devices = [device | {"bus": bus} for device in STICKS]
    steps = [{"add": "*"}, {"load": "uas"}]
    probes = run(drivers=[UAS | {"bus": bus}], devices=devices, steps=steps).trace.probes
    assert [probe.asynchronous for probe in probes] == [True, True]
    assert overlap(probes) is (bus == "hid")


def test_a_bus_of_another_name_may_be_usb() -> None:
    devices = [device | {"bus": "thunder"} for device in STICKS]
    probes = run(
        buses=[{"name": "thunder", "kind": "usb"}], drivers=[UAS | {"bus": "thunder"}], devices=devices
    ).trace.probes
    assert overlap(probes) is False


def test_what_is_not_authorized_is_probed_when_it_is() -> None:
    steps = [
        {"add": "*"},
        {"load": "uas"},
        {"wait": "50ms"},
        {"authorized": {"device": "1-1", "on": True}},
        {"settle": True},
        {"authorized": {"device": "1-1:*", "on": False}},
        {"drivers_probe": "1-1:1.1"},
        {"authorized": {"device": "1-1:1.0", "on": True}},
        {"drivers_probe": "1-1:1.0"},
        {"expect_bound": "1-1:1.0"},
        {"authorized": {"device": "other", "on": True}},
    ]
    devices = [STICKS[0] | {"authorized": False}, STICKS[1], {"name": "other"}]
    outcome = run(drivers=[UAS], devices=devices, steps=steps)
    assert [(probe.device, probe.start_ns >= 50_000_000) for probe in outcome.trace.probes] == [
        ("1-1:1.0", True),
        ("1-1:1.1", True),
        ("1-1:1.0", True),
    ]
    assert outcome.passed
    told = [warning.message for warning in outcome.trace.warnings]
    assert "1-1:1.1: the interface is not authorized for usage" in told
    assert "writing 1 for other to authorized failed: ENOENT" in told


def test_interfaces_that_a_probe_registers_wait_for_the_authorization_too() -> None:
    hub = {"name": "usb", "bus": "usb", "match": ["device"]}
    hub["phases"] = [{"register": [{"name": "{parent}:1.0", "bus": "usb", "compatible": "uas"}]}]
    devices = [{"name": "1-1", "bus": "usb", "compatible": "device", "authorized": False}]
    steps = [{"add": "*"}, {"load": ["usb", "uas"]}, {"wait": "5ms"}]
    refused = run(drivers=[hub, UAS], devices=devices, steps=steps)
    assert [probe.device for probe in refused.trace.probes] == ["1-1"]
    steps += [{"authorized": {"device": "1-1", "on": True}}, {"settle": True}, {"expect_bound": "1-1:1.0"}]
    assert run(drivers=[hub, UAS], devices=devices, steps=steps).passed


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"devices": [{"name": "x", "bus": "pci", "authorized": False}]},
            "scenario: devices[0].authorized: bus 'pci' has none; it belongs to a device of bus 'usb'",
        ),
        (
            {"drivers": [{"name": "d", "phases": [{"register": [{"name": "x", "virtual_function": True}]}]}]},
            "scenario: register.virtual_function: bus 'platform' has none; it belongs to a device of bus 'pci'",
        ),
        (
            {"buses": [{"name": "x", "kind": "usb3"}]},
            "scenario: buses[0].kind: 'usb3' is no kind of bus; write one of platform, pci, nd, nvdimm, virtio, usb",
        ),
    ],
)
def test_what_a_bus_has_not_is_refused(changes: dict[str, Any], said: str) -> None:
    assert refusal(lambda: run(**changes)) == said


def test_a_phase_of_another_bus_fails_the_probe_by_name() -> None:
    outcome = run(drivers=[{"name": "d", "phases": [{"enable_vfs": 2}]}])
    assert [probe.result for probe in outcome.trace.probes] == ["EIO"]
    (told,) = [warning.message for warning in outcome.trace.warnings if warning.kind == "body"]
    assert "dev is on bus platform, whose devices have no vfs" in told


def test_a_new_bus_is_one_class_and_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """What its rules are asked for: how a device is made and registered, what its probe is wrapped in."""

    class Port(Device):
        """A device of this bus."""

    class CxlBus(Bus):
        seen: list[str] = []  # noqa: RUF012  one test

        def make_device(self, *, name: str, **fields: Any) -> Device:
            return Port(name=name, bus=self, **fields)

        async def child_register(self, core: CoreForBuses, dev: Device) -> None:
            self.seen.append(f"register {type(dev).__name__} {dev.name}")
            await core.device_add(dev)

        def probe(self, core: CoreForBuses, dev: Device) -> Awaitable[int]:
            self.seen.append(f"probe {dev.name}")
            return core.call_probe_body(dev)

    monkeypatch.setitem(buses.KINDS, "cxl", CxlBus)
    outcome = run(drivers=[{"name": "d", "bus": "cxl"}], devices=[{"name": "port", "bus": "cxl", "compatible": "d"}])
    assert [probe.device for probe in outcome.trace.probes] == ["port"]
    assert CxlBus.seen == ["register Port port", "probe port"]


def test_a_bus_is_what_it_is_said_to_be_or_what_its_name_says() -> None:
    assert type(make_bus("pci")) is PciBus
    assert type(make_bus("i2c")) is PlatformBus
    assert type(make_bus("i2c", "pci")) is PciBus
    assert scenario(buses=[{"name": "i2c", "kind": "pci"}]).buses[0].kind == "pci"
