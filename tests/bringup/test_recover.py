"""kill -9 at every point of a run, then ``recover``: as asked or as before, and the journal says which."""

import os
import signal
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bringup_world import BringupWorld

from numaprobe.bringup.perform import Performance
from numaprobe.bringup.plan import Change, Plan
from numaprobe.bringup.recover import recover
from numaprobe.bringup.steps import JournalStep
from numaprobe.bringup.trying import confirm, watch
from numaprobe.errors import RefusedError


class Killer:
    """Kills its own process at the Nth point: around each write to the kernel, before, amid and after each line."""

    def __init__(self, at: int) -> None:
        self._left = at

    def point(self) -> None:
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1

    def around(self, store: Callable[[str, bytes], None]) -> Callable[[str, bytes], None]:
        def killing(path: str, data: bytes) -> None:
            self.point()
            store(path, data)
            self.point()

        return killing

    def writing(self, write: Callable[[int, bytes], int]) -> Callable[[int, bytes], int]:
        def killing(descriptor: int, data: bytes) -> int:
            self.point()
            if self._left == 0:
                write(descriptor, data[: len(data) // 2])
            self.point()
            done = write(descriptor, data)
            self.point()
            return done

        return killing


def forked(body: Callable[[], object]) -> int:
    """Run ``body`` in a child; return 0 if it came to its end, or the signal that killed it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads, which the runner of tests has
        child = os.fork()
    if child == 0:
        status = 1
        try:
            body()
            status = 0
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    assert not os.WIFEXITED(ended) or os.WEXITSTATUS(ended) == 0
    return os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else 0


@pytest.fixture
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed leaves what it wrote; the disk has no part in it."""
    monkeypatch.setattr(os, "fdatasync", lambda _descriptor: None)
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


def one_of_each(world: BringupWorld) -> list[Change]:
    """A bind, an unbind, a rebind by override, one that fails, and a pair."""
    bind, unbind, override, fails, pair = world.pci(1) + world.pci(4, "nvme")
    world.kernel.fails[f"vfio-pci/{fails}"] = 5
    return [
        world.change(bind),
        world.change(unbind, "unbind"),
        world.change(override, "rebind", "vfio-pci", road="override"),
        world.change(fails, "rebind", "vfio-pci", road="override"),
        world.change(pair, "unbind"),
        replace(world.change(pair, after="other"), wave=1),
    ]


def two(world: BringupWorld) -> list[Change]:
    """Two of them."""
    return [change for change in one_of_each(world) if change.driver_after is not None][:2]


def killed_at(world: BringupWorld, changes: list[Change], point: int, **options: object) -> int:
    def body() -> None:
        killer = Killer(point)
        world.writer._store = killer.around(world.store)
        os.write = killer.writing(os.write)  # type: ignore[assignment]  # in the child alone
        world.perform(changes, **options)  # type: ignore[arg-type]

    return forked(body)


def runs_killed(
    folder: Path, plan: Callable[[BringupWorld], list[Change]], **options: object
) -> Iterator[tuple[int, BringupWorld, dict[str, object]]]:
    """Yield a world for each point at which a run of ``plan`` can be killed, after it was."""
    for point in range(10_000):
        world = BringupWorld(folder / str(point))
        changes = plan(world)
        before = world.kernel.snapshot()
        killed = killed_at(world, changes, point, **options)
        world.reload()
        if not killed:
            assert point > 10 * len(changes)
            return
        yield point, world, before


def asked(name: str, before: dict[str, object]) -> object:
    """What ``one_of_each`` wants of a device: driver and override."""
    wanted = ["nvme", None, "vfio-pci", "vfio-pci", "other"]
    return (dict(zip(sorted(before), wanted, strict=True))[name], None)


@pytest.mark.usefixtures("no_sync")
def test_killed_at_every_point_then_recovered(tmp_path: Path) -> None:
    for point, world, before in runs_killed(tmp_path, one_of_each):
        recovery = recover(world.tools)
        after = world.kernel.snapshot()
        said = {one.device: one.step for one in recovery.devices}
        for name, standing in after.items():
            is_asked = standing == asked(name, before)
            assert is_asked or standing == before[name], (point, name, standing)
            if name in said:
                assert said[name] is (JournalStep.VERIFIED if is_asked else JournalStep.UNDONE), (point, name)
        assert recovery.is_whole
        assert not world.history.open_runs, point
        assert all(entry.is_settled for run in world.history.runs for entry in run.entries.values()), point
        assert not recover(world.tools).devices  # a second time there is nothing left to do


@pytest.mark.usefixtures("no_sync")
def test_recovery_itself_is_killed_at_every_point_and_done_again(tmp_path: Path) -> None:
    for point in range(10_000):
        world = BringupWorld(tmp_path / str(point))
        changes = one_of_each(world)
        before = world.kernel.snapshot()
        killed_at(world, changes, 28)  # in the midst of the first rebind
        world.reload()
        assert world.history.open_runs

        def body(world: BringupWorld = world, point: int = point) -> None:
            killer = Killer(point)
            world.writer._store = killer.around(world.store)
            os.write = killer.writing(os.write)  # type: ignore[assignment]  # in the child alone
            recover(world.tools)

        killed = forked(body)
        world.reload()
        assert recover(world.tools).is_whole
        assert all(now in (before[name], asked(name, before)) for name, now in world.kernel.snapshot().items()), point
        assert not world.history.open_runs
        if not killed:
            assert point >= 15
            return


@pytest.mark.usefixtures("no_sync")
def test_a_try_killed_at_every_point_is_undone(tmp_path: Path) -> None:
    """Before it waits, what is whole stays; once it waits, everything goes back."""
    for point, world, before in runs_killed(tmp_path, two, try_ns=10**12):
        waits = any(run.is_waiting for run in world.history.runs)
        assert recover(world.tools).is_whole
        for name, standing in world.kernel.snapshot().items():
            assert standing == before[name] or (not waits and standing == asked(name, before)), (point, name)


@pytest.mark.usefixtures("no_sync")
@pytest.mark.parametrize("jobs", [1, 3])
def test_asked_to_stop_at_every_write_nothing_is_half_done(tmp_path: Path, jobs: int) -> None:
    """Ctrl-C, at each write in turn: what is under way ends, halves go back, the run is over."""
    for point in range(10_000):
        world = BringupWorld(tmp_path / str(point))
        changes = one_of_each(world)
        before = world.kernel.snapshot()
        plan = Plan(changes=tuple(changes), jobs=jobs)
        with Performance(plan, world.tools, command="bind") as performance:
            count = iter(range(point, -1, -1))
            world.before_store = lambda _path, _text, count=count, stop=performance.stop: (
                stop() if next(count, None) == 0 else None
            )
            report = performance.run()
        for name, standing in world.kernel.snapshot().items():
            assert standing in (before[name], asked(name, before)), (point, name, standing)
        assert not world.history.open_runs
        assert all(entry.is_settled for run in world.history.runs for entry in run.entries.values())
        if not report.interrupted:
            assert point > 2 * len(changes)
            return


def test_an_unfinished_run_refuses_the_next_until_it_is_recovered(world: BringupWorld) -> None:
    first, second = world.pci(2)
    assert killed_at(world, [world.change(first)], 4) == signal.SIGKILL
    world.reload()
    with pytest.raises(RefusedError, match="did not end: 'numaprobe recover' finishes or undoes it"):
        world.perform([world.change(second)])
    recover(world.tools)
    world.perform([world.change(second)])
    assert world.drivers()[second] == "nvme"


def test_a_journal_of_another_boot_is_closed_and_not_replayed(world: BringupWorld) -> None:
    (name,) = world.pci(1)
    assert killed_at(world, [world.change(name)], 6) == signal.SIGKILL
    world.reload()
    standing = world.kernel.snapshot()
    world.kernel.writes.clear()
    world.clock.boot, world.clock.since = "boot-2", 0
    recovery = recover(world.tools)
    assert len(recovery.closed) == 1
    assert not recovery.devices
    assert world.kernel.writes == []
    assert world.kernel.snapshot() == standing
    assert not world.history.open_runs


def test_what_somebody_else_bound_meanwhile_is_left(world: BringupWorld) -> None:
    (name,) = world.pci(1, "nvme")
    assert killed_at(world, [world.change(name, "rebind", "other")], 5) == signal.SIGKILL
    world.reload()
    assert world.drivers() == {name: None}
    world.kernel.write(world.kernel.sysfs.override_file(world.kernel.find(name).path), "vfio-pci")
    world.kernel.write(world.kernel.sysfs.bind_file("pci", "vfio-pci"), name)
    (found,) = recover(world.tools).devices
    assert (found.step, found.driver) == (JournalStep.LEFT, "vfio-pci")
    assert "not our doing" in found.sentence
    assert world.kernel.snapshot() == {f"pci/{name}": ("vfio-pci", "vfio-pci")}


def test_a_late_write_that_came_back_after_the_run_is_settled_by_recover(world: BringupWorld) -> None:
    """The process is gone, and with it the task: what there is now counts."""
    (name,) = world.pci(1)
    change = world.change(name)
    world.kernel.hooks[name] = signal.pause
    forked(lambda: world.perform([change], deadline_ns=1))
    world.kernel.hooks.clear()
    (run,) = world.history.runs
    assert run.is_over
    assert [entry.step for entry in run.entries.values()] == [JournalStep.LATE]
    world.kernel.write(world.kernel.sysfs.bind_file("pci", "nvme"), name)
    (found,) = recover(world.tools).devices
    assert (found.step, found.driver) == (JournalStep.VERIFIED, "nvme")
    assert not recover(world.tools).devices


# ---- try, confirm ----------------------------------------------------------------------------------------------------
def test_a_try_that_is_confirmed_stays(world: BringupWorld) -> None:
    (name,) = world.pci(1, "nvme")
    report = world.perform([world.change(name, "rebind", "other")], try_ns=120 * 10**9)
    with pytest.raises(RefusedError, match="waits for a word: 'numaprobe confirm' keeps it"):
        world.perform([world.change(name, "unbind")])
    assert confirm(world.tools).id == report.run
    assert watch(world.tools, report.run) == []
    assert world.drivers() == {name: "other"}
    with pytest.raises(RefusedError, match="nothing waits"):
        confirm(world.tools)


def test_a_try_whose_time_is_up_is_undone(world: BringupWorld) -> None:
    bound, free = world.pci(1, "nvme") + world.pci(1)
    before = world.kernel.snapshot()
    changes = [world.change(bound, "rebind", "vfio-pci", road="override"), world.change(free)]
    report = world.perform(changes, try_ns=120 * 10**9)
    world.clock.since += 121 * 10**9
    with pytest.raises(RefusedError, match="its time is up"):
        confirm(world.tools)
    undone = watch(world.tools, report.run)
    assert {one.step for one in undone} == {JournalStep.UNDONE}
    assert world.kernel.snapshot() == before
    assert world.history.runs[0].is_over


def test_a_wall_clock_that_jumps_neither_ends_a_try_nor_prolongs_it(world: BringupWorld) -> None:
    (name,) = world.pci(1)
    world.perform([world.change(name)], try_ns=120 * 10**9)
    world.clock.wall += 10**18
    confirm(world.tools)
    world.perform([world.change(name, "unbind")], try_ns=120 * 10**9)
    world.clock.wall -= 2 * 10**18
    world.clock.since += 121 * 10**9
    with pytest.raises(RefusedError, match="its time is up"):
        confirm(world.tools)


def test_a_device_that_is_used_when_the_time_is_up_keeps_its_driver(world: BringupWorld) -> None:
    used, free = world.pci(2)
    report = world.perform([world.change(used), world.change(free)], try_ns=1)
    world.in_use.add(used)
    undone = {one.device: one for one in watch(world.tools, report.run)}
    assert undone[f"pci/{used}"].step is JournalStep.LEFT
    assert "in use by now" in undone[f"pci/{used}"].sentence
    assert world.drivers() == {used: "nvme", free: None}


def test_a_try_in_which_nothing_was_done_waits_for_nobody(world: BringupWorld) -> None:
    (name,) = world.pci(1)
    world.in_use.add(name)
    world.perform([world.change(name)], try_ns=10**12)
    assert not world.history.open_runs
