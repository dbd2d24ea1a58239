"""A policy is a value: the same in every run, in a set, and in another process."""

from __future__ import annotations

import dataclasses
import multiprocessing
import pickle
from pathlib import Path

import pytest

from numaprobe.errors import DeadlockError, InputError, NumaprobeError, StateError, UnknownNameError
from numaprobe.policies import POLICIES, make_policy
from numaprobe.records import dump_trace
from numaprobe.scenario import load_scenario, prepare, run_setting

EXAMPLE = f"{Path(__file__).parents[2] / 'examples' / 'review_policy.py'}:OnlyWhenRemote"
SPECS = [*POLICIES, "probe-on-node+pin+skip-if-on-node", "strict-node+no-async-too", EXAMPLE, f"{EXAMPLE}+pin"]


@pytest.mark.parametrize("spec", SPECS)
def test_two_runs_of_one_value_are_alike(spec: str) -> None:
    setting, policy = prepare(load_scenario("nvme-epyc")), make_policy(spec)
    assert dump_trace(run_setting(setting, policy).trace) == dump_trace(run_setting(setting, policy).trace)


@pytest.mark.parametrize("spec", SPECS)
def test_equal_hashable_frozen_and_made_again_from_its_spec(spec: str) -> None:
    policy = make_policy(spec)
    assert policy == make_policy(spec) == make_policy(policy.spec) == pickle.loads(pickle.dumps(policy))  # noqa: S301  our own
    assert len({policy, make_policy(spec)}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        policy.name = "x"  # type: ignore[misc]


def test_different_options_are_different_values() -> None:
    assert len({make_policy(spec) for spec in SPECS}) == len(SPECS)


def test_a_policy_from_a_file_in_another_process() -> None:
    policy = make_policy(f"{EXAMPLE}+pin")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_label, (policy,)) == "only-when-remote+pin"


def _label(policy: object) -> str:
    return str(policy.label)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "error",
    [
        UnknownNameError("policy", "strct", ["strict-node"]),
        DeadlockError(["a waits for b", "b waits for a"]),
        StateError("no such step", ["add", "ready"]),
        InputError("is no TOML", "file:3"),
        NumaprobeError("plain"),
    ],
)
def test_errors_survive_pickling(error: NumaprobeError) -> None:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  our own
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
    assert again.exit_code == error.exit_code
