"""Pools and workers, call by call: which worker is woken, made, ended, and which work comes next.

Source of what is expected: ``kernel/workqueue.c`` (``kick_pool``, ``worker_thread``, ``process_one_work``,
``wq_worker_sleeping``, ``wq_worker_tick``, ``too_many_workers``, ``unbind_workers``, ``rebind_workers``).
"""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from seats import Rig, bits, name_of, nothing, workers

from numaprobe.cpuset import CpuSet
from numaprobe.errors import UsageError
from numaprobe.runtime import AffinityScope, Work
from numaprobe.topology import Housekeeping, symmetric
from numaprobe.workqueue.pool import CPU_INTENSIVE_NS, IDLE_WORKER_TIMEOUT_NS

if TYPE_CHECKING:
    from numaprobe.workqueue import Pool


def task(comm: str) -> Any:
    return SimpleNamespace(comm=comm, work=None)


# ---- one pool, managed -----------------------------------------------------------------------------------------------
def test_one_worker_at_a_time_and_a_spare_behind_it() -> None:
    rig = Rig()
    pool = rig.queue(1, *rig.works("a", "b", "c"))
    assert rig.told() == ["create kworker/1:0", "wake kworker/1:0"]
    (first,) = workers(pool)
    assert rig.begin(first, 100) == "a"
    assert rig.told() == ["create kworker/1:1"]  # a spare; it is not woken while the first runs
    assert (pool.nr_running, first.current_at, first.counts) == (1, 100, True)
    assert rig.finish(first, 250) == "b"
    assert (rig.told(), first.current_at) == ([], 250)
    first.sleeps()
    assert (rig.told(), pool.nr_running, first.counts) == (["wake kworker/1:1"], 0, False)
    first.sleeps()  # told twice, it sleeps once
    assert pool.nr_running == 0
    second = workers(pool)[1]
    assert rig.begin(second) == "c"
    assert rig.told() == ["create kworker/1:2"]
    first.runs(900)
    assert (pool.nr_running, first.current_at) == (2, 900)
    first.runs(950)  # it runs already
    assert (pool.nr_running, first.current_at) == (2, 900)
    assert rig.finish(first) is None
    assert rig.told() == ["rest kworker/1:0"]
    assert (pool.nr_running, [one.id for one in pool.idle]) == (1, [2, 0])


def test_a_worker_that_finishes_beside_another_leaves_the_next_work_to_it() -> None:
    """``keep_working``: with two that run only one goes on, so that one is left."""
    rig = Rig()
    pool = rig.queue(1, *rig.works("a", "b", "c", "d"))
    first = workers(pool)[0]
    rig.begin(first)
    first.sleeps()
    second = workers(pool)[1]
    assert rig.begin(second) == "b"
    first.runs(0)
    assert pool.nr_running == 2
    assert rig.finish(first) is None
    assert rig.finish(second) == "c"


def test_idle_workers_are_taken_last_in_first_out_and_ids_smallest_first() -> None:
    rig = Rig()
    pool = rig.queue(0, *rig.works("a", "b", "c"))
    for worker in (0, 1, 2):
        assert rig.begin(workers(pool)[worker]) == "abc"[worker]
        workers(pool)[worker].sleeps()
    one, two, three, _spare = workers(pool)
    for worker in (two, one, three):
        worker.runs(0)
        assert rig.finish(worker) is None
    assert [worker.id for worker in pool.idle] == [3, 1, 0, 2]
    rig.told()
    rig.queue(0, *rig.works("d"))
    assert rig.told() == ["wake kworker/0:2"]
    one.pool.drop(one)
    pool.drop(_spare)
    rig.begin(three)
    rig.told()
    pool.grow()
    pool.grow()
    pool.grow()
    assert rig.log == ["create kworker/0:0", "create kworker/0:3", "create kworker/0:4"]


def test_a_worker_that_wakes_in_vain_rests_again() -> None:
    rig = Rig()
    pool = rig.queue(0, *rig.works("a"))
    first = workers(pool)[0]
    assert rig.begin(first) == "a"
    spare = workers(pool)[1]
    spare.awake = True
    assert rig.begin(spare) is None  # nothing to do
    rig.queue(0, *rig.works("b"))
    assert rig.begin(spare) is None  # another runs
    assert not spare.awake
    assert rig.told()[-1] == "rest kworker/0:1"
    assert spare in pool.idle


def test_a_seat_that_keeps_no_worker_ends_it() -> None:
    rig = Rig()
    pool = rig.queue(0, *rig.works("a"))
    first = workers(pool)[0]
    rig.begin(first)
    rig.keeps = False
    assert rig.finish(first) is None
    assert first not in pool.workers
    assert first not in pool.idle


