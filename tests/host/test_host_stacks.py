"""Where another thread's code is, and what threads tell once, whether there is an interpreter lock or not."""

from __future__ import annotations

import threading
import time

from numaprobe.cpuset import CpuSet
from numaprobe.hostmachine import stacks
from numaprobe.hostmachine.attributes import Applier, Attributes


def test_a_thread_that_computes_can_be_looked_at() -> None:
    over = threading.Event()

    def recurse(depth: int) -> int:
        return recurse(depth - 1) + 1 if depth else 0

    def compute() -> None:
        while not over.is_set():
            recurse(20)

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        for _ in range(300):
            names = [entry.name for entry in stacks.entries(thread.ident or 0)]
            assert "compute" in names
            assert names.index("compute") < names.index("recurse") if "recurse" in names else True
    finally:
        over.set()
        thread.join()
    assert stacks.entries(thread.ident or 0) == []


def test_a_dump_is_read_as_one_thread_s_calls() -> None:
    dump = (
        "Thread 0x00007f0000000010 [name] (most recent call first):\n"
        '  File "/a/inner.py", line 3 in <lambda>\n  File "/a/outer.py", line 7 in main\n\n'
        'Current thread 0x00007f0000000020 (most recent call first):\n  File "/a/b.py", line 1 in <module>\n'
    )
    found = stacks.parse(dump, 0x7F0000000010)
    assert [(entry.filename, entry.lineno, entry.name) for entry in found] == [
        ("/a/outer.py", 7, "main"),
        ("/a/inner.py", 3, "<lambda>"),
    ]
    assert [entry.name for entry in stacks.parse(dump, 0x7F0000000020)] == ["<module>"]
    assert stacks.parse(dump, 0x7F0000000030) == []


def test_what_many_threads_are_refused_is_told_once() -> None:
    told: list[str] = []

    def warn(kind: str, _message: str) -> None:
        time.sleep(0.001)
        told.append(kind)

    for _ in range(20):
        told.clear()
        applier = Applier(warn, lambda: CpuSet.of([0]))
        start = threading.Barrier(4)

        def ask(applier: Applier = applier, start: threading.Barrier = start) -> None:
            start.wait()
            applier.apply_memory(Attributes(memory_node=9999))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert told == ["memory-policy"]
