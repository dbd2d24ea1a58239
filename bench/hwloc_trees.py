"""Machines of a peer's test suite, read by us and by ``lstopo``: ``python -m bench.hwloc_trees FOLDER``.

FOLDER is ``tests/hwloc`` of a checkout of hwloc's sources: recorded sysfs trees (``linux/*.tar.bz2``) and XML files
(``linux/*.xml``, ``xml/*.xml``). Each is read by numaprobe and by the installed ``lstopo``, and compared by online
CPUs, nodes, cores and packages; a row names what differs (ours / theirs). Exit status 1 if something differs for no
reason that stands in ``REASONS``. Version 3 of the XML needs hwloc 3.

What must differ: Linux gives memory-only nodes no CPUs, hwloc gives them those that they are near to. So a node is
compared only where we give it CPUs, or hwloc gives its CPUs to no other node.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe.cpuset import CpuSet
from numaprobe.errors import NumaprobeError
from numaprobe.topology import load_topology
from numaprobe.topology.hwloc import parse_bitmap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.topology import Topology

_OBJECT: Final = re.compile(r"P#(\d+)?.*?cpuset=(\S+)")
#: hwloc's word -> ours
_GROUPS: Final = {"core": "cores", "package": "packages"}
#: machine -> why the two differ there
REASONS: Final = {
    "40intel64-4n10c+pci-conflicts": "hwloc drops a package that collides with a PCI group; Linux has four",
    "64amd64-4s2n4ca2co": "hwloc undoes what Linux says of Bulldozer's modules: two threads of a core for Linux",
    "8em64t-2s2ca2c-buggynuma": "hwloc drops nodes 1-7, which name node 0's CPUs; they stay, as memory, with a warning",
    "fakeheterocpunuma": "made for hwloc: nodes inside each other, which no kernel has; first come, with a warning",
    "fakeheterocpunuma.xml": "made for hwloc: nodes inside each other, which no kernel has",
    "nvidiagpunumanodes": "hwloc hides the memory of GPUs; for Linux these are nodes",
}


class PeerError(Exception):
    """``lstopo`` does not read it."""


def peer_objects(path: Path, kind: str) -> list[tuple[int | None, CpuSet]]:
    """Return (number, CPUs) of each object of a kind that ``lstopo`` shows."""
    command = ["lstopo-no-graphics", "--if", "fsroot" if path.is_dir() else "xml", "-i", str(path), "--of", "console"]
    command += ["--disallowed", "--only", kind, "--physical", "--cpuset"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HWLOC_")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    if "is unavailable" in done.stderr:
        return []  # hwloc 3's way to say that there is no such object
    if done.returncode:
        raise PeerError(" ".join(done.stderr.split())[-100:] or f"exit {done.returncode}")
    found = (_OBJECT.search(line) for line in done.stdout.splitlines() if "cpuset=" in line)
    return [(int(m[1]) if m[1] else None, parse_bitmap(m[2], "lstopo")) for m in found if m]


def differences(topology: Topology, path: Path) -> Iterator[str]:
    """Yield what the two readers see differently."""
    cpus = CpuSet.of(number for number, _cpus in peer_objects(path, "pu") if number is not None)
    if cpus != topology.online:
        yield f"CPUs {topology.online} / {cpus}"
    for kind, name in _GROUPS.items():
        ours = {group & cpus for group in getattr(topology, name)} - {CpuSet()}
        theirs = {group & cpus for _number, group in peer_objects(path, kind)} - {CpuSet()}
        if theirs and ours != theirs:
            yield f"{name} {_first(ours - theirs)} / {_first(theirs - ours)}"
    yield from _nodes(topology, dict(peer_objects(path, "numanode")), cpus)


def _nodes(topology: Topology, theirs: dict[int | None, CpuSet], cpus: CpuSet) -> Iterator[str]:
    ours = {node.id: node.cpus & cpus for node in topology.nodes if node.online}
    if set(ours) != set(theirs):
        yield f"nodes {sorted(set(ours) - set(theirs))} / {sorted(str(n) for n in set(theirs) - set(ours))}"
    for number, near in theirs.items():
        own = ours.get(-1 if number is None else number, CpuSet())
        shared = any(near & other for other_id, other in ours.items() if other_id != number)
        if own != near & cpus and not (not own and (shared or near == cpus)):
            yield f"node {number} {own} / {near & cpus}"


def _first(groups: set[CpuSet]) -> str:
    return str(min(groups, key=lambda group: group.first or 0)) if groups else "-"


def machines(folder: Path, scratch: Path) -> Iterator[Path]:
    """Yield the recorded machines below a folder: each tree unpacked, then the XML files."""
    for archive in sorted(folder.glob("linux/*.tar.bz2")):
        target = scratch / archive.name.removesuffix(".tar.bz2")
        with tarfile.open(archive) as tar:
            tar.extractall(target, filter="tar")
        yield from (inside for inside in sorted(target.iterdir()) if inside.is_dir())
    yield from sorted([*folder.glob("linux/*.xml"), *folder.glob("xml/*.xml")])


def main() -> int:
    """Print a row for each machine."""
    counts = {"agree": 0, "differ, known": 0, "differ": 0, "peer cannot": 0, "refused": 0}
    with tempfile.TemporaryDirectory(prefix="numaprobe-hwloc-") as scratch:
        for path in machines(Path(sys.argv[1]), Path(scratch)):
            verdict, words = judge(path)
            counts[verdict] += 1
            print(f"{verdict:15}{path.name:44}{words}")
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return int(bool(counts["differ"] + counts["refused"]))


def judge(path: Path) -> tuple[str, str]:
    """Return the verdict on one machine, and its reason."""
    try:
        topology = load_topology(str(path))
    except NumaprobeError as error:
        return "refused", str(error).replace(str(path), "")
    try:
        found = list(differences(topology, path))
    except PeerError as error:
        return "peer cannot", str(error)
    known = REASONS.get(path.name)
    if found and known:
        return "differ, known", known
    said = f"  ({'; '.join(topology.warnings)})" if topology.warnings else ""
    return ("differ", "; ".join(found) + said) if found else ("agree", said.strip())


if __name__ == "__main__":
    sys.exit(main())
