"""A machine from a sysfs tree: the live one at ``/sys``, a recorded one, or one that tests made.

Files are looked for by presence, the newer name first (``core_cpus_list``, before that ``thread_siblings_list``). What
the kernel does not show is filled in as the kernel itself does without it: no ``node`` directory is one node, no cache
directory is an LLC as large as the package. A CPU that is off line has no ``topology`` directory and is in no node's
``cpulist``: it is a core, LLC and package of its own here, on no node. LLCs end at the border of a node (see
``model.partition``).

A file that is there and cannot be read or understood is an ``InputError`` with its path.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError
from numaprobe.topology.cmdline import MAX_CMDLINE, CommandLine
from numaprobe.topology.files import MAX_ATTRIBUTE, list_directory, read_text
from numaprobe.topology.isolation import housekeeping_from_cmdline
from numaprobe.topology.model import REMOTE_DISTANCE, Housekeeping, Node, Topology, partition, symmetric
from numaprobe.topology.sysfsdevices import read_devices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Possible nodes that are off line are kept if there are no more than these (our choice): some firmwares and
#: hypervisors announce hundreds that will never come.
MAX_OFFLINE_NODES: Final = 64

_CPU_DIRECTORY = re.compile(r"cpu(\d{1,5})", re.ASCII)
_NODE_DIRECTORY = re.compile(r"node(\d{1,5})", re.ASCII)
_CACHE_DIRECTORY = re.compile(r"index\d{1,3}", re.ASCII)
_MEMTOTAL = re.compile(r"MemTotal:\s*(\d{1,15}) kB", re.ASCII)


def read_sysfs(
    root: Path | str = "/sys",
    *,
    proc: Path | str | None = None,
    devices: bool = True,
    name: str | None = None,
    warn: Callable[[str], None] | None = None,
) -> Topology:
    """Return the machine that a sysfs tree shows, validated.

    Args:
        root: the tree (``/sys``), or a directory that holds it as ``sys``.
        proc: the matching ``/proc``; by default the directory ``proc`` beside the tree.
        devices: read the devices on the buses, too.
        name: for people; by default ``host`` or the directory's name.
        warn: called with a line for each kernel parameter of isolation that the kernel would refuse.

    Raises:
        InputError: there is no such tree, or a file in it cannot be read or understood; ``where`` is its path.

    """
    top = find_sysfs(Path(root))
    proc_root = Path(proc) if proc is not None else top.parent / "proc"
    cpus = _CpuReader(top / "devices/system/cpu")
    bare = cpus.machine(name or ("host" if top == Path("/sys") else top.parent.name or str(top)))
    nodes = _read_nodes(top / "devices/system/node", bare.possible, proc_root)
    node_sets = [node.cpus for node in nodes]
    topology = replace(
        bare,
        nodes=nodes,
        llcs=partition(cpus.caches(bare.online), bare.possible, node_sets),
        distances=_read_distances(top / "devices/system/node", nodes),
        info=_info(proc_root, top),
    )
    topology = replace(topology, housekeeping=_housekeeping(cpus, topology, proc_root, warn))
    if devices:
        topology = replace(topology, devices=read_devices(top, {node.id for node in nodes}))
    topology.validate()
    return topology


def find_sysfs(path: Path) -> Path:
    """Return the sysfs tree at ``path``, or in its directory ``sys``.

    Raises:
        InputError: there is none.

    """
    for candidate in (path, path / "sys"):
        if (candidate / "devices/system/cpu").is_dir():
            return candidate
    raise InputError("is no sysfs tree: it has no devices/system/cpu", str(path))


def read_cmdline(proc: Path | str = "/proc") -> CommandLine:
    """Return the command line of the kernel whose ``/proc`` this is; empty if it does not tell.

    Raises:
        InputError: the file cannot be read.

    """
    return CommandLine.parse((read_text(Path(proc) / "cmdline", MAX_CMDLINE) or "").strip("\0\n"))


def _cpu_list(path: Path) -> CpuSet | None:
    """Return the CPU list in a file; None if it is missing or says ``(null)``, as ``nohz_full`` without a mask does."""
    text = read_text(path, MAX_ATTRIBUTE)
    if text is None or text.strip() == "(null)":
        return None
    try:
        return CpuSet.parse_list(text.strip("\0 \n"))
    except InputError as error:
        raise InputError(error.what, str(path)) from None


def _first_list(paths: Iterable[Path]) -> CpuSet | None:
    return next((found for path in paths if (found := _cpu_list(path)) is not None), None)


def _number(path: Path) -> int | None:
    text = read_text(path, MAX_ATTRIBUTE)
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,9}", text.strip(), re.ASCII):
        raise InputError(f"'{text.strip()[:40]}' is not a number", str(path))
    return int(text.strip())


class _CpuReader:
    """Reads ``devices/system/cpu``."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def cpu_set(self, name: str) -> CpuSet | None:
        return _cpu_list(self._root / name)

    def machine(self, name: str) -> Topology:
        """Return the machine without nodes, caches and devices."""
        possible = self.cpu_set("possible") or self.cpu_set("present") or self.cpu_set("online") or self._directories()
        if not possible:
            raise InputError("names no CPU: a machine needs one", str(self._root))
        present = self._among("present", possible, possible)
        online = self._among("online", present, present)
        base = symmetric(name)
        return replace(
            base,
            possible=possible,
            present=present,
            online=online,
            cores=partition(self._groups(online, ("core_cpus_list", "thread_siblings_list")), possible),
            packages=partition(self._packages(online), possible),
        )

    def _directories(self) -> CpuSet:
        return CpuSet.of(
            int(found[1]) for name in list_directory(self._root) if (found := _CPU_DIRECTORY.fullmatch(name))
        )

    def _among(self, name: str, default: CpuSet, limit: CpuSet) -> CpuSet:
        found = self.cpu_set(name)
        if found is None:
            return default
        if not found.issubset(limit):
            raise InputError(
                f"CPU {(found - limit).first} is {name} but not possible and present", str(self._root / name)
            )
        return found

    def _groups(self, cpus: CpuSet, names: tuple[str, ...]) -> Iterable[CpuSet]:
        """Yield the sets that the first CPU of each names: a CPU in a set already seen is not asked again."""
        seen = CpuSet()
        for cpu in cpus:
            if cpu in seen:
                continue
            directory = self._root / f"cpu{cpu}" / "topology"
            group = (_first_list(directory / name for name in names) or CpuSet()) | CpuSet(1 << cpu)
            seen |= group
            yield group

    def _packages(self, online: CpuSet) -> Iterable[CpuSet]:
        return self._groups(online, ("package_cpus_list", "core_siblings_list"))

    def caches(self, online: CpuSet) -> Iterable[CpuSet]:
        """Yield the sets of CPUs that share a last-level cache; the package's where no cache is shown."""
        packages = list(self._packages(online))
        seen = CpuSet()
        for cpu in online:
            if cpu in seen:
                continue
            group = self._last_level(self._root / f"cpu{cpu}" / "cache")
            if group is None:
                group = next(package for package in packages if cpu in package)
            group |= CpuSet(1 << cpu)
            seen |= group
            yield group

    def _last_level(self, directory: Path) -> CpuSet | None:
        best: tuple[int, Path] | None = None
        for name in list_directory(directory):
            if not _CACHE_DIRECTORY.fullmatch(name):
                continue
            level = _number(directory / name / "level")
            kind = read_text(directory / name / "type", MAX_ATTRIBUTE) or ""
            if level is not None and kind.strip() != "Instruction" and (best is None or level > best[0]):
                best = (level, directory / name / "shared_cpu_list")
        return _cpu_list(best[1]) if best else None


