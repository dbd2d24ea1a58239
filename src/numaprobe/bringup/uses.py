"""How one device is in use, by itself: each use is a code of ``reasons.CODES`` and a sentence that names the user.

Blocks are looked at disk by disk: what is mounted, swapped to, open or part of something larger is in use by that; a
disk of which nobody knows a use may still be claimed by the kernel, and if not, hold data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.bringup.moment import is_needed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.bringup.contents import Contents
    from numaprobe.bringup.moment import Moment
    from numaprobe.bringup.nodes import DeviceNode
    from numaprobe.bringup.sysfs import SysfsDevice
    from numaprobe.bringup.things import Things

    Use = tuple[str, str]

_ZFS: Final = "zfs_member"
#: Drivers that make memory of the system out of a device.
_MEMORY_DRIVERS: Final = ("kmem", "virtio_mem")
#: Parts of the names of drivers that carry sockets between a guest and its host.
_TO_THE_HOST: Final = ("vsock", "hv_sock")
#: driver of virtio -> kind of file system
_SHARED_FOLDERS: Final = {"9pnet_virtio": "9p", "virtiofs": "virtiofs"}


def uses_of(device: SysfsDevice, things: Things, moment: Moment, contents: Contents) -> Iterator[Use]:
    """Yield how a device is in use, without what hangs on it."""
    yield from _memory(device, moment)
    yield from _folders(device, moment)
    for disk, parts in _disks(things, moment).items():
        yield from _disk(disk, parts, moment, contents)
    if any(mark in (device.driver or "") for mark in _TO_THE_HOST):
        yield from _sockets(device, moment)
    for node, name in things.chars:
        yield from _char(node, name, moment)
    if things.blocks or things.chars:
        yield from _unseen(moment)
    for link in things.links:
        yield from _link(link, moment)
    if things.hidden_link:
        yield "namespace", f"its link is in another network namespace ({device.path}/net is empty)"
    for channel in things.channels:
        if moment.root.attribute(f"sys/{channel}/in_use") == "1":
            yield "dma", f"{channel.rpartition('/')[2]} has a client in the kernel"


def _memory(device: SysfsDevice, moment: Moment) -> Iterator[Use]:
    if device.driver in _MEMORY_DRIVERS:
        yield "memory", f"{device.name} is memory of the system's ({device.driver})"
    elif device.bus == "cxl" or (device.driver or "").startswith("cxl_"):
        for name in moment.cxl_memory:
            yield "memory", f"{name} is memory of the system's over CXL, and may lie on {device.name}"


def _unseen(moment: Moment) -> Iterator[Use]:
    if moment.denied:
        first = moment.denied[0]
        more = f" and {len(moment.denied) - 1} more" if len(moment.denied) > 1 else ""
        yield "unseen", f"what {first.name} (pid {first.pid}){more} may have open cannot be seen"


def _sockets(device: SysfsDevice, moment: Moment) -> Iterator[Use]:
    for process, is_login in moment.vsock_users:
        code = "login" if is_login else "open"
        yield code, f"a socket of {process.name} (pid {process.pid}) goes to the host through {device.name}"


def _folders(device: SysfsDevice, moment: Moment) -> Iterator[Use]:
    kind = _SHARED_FOLDERS.get(device.driver or "")
    mounted = moment.tags[kind] if kind else {}
    tag = moment.root.attribute(f"sys/{device.path}/mount_tag")
    # virtiofs tells its tag nowhere before 6.9: then every such device may be the one that is mounted.
    for name, why in mounted.items():
        if tag in (None, name):
            yield ("system" if is_needed(why) else "mounted"), f"the shared folder '{name}' {why}"


def _disks(things: Things, moment: Moment) -> dict[tuple[DeviceNode, str], list[tuple[DeviceNode, str]]]:
    """Return the disks among the block devices, and what each consists of: itself and its partitions."""
    found: dict[tuple[DeviceNode, str], list[tuple[DeviceNode, str]]] = {}
    by_name = {name: (node, name) for node, name in things.blocks}
    for node, name in things.blocks:
        is_part = moment.root.exists(f"sys/dev/block/{node.number}/partition")
        above = (moment.nodes.path_of(node) or "").split("/")[-2:-1] if is_part else [name]
        whole = by_name.get(above[0] if above else name, (node, name))
        found.setdefault(whole, []).append((node, name))
    return found


def _disk(
    disk: tuple[DeviceNode, str], parts: list[tuple[DeviceNode, str]], moment: Moment, contents: Contents
) -> Iterator[Use]:
    found = [use for node, _ in parts for use in _block(node, moment)]
    found += _pool(parts, moment, contents) if moment.pools else ()
    yield from found
    if found or moment.root.attribute(f"sys/dev/block/{disk[0].number}/size") == "0":
        return
    if contents.is_claimed(disk[1]):
        yield "claimed", f"the kernel holds {disk[1]} exclusively, for somebody that no table names"
    else:
        yield from _data(disk, contents)


def _block(node: DeviceNode, moment: Moment) -> Iterator[Use]:
    for upper, way in moment.blocks.chains(node):
        if upper != node:
            yield "holder", way
        if upper in moment.essential:
            yield "system", f"{way} {moment.essential[upper]}"
        for mount in moment.mounts.at.get(upper, ()):
            where = f" in another mount namespace ({mount.space})" if mount.space else ""
            yield "mounted", f"{way} is mounted on {mount.point} ({mount.kind}){where}"
        for swap in moment.mounts.swaps:
            if swap.node == upper:
                yield "swap", f"{way} holds the swap {swap.file}"
        for name in moment.blocks.exports(upper):
            yield "holder", f"{way} is exported over NVMe-oF as {name}"
        yield from _opened(upper, way, moment)


def _opened(node: DeviceNode, way: str, moment: Moment) -> Iterator[Use]:
    seen = set()
    for process, file in moment.opened.get(node, ()):
        if process.pid not in seen:
            seen.add(process.pid)
            how = "mapped" if file.mapped else "open"
            yield "open", f"{way} is {how} in {process.name} (pid {process.pid})"


def _char(node: DeviceNode, name: str, moment: Moment) -> Iterator[Use]:
    if node.number in moment.logins.terminals:
        yield "login", f"somebody is logged in on {name}"
    if name in moment.consoles or (name.startswith("fb") and "fb" in moment.consoles):
        yield "console", f"the kernel's console is on {name}"
    yield from _opened(node, name, moment)


def _link(link: str, moment: Moment) -> Iterator[Use]:
    chain = set(moment.network.chain(link))
    for name in sorted(chain & moment.login_links):
        yield "login", f"a login comes over {name if name == link else f'{name}, which is on {link}'}"
    for name in sorted(chain & moment.system_links):
        yield "system", f"the running system reaches its files over {name}"
    yield from moment.network.uses(link)


def _pool(parts: list[tuple[DeviceNode, str]], moment: Moment, contents: Contents) -> Iterator[Use]:
    """Yield the use of a disk while a ZFS pool is mounted: its members say the pool's name, and nothing else does."""
    for part in parts:
        said = contents.of(part) or ""
        pool = said.removeprefix(_ZFS).strip(" '") if said.startswith(_ZFS) else ""
        if pool in moment.pools:
            point, is_system = moment.pools[pool]
            use = f"{part[1]} is a part of the ZFS pool '{pool}', mounted on {point}"
            yield ("system", f"{use} (the running system)") if is_system else ("mounted", use)
    unread = any(contents.of(part) is None for part in parts)
    if unread and any(is_system for _, is_system in moment.pools.values()) and contents.is_claimed(parts[0][1]):
        yield "system", f"the kernel holds {parts[0][1]} exclusively, as it does the disks of the ZFS pool of /"


def _data(disk: tuple[DeviceNode, str], contents: Contents) -> Iterator[Use]:
    said = contents.of(disk)
    if said is None:
        yield "unknown-data", f"nobody could say what {disk[1]} holds: no blkid here, or it cannot be read"
    elif said:
        yield "data", f"{disk[1]} holds {said}"
