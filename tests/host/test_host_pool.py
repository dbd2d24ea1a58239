"""When a pool makes one more worker, with a clock and a machine of the test's own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from numaprobe.cpuset import CpuSet
from numaprobe.hostmachine import growth, seat
from numaprobe.hostmachine.attributes import Attributes
from numaprobe.hostmachine.seat import IDLE_KEPT, HostWorker, ThreadSeat
from numaprobe.runtime import Work
from numaprobe.workqueue import Pool
from numaprobe.workqueue.item import Item, WorkState
from numaprobe.workqueue.limit import ActiveLimit

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.hostmachine.future import TaskFuture
    from numaprobe.hostmachine.task import HostTask

US, MS = 1_000, 1_000_000


class Thread:
    """What a pool sees of a worker's thread."""

    run_delay_seen_ns = 0

    def __init__(self, *, is_runnable: bool) -> None:
        self.is_runnable = is_runnable


class Host:
    """Makes workers that do nothing by themselves, and keeps what is to be called later."""

    def __init__(self) -> None:
        self.now = 1_000 * MS
        self.started: list[HostWorker] = []
        self.resumed = 0
        self.later: list[tuple[int, Callable[[], None]]] = []

    def attributes(self, pool: Pool) -> tuple[Attributes, int]:
        return Attributes(CpuSet(pool.mask)), 0

    def may_start(self) -> bool:
        return True

    def start(self, task: HostWorker) -> None:
        self.started.append(task)

    def inbox(self) -> TaskFuture:
        return object()  # type: ignore[return-value]

    def resume(self, inbox: TaskFuture) -> None:
        assert inbox is not None
        self.resumed += 1

    def wake_task(self, task: HostTask) -> None:
        """Nobody flushes."""

    def call_later(self, delay_ns: int, function: Callable[[], None]) -> None:
        self.later.append((self.now + delay_ns, function))

    def wait(self, ns: int) -> None:
        """Let time pass, and the calls that are due be made."""
        end = self.now + ns
        while due := [one for one in self.later if one[0] <= end]:
            first = min(due, key=lambda one: one[0])
            self.later.remove(first)
            self.now = max(self.now, first[0])
            first[1]()
        self.now = end


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    for module in (growth, seat):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic_ns=lambda: host.now))
    return host


def make_pool(host: Host, cpus: int = 2, *, managed: bool = False) -> Pool:
    mask = (1 << cpus) - 1
    return Pool(
        9,
        "u9",
        mask,
        mask,
        node=0,
        managed=managed,
        detects_hogs=True,
        distribute=lambda _cpus: 0,
        make_seat=lambda pool: ThreadSeat(pool, host),
    )


def insert(pool: Pool, count: int) -> None:
    limit = ActiveLimit("wq", 1_000, {})

    async def nothing() -> None:
        """Is never run."""

    for _ in range(count):
        pool.insert(Item(Work(nothing, "work_fn"), WorkState(), None, pool, limit))


def begin(pool: Pool, host: Host, number: int, *, is_runnable: bool) -> None:
    """Let a new worker take a work, as its coroutine does, and then have its thread for it."""
    task = host.started[number]
    assert task.worker.begin(host.now) is not None
    task.began_ns = host.now
    task.thread = Thread(is_runnable=is_runnable)  # type: ignore[assignment]
    task.seat.made(task)


def finish(host: Host, number: int) -> bool:
    """Let a worker's work end; tell whether it takes another."""
    task = host.started[number]
    task.seat.work_ended(task, host.now)
    return task.worker.finish(host.now) is not None


def test_workers_are_made_one_at_a_time(host: Host) -> None:
    pool = make_pool(host)
    insert(pool, 5)
    assert len(host.started) == 1
    begin(pool, host, 0, is_runnable=False)
    assert len(host.started) == 2
    assert [task.comm for task in host.started] == ["kworker/u9:0", "kworker/u9:1"]


