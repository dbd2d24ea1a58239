"""A machine from a sysfs tree: the live one at ``/sys``, a recorded one, or one that tests made.

Files are looked for by presence, the newer name first (``core_cpus_list``, before that ``thread_siblings_list``). What
the kernel does not show is filled in as the kernel itself does without it: no ``node`` directory is one node, no cache
directory is an LLC as large as the package. A CPU that is offline has no ``topology`` directory and is in no node's
``cpulist``: it is a core, LLC and package of its own here, on no node. LLCs end at the border of a node (see
``model.partition``).

A set of CPUs is read from its list, else from its mask (kernels before 2.6.28 have masks alone); see ``sysfsfiles``.
What nodes and firmware get wrong is in ``sysfsnodes``: it becomes an assumption of the machine, in words.

A file that is there and cannot be read or understood is an ``InputError`` with its path.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError
from numaprobe.reading.budget import BUDGETS
from numaprobe.reading.files import MAX_ATTRIBUTE, list_directory, read_text
from numaprobe.topology.cmdline import MAX_CMDLINE, CommandLine
from numaprobe.topology.isolation import housekeeping_from_cmdline
from numaprobe.topology.model import MADE_BY, SETTINGS, Housekeeping, Topology, partition, symmetric
from numaprobe.topology.sysfsdevices import read_devices
from numaprobe.topology.sysfsfiles import SetFiles, read_cpus, read_first, read_number
from numaprobe.topology.sysfsnodes import read_nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Which CPUs share a core and a package: the newer name first (5.2 renamed both).
_CORE: Final = (SetFiles("core_cpus_list", "core_cpus"), SetFiles("thread_siblings_list", "thread_siblings"))
_PACKAGE: Final = (SetFiles("package_cpus_list", "package_cpus"), SetFiles("core_siblings_list", "core_siblings"))
_SHARED: Final = SetFiles("shared_cpu_list", "shared_cpu_map")

_CPU_DIRECTORY = re.compile(r"cpu(\d{1,5})", re.ASCII)
_CACHE_DIRECTORY = re.compile(r"index\d{1,3}", re.ASCII)


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
    cmdline = read_cmdline(proc_root)
    numa = read_nodes(top / "devices/system/node", bare.possible, proc_root / "meminfo")
    topology = replace(
        bare,
        nodes=numa.nodes,
        llcs=partition(cpus.caches(bare.online), bare.possible, [node.cpus for node in numa.nodes]),
        distances=numa.distances,
        info=_info(proc_root, top, cmdline),
        assumptions=tuple(numa.assumptions),
    )
    topology = replace(topology, housekeeping=_housekeeping(cpus, topology, cmdline, warn))
    if devices:
        topology = replace(topology, devices=read_devices(top, {node.id for node in numa.nodes}))
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


class _CpuReader:
    """Reads ``devices/system/cpu``."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def cpu_set(self, name: str) -> CpuSet | None:
        return read_cpus(self._root, SetFiles(name))

    def machine(self, name: str) -> Topology:
        """Return the machine without nodes, caches and devices."""
        directories = self._directories()
        possible = self.cpu_set("possible") or self.cpu_set("present") or self.cpu_set("online") or directories
        if not possible:
            raise InputError("names no CPU: a machine needs one", str(self._root))
        present = self._among("present", possible, possible)
        online = self._among("online", present - self._switched_off(directories), present)
        base = symmetric(name)
        return replace(
            base,
            possible=possible,
            present=present,
            online=online,
            cores=partition(self._groups(online, _CORE), possible),
            packages=partition(self._packages(online), possible),
        )

    def _directories(self) -> CpuSet:
        return CpuSet.of(
            int(found[1]) for name in list_directory(self._root) if (found := _CPU_DIRECTORY.fullmatch(name))
        )

    def _switched_off(self, directories: CpuSet) -> CpuSet:
        """Return the CPUs whose own file says that they are offline: kernels before 2.6.26 have no list of it."""
        files = ((cpu, self._root / f"cpu{cpu}" / "online") for cpu in directories)
        return CpuSet.of(cpu for cpu, path in files if (read_text(path, MAX_ATTRIBUTE) or "").strip() == "0")

    def _among(self, name: str, default: CpuSet, limit: CpuSet) -> CpuSet:
        found = self.cpu_set(name)
        if found is None:
            return default
        if not found.issubset(limit):
            raise InputError(
                f"CPU {(found - limit).first} is {name} but not possible and present", str(self._root / name)
            )
        return found

    def _groups(self, cpus: CpuSet, files: tuple[SetFiles, ...]) -> Iterable[CpuSet]:
        """Yield the sets that the first CPU of each names: a CPU in a set already seen is not asked again."""
        seen = CpuSet()
        for cpu in cpus:
            if cpu in seen:
                continue
            directory = self._root / f"cpu{cpu}" / "topology"
            group = (read_first(directory, files) or CpuSet()) | CpuSet(1 << cpu)
            seen |= group
            yield group

    def _packages(self, online: CpuSet) -> Iterable[CpuSet]:
        return self._groups(online, _PACKAGE)

    def caches(self, online: CpuSet) -> Iterable[CpuSet]:
        """Yield the sets of CPUs that share a last-level cache; the package's where no cache is shown."""
        package_of = {cpu: package for package in self._packages(online) for cpu in package}
        seen = CpuSet()
        for cpu in online:
            if cpu in seen:
                continue
            group = self._last_level(self._root / f"cpu{cpu}" / "cache")
            if group is None:
                group = package_of[cpu]
            group |= CpuSet(1 << cpu)
            seen |= group
            yield group

    def _last_level(self, directory: Path) -> CpuSet | None:
        best: tuple[int, Path] | None = None
        for name in list_directory(directory):
            if not _CACHE_DIRECTORY.fullmatch(name):
                continue
            level = read_number(directory / name / "level")
            kind = read_text(directory / name / "type", MAX_ATTRIBUTE) or ""
            if level is not None and kind.strip() != "Instruction" and (best is None or level > best[0]):
                best = (level, directory / name)
        return read_cpus(best[1], _SHARED) if best else None


