"""Everything that crosses a process comes back equal: settings, what they are made of, outcomes, errors."""

from __future__ import annotations

import importlib
import pickle
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import numaprobe
from numaprobe import errors
from numaprobe.analysis import find
from numaprobe.errors import NumaprobeError
from numaprobe.policies import POLICIES, make_policy
from numaprobe.runtime import PROFILES, kernel_profile
from numaprobe.scenario import builtin_names, load_scenario, replay_scenario
from numaprobe.study import Progress, Run, compare, make_setting, run, vary

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).parents[1] / "data"
GUEST = DATA / "kernel" / "debian-7.2" / "two-nodes"
EXAMPLE = f"{Path(__file__).parents[2] / 'examples' / 'review_policy.py'}:OnlyWhenRemote"


def again(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301  our own


@pytest.mark.parametrize("name", builtin_names())
def test_scenarios_and_settings_with_what_only_they_know(name: str) -> None:
    setting = make_setting(name)
    copy = again(setting)
    assert copy == setting
    for one, other in ((setting.scenario, copy.scenario), (setting.plan, copy.plan)):
        assert one == other
    for attribute in ("where", "topology", "warnings"):  # private to pydantic, and so easily lost
        assert getattr(copy.scenario, attribute) == getattr(setting.scenario, attribute)
    assert copy.machine == setting.machine
    assert copy.warnings == setting.warnings


def test_a_replay_keeps_its_machine_and_its_warnings() -> None:
    setting = make_setting(GUEST / "async.1.trace.gz", machine=str(GUEST))
    assert setting.scenario.topology is not None
    assert setting.warnings
    assert again(setting) == setting


@pytest.mark.parametrize("policy", [*POLICIES, "probe-on-node+pin", EXAMPLE])
def test_outcomes_traces_and_policies(policy: str) -> None:
    setting = make_setting("sriov", policy=policy)
    outcome = run(setting, timeline=True)
    assert again(setting) == setting
    assert again(outcome) == outcome
    assert run(again(setting), timeline=True) == outcome


def test_profiles_findings_and_comparisons() -> None:
    for profile in (*PROFILES.values(), kernel_profile("6.8.0-51-generic")):
        assert again(profile) == profile
    compared = compare(make_setting("nvme-epyc"), ["spread"])
    assert again(compared) == compared
    assert again(find(compared.runs[0].trace)) == find(compared.runs[0].trace)
    progress = Progress(done=1, total=2, last=compared.runs[0], next=compared.runs[1].setting)
    assert again(progress) == progress


def test_a_varied_setting_is_equal_to_one_that_was_made_so() -> None:
    assert again(vary(make_setting("nvme-epyc"), kernel="7.3")) == make_setting("nvme-epyc", kernel="7.3")
    assert make_setting("nvme-epyc") != make_setting("nvme-epyc", kernel="7.3")


def test_a_replayed_scenario_that_is_replayed() -> None:
    trace = run(make_setting("nvme-epyc")).trace
    assert again(replay_scenario(trace)) == replay_scenario(trace)


# ---- errors --------------------------------------------------------------------------------------------------------
#: class -> arguments; a class that is not here takes its message
ARGUMENTS: dict[type[BaseException], tuple[Any, ...]] = {
    errors.UnknownNameError: ("policy", "strct", ["strict-node"]),
    errors.StateError: ("no such step", ["add", "ready"]),
    errors.InputError: ("is no TOML", "file:3"),
    errors.DeadlockError: (["a waits for b", "b waits for a"],),
    errors.FarTraceback: ("in the process: …", "mine.py:3"),
}


def every_error() -> Iterator[type[BaseException]]:
    """Every class of an exception that numaprobe defines, in whatever file."""
    for module in pkgutil.walk_packages(numaprobe.__path__, "numaprobe."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    todo: list[type[BaseException]] = [BaseException]
    while todo:
        todo += (known := todo.pop()).__subclasses__()
        if known.__module__.partition(".")[0] == "numaprobe":
            yield known


ERRORS = sorted(set(every_error()), key=lambda kind: f"{kind.__module__}.{kind.__qualname__}")


def test_the_walk_finds_the_tree() -> None:
    assert {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)} <= set(
        ERRORS
    )


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__qualname__)
def test_every_error_survives_and_says_the_same(kind: type[BaseException]) -> None:
    arguments = ARGUMENTS.get(kind, ("what, where, what to do",))  # type: ignore[call-overload]
    error, other = kind(*arguments), kind("something else", *arguments[1:])
    copy = again(error)
    assert (type(copy), str(copy), copy.args, vars(copy)) == (type(error), str(error), error.args, vars(error))
    if isinstance(error, NumaprobeError):
        assert copy == error
        assert hash(copy) == hash(error)
        assert copy != other
        assert copy.exit_code == error.exit_code
        run_of = Run(setting=make_setting("nvme-epyc"), error=error)
        assert again(run_of) == run_of


def test_equal_errors_are_of_one_class() -> None:
    assert errors.UsageError("x") != errors.InputError("x")
    assert errors.UsageError("x") != ValueError("x")
    assert len({errors.UsageError("x"), errors.UsageError("x"), errors.UsageError("y")}) == 2


def test_an_example_policy_and_a_scenario_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('machine = "2 nodes x 2 cores"\n[[drivers]]\nname = "d"\n[[devices]]\nname = "d"\n')
    scenario = load_scenario(path)
    assert again(scenario) == scenario
    assert again(scenario).where == str(path)
    assert again(make_policy(EXAMPLE)) == make_policy(EXAMPLE)
