"""A variation is what would have been made so from the beginning, and nothing is read for it again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe import scenario as scenarios
from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError, NumaprobeError, UnknownNameError, UsageError
from numaprobe.policies import POLICIES, make_policy
from numaprobe.records import dump_trace
from numaprobe.scenario import change_scenario, load_scenario
from numaprobe.scenario.phases import Compute, Fail
from numaprobe.study import make_setting, run, variations, vary

if TYPE_CHECKING:
    from collections.abc import Callable

GUEST = Path(__file__).parents[1] / "data" / "kernel" / "debian-7.2" / "two-nodes"
NAMES = [name for name in scenarios.builtin_names() if name != "host"]

#: paths, and values that fit some of them and not others: both ways must say the same
PATHS = [
    "devices[0].count",
    "devices[0].name",
    "devices[0].node",
    "devices[1].suppliers",
    "devices[9].count",
    "drivers[0].probe_type",
    "drivers[0].jitter",
    "drivers[0].phases",
    "drivers[0].phases[1].sleep",
    "drivers.nvme.probe_type",
    "drivers[nvme].phases[0].sleep",
    "devices[0000:84:00.0].node",
    "drivers[nvme]",
    "drivers[0].phases[0].wait.timeout",
    "steps[0].add",
    "steps[1].load",
    "steps[0].busy.cpus",
    "caller.cpu",
    "caller",
    "caller.comm",
    "buses",
    "order",
    "seed",
    "summary",
    "unknown",
    "devices[0].cuont",
    "expect_async_on_node",
]
VALUES: list[Any] = [0, 3, -1, 0.5, "sync", "25ms", "0-3", "none", "d", "0000:{i:02x}:00.0", "", "x" * 200, True]
VALUES += [
    [0, 1],
    ["d"],
    [],
    [{"compute": "1ms"}, {"fail": "ENODEV"}],
    {"comm": "x"},
    [{"name": "b"}],
]

TIMES = {"compute", "sleep", "timeout"}


def outcome(make: Callable[[], Any]) -> Any:
    """What comes of it: a scenario with all that it knows, or an error. Its text may name a path's end or beginning."""
    try:
        made = make()
    except UsageError as error:
        return type(error)
    except NumaprobeError as error:
        return str(error)
    return made, made.where, made.topology, made.warnings, made.model_fields_set


def toml(value: Any, key: str = "") -> str:
    if key in TIMES and type(value) is int:
        return f'"{value}ns"'  # what an object may hold as ns a file writes with its unit
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {toml(item, name)}" for name, item in value.items()) + "}"
    return f"[{', '.join(map(toml, value))}]" if isinstance(value, list) else json.dumps(value)


@given(st.sampled_from(NAMES), st.sampled_from(PATHS), st.sampled_from(VALUES))
@settings(max_examples=300, deadline=None)
def test_a_changed_object_is_what_the_changed_file_says(name: str, path: str, value: Any) -> None:
    changed = outcome(lambda: change_scenario(load_scenario(name), {path: value}))
    assert changed == outcome(lambda: load_scenario(name, [f"{path}={toml(value, path.rpartition('.')[2])}"]))


def test_values_may_be_those_that_a_scenario_holds() -> None:
    base = load_scenario("nvme-epyc")
    phases = base.drivers[0].phases
    changed = change_scenario(base, {"drivers[0].phases": [*phases, {"compute": 1_000}], "devices[0].suppliers": None})
    assert changed.drivers[0].phases == (*phases, Compute(compute="1us"))
    assert change_scenario(base, {"steps": [{"offline": CpuSet.of([3])}]}).steps[0].offline == CpuSet.of([3])
    with pytest.raises(InputError, match=r"drivers\[0\].phases\[0\].compute: .* longer than a day"):
        change_scenario(base, {"drivers[0].phases": [{"compute": 10**15}]})
    with pytest.raises(InputError, match="not a time"):
        change_scenario(base, {"drivers[0].phases": [{"compute": True}]})


def test_another_key_makes_a_phase_another_kind() -> None:
    base = load_scenario("nvme-epyc")
    key = base.drivers[0].phases[0].key
    changed = change_scenario(base, {f"drivers[0].phases[0].{key}": None, "drivers[0].phases[0].fail": "EIO"})
    assert changed.drivers[0].phases[0] == Fail(fail="EIO")
    with pytest.raises(InputError, match=r"drivers\[0\].phases\[0\]: a phase does exactly one thing"):
        change_scenario(base, {"drivers[0].phases[0].fail": "EIO"})


def test_changes_are_made_together_and_the_base_stays() -> None:
    base = load_scenario("nvme-epyc")
    before = base.model_copy()
    changed = change_scenario(base, {"drivers[0].jitter": 0.1, "seed": 3, "drivers[0].name": "nvme2"})
    assert (changed.drivers[0].jitter, changed.drivers[0].name, changed.seed) == (0.1, "nvme2", 3)
    assert base == before
    assert changed.devices is not None
    whole = change_scenario(base, {"devices[0].count": 2, "devices": [{"name": "d{i}", "bus": "pci"}]})
    assert [(one.name, one.count) for one in whole.devices] == [("d{i}", 2)]
    assert change_scenario(base, {}) is base