def test_no_worker_is_made_while_the_seat_forbids_it() -> None:
    rig = Rig()
    rig.may_grow = False
    pool = rig.queue(0, *rig.works("a"))
    assert (rig.told(), workers(pool)) == ([], [])
    rig.may_grow = True
    pool.kick()
    assert rig.told() == ["create kworker/0:0", "wake kworker/0:0"]
    pool.kick()  # it was woken and has not come yet
    assert rig.told() == []


def test_an_unbound_pool_wakes_a_worker_for_each_work() -> None:
    rig = Rig()
    wq = rig.queues.system_dfl_wq
    for work in rig.works("a", "b"):
        rig.queues.queue_on(0, wq, work)
    pool = wq.pwqs[0].pool
    assert rig.told() == [f"create kworker/{pool.label}:0", f"wake kworker/{pool.label}:0"]
    assert rig.begin(workers(pool)[0]) == "a"
    assert rig.told() == [f"create kworker/{pool.label}:1", f"wake kworker/{pool.label}:1"]
    assert rig.begin(workers(pool)[1]) == "b"
    assert pool.nr_running == 0
    workers(pool)[0].sleeps()
    workers(pool)[0].runs(5)
    assert pool.nr_running == 0
    assert not workers(pool)[0].sleeping


# ---- the same work again ---------------------------------------------------------------------------------------------
def test_a_work_queued_while_it_runs_follows_itself_in_the_same_worker() -> None:
    rig = Rig()
    (again,) = rig.works("again")
    pool = rig.queue(0, again, *rig.works("other"))
    first = workers(pool)[0]
    rig.begin(first)
    rig.queue(0, again)
    first.sleeps()
    second = workers(pool)[1]
    assert rig.begin(second) == "other"  # what follows the first is passed over
    assert rig.finish(second) is None
    assert not pool.worklist
    waits = rig.queues.flush(again, task("t"))
    assert waits is again.state.pending
    first.runs(0)
    assert rig.finish(first) == "again"
    rig.told()
    assert (again.state.pending, again.state.running) == (None, waits)
    assert rig.finish(first) is None
    assert rig.told() == ["flushed t", "rest kworker/0:0"]
    assert again.state.running is None


def test_a_work_is_taken_by_another_pool_while_it_runs_if_it_was_queued_on_another_workqueue() -> None:
    rig = Rig()
    (work,) = rig.works("work")
    pool = rig.queue(0, work)
    rig.begin(workers(pool)[0])
    assert rig.queues.queue_on(0, rig.queues.system_dfl_wq, work)
    other = rig.queues.system_dfl_wq.pwqs[0].pool
    assert rig.begin(workers(other)[0]) == "work"
    assert rig.finish(workers(pool)[0]) is None
    assert work.state.running is workers(other)[0].item  # the later of the two is what is known
    assert rig.queues.queue_on(5, rig.queues.system_dfl_wq, work)
    assert work.state.pending.pool is other  # it follows itself, wherever it is queued
    assert work.state.pending.limit is workers(other)[0].item.limit  # type: ignore[union-attr]


def test_a_task_that_waits_no_more_is_not_woken() -> None:
    rig = Rig()
    (work,) = rig.works("work")
    pool = rig.queue(0, work)
    first, second = task("first"), task("second")
    item = rig.queues.flush(work, first)
    assert item is not None
    item.forsaken_by(first)
    item.forsaken_by(second)  # it never waited
    assert rig.queues.flush(work, second) is item
    assert rig.queues.flush(work, first) is item
    item.forsaken_by(first)
    rig.begin(workers(pool)[0])
    rig.told()
    rig.finish(workers(pool)[0])
    assert rig.told() == ["flushed second", "rest kworker/0:0"]
    assert rig.queues.flush(work, first) is None


def test_a_flush_of_what_nobody_waits_for_can_be_given_up() -> None:
    rig = Rig()
    (work,) = rig.works("work")
    rig.queue(0, work)
    work.state.pending.forsaken_by(task("t"))
    assert work.state.pending.waiters is None


def test_where_a_work_waits_is_told() -> None:
    rig = Rig()
    works = rig.works("a", "b", "c")
    pool = rig.queue(0, *works)
    assert str(works[0].state.pending) == "work a, queued on pool 0 behind nobody"
    rig.begin(workers(pool)[0])
    workers(pool)[0].sleeps()
    rig.begin(workers(pool)[1])
    assert str(works[0].state.running) == "work a, executed by kworker/0:0"
    assert str(works[2].state.pending) == "work c, queued on pool 0 behind kworker/0:0, kworker/0:1"
    one = rig.queues.alloc("one", unbound=False, max_active=1)
    first, held = rig.works("first", "held")
    for work in (first, held):
        rig.queues.queue_on(0, one, work)
    assert str(held.state.pending) == "work held, not started: 1 works of one are active"


