"""The catalogue: names, specs, options, policies from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.errors import UnknownNameError
from numaprobe.policies import POLICIES, NodeWork, all_policies, make_policy, policy_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from core_world import World

#: the nine of the design, in the order of their history, and the room for a better one
NAMES = [
    "inline", "migrate-caller", "work-on-cpu", "probe-workqueue", "skip-in-worker", "queue-on-node", "exec-on-node",
    "probe-on-node", "strict-node", "spread",
]  # fmt: skip


def test_the_catalogue() -> None:
    assert list(POLICIES) == NAMES
    assert list(all_policies())[-len(NAMES) :] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_names_itself_its_origin_and_what_it_does(name: str) -> None:
    policy = POLICIES[name]
    assert policy.name == name
    for text in (policy.origin, policy.summary):
        assert 5 < len(text) < 110
        assert "\n" not in text
    assert "Source:" in (policy.__doc__ or "") or name == "inline"
    assert isinstance(make_policy(name), policy)
    assert make_policy(name) == make_policy(name)


@pytest.mark.parametrize("name", NAMES)
def test_options_are_fields_that_default_to_what_the_label_leaves_out(name: str) -> None:
    policy = make_policy(name)
    assert policy.label == name
    for spec, field in policy_options(POLICIES[name]).items():
        default = getattr(policy, field)
        assert isinstance(default, bool)
        text = f"{name}+no-{spec}" if default else f"{name}+{spec}"
        changed = make_policy(text)
        assert getattr(changed, field) is not default
        assert changed.label == text
        assert make_policy(name, **{field: not default}) == changed


def test_the_reviewers_questions_are_options() -> None:
    for name in ("queue-on-node", "exec-on-node", "probe-on-node", "strict-node"):
        assert {"pin", "skip-if-on-node", "nested-inline"} <= policy_options(POLICIES[name]).keys()
    for option in ("skip_if_on_node", "pin", "nested_inline"):
        assert f"{option}:" in (NodeWork.__doc__ or "")


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_in_use_keeps_its_label(name: str, make_world: Callable[..., World]) -> None:
    policy = make_policy(name)
    world = make_world(policy)

    async def main() -> None:
        await world.core.driver_register(world.driver("drv", bus=world.pci))
        await world.core.device_add(world.device("a", bus=world.pci, node=1))

    world.run(main)
    assert policy.label == name
    assert world.bound() == {"a": "drv"}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("prob-on-node", "did you mean 'probe-on-node'"),
        ("", "known: "),
        ("inline+pin", "unknown option of policy inline 'pin'"),
        ("probe-on-node+pim", "did you mean 'pin'"),
        ("probe-on-node+", "unknown option"),
        ("probe-on-node+no-", "unknown option"),
        ("probe-on-node+name", "unknown option"),
        ("spread+next", "unknown option"),
        ("Probe-On-Node", "unknown policy"),
    ],
)
def test_a_spec_that_names_nothing(spec: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message) as caught:
        make_policy(spec)
    assert len(str(caught.value).splitlines()) == 1


def test_an_option_by_keyword_that_is_none() -> None:
    with pytest.raises(UnknownNameError, match="unknown option of policy inline 'pin'"):
        make_policy("inline", pin=True)
    with pytest.raises(UnknownNameError, match="did you mean 'pin'"):
        make_policy("strict-node", pim=True)
    with pytest.raises(UnknownNameError, match="unknown option"):
        make_policy("strict-node", queue=True)


@settings(deadline=None, max_examples=30)
@given(st.text(st.sampled_from("+-noprbe inl\n\x00é"), max_size=30))
def test_any_spec_is_a_policy_or_one_line(spec: str) -> None:
    lines = []
    try:
        assert make_policy(spec).name in NAMES
    except UnknownNameError as error:
        lines = str(error).split("\n")
    assert len(lines) <= 1
