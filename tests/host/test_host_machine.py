"""The host machine on this computer: where bodies run, what is read back, what is refused."""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from numaprobe.cpuset import CpuSet
from numaprobe.errors import BodyError, RefusedError, UsageError
from numaprobe.hostmachine import HostMachine, limits, syscalls
from numaprobe.hostmachine.limits import flat
from numaprobe.hostmachine.machine import WARNINGS_KEPT
from numaprobe.runtime import AffinityScope, Work, kernel_profile
from numaprobe.topology import Housekeeping, symmetric
from numaprobe.workqueue import Worker, work_on_cpu

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CPUS = sorted(os.sched_getaffinity(0))
MS = 1_000_000


def run(machine: HostMachine, main: Callable[[], Any]) -> Any:
    with machine:
        return machine.run(main)


def test_a_worker_is_an_os_thread_with_its_name_and_cpu() -> None:
    machine = HostMachine()

    def look() -> tuple[str, set[int], int, int]:
        with open("/proc/thread-self/comm", encoding="ascii") as file:  # noqa: PTH123  one line
            return file.read().strip(), os.sched_getaffinity(0), syscalls.getcpu(), threading.get_native_id()

    async def main() -> None:
        for cpu in CPUS:

            async def body(cpu: int = cpu) -> None:
                comm, allowed, here, tid = await machine.call(look)
                assert comm == machine.current.comm == f"kworker/{cpu}:0"
                assert allowed == {cpu}
                assert here == cpu
                assert tid != threading.main_thread().native_id

            await work_on_cpu(machine, cpu, body)

    run(machine, main)


def test_current_is_the_task_in_the_body_thread_too() -> None:
    machine = HostMachine()

    async def main() -> None:
        assert await machine.call(lambda: machine.current) is machine.current

    run(machine, main)


def test_running_time_is_the_cpu_time_of_the_thread() -> None:
    """Two witnesses: what was asked for, and the process's own CPU clock, which stands still while it sleeps."""
    machine = HostMachine()

    async def body() -> None:
        await machine.sleep(50 * MS)
        await machine.compute(20 * MS)

    async def main() -> None:
        await machine.compute(1)
        before = time.process_time_ns()
        _, usage = await machine.measure(body)
        process = time.process_time_ns() - before
        assert 20 * MS <= usage.running_ns <= process + MS

    run(machine, main)


def test_two_bodies_on_one_cpu_wait_for_it() -> None:
    """The second witness of ``runnable``: the wall time that neither ran nor slept."""
    machine = HostMachine()

    async def body() -> Any:
        return (await machine.measure(lambda: machine.compute(30 * MS)))[1]

    async def main() -> None:
        one = CpuSet.of([CPUS[0]])
        tasks = [machine.spawn(body, comm=f"t{i}", cpus=one) for i in range(2)]
        usages = [await machine.join(task) for task in tasks]
        assert sum(usage.runnable_ns for usage in usages) >= 15 * MS
        assert all(set(usage.cpus) == {CPUS[0]} for usage in usages)

    run(machine, main)


def test_memory_is_read_back() -> None:
    machine = HostMachine()
    node = machine.topology.node_of(CPUS[0])

    async def main() -> None:
        _, usage = await machine.measure(lambda: machine.allocate(8 << 20, node))
        assert usage.memory is None or sum(usage.memory.values()) == 8 << 20
        if limits.memory_nodes() == CpuSet.of([node]):
            assert usage.memory in (None, {node: 8 << 20})
        assert not machine.current.held

    run(machine, main)


def test_a_node_without_memory_is_one_warning() -> None:
    """On a node that is not there memory cannot be placed; the kernel places it, and a warning says so, once."""
    machine = HostMachine()

    async def main() -> None:
        for _ in range(3):
            await machine.allocate(1 << 16, 63)

    run(machine, main)
    assert [warning.kind for warning in machine.warnings].count("memory-policy") == 1


@pytest.mark.skipif(len(CPUS) < 2, reason="needs two CPUs to make two nodes of")
def test_a_made_up_machine_of_real_cpus_is_accepted() -> None:
    machine = HostMachine(symmetric("split", nodes=2, cores=1))
    seen = {}

    async def main() -> None:
        wq = machine.alloc_workqueue("strict", unbound=True, scope=AffinityScope.NUMA, strict=True)
        for node in (0, 1):

            async def body(node: int = node) -> None:
                _, usage = await machine.measure(lambda: machine.compute(MS))
                seen[node] = usage.cpus, usage.running_by_node, machine.current.comm

            work = Work(body, "work_fn")
            machine.queue_work_node(node, wq, work)
            await machine.flush_work(work)

    run(machine, main)
    assert {node: cpus for node, (cpus, _, _) in seen.items()} == {0: (0,), 1: (1,)}
    assert [list(by_node) for _, by_node, _ in seen.values()] == [[0], [1]]
    assert seen[0][2] != seen[1][2]


def test_cpus_that_are_not_there_are_refused() -> None:
    count = (limits.real_cpus().last or 0) + 2
    with pytest.raises(RefusedError, match=f"CPU {count - 1} is not on this computer"):
        HostMachine(symmetric("large", cores=count))