# ---- idle for long ---------------------------------------------------------------------------------------------------
def many_idle(rig: Rig, count: int) -> Pool:
    """Return CPU 0's pool with ``count`` idle workers, the spare first."""
    pool = rig.queue(0, *rig.works(*"abcdefgh"[: count - 1]))
    for index in range(count - 1):
        rig.begin(workers(pool)[index])
        workers(pool)[index].sleeps()
    for worker in workers(pool)[: count - 1]:
        worker.runs(0)
        rig.finish(worker)
    rig.told()
    return pool


@pytest.mark.parametrize(("age", "ended"), [(IDLE_WORKER_TIMEOUT_NS - 1, 0), (IDLE_WORKER_TIMEOUT_NS, 3)])
def test_workers_idle_for_five_minutes_go_when_the_pool_is_used(age: int, ended: int) -> None:
    """All but two, oldest first; the youngest takes the work."""
    rig = Rig()
    rig.now = 7
    pool = many_idle(rig, 5)
    rig.now += age
    rig.queue(0, *rig.works("z"))
    # the spare was made before the others went idle, and is the oldest
    assert rig.told() == [f"end kworker/0:{number}" for number in (4, 0, 1)[:ended]] + ["wake kworker/0:3"]
    assert len(pool.workers) == 5 - ended


def test_a_worker_that_was_woken_is_not_ended() -> None:
    rig = Rig()
    pool = many_idle(rig, 4)
    pool.idle[0].awake = True
    rig.now = IDLE_WORKER_TIMEOUT_NS
    rig.queue(0, *rig.works("z"))
    assert rig.told() == ["wake kworker/0:2"]


@pytest.mark.parametrize(("busy", "ended"), [(3, 1), (4, 1), (5, 0)])
def test_a_quarter_of_the_busy_may_be_idle_for_long(busy: int, ended: int) -> None:
    """``too_many_workers``: 3 idle are too many beside 4 that work, not beside 5."""
    rig = Rig("6.19")
    pool = rig.queue(0, *rig.works(*"abcdefgh"))
    for index in range(8):
        rig.begin(workers(pool)[index])
        workers(pool)[index].sleeps()
    for worker in workers(pool)[busy:8]:
        worker.runs(0)
        rig.finish(worker)
    while len(pool.idle) > 3:
        pool.drop(pool.idle[-1])
    assert len(pool.workers) == busy + 3
    rig.told()
    rig.now = IDLE_WORKER_TIMEOUT_NS
    rig.queue(0, *rig.works("z"))
    assert len([line for line in rig.told() if line.startswith("end")]) == ended


# ---- hogs ------------------------------------------------------------------------------------------------------------
def test_a_worker_that_computes_for_long_no_longer_counts() -> None:
    rig = Rig()
    pool = rig.queue(0, *rig.works("hog", "next"))
    hog = workers(pool)[0]
    rig.begin(hog, 1000)
    rig.told()
    assert hog.allowance(1000) == CPU_INTENSIVE_NS
    assert hog.allowance(1000 + CPU_INTENSIVE_NS - 3) == 3
    assert hog.allowance(2 * CPU_INTENSIVE_NS + 1000) == 0
    hog.tick(1000 + CPU_INTENSIVE_NS - 1)
    assert (rig.told(), hog.counts) == ([], True)
    hog.tick(1000 + CPU_INTENSIVE_NS)
    assert (rig.told(), pool.nr_running, hog.counts) == (["wake kworker/0:1"], 0, False)
    assert hog.allowance(5 * CPU_INTENSIVE_NS) is None
    hog.tick(9 * CPU_INTENSIVE_NS)
    assert pool.nr_running == 0
    assert rig.begin(workers(pool)[1]) == "next"
    assert pool.nr_running == 1
    assert rig.finish(hog) is None  # it is back among the idle, and not counted twice
    assert pool.nr_running == 1
    rig.queue(0, *rig.works("later"))
    workers(pool)[1].sleeps()
    assert rig.begin(hog) == "later"
    assert hog.counts


