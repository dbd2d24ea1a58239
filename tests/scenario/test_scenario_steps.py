"""Steps that real runs needed: each against the kernel's rule, on the virtual machine and in words for a guest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from scenario_text import MACHINE, refusal, run, scenario

from numaprobe.errors import InputError
from numaprobe.policies import POLICIES
from numaprobe.scenario import Outcome, load_scenario, parse_scenario, prepare, run_setting, scenario_toml
from numaprobe.scenario.guest import guest_plan
from numaprobe.scenario.phases import Phase
from numaprobe.scenario.reader import parse_toml
from numaprobe.scenario.steps import Step

if TYPE_CHECKING:
    from numaprobe.records import Trace

#: node 0 has CPUs 0-3 in two caches, node 1 CPUs 4-7
TWO_CACHES = "2 nodes x 2 llcs x 2 cores"
MS = 1_000_000


def warned(outcome: Outcome, kind: str) -> list[str]:
    return [warning.message for warning in outcome.trace.warnings if warning.kind == kind]


def cpus(trace: Trace) -> list[int | None]:
    return [record.cpu for record in trace.probes]


# ---- the types -----------------------------------------------------------------------------------------------------
def test_a_type_enters_its_family_by_being_defined() -> None:
    assert {"compute", "register", "fail"} <= set(Phase.kinds)
    assert {"add", "register", "unbound_cpumask"} <= set(Step.kinds)
    assert all(kind.key == key for family in (Phase, Step) for key, kind in family.kinds.items())


def test_every_kind_of_step_has_its_own_meaning_and_its_words_for_a_guest() -> None:
    for kind in Step.kinds.values():
        assert kind.do is not Step.do
    silent = {key for key, kind in Step.kinds.items() if kind.shell is Step.shell}
    assert silent == {"block_probing", "late_initcall", "mark", "read", "write"}  # refused in the same words


def test_every_kind_of_phase_has_its_own_meaning() -> None:
    assert all(kind.do is not Phase.do for kind in Phase.kinds.values())


NEW: list[dict[str, Any]] = [
    {"unbound_cpumask": "2-3"},
    {"sriov_numvfs": {"device": "dev", "vfs": 4}},
    {"offline": "3", "during": {"probe": "dev", "after": "2ms"}},
    {"load": ["d"], "cpu": 1, "kind": "kworker"},
]


@pytest.mark.parametrize("step", NEW)
def test_a_new_step_is_written_as_it_was_read(step: dict[str, Any]) -> None:
    made = scenario(steps=[step], caller={"kind": "kthread", "comm": "irq/42-pciehp"})
    data = parse_toml(scenario_toml(made).encode(), "x")
    assert data["steps"] == [step]
    assert parse_scenario(data).steps == made.steps
    assert parse_scenario(data).caller == made.caller


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([{"sriov_numvfs": {"device": "dev"}}], "steps[0].sriov_numvfs.vfs: is missing"),
        ([{"sriov_numvfs": {"device": "dev", "vf": 1}}], "steps[0].sriov_numvfs.vf: unknown key; did you mean 'vfs'?"),
        ([{"add": "*", "during": {"after": "1ms"}}], "steps[0].during.probe: is missing"),
        ([{"add": "*", "kind": "kernel"}], "steps[0].kind: 'kernel': input should be 'user', 'kthread' or 'kworker'"),
        ([{"unbound_cpumask": "x"}], "steps[0].unbound_cpumask: "),
        ([{"parallel": [{"wait": 5}]}], "steps[0].parallel[0].wait: 5 is not a time"),
        ([{"add": "*", "load": "d", "x": 1}], "steps[0].x: unknown key; known: add, authorized, autoprobe, "),
        ([{"load": "d", "driver": "d"}], "steps[0]: 'driver' belongs to a step with 'bind'"),
    ],
)
def test_what_a_step_cannot_say_is_refused_with_its_place(steps: list[dict[str, Any]], said: str) -> None:
    assert said in (refusal(lambda: scenario(steps=steps)) or "")


def test_a_worker_has_no_name_of_its_own() -> None:
    text = refusal(lambda: scenario(caller={"kind": "kworker", "comm": "kworker/0:1"}))
    assert text == "scenario: caller: a kworker has the name that its pool gives it; leave out 'comm'"


# ---- /sys/devices/virtual/workqueue/cpumask ------------------------------------------------------------------------
ASYNC = [{"name": "d", "probe_type": "async", "phases": [{"compute": "1ms"}]}]


def asynchronous(*steps: dict[str, Any], machine: str = MACHINE, **changes: Any) -> Outcome:
    return run(machine=machine, drivers=ASYNC, steps=[*steps, {"add": "*"}, {"load": "d"}], **changes)


def test_unbound_work_runs_where_the_mask_says() -> None:
    assert cpus(asynchronous().trace) == [2]
    assert cpus(asynchronous({"unbound_cpumask": "3"}).trace) == [3]
    assert cpus(asynchronous({"unbound_cpumask": "1"}).trace) == [1], "no CPU of the node is left: all of the mask"


def test_a_mask_without_a_possible_cpu_is_einval_and_changes_nothing() -> None:
    outcome = asynchronous({"unbound_cpumask": "3"}, {"unbound_cpumask": "64-65"})
    assert warned(outcome, "cpumask") == ["writing '64-65' to cpumask failed: EINVAL"]
    assert cpus(outcome.trace) == [3]
    empty = asynchronous({"unbound_cpumask": ""})
    assert warned(empty, "cpumask") == ["writing '' to cpumask failed: EINVAL"]


def test_cpus_that_are_not_possible_are_left_out_of_the_mask() -> None:
    outcome = asynchronous({"unbound_cpumask": "3,64"})
    assert (cpus(outcome.trace), warned(outcome, "cpumask")) == ([3], [])


def test_isolated_cpus_may_be_written_on_purpose() -> None:
    booted = {"cmdline": "isolcpus=domain,2-3"}
    assert cpus(asynchronous(**booted).trace) != [2]
    assert cpus(asynchronous({"unbound_cpumask": "2-3"}, **booted).trace) == [2]


def test_a_partition_takes_its_cpus_out_of_what_was_written_last() -> None:
    """``workqueue_unbound_exclude_cpumask``: from wq_requested_unbound_cpumask, or all of that if none is left."""

    def where(*steps: dict[str, Any]) -> list[int | None]:
        return cpus(
            asynchronous(*steps, machine=TWO_CACHES, devices=[{"name": "dev", "node": 0, "compatible": "d"}]).trace
        )

    assert where({"unbound_cpumask": "2-3"}, {"isolate": "2"}) == [3]
    assert where({"unbound_cpumask": "2"}, {"isolate": "2"}) == [2]
    assert where({"isolate": "2"}, {"unbound_cpumask": "2"}) == [2]
    assert where({"unbound_cpumask": "2-3"}, {"isolate": "2"}, {"isolate": ""}) == [2]


def test_the_mask_bounds_what_is_queued_from_now_on_and_not_what_runs() -> None:
    long = [{"name": "d", "probe_type": "async", "phases": [{"compute": "5ms"}]}]
    steps = [
        {"add": "*"},
        {"register": "d"},
        {"wait": "1ms"},
        {"unbound_cpumask": "3"},
        {"settle": True},
        {"unbind": "dev"},
        {"remove": "dev"},
        {"add": "dev"},
    ]
    outcome = run(drivers=long, steps=steps)
    assert [record.cpu for record in outcome.trace.probes] == [2, 3]
    assert outcome.trace.probes[0].cpus == (2,)


# ---- sriov_numvfs --------------------------------------------------------------------------------------------------
NIC: dict[str, Any] = {
    "drivers": [
        {"name": "nic", "bus": "pci", "phases": [{"compute": "1ms"}]},
        {"name": "nicvf", "bus": "pci", "match": ["nic-vf"], "phases": [{"compute": "1ms"}]},
    ],
    "devices": [{"name": "0000:81:00.0", "bus": "pci", "node": 1, "compatible": "nic"}],
}
FUNCTION = "0000:81:00.0"


def numvfs(vfs: int, **more: Any) -> dict[str, Any]:
    return {"sriov_numvfs": {"device": FUNCTION, "vfs": vfs}} | more


BOUND: list[dict[str, Any]] = [{"add": "*"}, {"load": ["nicvf", "nic"]}]


def test_functions_that_are_enabled_after_the_probe_are_no_nested_probes() -> None:
    """``pci_physfn_is_probed``: nobody probes the physical function any more, so they get a work of their own."""
    late = run("work-on-cpu", **NIC, steps=[*BOUND, numvfs(2)])
    assert [(r.device[-1], r.nested, r.comm, r.cpu) for r in late.trace.probes] == [
        ("0", False, "kworker/2:0", 2),
        ("1", False, "kworker/2:0", 2),
        ("2", False, "kworker/2:0", 2),
    ]
    inside = NIC | {"drivers": [NIC["drivers"][0] | {"phases": [{"enable_vfs": 2}]}, NIC["drivers"][1]]}
    early = run("work-on-cpu", **inside, steps=[{"add": "*"}, {"load": ["nicvf", "nic"]}])
    assert [r.nested for r in early.trace.probes] == [False, True, True]


@pytest.mark.parametrize("policy", POLICIES)
def test_functions_come_and_go_under_every_policy(policy: str) -> None:
    gone = {"expect_bound": f"{FUNCTION[:-1]}*"}
    outcome = run(policy, **NIC, steps=[*BOUND, numvfs(4), gone, numvfs(0), numvfs(3), gone, {"unbind": FUNCTION}])
    assert outcome.passed
    assert [check.detail for check in outcome.checks] == ["5 of 5 bound", "4 of 4 bound"]
    assert warned(outcome, "sriov_numvfs") == []


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([{"add": "*"}, numvfs(2)], "writing 2 for 0000:81:00.0 to sriov_numvfs failed: ENOENT"),
        ([*BOUND, numvfs(2), numvfs(3)], "writing 3 for 0000:81:00.0 to sriov_numvfs failed: EBUSY"),
        ([*BOUND, numvfs(65535)], "writing 65535 for 0000:81:00.0 to sriov_numvfs failed: ENOMEM"),
        ([*BOUND, numvfs(2), numvfs(2)], None),
        ([*BOUND, numvfs(0)], None),
    ],
)
def test_the_file_answers_as_the_kernels(steps: list[dict[str, Any]], said: str | None) -> None:
    assert warned(run(**NIC, steps=steps), "sriov_numvfs") == ([] if said is None else [said])


def test_a_device_of_another_bus_has_no_such_file() -> None:
    outcome = run(steps=[{"add": "*"}, {"load": "d"}, {"sriov_numvfs": {"device": "dev", "vfs": 1}}])
    assert warned(outcome, "sriov_numvfs") == ["writing 1 for dev to sriov_numvfs failed: ENOENT"]


def test_the_writer_holds_the_devices_lock() -> None:
    """Unbinding the physical function meanwhile waits until its functions are probed (``device_lock`` of the store)."""
    slow = NIC | {"drivers": [NIC["drivers"][0], NIC["drivers"][1] | {"phases": [{"sleep": "10ms"}]}]}
    beside = [numvfs(2, cpu=0), {"sequence": [{"wait": "5ms"}, {"unbind": FUNCTION, "at_least": "14ms"}], "cpu": 1}]
    outcome = run(**slow, steps=[*BOUND, {"parallel": beside}])
    assert outcome.passed, outcome.checks
    assert len(outcome.trace.probes) == 3


# ---- in the middle of a probe --------------------------------------------------------------------------------------
def amid(step: dict[str, Any], after: str, **changes: Any) -> Outcome:
    probe = [{"name": "d", "phases": [{"compute": "10ms"}]}]
    step = step | {"during": {"probe": "dev", "after": after}}
    return run(**({"drivers": probe, "steps": [step, {"add": "*"}, {"load": "d"}]} | changes))


def test_a_cpu_goes_off_line_in_the_middle_of_a_named_probe() -> None:
    """The task is moved, and goes on with what is left: ``select_fallback_rq``, as for any task of a CPU that goes."""
    probe = [{"name": "d", "probe_type": "async", "phases": [{"compute": "10ms"}]}]
    (record,) = amid({"offline": "2"}, "4ms", drivers=probe).trace.probes
    assert record.cpus is not None
    assert record.cpus[0] == 2
    assert record.cpus[1] != 2
    assert (record.running_ns, record.cost_ns) == (10 * MS, 10 * MS)
    (record,) = amid({"offline": "2"}, "4ms", drivers=probe, kernel="6.1").trace.probes
    assert record.cpus is not None
    assert record.cpus[1] != 2


def test_the_moment_is_counted_from_the_start_of_the_probe() -> None:
    outcome = run(
        drivers=[{"name": "d", "phases": [{"compute": "10ms"}]}, {"name": "e", "phases": [{"compute": "1ms"}]}],
        devices=[{"name": "dev", "compatible": "d"}, {"name": "other", "compatible": "e"}],
        steps=[
            {"load": "e"},
            {"add": "other", "during": {"probe": "dev", "after": "4ms"}},
            {"wait": "3ms"},
            {"add": "dev"},
            {"load": "d"},
        ],
    )
    assert {record.device: record.start_ns for record in outcome.trace.probes} == {"dev": 3 * MS, "other": 7 * MS}


def test_a_moment_that_never_comes_is_a_failed_check() -> None:
    late = amid({"offline": "3"}, "11ms")
    assert late.failures == [
        "check failed: steps[0]: offline 11.000 ms into the probe of dev (it never lasted so long)"
    ]
    never = amid({"offline": "3"}, "1ms", steps=[{"offline": "3", "during": {"probe": "x"}, "check": "x"}])
    assert never.failures == ["check failed: x (it was not probed)"]


def test_a_retry_may_last_long_enough() -> None:
    phases = [{"compute": "1ms"}, {"fail": "EPROBE_DEFER", "attempts": 1}, {"compute": "9ms"}]
    steps = [
        {"offline": "3", "during": {"probe": "dev", "after": "5ms"}},
        {"add": "*"},
        {"load": "d"},
        {"wait": "1ms"},
        {"drivers_probe": "dev"},
    ]
    assert amid({}, "0ms", drivers=[{"name": "d", "phases": phases}], steps=steps).passed


@pytest.mark.parametrize("policy", POLICIES)
def test_any_step_may_be_taken_in_the_middle_under_every_policy(policy: str) -> None:
    steps = [
        {"unbound_cpumask": "3", "during": {"probe": "dev", "after": "1ms"}},
        {"offline": "2", "during": {"probe": "dev", "after": "2ms"}},
        {"add": "*"},
        {"load": "d"},
        {"expect_bound": "dev"},
    ]
    outcome = run(policy, drivers=[{"name": "d", "phases": [{"compute": "5ms"}]}], steps=steps)
    assert outcome.passed, outcome.failures


# ---- a CPU goes in the middle of a PCI probe -----------------------------------------------------------------------
#: CPU 2 is the first of node 1, where PCI's own code sends the probe; CPU 3 is free
HOLDERS = {"work-on-cpu", "probe-workqueue", "skip-in-worker"}


def amid_pci(policy: str, steps: list[dict[str, Any]], **more: Any) -> Outcome:
    base: dict[str, Any] = {
        "drivers": [{"name": "d", "bus": "pci", "phases": [{"compute": "5ms"}]}],
        "devices": [{"name": "0000:81:00.0", "bus": "pci", "node": 1, "compatible": "d"}],
    }
    return run(policy, steps=[*steps, {"add": "*"}, {"load": "d"}, {"expect_bound": "*"}], **base | more)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kernel", ["5.10", "6.1", "6.19", "7.3"])
def test_pci_as_it_is_lets_no_cpu_go_while_it_probes(policy: str, kernel: str) -> None:
    """``cpu_hotplug_disable`` in ``pci_call_probe``, of every release; the patches that take it out let it go."""
    outcome = amid_pci(policy, [{"offline": "2-3", "during": {"probe": "0000:81:00.0", "after": "1ms"}}], kernel=kernel)
    assert outcome.passed, outcome.failures
    (record,) = outcome.trace.probes
    held = "CPU {} stays online (EBUSY): CPU hotplug is held off by the PCI probe of 0000:81:00.0"
    assert warned(outcome, "cpu-hotplug") == ([held.format(2), held.format(3)] if policy in HOLDERS else [])
    if policy in HOLDERS:
        assert record.cpus == (2,)
    else:
        assert not {2, 3} & set((record.cpus or ())[-1:]), "its CPUs went, and it went elsewhere"


@pytest.mark.parametrize("node", [1, -1])
def test_a_pci_probe_in_its_caller_holds_cpus_too_and_only_while_it_runs(node: int) -> None:
    devices = [{"name": "0000:81:00.0", "bus": "pci", "node": node, "compatible": "d"}]
    during = {"probe": "0000:81:00.0", "after": "1ms"}
    steps = [{"offline": "1"}, {"online": "1", "during": during}]
    outcome = amid_pci("work-on-cpu", steps, devices=devices)
    assert [text[:20] for text in warned(outcome, "cpu-hotplug")] == ["CPU 1 stays offline "]
    tail = [{"add": "*"}, {"load": "d"}, {"offline": "3"}, {"online": "3"}]
    assert not warned(run("work-on-cpu", **PCI, steps=tail), "cpu-hotplug")


def test_a_cpu_that_was_kept_online_may_be_brought_online() -> None:
    """As in the kernel, where that write changes nothing; a scenario cannot know which of its writes were refused."""
    steps = [{"offline": "3", "during": {"probe": "0000:81:00.0", "after": "1ms"}}, {"add": "*"}, {"load": "d"}]
    tail = [{"online": "3"}, {"offline": "3"}, {"online": "3"}]
    drivers = [{"name": "d", "bus": "pci", "phases": [{"compute": "5ms"}]}]
    outcome = run("work-on-cpu", **PCI | {"drivers": drivers}, steps=[*steps, *tail])
    assert len(warned(outcome, "cpu-hotplug")) == 1
    with pytest.raises(InputError, match="online already"):
        run("work-on-cpu", **PCI, steps=[{"online": "3"}])


def test_a_probe_that_fails_or_is_deferred_lets_cpus_go_again() -> None:
    for body in ({"fail": "EIO"}, {"fail": "EPROBE_DEFER"}):
        drivers = [{"name": "d", "bus": "pci", "phases": [{"compute": "1ms"}, body]}]
        steps = [{"add": "*"}, {"load": "d"}, {"offline": "3"}]
        assert not warned(run("work-on-cpu", **PCI | {"drivers": drivers}, steps=steps), "cpu-hotplug")


def test_a_probe_of_another_bus_holds_no_cpu() -> None:
    outcome = run("work-on-cpu", steps=[{"offline": "3", "during": {"probe": "dev"}}, {"add": "*"}, {"load": "d"}],
                  drivers=[{"name": "d", "phases": [{"compute": "5ms"}]}])  # fmt: skip
    assert not warned(outcome, "cpu-hotplug")


def test_a_virtual_function_under_its_physical_one_is_named_too() -> None:
    drivers = [
        {"name": "d", "bus": "pci", "phases": [{"enable_vfs": 1}]},
        {"name": "vf", "bus": "pci", "match": ["d-vf"], "phases": [{"compute": "5ms"}]},
    ]
    steps = [{"offline": "3", "during": {"probe": "0000:81:00.1", "after": "1ms"}}, {"load": "vf"}]
    (text,) = warned(amid_pci("work-on-cpu", steps, drivers=drivers), "cpu-hotplug")
    assert text.endswith("by the PCI probe of 0000:81:00.0, the PCI probe of 0000:81:00.1")


# ---- who the caller is ---------------------------------------------------------------------------------------------
PCI: dict[str, Any] = {
    "drivers": [{"name": "d", "bus": "pci", "phases": [{"compute": "1ms"}]}],
    "devices": [{"name": "0000:81:00.0", "bus": "pci", "node": 1, "compatible": "d"}],
}


@pytest.mark.parametrize(
    ("caller", "comm", "where"),
    [
        ({}, "kworker/2:0", 2),
        ({"kind": "kthread", "comm": "irq/42-pciehp"}, "kworker/2:0", 2),
        ({"kind": "kworker", "cpu": 1}, "kworker/1:0", 1),
        ({"kind": "kworker", "cpu": 1, "pinned": False}, "kworker/u", None),
    ],
)
def test_a_policy_that_asks_whether_it_runs_in_a_worker_gets_the_answer(
    caller: dict[str, Any], comm: str, where: int | None
) -> None:
    (record,) = run("skip-in-worker", **PCI, caller=caller).trace.probes
    assert (record.comm or "").startswith(comm)
    assert where in (None, record.cpu)


def test_a_kernel_thread_is_kept_from_tickless_cpus_and_not_from_isolated_ones() -> None:
    def cpu(cmdline: str, **caller: Any) -> int | None:
        return run("inline", caller=caller, cmdline=cmdline).trace.probes[0].cpu

    kthread = {"kind": "kthread", "comm": "khubd", "cpu": 2}
    assert cpu("", **kthread) == 2
    assert cpu("nohz_full=2-3", **kthread) in (0, 1)
    assert cpu("isolcpus=domain,2-3", **kthread) == 2
    assert cpu("nohz_full=2-3", **kthread, pinned=True) == 2, "kthread_bind()"


def test_one_step_by_a_worker_and_the_next_by_a_program() -> None:
    steps = [{"add": "*"}, {"load": "d", "kind": "kworker", "cpu": 3}, {"unbind": "*"}, {"bind": "*", "cpu": 0}]
    records = run("inline", **PCI, steps=steps).trace.probes
    assert [(r.comm, r.cpu) for r in records] == [("kworker/3:0", 3), ("modprobe", 0)]


# ---- guests --------------------------------------------------------------------------------------------------------
def guest(**changes: Any) -> tuple[str, ...]:
    made = load_scenario("lab-nvme")
    data = parse_toml(scenario_toml(made).encode(), "x") | changes
    made = parse_scenario(data)
    return guest_plan(made, prepare(made).plan.topology, (6, 12)).steps


def test_the_mask_is_written_in_a_guest_as_the_kernel_reads_it() -> None:
    (line,) = guest(steps=[{"unbound_cpumask": "1-2"}])
    assert line == "step 'steps[0]' /bin/sh -c 'echo 6 > /sys/devices/virtual/workqueue/cpumask'"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"steps": [{"sriov_numvfs": {"device": "x", "vfs": 1}}]},
            "steps[0]: no device of the lab has virtual functio",
        ),
        ({"steps": [{"offline": "1", "during": {"probe": "x"}}]}, "steps[0].during: the lab does not know when a real"),
        ({"steps": [{"load": "nvme", "kind": "kworker"}]}, "steps[0].kind: the steps of the lab are taken by a shell"),
        ({"caller": {"kind": "kthread"}}, "caller.kind: the steps of the lab are taken by a shell"),
        ({"steps": [{"mark": "x"}]}, "steps[0]: the lab cannot take the step 'mark'; run it on the virtual mach"),
    ],
)
def test_what_a_guest_cannot_do_is_refused_in_words(changes: dict[str, Any], said: str) -> None:
    assert said in (refusal(lambda: guest(**changes)) or "")


def test_runs_are_repeatable_with_all_of_it() -> None:
    steps = [*NEW[2:3], NEW[0], {"add": "*"}, {"load": "d", "kind": "kworker"}]
    traces = [run_setting(prepare(scenario(steps=steps)), "spread", timeline=True).trace for _ in range(2)]
    assert traces[0] == traces[1]
