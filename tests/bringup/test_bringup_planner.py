"""From terms to a plan: who is chosen, what is done in which order, who is left and why."""

from pathlib import Path

import pytest
from fake_kernel import FakeKernel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from situations import BRIDGE, GPU, NIC, NVME, machine

from numaprobe.bringup.guard import Guard
from numaprobe.bringup.plan import Allowance, Change, Plan
from numaprobe.bringup.planner import Wish, in_turns, make_plan
from numaprobe.bringup.select import select
from numaprobe.bringup.sysfs import Sysfs
from numaprobe.errors import InputError, MissingInterfaceError, NumaprobeError, UsageError
from numaprobe.runtime.parallel import ONE_BY_ONE, PARALLEL, safeties, safety


def chosen(kernel: FakeKernel, *terms: str) -> list[str]:
    return [device.name for device in select(Sysfs(kernel.root), terms)]


def planned(kernel: FakeKernel, wish: Wish, *terms: str, allow: tuple[Allowance, ...] = ()) -> Plan:
    sysfs = Sysfs(kernel.root)
    plan = make_plan(sysfs, Guard(sysfs, kernel, allow), select(sysfs, terms), wish)
    plan.validate()
    return plan


def told(plan: Plan) -> dict[str, tuple[bool, list[str]]]:
    return {one.name: (one.refused, [reason.code for reason in one.reasons]) for one in plan.skipped}


# --- selection


@pytest.mark.parametrize(
    ("terms", "names"),
    [
        (["driver=nvme"], [NVME, "0000:84:00.0"]),
        (["class=nvme"], [NVME, "0000:84:00.0"]),
        (["class=02"], [NIC]),
        (["class=storage", "bus=virtio"], ["virtio1"]),
        (["id=144d:a808", "node=1"], [NVME]),
        (["id=144d:*", "node=0"], ["0000:84:00.0"]),
        (["node=unknown", "bus=virtio"], ["virtio1"]),
        (["group=7"], [NVME, NIC]),
        (["81:00.0"], [NVME]),
        (["0000:8[12]:*"], [NVME, NIC]),
        (["pci/0000:81:00.0", "virtio1"], [NVME, "virtio1"]),
        (["driver=nvme", "driver=ixgbe"], [NVME, NIC, "0000:84:00.0"]),
        (["0000:8*", "driver=nvme", "node=0"], ["0000:84:00.0"]),
    ],
)
def test_terms_choose_devices(tmp_path: Path, terms: list[str], names: list[str]) -> None:
    assert chosen(machine(tmp_path), *terms) == names


@pytest.mark.parametrize(
    ("terms", "words", "kind"),
    [
        (["0000:81:00.1"], "there is no device '0000:81:00.1'; did you mean", InputError),
        (
            ["driver=mlx5_core"],
            "no driver 'mlx5_core' is loaded; to load it: modprobe mlx5_core",
            MissingInterfaceError,
        ),
        (["driver=nvme", "node=3"], "no device fits driver=nvme node=3", InputError),
        (["0000:ff:*"], "there is no device '0000:ff:*'", InputError),
        (["color=red"], "unknown key 'color'", UsageError),
        (["class=networt"], "did you mean 'network'", UsageError),
        (["id=x"], "is no id; write VENDOR:DEVICE", InputError),
        (["node=-1"], "is no node; write its number, or 'unknown'", InputError),
        (["bus=pcie"], "did you mean 'pci'", UsageError),
        (["../../etc"], "cannot be the name of a device", InputError),
        (["driver=../x"], "cannot be the name of a driver", InputError),
        (["a\0b"], "cannot be the name of a device", InputError),
    ],
)
def test_terms_that_choose_nothing_are_refused_in_one_line(
    tmp_path: Path, terms: list[str], words: str, kind: type[NumaprobeError]
) -> None:
    with pytest.raises(kind) as caught:
        chosen(machine(tmp_path), *terms)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_on_two_buses_is_asked_for(tmp_path: Path) -> None:
    kernel = machine(tmp_path)
    kernel.device("platform", "virtio1")
    with pytest.raises(InputError, match="is the name of several devices: platform/virtio1, virtio/virtio1"):
        chosen(kernel, "virtio1")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.text(max_size=12) | st.sampled_from(["driver=", "id=:", "class=", "*", "[", "node=9", "!"]), max_size=3)
)
def test_any_terms_choose_known_devices_or_are_refused_in_one_line(tmp_path: Path, terms: list[str]) -> None:
    kernel = _once(tmp_path)
    try:
        found, said = chosen(kernel, *terms), ""
    except NumaprobeError as error:
        found, said = [], str(error)
    assert "\n" not in said
    assert set(found) <= {name for _, name in kernel.devices}
    assert bool(found) != bool(said)


