"""The journal: written ahead, torn lines, full disks, clocks that jump, one run at a time."""

import errno
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numaprobe.bringup import journal as journal_module
from numaprobe.bringup.history import read_history
from numaprobe.bringup.journal import NAME, OLDER, Journal, room_for, rotate
from numaprobe.bringup.lock import RunLock, is_locked
from numaprobe.bringup.state import make_state
from numaprobe.bringup.steps import CHANGE_STEPS, RUN_STEPS, SETTLED, JournalStep
from numaprobe.errors import NotPermittedError, RefusedError, StateError


@dataclass
class FakeClock:
    boot: str = "boot-1"
    wall: int = 1_795_000_000 * 10**9
    since: int = 5 * 10**9

    def wall_ns(self) -> int:
        return self.wall

    def boottime_ns(self) -> int:
        self.since += 1000
        return self.since


def write_one_run(folder: Path, clock: FakeClock, *, end: bool = True) -> str:
    with Journal(folder, clock) as journal:
        journal.append(JournalStep.BEGIN, boot=clock.boot, pid=7, command="bind")
        journal.append(JournalStep.INTENT, "bind pci/0000:81:00.0", driver_before=None)
        journal.append(JournalStep.DONE, "bind pci/0000:81:00.0", lasting=False)
        journal.append(JournalStep.VERIFIED, "bind pci/0000:81:00.0", lasting=False, driver="nvme")
        if end:
            journal.append(JournalStep.END)
    return journal.run


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    run_id = write_one_run(tmp_path, FakeClock())
    (run,) = read_history(tmp_path).runs
    assert run.id == run_id
    assert run.is_over
    assert run.boot == "boot-1"
    (entry,) = run.entries.values()
    assert [line.step for line in entry.lines] == [JournalStep.INTENT, JournalStep.DONE, JournalStep.VERIFIED]
    assert entry.intent == {"driver_before": None}
    assert entry.is_settled


def test_each_line_is_one_object_of_json(tmp_path: Path) -> None:
    write_one_run(tmp_path, FakeClock())
    lines = [json.loads(line) for line in (tmp_path / NAME).read_text().splitlines()]
    assert [line["step"] for line in lines] == ["begin", "intent", "done", "verified", "end"]
    assert all(line["time_ns"] and line["boottime_ns"] for line in lines)


def test_the_tables_of_steps_are_whole() -> None:
    in_a_run = {JournalStep.BEGIN, JournalStep.WAITING, JournalStep.CONFIRMED, JournalStep.END, JournalStep.CLOSED}
    assert set(RUN_STEPS) == in_a_run | {None}
    assert set(CHANGE_STEPS) == (set(JournalStep) - in_a_run) | {None}
    for table in (RUN_STEPS, CHANGE_STEPS):
        assert {step for follow in table.values() for step in follow} == set(table) - {None}
    assert all(CHANGE_STEPS[step] for step in set(CHANGE_STEPS) - SETTLED)


@pytest.mark.parametrize(
    ("steps", "change"),
    [
        ([JournalStep.INTENT, JournalStep.INTENT], "bind a/b"),
        ([JournalStep.DONE], "bind a/b"),
        ([JournalStep.INTENT, JournalStep.REFUSED, JournalStep.DONE], "bind a/b"),
        ([JournalStep.INTENT, JournalStep.VERIFIED, JournalStep.FAILED], "bind a/b"),
        ([JournalStep.BEGIN, JournalStep.BEGIN], None),
        ([JournalStep.BEGIN, JournalStep.END, JournalStep.CONFIRMED], None),
    ],
)
def test_a_step_that_may_not_follow_is_not_written(
    tmp_path: Path, steps: list[JournalStep], change: str | None
) -> None:
    with Journal(tmp_path, FakeClock()) as journal:
        for step in steps[:-1]:
            journal.append(step, change)
        before = (tmp_path / NAME).read_bytes()
        with pytest.raises(StateError, match="cannot follow"):
            journal.append(steps[-1], change)
    assert (tmp_path / NAME).read_bytes() == before


# ---- torn lines ------------------------------------------------------------------------------------------------------
def test_a_journal_cut_at_any_byte_tells_what_was_whole(tmp_path: Path) -> None:
    write_one_run(tmp_path, FakeClock())
    whole = (tmp_path / NAME).read_bytes()
    for size in range(0, len(whole), 3):
        (tmp_path / NAME).write_bytes(whole[:size])
        history = read_history(tmp_path)
        told = sum(len(run.lines) + sum(len(entry.lines) for entry in run.entries.values()) for run in history.runs)
        newlines = whole[:size].count(b"\n")
        # a line is whole one byte before its newline
        assert told in (newlines, newlines + 1)
        assert history.damaged <= 1


def test_the_next_line_after_a_torn_one_is_whole(tmp_path: Path) -> None:
    write_one_run(tmp_path, FakeClock(), end=False)
    with (tmp_path / NAME).open("ab") as file:
        file.write(b'{"step":"done","run":"x')
    write_one_run(tmp_path, FakeClock(boot="boot-2"))
    history = read_history(tmp_path)
    assert history.damaged == 1
    assert [run.boot for run in history.runs] == ["boot-1", "boot-2"]
    assert [run.is_over for run in history.runs] == [False, True]


@pytest.fixture(scope="module")
def one_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("state")
    write_one_run(folder, FakeClock())
    return folder