def test_a_hog_s_next_work_counts_again() -> None:
    rig = Rig()
    pool = rig.queue(0, *rig.works("hog"))
    hog = workers(pool)[0]
    rig.begin(hog)
    hog.tick(CPU_INTENSIVE_NS)
    rig.queue(0, *rig.works("next"))
    assert rig.finish(hog, CPU_INTENSIVE_NS) == "next"
    assert (pool.nr_running, hog.counts) == (1, True)
    hog.tick(2 * CPU_INTENSIVE_NS - 1)
    assert hog.counts


def test_a_hog_whose_cpu_goes_offline_counts_no_more_when_its_work_ends() -> None:
    rig = Rig()
    pool = rig.queue(1, *rig.works("long"))
    (hog,) = workers(pool)
    rig.begin(hog)
    hog.tick(CPU_INTENSIVE_NS)
    rig.queues.going(1)
    rig.queues.gone(1)
    assert rig.finish(hog, CPU_INTENSIVE_NS) is None
    assert (pool.managed, pool.nr_running) == (False, 0)
    rig.told()


def test_other_limits_of_a_hog_and_kernels_without() -> None:
    rig = Rig()
    pool = rig.queue(0, *rig.works("hog"))
    hog = workers(pool)[0]
    rig.begin(hog)
    assert hog.allowance(100, 150) == 50
    hog.tick(149, 150)
    assert hog.counts
    hog.tick(150, 150)
    assert not hog.counts
    old = Rig("6.1")
    pool = old.queue(0, *old.works("hog"))
    old.begin(workers(pool)[0])
    assert workers(pool)[0].allowance(0) is None
    workers(pool)[0].tick(CPU_INTENSIVE_NS)
    assert workers(pool)[0].counts
    forced = Rig("6.1", detects_hogs=True)
    pool = forced.queue(0, *forced.works("hog"))
    forced.begin(workers(pool)[0])
    assert workers(pool)[0].allowance(0) == CPU_INTENSIVE_NS
    off = Rig("6.12", detects_hogs=False)
    pool = off.queue(0, *off.works("hog"))
    off.begin(workers(pool)[0])
    assert workers(pool)[0].allowance(0) is None


def test_where_a_machine_has_no_tick_the_pool_looks_after_hogs() -> None:
    """Only while works wait, once at a time, when the first of those that run may have become one."""
    rig = Rig(ticks=False)
    pool = rig.queue(0, *rig.works("hog"))
    hog = workers(pool)[0]
    rig.begin(hog, 0)
    assert rig.told() == ["create kworker/0:0", "wake kworker/0:0", "create kworker/0:1"]  # nothing waits
    rig.now = 4
    rig.queue(0, *rig.works("next"))
    assert rig.told() == [f"later {CPU_INTENSIVE_NS - 4}"]
    rig.queue(0, *rig.works("after"))
    assert rig.told() == []
    rig.now = CPU_INTENSIVE_NS - 1
    rig.later.pop()()
    assert rig.told() == ["later 1"]
    rig.now += 1
    rig.later.pop()()
    assert rig.told() == ["wake kworker/0:1"]
    assert (rig.later, hog.counts) == ([], False)
    second = workers(pool)[1]
    assert rig.begin(second, rig.now) == "next"
    assert rig.told() == ["create kworker/0:2", f"later {CPU_INTENSIVE_NS}"]  # one waits already


def test_a_pool_with_ticks_or_without_the_rule_watches_nothing() -> None:
    for rig in (Rig(ticks=True), Rig("6.1", ticks=False)):
        pool = rig.queue(0, *rig.works("a"))
        rig.begin(workers(pool)[0])
        rig.queue(0, *rig.works("b"))
        rig.finish(workers(pool)[0])
        assert not rig.later


# ---- CPUs go and come ------------------------------------------------------------------------------------------------
def test_workers_of_an_offline_cpu_run_anywhere_unmanaged() -> None:
    rig = Rig()
    pool = rig.queue(5, *rig.works("a", "b", "c"))
    first = workers(pool)[0]
    rig.begin(first)
    rig.told()
    rig.queues.going(5)
    assert rig.told() == ["move kworker/5:0 to 0-7", "move kworker/5:1 to 0-7", "wake kworker/5:1"]
    assert (pool.managed, pool.nr_running, pool.mask, pool.pod) == (False, 0, bits("0-7"), bits("0-7"))
    rig.queues.gone(5)
    assert rig.queues.cpus.online == bits("0-4,6-7")
    assert rig.begin(workers(pool)[1]) == "b"
    assert rig.told() == ["create kworker/5:2", "wake kworker/5:2"]  # all at once
    rig.queues.came(5)
    assert rig.told() == [f"move kworker/5:{number} to 5" for number in (0, 1, 2)]
    assert rig.queues.cpus.online == bits("0-7")
    assert (pool.managed, pool.nr_running) == (True, 0)  # those at work count from their next one on
    assert rig.finish(first) == "c"
    assert pool.nr_running == 0
    assert rig.finish(workers(pool)[1]) is None
    assert rig.finish(first) is None
    rig.queue(5, *rig.works("d"))
    assert rig.begin(first) == "d"
    assert (pool.nr_running, first.counts) == (1, True)


