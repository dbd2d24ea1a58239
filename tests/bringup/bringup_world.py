"""A machine in a folder with a journal beside it, and what a run works with there; not a test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fake_kernel import FakeKernel

from numaprobe.bringup.history import read_history
from numaprobe.bringup.perform import Performance
from numaprobe.bringup.plan import Change, Plan
from numaprobe.bringup.reasons import make_reason
from numaprobe.bringup.tools import BringupTools
from numaprobe.bringup.write import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numaprobe.bringup.history import History
    from numaprobe.bringup.outcome import Report
    from numaprobe.bringup.reasons import Reason

NVME = (0x144D, 0xA808)


@dataclass
class FakeClock:
    """A clock that a test sets; each look takes a microsecond."""

    boot: str = "boot-1"
    wall: int = 1_795_000_000 * 10**9
    since: int = 5 * 10**9

    def wall_ns(self) -> int:
        return self.wall

    def boottime_ns(self) -> int:
        self.since += 1000
        return self.since


@dataclass
class BringupWorld:
    """PCI devices ``0000:81:00.N`` for the drivers nvme, other and vfio-pci, and virtio devices."""

    folder: Path
    clock: FakeClock = field(default_factory=FakeClock)
    #: names of devices that are in use
    in_use: set[str] = field(default_factory=set)
    #: called before each write
    before_store: Callable[[str, str], object] = lambda _path, _text: None

    def __post_init__(self) -> None:
        self.kernel = FakeKernel(self.folder / "root")
        self.kernel.driver("pci", "nvme", ids=[NVME])
        self.kernel.driver("pci", "other", ids=[NVME])
        self.kernel.driver("pci", "vfio-pci", only_override=True)
        self.writer = Writer(self.kernel.sysfs, self.store)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def store(self, path: str, data: bytes) -> None:
        self.before_store(path, data.decode())
        self.kernel.write(path, data.decode())

    def recheck(self, change: Change) -> Sequence[Reason]:
        if change.name not in self.in_use:
            return ()
        return (make_reason("mounted", "a file system on it is mounted", change.bus, change.name),)

    @property
    def tools(self) -> BringupTools:
        return BringupTools(
            state=self.state,
            clock=self.clock,
            sysfs=self.kernel.sysfs,
            writer=self.writer,
            recheck=self.recheck,
        )

    def pci(self, count: int, driver: str | None = None) -> list[str]:
        """Add so many PCI devices on nodes 0 and 1 in turn; return their names."""
        first = sum(bus == "pci" for bus, _ in self.kernel.devices)
        names = [f"0000:81:{number // 8:02x}.{number % 8}" for number in range(first, first + count)]
        for number, name in enumerate(names):
            self.kernel.device("pci", name, driver=driver, node=number % 2)
        return names

    def change(self, name: str, action: str = "bind", after: str | None = "nvme", **more: object) -> Change:
        """Return a change of a device from how it stands now."""
        device = self.kernel.find(name)
        found = self.kernel.sysfs.at(device.path)
        assert found is not None
        values: dict[str, object] = {
            "driver_before": None if action == "bind" else found.driver,
            "driver_after": None if action == "unbind" else after,
            "override_before": found.override,
            "override_after": found.override,
            "node": found.node,
        }
        return Change(device=device.path, bus=device.bus, name=device.name, action=action, **{**values, **more})  # type: ignore[arg-type]

    def perform(
        self, changes: Iterable[Change], *, jobs: int = 1, deadline_ns: int | None = None, try_ns: int | None = None
    ) -> Report:
        plan = Plan(changes=tuple(changes), jobs=jobs, deadline_ns=deadline_ns)
        plan.validate()
        with Performance(plan, self.tools, command="bind", try_ns=try_ns) as performance:
            return performance.run()

    @property
    def history(self) -> History:
        return read_history(self.state)

    def drivers(self) -> dict[str, str | None]:
        """Return the driver of every device, as the tree says."""
        return {name: self.kernel.driver_of(name) for _bus, name in self.kernel.devices}

    def reload(self) -> None:
        """Have the kernel believe the tree: another process has moved its links."""
        for device in self.kernel.devices.values():
            device.driver = self.kernel.sysfs.driver_of(device.path)
            text = self.kernel.root.text(f"sys/{device.path}/driver_override")
            device.override = None if text in (None, "", "(null)") else text

    def written(self) -> list[tuple[str, str]]:
        """Return what was written, and the file's last two names."""
        return [("/".join(path.split("/")[-2:]), text.strip()) for path, text in self.kernel.writes]
