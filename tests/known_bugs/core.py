"""Waits that close a cycle: driver core, async calls, workqueues, attributes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from known_bugs.tasks import Asyncs, queue, side_by_side
from numaprobe.runtime import Work
from numaprobe.schedules import Drain
from numaprobe.workqueue import work_on_cpu

if TYPE_CHECKING:
    from numaprobe.virtual.choosing import ChoosingMachine


async def k01(m: ChoosingMachine, *, fixed: bool) -> None:
    asyncs, device = Asyncs(m, may_fail=True), m.lock("dev")

    async def attach_helper() -> None:
        async with device:
            await m.sleep(1)

    async with device:
        if not fixed:
            await asyncs.schedule(attach_helper)
    if fixed:
        await asyncs.schedule(attach_helper)


async def k02(m: ChoosingMachine, *, fixed: bool) -> None:
    asyncs, devices = Asyncs(m, may_fail=True), [m.lock("dev0"), m.lock("dev1")]
    for device in devices:

        async def attach_helper(device: object = device) -> None:
            async with device:  # type: ignore[attr-defined]
                await m.sleep(1)

        async with device:
            if not fixed:
                await asyncs.schedule(attach_helper)
        if fixed:
            await asyncs.schedule(attach_helper)


async def k03(m: ChoosingMachine, *, fixed: bool) -> None:
    asyncs, dpm_list = Asyncs(m, may_fail=not fixed), m.lock("dpm_list_mtx")

    async def async_resume() -> None:
        await m.sleep(1)
        async with dpm_list:
            pass

    for _ in range(2):
        async with dpm_list:
            await asyncs.schedule(async_resume)


async def k06(m: ChoosingMachine, *, fixed: bool) -> None:
    asyncs = Asyncs(m)

    async def modprobe() -> None:
        await m.sleep(1)  # its init, which uses no async call
        if not fixed:
            await asyncs.synchronize_full()

    async def probe() -> None:
        await m.join(m.spawn(modprobe, comm="modprobe"))

    await asyncs.schedule(probe)


async def k07(m: ChoosingMachine, *, fixed: bool) -> None:
    limit = 4 if fixed else 2
    wq = m.alloc_workqueue("async", unbound=True, max_active=limit, min_active=limit)

    async def supplier() -> None:
        await m.sleep(1)

    work = Work(supplier, "supplier")

    async def consumer() -> None:
        await m.flush_work(work)

    async def resume_suppliers() -> None:
        await m.point()
        m.queue_work(wq, work)

    async def resume_consumers() -> None:
        for _ in range(2):
            await m.point()
            queue(m, consumer, wq)

    await side_by_side(m, resume_suppliers, resume_consumers)


async def k10(m: ChoosingMachine, *, fixed: bool) -> None:
    bus, probes = m.lock("nvdimm bus"), Drain(m, "probes under way")

    async def store() -> None:
        if fixed:
            async with bus:
                pass
            await probes.wait()
            return
        async with bus:
            await probes.wait()

    async def probe() -> None:
        async with probes, bus:
            await m.sleep(1)

    await side_by_side(m, store, probe)


async def k13(m: ChoosingMachine, *, fixed: bool) -> None:
    devices = [m.lock("dev smmu"), m.lock("dev other")]

    async def register_driver() -> None:
        for device in devices:
            if not fixed:
                async with device:
                    pass

    async def probe() -> None:
        async with devices[0]:
            await register_driver()

    await side_by_side(m, probe)


async def k14(m: ChoosingMachine, *, fixed: bool) -> None:
    device, uevent = m.lock("dev"), Drain(m, "kn->active uevent")

    async def cat() -> None:
        async with uevent as active:
            if active and not fixed:
                async with device:
                    pass

    async def unbind() -> None:
        async with device:
            await uevent.wait(close=True)

    await side_by_side(m, cat, unbind)


async def k18(m: ChoosingMachine, *, fixed: bool) -> None:
    asyncs, scans = Asyncs(m), Drain(m, "scans")

    async def scan() -> None:
        async with scans:
            await m.sleep(1)

    async def scsi_wait_scan() -> None:
        await (scans if fixed else asyncs.pending).wait()

    await asyncs.schedule(scan)
    await asyncs.schedule(scsi_wait_scan)


async def k19(m: ChoosingMachine, *, fixed: bool) -> None:
    domain, lock = Drain(m, "scsi_sd_probe_domain"), m.lock("scan mutex")

    async def sd_probe_async() -> None:
        async with domain, lock:
            await m.sleep(1)

    async def sd_remove() -> None:
        if fixed:
            await domain.wait()
        async with lock:
            if not fixed:
                await domain.wait()

    queue(m, sd_probe_async)
    await side_by_side(m, sd_remove)


async def k20(m: ChoosingMachine, *, fixed: bool) -> None:
    probes, frozen = Drain(m, "probes under way"), Drain(m, "frozen queue")

    async def hub_work() -> None:
        if not fixed:
            await frozen.wait()  # on a freezable queue a work waits until it is thawed

    async def probe() -> None:
        async with probes:
            await m.flush_work(queue(m, hub_work))

    async def suspend() -> None:
        async with frozen:
            await probes.wait()

    await side_by_side(m, probe, suspend)


async def k31(m: ChoosingMachine, *, fixed: bool) -> None:
    rtnl = m.lock("rtnl_mutex")

    async def linkwatch() -> None:
        async with rtnl:
            pass

    async def own_work() -> None:
        await m.sleep(1)

    unrelated = queue(m, linkwatch)

    async def close() -> None:
        own = queue(m, own_work)
        async with rtnl:
            await m.flush_work(own)
            if not fixed:
                await m.flush_work(unrelated)

    await side_by_side(m, close)


async def k32(m: ChoosingMachine, *, fixed: bool) -> None:
    parent, interface = m.lock("usb device"), m.lock("interface")
    authorized = Drain(m, "kn->active authorized")

    async def store() -> None:
        async with authorized as active:
            if active:
                async with interface if fixed else parent:
                    pass

    async def set_configuration() -> None:
        async with parent:
            await authorized.wait(close=True)

    await side_by_side(m, store, set_configuration)


# ---- controls ------------------------------------------------------------------------------------------------------
async def f1(m: ChoosingMachine) -> None:
    """What launchA runs takes a lock that launchB holds while it waits: but for another work than launchA's."""
    lock = m.lock("L")

    async def a() -> None:
        async with lock:
            pass

    async def b() -> None:
        await m.sleep(1)

    async def launch_a() -> None:
        await work_on_cpu(m, 0, a)

    async def launch_b() -> None:
        async with lock:
            await work_on_cpu(m, 1, b)

    await side_by_side(m, launch_a, launch_b)


async def f5(m: ChoosingMachine) -> None:
    parent = m.lock("parent")

    async def probe(device: object) -> None:
        async with parent, device:  # type: ignore[attr-defined]
            await m.sleep(1)

    locks = [m.lock("child0"), m.lock("child1")]
    works = [queue(m, partial(probe, lock)) for lock in locks]
    for work in works:
        await m.flush_work(work)