def test_a_cpu_that_was_never_used_goes_and_comes() -> None:
    rig = Rig()
    rig.queues.going(6)
    rig.queues.gone(6)
    pool = rig.queue(6, *rig.works("a"))
    assert (pool.managed, pool.mask) == (False, bits("0-7"))
    assert rig.begin(workers(pool)[0]) == "a"
    assert pool.nr_running == 0
    rig.queues.going(7)
    rig.queues.gone(7)
    rig.queues.came(7)
    assert rig.queues.pools.per_cpu.keys() == {6}


def test_several_cpus_may_go_and_come_at_once() -> None:
    """``set_online`` is what ``going``, ``gone`` and ``came`` are together, for those alone that changed."""
    rig = Rig()
    pools = {cpu: rig.queue(cpu, Work(nothing, f"on{cpu}")) for cpu in (0, 1, 4, 5)}
    for pool in pools.values():
        rig.begin(workers(pool)[0])
    wq = rig.queues.alloc("limited", unbound=True, max_active=8, min_active=1, scope=AffinityScope.NUMA)
    assert {key: limit.maximum for key, limit in wq.limits.items()} == {0: 4, 1: 4}
    rig.told()
    rig.queues.set_online(bits("0-3"))
    assert rig.told() == [f"move kworker/{cpu}:{number} to 0-7" for cpu in (4, 5) for number in (0, 1)]
    assert [pool.managed for pool in pools.values()] == [True, True, False, False]
    assert wq.limits[0].maximum == 8
    rig.queues.set_online(bits("0,2-4"))
    moves = [f"move kworker/1:{number} to 0-7" for number in (0, 1)]
    moves += [f"move kworker/4:{number} to 4" for number in (0, 1)]
    assert rig.told() == moves
    assert [pool.managed for pool in pools.values()] == [True, False, True, False]
    assert {key: limit.maximum for key, limit in wq.limits.items()} == {0: 6, 1: 2, -1: 8}


def test_a_worker_that_dies_leaves_its_works_to_others() -> None:
    rig = Rig()
    flushed, held = rig.works("flushed", "held")
    wq = rig.queues.alloc("two", unbound=False, max_active=2)
    for work in (flushed, *rig.works("other"), held):
        rig.queues.queue_on(0, wq, work)
    pool = rig.queues.pools.per_cpu[0]
    first = workers(pool)[0]
    rig.begin(first)
    rig.queues.flush(flushed, task("t"))
    rig.told()
    first.die()
    assert rig.told() == ["flushed t", "wake kworker/0:1"]
    assert first not in pool.workers
    assert pool.nr_running == 0
    assert [item.work.name for item in pool.worklist] == ["other", "held"]
    spare = workers(pool)[0]
    assert rig.begin(spare) == "other"
    spare.die()
    assert [worker.id for worker in pool.workers] == [0]  # the smallest free id, made when the other began
    idle = workers(pool)[0]
    rig.told()
    idle.die()  # between two works
    assert rig.told() == ["create kworker/0:0", "wake kworker/0:0"]


def test_followers_of_a_worker_that_dies_come_first_in_their_order() -> None:
    rig = Rig()
    (again,) = rig.works("again")
    wide = [rig.queues.alloc(name, unbound=False) for name in ("one", "two")]
    rig.queues.queue_on(0, wide[0], again)
    pool = rig.queues.pools.per_cpu[0]
    first = workers(pool)[0]
    rig.begin(first)
    rig.queues.queue_on(0, wide[0], again)
    rig.queue(0, *rig.works("other"))
    first.sleeps()
    second = workers(pool)[1]
    assert rig.begin(second) == "other"
    rig.queue(0, *rig.works("last"))
    first.die()
    assert [item.work.name for item in pool.worklist] == ["again", "last"]


