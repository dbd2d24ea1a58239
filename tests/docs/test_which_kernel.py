"""docs/which-kernel.md: each release and number in its table is what the profiles say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from numaprobe.runtime import DEFAULT_PROFILE, AffinityScope, KernelProfile, kernel_profile
from numaprobe.runtime.facts import NEWEST, OLDEST
from numaprobe.topology import load_topology

PAGE = (Path(__file__).parents[2] / "docs" / "which-kernel.md").read_text(encoding="utf-8")
RELEASES = [f"{major}.{minor}" for major, last in ((5, 19), (6, 19), (7, NEWEST.minor)) for minor in range(last + 1)]
KNOWN = [name for name in RELEASES if tuple(map(int, name.split("."))) >= (OLDEST.major, OLDEST.minor)]
EIGHT = load_topology("1 node x 8 cores")


def rows() -> dict[str, str]:
    """What is seen -> what the kernel is then as."""
    cells = (re.split(r"(?<!\\)\|", line)[2:4] for line in PAGE.splitlines() if line.startswith("|"))
    return {see.strip(): then.strip() for see, then in (one for one in cells if len(one) == 2)}


def releases_with(holds: object) -> set[str]:
    assert callable(holds)
    return {name for name in KNOWN if holds(kernel_profile(name))}


def releases_named(text: str) -> set[str]:
    """The releases that ``before 6.6``, ``6.6 to 7.0`` and ``7.1 and later`` stand for."""
    found = re.match(r"(?:before (?P<end>\d\.\d+)|(?P<first>\d\.\d+) (?:to (?P<last>\d\.\d+)|and later))", text)
    assert found is not None, text
    first = KNOWN.index(found["first"]) if found["first"] else 0
    if found["end"]:
        return set(KNOWN[: KNOWN.index(found["end"])])
    return set(KNOWN[first : KNOWN.index(found["last"]) + 1 if found["last"] else None])


def smallest_unbound(profile: KernelProfile) -> int:
    return profile.first_pool_id(EIGHT)


CASES = {
    "no `default_affinity_scope`": lambda p: not p.has_affinity_scopes,
    "`default_affinity_scope`, no `cache_shard_size`": lambda p: (
        p.has_affinity_scopes and AffinityScope.CACHE_SHARD not in p.affinity_scopes
    ),
    "`cache_shard_size` too": lambda p: AffinityScope.CACHE_SHARD in p.affinity_scopes,
    "the smallest number behind the `u` is four times the CPUs (`u32` of 8)": lambda p: smallest_unbound(p) == 32,
    "twice the CPUs (`u16` of 8)": lambda p: smallest_unbound(p) == 16,
}


@pytest.mark.parametrize("seen", CASES)
def test_what_is_seen_means_the_releases_that_are_named(seen: str) -> None:
    assert releases_named(rows()[seen]) == releases_with(CASES[seen])


def test_what_the_rows_say_beside_releases() -> None:
    then = rows()
    hard = kernel_profile("6.5")
    assert hard.hard_unbound_pools
    assert "pools of a whole node, workers never leave it" in then["no `default_affinity_scope`"]
    scopes = {name: kernel_profile(name).default_scope for name in ("6.6", "7.0", "7.1", str(NEWEST))}
    cache, shard = AffinityScope.CACHE, AffinityScope.CACHE_SHARD
    assert scopes == {"6.6": cache, "7.0": cache, "7.1": shard, str(NEWEST): shard}
    assert "a pool for each last-level cache" in then["`default_affinity_scope`, no `cache_shard_size`"]
    assert "a pool for each shard of a cache" in then["`cache_shard_size` too"]
    own = re.search(r"every release so far; (\d\.\d+ and later) on a queue of PCI's own", PAGE)
    assert own is not None
    assert releases_named(own[1]) == releases_with(lambda p: p.pci_policy == "probe-workqueue")
    assert releases_with(lambda p: p.pci_policy in ("probe-workqueue", "work-on-cpu")) == set(KNOWN)


def test_the_default_and_the_oldest_release() -> None:
    assert f"the one that it names, else {DEFAULT_PROFILE}" in PAGE
    assert f"anything from {OLDEST} on" in PAGE
