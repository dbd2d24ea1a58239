"""Any order of runs, crashes, recoveries, tries, words, time-outs, reboots and others' doings, against a small model.

The model knows for each device how it stood before the run that is open, what was asked of it, and whether somebody
else touched it since. Whatever happens, a device ends with its former or its wanted driver, the journal says which, and
a device that was refused was never written to.
"""

import os
import shutil
import tempfile
from pathlib import Path

from bringup_world import BringupWorld
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from test_recover import forked, killed_at

from numaprobe.bringup.plan import Change
from numaprobe.bringup.recover import recover
from numaprobe.bringup.steps import JournalStep
from numaprobe.bringup.trying import confirm, watch
from numaprobe.errors import RefusedError

DRIVERS = ("nvme", "other", "vfio-pci")
COUNT = 4
TRY_NS = 120 * 10**9
Standing = tuple[str | None, str | None]


class Devices(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="numaprobe-test-"))
        self._sync, os.fdatasync = os.fdatasync, lambda _descriptor: None  # type: ignore[assignment]
        self.world = BringupWorld(self.folder)
        self.names = self.world.pci(COUNT)
        #: of the run that is open: how its devices stood before, and shall stand
        self.before: dict[str, Standing] = {}
        self.asked: dict[str, Standing] = {}
        #: devices that somebody else touched since
        self.touched: set[str] = set()
        self.waits: str | None = None
        self.crashed = False

    def teardown(self) -> None:
        os.fdatasync = self._sync
        shutil.rmtree(self.folder)

    # ---- the model -----------------------------------------------------------------------------------------------
    def standing(self, name: str) -> Standing:
        device = self.world.kernel.find(name)
        return self.world.kernel.driver_of(name), device.override

    @property
    def is_open(self) -> bool:
        return self.crashed or self.waits is not None

    def plan(self, chosen: dict[str, str | None]) -> list[Change]:
        """A change for each chosen device that has one: to that driver, or to none."""
        changes = []
        for name, driver in chosen.items():
            now = self.standing(name)[0]
            if driver == now:
                continue
            action = "unbind" if driver is None else "bind" if now is None else "rebind"
            changes.append(self.world.change(name, action, driver, road="override"))
        self.before = {change.name: self.standing(change.name) for change in changes}
        self.asked = {change.name: (change.driver_after, change.override_after) for change in changes}
        self.touched = set()
        self.world.kernel.writes.clear()
        return changes

    def check_ends(self, *, undone: bool = False) -> None:
        """Each device of the last run is as asked or as before, and the journal says which."""
        run = self.world.history.runs[-1]
        said = {change.split("/")[-1]: entry.step for change, entry in run.entries.items()}
        for name in self.before.keys() - self.touched:
            if said.get(name) is JournalStep.LEFT:
                assert undone, "only what is held when a try is undone may be left"
                continue
            now = self.standing(name)
            assert now == (self.asked[name] if said.get(name) is JournalStep.VERIFIED else self.before[name]), (
                name,
                said,
            )
        self.before, self.asked = {}, {}

    def check_refused(self, refused: set[str]) -> None:
        written = {text.strip() for _, text in self.world.kernel.writes}
        written |= {path.split("/")[-2] for path, _ in self.world.kernel.writes}
        assert not written & refused

    # ---- what happens --------------------------------------------------------------------------------------------
    @initialize(drivers=st.lists(st.sampled_from((None, *DRIVERS)), min_size=COUNT, max_size=COUNT))
    def boot(self, drivers: list[str | None]) -> None:
        for name, driver in zip(self.names, drivers, strict=True):
            self.foreign_write(name, driver)

    def foreign_write(self, name: str, driver: str | None) -> None:
        kernel, sysfs = self.world.kernel, self.world.kernel.sysfs
        now, override = self.standing(name)
        if now is not None:
            kernel.write(sysfs.unbind_file("pci", now), name)
        if driver is not None:
            path = sysfs.override_file(kernel.find(name).path)
            kernel.write(path, driver)
            kernel.write(sysfs.bind_file("pci", driver), name)
            kernel.write(path, override or "\n")

    chosen = st.dictionaries(st.integers(0, COUNT - 1), st.sampled_from((None, *DRIVERS)), min_size=1, max_size=COUNT)

    @precondition(lambda self: not self.is_open)
    @rule(chosen=chosen, is_try=st.booleans(), jobs=st.integers(1, 3))
    def run(self, chosen: dict[int, str | None], is_try: bool, jobs: int) -> None:
        changes = self.plan({self.names[number]: driver for number, driver in chosen.items()})
        refused = self.world.in_use & self.before.keys()
        report = self.world.perform(changes, jobs=jobs, try_ns=TRY_NS if is_try else None)
        self.check_refused(refused)
        if report.waits_until_ns is not None:
            self.waits = report.run
        elif changes:
            self.check_ends()

    @precondition(lambda self: not self.is_open)
    @rule(chosen=chosen, point=st.integers(0, 40), is_try=st.booleans())
    def run_and_be_killed(self, chosen: dict[int, str | None], point: int, is_try: bool) -> None:
        changes = self.plan({self.names[number]: driver for number, driver in chosen.items()})
        ids = {run.id for run in self.world.history.runs}
        self.world.clock.since += 10**6
        killed_at(self.world, changes, point, try_ns=TRY_NS if is_try else None)
        self.world.reload()
        new = [run for run in self.world.history.runs if run.id not in ids]
        self.crashed = any(not run.is_over and not run.is_waiting for run in new)
        self.waits = next((run.id for run in new if run.is_waiting), None)
        if not new:  # killed before its first line
            assert all(self.standing(name) == before for name, before in self.before.items())
            self.before, self.asked = {}, {}
        elif not self.is_open and changes:
            self.check_ends()

    @precondition(lambda self: self.is_open)
    @rule(number=st.integers(0, COUNT - 1))
    def another_run_is_refused(self, number: int) -> None:
        name = self.names[number]
        driver = None if self.standing(name)[0] else "nvme"
        action = "unbind" if driver is None else "bind"
        before = self.standing(name)
        try:
            self.world.perform([self.world.change(name, action, driver)])
        except RefusedError:
            assert self.standing(name) == before
        else:
            raise AssertionError("a run began beside an open one")

    @rule(is_killed=st.none() | st.integers(0, 12))
    def recover(self, is_killed: int | None) -> None:
        was_open, waited = self.is_open, self.waits is not None
        if is_killed is not None:
            point = iter(range(is_killed, -1, -1))

            def store(path: str, data: bytes) -> None:
                if next(point, 0) == 0:
                    os.kill(os.getpid(), 9)
                self.world.store(path, data)

            def body() -> None:
                self.world.writer._store = store
                recover(self.world.tools)

            forked(body)
            self.world.reload()
        recovery = recover(self.world.tools)
        held = {one.device for one in recovery.devices if one.step is JournalStep.LEFT}
        assert all(device.split("/")[-1] in self.world.in_use | self.touched for device in held)
        self.waits, self.crashed = None, False
        assert not self.world.history.open_runs
        if was_open and self.before:
            self.check_ends(undone=waited or bool(held))

    @precondition(lambda self: self.waits is not None)
    @rule()
    def confirm(self) -> None:
        confirm(self.world.tools)
        self.waits = None
        self.check_ends()

    @precondition(lambda self: self.waits is not None)
    @rule()
    def time_is_up(self) -> None:
        self.world.clock.since += TRY_NS + 1
        assert self.waits is not None
        watch(self.world.tools, self.waits)
        self.waits = None
        for name in self.before.keys() - self.touched - self.world.in_use:
            assert self.standing(name) == self.before[name]
        self.check_ends(undone=True)

    @rule(number=st.integers(0, COUNT - 1), driver=st.sampled_from((None, *DRIVERS)))
    def somebody_else_writes(self, number: int, driver: str | None) -> None:
        name = self.names[number]
        if self.standing(name)[0] == driver:
            return
        self.foreign_write(name, driver)
        self.touched.add(name)

    @rule(number=st.integers(0, COUNT - 1))
    def somebody_uses_or_leaves(self, number: int) -> None:
        self.world.in_use ^= {self.names[number]}

    @rule(jump=st.integers(-(10**18), 10**18))
    def wall_clock_jumps(self, jump: int) -> None:
        self.world.clock.wall += jump

    @rule()
    def reboot(self) -> None:
        """Sysfs begins from nothing; the journal has an open run of another boot perhaps."""
        self.world.clock.boot += "'"
        self.world.clock.since = 10**9
        for name in self.names:
            self.foreign_write(name, None)
            self.world.kernel.write(self.world.kernel.sysfs.override_file(self.world.kernel.find(name).path), "\n")
        self.world.kernel.writes.clear()
        assert not recover(self.world.tools).devices
        assert self.world.kernel.writes == []
        self.before, self.asked, self.waits, self.crashed = {}, {}, None, False

    @invariant()
    def nothing_strays(self) -> None:
        assert self.world.kernel.strays == []
        assert self.world.history.damaged <= 60  # each crash may cut one line


TestDevices = Devices.TestCase
TestDevices.settings = settings(
    max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
