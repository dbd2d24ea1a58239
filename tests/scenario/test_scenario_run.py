from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from scenario_text import run, scenario

from counting import lines_run
from numaprobe.errors import BodyError, DeadlockError, InputError, UsageError
from numaprobe.scenario import run_scenario

if TYPE_CHECKING:
    from numaprobe.records import Trace

MS = 1_000_000


def only(trace: Trace) -> Any:
    (record,) = trace.probes
    return record


def phases(*items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"drivers": [{"name": "d", "phases": list(items), **more}]}


def device(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "compatible": "d", **more}


# ---- phases --------------------------------------------------------------------------------------------------------
def test_compute_and_sleep_are_what_a_probe_costs() -> None:
    record = only(run(**phases({"sleep": "2ms"}, {"compute": "3ms"}, {"sleep": "1ms"})).trace)
    assert (record.cost_ns, record.running_ns, record.sleeping_ns) == (6 * MS, 3 * MS, 3 * MS)
    assert (record.device, record.driver, record.bus, record.function) == ("dev", "d", "platform", "d_probe")


def test_a_held_lock_makes_probes_take_turns() -> None:
    held = {"hold": {"lock": "acpi", "phases": [{"sleep": "4ms"}]}}
    trace = run(**phases(held, probe_type="async"), devices=[device("x{i}", count=3, node=0)]).trace
    assert sorted(record.cost_ns for record in trace.probes) == [4 * MS, 8 * MS, 12 * MS]


@pytest.mark.parametrize(("where", "node"), [("local", 0), ("device", 1), (0, 0), (1, 1)])
def test_memory_is_allocated_where_it_is_asked_for(where: object, node: int) -> None:
    record = only(run("inline", **phases({"allocate": {"size": "4KiB", "where": where}})).trace)
    assert dict(record.memory) == {node: 4096}


def test_memory_of_a_device_without_node_is_local() -> None:
    allocate = {"allocate": {"size": "4KiB", "where": "device"}}
    assert dict(only(run(**phases(allocate), devices=[device("x")]).trace).memory) == {0: 4096}


def test_a_failing_probe_reports_its_errno_and_runs_no_further() -> None:
    record = only(run(**phases({"compute": "1ms"}, {"fail": "ENODEV"}, {"compute": "1ms"})).trace)
    assert (record.result, record.cost_ns) == ("ENODEV", MS)


def test_a_probe_can_ask_for_a_later_try_a_number_of_times() -> None:
    steps = [{"add": "*"}, {"load": "d"}, {"unbind": "other"}, {"settle": True}, {"expect_bound": "*"}]
    drivers = [
        {"name": "d", "phases": [{"fail": "EPROBE_DEFER", "attempts": 1}, {"compute": "1ms"}]},
        {"name": "o", "phases": []},
    ]
    devices = [device("dev"), {"name": "other", "compatible": "o"}]
    steps[2:3] = [{"load": "o"}]
    outcome = run(drivers=drivers, devices=devices, steps=steps)
    assert [(r.result, r.attempt) for r in outcome.trace.probes if r.device == "dev"] == [("EPROBE_DEFER", 1), ("0", 2)]
    assert outcome.passed


def test_a_probe_waits_for_another_device_or_gives_up() -> None:
    drivers = [
        {"name": "d", "probe_type": "async", "phases": [{"wait": {"device": "slow", "timeout": "10ms"}}]},
        {"name": "s", "probe_type": "async", "phases": [{"sleep": "4ms"}]},
    ]
    devices = [device("dev"), {"name": "slow", "compatible": "s"}]
    steps = [{"add": "*"}, {"register": ["d", "s"]}, {"settle": True}]
    by_name = {r.device: r for r in run(drivers=drivers, devices=devices, steps=steps).trace.probes}
    assert (by_name["dev"].result, by_name["dev"].cost_ns) == ("0", 4 * MS)
    late = only(run(**phases({"wait": {"device": "never", "timeout": "10ms"}})).trace)
    assert (late.result, late.cost_ns) == ("ETIMEDOUT", 10 * MS)
    early = run(**phases({"wait": {"supplier": "never", "timeout": "1ms"}})).trace
    assert early.probes[0].result == "EPROBE_DEFER"


