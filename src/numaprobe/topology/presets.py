"""Machines that have a name: the measured machine, common servers, and shapes that are hard to get by.

A preset is a builder, called when asked for. Each says where its figures are from (``info["source"]``); what is not
published, or differs between firmwares, is said to be *assumed* there. Distances are those that ``numactl --hardware``
prints on such machines: they come from the firmware and may be set otherwise on yours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from numaprobe.cpuset import CpuSet
from numaprobe.errors import UnknownNameError
from numaprobe.topology.model import Node, Topology, symmetric, tiered_distances

if TYPE_CHECKING:
    from collections.abc import Callable

_GIB: Final = 2**30


def _described(topology: Topology, *, model: str, source: str, far: int | None = None) -> Topology:
    distances = topology.distances if far is None else tiered_distances(len(topology.nodes), (), far)
    return replace(topology, distances=distances, info={"model": model, "source": source})


def _epyc_9a64() -> Topology:
    """The machine of the measured tables.

    What fits the pool ids and CPU numbers printed there: 256 possible CPUs, sibling = CPU ± 128, node 0 =
    0-63,128-191, LLCs of 8 cores, LLC 0 = 0-7,128-135.
    """
    return _described(
        symmetric("epyc-9a64", nodes=2, llcs=8, cores=8, smt=2, memory=384 * _GIB),
        model="2 x AMD EPYC 9A64 2.4 GHz",
        source="worked out from the CPU numbers and pool ids of the measured tables; memory and distances assumed",
        far=32,
    )


def _epyc_9654_nps4() -> Topology:
    topology = symmetric("epyc-9654-nps4", nodes=8, llcs=3, cores=8, smt=2, memory=96 * _GIB, packages=2)
    return replace(
        topology,
        distances=tiered_distances(8, [(4, 12)], far=32),
        info={
            "model": "2 x AMD EPYC 9654, 4 nodes per socket",
            "source": "96 cores in 12 CCDs of 8 (AMD data sheet); NPS4: 3 CCDs a node; memory assumed",
        },
    )


def _xeon_2s() -> Topology:
    return _described(
        symmetric("xeon-2s", nodes=2, llcs=1, cores=40, smt=2, memory=256 * _GIB),
        model="2 x Intel Xeon Platinum 8380",
        source="40 cores, one L3 a socket (Intel ARK); memory assumed",
        far=20,
    )


def _sapphire_rapids_snc4() -> Topology:
    """Sub-NUMA clusters: the L3 is one a socket, but the kernel ends an LLC at the border of a node."""
    topology = symmetric("sapphire-rapids-snc4", nodes=8, llcs=1, cores=14, smt=2, memory=64 * _GIB, packages=2)
    return replace(
        topology,
        distances=tiered_distances(8, [(4, 12)], far=21),
        info={
            "model": "2 x Intel Xeon Platinum 8480+, SNC4",
            "source": "56 cores (Intel ARK), 4 clusters of 14 a socket; memory assumed",
        },
    )


def _altra_1s() -> Topology:
    """ARM without a CPU-side L3: what the kernel takes for an LLC is the two-core cluster."""
    return _described(
        symmetric("altra-1s", nodes=1, llcs=40, cores=2, memory=256 * _GIB),
        model="Ampere Altra Q80-30",
        source="80 cores in clusters of 2 that share no L3 (kernel commit db1e59483dfd); memory assumed",
    )


def _grace_2s() -> Topology:
    return _described(
        symmetric("grace-2s", nodes=2, llcs=1, cores=72, memory=240 * _GIB),
        model="NVIDIA Grace CPU Superchip",
        source="2 x 72 cores, one L3 and 240 GB a socket (NVIDIA data sheet); distance as its tuning guide shows it",
        far=40,
    )


def _xeon_max_cxl() -> Topology:
    """Memory-only nodes: HBM beside each socket's DRAM, and a CXL expander behind socket 0."""
    base = symmetric("xeon-max-cxl", nodes=2, llcs=1, cores=56, smt=2, memory=256 * _GIB)
    nothing = CpuSet()
    return replace(
        base,
        nodes=(*base.nodes, Node(2, nothing, 64 * _GIB), Node(3, nothing, 64 * _GIB), Node(4, nothing, 256 * _GIB)),
        distances=(
            (10, 21, 13, 23, 24),
            (21, 10, 23, 13, 34),
            (13, 23, 10, 23, 27),
            (23, 13, 23, 10, 37),
            (24, 34, 27, 37, 10),
        ),
        info={
            "model": "2 x Intel Xeon Max 9480, flat memory mode, with a CXL expander",
            "source": "nodes 0-3 as the Xeon Max tuning guide shows them; node 4 (CXL) and DRAM sizes assumed",
        },
    )