def test_bodies_that_sleep_get_a_worker_each_at_once(host: Host) -> None:
    pool = make_pool(host)
    insert(pool, 20)
    for number in range(19):
        begin(pool, host, number, is_runnable=False)
    assert len(host.started) == 20
    assert not host.later


def test_beside_workers_that_compute_on_every_cpu_the_next_one_waits(host: Host) -> None:
    pool = make_pool(host)
    insert(pool, 6)
    begin(pool, host, 0, is_runnable=True)
    begin(pool, host, 1, is_runnable=True)
    assert len(host.started) == 2  # on two CPUs
    host.wait(999 * US)
    assert len(host.started) == 2
    host.wait(2 * US)
    assert len(host.started) == 3
    begin(pool, host, 2, is_runnable=True)
    host.wait(MS)
    assert len(host.started) == 4  # one each millisecond


def begin_flowing(pool: Pool, host: Host) -> int:
    """Let works end from the moment the first worker has its thread; return how many workers there are then."""
    begin(pool, host, 0, is_runnable=False)
    assert finish(host, 0)
    begin(pool, host, 1, is_runnable=False)  # it was being made already
    return len(host.started)


def test_no_worker_is_made_while_works_end_one_after_the_other(host: Host) -> None:
    pool = make_pool(host)
    insert(pool, 200)
    before = begin_flowing(pool, host)
    for _ in range(100):
        host.wait(50 * US)
        assert finish(host, 0)
    assert len(host.started) == before == 2
    host.wait(3 * MS)  # nothing ends any more
    assert len(host.started) == before + 1


def test_works_that_compute_and_end_each_millisecond_need_no_more_than_the_cpus(host: Host) -> None:
    pool = make_pool(host)
    insert(pool, 500)
    for number in range(2):
        begin(pool, host, number, is_runnable=True)
    for number in range(200):
        host.wait(500 * US)
        task = host.started[number % 2]
        task.running_ns += MS
        task.thread.is_runnable = number % 5 == 0  # type: ignore[union-attr,misc]  # it mostly wants the interpreter
        assert finish(host, number % 2)
    assert len(host.started) == 2


def test_a_pause_of_the_interpreter_makes_no_worker(host: Host) -> None:
    pool = make_pool(host)
    insert(pool, 100)
    before = begin_flowing(pool, host)
    for pause in (50 * US, 50 * US, 5 * MS, 50 * US, 50 * US, 50 * US):  # the collector ran: nobody could do anything
        host.now += pause
        host.wait(0)  # the look that was due comes before the work that has ended
        assert finish(host, 0)
    assert len(host.started) == before == 2


def test_ends_of_long_ago_do_not_hold_up_a_worker(host: Host) -> None:
    pool = make_pool(host)
    insert(pool, 3)
    assert begin_flowing(pool, host) == 2
    assert not pool.worklist
    host.wait(20 * MS)
    insert(pool, 1)
    assert len(host.started) == 3


def test_a_cpu_s_pool_starts_the_next_worker_when_one_sleeps(host: Host) -> None:
    pool = make_pool(host, cpus=1, managed=True)
    insert(pool, 3)
    begin(pool, host, 0, is_runnable=True)
    assert len(host.started) == 1  # one runs at a time
    host.started[0].worker.sleeps()
    assert len(host.started) == 2


@pytest.mark.parametrize(("with_thread", "kept"), [(True, IDLE_KEPT), (False, IDLE_KEPT + 10)])
def test_idle_workers_beyond_so_many_end_if_they_have_a_thread(host: Host, kept: int, *, with_thread: bool) -> None:
    pool, count = make_pool(host), IDLE_KEPT + 10
    insert(pool, count)
    for number in range(count):
        begin(pool, host, number, is_runnable=False)
        if not with_thread:
            host.started[number].thread = None  # its work only waits for others
    assert [finish(host, number) for number in range(count)] == [False] * count
    assert [task.ended for task in host.started].count(False) == len(pool.workers) == kept
    insert(pool, 1)
    assert host.resumed == 1  # an idle one takes it
    assert len(host.started) == count
