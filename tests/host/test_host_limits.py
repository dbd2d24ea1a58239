"""What the system refuses, and what ends in the middle: no thread, no process, a fork, Ctrl-C. Each in a program.

The programs print what happened as Python data; whatever they print on standard error is a failure.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
from collections import Counter
from typing import Any

import pytest

import numaprobe
from numaprobe.errors import RefusedError, UsageError
from numaprobe.hostmachine import HostMachine

START = """
import asyncio, faulthandler, os, resource, signal, subprocess, sys, threading, time
import numaprobe, numaprobe.errors, numaprobe.hostmachine.process, multiprocessing.connection, multiprocessing.spawn
faulthandler.dump_traceback_later(50, exit=True)
block = numaprobe.host("strict-node", shutdown_s=3, grace_s=0.5)
ASYNC = numaprobe.ProbeType.PREFER_ASYNCHRONOUS
"""


def run(program: str, *, status: int = 0) -> Any:
    """Run a program; return the data that it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", START + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONDEVMODE": ""},
    )
    assert done.stderr == ""
    assert done.returncode == status
    return ast.literal_eval(done.stdout)


# ---- no thread to be had ---------------------------------------------------------------------------------------------
FEW = """
@numaprobe.driver("a", probe_type=ASYNC, deadline="{deadline}")
def many(dev): time.sleep(0.02)
@numaprobe.driver("s")
def one(dev): pass
with block as core:
    core.register(many, one)
    if {warm}:
        core.add("warm", compatible="s", node=0)
    {limit}
    for index in range(12):
        core.add(f"d{{index}}", compatible="a", node=0)
    core.add("sync", compatible="s", node=0)
    core.wait()
    states = {{str(core.device(name).state) for name in core.names()}}
    print(([record.result for record in core.records], states, [one.kind for one in core.warnings]))
"""
#: ``RLIMIT_NPROC`` does not bind root: another user, one that has no processes
OTHER_USER = (
    "os.geteuid() or os.setuid(60_000 + os.getpid() % 5_000); resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))"
)
#: not even the stack of one more thread
NO_SPACE = (
    "size = int(open('/proc/self/statm').read().split()[0]) * 4096 + (1 << 20); "
    "resource.setrlimit(resource.RLIMIT_AS, (size, size))"
)
NO_START = 'import _thread; refuse = lambda *a, **k: (_ for _ in ()).throw(RuntimeError("can\'t start new thread")); '
NO_START += "threading._start_new_thread = threading._start_joinable_thread = refuse"

LIMITS = pytest.mark.parametrize("limit", [OTHER_USER, NO_SPACE, NO_START], ids=["nproc", "space", "start"])


@LIMITS
def test_without_any_thread_each_probe_ends_with_eagain(limit: str) -> None:
    results, states, kinds = run(FEW.format(limit=limit, warm=False, deadline="30s"))
    assert Counter(results) == {"EAGAIN": 13}
    assert states == {"unbound"}
    assert Counter(kinds) == {"no-thread": 1, "body": 13}


@LIMITS
def test_the_rest_go_on_with_the_threads_there_are(limit: str) -> None:
    results, states, _ = run(FEW.format(limit=limit, warm=True, deadline="30s"))
    assert Counter(results) == {"0": 14}
    assert states == {"bound"}


def test_a_deadline_holds_while_there_is_no_thread() -> None:
    results, states, kinds = run(FEW.format(limit=NO_START, warm=False, deadline="300ms"))
    assert Counter(results) == {"ETIMEDOUT": 12, "EAGAIN": 1}
    assert states == {"unbound"}
    assert Counter(kinds)["deadline"] == 12


def test_a_machine_that_gets_no_thread_for_itself_is_refused() -> None:
    program = f"""
    {NO_START}
    try:
        block.__enter__()
    except numaprobe.errors.NumaprobeError as error:
        print((type(error).__name__, error.exit_code, "no thread for the core" in str(error)))
    """
    assert run(program) == (RefusedError.__name__, 3, True)


