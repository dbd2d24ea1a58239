"""Which policy explains a recording: on the recordings of stock kernels, and on runs whose policy is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from numaprobe.analysis.agreement import Agreement, judge
from numaprobe.errors import UsageError
from numaprobe.kernel.readers import read_trace
from numaprobe.policies import POLICIES
from numaprobe.scenario import load_scenario, prepare, replay_scenario, run_setting
from numaprobe.study.following import Explanation, explanations, explanations_to_json, following_line
from numaprobe.topology import load_topology

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.records import Trace
    from numaprobe.scenario import Setting

DATA = Path(__file__).parents[1] / "data" / "kernel"
RECORDED = sorted(DATA.glob("debian-*/*/*.trace.gz"))


def judged(setting: Setting, recorded: Trace) -> Callable[[str], Agreement]:
    return lambda policy: judge(run_setting(setting, policy).trace, recorded, {}, setting.plan.topology)


def explaining(setting: Setting, recorded: Trace) -> set[str]:
    return {one.policy for one in explanations(judged(setting, recorded)) if one.explains}


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: "/".join(path.parts[-3:]))
def test_a_stock_kernel_follows_its_own_policy(path: Path) -> None:
    topology = load_topology(str(path.parent))
    recorded = read_trace(path, topology=topology)
    setting = prepare(replay_scenario(recorded, topology))
    assert setting.profile.pci_policy in explaining(setting, recorded)


@pytest.mark.parametrize("kernel", ["debian-6.1", "debian-7.2"])
def test_all_situations_of_a_stock_kernel_leave_only_policies_that_place_like_it(kernel: str) -> None:
    """Work on a CPU, on the system's queue or on PCI's own: one place, and no situation here tells them apart."""
    left = set(POLICIES)
    for path in (path for path in RECORDED if kernel in path.parts):
        topology = load_topology(str(path.parent))
        recorded = read_trace(path, topology=topology)
        left &= explaining(prepare(replay_scenario(recorded, topology)), recorded)
    assert left == {"work-on-cpu", "probe-workqueue"}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", ["nvme-epyc", "lab-nvme", "lab-virtio", "nested", "isolated"])
def test_a_run_is_explained_by_its_own_policy(policy: str, name: str) -> None:
    setting = prepare(load_scenario(name))
    recorded = run_setting(setting, policy).trace
    assert policy in explaining(setting, recorded)


def test_a_policy_that_cannot_run_is_not_excluded_but_told() -> None:
    def refuse(policy: str) -> Agreement:
        raise UsageError(f"{policy} has no say here")

    found = explanations(refuse, ["inline"])
    assert found == (Explanation(policy="inline", wrong=0, probes=0, refused="inline has no say here"),)
    assert following_line(found, "inline") == "follows: nothing was probed, so nothing can be said"
    assert explanations_to_json(found, "inline")["not_run"] == [
        {"policy": "inline", "reason": "inline has no say here"}
    ]


def found(**wrong: int) -> tuple[Explanation, ...]:
    return tuple(Explanation(policy=name, wrong=count, probes=12) for name, count in wrong.items())


def test_the_sentence() -> None:
    assert (
        following_line(found(inline=12, a=0, b=3, c=12), "inline")
        == "follows a; inline (stock) and c excluded by 12 of 12; b excluded by 3 of 12"
    )
    assert following_line(found(a=0, b=0), "a") == "follows a (stock) and b, which place alike here"
    assert following_line(found(a=1), "a") == "follows no policy that is known here: a (stock) excluded by 1 of 12"