def _threadripper_2990wx() -> Topology:
    """Two of four nodes have CPUs and no memory."""
    base = symmetric("threadripper-2990wx", nodes=4, llcs=2, cores=4, smt=2, memory=32 * _GIB, packages=1)
    nodes = tuple(replace(node, memory=0) if node.id % 2 else node for node in base.nodes)
    return _described(
        replace(base, nodes=nodes),
        model="AMD Ryzen Threadripper 2990WX",
        source="4 dies of 8 cores in CCXs of 4, two dies without memory channels (AMD); node order and memory assumed",
        far=16,
    )


def _grace_hopper() -> Topology:
    """Memory-only GPU nodes, most of them possible but without memory and offline until the GPU is split."""
    base = symmetric("grace-hopper", nodes=1, llcs=1, cores=72, memory=480 * _GIB)
    nothing = CpuSet()
    empty = tuple(Node(n, nothing, 0, online=False) for n in range(2, 9))
    return replace(
        base,
        nodes=(*base.nodes, Node(1, nothing, 96 * _GIB), *empty),
        distances=tiered_distances(9, (), far=80),
        info={
            "model": "NVIDIA GH200",
            "source": "node 1 is the GPU's HBM, nodes 2-8 for its instances (NVIDIA's guide); offline state assumed",
        },
    )


def _qemu_2n8c() -> Topology:
    """The guests whose traces the tests replay."""
    return _described(
        symmetric("qemu-2n8c", nodes=2, llcs=1, cores=4, memory=2 * _GIB),
        model="QEMU TCG guest, 2 nodes x 4 CPUs",
        source="machine.txt of the recorded guests; memory assumed",
        far=20,
    )


def _laptop() -> Topology:
    return _described(
        symmetric("laptop", nodes=1, llcs=1, cores=8, smt=2, memory=32 * _GIB, interleaved=False),
        model="a laptop: 8 cores, 16 CPUs, siblings next to each other",
        source="assumed",
    )


def _large_4096() -> Topology:
    """64 nodes: 16 chassis of 4 sockets."""
    return replace(
        symmetric("large-4096", nodes=64, llcs=4, cores=8, smt=2, memory=512 * _GIB),
        distances=tiered_distances(64, [(4, 16)], far=40),
        info={"model": "64 sockets x 32 cores x 2 threads", "source": "assumed"},
    )


_BUILDERS: Final[dict[str, Callable[[], Topology]]] = {
    "epyc-9a64": _epyc_9a64,
    "epyc-9654-nps4": _epyc_9654_nps4,
    "xeon-2s": _xeon_2s,
    "sapphire-rapids-snc4": _sapphire_rapids_snc4,
    "altra-1s": _altra_1s,
    "grace-2s": _grace_2s,
    "grace-hopper": _grace_hopper,
    "xeon-max-cxl": _xeon_max_cxl,
    "threadripper-2990wx": _threadripper_2990wx,
    "qemu-2n8c": _qemu_2n8c,
    "laptop": _laptop,
    "large-4096": _large_4096,
}

#: Names of all presets, in the order of the catalogue.
PRESETS: Final[tuple[str, ...]] = tuple(_BUILDERS)


def preset(name: str) -> Topology:
    """Return the machine of this name.

    Raises:
        UnknownNameError: there is none; the text offers the nearest.

    """
    if name not in _BUILDERS:
        raise UnknownNameError("machine", name, PRESETS)
    return _BUILDERS[name]()
