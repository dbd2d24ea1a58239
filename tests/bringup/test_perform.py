"""A plan carried out on a fake kernel: what is written, in which order, what is put back, what the journal says."""

import errno
import threading
from dataclasses import replace

import pytest
from bringup_world import BringupWorld

from numaprobe.bringup.lock import RunLock
from numaprobe.bringup.perform import Performance
from numaprobe.bringup.plan import Plan
from numaprobe.bringup.steps import JournalStep
from numaprobe.bringup.strokes import Standing, Stroke, way
from numaprobe.errors import RefusedError


def steps_of(world: BringupWorld, change: str) -> list[JournalStep]:
    return [line.step for line in world.history.runs[-1].entries[change].lines]


# ---- each action by each road ----------------------------------------------------------------------------------------
def test_bind(world: BringupWorld) -> None:
    (name,) = world.pci(1)
    report = world.perform([world.change(name)])
    assert world.drivers() == {name: "nvme"}
    assert world.written() == [("nvme/bind", name)]
    (outcome,) = report.outcomes
    assert (outcome.step, outcome.result, outcome.driver) == (JournalStep.VERIFIED, "0", "nvme")
    assert steps_of(world, f"bind pci/{name}") == [JournalStep.INTENT, JournalStep.DONE, JournalStep.VERIFIED]
    assert [line.step for line in world.history.runs[0].lines] == [JournalStep.BEGIN, JournalStep.END]


def test_unbind_and_rebind(world: BringupWorld) -> None:
    first, second = world.pci(2, "nvme")
    world.perform([world.change(first, "unbind"), world.change(second, "rebind")])
    assert world.drivers() == {first: None, second: "nvme"}
    assert world.written() == [("nvme/unbind", first), ("nvme/unbind", second), ("nvme/bind", second)]


def test_the_override_is_set_before_and_put_back_after(world: BringupWorld) -> None:
    (name,) = world.pci(1, "nvme")
    report = world.perform([world.change(name, "rebind", "vfio-pci", road="override")])
    assert world.written() == [
        ("nvme/unbind", name),
        (f"{name}/driver_override", "vfio-pci"),
        ("vfio-pci/bind", name),
        (f"{name}/driver_override", ""),
    ]
    assert world.kernel.snapshot() == {f"pci/{name}": ("vfio-pci", None)}
    assert not report.failures


def test_an_override_does_not_stay_when_its_driver_fails(world: BringupWorld) -> None:
    (name,) = world.pci(1, "nvme")
    world.kernel.fails[f"vfio-pci/{name}"] = errno.EIO
    report = world.perform([world.change(name, "rebind", "vfio-pci", road="override")])
    assert world.kernel.snapshot() == {f"pci/{name}": ("nvme", None)}
    assert (report.outcomes[0].step, report.outcomes[0].result) == (JournalStep.UNDONE, "EIO")


def test_an_override_that_was_there_is_there_again(world: BringupWorld) -> None:
    world.kernel.device("pci", "0000:90:00.0", override="other")
    world.perform([world.change("0000:90:00.0", after="nvme", road="override")])
    assert world.kernel.snapshot() == {"pci/0000:90:00.0": ("nvme", "other")}


def test_a_pair_unbinds_in_an_early_wave_and_binds_in_a_later_one(world: BringupWorld) -> None:
    first, second = world.pci(2, "nvme")
    unbinds = [replace(world.change(name, "unbind"), wave=wave) for wave, name in enumerate((first, second))]
    binds = [replace(world.change(name), wave=wave) for wave, name in ((2, second), (3, first))]
    assert not world.perform([*unbinds, *binds]).failures
    assert [text for _, text in world.written()] == [first, second, second, first]
    assert world.drivers() == {first: "nvme", second: "nvme"}