def test_a_thread_that_dies_fails_its_bodies_and_the_next_gets_another(monkeypatch: pytest.MonkeyPatch) -> None:
    from numaprobe.hostmachine import thread

    real, refusals = thread.BodyThread._begin, [1]

    def begin(self: thread.BodyThread) -> None:
        if refusals:
            refusals.pop()
            raise MemoryError
        real(self)

    @numaprobe.driver("x", probe_type=numaprobe.ProbeType.PREFER_ASYNCHRONOUS)
    def plain(dev: numaprobe.Device) -> None:
        """Bind."""

    monkeypatch.setattr(thread.BodyThread, "_begin", begin)
    with numaprobe.host("inline", shutdown_s=5, grace_s=1) as core:
        core.register(plain)
        for name in ("one", "two"):
            core.add(name, compatible="x", node=0)
            core.machine.submit(core._operations.wait, comm="test").result(20)
        assert [record.result for record in core.records] == ["ENOMEM", "0"]


def test_no_process_to_be_had_is_eagain() -> None:
    """A process is made in a thread, so one thread more than there are processes is needed: the limit comes later."""
    program = f"""
    @numaprobe.driver("p", process=True, deadline="30s")
    def child(dev): pass
    @numaprobe.driver("a", process=True, deadline="30s", probe_type=ASYNC)
    def children(dev): pass
    @numaprobe.driver("s")
    def warm(dev): pass
    with block as core:
        core.register(child, children, warm)
        core.add("warm", compatible="s", node=0)
        before = sorted(os.listdir("/proc/self/fd"))
        {OTHER_USER}
        for index in range(3):
            core.add(f"p{{index}}", compatible="p", node=0)
            core.add(f"a{{index}}", compatible="a", node=0)
        core.wait()
        print(([record.result for record in core.records], sorted(os.listdir("/proc/self/fd")) == before))
    """
    results, same = run(program)
    assert Counter(results) == {"0": 1, "EAGAIN": 6}
    assert same


# ---- what a process body leaves --------------------------------------------------------------------------------------
def test_a_process_body_leaves_no_process_and_no_descriptor() -> None:
    program = """
    def files(): return sorted(os.readlink(f"/proc/self/fd/{name}").split(":")[0] for name in "0123456789"
                               if os.path.exists(f"/proc/self/fd/{name}"))
    def children():
        lists = [f"/proc/self/task/{name}/children" for name in os.listdir("/proc/self/task")]
        return [child for name in lists if os.path.exists(name) for child in open(name).read().split()]
    before = files(), children()
    with block as core:
        async def call():
            return await core.machine.call_process(os.getpid)
        assert core.machine.submit(call, comm="test").result() != os.getpid()
    print((before == (files(), children()), before[1]))
    """
    assert run(program) == (True, [])


# ---- a fork inside a body --------------------------------------------------------------------------------------------
FORK = """
def report(pipe, ask):
    try:
        ask()
        os.write(pipe, b"answered")
    except numaprobe.errors.UsageError as error:
        os.write(pipe, str(error).encode())
def said(ends):
    os.close(ends[1])
    text = os.read(ends[0], 1000).decode()
    os.close(ends[0])
    return text, os.waitstatus_to_exitcode(os.wait()[1])
@numaprobe.driver("plain")
def plain(dev):
    ends = os.pipe()
    if os.fork() == 0:
        report(ends[1], lambda: core.add("child", parent=dev))
        {end}
    dev.drvdata = said(ends)
@numaprobe.driver("async")
async def other(dev):
    ends = os.pipe()
    if os.fork() == 0:
        try:
            await core.aio.add("child", parent=dev)
        except numaprobe.errors.UsageError as error:
            os.write(ends[1], str(error).encode())
        {end}
    dev.drvdata = said(ends)
with block as core:
    core.register(plain, other)
    seen = [core.add(name, compatible=name, node=0).drvdata for name in ("plain", "async")]
    core.wait()
    assert core.names() == ("plain", "async")
    print(seen)
"""


