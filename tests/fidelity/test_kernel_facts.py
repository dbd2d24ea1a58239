"""Facts by release: any release has a profile, and each value changes exactly where its fact is dated."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numaprobe.errors import InputError, UsageError
from numaprobe.runtime import PROFILES, AffinityScope, KernelProfile, closest_profile, kernel_profile
from numaprobe.runtime.facts import FACTS, NEWEST, OLDEST
from numaprobe.runtime.release import Release, parse_release
from numaprobe.scenario.guest import prefers_async
from numaprobe.topology import SETTINGS

RELEASES = st.builds(Release, st.integers(5, 7), st.integers(0, 25)).filter(lambda release: release >= OLDEST)


def test_every_field_has_a_fact_from_the_oldest_release_on() -> None:
    dated = {fact.field for fact in FACTS if fact.since == OLDEST}
    plain = {"name", "assumptions", "percpu_wq_name", "unbound_wq_name"}
    assert dated == {field.name for field in fields(KernelProfile)} - plain
    assert all(OLDEST <= fact.since <= NEWEST and fact.source and fact.dated for fact in FACTS)


def test_facts_of_a_field_are_in_order_and_change_something() -> None:
    for name in {fact.field for fact in FACTS}:
        rows = [fact for fact in FACTS if fact.field == name]
        assert [row.since for row in rows] == sorted({row.since for row in rows})
        assert all(a.value != b.value for a, b in pairwise(rows))


@given(RELEASES, st.sampled_from(sorted({fact.field for fact in FACTS})))
def test_a_profile_has_the_newest_value_that_is_not_newer(release: Release, field: str) -> None:
    older = [fact for fact in FACTS if fact.field == field and fact.since <= release]
    assert getattr(kernel_profile(str(release)), field) == older[-1].value


# What guests of these releases showed, written down before there was a table of facts.
OBSERVED = {
    "6.1": (AffinityScope.NUMA, True, 0, True, "work-on-cpu", False, True, False),
    "6.12": (AffinityScope.CACHE, False, 2, True, "work-on-cpu", False, True, False),
    "6.19": (AffinityScope.CACHE, False, 2, True, "work-on-cpu", False, True, True),
    "7.0": (AffinityScope.CACHE, False, 2, True, "probe-workqueue", True, False, True),
    "7.2": (AffinityScope.CACHE_SHARD, False, 2, False, "probe-workqueue", True, False, True),
    "7.3": (AffinityScope.CACHE_SHARD, False, 2, False, "probe-workqueue", True, False, True),
}


@pytest.mark.parametrize("name", OBSERVED)
def test_what_was_observed(name: str) -> None:
    p = PROFILES[name]
    assert OBSERVED[name] == (
        p.default_scope, p.hard_unbound_pools, p.bh_pools_per_cpu, p.llc_ids_from_zero,
        p.pci_policy, p.runtime_isolation_followed, p.unbound_mask_has_wq, p.hot_add_may_be_async,
    )  # fmt: skip


def test_which_drivers_of_a_release_ask_for_asynchronous_probing() -> None:
    """Guests: 6.1's nvme is synchronous and only queues its reset work; from 6.12 on it is asynchronous."""
    asks = {name: PROFILES[name].async_drivers for name in OBSERVED}
    assert asks.pop("6.1") == ()
    assert set(asks.values()) == {("nvme",)}
    assert [prefers_async("nvme", Release(*release)) for release in ((0, 0), (6, 1), (6, 2))] == [False, False, True]
    assert not prefers_async("virtio_blk", NEWEST)


def test_a_parameter_of_unbound_workqueues_is_taken_or_refused_in_one_place() -> None:
    profile = PROFILES["7.3"]
    scope, size = SETTINGS
    changed = profile.with_setting(scope, "numa").with_setting(size, "4096")
    assert changed.settings == {scope: "numa", size: "4096"}
    for name, value in ((scope, ""), (scope, "galaxy"), (size, ""), (size, "0"), (size, "4097"), (size, "\u0664")):
        with pytest.raises(InputError, match=f"{name}={value}: "):
            profile.with_setting(name, value)
        assert profile.settings == {scope: "cache_shard", size: "8"}


@pytest.mark.parametrize(
    ("text", "release", "word"),
    [
        ("5.10", "5.10", None),
        ("6.6.87", "6.6", None),
        ("6.18.4-amd64", "6.18", None),
        ("6.12.43+deb13-amd64", "6.12", None),
        ("v7.3-rc2", "7.3", None),
        ("6.16.3-200.fc42.x86_64", "6.16", None),
        ("5.14.0-503.11.1.el9_5.x86_64", "5.14", "Red Hat"),
        ("6.8.0-51-generic", "6.8", "Ubuntu"),
        ("6.4.0-150600.23.25-default", "6.4", "SUSE"),
        ("6.1.112-122.189.amzn2023.x86_64", "6.1", "Amazon"),
        ("5.15.0-303.171.5.2.el9uek.x86_64", "5.15", "Red Hat"),
        ("7.9.1", "7.9", "newer than 7.3"),
    ],
)
def test_any_release_has_a_profile(text: str, release: str, word: str | None) -> None:
    profile = kernel_profile(text)
    assert profile.name == release
    assert [word in line for line in profile.assumptions if word] == ([True] if word else [])


@pytest.mark.parametrize("text", ["", "x", "6", "6.", "six.one", "-6.1", "6.1234"])
def test_what_is_no_release(text: str) -> None:
    assert parse_release(text) is None
    with pytest.raises(UsageError, match="is no release"):
        kernel_profile(text)
    assert closest_profile(text).name == "6.19"
    assert closest_profile(text).assumptions


def test_older_than_anything_known() -> None:
    with pytest.raises(UsageError, match=r"older than 5\.1"):
        kernel_profile("4.18.0-553.el8")