# ---- unbound: limits, masks, pools -----------------------------------------------------------------------------------
def test_the_unbound_cpumask_is_written_or_refused() -> None:
    rig = Rig()
    wq = rig.queues.system_dfl_wq
    before = dict(wq.pwqs)
    assert rig.queues.set_unbound_cpumask(bits("9")) == -errno.EINVAL
    assert (wq.pwqs, rig.queues.cpus.unbound) == (before, bits("0-7"))
    assert rig.queues.set_unbound_cpumask(bits("2-3,9")) == 0
    assert rig.queues.cpus.unbound == bits("2-3")
    assert {pool.mask for pool in wq.pools} == {bits("2-3")}
    rig.queues.isolate(bits("2"))
    assert {pool.mask for pool in wq.pools} == {bits("3")}


def test_pools_that_nobody_uses_are_dropped_and_their_ids_used_again() -> None:
    rig = Rig()
    wq = rig.queues.alloc("strict", unbound=True, scope=AffinityScope.NUMA, strict=True)
    labels = [pool.label for pool in wq.pools]
    (work,) = rig.works("busy")
    rig.queues.queue_on(0, wq, work)
    busy = wq.pwqs[0].pool
    rig.begin(workers(busy)[0])
    rig.queues.set_unbound_cpumask(bits("1,5"))
    kept = {pool.label for pool in rig.queues.pools.unbound.values()}
    assert labels[0] in kept  # it works
    assert labels[1] not in kept
    rig.finish(workers(busy)[0])
    rig.queues.set_unbound_cpumask(bits("2,6"))
    assert busy not in rig.queues.pools.unbound.values()
    again = rig.queues.alloc("again", unbound=True, scope=AffinityScope.CPU, strict=True)
    ids = sorted(pool.id for pool in again.pools)
    assert min(ids) <= max(int(label[1:]) for label in labels)  # an id that was free
    assert len({pool.id for pool in rig.queues.pools.all()}) == len(rig.queues.pools.all())


def test_a_pool_that_a_held_work_is_to_go_to_is_kept() -> None:
    rig = Rig()
    wq = rig.queues.alloc("one", unbound=True, max_active=1, min_active=1, scope=AffinityScope.NUMA, strict=True)
    first, held = rig.works("first", "held")
    rig.queues.queue_on(0, wq, first)
    rig.queues.queue_on(0, wq, held)
    pool = wq.pwqs[0].pool
    rig.begin(workers(pool)[0])
    assert held.state.pending in rig.queues.held
    rig.queues.set_unbound_cpumask(bits("4-7"))
    assert pool in rig.queues.pools.unbound.values()
    rig.finish(workers(pool)[0])
    assert held.state.pending not in rig.queues.held


def test_a_limit_lets_works_in_first_in_first_out_and_follows_its_maximum() -> None:
    rig = Rig()
    wq = rig.queues.alloc("few", unbound=False, max_active=2)
    works = rig.works(*"abcde")
    for work in works:
        rig.queues.queue_on(0, wq, work)
    limit = wq.pwqs[0].limit
    assert (limit.active, [name_of(item) for item in limit.inactive]) == (2, ["c", "d", "e"])
    assert [name_of(item) for item in rig.queues.held] == ["c", "d", "e"]
    limit.change(4)
    assert (limit.active, [name_of(item) for item in limit.inactive]) == (4, ["e"])
    limit.change(1)
    pool = rig.queues.pools.per_cpu[0]
    first = workers(pool)[0]
    assert rig.begin(first) == "a"
    assert [rig.finish(first) for _ in range(3)] == ["b", "c", "d"]
    assert (limit.active, len(limit.inactive)) == (1, 1)
    assert rig.finish(first) == "e"
    assert (limit.active, rig.queues.held) == (1, {})


@pytest.mark.parametrize(
    ("profile", "asked", "active", "least"),
    [
        ("6.12", 0, 256, 8),
        ("6.12", 512, 512, 8),
        ("6.12", 9999, 512, 8),
        ("7.3", 0, 1024, 8),
        ("7.3", 9999, 2048, 8),
        ("6.12", 3, 3, 3),
    ],
)
def test_max_active_is_bounded_by_the_kernel_s(profile: str, asked: int, active: int, least: int) -> None:
    wq = Rig(profile).queues.alloc("w", unbound=True, max_active=asked)
    assert (wq.max_active, wq.min_active) == (active, least)


def test_before_6_9_every_pool_has_the_whole_limit() -> None:
    old = Rig("6.1").queues.alloc("w", unbound=True, max_active=8, scope=AffinityScope.NUMA)
    assert {limit.maximum for limit in old.limits.values()} == {8}
    assert set(old.limits) == {pool.id for pool in old.pools}
    new = Rig("6.12").queues.alloc("w", unbound=True, max_active=8, min_active=1, scope=AffinityScope.NUMA)
    assert {key: limit.maximum for key, limit in new.limits.items()} == {0: 4, 1: 4}