# ---- what fails is put back ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("number", [errno.EIO, errno.EAGAIN, errno.ENODEV])
def test_a_driver_that_fails_gives_way_to_the_former_one(world: BringupWorld, number: int) -> None:
    (name,) = world.pci(1, "nvme")
    world.kernel.fails[f"other/{name}"] = number
    report = world.perform([world.change(name, "rebind", "other")])
    assert world.drivers() == {name: "nvme"}
    (outcome,) = report.outcomes
    assert (outcome.step, outcome.result, outcome.driver) == (JournalStep.UNDONE, errno.errorcode[number], "nvme")
    assert "put back to nvme" in outcome.sentence
    assert steps_of(world, f"rebind pci/{name}") == [JournalStep.INTENT, JournalStep.FAILED, JournalStep.UNDONE]


def test_a_probe_that_fails_without_a_word_is_seen_by_the_link(world: BringupWorld) -> None:
    """A kernel may take the write all the same; the override must not stay either."""
    (name,) = world.pci(1, "nvme")
    write = world.kernel.write
    world.kernel.write = lambda path, text: None if path.endswith("vfio-pci/bind") else write(path, text)  # type: ignore[method-assign]
    report = world.perform([world.change(name, "rebind", "vfio-pci", road="override")])
    assert world.kernel.snapshot() == {f"pci/{name}": ("nvme", None)}
    assert (report.outcomes[0].step, report.outcomes[0].result) == (JournalStep.UNDONE, "E?")


def test_what_cannot_be_put_back_is_said_with_the_line_that_would(world: BringupWorld) -> None:
    (name,) = world.pci(1, "nvme")
    world.kernel.fails[name] = errno.EIO
    (outcome,) = world.perform([world.change(name, "rebind", "other")]).outcomes
    assert outcome.step is JournalStep.LEFT
    assert f"echo {name} > /sys/bus/pci/drivers/nvme/bind" in outcome.sentence
    assert world.drivers() == {name: None}


def test_a_device_that_vanishes_during_its_probe(world: BringupWorld) -> None:
    gone, stays = world.pci(2)
    world.kernel.hooks[gone] = lambda: world.kernel.remove(gone)
    report = world.perform([world.change(gone), world.change(stays)])
    assert world.drivers() == {stays: "nvme"}
    assert [outcome.step for outcome in report.outcomes] == [JournalStep.LEFT, JournalStep.VERIFIED]
    assert "not there any more" in report.outcomes[0].sentence


def test_a_device_that_vanished_before_is_not_written_to(world: BringupWorld) -> None:
    gone, stays = world.pci(2)
    changes = [world.change(gone), world.change(stays)]
    world.kernel.remove(gone)
    report = world.perform(changes)
    assert [outcome.step for outcome in report.outcomes] == [JournalStep.REFUSED, JournalStep.VERIFIED]
    assert [text for _, text in world.written()] == [stays]


# ---- the guard, again ------------------------------------------------------------------------------------------------
def test_a_device_in_use_by_now_is_not_written_to(world: BringupWorld) -> None:
    first, second = world.pci(2, "nvme")
    world.in_use.add(first)
    report = world.perform([world.change(first, "rebind", "vfio-pci", road="override"), world.change(second, "unbind")])
    assert [outcome.step for outcome in report.outcomes] == [JournalStep.REFUSED, JournalStep.VERIFIED]
    assert "(--allow 0000:81:00.0=mounted would allow it)" in report.outcomes[0].sentence
    assert [text for _, text in world.written()] == [second]


def test_a_device_that_is_taken_between_two_writes_gets_its_driver_back(world: BringupWorld) -> None:
    (name,) = world.pci(1, "nvme")
    world.before_store = lambda path, _: world.in_use.add(name) if path.endswith("unbind") else None
    (outcome,) = world.perform([world.change(name, "rebind", "other")]).outcomes
    assert outcome.step is JournalStep.UNDONE
    assert world.drivers() == {name: "nvme"}


def test_a_device_that_stands_otherwise_than_planned_is_not_written_to(world: BringupWorld) -> None:
    (name,) = world.pci(1)
    change = world.change(name)
    world.kernel.write(world.kernel.sysfs.bind_file("pci", "other"), name)
    (outcome,) = world.perform([change]).outcomes
    assert outcome.step is JournalStep.REFUSED
    assert "has other by now" in outcome.sentence
    assert world.drivers() == {name: "other"}


