"""Every way of being in use: refused with the right reasons, by both ways of looking, and free without it."""

from pathlib import Path

import pytest
from fake_kernel import FakeKernel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from situations import BRIDGE, GPU, NIC, NVME, SITUATIONS, Situation, machine

from numaprobe.bringup.guard import Guard, Intent
from numaprobe.bringup.plan import Allowance, Change, Plan
from numaprobe.bringup.reasons import CODES, FINAL, Reason
from numaprobe.bringup.sysfs import Sysfs
from numaprobe.errors import UnknownNameError, UsageError

UNBIND = Intent(action="unbind")


def looked(kernel: FakeKernel, name: str, *, allow: tuple[Allowance, ...] = ()) -> tuple[Reason, ...]:
    """Return the reasons that a survey of all devices gives."""
    sysfs = Sysfs(kernel.root)
    found = kernel.find(name)
    guard = Guard(sysfs, kernel, allow)
    device = sysfs.device(found.bus, found.name)
    assert device is not None
    return guard.refusals(guard.survey(read_disks=True).reasons(device, UNBIND))


def rechecked(kernel: FakeKernel, name: str, *, allow: tuple[Allowance, ...] = ()) -> tuple[Reason, ...]:
    """Return the reasons that a check right before the write gives."""
    found = kernel.find(name)
    change = Change(device=found.path, bus=found.bus, name=found.name, action="unbind", driver_before=found.driver)
    return Guard(Sysfs(kernel.root), kernel, allow).recheck(change, Plan(changes=(change,)))


@pytest.mark.parametrize("case", SITUATIONS, ids=[f"{case.name}-{case.device}" for case in SITUATIONS])
def test_a_device_in_use_is_refused_for_what_uses_it_and_each_flag_lifts_its_reason_alone(
    tmp_path: Path, case: Situation
) -> None:
    kernel = machine(tmp_path)
    case.make(kernel)
    reasons = looked(kernel, case.device)
    assert {one.code for one in reasons} == case.codes
    assert any(case.words in one.sentence for one in reasons), [one.sentence for one in reasons]
    assert set(rechecked(kernel, case.device)) == set(reasons)
    if case.used is not None:
        assert {one.device for one in reasons} == {case.used}
    for one in reasons:
        assert (one.flag is None) == (one.code in FINAL)
        if one.flag is not None:
            device, _, code = one.flag.removeprefix("--allow ").partition("=")
            left = Guard(kernel.sysfs, kernel, (Allowance(device=device, code=code),)).refusals(reasons)
            assert set(left) == {other for other in reasons if (other.code, other.device) != (one.code, one.device)}
    assert kernel.writes == []


#: A disk with another use is not looked at for data, nor for who else may hold it.
IF_UNUSED = {"data", "unknown-data", "claimed"}
#: These change what another situation is about.
ALONE = {"nobody_can_read_it", "link_in_another_namespace", "process_that_may_not_be_looked_into"}
MIXED = [case for case in {case.name: case for case in SITUATIONS}.values() if case.name not in ALONE]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(MIXED), min_size=2, max_size=5, unique_by=lambda case: case.name))
def test_situations_together_hide_none_of_each_other(
    tmp_path_factory: pytest.TempPathFactory, cases: list[Situation]
) -> None:
    kernel = machine(tmp_path_factory.mktemp("mixed"))
    kernel.kept = set()
    made = [case for case in cases if made_beside(kernel, case)]
    sysfs = Sysfs(kernel.root)
    survey = Guard(sysfs, kernel).survey(read_disks=True)
    for case in made:
        device = sysfs.device(kernel.find(case.device).bus, case.device)
        assert device is not None
        codes = {one.code for one in survey.reasons(device, UNBIND)}
        assert codes >= case.codes - IF_UNUSED
        assert codes
    for device in sysfs.devices():
        assert set(rechecked(kernel, f"{device.bus}/{device.name}")) == set(survey.reasons(device, UNBIND))


def made_beside(kernel: FakeKernel, case: Situation) -> bool:
    """Bring a situation about beside others; return whether it could be: two may want the same thing otherwise."""
    try:
        case.make(kernel)
    except OSError:
        return False
    return True


def test_every_code_has_a_situation() -> None:
    told = {code for case in SITUATIONS for code in case.codes}
    assert told == set(CODES) - {"iommu-group"}, "iommu-group has a test of its own"


@pytest.mark.parametrize("name", [NVME, NIC, BRIDGE, GPU, "0000:84:00.0", "virtio1", "0000:00:03.0"])
def test_a_device_that_nothing_uses_is_free(tmp_path: Path, name: str) -> None:
    kernel = machine(tmp_path)
    assert looked(kernel, name) == rechecked(kernel, name) == ()


