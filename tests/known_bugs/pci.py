"""PCI: the rescan lock, hotplug, the bridge's command register, numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from known_bugs.tasks import queue, side_by_side
from numaprobe.schedules import SharedCell

if TYPE_CHECKING:
    from numaprobe.virtual.choosing import ChoosingMachine


async def k21(m: ChoosingMachine, *, fixed: bool) -> None:
    rescan = m.lock("pci_rescan_remove_lock")

    async def sriov_del_vfs() -> None:
        if fixed:
            return
        async with rescan:
            pass

    async def remove_store() -> None:
        async with rescan:
            await sriov_del_vfs()  # the driver's remove disables what its probe enabled

    await side_by_side(m, remove_store)


async def k22(m: ChoosingMachine, *, fixed: bool) -> None:
    rescan, device = m.lock("pci_rescan_remove_lock"), m.lock("device 0000:41:00.0")

    async def sriov_numvfs_store() -> None:
        if fixed:
            async with rescan, device:
                await m.sleep(1)
            return
        async with device, rescan:
            await m.sleep(1)

    async def remove_store() -> None:
        async with rescan, device:
            pass

    await side_by_side(m, sriov_numvfs_store, remove_store)


async def k23(m: ChoosingMachine, *, fixed: bool) -> None:
    reset, device = m.lock("reset_lock"), m.lock("child")

    async def irq_thread() -> None:
        if fixed:
            async with reset:
                pass
            async with device:
                pass
            return
        async with reset, device:
            pass

    async def reset_slot() -> None:
        async with device, reset:
            await m.sleep(1)

    await side_by_side(m, irq_thread, reset_slot)


async def k25(m: ChoosingMachine, *, fixed: bool) -> None:
    shared = m.alloc_workqueue("pciehp", unbound=False, max_active=1)
    works = []

    async def child_event() -> None:
        await m.sleep(1)

    async def power_off() -> None:
        for work in works if not fixed else works[1:]:  # the child's remove flushes the queue: its own, if fixed
            await m.flush_work(work)

    works.append(queue(m, power_off, shared))
    works.append(queue(m, child_event, m.alloc_workqueue("pciehp-child", unbound=False) if fixed else shared))


async def k26(m: ChoosingMachine, *, fixed: bool) -> str:
    command, lock = SharedCell(m, "PCI_COMMAND", frozenset[str]()), m.lock("pci_bridge_mutex")

    async def enable(bit: str) -> None:
        if fixed:
            async with lock:
                await command.write(await command.read() | {bit})
        else:
            await command.write(await command.read() | {bit})

    async def child0() -> None:
        await enable("MASTER")

    async def child1() -> None:
        await enable("MEMORY")

    await side_by_side(m, child0, child1)
    return " ".join(sorted(await command.read()))


async def k27(m: ChoosingMachine, *, fixed: bool) -> list[int]:
    count, lock = SharedCell(m, "_ndevices", 0), m.lock("driver's own")

    async def probe() -> int:
        if fixed:
            await lock.acquire()
        number = await count.read()
        await count.write(number + 1)
        if fixed:
            lock.release()
        return number

    return sorted(await side_by_side(m, probe, probe))


async def k29(m: ChoosingMachine, *, fixed: bool) -> str:
    bars, saved, allowed = SharedCell(m, "BARs", "none"), SharedCell(m, "saved BARs", ""), m.event("runtime PM allowed")

    async def add() -> None:
        if not fixed:
            allowed.set()
        await bars.write("assigned")
        if fixed:
            allowed.set()

    async def udev() -> None:
        await allowed.wait()
        await saved.write(await bars.read())

    await side_by_side(m, add, udev)
    return f"resumes with BARs {await saved.read()}"


# ---- controls ------------------------------------------------------------------------------------------------------
async def f2(m: ChoosingMachine) -> None:
    pf, vfs = m.lock("dev_lock"), [m.lock("dev_lock"), m.lock("dev_lock")]

    async def enable() -> None:
        async with pf:
            for vf in vfs:
                async with vf:
                    pass

    async def ioctl() -> None:
        async with vfs[0]:
            await m.sleep(1)

    await side_by_side(m, enable, ioctl)