def test_children_are_registered_in_the_probe_and_taken_back() -> None:
    drivers = [
        {"name": "d", "phases": [{"register": [{"name": "{parent}-{i}", "count": 2, "compatible": "c"}]}]},
        {"name": "c", "phases": [{"compute": "1ms"}]},
    ]
    steps = [{"load": "c"}, {"add": "*"}, {"load": "d"}, {"expect_bound": ["dev-0", "dev-1"]}, {"unbind": "dev"}]
    outcome = run(drivers=drivers, steps=steps)
    assert outcome.passed
    children = [r for r in outcome.trace.probes if r.driver == "c"]
    assert [(r.device, r.device_node, r.nested) for r in children] == [("dev-0", 1, True), ("dev-1", 1, True)]
    with pytest.raises(InputError, match=r"steps\[5\].expect_bound: 'dev-0' is no device here"):
        run(drivers=drivers, steps=[*steps, {"expect_bound": "dev-0"}])


def test_children_of_a_failed_probe_are_taken_back() -> None:
    fails = [{"register": [{"name": "child"}]}, {"fail": "EIO"}]
    with pytest.raises(InputError, match="'child' is no device here"):
        run(**phases(*fails), steps=[{"add": "*"}, {"load": "d"}, {"remove": "child"}])


def test_virtual_functions_are_enabled_on_pci_alone() -> None:
    drivers = [
        {"name": "d", "bus": "pci", "phases": [{"enable_vfs": 3}]},
        {"name": "vf", "bus": "pci", "match": ["d-vf"], "phases": [{"compute": "1ms"}]},
    ]
    devices = [{"name": "0000:81:00.0", "bus": "pci", "node": 1, "compatible": "d"}]
    trace = run("work-on-cpu", drivers=drivers, devices=devices, order="drivers-first").trace
    assert [r.device for r in trace.probes] == [f"0000:81:00.{i}" for i in range(4)]
    refused = run(**phases({"enable_vfs": 3})).trace
    assert only(refused).result == "EIO"
    assert BodyError.__name__ in refused.warnings[0].message


def test_jitter_is_repeatable_bounded_and_the_same_under_every_policy() -> None:
    jittery = phases({"compute": "10ms"}, jitter=0.2) | {"devices": [device("x{i}", count=20, node=0)]}
    first, again, other = (
        run(policy, seed=seed, **jittery).trace for policy, seed in (("inline", 1), ("inline", 1), ("probe-on-node", 1))
    )
    costs = [r.running_ns for r in first.probes]
    assert costs == [r.running_ns for r in again.probes] == [r.running_ns for r in other.probes]
    assert all(8 * MS <= (cost or 0) <= 12 * MS for cost in costs)
    assert len(set(costs)) > 15
    assert costs != [r.running_ns for r in run("inline", seed=2, **jittery).trace.probes]


# ---- steps ---------------------------------------------------------------------------------------------------------
def test_without_steps_devices_come_before_drivers_or_after() -> None:
    sync = only(run().trace)
    assert (sync.cpu, sync.comm, sync.caller_comm) == (0, "modprobe", "modprobe")
    late = only(run(order="drivers-first").trace)
    assert late.result == "0"


def test_the_caller_is_where_the_scenario_puts_it() -> None:
    record = only(run(caller={"comm": "insmod", "cpu": 3}).trace)
    assert (record.cpu, record.comm) == (3, "insmod")
    free = only(run(caller={"comm": "insmod", "cpu": 2, "pinned": False}).trace)
    assert (free.cpu, free.comm) == (2, "insmod")


def test_parallel_steps_run_at_the_same_time_in_tasks_of_their_own() -> None:
    steps = [
        {"autoprobe": {"bus": "platform", "on": False}},
        {"add": "*"},
        {"register": "d"},
        {
            "parallel": [
                {"bind": "x0", "cpu": 1, "comm": "sh"},
                {"sequence": [{"wait": "1ms"}, {"bind": "x1"}], "cpu": 2},
            ]
        },
        {"expect_bound": "*"},
    ]
    outcome = run(**phases({"sleep": "5ms"}), devices=[device("x{i}", count=2)], steps=steps)
    assert outcome.passed
    assert [(r.device, r.cpu, r.comm, r.start_ns) for r in outcome.trace.probes] == [
        ("x0", 1, "sh", 0),
        ("x1", 2, "modprobe", MS),
    ]


def test_unbind_bind_rescan_and_remove() -> None:
    steps = [
        {"add": "*"}, {"load": "d"}, {"unbind": "dev"}, {"drivers_probe": "dev"}, {"unbind": "dev"}, {"bind": "dev"},
        {"expect_bound": "dev"}, {"unregister": "d"}, {"remove": "dev"},
    ]  # fmt: skip
    outcome = run(steps=steps)
    assert [r.attempt for r in outcome.trace.probes] == [1, 2, 3]
    assert outcome.passed


