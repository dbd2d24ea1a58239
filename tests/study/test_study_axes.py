"""A table of variations: every value with every other, each row what it would be alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.errors import InputError, NumaprobeError, UnknownNameError, UsageError
from numaprobe.records import dump_trace
from numaprobe.scenario import loadings
from numaprobe.study import (
    RECORDED,
    Axis,
    compare_variations,
    make_setting,
    make_variations,
    parse_axes,
    read_trace,
    run,
    vary,
)
from numaprobe.study.axes import split_values
from numaprobe.topology import CommandLine, Housekeeping, housekeeping_from_cmdline, isolation_parameters, load_topology

DATA = Path(__file__).parents[1] / "data" / "kernel" / "debian-7.2"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("nvme", ["nvme"]),
        (",nvme", ["", "nvme"]),
        ("nvme,", ["nvme", ""]),
        ("", [""]),
        ('"nvme,ahci",ahci', ["nvme,ahci", "ahci"]),
        ("[0,1],0", ["[0,1]", "0"]),
        ('{ compute = "1ms", x = 2 },1', ['{ compute = "1ms", x = 2 }', "1"]),
        (" a , b ", ["a", "b"]),
        ('"', ['"']),
        ('a="b,c"', ['a="b,c"']),
    ],
)
def test_commas_part_values_but_not_inside_of_quotes_and_brackets(text: str, values: list[str]) -> None:
    assert split_values(text) == values


@given(st.lists(st.text(alphabet="ab,[]{}=", max_size=5), min_size=1, max_size=5))
def test_what_is_quoted_comes_back_whole(values: list[str]) -> None:
    assert split_values(",".join(f'"{value}"' for value in values)) == values


def test_axes_keep_the_order_of_their_keys_and_a_key_may_come_again() -> None:
    axes = parse_axes(["kernel=6.12,7.3", 'isolcpus="0-3,8"', "kernel=6.12,6.1", "isolcpus=4-7"])
    assert axes == [Axis("kernel", ("6.12", "7.3", "6.1")), Axis("isolcpus", ("0-3,8", "4-7"))]


@pytest.mark.parametrize("text", ["", "kernel", "=1", "foo=1", "isolcpu=3"])
def test_what_varies_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"varies nothing|can vary"):
        parse_axes([text])


@pytest.mark.parametrize("text", ["kernel=,7.3", "policy=", "devices=0", "devices=x", "load_from=", "load_from=node9"])
def test_a_value_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        make_variations(make_setting("nvme-epyc"), parse_axes([text]))


def test_too_many_are_refused_before_the_first_is_made() -> None:
    axes = parse_axes(
        [f"devices={','.join(map(str, range(1, 102)))}", "kernel=6.1,6.2,6.3,6.4,6.5,6.6,6.7,6.8,6.9,6.10"]
    )
    with pytest.raises(UsageError, match="1010 variations"):
        make_variations(make_setting("nvme-epyc"), axes)


def test_rows_are_every_combination_and_named_by_what_varies() -> None:
    axes = parse_axes(["kernel=7.3", "driver_async_probe=,nvme", "policy=inline,spread"])
    rows = make_variations(make_setting("mixed-bus"), axes)
    assert [row.name for row in rows] == [
        "no driver_async_probe, inline",
        "no driver_async_probe, spread",
        "driver_async_probe=nvme, inline",
        "driver_async_probe=nvme, spread",
    ]
    assert rows[2].values == {"kernel": "7.3", "driver_async_probe": "nvme", "policy": "inline"}
    assert {row.setting.kernel.name for row in rows} == {"7.3"}
    assert rows[0].setting.plan is rows[1].setting.plan


ARGUMENTS = [
    ("driver_async_probe=nvme", {"parameters": {"driver_async_probe": "nvme"}}),
    ("workqueue.default_affinity_scope=numa", {"parameters": {"workqueue.default_affinity_scope": "numa"}}),
    ("virtio_blk.async_probe=1", {"parameters": {"virtio_blk.async_probe": "1"}}),
    ("cmdline=isolcpus=8-9 quiet", {"cmdline": "isolcpus=8-9 quiet"}),
    ("load_from=node1", {"load_from": "node1"}),
    ("accelerator.load_from=cpu9", {"load_from": {"accelerator": 9}}),
    ("devices=2", {"devices": 2, "changes": {}}),
    ("drivers.nvme.probe_type=async", {"changes": {"drivers[0].probe_type": "async"}}),
    ("kernel=7.3", {"kernel": "7.3"}),
    ("machine=2 nodes x 1 llc x 12 cores", {"machine": "2 nodes x 1 llc x 12 cores"}),
]


@pytest.mark.parametrize(("text", "arguments"), ARGUMENTS)
def test_a_row_is_what_vary_makes(text: str, arguments: dict[str, object]) -> None:
    base = make_setting("mixed-bus", overrides=["devices[0].name=0000:8{i}:00.0"])
    more = dict(arguments)
    changes = more.pop("changes", None)
    (row,) = make_variations(base, parse_axes([text]))
    assert dump_trace(run(row.setting).trace) == dump_trace(run(vary(base, changes, **more)).trace)  # type: ignore[arg-type]


def test_the_table_has_one_base_and_the_runs_own_figures() -> None:
    base = make_setting("mixed-bus")
    axes = parse_axes(["driver_async_probe=,accelerator"])
    found = compare_variations(base, axes).comparison
    assert found.axes == {"driver_async_probe": ("", "accelerator")}
    assert found.baseline == "no driver_async_probe"
    alone = [run(vary(base, parameters={"driver_async_probe": value})).trace for value in (None, "accelerator")]
    assert [entry.trace.probes for entry in found.entries] == [trace.probes for trace in alone]
    assert found.entries[0].difference.makespan_percent == 0
    other = compare_variations(base, axes, baseline="driver_async_probe=accelerator").comparison
    assert other.entries[1].difference.makespan_percent == 0
    with pytest.raises(UnknownNameError, match="baseline"):
        compare_variations(base, axes, baseline="nobody")


def test_a_trace_stands_beside_its_variations() -> None:
    trace = read_trace(DATA / "two-nodes" / "sync.1.trace.gz", machine=str(DATA / "two-nodes"))
    found = compare_variations(make_setting(trace), parse_axes(["driver_async_probe=,nvme"]), recorded=trace)
    assert [entry.label for entry in found.comparison.entries] == [
        RECORDED,
        "no driver_async_probe",
        "driver_async_probe=nvme",
    ]
    assert found.comparison.baseline == "no driver_async_probe"
    assert found.comparison.entries[0].values == {}
    assert found.failures == []


def test_failures_name_their_row() -> None:
    base = vary(make_setting("nvme-epyc"), {"steps": [{"add": "*"}, {"expect_bound": "*"}]})
    found = compare_variations(base, parse_axes(["kernel=6.12,7.3"]))
    assert [failure.split(":")[0] for failure in found.failures] == ["kernel 6.12", "kernel 7.3"]


# ---- one parameter beside the others --------------------------------------------------------------------------------
def test_a_parameter_leaves_the_others() -> None:
    base = make_setting("isolated")  # isolcpus=16-23
    varied = vary(base, parameters={"workqueue.default_affinity_scope": "numa"})
    assert varied.cmdline == "isolcpus=16-23 workqueue.default_affinity_scope=numa"
    assert vary(varied, parameters={"isolcpus": "24-31"}).cmdline == (
        "isolcpus=24-31 workqueue.default_affinity_scope=numa"
    )
    assert vary(varied, parameters={"isolcpus": None, "workqueue.default-affinity-scope": None}).cmdline == ""


def test_isolation_that_the_machine_says_is_replaced_parameter_by_parameter() -> None:
    folder = DATA / "two-nodes-isolated"
    base = make_setting(folder / "sync.1.trace.gz", machine=str(folder))
    before = base.plan.topology.housekeeping
    assert before.isolated
    assert base.cmdline == ""
    moved = vary(base, parameters={"isolcpus": "6-7"}).plan.topology.housekeeping
    assert str(moved.isolated) == "6-7"
    assert (moved.nohz_full, moved.unbound_cpus) == (before.nohz_full, before.unbound_cpus)
    assert not vary(base, parameters={"isolcpus": None}).plan.topology.housekeeping.isolated
    same = vary(base, parameters={"driver_async_probe": "nvme"})
    assert same.plan.topology.housekeeping == before


@given(st.data())
@settings(deadline=None)
def test_isolation_is_said_and_read_back(data: st.DataObject) -> None:
    machine = load_topology("2 nodes x 1 llc x 4 cores")
    cpus = st.sets(st.integers(1, 7), max_size=3).map(machine.possible.of)
    isolated, managed, nohz = (data.draw(cpus) for _ in range(3))
    kept = Housekeeping(isolated=isolated, managed_irq=managed, nohz_full=nohz, unbound_cpus=data.draw(cpus) or None)
    line = CommandLine(tuple(isolation_parameters(kept)))
    assert housekeeping_from_cmdline(CommandLine.parse(str(line)), machine) == kept


@given(
    st.lists(st.sampled_from(["a=1", "b-c=2", "b_c=3", "quiet", 'x="y z"']), max_size=5), st.text("ab1 ", max_size=3)
)
def test_a_parameter_is_there_once_and_nothing_else_changes(words: list[str], value: str) -> None:
    line = CommandLine.parse(" ".join(words))
    changed = line.with_value("b_c", value)
    assert changed.all("b_c") == [value]
    others = [pair for pair in line.parameters if pair[0].replace("-", "_") != "b_c"]
    assert [pair for pair in changed.parameters if pair[0] != "b_c"] == others
    assert line.with_value("b_c", None).parameters == tuple(others)


# ---- from where modules are loaded ---------------------------------------------------------------------------------
def test_a_module_is_loaded_from_where_it_is_said() -> None:
    base = make_setting("mixed-bus")
    varied = vary(base, load_from={"virtio_blk": "node1"})
    cpus = {probe.device: probe.cpu for probe in run(varied).trace.probes}
    assert cpus["virtio0"] == cpus["virtio1"] == 8
    assert cpus["accelerator.0"] == cpus["pmem1"] == 0
    assert [(one.drivers[0], one.cpu) for one in loadings(varied.scenario)] == [
        ("nvme", 0),
        ("virtio_blk", 8),
        ("accelerator", 0),
        ("nd_pmem", 0),
    ]
    assert {one.cpu for one in loadings(vary(base, load_from="node1").scenario)} == {8}


def test_a_node_stands_for_its_first_cpu_that_is_not_isolated() -> None:
    base = make_setting("mixed-bus", cmdline="isolcpus=8-9")
    assert loadings(vary(base, load_from="node1").scenario)[0].cpu == 10
    assert loadings(vary(base, parameters={"isolcpus": "8-10"}, load_from="node1").scenario)[0].cpu == 11


def test_loads_inside_of_other_steps_are_found() -> None:
    steps = [
        {"add": "*"},
        {"parallel": [{"load": "nvme"}, {"sequence": [{"wait": "1ms"}, {"load": "nd_pmem"}], "cpu": 3}]},
    ]
    base = vary(make_setting("mixed-bus"), {"steps": steps})
    assert [(one.drivers, one.cpu) for one in loadings(base.scenario)] == [(("nvme",), 0), (("nd_pmem",), 3)]
    assert [one.cpu for one in loadings(vary(base, load_from={"nd_pmem": 9}).scenario)] == [0, 9]


def test_what_no_program_loads_cannot_be_loaded_from_elsewhere() -> None:
    with pytest.raises(InputError, match="no program loads 'nvm' here; did you mean 'nvme'"):
        vary(make_setting("nvme-epyc"), load_from={"nvm": 3})
    with pytest.raises(InputError, match="no program loads a module"):
        vary(make_setting("pciehp"), load_from="node1")  # a kernel thread does


@pytest.mark.parametrize("place", ["node2", "cpu99", "-1", "", "x", "node", "٣"])
def test_a_place_that_is_not_there_is_refused(place: str) -> None:
    with pytest.raises(NumaprobeError, match="no CPU or node"):
        vary(make_setting("mixed-bus"), load_from=place)
