from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenario_text import MACHINE, refusal, scenario

from counting import lines_run
from numaprobe.errors import InputError, UsageError
from numaprobe.scenario import make_plan, prepare
from numaprobe.scenario.choice import choose
from numaprobe.topology import load_topology

TOPOLOGY = load_topology(MACHINE)


def nodes(**group: Any) -> list[int]:
    return [spec.node for spec in make_plan(scenario(devices=[{"name": "x{i}", **group}]), TOPOLOGY).devices]


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ({"count": 2}, [-1, -1]),
        ({"count": 2, "node": "none"}, [-1, -1]),
        ({"count": 2, "node": -1}, [-1, -1]),
        ({"count": 3, "node": 1}, [1, 1, 1]),
        ({"count": 5, "node": "spread"}, [0, 1, 0, 1, 0]),
        ({"count": 3, "node": [1, 0]}, [1, 0, 1]),
        ({"count": "cpus", "node": "cpu"}, [0, 0, 1, 1]),
    ],
)
def test_devices_are_put_on_nodes(group: dict[str, Any], expected: list[int]) -> None:
    assert nodes(**group) == expected


def test_a_group_is_counted_from_its_first_number() -> None:
    group = {"name": "0000:{i:02x}:00.0", "count": 2, "first": 0x1F, "suppliers": ["clk{i}"], "compatible": "c{i%2}"}
    specs = make_plan(scenario(devices=[group]), TOPOLOGY).devices
    assert [spec.name for spec in specs] == ["0000:1f:00.0", "0000:20:00.0"]
    assert [spec.suppliers for spec in specs] == [("clk31",), ("clk32",)]
    assert [spec.compatible for spec in specs] == ["c1", "c0"]


def device(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, **more}


PARENT = {"name": "d", "phases": [{"register": [{"name": "{parent}-{i}", "count": 300, "compatible": "e"}]}]}
CHILD = {
    "name": "e",
    "phases": [{"hold": {"lock": "l", "phases": [{"register": [device("{parent}.x", compatible="d")]}]}}],
}

BAD: list[tuple[dict[str, Any], str]] = [
    (
        {"devices": [device("x", node=7)]},
        "devices[0].node: node 7 does not exist on machine '2 nodes x 1 llc x 2 cores'; it has 0, 1",
    ),
    ({"devices": [device("x"), device("x")]}, "device 'x' is there twice on bus platform"),
    ({"devices": [device("x", count=3)]}, "device 'x' is there twice"),
    ({"devices": [device("x", parent="hub")]}, "its parent 'hub' is not a device above it"),
    ({"devices": [device("hub1"), device("x", parent="hub")]}, "did you mean 'hub1'?"),
    ({"drivers": [{"name": "d"}, {"name": "d"}]}, "drivers[1].name: driver 'd' is there twice on bus platform"),
    (
        {"devices": [device("a", suppliers=["b"]), device("b", suppliers=["c"]), device("c", suppliers=["a"])]},
        "suppliers form a circle, none of them can ever be probed: a -> b -> c -> a",
    ),
    ({"devices": [device("a", suppliers=["a"])]}, "a -> a"),
    ({"devices": [device("x{i}", count=150_000), device("y{i}", count=150_000)]}, "has 300000 devices; at most 200000"),
    (
        {"drivers": [PARENT], "devices": [device("x{i}", count=1000, compatible="d")]},
        "has 301000 devices; at most 200000 are simulated",
    ),
    (
        {"drivers": [PARENT, CHILD], "devices": [device("x", compatible="d")]},
        "'d' registers devices whose probe leads to itself",
    ),
    (
        {
            "drivers": [{"name": "d", "bus": "pci", "phases": [{"enable_vfs": 60_000}]}],
            "devices": [device("x{i}", count=4, bus="pci", compatible="d")],
        },
        "has 240004 devices",
    ),
    ({"caller": {"cpu": 9}}, "caller.cpu: CPU 9 does not exist on machine '2 nodes x 1 llc x 2 cores'; it has 0-3"),
    ({"steps": [{"offline": "2-8"}]}, "steps[0].offline: CPU 8 does not exist"),
    (
        {"steps": [{"parallel": [{"add": "*"}, {"add": "*", "cpu": 4}]}]},
        "steps[0].parallel[1].cpu: CPU 4 does not exist",
    ),
    ({"steps": [{"busy": {"cpus": "0-64"}}]}, "steps[0].busy.cpus: CPU 64 does not exist"),
]