def test_a_machine_without_an_allowed_cpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {4000})
    with pytest.raises(RefusedError, match="may use none of its CPUs"):
        HostMachine(flat(CpuSet.of([0])))


def test_online_follows_the_cpuset(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = HostMachine(flat(CpuSet.of([0, *CPUS])))

    async def main() -> None:
        assert set(machine.online) == set(CPUS)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {CPUS[-1]})
        assert set(machine.online) == {CPUS[-1]}
        monkeypatch.undo()
        assert set(machine.online) == set(CPUS)

    run(machine, main)


def test_no_permission_for_affinity_is_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pid: int, _cpus: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    machine = HostMachine()
    done = []

    async def main() -> None:
        for cpu in CPUS:
            await work_on_cpu(machine, cpu, lambda: machine.call(done.append, cpu))  # noqa: B023  awaited at once

    run(machine, main)
    assert done == CPUS
    warnings = [warning for warning in machine.warnings if warning.kind == "affinity"]
    assert len(warnings) == 1
    assert "not permitted" in warnings[0].message


def test_no_permission_for_memory_policy_is_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_mode: int, _node: int | None = None) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(syscalls, "set_mempolicy", refuse)
    machine = HostMachine()

    async def main() -> None:
        for cpu in CPUS * 2:
            await work_on_cpu(machine, cpu, lambda: machine.allocate(1 << 16))

    run(machine, main)
    policy = [warning for warning in machine.warnings if warning.kind == "memory-policy"]
    assert len(policy) == (1 if limits.memory_nodes() else 0)