@given(data=st.binary(max_size=300), at=st.integers(min_value=0, max_value=2000))
def test_nothing_in_a_journal_stops_its_reader(one_run: Path, data: bytes, at: int) -> None:
    whole = (one_run / NAME).read_bytes()
    try:
        (one_run / NAME).write_bytes(whole[:at] + data + whole[at:])
        history = read_history(one_run)
        assert sum(len(run.entries) for run in history.runs) <= len(data) + 1
    finally:
        (one_run / NAME).write_bytes(whole)


# ---- the disk --------------------------------------------------------------------------------------------------------
def test_room_is_set_aside_before_anything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def full(_descriptor: int, offset: int, size: int) -> None:
        asked.append((offset, size))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(journal_module, "reserve_space", full)
    with (
        Journal(tmp_path, FakeClock()) as journal,
        pytest.raises(RefusedError, match="No space left"),
    ):
        journal.reserve(1000)
    assert asked == [(0, room_for(1000))]
    assert (tmp_path / NAME).read_bytes() == b""


def test_reserving_leaves_the_file_as_long_as_it_is(tmp_path: Path) -> None:
    write_one_run(tmp_path, FakeClock())
    before = (tmp_path / NAME).stat().st_size
    with Journal(tmp_path, FakeClock()) as journal:
        journal.reserve(10)
    assert (tmp_path / NAME).stat().st_size == before


def test_a_file_system_that_cannot_set_room_aside_is_asked_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(_descriptor: int, _offset: int, _size: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "")

    monkeypatch.setattr(journal_module, "reserve_space", cannot)
    with Journal(tmp_path, FakeClock()) as journal:
        journal.reserve(1)
        with pytest.raises(RefusedError, match="No space"):
            journal.reserve(2**50)


@pytest.mark.parametrize("taken", [0, 10])
def test_a_line_that_does_not_go_out_raises_and_the_next_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    """The disk is full under a line, before it or in its midst; then there is room again."""
    with Journal(tmp_path, FakeClock()) as journal:
        journal.append(JournalStep.BEGIN, boot="boot-1")
        real, calls = os.write, []

        def full(descriptor: int, data: bytes) -> int:
            calls.append(data)
            if taken and len(calls) == 1:
                return real(descriptor, data[:taken])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(RefusedError, match="No space left"):
            journal.append(JournalStep.INTENT, "bind a/b")
        monkeypatch.setattr(os, "write", real)
        journal.append(JournalStep.INTENT, "bind a/b", driver_before=None)
    history = read_history(tmp_path)
    assert history.damaged == bool(taken)
    assert [entry.step for entry in history.runs[0].entries.values()] == [JournalStep.INTENT]


def test_a_lasting_line_is_synced_before_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    monkeypatch.setattr(os, "fdatasync", lambda _descriptor: synced.append((tmp_path / NAME).read_bytes()))
    with Journal(tmp_path, FakeClock()) as journal:
        journal.append(JournalStep.BEGIN)
        journal.append(JournalStep.INTENT, "bind a/b")
        assert [text.count(b"\n") for text in synced] == [1, 2]
        journal.append(JournalStep.DONE, "bind a/b", lasting=False)
        assert len(synced) == 2


def test_threads_lose_no_line(tmp_path: Path) -> None:
    with Journal(tmp_path, FakeClock()) as journal:
        journal.append(JournalStep.BEGIN)
        threads = [
            threading.Thread(target=journal.append, args=(JournalStep.INTENT, f"bind a/{number}"))
            for number in range(40)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    history = read_history(tmp_path)
    assert history.damaged == 0
    assert len(history.runs[0].entries) == 40


def test_a_grown_journal_is_put_aside_and_still_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_one_run(tmp_path, FakeClock())
    assert not rotate(tmp_path)
    monkeypatch.setattr(journal_module, "ROTATE", 10)
    assert rotate(tmp_path)
    assert (tmp_path / OLDER).exists()
    write_one_run(tmp_path, FakeClock())
    assert len(read_history(tmp_path).runs) == 2


def test_a_folder_that_may_not_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((RefusedError, NotPermittedError), match="file"):
        make_state(tmp_path / "file" / "below")


def test_a_link_in_the_place_of_the_journal_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RefusedError, match="journal"):
        Journal(tmp_path, FakeClock())
    assert (tmp_path / "elsewhere").read_text() == ""


# ---- clocks ----------------------------------------------------------------------------------------------------------
def test_a_wall_clock_that_jumps_changes_no_order(tmp_path: Path) -> None:
    clock = FakeClock()
    ids = []
    for wall in (10**18, 0, -(10**18), 2**80):
        clock.wall = wall
        ids.append(write_one_run(tmp_path, clock))
    history = read_history(tmp_path)
    assert [run.id for run in history.runs] == ids
    assert all(run.is_over for run in history.runs)


# ---- one at a time ---------------------------------------------------------------------------------------------------
def test_the_second_run_is_told_who_holds_the_lock_and_since_when(tmp_path: Path) -> None:
    clock = FakeClock()
    with RunLock(tmp_path, clock):
        assert is_locked(tmp_path)
        clock.since += 12 * 10**9
        with pytest.raises(RefusedError, match=rf"pid {os.getpid()}, since 20.*\(12 s\)"):
            RunLock(tmp_path, clock).__enter__()
    assert not is_locked(tmp_path)
    with RunLock(tmp_path, clock):
        pass


def test_a_killed_run_leaves_no_lock(tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\n"
        "from numaprobe.bringup.clock import system_clock\nfrom numaprobe.bringup.lock import RunLock\n"
        "with RunLock(Path(sys.argv[1]), system_clock()):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RefusedError, match=f"pid {holder.pid}"):
            RunLock(tmp_path, FakeClock()).__enter__()
        holder.kill()
        holder.wait()
    with RunLock(tmp_path, FakeClock()):
        pass