@pytest.mark.parametrize(("changes", "reason"), BAD, ids=[str(i) for i in range(len(BAD))])
def test_what_the_machine_cannot_have_is_told(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError) as caught:
        make_plan(scenario(**changes), TOPOLOGY)
    assert reason in str(caught.value)
    assert str(caught.value).startswith("scenario: ")
    assert "\n" not in str(caught.value)


def test_a_long_circle_of_suppliers_is_told_short_and_soon() -> None:
    def refuse(count: int) -> None:
        ring = scenario(devices=[device(f"d{i}", suppliers=[f"d{(i + 1) % count}"]) for i in range(count)])
        with pytest.raises(InputError, match=r"d0 -> d1 -> .*… -> d0$"):
            make_plan(ring, TOPOLOGY)

    assert lines_run(lambda: refuse(2000)) < 11 * lines_run(lambda: refuse(200))
    refuse(20_000)


def test_many_drivers_that_register_each_others_devices_are_counted_soon() -> None:
    def child(level: int) -> dict[str, Any]:
        return {"register": [device(f"{{parent}}-{side}", compatible=f"d{level}") for side in "ab"]}

    drivers = [{"name": f"d{level}", "phases": [child(level + 1)]} for level in range(60)]
    with pytest.raises(InputError, match=r"at most 200000 are simulated"):
        make_plan(scenario(drivers=drivers, devices=[device("x", compatible="d0")]), TOPOLOGY)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 7), max_size=3), min_size=8, max_size=8))
def test_a_circle_is_found_exactly_when_there_is_one(needs: list[list[int]]) -> None:
    # The simple model: take away what needs nothing that is left; a circle is what remains.
    left = {index: set(wanted) for index, wanted in enumerate(needs)}
    while free := [index for index, wanted in left.items() if not wanted & left.keys()]:
        for index in free:
            del left[index]
    devices = [
        device(f"d{i}", **({"suppliers": [f"d{j}" for j in wanted]} if wanted else {}))
        for i, wanted in enumerate(needs)
    ]
    told = refusal(lambda: make_plan(scenario(devices=devices), TOPOLOGY))
    assert ("circle" in (told or "")) == bool(left)


def test_names_are_chosen_by_pattern_in_order_and_once() -> None:
    names = dict.fromkeys(["eth0", "eth1", "sda"])
    assert choose(["eth1", "*"], names) == ["eth1", "eth0", "sda"]
    with pytest.raises(InputError, match="'eth2' is no device here; did you mean 'eth"):
        choose(["eth2"], names)
    with pytest.raises(InputError, match=r"'usb\*' is no device here"):
        choose(["usb*"], names)


def test_the_machine_and_the_kernel_are_checked_before_anything_runs() -> None:
    with pytest.raises(InputError, match=r"scenario: machine: machine 'nope' is no preset"):
        prepare(scenario(machine="nope"))
    with pytest.raises(InputError, match=r"^machine 'nope' is no preset"):
        prepare(scenario(), machine="nope")
    with pytest.raises(UsageError, match=r"kernel 'six' is no release: write 6.12"):
        prepare(scenario(), kernel="six")
    assert [w.kind for w in prepare(scenario(), kernel="5.14.0-503.el9").warnings] == ["kernel-profile"]
    with pytest.raises(InputError, match=r"workqueue.default_affinity_scope=galaxy: use one of cpu, smt"):
        prepare(scenario(cmdline="workqueue.default_affinity_scope=galaxy"))
    for size in ("0", "x", "9" * 50):
        with pytest.raises(InputError, match=r"workqueue.cache_shard_size=.* write a number"):
            prepare(scenario(cmdline=f"workqueue.cache_shard_size={size}"))


def test_the_command_line_changes_machine_profile_and_core() -> None:
    setting = prepare(
        scenario(cmdline="isolcpus=0"),
        cmdline="isolcpus=2 driver_async_probe=d workqueue.default_affinity_scope=numa workqueue.cache_shard_size=3",
    )
    assert list(setting.plan.topology.housekeeping.isolated) == [2]
    assert setting.options.driver_async_probe == "d"
    assert setting.profile.default_scope == "numa"
    assert setting.profile.cache_shard_size == 3


def test_what_the_kernel_would_ignore_is_a_warning() -> None:
    setting = prepare(scenario(cmdline="isolcpus=99"))
    assert [warning.kind for warning in setting.warnings] == ["cmdline"]