def test_a_cpu_that_went_off_line_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pinning to the CPU fails as on an offline one; the body runs on another, and one warning says so."""
    real = os.sched_setaffinity

    def offline(pid: int, cpus: Any) -> None:
        if set(cpus) == {CPUS[0]}:
            raise OSError(errno.EINVAL, "Invalid argument")
        real(pid, cpus)

    monkeypatch.setattr(os, "sched_setaffinity", offline)
    machine = HostMachine()

    async def main() -> int:
        return await work_on_cpu(machine, CPUS[0], lambda: machine.call(lambda: len(os.sched_getaffinity(0))))

    assert run(machine, main) == len(CPUS)
    assert [warning.kind for warning in machine.warnings].count("affinity") == 1


def test_a_worker_that_was_moved_is_pinned_again() -> None:
    """The kernel moves the threads of a CPU that goes; when the CPU is back the next body is on it again."""
    if len(CPUS) < 2:
        pytest.skip("needs two CPUs")
    machine = HostMachine()

    async def main() -> None:
        async def body() -> None:
            await machine.call(os.sched_setaffinity, 0, {CPUS[1]})  # what the kernel does to it
            assert await machine.call(syscalls.getcpu) == CPUS[0]

        await work_on_cpu(machine, CPUS[0], body)

    run(machine, main)


def test_isolated_and_tickless_cpus_come_from_sysfs(tmp_path: Path) -> None:
    directory = tmp_path / "sys/devices/system/cpu"
    directory.mkdir(parents=True)
    (directory / "isolated").write_text("2-3\n", encoding="ascii")
    (directory / "nohz_full").write_text("(null)\n", encoding="ascii")
    assert limits.isolated_cpus(tmp_path) == CpuSet.of([2, 3])
    assert limits.nohz_full_cpus(tmp_path) == CpuSet()
    assert limits.memory_nodes(tmp_path) is None


@pytest.mark.skipif(len(CPUS) < 2, reason="needs a CPU to isolate and one to be left")
def test_unbound_work_stays_off_isolated_cpus() -> None:
    keep = Housekeeping(isolated=CpuSet.of([CPUS[0]]))
    machine = HostMachine(symmetric("isolated", cores=max(CPUS) + 1, housekeeping=keep), kernel_profile("7.3"))
    seen = set()

    async def main() -> None:
        async def body() -> None:
            seen.update(await machine.call(os.sched_getaffinity, 0))

        for cpu in CPUS:
            work = Work(body, "work_fn")
            machine.queue_work_on(cpu, machine.system_dfl_wq, work)
            await machine.flush_work(work)

    run(machine, main)
    assert CPUS[0] not in seen


@pytest.mark.parametrize(
    ("files", "groups", "quota"),
    [
        ({"": "max 100000", "a": "150000 100000"}, "0::/a/b", 1.5),
        ({"a": "400000 100000", "a/b": "50000 100000"}, "0::/a/b", 0.5),
        ({"a": "max 100000"}, "0::/a", None),
        ({"a": "garbage"}, "0::/a", None),
        ({}, "0::/", None),
    ],
)
def test_the_tightest_cgroup_quota_counts(
    tmp_path: Path, files: dict[str, str], groups: str, quota: float | None
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(groups + "\n", encoding="ascii")
    for group, text in files.items():
        directory = tmp_path / "sys/fs/cgroup" / group
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "cpu.max").write_text(text + "\n", encoding="ascii")
    assert limits.cpu_quota(tmp_path) == quota


def test_an_old_cgroup_quota_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("4:cpu,cpuacct:/box\n0::/\n", encoding="ascii")
    directory = tmp_path / "sys/fs/cgroup/cpu,cpuacct/box"
    directory.mkdir(parents=True)
    (directory / "cpu.cfs_quota_us").write_text("250000\n", encoding="ascii")
    (directory / "cpu.cfs_period_us").write_text("100000\n", encoding="ascii")
    assert limits.cpu_quota(tmp_path) == 2.5


def test_a_quota_below_the_cpus_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "cpu_quota", lambda: 0.5)
    assert [warning.kind for warning in HostMachine().warnings] == ["cpu-quota"]


def test_a_hogged_cpu_lets_the_next_work_start() -> None:
    """A body that keeps its CPU for 10 ms without sleeping where the machine can see is not counted any more."""
    machine = HostMachine()
    order = []

    async def hog() -> None:
        order.append("hog")
        await machine.call(time.sleep, 0.1)
        order.append("hog ends")

    async def other() -> None:
        order.append("other")

    async def main() -> None:
        works = [Work(hog, "hog_fn"), Work(other, "other_fn")]
        for work in works:
            machine.queue_work_on(CPUS[0], machine.system_percpu_wq, work)
        for work in works:
            await machine.flush_work(work)

    run(machine, main)
    assert order == ["hog", "other", "hog ends"]


def test_short_works_share_few_threads() -> None:
    machine = HostMachine()
    names = set()

    async def main() -> None:
        async def body() -> None:
            names.add(await machine.call(lambda: machine.current.comm))

        works = [Work(body, "work_fn") for _ in range(500)]
        for work in works:
            machine.queue_work(machine.system_dfl_wq, work)
        for work in works:
            await machine.flush_work(work)

    run(machine, main)
    assert len(names) < 250


def test_a_work_that_raises_ends_the_run_with_its_error() -> None:
    machine = HostMachine()

    async def bad() -> None:
        raise LookupError("as asked")

    async def main() -> None:
        work = Work(bad, "bad_fn")
        machine.queue_work(machine.system_dfl_wq, work)
        await machine.flush_work(work)

    with pytest.raises(LookupError):
        machine.run(main)
    assert [warning.kind for warning in machine.warnings if warning.kind != "python"] == ["work-raised"]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), StopIteration(), GeneratorExit()])
def test_a_body_cannot_end_the_program(error: BaseException) -> None:
    machine = HostMachine()

    def bad() -> None:
        raise error

    async def main() -> None:
        with pytest.raises(BodyError, match=f"raised {type(error).__name__}"):
            await machine.call(bad)

    run(machine, main)


def test_a_closed_machine_refuses() -> None:
    machine = HostMachine()

    async def nothing() -> None:
        """Do nothing."""

    with machine, pytest.raises(UsageError, match="runs already"):
        machine.__enter__()
    machine.close()
    with pytest.raises(UsageError, match="does not run"):
        machine.submit(nothing, comm="t").result()


def test_run_without_a_block_cleans_up_and_can_be_repeated() -> None:
    machine = HostMachine()

    async def main() -> str:
        await work_on_cpu(machine, CPUS[0], lambda: machine.compute(1))
        return await machine.call(str, 7)

    assert [machine.run(main) for _ in range(3)] == ["7"] * 3


def test_many_sleeping_bodies_do_not_use_up_the_file_descriptors() -> None:
    machine = HostMachine()
    usages = []

    async def body() -> None:
        _, usage = await machine.measure(lambda: machine.sleep(300 * MS))
        usages.append(usage)

    async def main() -> int:
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  a count
        works = [Work(body, "work_fn") for _ in range(150)]
        for work in works:
            machine.queue_work(machine.system_dfl_wq, work)
        await machine.sleep(250 * MS)
        during = len(os.listdir("/proc/self/fd")) - before  # noqa: PTH208
        for work in works:
            await machine.flush_work(work)
        return during

    assert run(machine, main) <= 64 + 2
    assert len(usages) == 150
    assert all((usage.runnable_ns is None) == (usages[0].runnable_ns is None) for usage in usages)


def test_a_worker_that_dies_of_our_own_fault_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = HostMachine()

    def fail(*_: object) -> None:
        raise AttributeError("a fault of ours")

    async def main() -> None:
        async def body() -> None:
            """The worker dies after it."""

        work = Work(body, "work_fn")
        monkeypatch.setattr(Worker, "finish", fail)
        machine.queue_work(machine.system_dfl_wq, work)
        await machine.flush_work(work)

    with pytest.raises(AttributeError):
        machine.run(main)
    assert [warning.kind for warning in machine.warnings if warning.kind != "python"] == ["worker-died"]


def test_the_last_warnings_are_kept() -> None:
    machine = HostMachine()
    for number in range(WARNINGS_KEPT + 5):
        machine.warn("body", f"warning {number}")
    assert len(machine.warnings) == WARNINGS_KEPT
    assert machine.warnings[0].message == "warning 5"
