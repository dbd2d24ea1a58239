"""Lives and memory: what is used after its end, what is overwritten, what comes out differently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from known_bugs.tasks import queue, side_by_side
from numaprobe.schedules import Drain, Lifetime, SharedCell

if TYPE_CHECKING:
    from numaprobe.virtual.choosing import ChoosingMachine


async def k04(m: ChoosingMachine, *, fixed: bool) -> None:
    lock, device, dead = m.lock("dev"), Lifetime(m, "device"), SharedCell(m, "dead", value=False)

    async def attach_helper() -> None:
        async with lock:
            if await dead.read():
                return
            await device.use("binds to")

    async def device_del() -> None:
        async with lock:
            if fixed:
                await dead.write(value=True)
        async with lock:  # detach: nothing is bound yet
            pass
        await device.end()

    queue(m, attach_helper)
    await side_by_side(m, device_del)


async def k08(m: ChoosingMachine, *, fixed: bool) -> str:
    supplier, pending = SharedCell(m, "supplier bound", value=False), SharedCell(m, "C is pending", value=False)
    triggers, consumer = SharedCell(m, "trigger count", 0), SharedCell(m, "C", "unbound")

    async def try_again() -> None:
        if await supplier.read():
            await consumer.write("bound")

    async def probe_consumer() -> None:
        before = await triggers.read()
        if await supplier.read():
            await consumer.write("bound")
            return
        await pending.write(value=True)
        if fixed and await triggers.read() != before:
            await try_again()

    async def probe_supplier() -> None:
        await supplier.write(value=True)
        await triggers.write(await triggers.read() + 1)
        if await pending.read():
            await try_again()

    await side_by_side(m, probe_consumer, probe_supplier)
    return f"C is {await consumer.read()}"


async def k11(m: ChoosingMachine, *, fixed: bool) -> None:
    device, lock, registered = Lifetime(m, "device"), m.lock("dev"), SharedCell(m, "registered", value=True)

    async def unregister() -> None:
        if fixed:
            async with lock:
                mine = await registered.read()
                await registered.write(value=False)
        else:
            mine = await registered.read()
            await registered.write(value=False)
        if mine:
            await device.end()

    await side_by_side(m, unregister, unregister)


async def k12(m: ChoosingMachine, *, fixed: bool) -> None:
    old, lock = Lifetime(m, "driver_override"), m.lock("driver_override lock")
    pointer: SharedCell[Lifetime | None] = SharedCell(m, "pointer", old)

    async def match() -> None:
        if fixed:
            async with lock:
                text = await pointer.read()
                if text is not None:
                    await text.use("compares")
            return
        text = await pointer.read()
        if text is not None:
            await text.use("compares")

    async def store() -> None:
        if fixed:
            async with lock:
                await pointer.write(None)
        else:
            await pointer.write(None)
        await old.end()

    await side_by_side(m, match, store)


async def k15(m: ChoosingMachine, *, fixed: bool) -> str:
    linked, links, lock = SharedCell(m, "on the bus", value=False), SharedCell(m, "links", "none"), m.lock("dev")
    ready, consumers = SharedCell(m, "READY", value=False), SharedCell(m, "consumers", "wait for ever")

    async def bind() -> None:
        async with lock:
            if fixed and not await ready.read():
                return
            if await links.read() == "set up":
                await consumers.write("are probed")

    async def device_add() -> None:
        await linked.write(value=True)
        await links.write("set up")
        async with lock:
            await ready.write(value=True)
        await bind()

    async def load_driver() -> None:
        if await linked.read():
            async with lock:
                whole = await links.read()
                if fixed and not await ready.read():
                    return
            await consumers.write("are probed" if whole == "set up" else "wait for ever")

    await side_by_side(m, device_add, load_driver)
    return f"consumers {await consumers.read()}"


async def k17(m: ChoosingMachine, *, fixed: bool) -> str:
    running, nic, timeout = (
        Drain(m, "probes under way"),
        SharedCell(m, "NIC", "unbound"),
        m.event("deferred probe timeout"),
    )

    async def deferred_probe() -> None:
        await m.sleep(1)  # the timeout of deferred probes
        async with running:
            await nic.write("bound")
        timeout.set()

    async def mount_root() -> str:
        if fixed:
            await timeout.wait()
        await running.wait()
        return f"root: NIC {await nic.read()}"

    return str((await side_by_side(m, mount_root, deferred_probe))[0])


async def k33(m: ChoosingMachine, *, fixed: bool) -> None:
    state, resumed, lock = (
        SharedCell(m, "child's state", "new"),
        Lifetime(m, "child's first resume"),
        m.lock("dpm_list_mtx"),
    )

    async def resume_child() -> None:
        await lock.acquire()
        fresh = await state.read() == "new"
        await state.write("resumed")
        lock.release()
        if fresh:
            await resumed.end()

    async def parent() -> None:
        await resume_child()

    async def walk() -> None:
        if not fixed:
            await state.write("new")
        await resume_child()

    await side_by_side(m, walk, parent)