def test_nobody_can_have_a_link_open_so_what_cannot_be_seen_does_not_hold_it(tmp_path: Path) -> None:
    kernel = machine(tmp_path)
    next(case for case in SITUATIONS if case.name == "process_that_may_not_be_looked_into").make(kernel)
    assert looked(kernel, NIC) == ()
    assert Guard(Sysfs(kernel.root), kernel).survey(read_disks=True).denied == 1


def test_links_that_are_down_and_consumers_that_are_gone_are_free(tmp_path: Path) -> None:
    kernel = machine(tmp_path)
    kernel.link(None, "lo", up=True)
    kernel.put("proc/net/if_inet6", "0" * 31 + "1 01 80 10 80 lo\nfe80" + "0" * 28 + " 03 40 20 80 eth1")
    kernel.device("platform", "clock", driver="clk")
    kernel.device("platform", "uart")
    kernel.device("platform", "led", driver="leds")
    kernel.devlink("clock", "uart", "available")
    kernel.devlink("clock", "led", "active", sync_state_only=True)
    assert looked(kernel, NIC) == looked(kernel, "clock") == ()


def test_a_consumer_in_the_plan_does_not_hold_its_supplier(tmp_path: Path) -> None:
    kernel = machine(tmp_path)
    kernel.device("platform", "clock", driver="clk")
    kernel.device("platform", "uart", driver="serial")
    kernel.devlink("clock", "uart")
    sysfs = Sysfs(kernel.root)
    clock, uart = sysfs.device("platform", "clock"), sysfs.device("platform", "uart")
    assert clock is not None
    assert uart is not None
    survey = Guard(sysfs, kernel).survey(read_disks=True)
    assert [one.code for one in survey.reasons(clock, UNBIND)] == ["consumers"]
    assert survey.reasons(clock, UNBIND, {uart.path}) == ()


def test_the_partners_of_an_iommu_group_are_handed_over_with_it_or_not_at_all(tmp_path: Path) -> None:
    kernel = machine(tmp_path)
    sysfs = Sysfs(kernel.root)
    device, partner = sysfs.device("pci", NVME), sysfs.device("pci", NIC)
    assert device is not None
    assert partner is not None
    survey = Guard(sysfs, kernel).survey(read_disks=True)
    to_vfio = Intent(action="rebind", driver_after="vfio-pci")
    (refused,) = survey.reasons(device, to_vfio)
    assert (refused.code, refused.flag) == ("iommu-group", f"--allow {NVME}=iommu-group")
    assert f"{NIC} (ixgbe) in the same IOMMU group 7" in refused.sentence
    assert survey.reasons(device, to_vfio, {partner.path}) == ()
    assert survey.reasons(device, Intent(action="rebind", driver_after="nvme")) == ()


def test_allowing_a_bridge_does_not_allow_what_is_behind_it(tmp_path: Path) -> None:
    kernel = machine(tmp_path)
    kernel.mount("259:1", "/srv", "ext4", "/dev/nvme0n1p1")
    assert looked(kernel, BRIDGE, allow=(Allowance(device=BRIDGE, code="mounted"),))
    assert looked(kernel, BRIDGE, allow=(Allowance(device=f"pci/{NVME}", code="mounted"),)) == ()


@pytest.mark.parametrize("code", sorted(FINAL))
def test_nothing_overrides_what_the_running_system_needs(tmp_path: Path, code: str) -> None:
    kernel = machine(tmp_path)
    with pytest.raises(UsageError, match=f"nothing overrides '{code}'"):
        Guard(Sysfs(kernel.root), kernel, (Allowance(device=NVME, code=code),))


def test_an_unknown_reason_offers_the_nearest(tmp_path: Path) -> None:
    kernel = machine(tmp_path)
    with pytest.raises(UnknownNameError, match="did you mean 'mounted'"):
        Guard(Sysfs(kernel.root), kernel, (Allowance(device=NVME, code="mountd"),))


def test_a_check_before_a_write_sees_what_came_after_the_plan(tmp_path: Path) -> None:
    kernel = machine(tmp_path)
    sysfs = Sysfs(kernel.root)
    guard = Guard(sysfs, kernel)
    found = kernel.find(NVME)
    change = Change(device=found.path, bus="pci", name=NVME, action="unbind", driver_before="nvme")
    plan = Plan(changes=(change,))
    assert guard.recheck(change, plan) == ()
    kernel.mount("259:1", "/srv", "ext4", "/dev/nvme0n1p1")
    assert [one.code for one in guard.recheck(change, plan)] == ["mounted"]
    kernel.unmount("/srv")
    kernel.process(9, "dd", fds=["/dev/nvme0n1"])
    assert [one.code for one in guard.recheck(change, plan)] == ["open"]
    kernel.end(9)
    assert guard.recheck(change, plan) == ()
    kernel.remove(NVME)
    assert guard.recheck(change, plan) == ()