_made: dict[Path, FakeKernel] = {}


def _once(folder: Path) -> FakeKernel:
    if folder not in _made:
        _made[folder] = machine(folder)
    return _made[folder]


# --- what is done


def test_unbinding_all_drives(tmp_path: Path) -> None:
    plan = planned(machine(tmp_path), Wish(action="unbind"), "driver=nvme")
    assert [(one.name, one.action, one.driver_before, one.node, str(one.cpus)) for one in plan.changes] == [
        ("0000:84:00.0", "unbind", "nvme", 0, "0-3"),
        (NVME, "unbind", "nvme", 1, "4-7"),
    ]
    assert (plan.jobs, plan.skipped, plan.kernel) == (2, (), "6.12.0-fake")
    assert not any(one.exclusive for one in plan.changes)


def test_what_is_so_already_is_left_and_no_error(tmp_path: Path) -> None:
    kernel = machine(tmp_path)
    plan = planned(kernel, Wish(action="bind"), "driver=nvme")
    assert plan.changes == ()
    assert told(plan) == {NVME: (False, ["bound"]), "0000:84:00.0": (False, ["bound"])}
    kernel.device("pci", "0000:85:00.0")
    assert told(planned(kernel, Wish(action="unbind"), "0000:85:00.0")) == {"0000:85:00.0": (False, ["unbound"])}


def test_a_refused_device_is_passed_over_and_the_others_go_on(tmp_path: Path) -> None:
    kernel = machine(tmp_path)
    kernel.mount("259:1", "/srv", "ext4", "/dev/nvme0n1p1")
    plan = planned(kernel, Wish(action="unbind"), "driver=nvme")
    assert [one.name for one in plan.changes] == ["0000:84:00.0"]
    assert told(plan) == {NVME: (True, ["mounted"])}
    allowed = planned(kernel, Wish(action="unbind"), NVME, allow=(Allowance(device=NVME, code="mounted"),))
    assert [one.name for one in allowed.changes] == [NVME]


def test_another_driver_comes_through_the_override_which_is_put_back(tmp_path: Path) -> None:
    kernel = machine(tmp_path)
    (change,) = planned(kernel, Wish(action="rebind", driver="vfio-pci"), "0000:84:00.0").changes
    assert (change.action, change.driver_before, change.driver_after, change.road) == (
        "rebind",
        "nvme",
        "vfio-pci",
        "override",
    )
    assert (change.override_before, change.override_after) == (None, None)
    with pytest.raises(
        MissingInterfaceError, match="driver 'uio_pci_generic' is not on bus pci; modprobe uio_pci_generic"
    ):
        planned(kernel, Wish(action="rebind", driver="uio_pci_generic"), NVME)
    with pytest.raises(UsageError, match="unbind takes no driver"):
        planned(kernel, Wish(action="unbind", driver="nvme"), NVME)


