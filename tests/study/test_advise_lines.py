"""What is to be written makes the setting that was run, and can be undone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from advise_samples import scenario

from numaprobe.scenario import run_setting
from numaprobe.study import make_setting, make_variations, parse_axes, vary
from numaprobe.study.advise import Choice, Kind, with_choices
from numaprobe.study.advise.choices import varied_as
from numaprobe.study.advise.lines import lines_of

if TYPE_CHECKING:
    from numaprobe.scenario import Setting


def choice(kind: Kind, driver: str = "", value: str = "", **more: bool) -> Choice:
    return Choice(f"{driver} {kind}", kind, driver, value, **more)


def as_written(setting: Setting, *choices: Choice) -> Setting:
    """Return the setting with the lines taken at their word."""
    for line in lines_of(setting, choices):
        if line.where == "kernel command line":
            words = [word.partition("=") for word in line.text.split()]
            setting = vary(setting, parameters={name: value for name, _, value in words})
        elif found := re.fullmatch(r"options (\S+) async_probe=1", line.text):
            setting = vary(setting, parameters={f"{found[1]}.async_probe": "1"})
        else:
            cpus, module = re.fullmatch(r"taskset -c (\d+)\S* modprobe (\S+)", line.text).groups()  # type: ignore[union-attr]
            setting = vary(setting, load_from={module: cpus})
    return setting


@pytest.mark.parametrize(
    "choices",
    [
        (choice(Kind.ASYNC, "accelerator"), choice(Kind.ASYNC, "nd_pmem")),
        (choice(Kind.MODULE_ASYNC, "nvme"),),
        (choice(Kind.LOAD_FROM, "virtio_blk", "1"), choice(Kind.ASYNC, "nvme")),
        (choice(Kind.SCOPE, "", "numa"),),
        (choice(Kind.ISOLATION, "", "14-15"), choice(Kind.LOAD_FROM, "accelerator", "1")),
    ],
)
def test_the_lines_are_the_setting_that_was_run(choices: tuple[Choice, ...]) -> None:
    base = make_setting("mixed-bus", cmdline="isolcpus=8-9 driver_async_probe=nd_pmem")
    ran = run_setting(with_choices(base, choices)).trace
    assert run_setting(as_written(base, *choices)).trace.probes == ran.probes


@pytest.mark.parametrize(
    "choices",
    [
        (choice(Kind.ASYNC, "accelerator"), choice(Kind.ASYNC, "nd_pmem"), choice(Kind.MODULE_ASYNC, "nvme")),
        (choice(Kind.LOAD_FROM, "virtio_blk", "1"), choice(Kind.SCOPE, "", "system")),
        (choice(Kind.ISOLATION, "", "12,14-15", with_nohz=True),),
    ],
)
def test_vary_makes_the_same_setting(choices: tuple[Choice, ...]) -> None:
    base = make_setting("mixed-bus", cmdline="isolcpus=8-10 nohz_full=8-10")
    (varied,) = make_variations(base, parse_axes(varied_as(base, choices)))
    assert run_setting(varied.setting).trace == run_setting(with_choices(base, choices)).trace


def test_binding_by_hand_is_from_each_devices_node_and_no_variation() -> None:
    base = make_setting("mixed-bus")
    together, alone = choice(Kind.BIND, "virtio_blk", "together"), choice(Kind.BIND, "virtio_blk")
    for one, overlap in ((together, True), (alone, False)):
        probes = {probe.device: probe for probe in run_setting(with_choices(base, (one,))).trace.probes}
        first, second = probes["virtio0"], probes["virtio1"]
        assert {first.cpu_node, second.cpu_node} == {1}
        assert first.path == "device_driver_attach"
        assert ((second.start_ns or 0) < (first.end_ns or 0)) is overlap
        assert probes["accelerator.0"].path == "driver_attach_sync"
        assert varied_as(base, (one,)) == []
    (line,) = lines_of(base, (together,))
    assert line.text == (
        "numaprobe rebind driver=virtio_blk --save-plan virtio_blk.json && numaprobe install virtio_blk.json"
    )


def test_drivers_are_named_in_one_list_with_those_that_it_has() -> None:
    base = make_setting("mixed-bus", cmdline="driver_async_probe=nd_pmem")
    (line,) = lines_of(base, (choice(Kind.ASYNC, "nvme"), choice(Kind.ASYNC, "accelerator")))
    assert line.text == "driver_async_probe=nd_pmem,nvme,accelerator"
    assert line.undo == "boot with driver_async_probe=nd_pmem again"
    (line,) = lines_of(base, (choice(Kind.SYNC, "nd_pmem"),))
    assert line.text == "(without driver_async_probe=)"


def test_where_every_driver_is_asynchronous_naming_one_makes_it_synchronous() -> None:
    base = make_setting("mixed-bus", cmdline="driver_async_probe=*")
    assert with_choices(base, (choice(Kind.SYNC, "nvme"),)).cmdline == "driver_async_probe=*,nvme"


def test_a_list_that_the_kernel_would_cut_says_so() -> None:
    names = [f"driver_with_a_long_name_{i:03}" for i in range(10)]
    setting = scenario([{"name": name} for name in names], [{"name": "d", "compatible": names[0]}])
    (line,) = lines_of(setting, tuple(choice(Kind.ASYNC, name) for name in names))
    assert any("the kernel keeps 255 characters" in risk for risk in line.risks)


def test_a_module_goes_by_its_name_where_that_is_known() -> None:
    setting = scenario([{"name": "rk_gmac-dwmac"}], [{"name": "d", "compatible": "rk_gmac-dwmac"}])
    chosen = (choice(Kind.MODULE_ASYNC, "rk_gmac-dwmac"),)
    (guessed,) = lines_of(setting, chosen)
    assert guessed.text == "options rk_gmac_dwmac async_probe=1"
    assert guessed.assumes == ("the module is called rk_gmac_dwmac, as its driver is",)
    (known,) = lines_of(setting, chosen, {"rk_gmac-dwmac": "dwmac_rk"})
    assert (known.text, known.assumes) == ("options dwmac_rk async_probe=1", ())


def test_isolation_moves_nohz_full_along_and_names_what_is_undone() -> None:
    base = make_setting("isolated", cmdline="isolcpus=16-23 nohz_full=16-23")
    (line,) = lines_of(base, (choice(Kind.ISOLATION, "", "24-31", with_nohz=True),))
    assert line.text == "isolcpus=24-31 nohz_full=24-31"
    assert line.undo == "boot with isolcpus=16-23 again"


def test_every_line_can_be_tried_and_undone() -> None:
    base = make_setting("mixed-bus")
    values = {Kind.LOAD_FROM: "1", Kind.SCOPE: "numa", Kind.ISOLATION: "14-15"}
    for kind in Kind:
        driver = "" if kind in (Kind.SCOPE, Kind.ISOLATION) else "nvme"
        for line in lines_of(base, (choice(kind, driver, values.get(kind, "")),)):
            assert line.try_once
            assert line.undo
            assert line.risks