def test_a_bind_that_fails_is_a_warning_with_its_errno() -> None:
    outcome = run(**phases({"fail": "EPROBE_DEFER"}), steps=[{"register": "d"}, {"add": "*"}, {"bind": "dev"}])
    assert "writing dev to bind failed: EAGAIN" in [w.message for w in outcome.trace.warnings]


def test_blocked_probing_is_deferred_until_it_is_unblocked() -> None:
    steps = [
        {"block_probing": True},
        {"add": "*"},
        {"load": "d"},
        {"wait": "3ms"},
        {"block_probing": False},
        {"settle": True},
    ]
    record = run(steps=steps).trace.probes[-1]
    assert record.result == "0"
    assert record.start_ns >= 3 * MS


def test_cpus_go_off_line_and_come_back() -> None:
    drivers = [{"name": "d", "bus": "pci", "phases": [{"compute": "1ms"}]}]
    devices = [{"name": f"0000:8{i}:00.0", "bus": "pci", "node": 1, "compatible": "d"} for i in range(3)]
    steps = [{"load": "d"}, {"offline": "2"}, {"add": "0000:80*"}, {"online": "2"}, {"add": "0000:81*"}]
    trace = run("work-on-cpu", drivers=drivers, devices=devices, steps=steps).trace
    assert [r.cpu for r in trace.probes] == [3, 2]


def test_cpus_are_isolated_while_running() -> None:
    drivers = [{"name": "d", "bus": "pci", "phases": [{"compute": "1ms"}]}]
    devices = [{"name": f"0000:8{i}:00.0", "bus": "pci", "node": 1, "compatible": "d"} for i in range(2)]
    steps = [{"load": "d"}, {"isolate": "2"}, {"add": "0000:80*"}, {"isolate": ""}, {"add": "0000:81*"}]
    cpus = {
        kernel: [
            r.cpu
            for r in run("probe-workqueue", drivers=drivers, devices=devices, steps=steps, kernel=kernel).trace.probes
        ]
        for kernel in ("7.3", "6.12")
    }
    assert cpus == {"7.3": [3, 2], "6.12": [2, 2]}


@pytest.mark.parametrize(
    "busy",
    [
        {"cpus": "0"},
        {"cpus": "0", "compute": "1ms", "duration": "50ms"},
        {"cpus": "0", "compute": "1ms"},
        {"cpus": "0", "tasks": 2, "floating": True, "compute": "2ms", "sleep": "1us"},
    ],
)
def test_background_tasks_take_the_cpu_away(busy: dict[str, Any]) -> None:
    record = only(
        run(**phases({"compute": "20ms"}), steps=[{"busy": busy}, {"wait": "1ms"}, {"add": "*"}, {"load": "d"}]).trace
    )
    assert record.running_ns == 20 * MS
    assert record.runnable_ns > 10 * MS


def test_steps_that_take_too_long_fail_their_check() -> None:
    steps = [{"add": "*"}, {"load": "d", "at_most": "500us", "at_least": "100us", "check": "loading"}]
    outcome = run(steps=steps)
    assert [(c.check, c.passed, c.detail) for c in outcome.checks] == [
        ("loading: at most 500.000 µs", False, "1.000 ms"),
        ("loading: at least 100.000 µs", True, "1.000 ms"),
    ]
    assert not outcome.passed
    assert outcome.trace.warnings[-1].message == "check failed: loading: at most 500.000 µs (1.000 ms)"


def test_a_check_names_what_is_not_bound() -> None:
    outcome = run(steps=[{"add": "*"}, {"expect_bound": "*"}])
    assert [(c.check, c.passed, c.detail) for c in outcome.checks] == [("bound: *", False, "0 of 1 bound; not: dev")]


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ({"add": "nope"}, "steps[1].add: 'nope' is no device here"),
        ({"load": "nope"}, "steps[1].load: unknown driver 'nope'"),
        ({"remove": "dex"}, "steps[1].remove: 'dex' is no device here; did you mean 'dev'?"),
        ({"add": "dev"}, "steps[1].add: device dev is on bus platform already"),
        ({"offline": "0-3"}, "steps[1].offline: CPU 3 is the last one online"),
        ({"online": "1"}, "steps[1].online: CPU 1 cannot come online"),
        ({"isolate": "0-3"}, "steps[1].isolate: CPUs 0-3 cannot be isolated"),
        ({"autoprobe": {"bus": "usb", "on": True}}, "steps[1].autoprobe: unknown bus 'usb'"),
        ({"unregister": "d"}, "steps[1].unregister: driver d is not registered"),
        ({"parallel": [{"add": "nope"}]}, "steps[1].parallel[0].add: 'nope' is no device here"),
        ({"cpu": 1, "load": "nope"}, "steps[1].load: unknown driver 'nope'"),
    ],
)
def test_steps_that_cannot_be_taken_are_told_with_their_place(step: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError) as caught:
        run(steps=[{"add": "dev"}, step])
    assert reason in str(caught.value)
    assert str(caught.value).startswith("scenario: ")


