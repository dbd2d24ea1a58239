"""The virtual machine against real kernels: each recorded scenario again, and where its probes ran.

``tests/data/kernel/placements.csv`` says what Debian's 6.1 and 7.2 did in two-node guests; it was worked out of their
traces by an independent script. What is compared is what those runs determine: the kind and number of the worker's
pool, its CPU where the pool is per-CPU, its node otherwise, the function's caller likewise, and the path that led
there. Worker ids and the CPU of an unbound worker inside its node differ from one repetition to the next in the guests
themselves.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from numaprobe.buses import PciBus, PciDevice, VirtioBus
from numaprobe.cpuset import CpuSet
from numaprobe.drivercore import Device, Driver, DriverCore, ProbeType
from numaprobe.policies import make_policy
from numaprobe.runtime import kernel_profile
from numaprobe.topology import Housekeeping, symmetric
from numaprobe.virtual import VirtualMachine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numaprobe.records import ProbeRecord

PLACEMENTS = Path(__file__).parents[1] / "data" / "kernel" / "placements.csv"
PROFILES = {"debian-6.1": "6.1", "debian-7.2": "7.2"}
MS = 1_000_000
#: the paths' names in placements.csv, in ours
PATHS = {
    "driver_attach_async": "driver_attach_async",
    "driver_attach_sync": "driver_attach_sync",
    "device_driver_attach(sysfs bind)": "device_driver_attach",
    "__device_attach": "device_attach",
    "device_attach_async": "device_attach_async",
}


def _load() -> dict[tuple[str, str, str], list[dict[str, str]]]:
    cases = defaultdict(list)
    with PLACEMENTS.open(newline="") as file:
        for row in csv.DictReader(file):
            cases[row["kernel"], row["machine"], row["scenario"]].append(row)
    return dict(cases)


CASES = _load()


def pool(comm: str) -> str:
    """A worker's pool, or a task's name without its number: the part of COMM that a run determines."""
    return comm.partition(":")[0] if comm.startswith("kworker") else comm.rstrip("0123456789").split("/")[0]


class Guest:
    """A guest of the data folder, once more, on the virtual machine."""

    def __init__(self, kernel: str, machine: str) -> None:
        housekeeping = Housekeeping(isolated=CpuSet.parse_list("4-5")) if "isolated" in machine else None
        self.topology = symmetric(machine, nodes=2, llcs=1, cores=4, housekeeping=housekeeping)
        self.vm = VirtualMachine(self.topology, kernel_profile(PROFILES[kernel]))
        self.core = DriverCore(self.vm, make_policy(self.vm.profile.pci_policy))
        self.pci = self.core.bus_register(PciBus())
        self.virtio = self.core.bus_register(VirtioBus())
        self.nvmes = [f"0000:{bus}:00.0" for bus in ("81", "82", "83")]

    async def nvme_body(self, _dev: Device) -> int:
        for _ in range(5):
            await self.vm.compute(20 * MS)
            await self.vm.sleep(2 * MS)
        return 0

    async def virtblk_body(self, _dev: Device) -> int:
        await self.vm.compute(20 * MS)
        return 0

    async def add_nvmes(self) -> None:
        for name in self.nvmes:
            await self.core.device_add(PciDevice(name=name, bus=self.pci, node=1, compatible="nvme"))

    def nvme_driver(self, probe_type: ProbeType) -> Driver:
        body = self.nvme_body
        return Driver(name="nvme", bus=self.pci, probe=body, compatible=("nvme",), probe_type=probe_type)

    def virtio_blk_driver(self, probe_type: ProbeType) -> Driver:
        return Driver(
            name="virtio_blk",
            bus=self.virtio,
            probe=self.virtblk_body,
            compatible=("blk",),
            probe_type=probe_type,
            function="virtblk_probe",
        )

    async def add_virtio_parents(self) -> list[PciDevice]:
        parents = [PciDevice(name=f"0000:{bus}:00.0", bus=self.pci, node=1, compatible="virtio") for bus in (84, 85)]
        for parent in parents:
            await self.core.device_add(parent)
        return parents

    def run(self, *steps: Callable[[], Awaitable[object]], comm: str = "insmod", cpu: int | None = 0) -> None:
        async def main() -> None:
            for step in steps:
                await step()
            await self.core.wait_for_device_probe()

        self.vm.run(main, comm=comm, cpu=cpu)


def load_nvme(guest: Guest, probe_type: ProbeType, cpu: int | None = 0) -> None:
    guest.run(guest.add_nvmes)
    guest.run(lambda: guest.core.load_module(guest.nvme_driver(probe_type)), comm="insmod", cpu=cpu)


def bind_nvmes(guest: Guest, *, parallel: bool) -> None:
    guest.pci.drivers_autoprobe = False
    guest.run(guest.add_nvmes, lambda: guest.core.load_module(guest.nvme_driver(ProbeType.FORCE_SYNCHRONOUS)))
    if guest.core.records:  # before 6.17 a PCI device is attached whatever drivers_autoprobe says
        pytest.fail("nothing may be bound yet")

    async def one(name: str) -> None:
        assert await guest.core.bind("pci", "nvme", name) == 0

    async def all_at_once() -> None:
        tasks = [
            guest.vm.spawn(lambda name=name: one(name), comm="sh", cpus=CpuSet.of([cpu]), cpu=cpu)
            for cpu, name in enumerate(guest.nvmes)
        ]
        for task in tasks:
            await guest.vm.join(task)

    async def in_turn() -> None:
        for name in guest.nvmes:
            await one(name)

    guest.run(all_at_once if parallel else in_turn, comm="sh", cpu=0)


def rescan(guest: Guest) -> None:
    default = ProbeType.PREFER_ASYNCHRONOUS if guest.vm.profile.name == "7.2" else ProbeType.DEFAULT
    guest.run(lambda: guest.core.load_module(guest.nvme_driver(default)))
    guest.run(guest.add_nvmes, comm="sh")


def hotadd(guest: Guest) -> None:
    default = ProbeType.PREFER_ASYNCHRONOUS if guest.vm.profile.name == "7.2" else ProbeType.DEFAULT
    guest.nvmes = ["0000:86:00.0"]
    guest.run(lambda: guest.core.load_module(guest.nvme_driver(default)))
    guest.run(guest.add_nvmes, comm="irq/29-pciehp", cpu=5)


def drivers_probe(guest: Guest) -> None:
    guest.pci.drivers_autoprobe = False
    guest.run(guest.add_nvmes, lambda: guest.core.load_module(guest.nvme_driver(ProbeType.FORCE_SYNCHRONOUS)))

    async def write() -> None:
        for name in guest.nvmes:
            assert await guest.core.drivers_probe("pci", name) == 0

    guest.run(write, comm="sh")


def virtio_blk(guest: Guest, probe_type: ProbeType) -> None:
    async def devices() -> None:
        for index, parent in enumerate(await guest.add_virtio_parents()):
            await guest.core.device_add(
                Device(name=f"virtio{index}", bus=guest.virtio, parent=parent, compatible="blk")
            )

    guest.run(devices)
    guest.run(lambda: guest.core.load_module(guest.virtio_blk_driver(probe_type)))


def virtio_nested(guest: Guest, *, by_bind: bool) -> None:
    names = iter(("virtio0", "virtio1"))

    async def virtio_pci_body(dev: Device) -> int:
        await guest.core.device_add(Device(name=next(names), bus=guest.virtio, parent=dev, compatible="blk"))
        return 0

    driver = Driver(
        name="virtio-pci", bus=guest.pci, probe=virtio_pci_body, compatible=("virtio",), function="local_pci_probe"
    )
    guest.run(lambda: guest.core.load_module(guest.virtio_blk_driver(ProbeType.DEFAULT)))
    if not by_bind:
        guest.run(guest.add_virtio_parents)
        guest.run(lambda: guest.core.load_module(driver))
        return
    guest.pci.drivers_autoprobe = False
    guest.run(guest.add_virtio_parents, lambda: guest.core.load_module(driver))

    async def bind() -> None:
        for name in ("0000:84:00.0", "0000:85:00.0"):
            assert await guest.core.bind("pci", "virtio-pci", name) == 0

    guest.run(bind, comm="sh")


SYNC, ASYNC = ProbeType.FORCE_SYNCHRONOUS, ProbeType.PREFER_ASYNCHRONOUS
SCENARIOS: dict[str, Callable[[Guest], None]] = {
    "sync": lambda guest: load_nvme(guest, SYNC),
    "async": lambda guest: load_nvme(guest, ASYNC),
    "asyncparam": lambda guest: load_nvme(guest, ASYNC),
    "sync3": lambda guest: load_nvme(guest, SYNC, cpu=3),
    "syncf": lambda guest: load_nvme(guest, SYNC, cpu=None),
    "bind": lambda guest: bind_nvmes(guest, parallel=False),
    "pbind": lambda guest: bind_nvmes(guest, parallel=True),
    "rescan": rescan,
    "hotadd": hotadd,
    "dprobe": drivers_probe,
    "vblk": lambda guest: virtio_blk(guest, SYNC),
    "vblkasync": lambda guest: virtio_blk(guest, ASYNC),
    "vnest": lambda guest: virtio_nested(guest, by_bind=False),
    "vnestb": lambda guest: virtio_nested(guest, by_bind=True),
}


def expected_facts(row: dict[str, str]) -> tuple[object, ...]:
    return _facts(row["driver"], PATHS[row["path"]], int(row["cpu"]), row["comm"], int(row["result"]))


def observed_facts(record: ProbeRecord) -> tuple[object, ...]:
    assert record.cpu is not None
    assert record.comm is not None
    return _facts(record.driver, record.path, record.cpu, record.comm, int(record.result or -1))


def _facts(driver: str, path: str | None, cpu: int, comm: str, result: int) -> tuple[object, ...]:
    unbound = comm.startswith("kworker/u")
    return driver, path, pool(comm), "any" if unbound else cpu, result


def test_every_recorded_scenario_is_repeated() -> None:
    assert {scenario for _, _, scenario in CASES} == set(SCENARIOS)


@pytest.mark.parametrize(("kernel", "machine", "scenario"), sorted(CASES))
def test_probes_run_where_the_kernel_ran_them(kernel: str, machine: str, scenario: str) -> None:
    rows = CASES[kernel, machine, scenario]
    guest = Guest(kernel, machine)
    SCENARIOS[scenario](guest)
    guest.core.validate()

    assert {expected_facts(row) for row in rows} == {observed_facts(record) for record in guest.core.records}
    check_callers(rows, guest.core.records)
    check_nodes(rows, guest.core.records)


def check_callers(rows: list[dict[str, str]], records: list[ProbeRecord]) -> None:
    assert {pool(row["caller_comm"]) for row in rows} == {pool(record.caller_comm or "") for record in records}
    scenario = rows[0]["scenario"]
    if scenario in ("sync", "sync3", "bind", "pbind", "vblk", "dprobe", "vnestb"):  # the caller was pinned
        assert {int(row["caller_cpu"]) for row in rows} == {record.caller_cpu for record in records}


def check_nodes(rows: list[dict[str, str]], records: list[ProbeRecord]) -> None:
    """A body whose pool never left the device's node, in all runs of that guest, does not leave it here."""
    guest = rows[0]["kernel"], rows[0]["machine"]
    stays = {pool(row["comm"]) for row in rows} - {
        pool(comm)
        for case, others in CASES.items()
        if case[:2] == guest
        for row in others
        for comm, cpu in ((row["comm"], row["cpu"]), (row["caller_comm"], row["caller_cpu"]))
        if int(cpu) // 4 != int(row["device_node"])
    }
    for record in records:
        assert record.local or pool(record.comm or "") not in stays