def test_the_partners_of_a_group_go_together(tmp_path: Path) -> None:
    kernel = machine(tmp_path)
    wish = Wish(action="rebind", driver="vfio-pci")
    assert told(planned(kernel, wish, NVME)) == {NVME: (True, ["iommu-group"])}
    assert {one.name for one in planned(kernel, wish, "group=7").changes} == {NVME, NIC}
    kernel.addresses["eth1"] = ["192.0.2.1"]
    assert told(planned(kernel, wish, "group=7")) == {NIC: (True, ["address"]), NVME: (True, ["iommu-group"])}


def test_a_driver_is_found_by_the_aliases_of_its_module(tmp_path: Path) -> None:
    kernel = machine(tmp_path)
    kernel.put(
        "lib/modules/6.12.0-fake/modules.alias",
        "# a comment\nalias pci:v*d*sv*sd*bc01sc08i02* nvme\nalias pci:v0000144Dd0000A80[89]* nvme\n"
        "alias pci:v00008086d00001563* ixgbe\nalias pci:v00008086d00009999* absent-module",
    )
    kernel.put(
        "lib/modules/6.12.0-fake/modules.builtin.modinfo", "pcie.alias=pci:v00001AF4d*\0virtio_pci.license=GPL\0"
    )
    for name, ids in (("0000:85:00.0", (0x144D, 0xA809)), ("0000:86:00.0", (0x8086, 0x9999)), ("0000:87:00.0", (1, 2))):
        kernel.device("pci", name, ids=ids)
    kernel.driver("pci", "pcie")
    kernel.device("pci", "0000:88:00.0", ids=(0x1AF4, 1))
    kernel.device("pci", "0000:89:00.0", override="vfio-pci")
    plan = planned(kernel, Wish(action="bind"), "0000:8[5-9]:*")
    assert {one.name: one.driver_after for one in plan.changes} == {
        "0000:85:00.0": "nvme",
        "0000:88:00.0": "pcie",
        "0000:89:00.0": "vfio-pci",
    }
    said = {one.name: one.reasons[0].sentence for one in plan.skipped}
    assert said["0000:86:00.0"].endswith("no driver that is loaded fits it; modprobe absent_module")
    assert said["0000:87:00.0"].endswith("name one with --driver")


# --- order


def chain(kernel: FakeKernel) -> None:
    for name in ("clock", "bus", "disk"):
        kernel.device("platform", name, driver=f"{name}-driver")
    kernel.devlink("clock", "bus")
    kernel.devlink("bus", "disk")


def test_consumers_are_unbound_before_their_suppliers_and_bound_after_them(tmp_path: Path) -> None:
    kernel = machine(tmp_path)
    chain(kernel)
    terms = ("clock", "bus", "disk", "0000:84:00.0")
    waves = [(one.wave, one.action, one.name) for one in planned(kernel, Wish(action="unbind"), *terms).changes]
    assert waves == [
        (0, "unbind", "disk"),
        (0, "unbind", "0000:84:00.0"),
        (1, "unbind", "bus"),
        (2, "unbind", "clock"),
    ]
    waves = [(one.wave, one.action, one.name) for one in planned(kernel, Wish(action="rebind"), *terms).changes]
    assert [row for row in waves if row[2] != "0000:84:00.0"] == [
        (0, "unbind", "disk"),
        (1, "unbind", "bus"),
        (2, "unbind", "clock"),
        (3, "bind", "clock"),
        (4, "bind", "bus"),
        (5, "bind", "disk"),
    ]
    assert (0, "rebind", "0000:84:00.0") in waves
    assert told(planned(kernel, Wish(action="unbind"), "clock", "disk")) == {"clock": (True, ["consumers"])}


def test_a_circle_of_links_ends(tmp_path: Path) -> None:
    kernel = machine(tmp_path)
    chain(kernel)
    kernel.devlink("disk", "clock")
    assert len(planned(kernel, Wish(action="unbind"), "clock", "bus", "disk").changes) == 3