# ---- runs ----------------------------------------------------------------------------------------------------------
def test_a_deadlock_is_named_and_keeps_what_was_done() -> None:
    devices = [device("dev"), {"name": "good", "compatible": "g"}]
    drivers = [{"name": "g"}, {"name": "d", "phases": [{"wait": {"device": "never"}}]}]
    outcome = run(drivers=drivers, devices=devices)
    assert outcome.deadlock is not None
    assert "never is bound" in outcome.deadlock
    assert not outcome.passed
    assert [r.device for r in outcome.trace.probes] == ["good"]
    assert outcome.trace.warnings[-1].kind == "deadlock"
    with pytest.raises(DeadlockError, match=r"^deadlock: .*never is bound"):
        run_scenario(scenario(drivers=drivers, devices=devices), "inline")


def test_a_trace_says_where_it_comes_from() -> None:
    trace = run("probe-on-node+pin", kernel="7.3").trace
    assert (trace.source, trace.kernel, trace.policy, trace.scenario) == ("virtual", "7.3", "probe-on-node+pin", "test")
    assert trace.machine["name"] == "2 nodes x 1 llc x 2 cores"


def test_runs_are_repeatable_and_leave_the_scenario_alone() -> None:
    one = scenario(
        devices=[device("x{i}", count=9, node="spread")],
        drivers=[{"name": "d", "probe_type": "async", "phases": [{"compute": "1ms"}]}],
    )
    assert run_scenario(one, "exec-on-node", timeline=True) == run_scenario(one, "exec-on-node", timeline=True)


def test_unknown_policies_are_told() -> None:
    with pytest.raises(UsageError, match="did you mean 'inline'"):
        run("inlin")


def test_the_nvdimm_bus_adds_its_devices_asynchronously() -> None:
    drivers = [{"name": "d", "bus": "nd", "probe_type": "sync", "phases": [{"compute": "5ms"}]}]
    devices = [{"name": "pmem{i}", "count": 2, "bus": "nd", "node": [0, 1], "compatible": "d"}]
    first = run(drivers=drivers, devices=devices).trace
    assert first.probes[1].start_ns >= first.probes[0].end_ns
    late = run(drivers=drivers, devices=devices, order="drivers-first").trace
    assert late.probes[1].start_ns < late.probes[0].end_ns


def test_a_bus_can_be_added_and_switched_off() -> None:
    buses = [{"name": "slow", "kind": "virtio", "autoprobe": False}]
    drivers = [{"name": "d", "bus": "slow", "phases": [{"compute": "1ms"}]}]
    devices = [{"name": "x", "bus": "slow", "compatible": "d"}]
    assert run(buses=buses, drivers=drivers, devices=devices).trace.probes == ()


def test_asynchronous_probes_elsewhere_fail_the_check() -> None:
    drivers = [{"name": "d", "probe_type": "async", "phases": [{"compute": "1ms"}]}]
    settled = {
        "drivers": drivers,
        "expect_async_on_node": True,
        "steps": [{"add": "*"}, {"register": "d"}, {"settle": True}],
    }
    assert run(**settled).passed
    # the pod of node 1's first CPU is isolated: the work goes machine-wide
    lost = run(**settled, cmdline="isolcpus=2-3")
    assert [c.passed for c in lost.checks] == [False]
    assert "elsewhere, first dev on CPU" in lost.checks[0].detail


def test_many_devices_with_parents_are_added_in_linear_time() -> None:
    def work(count: int) -> int:
        hubs = {"name": "hub{i}", "count": count}
        ports = {"name": "port{i}", "count": count, "parent": "hub{i}", "compatible": "d"}
        return lines_run(lambda: counts.append(len(run(devices=[hubs, ports]).trace.probes)))

    counts: list[int] = []
    # ten times as many: ten times the work; a look at all for each would be a hundred
    assert work(300) < 12 * work(30)
    assert sorted(counts) == [30, 300]