def _housekeeping(
    cpus: _CpuReader, topology: Topology, cmdline: CommandLine, warn: Callable[[str], None] | None
) -> Housekeeping:
    """Return the masks: sysfs is what the kernel did, the command line only tells what sysfs does not show."""
    asked = housekeeping_from_cmdline(cmdline, topology, warn)
    isolated, nohz_full = cpus.cpu_set("isolated"), cpus.cpu_set("nohz_full")
    return replace(
        asked,
        isolated=asked.isolated if isolated is None else isolated,
        nohz_full=asked.nohz_full if nohz_full is None else nohz_full,
    )


def _info(proc: Path, top: Path, cmdline: CommandLine) -> dict[str, str]:
    info = {"source": f"sysfs at {top}"}
    cpuinfo = read_text(proc / "cpuinfo", BUDGETS["machine"].size) or ""
    if match := re.search(r"^model name[ \t]*:[ \t]*(\S.{0,199})$", cpuinfo, re.MULTILINE):
        info["model"] = match[1].strip()
    if release := (read_text(proc / "sys/kernel/osrelease", MAX_ATTRIBUTE) or "").strip():
        info["kernel"] = release[:200]
    if written := str(cmdline):
        info["cmdline"] = written
    for name in SETTINGS:
        module, _, parameter = name.partition(".")
        if value := (read_text(top / "module" / module / "parameters" / parameter, MAX_ATTRIBUTE) or "").strip():
            info[name] = value[:40]
    return info | _made_by(top / "class/dmi/id")


def _made_by(dmi: Path) -> dict[str, str]:
    """Return what computer and what firmware it is; serial numbers stand beside them, and are nobody's business."""
    found = {}
    for key, names in MADE_BY.items():
        texts = ((read_text(dmi / name, MAX_ATTRIBUTE) or "").strip() for name in names)
        if text := " ".join(" ".join(texts).split()):
            found[key] = text[:200]
    return found