def test_ids_of_pools_are_the_kernel_s() -> None:
    """Two pools for each possible CPU, two of BH before them since 6.9, then the machine-wide one, then the pods'."""
    for profile, first in (("6.1", 0), ("6.12", 16)):
        rig = Rig(profile)
        assert [rig.queues.pools.of_cpu(cpu).id for cpu in (0, 1, 7)] == [first, first + 2, first + 14]
        unbound = [pool.id for pool in rig.queues.pools.unbound.values()]
        assert unbound == list(range(first + 16, first + 16 + len(unbound)))
        assert next(iter(rig.queues.pools.unbound.values())).node == -1


def test_what_is_not_there_is_refused() -> None:
    rig, other = Rig(), Rig()
    (work,) = rig.works("w")
    for wq in (rig.queues.system_percpu_wq, rig.queues.system_dfl_wq):
        with pytest.raises(UsageError, match="CPU 9 is not possible on two nodes; CPUs: 0-7"):
            rig.queues.queue_on(9, wq, work)
    with pytest.raises(UsageError, match="workqueue events is not one of this machine"):
        rig.queues.queue_on(0, other.queues.system_percpu_wq, work)
    with pytest.raises(UsageError, match="max_active is -3"):
        rig.queues.alloc("w", unbound=True, max_active=-3)
    with pytest.raises(UsageError, match="the cache shard size is 0"):
        Rig("7.3", shard_size=0)
    assert Rig("7.3", shard_size=1).queues.system_dfl_wq.pools
    assert work.state is None


def test_pools_are_shared_by_what_they_have_in_common() -> None:
    """CPUs of the workqueue, pod, strictness; on old kernels the pod alone, because every pool is hard."""
    rig = Rig()
    soft = [rig.queues.alloc(name, unbound=True, scope=AffinityScope.NUMA) for name in "ab"]
    strict = [rig.queues.alloc(name, unbound=True, scope=AffinityScope.NUMA, strict=True) for name in "cd"]
    assert soft[0].pools == soft[1].pools
    assert strict[0].pools == strict[1].pools
    assert not set(soft[0].pools) & set(strict[0].pools)
    assert [CpuSet(pool.mask) for pool in strict[0].pools] == [CpuSet(pool.pod) for pool in soft[0].pools]
    assert {str(CpuSet(pool.mask)) for pool in soft[0].pools} == {"0-7"}
    assert [pool.node for pool in strict[0].pools] == [0, 1]
    old = Rig("6.1")
    soft, strict = (
        [old.queues.alloc("w", unbound=True, scope=AffinityScope.NUMA, strict=strict)] for strict in (False, True)
    )
    assert soft[0].pools == strict[0].pools
    assert [str(CpuSet(pool.mask)) for pool in soft[0].pools] == ["0-3", "4-7"]


def test_recursion_is_reported_once_for_each_class() -> None:
    rig = Rig()
    for lock_class in ("one", "two"):
        outer, inner = (Work(nothing, name, lock_class=lock_class) for name in ("outer_fn", "inner_fn"))
        flusher = SimpleNamespace(comm="kworker/0:1", work=outer)
        for _ in range(2):
            rig.queue(0, inner)
            assert rig.queues.flush(inner, flusher) is not None
            worker = workers(rig.queues.pools.per_cpu[0])[0]
            rig.begin(worker)
            rig.finish(worker)
    assert [kind for kind, _ in rig.warnings] == ["recursion"] * 2
    assert rig.warnings[0][1] == (
        "possible recursive locking detected: kworker/0:1 executes outer_fn and flushes inner_fn, "
        "both of lock class (work_completion)(one)"
    )
    rig.queue(0, inner)
    rig.queues.flush(inner, SimpleNamespace(comm="t", work=Work(nothing, "other_fn")))
    assert len(rig.warnings) == 2


def test_queueing_near_a_node_and_the_one_warning() -> None:
    rig = Rig()
    percpu, unbound = rig.queues.system_percpu_wq, rig.queues.system_dfl_wq
    works = rig.works(*"abcdef")
    assert rig.queues.queue_near(1, unbound, works[0], 6)
    assert works[0].state.pending.pool is unbound.pwqs[unbound.pods.of_cpu[6]].pool  # type: ignore[union-attr]
    assert rig.queues.queue_near(1, percpu, works[1], 0)
    assert rig.queues.queue_near(1, percpu, works[2], 5)
    assert rig.queues.queue_near(7, percpu, works[3], 2)  # no such node: here
    assert [work.state.pending.pool.label for work in works[1:4]] == ["4", "5", "2"]
    assert rig.warnings == [("queue-work-node", "queue_work_node on workqueue events, which is not unbound")]
    assert not rig.queues.queue_near(1, percpu, works[1], 0)
    assert rig.queues.queue(unbound, works[4], 3)
    assert works[4].state.pending.pool is unbound.pwqs[unbound.pods.of_cpu[3]].pool  # type: ignore[union-attr]