@pytest.mark.parametrize(("end", "status"), [("os._exit(5)", 5), ("sys.exit(6)", 6)])
def test_a_child_forked_inside_a_body_is_refused(end: str, status: int) -> None:
    for text, code in run(FORK.replace("{end}", end)):
        assert "belongs to the parent" in text
        assert code == status


@pytest.mark.parametrize("end", ["return", "raise LookupError"])
def test_a_child_that_comes_out_of_its_body_ends(end: str) -> None:
    program = "os.dup2(os.open('/dev/null', os.O_WRONLY), 2)\n" + FORK.replace("{end}", end)
    for text, code in run(program):
        assert "belongs to the parent" in text
        assert code == 2


# ---- the end in the middle -------------------------------------------------------------------------------------------
MIDDLE = """
release, began = threading.Event(), threading.Semaphore(0)
@numaprobe.driver("hung", probe_type=ASYNC)
def hung(dev): began.release(); release.wait(600)
@numaprobe.driver("slow", probe_type=ASYNC)
async def slow(dev): began.release(); await asyncio.sleep(600)
@numaprobe.driver("sync")
async def sync(dev): began.release(); await asyncio.sleep(600)
@numaprobe.driver("deaf", probe_type=ASYNC)
async def deaf(dev):
    began.release()
    while not release.is_set():
        try: await asyncio.sleep(0.01)
        except asyncio.CancelledError: pass
errors = []
def adder():
    try: core.add("added", compatible="sync", node=0)
    except Exception as error: errors.append((type(error).__name__, "closed" in str(error)))
threads = [threading.Thread(target=adder) for _ in range(1)]
try:
    with block as core:
        core.register(hung, slow, sync, deaf)
        for name in {names}:
            core.add(name, compatible=name, node=0)
        for thread in threads: thread.start()
        for _ in range(len({names}) + len(threads)): assert began.acquire(timeout=60)
        if {ctrl_c}:
            threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
            core.wait()
except KeyboardInterrupt:
    errors.append(("KeyboardInterrupt", True))
for thread in threads: thread.join()
release.set()
states = {{name: str(core._operations.core.buses["platform"].devices[name].state) for name in core.names()}}
print((errors, [one.kind for one in core.warnings], states))
"""


@pytest.mark.parametrize("names", [["hung", "slow"], ["slow"], ["deaf"]])
@pytest.mark.parametrize("ctrl_c", [True, False])
def test_the_end_in_the_middle_prints_nothing_and_says_why(names: list[str], ctrl_c: bool) -> None:
    errors, kinds, states = run(MIDDLE.format(names=names, ctrl_c=ctrl_c))
    expected = [("UsageError", True)] + [("KeyboardInterrupt", True)] * ctrl_c
    assert sorted(errors) == sorted(expected)
    assert kinds.count("left-behind") == ("hung" in names) + ("deaf" in names)
    assert set(kinds) <= {"left-behind"}
    assert set(states.values()) == {"unbound"}


def test_an_async_body_that_never_awaits_cannot_keep_the_block_from_ending() -> None:
    program = """
    began, release, ends = threading.Event(), threading.Event(), []
    @numaprobe.driver("x", probe_type=ASYNC)
    async def busy(dev):
        began.set()
        ends.append(release.wait(600))
    with numaprobe.host("inline", shutdown_s=0.2, grace_s=0.2) as core:
        core.register(busy)
        threading.Thread(target=lambda: core.add("d", compatible="x", node=0), daemon=True).start()
        began.wait(60)
    print((ends, [one.kind for one in core.warnings]))
    os._exit(0) if sys.stdout.flush() is None else None
    """
    ends, kinds = run(program)
    assert ends == []
    assert "left-behind" in kinds


def test_what_is_asked_of_a_closed_machine_is_refused() -> None:
    with numaprobe.host() as core:
        pass
    with pytest.raises(UsageError, match="does not run"):
        core.add("late")


def test_a_run_that_ends_leaves_no_warning_of_asyncio_s() -> None:
    machine = HostMachine()

    async def main() -> int:
        return 7

    assert machine.run(main) == 7
    assert not machine.warnings