def test_a_file_does_not_get_what_objects_may(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('machine = "1 node x 1 core"\n[[drivers]]\nname = "d"\nphases = [{ compute = 25 }]\n')
    with pytest.raises(InputError, match="is not a time"):
        load_scenario(path)


VARIATIONS: list[dict[str, Any]] = [
    {"policy": "spread"},
    {"policy": make_policy("probe-on-node+pin")},
    {"kernel": "7.3"},
    {"kernel": "6.8.0-51-generic"},
    {"cmdline": "isolcpus=1 workqueue.default_affinity_scope=numa driver_async_probe=*"},
    {"machine": "2 nodes x 2 llcs x 8 cores"},
    {"devices": 5},
    {"kernel": "6.1", "cmdline": "nohz_full=2-3", "devices": 2, "policy": "inline"},
]


@pytest.mark.parametrize("change", VARIATIONS, ids=str)
def test_a_variation_is_what_would_have_been_made(change: dict[str, Any]) -> None:
    made = make_setting("nvme-epyc", **change)
    varied = vary(make_setting("nvme-epyc"), **change)
    assert dump_trace(run(varied).trace) == dump_trace(run(made).trace)
    assert (varied.profile, varied.options, varied.plan, varied.policy) == (
        made.profile,
        made.options,
        made.plan,
        made.policy,
    )


@pytest.mark.parametrize("change", [{"kernel": "6.12"}, {"cmdline": "isolcpus=1"}, {"policy": "spread"}], ids=str)
def test_a_replay_is_varied_like_any_other(change: dict[str, Any]) -> None:
    trace = str(GUEST / "async.1.trace.gz")
    made = make_setting(trace, machine=str(GUEST), **({"policy": "probe-workqueue"} | change))
    varied = vary(make_setting(trace, machine=str(GUEST), policy="probe-workqueue"), **change)
    assert dump_trace(run(varied).trace) == dump_trace(run(made).trace)


def test_a_policy_that_follows_the_kernel_goes_on_to_follow_it() -> None:
    base = make_setting("nvme-epyc")
    assert base.policy.name == "work-on-cpu"
    assert vary(base, kernel="7.3").policy.name == "probe-workqueue"
    assert vary(vary(base, policy="spread"), kernel="7.3").policy.name == "spread"


def test_nothing_is_read_or_planned_again(monkeypatch: pytest.MonkeyPatch) -> None:
    base = make_setting("nvme-epyc")

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("read again")

    for name in ("tomllib.loads", "numaprobe.scenario.setting.load_topology"):
        monkeypatch.setattr(name, never)
    vary(base, {"drivers[0].probe_type": "sync"}, devices=3, cmdline="isolcpus=1")
    monkeypatch.setattr("numaprobe.scenario.setting.make_plan", never)
    assert vary(base, kernel="7.3").plan.devices is base.plan.devices
    assert vary(base, policy="inline").plan is base.plan
    assert vary(base) is base


def test_what_a_setting_has_an_argument_for_is_no_key() -> None:
    with pytest.raises(UsageError, match=r"vary\(setting, kernel=…\)"):
        vary(make_setting("nvme-epyc"), {"kernel": "7.3"})
    with pytest.raises(UsageError, match="is no key of a scenario"):
        vary(make_setting("nvme-epyc"), {"devices[": 3})
    for path in ("caller.cpu.x", "devices[9].count", "devices.count", "caller[0]"):
        with pytest.raises(UsageError, match="the scenario has no"):
            vary(make_setting("nvme-epyc"), {path: 3})
    with pytest.raises(UnknownNameError):
        vary(make_setting("nvme-epyc"), policy="inlin")
    with pytest.raises(InputError, match=r"caller\.cpu: CPU 5000 does not exist"):
        vary(make_setting("nvme-epyc"), {"caller.cpu": 5000})


def test_variations_are_every_value_with_every_other() -> None:
    base = make_setting("nvme-epyc")
    found = variations(
        base, {"drivers[0].probe_type": ["sync", "async"]}, policy=POLICIES, kernel=["6.1", "7.3"], devices=[1, 2, 3]
    )
    assert len(found) == len(POLICIES) * 2 * 3 * 2
    seen = {
        (s.policy.name, s.kernel.name, s.scenario.devices[0].count, s.scenario.drivers[0].probe_type) for s in found
    }
    assert len(seen) == len(found)
    assert [one.policy.name for one in found[: len(POLICIES)]] == list(POLICIES)
    assert found[0].plan is found[1].plan
    assert variations(base) == [base]