def test_a_caller_on_a_cpu_that_unbound_work_may_not_use_goes_round_those_that_it_may() -> None:
    keep = Housekeeping(isolated=CpuSet.parse_list("0-1"))
    rig = Rig(topology=symmetric("two nodes", nodes=2, cores=4, housekeeping=keep))
    cpus = rig.queues.cpus
    assert [cpus.local(0) for _ in range(7)] == [2, 3, 4, 5, 6, 7, 2]
    assert cpus.local(5) == 5
    cpus.online = bits("0-1")
    assert cpus.local(1) == 1


def test_cpus_of_a_set_are_given_in_turn_and_of_each_set_by_itself() -> None:
    cpus = Rig().queues.cpus
    assert [cpus.distribute(bits("1,3,6")) for _ in range(4)] == [1, 3, 6, 1]
    assert [cpus.distribute(bits("2-3")) for _ in range(3)] == [2, 3, 2]
    assert cpus.distribute(bits("1,3,6")) == 3
    assert [cpus.distribute(bits("5")) for _ in range(2)] == [5, 5]


def test_the_nearest_cpu_of_a_node() -> None:
    cpus = Rig().queues.cpus
    assert [cpus.near(node, 6) for node in (1, 0, -1, 2)] == [6, 0, None, None]
    cpus.online = bits("0-3")
    assert cpus.near(1, 0) is None
    cpus.online = bits("2-3,6")
    assert [cpus.near(node, 3) for node in (0, 1)] == [3, 6]


def test_the_node_of_a_set() -> None:
    cpus = Rig().queues.cpus
    assert [cpus.node_of(bits(text)) for text in ("0-3", "5", "3-4", "")] == [0, 1, -1, -1]


def test_a_worker_wakes_where_it_was_if_that_is_in_its_pod() -> None:
    rig = Rig()
    pool = rig.queues.alloc("w", unbound=True, scope=AffinityScope.NUMA).pools[1]
    assert [pool.wake_cpu(cpu) for cpu in (6, 1, 2, 4)] == [6, 4, 5, 4]


def test_a_run_that_was_cut_short_leaves_nothing_pending() -> None:
    rig = Rig(ticks=False)
    wq = rig.queues.alloc("one", unbound=False, max_active=1)
    again, held, queued = rig.works("again", "held", "queued")
    rig.queues.queue_on(0, wq, again)
    pool = rig.queues.pools.per_cpu[0]
    rig.begin(workers(pool)[0])
    rig.queue(0, queued)
    rig.queues.queue_on(0, wq, again)
    rig.queues.queue_on(0, wq, held)
    assert rig.later
    rig.queues.reset()
    assert (pool.nr_running, pool.idle, workers(pool), list(pool.worklist)) == (0, [], [], [])
    assert all((work.state.pending, work.state.running) == (None, None) for work in (again, held, queued))
    assert rig.queues.held == {}
    assert all((limit.active, len(limit.inactive)) == (0, 0) for limit in wq.limits.values())
    rig.told()
    rig.queue(0, queued)
    assert rig.told() == ["create kworker/0:0", "wake kworker/0:0"]
    rig.begin(workers(pool)[0])
    rig.queue(0, held)
    assert rig.told()[-1].startswith("later")  # it watches again
    assert rig.queues.workers() == workers(pool)


def test_a_pod_that_is_now_the_whole_mask_does_not_keep_its_old_pool() -> None:
    """The pool that stays whatever happens is the machine-wide one of the mask as it is: its CPUs and its pod."""
    rig = Rig(topology=symmetric("m", nodes=2, llcs=2, cores=2))
    assert {str(CpuSet(pool.pod)) for pool in rig.queues.system_dfl_wq.pools} == {"0-1", "2-3", "4-5", "6-7"}
    rig.queues.set_unbound_cpumask(bits("2-3"))
    assert {str(CpuSet(mask)) for mask, _, _ in rig.queues.pools.unbound} == {"2-3"}
    assert {(str(CpuSet(pool.mask)), str(CpuSet(pool.pod))) for pool in rig.queues.pools.unbound.values()} == {
        ("2-3", "2-3")
    }