def test_what_is_below_another_device_of_the_plan_goes_with_it(tmp_path: Path) -> None:
    kernel = machine(tmp_path)
    plan = planned(kernel, Wish(action="unbind"), "virtio1", "0000:00:03.0")
    assert [one.name for one in plan.changes] == ["0000:00:03.0"]
    assert told(plan) == {"virtio1": (False, ["below"])}
    assert len(planned(kernel, Wish(action="unbind"), BRIDGE, NVME).changes) == 2


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.none() | st.integers(0, 2)), max_size=20))
def test_nodes_take_turns_in_each_wave(pairs: list[tuple[int, int | None]]) -> None:
    changes = [
        Change(
            device=f"devices/d{index}",
            bus="b",
            name=f"d{index}",
            action="unbind",
            driver_before="x",
            wave=wave,
            node=node,
        )
        for index, (wave, node) in enumerate(pairs)
    ]
    ordered = in_turns(changes)
    assert sorted(one.name for one in ordered) == sorted(one.name for one in changes)
    assert [one.wave for one in ordered] == sorted(one.wave for one in changes)
    for wave in {one.wave for one in changes}:
        nodes = [one.node for one in ordered if one.wave == wave]
        for upto in range(len(nodes)):
            counts = {node: nodes[:upto].count(node) for node in nodes}
            waiting = [node for node in counts if counts[node] < nodes.count(node)]
            assert max(counts.values()) - min((counts[node] for node in waiting), default=0) <= 1 or not waiting


# --- together or one by one


def test_every_verdict_of_the_table_has_its_evidence() -> None:
    table = safeties()
    assert (table["nvme"].bind, table["nvme"].unbind) == (PARALLEL, PARALLEL)
    assert (table["ioatdma"].bind, table["ioatdma"].unbind) == (ONE_BY_ONE, ONE_BY_ONE)
    assert "209041" in table["ioatdma"].evidence[0]
    assert all(row.evidence for row in table.values())


def drives_and_more(kernel: FakeKernel) -> None:
    for index in range(3):
        kernel.device("pci", f"0000:a0:0{index}.0", driver="ioatdma", node=0, ids=(0x8086, 0x6F20), pci_class=0x088000)
        kernel.device("pci", f"0000:b0:0{index}.0", driver="strange", node=1, ids=(1, 2), pci_class=0x120000)


@pytest.mark.parametrize(("jobs", "alone"), [(None, {"ioatdma", "strange"}), (8, {"ioatdma"})])
def test_known_drivers_go_together_and_unknown_ones_alone_unless_jobs_say_otherwise(
    tmp_path: Path, jobs: int | None, alone: set[str]
) -> None:
    kernel = machine(tmp_path)
    drives_and_more(kernel)
    plan = planned(kernel, Wish(action="rebind", jobs=jobs), "driver=ioatdma", "driver=strange", "driver=nvme")
    assert {one.driver_before for one in plan.changes if one.exclusive} == alone
    assert plan.jobs == (jobs or 4), "two drives, and one at a time of each of the two others"
    (warning,) = plan.warnings
    assert "nobody knows whether devices of strange may be bound beside each other" in warning
    assert "numbered two identical devices alike" in warning
    assert warning.endswith("--jobs takes them together" if jobs else "they are taken one by one")


def test_a_driver_whose_binding_is_known_is_unbound_alone_if_that_is_not(tmp_path: Path) -> None:
    kernel = machine(tmp_path)
    for index in range(2):
        kernel.device("pci", f"0000:a0:0{index}.0", driver="mei_me", node=0, ids=(0x8086, 1), pci_class=0x078000)
    assert safety("mei_me").bind == PARALLEL
    assert all(one.exclusive for one in planned(kernel, Wish(action="unbind"), "driver=mei_me").changes)


def test_devices_without_a_node_are_told(tmp_path: Path) -> None:
    plan = planned(machine(tmp_path), Wish(action="unbind"), "virtio1", GPU)
    assert plan.warnings == ("no node is known for virtio1: no CPU is nearer than another",)
