"""Scenarios on this computer: what the virtual machine says they do is what they do, times apart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError, InternalError, RefusedError
from numaprobe.hostmachine import limits
from numaprobe.hostmachine.others import Others
from numaprobe.policies import POLICIES
from numaprobe.scenario import parse_scenario, prepare, run_setting
from numaprobe.scenario.burners import Burners
from numaprobe.scenario.real import here, run_real

if TYPE_CHECKING:
    from numaprobe.records import ProbeRecord
    from numaprobe.scenario import Setting

FIRST = min(os.sched_getaffinity(0))
HERE = "this computer"

SCENARIO = {
    "name": HERE,
    "machine": "host",
    "caller": {"cpu": FIRST},
    "drivers": [
        {
            "name": "disk",
            "bus": "pci",
            "probe_type": "async",
            "phases": [
                {"allocate": "1MiB"},
                {"sleep": "2ms"},
                {"hold": {"lock": "firmware", "phases": [{"compute": "200us"}]}},
                {"wait": {"supplier": "clock"}},
            ],
        },
        {"name": "clock", "phases": [{"compute": "100us"}]},
        {"name": "hub", "phases": [{"register": [{"name": "port{i}", "count": 2, "compatible": "port"}]}]},
        {"name": "port"},
        {"name": "broken", "phases": [{"fail": "ENODEV"}]},
        {"name": "late", "phases": [{"fail": "EPROBE_DEFER", "attempts": 1}]},
    ],
    "devices": [
        {"name": "0000:{i:02x}:00.0", "count": 3, "first": 1, "bus": "pci", "node": 0, "compatible": "disk"},
        {"name": "clock", "compatible": "clock"},
        {"name": "hub", "compatible": "hub", "node": 0},
        {"name": "broken", "compatible": "broken"},
        {"name": "late", "compatible": "late"},
    ],
    "steps": [
        {"register": ["port", "clock"]},
        {"add": "*"},
        {"load": "late"},  # deferred, until one of the next is bound
        {"load": ["disk", "hub", "broken"], "at_least": "1ms"},
        {"settle": True},
        {"expect_bound": ["0000:*", "hub", "port*", "clock", "late"]},
    ],
}


def setting(**changes: object) -> Setting:
    return prepare(parse_scenario(SCENARIO | changes, HERE))


def deed(record: ProbeRecord) -> tuple[object, ...]:
    """What a probe did, wherever and however long."""
    return record.device, record.driver, record.attempt, record.result, record.asynchronous, record.nested


@pytest.mark.parametrize("policy", POLICIES)
def test_it_happens_as_the_virtual_machine_says(policy: str) -> None:
    predicted = run_setting(here(setting()), policy)
    measured = run_real(setting(), policy)
    assert sorted(map(deed, measured.trace.probes), key=repr) == sorted(map(deed, predicted.trace.probes), key=repr)
    assert [(one.check, one.passed) for one in measured.checks] == [(one.check, one.passed) for one in predicted.checks]
    assert measured.passed
    assert (measured.trace.source, measured.trace.policy) == ("host", predicted.trace.policy)
    assert measured.trace.machine["name"] == predicted.trace.machine["name"]


def test_phases_take_at_least_their_time_and_memory_is_touched() -> None:
    disks = [record for record in run_real(setting(), "strict-node").trace.probes if record.driver == "disk"]
    for record in disks:
        assert record.cost_ns >= 2_200_000
        assert (record.running_ns or 0) >= 200_000
        assert record.memory is None or sum(record.memory.values()) == 1 << 20
        assert record.local


def test_a_caller_that_may_move_is_not_pinned() -> None:
    outcome = run_real(setting(caller={"cpu": FIRST, "pinned": False, "comm": "udevd"}), "inline")
    clock = next(record for record in outcome.trace.probes if record.device == "clock")
    assert (clock.comm, outcome.passed) == ("udevd", True)


def test_unbound_work_runs_where_the_mask_says_and_the_computers_own_mask_is_left_alone() -> None:
    file = Path("/sys/devices/virtual/workqueue/cpumask")
    before = file.read_text() if file.is_file() else None
    last = max(os.sched_getaffinity(0))
    drivers = [{"name": "d", "probe_type": "async", "phases": [{"compute": "1ms"}]}]
    devices = [{"name": "dev{i}", "count": 3, "node": 0, "compatible": "d"}]
    steps = [{"unbound_cpumask": str(last)}, {"unbound_cpumask": "4000"}, {"add": "*"}, {"load": "d"}]
    trace = run_real(setting(drivers=drivers, devices=devices, steps=steps), "inline").trace
    assert {record.cpu for record in trace.probes} == {last}
    assert [w.message for w in trace.warnings if w.kind == "cpumask"] == ["writing '4000' to cpumask failed: EINVAL"]
    assert (file.read_text() if file.is_file() else None) == before


def test_who_the_caller_is_counts_here_too() -> None:
    drivers = [{"name": "d", "phases": [{"compute": "1ms"}]}]
    steps = [{"add": "*"}, {"load": "d", "kind": "kworker", "cpu": FIRST}, {"unbind": "*"}, {"bind": "*"}]
    caller = {"kind": "kthread", "comm": "irq/42-pciehp", "cpu": FIRST}
    devices = [{"name": "dev", "compatible": "d"}]
    probes = run_real(setting(drivers=drivers, devices=devices, steps=steps, caller=caller), "inline").trace.probes
    assert [(record.comm or "").partition(":")[0] for record in probes] == [f"kworker/{FIRST}", "irq/42-pciehp"]


def test_a_deadlock_is_an_outcome() -> None:
    phases = [{"hold": {"lock": "a", "phases": [{"hold": {"lock": "a", "phases": []}}]}}]
    drivers = [{"name": "clock", "phases": phases}]
    devices = [{"name": "clock", "compatible": "clock"}]
    outcome = run_real(setting(drivers=drivers, devices=devices, steps=[]), "inline")
    assert outcome.deadlock is not None
    assert "lock 'a'" in outcome.deadlock
    assert [warning.kind for warning in outcome.trace.warnings] == ["deadlock"]


def test_more_memory_than_there_is_fails_as_it_would() -> None:
    drivers = [{"name": "clock", "phases": [{"allocate": "1000TiB"}]}]
    devices = [{"name": "clock", "compatible": "clock"}]
    (record,) = run_real(setting(drivers=drivers, devices=devices, steps=[]), "inline").trace.probes
    assert record.result == "ENOMEM"


# ---- what is refused ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("step", [{"offline": "1"}, {"online": "1"}, {"isolate": "1"}])
@pytest.mark.parametrize("deep", [False, True])
def test_steps_that_change_the_computer_are_refused_before_anything_runs(step: dict[str, str], deep: bool) -> None:
    steps = [{"wait": "60min"}, {"parallel": [{"sequence": [step]}]} if deep else step]
    machine = "1 nodes x 1 llc x 2 cores"
    with pytest.raises(RefusedError, match=rf"steps\[1\].*{next(iter(step))}: no scenario changes the CPUs"):
        run_real(prepare(parse_scenario(SCENARIO | {"steps": steps, "machine": machine}, HERE)), "inline")


def test_a_machine_that_is_not_here_is_refused() -> None:
    with pytest.raises(RefusedError, match="give --machine host"):
        run_real(setting(machine="epyc-9a64"), "inline")


def test_only_cpus_that_this_process_may_use_count(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = CpuSet.of([FIRST])
    monkeypatch.setattr(limits, "allowed_cpus", lambda: ours)
    per_cpu = [{"name": "d{i}", "count": "cpus", "compatible": "port"}]
    cut = here(setting(devices=per_cpu, steps=[]))
    assert cut.plan.topology.online == ours
    assert len(cut.plan.devices) == 1
    monkeypatch.setattr(limits, "allowed_cpus", lambda: CpuSet.of([4095]))
    with pytest.raises(RefusedError, match="may use none of the CPUs"):
        here(setting())


def test_a_caller_on_a_cpu_that_is_not_ours_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "real_cpus", lambda: CpuSet.parse_list("0-1"))
    monkeypatch.setattr(limits, "allowed_cpus", lambda: CpuSet.of([0]))
    changes = {"machine": "1 nodes x 1 llc x 2 cores", "caller": {"cpu": 1}}
    with pytest.raises(RefusedError, match=r"caller.cpu: this process may not use CPU 1 .* --set caller.cpu=0"):
        here(setting(**changes))


def test_an_error_of_a_step_names_the_step() -> None:
    with pytest.raises(InputError, match=r"steps\[0\].bind"):
        run_real(setting(steps=[{"bind": "nobody"}]), "inline")


# ---- background load ------------------------------------------------------------------------------------------------
def children() -> set[int]:
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # a thread may end while we look
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


def test_load_is_there_while_the_run_lasts_and_gone_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    burning: list[int] = []
    release = Burners.release

    def spy(self: Burners, cpus: CpuSet) -> None:
        release(self, cpus)
        burning.append(len(self._all))

    monkeypatch.setattr(Burners, "release", spy)
    before = children(), threading.active_count()
    steps = [
        {"busy": {"cpus": str(FIRST), "tasks": 2}},
        {"wait": "5ms"},
        {"busy": {"cpus": str(FIRST), "floating": True}},
    ]
    run_real(setting(steps=steps), "inline")
    assert burning == [3, 3, 3]
    assert (children(), threading.active_count()) == before


def test_load_that_computes_and_sleeps_in_turn_ends_with_the_steps() -> None:
    steps = [{"busy": {"cpus": str(FIRST), "compute": "200us", "sleep": "1ms"}}, {"wait": "5ms"}]
    assert run_real(setting(steps=steps), "inline").passed


def test_burners_burn_where_they_should_and_end() -> None:
    with Burners(2) as burners:
        burners.release(CpuSet.of([FIRST]))
        released, waiting = burners._all[1], burners._all[0]
        while _cpu_ticks(released.pid) < 3:
            assert released.poll() is None
            time.sleep(0.01)
        assert os.sched_getaffinity(released.pid) == {FIRST}
        assert waiting.poll() is None
        burners.release(CpuSet.of([FIRST]))
        with pytest.raises(InternalError):
            burners.release(CpuSet.of([FIRST]))
    assert released.returncode == waiting.returncode == -signal.SIGKILL


def test_burners_do_not_outlive_a_parent_that_was_killed() -> None:
    program = (
        "import time; from numaprobe.scenario.burners import Burners; from numaprobe.cpuset import CpuSet\n"
        f"b = Burners(2).__enter__(); b.release(CpuSet.of([{FIRST}]))\n"
        "print(*(p.pid for p in b._all), flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.kill()
    while any(map(_alive, pids)):  # they are about to end; were they not, this test would not
        time.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


# ---- who else uses the CPUs -----------------------------------------------------------------------------------------
def test_what_others_use_is_what_we_do_not(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 100 0 0 500 0 0 0 0 0 0\ncpu1 999 9 9 9 9 9 9 9\nintr 5\n")
    others = Others(CpuSet.of([0]), stat)
    stat.write_text("cpu0 99999900 100 0 900 50 0 0 0 0 0\n")
    assert others.share() == 1.0
    stat.write_text("cpu0 100 0 0 99999 50 0 0 0 0 0\n")
    assert others.share() == 0.0


def test_a_system_that_does_not_say_is_no_error(tmp_path: Path) -> None:
    assert Others(CpuSet.of([0]), tmp_path / "stat").share() is None
    (tmp_path / "stat").write_text("cpu0 x\n\0garbage\ncpu")
    assert Others(CpuSet.of([5]), tmp_path / "stat").share() is None


# ---- what memory costs here -----------------------------------------------------------------------------------------
def test_a_prediction_for_this_computer_knows_what_memory_costs() -> None:
    drivers = [{"name": "clock", "phases": [{"allocate": "10KiB"}, {"sleep": "1ms"}]}]
    devices = [{"name": "clock", "compatible": "clock"}]
    free = setting(drivers=drivers, devices=devices, steps=[])
    assert run_setting(free, "inline").trace.probes[0].cost_ns == 1_000_000
    dear = run_setting(replace(free, page_ns=700), "inline").trace.probes[0]
    assert (dear.cost_ns, dear.running_ns, dear.memory) == (1_002_100, 2_100, {0: 10 << 10})
    assert 0 < here(free).page_ns < 1_000_000