def _read_nodes(root: Path, possible: CpuSet, proc: Path) -> tuple[Node, ...]:
    found = [int(match[1]) for name in list_directory(root) if (match := _NODE_DIRECTORY.fullmatch(name))]
    if not found:
        return (Node(0, possible, _memory(proc / "meminfo")),)
    online = _cpu_list(root / "online")
    ids = CpuSet.of(found)
    offline = (_cpu_list(root / "possible") or CpuSet()) - ids
    kept = offline if len(offline) <= MAX_OFFLINE_NODES else CpuSet()
    return tuple(_read_node(root, node_id, online) for node_id in ids | kept)


def _read_node(root: Path, node_id: int, online: CpuSet | None) -> Node:
    directory = root / f"node{node_id}"
    return Node(
        node_id,
        _cpu_list(directory / "cpulist") or CpuSet(),
        _memory(directory / "meminfo"),
        online=node_id in online if online is not None else directory.is_dir(),
    )


def _memory(path: Path) -> int:
    text = read_text(path, MAX_ATTRIBUTE)
    if text is None:
        return 0
    match = _MEMTOTAL.search(text)
    if match is None:
        raise InputError("has no 'MemTotal: … kB'", str(path))
    return int(match[1]) * 1024


def _read_distances(root: Path, nodes: tuple[Node, ...]) -> tuple[tuple[int, ...], ...]:
    """Return the table. A row of sysfs has a column for each node on line; what it does not show is the default."""
    columns = [node.id for node in nodes if node.online]
    known: dict[tuple[int, int], int] = {}
    for node in nodes:
        path = root / f"node{node.id}" / "distance"
        text = read_text(path, MAX_ATTRIBUTE)
        if text is None:
            continue
        values = text.split()
        if len(values) != len(columns) or not all(re.fullmatch(r"\d{1,3}", value, re.ASCII) for value in values):
            raise InputError(f"must hold {len(columns)} numbers, one for each node on line", str(path))
        known |= {(node.id, column): int(value) for column, value in zip(columns, values, strict=True)}
    return tuple(tuple(known.get((a.id, b.id), 10 if a is b else REMOTE_DISTANCE) for b in nodes) for a in nodes)


def _housekeeping(cpus: _CpuReader, topology: Topology, proc: Path, warn: Callable[[str], None] | None) -> Housekeeping:
    """Return the masks: sysfs is what the kernel did, the command line only tells what sysfs does not show."""
    asked = housekeeping_from_cmdline(read_cmdline(proc), topology, warn)
    isolated, nohz_full = cpus.cpu_set("isolated"), cpus.cpu_set("nohz_full")
    return replace(
        asked,
        isolated=asked.isolated if isolated is None else isolated,
        nohz_full=asked.nohz_full if nohz_full is None else nohz_full,
    )


def _info(proc: Path, top: Path) -> dict[str, str]:
    info = {"source": f"sysfs at {top}"}
    cpuinfo = read_text(proc / "cpuinfo") or ""
    if match := re.search(r"^model name[ \t]*:[ \t]*(\S.{0,199})$", cpuinfo, re.MULTILINE):
        info["model"] = match[1].strip()
    if release := (read_text(proc / "sys/kernel/osrelease", MAX_ATTRIBUTE) or "").strip():
        info["kernel"] = release[:200]
    return info
