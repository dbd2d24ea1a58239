"""driver_async_probe=, module.async_probe, <module>.async_probe, deferred_probe_timeout=."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_world import MS
from numaprobe.drivercore import CoreOptions, Driver, ProbeType
from numaprobe.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from core_world import World

NAMES = st.text(st.sampled_from("abc_-*"), min_size=1, max_size=4)


@given(st.lists(NAMES, max_size=8), NAMES)
def test_async_is_default_xor_named(listed: list[str], driver: str) -> None:
    options = CoreOptions(driver_async_probe=",".join(listed))
    named = driver in listed
    assert options.requested_async(driver) == ((not named) if "*" in listed else named)


@pytest.mark.parametrize(
    ("text", "driver", "expected"),
    [
        ("", "nvme", False),
        ("nvme", "nvme", True),
        ("nvme", "nvm", False),
        ("nvme", "nvme_core", False),
        ("a,nvme,b", "nvme", True),
        ("*", "nvme", True),
        ("*,nvme", "nvme", False),
        ("nvme,*", "nvme", False),
        ("*,nvme", "ahci", True),
        ("!nvme", "nvme", False),
        ("!nvme", "!nvme", True),
        (" nvme", "nvme", False),
        ("a, nvme", "nvme", False),
    ],
)
def test_grammar_of_driver_async_probe(text: str, driver: str, expected: bool) -> None:
    assert CoreOptions(driver_async_probe=text).requested_async(driver) is expected


@given(st.integers(240, 270))
def test_the_list_is_cut_at_255_bytes_in_the_middle_of_a_name(length: int) -> None:
    text = "x" * (length - 5) + ",nvme"
    options = CoreOptions(driver_async_probe=text)
    assert options.async_names_cut == (length > 255)
    assert options.requested_async("nvme") == (length <= 255)
    assert options.requested_async("nvm") == (length == 256)


def test_a_cut_list_is_a_warning(make_world: Callable[..., World]) -> None:
    world = make_world(options=CoreOptions(driver_async_probe="x" * 256))
    assert len(world.warnings("driver-async-probe")) == 1
    assert make_world(options=CoreOptions(driver_async_probe="x" * 255)).warnings("driver-async-probe") == []


@pytest.mark.parametrize("requested", [True, False])
@pytest.mark.parametrize("probe_type", ProbeType)
def test_the_drivers_wish_wins_over_the_command_line(world: World, probe_type: ProbeType, requested: bool) -> None:
    drv = Driver(name="drv", bus=world.bus, probe=lambda _: pytest.fail("no probe here"), probe_type=probe_type)
    drv.async_requested = requested
    expected = {"default": requested, "prefer-asynchronous": True, "force-synchronous": False}[probe_type]
    assert world.core.allows_async(drv) is expected


@pytest.mark.parametrize(
    ("options", "argument", "expected"),
    [
        (CoreOptions(), None, False),
        (CoreOptions(), True, True),
        (CoreOptions(module_async_probe=True), None, True),
        (CoreOptions(module_async_probe=True), False, False),
        (CoreOptions(modules_async={"mod": True}), None, True),
        (CoreOptions(modules_async={"other": True}), None, False),
        (CoreOptions(module_async_probe=True, modules_async={"mod": False}), None, False),
        (CoreOptions(driver_async_probe="drv"), None, True),
        (CoreOptions(driver_async_probe="mod"), None, False),
    ],
)
def test_async_by_module_and_command_line(
    make_world: Callable[..., World], options: CoreOptions, argument: bool | None, expected: bool
) -> None:
    world = make_world(options=options)

    async def main() -> None:
        await world.core.device_add(world.device("a"))
        drv = world.driver("drv", asynchronous=None)
        await world.core.load_module(drv, name="mod", async_probe=argument)

    world.run(main)
    assert world.record("a").asynchronous is expected


def test_loading_a_module_waits_for_async_probes_unless_it_is_async_itself(world: World) -> None:
    async def main() -> None:
        await world.core.device_add(world.device("a"))
        await world.core.device_add(world.device("b", "y"))
        drv = world.driver("waits", asynchronous=True, ns=10 * MS)
        await world.core.load_module(drv)
        assert world.bound() == {"a": "waits"}
        await world.core.load_module(world.driver("leaves", "y", asynchronous=True), async_probe=True)
        assert world.bound() == {"a": "waits"}

    world.run(main)
    assert world.bound() == {"a": "waits", "b": "leaves"}


def test_a_module_registers_its_drivers_in_order(world: World) -> None:
    async def main() -> None:
        await world.core.device_add(world.device("a"))
        await world.core.load_module(world.driver("one"), world.driver("two"))

    world.run(main)
    assert world.bound() == {"a": "one"}
    assert list(world.bus.drivers) == ["one", "two"]


def test_options_from_parameters() -> None:
    parameters = [
        ("quiet", None),
        ("driver_async_probe", "first"),
        ("driver_async_probe", "nvme,*"),
        ("module.async_probe", None),
        ("nvme.async_probe", "0"),
        ("ahci.async_probe", "Y"),
        ("deferred_probe_timeout", "7"),
    ]
    options = CoreOptions.from_parameters(parameters, booted=False)
    assert options.driver_async_probe == "nvme,*"
    assert options.module_async("ahci")
    assert not options.module_async("nvme")
    assert options.module_async("any")
    assert options.timeout_ns == 7 * 10**9
    assert not options.booted


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (CoreOptions(), 10 * 10**9),
        (CoreOptions(modules=False), 0),
        (CoreOptions(deferred_probe_timeout_ns=0), 0),
        (CoreOptions(modules=False, deferred_probe_timeout_ns=5), 5),
    ],
)
def test_the_timeout_is_ten_seconds_with_modules(options: CoreOptions, expected: int) -> None:
    assert options.timeout_ns == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("module.async_probe", "maybe"),
        ("nvme.async_probe", "2"),
        ("deferred_probe_timeout", ""),
        ("deferred_probe_timeout", "-1"),
        ("deferred_probe_timeout", "ten"),
        ("deferred_probe_timeout", "9" * 50),
        ("deferred_probe_timeout", "\u0663"),
    ],
)
def test_a_bad_value_is_one_clear_line(name: str, value: str) -> None:
    with pytest.raises(InputError, match=name) as caught:
        CoreOptions.from_parameters([(name, value)])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 120


PARAMETERS = st.sampled_from(["driver_async_probe", "a.async_probe", "a\nb.async_probe", "deferred_probe_timeout"])


@given(st.lists(st.tuples(PARAMETERS, st.text())))
def test_any_text_is_read_or_refused_in_one_line(parameters: list[tuple[str, str]]) -> None:
    refusals = []
    try:
        CoreOptions.from_parameters(parameters).requested_async("nvme")
    except InputError as error:
        refusals.append(str(error))
    assert not any(len(text.splitlines()) > 1 for text in refusals)


def test_a_command_line_that_says_nothing_changes_nothing() -> None:
    assert CoreOptions.from_parameters([]) == CoreOptions()
    assert CoreOptions.from_parameters([("quiet", None), ("isolcpus", "1")]) == CoreOptions()
    assert CoreOptions.from_parameters([], booted=False) == CoreOptions(booted=False)


def test_each_parameter_has_its_place_and_the_last_counts() -> None:
    told = CoreOptions.from_parameters(
        [
            ("driver_async_probe", "a"), ("driver_async_probe", "b,c"), ("module.async_probe", None),
            ("nvme.async_probe", "0"), ("sd.async_probe", "y"), ("deferred_probe_timeout", "5"),
        ]
    )  # fmt: skip
    assert told == CoreOptions(
        driver_async_probe="b,c",
        module_async_probe=True,
        modules_async={"nvme": False, "sd": True},
        deferred_probe_timeout_ns=5 * 10**9,
    )
    assert [told.module_async(name) for name in ("nvme", "sd", "other")] == [False, True, True]
    assert [told.requested_async(name) for name in ("a", "b", "c", "")] == [False, True, True, False]
    assert CoreOptions.from_parameters([("driver_async_probe", None)]).driver_async_probe == ""
