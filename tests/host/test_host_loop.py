"""The loop that threads run in turn: one at a time, nothing lost, and the home thread for what only it can do."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from numaprobe.cpuset import CpuSet
from numaprobe.errors import BodyError
from numaprobe.hostmachine import HostMachine
from numaprobe.hostmachine.thread import BodyThread
from numaprobe.runtime import Work

if TYPE_CHECKING:
    from collections.abc import Iterator

MS = 1_000_000
#: longer than any test: what sleeps for it is cut short, or the test hangs
FOR_EVER_NS = 3_600_000 * MS


def nothing() -> None:
    pass


@pytest.fixture
def hasty() -> Iterator[None]:
    """Have the interpreter switch threads as often as it can: what can come between two steps will."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
def test_one_thread_at_a_time_runs_the_core_and_no_outcome_is_lost() -> None:
    machine = HostMachine()
    inside: list[int] = []
    most = [0]
    threads: set[int] = set()

    def core_code() -> None:
        inside.append(1)
        threads.add(threading.get_ident())
        for _ in range(20):
            most[0] = max(most[0], len(inside))
        inside.pop()

    async def body(number: int) -> int:
        total = 0
        for _ in range(60):
            core_code()
            total += await machine.call(abs, -number)
        return total

    async def main() -> list[int]:
        tasks = [machine.spawn(lambda n=n: body(n), comm=f"t{n}") for n in range(12)]
        return [await machine.join(task) for task in tasks]

    assert machine.run(main) == [60 * number for number in range(12)]
    assert most == [1]
    assert len(threads) > 1  # bodies' threads did lead


def test_a_task_goes_on_in_the_thread_of_its_last_body() -> None:
    machine = HostMachine()

    async def main() -> int:
        same = 0
        for _ in range(200):
            there = await machine.call(threading.get_ident)
            same += there == threading.get_ident()
        return same

    assert machine.run(main) >= 190


def test_a_timer_that_a_leader_starts_wakes_the_home_thread() -> None:
    machine = HostMachine()

    async def main() -> bool:
        await machine.call(nothing)
        await machine.call(nothing)  # from here on the body's thread leads, and the home thread sleeps without an end
        return await machine.event("never").wait(timeout_ns=5 * MS)

    assert machine.run(main) is False


def test_a_leader_may_use_streams() -> None:
    machine = HostMachine()
    ours, theirs = socket.socketpair()

    async def main() -> bytes:
        await machine.call(nothing)
        await machine.call(nothing)
        reader, writer = await asyncio.open_connection(sock=ours)
        threading.Timer(0.02, lambda: theirs.sendall(b"ready\n")).start()
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return line

    with theirs:
        assert machine.run(main) == b"ready\n"


def test_a_task_that_tries_to_end_the_program_in_a_leader_fails_alone() -> None:
    machine = HostMachine()

    async def quits() -> None:
        await machine.call(nothing)
        await machine.call(nothing)
        raise SystemExit(3)

    async def main() -> str:
        task = machine.spawn(quits, comm="quitter")
        with pytest.raises(BodyError, match="SystemExit"):
            await machine.join(task)
        return "on"

    assert machine.run(main) == "on"


def test_a_new_thread_inherits_nothing_from_a_pinned_leader() -> None:
    machine = HostMachine()
    last = machine.online.last

    async def child() -> set[int]:
        return await machine.call(os.sched_getaffinity, 0)

    async def main() -> set[int]:
        assert last is not None
        await machine.set_affinity(CpuSet.of([last]))
        await machine.call(nothing)  # the pinned thread leads now, and makes the child
        allowed: set[int] = await machine.join(machine.spawn(child, comm="child"))
        return allowed

    assert machine.run(main) == set(machine.online)


def test_a_machine_can_be_closed_while_a_body_waits_for_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: BodyThread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(BodyThread, "start", refuse)
    with HostMachine(grace_s=0.2) as machine:
        waits = machine.submit(lambda: machine.call(nothing), comm="poor")
        while not machine.warnings:
            time.sleep(0.001)
    assert [warning.kind for warning in machine.warnings] == ["no-thread"]
    assert waits.cancelled() or waits.exception() is not None


def test_a_worker_that_only_waits_needs_no_thread() -> None:
    machine = HostMachine()
    other = machine.alloc_workqueue("other", unbound=True, strict=True)

    async def main() -> tuple[int, int]:
        async def inner() -> None:
            await machine.call(nothing)

        async def outer() -> None:
            work = Work(inner, "inner_fn")
            machine.queue_work(other, work)
            await machine.flush_work(work)

        works = [Work(outer, f"outer_fn{number}") for number in range(50)]
        for work in works:
            machine.queue_work(machine.system_dfl_wq, work)
        for work in works:
            await machine.flush_work(work)
        return len(machine.runner.threads.all), len(works)

    threads, works = machine.run(main)
    assert threads < works / 2


def test_a_body_with_a_deep_stack_may_ask() -> None:
    machine = HostMachine()

    async def answer() -> int:
        def down(levels: int) -> int:
            return 1 + down(levels - 1) if levels else 0

        return down(600)

    def body(levels: int) -> int:
        return body(levels - 1) if levels else machine.ask(answer)

    async def main() -> int:
        return await machine.call(body, 600)  # 600 frames of its own and 600 of the answer's: more than one stack has

    assert machine.run(main) == 600


def test_a_sleep_can_be_cut_short_and_its_thread_goes_on() -> None:
    machine = HostMachine()

    async def main() -> tuple[int, int]:
        before = await machine.call(threading.get_ident)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await machine.sleep(FOR_EVER_NS)
        after = await machine.call(threading.get_ident)
        return before, after

    before, after = machine.run(main)
    assert before == after
    assert machine.warnings == ()


def test_a_machine_does_not_wait_for_a_task_that_sleeps() -> None:
    with HostMachine(grace_s=20) as machine:
        waits = machine.submit(lambda: machine.sleep(FOR_EVER_NS), comm="sleeper")
        while not machine.runner.threads.all:
            time.sleep(0.001)
    assert machine.warnings == ()
    assert waits.cancelled() or waits.exception() is not None


def test_the_end_finds_the_tasks_that_any_thread_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Python 3.14, where ``asyncio.all_tasks`` knows only what the calling thread made."""
    with HostMachine() as machine:
        machine.submit(lambda: machine.call(int), comm="before").result(10)
        machine.submit(lambda: machine.sleep(FOR_EVER_NS), comm="sleeper")
        while not machine.runner.tasks:
            time.sleep(0.001)
        tasks = list(machine.runner.tasks.values())
        monkeypatch.setattr("asyncio.all_tasks", lambda _loop=None: set())
    assert tasks
    assert all(task.done() for task in tasks)