# ---- waves, jobs, deadlines ------------------------------------------------------------------------------------------
def test_a_driver_that_cannot_be_taken_away_keeps_the_later_waves_from_beginning(world: BringupWorld) -> None:
    consumer, supplier = world.pci(2, "nvme")
    world.in_use.add(consumer)
    report = world.perform([world.change(consumer, "unbind"), replace(world.change(supplier, "unbind"), wave=1)])
    assert world.written() == []
    assert "not begun" in report.outcomes[1].sentence
    assert not world.history.open_runs


def test_half_of_a_pair_is_put_back(world: BringupWorld) -> None:
    first, second = world.pci(2, "nvme")
    changes = [world.change(first, "unbind"), replace(world.change(second, "unbind"), wave=1)]
    binds = [replace(world.change(name), wave=2) for name in (first, second)]
    world.in_use.add(second)
    world.perform([*changes, *binds])
    assert world.drivers() == {first: "nvme", second: "nvme"}
    assert steps_of(world, f"unbind pci/{first}")[-1] is JournalStep.UNDONE


class Together:
    """Counts how many probes run at once."""

    def __init__(self, expected: int) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()
        self._all = threading.Event()
        self._expected = expected

    def __call__(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
            if self.now == self._expected:
                self._all.set()
        self._all.wait(10 if self._expected > 1 else 0)
        with self._lock:
            self.now -= 1


@pytest.mark.parametrize(("exclusive", "jobs", "together"), [(False, 3, 3), (True, 3, 1), (False, 1, 1)])
def test_as_many_at_once_as_there_are_jobs_but_exclusive_ones_one_by_one(
    world: BringupWorld, exclusive: bool, jobs: int, together: int
) -> None:
    names = world.pci(6)
    probes = Together(together)
    world.kernel.hooks = dict.fromkeys(names, probes)
    report = world.perform([replace(world.change(name), exclusive=exclusive) for name in names], jobs=jobs)
    assert not report.failures
    assert probes.most == together


def test_exclusive_changes_of_two_drivers_may_run_side_by_side(world: BringupWorld) -> None:
    first, second = world.pci(2)
    probes = Together(2)
    world.kernel.hooks = {first: probes, second: probes}
    changes = [
        replace(world.change(name, after=driver), exclusive=True)
        for name, driver in ((first, "nvme"), (second, "other"))
    ]
    assert not world.perform(changes, jobs=2).failures
    assert probes.most == 2


@pytest.fixture
def hangs(world: BringupWorld) -> tuple[BringupWorld, threading.Event]:
    """A world whose first device hangs in its probe until the event is set."""
    release = threading.Event()
    name = world.pci(4)[0]
    world.kernel.hooks[name] = lambda: release.wait(20)
    return world, release


def test_a_driver_that_hangs_is_told_and_the_rest_goes_on(hangs: tuple[BringupWorld, threading.Event]) -> None:
    world, release = hangs
    names = list(world.drivers())
    report = world.perform([world.change(name) for name in names], deadline_ns=30_000_000)
    assert [outcome.step for outcome in report.outcomes] == [JournalStep.LATE, *[JournalStep.VERIFIED] * 3]
    assert "still in the kernel after its 0.03 s" in report.outcomes[0].sentence
    assert steps_of(world, f"bind pci/{names[0]}") == [JournalStep.INTENT, JournalStep.LATE]
    with RunLock(world.state, world.clock):
        pass  # others may work meanwhile
    release.set()


def test_no_second_probe_beside_one_that_hangs_if_they_must_be_one_by_one(
    hangs: tuple[BringupWorld, threading.Event],
) -> None:
    world, release = hangs
    changes = [replace(world.change(name), exclusive=True) for name in world.drivers()]
    report = world.perform(changes, jobs=4, deadline_ns=30_000_000)
    assert [outcome.step for outcome in report.outcomes] == [JournalStep.LATE, *[JournalStep.REFUSED] * 3]
    assert len(world.written()) == 1
    release.set()


def test_a_late_probe_that_comes_back_in_time_is_finished(hangs: tuple[BringupWorld, threading.Event]) -> None:
    world, release = hangs
    first, second, *_ = world.drivers()
    world.kernel.hooks[second] = lambda: (release.set(), threading.Event().wait(0.3))
    report = world.perform([world.change(first), world.change(second)], deadline_ns=30_000_000)
    assert report.outcomes[0].was_late
    assert {outcome.step for outcome in report.outcomes} <= {JournalStep.VERIFIED, JournalStep.LATE}
    assert report.outcomes[0].step is JournalStep.VERIFIED
    assert steps_of(world, f"bind pci/{first}") == [
        JournalStep.INTENT,
        JournalStep.LATE,
        JournalStep.DONE,
        JournalStep.VERIFIED,
    ]


# ---- Ctrl-C, two runs, full disks ------------------------------------------------------------------------------------
def test_stop_lets_what_is_under_way_end_and_begins_nothing_more(world: BringupWorld) -> None:
    names = world.pci(5)
    plan = Plan(changes=tuple(world.change(name) for name in names))
    with Performance(plan, world.tools, command="bind") as performance:
        world.kernel.hooks[names[1]] = performance.stop
        report = performance.run()
    assert report.interrupted
    assert list(world.drivers().values()) == ["nvme", "nvme", None, None, None]
    assert [outcome.step for outcome in report.outcomes] == [JournalStep.VERIFIED] * 2 + [JournalStep.REFUSED] * 3
    assert world.history.runs[0].is_over


def test_two_runs_at_once(world: BringupWorld) -> None:
    first, second = world.pci(2)
    plan = Plan(changes=(world.change(first),))
    with Performance(plan, world.tools, command="bind") as performance:
        with pytest.raises(RefusedError, match="another run is at work: pid"):
            world.perform([world.change(second)])
        performance.run()
    world.perform([world.change(second)])
    assert world.drivers() == {first: "nvme", second: "nvme"}


def test_a_full_disk_refuses_before_anything_is_written(world: BringupWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    (name,) = world.pci(1)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("numaprobe.bringup.journal.reserve_space", full)
    with pytest.raises(RefusedError, match="No space left on device; make room"):
        world.perform([world.change(name)])
    assert world.written() == []


def test_a_disk_that_fills_up_on_the_way_begins_nothing_more(world: BringupWorld) -> None:
    names = world.pci(3)
    plan = Plan(changes=tuple(world.change(name) for name in names))
    with Performance(plan, world.tools, command="bind") as performance:

        def full(*_: object, **__: object) -> None:
            raise RefusedError("journal: No space left on device")

        performance._journal.append_all = full  # type: ignore[method-assign]
        report = performance.run()
    assert list(world.drivers().values()) == ["nvme", None, None]
    assert any("could not be written" in warning for warning in report.warnings)


# ---- the way back, against a model -----------------------------------------------------------------------------------
def test_a_way_without_override_is_unbind_and_bind() -> None:
    now, then = Standing(driver="a", override=None), Standing(driver="b", override=None)
    assert way(now, then, has_override=False) == (Stroke("unbind", "a"), Stroke("bind", "b"))


@pytest.mark.parametrize("override_then", [None, "a", "b", "c"])
@pytest.mark.parametrize("driver_then", [None, "a", "b"])
@pytest.mark.parametrize("override_now", [None, "a", "b", "c"])
@pytest.mark.parametrize("driver_now", [None, "a", "b"])
def test_a_way_leads_from_any_standing_to_any_other(
    driver_now: str | None, override_now: str | None, driver_then: str | None, override_then: str | None
) -> None:
    """A kernel in four lines follows the strokes: no bind is refused, and the end is as wanted."""
    now = Standing(driver=driver_now, override=override_now)
    then = Standing(driver=driver_then, override=override_then)
    driver, override = driver_now, override_now
    for stroke in way(now, then, has_override=True):
        match stroke:
            case Stroke("unbind", name):
                assert driver == name
                driver = None
            case Stroke("bind", name):
                assert driver is None
                assert override == name
                driver = name
            case Stroke("override", name):
                assert override != name
                override = name
    assert Standing(driver=driver, override=override) == then
