"""Random machines for the property tests of every format."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from numaprobe.cpuset import CpuSet
from numaprobe.topology import DeviceInfo, Housekeeping, Topology, symmetric

if TYPE_CHECKING:
    from collections.abc import Sequence

SMALL = st.integers(1, 3)
WORD = st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789-_:.", min_size=1, max_size=8).filter(
    lambda word: word not in (".", "..")
)


@st.composite
def shapes(draw: st.DrawFn) -> Topology:
    """A machine whose parts are all alike, with any distances."""
    packages, nodes = draw(SMALL), draw(SMALL)
    base = symmetric(
        "random",
        nodes=nodes * packages,
        packages=packages,
        llcs=draw(SMALL),
        cores=draw(SMALL),
        smt=draw(st.integers(1, 2)),
        memory=draw(st.integers(0, 2**22)) * 1024,
        interleaved=draw(st.booleans()),
    )
    total = nodes * packages
    row = st.lists(st.integers(11, 254), min_size=total, max_size=total)
    rows = [draw(row) for _ in range(total)]
    table = tuple(tuple(10 if i == j else rows[i][j] for j in range(total)) for i in range(total))
    return replace(base, distances=table)


@st.composite
def machines(draw: st.DrawFn) -> Topology:
    """A machine with CPUs offline, isolation and devices."""
    base = draw(shapes())
    cpus = list(base.possible)
    subset = st.builds(CpuSet.of, st.sets(st.sampled_from(cpus)))
    online = draw(subset) or CpuSet.of(cpus[:1])
    housekeeping = Housekeeping(
        isolated=draw(subset), managed_irq=draw(subset), nohz_full=draw(subset), unbound_cpus=draw(st.none() | subset)
    )
    names = draw(st.lists(WORD, unique=True, max_size=5))
    devices = tuple(_device(draw, name, names[:index], base) for index, name in enumerate(names))
    return replace(base, online=online, housekeeping=housekeeping, devices=devices)


def _device(draw: st.DrawFn, name: str, above: Sequence[str], topology: Topology) -> DeviceInfo:
    return DeviceInfo(
        name=name,
        bus=draw(st.sampled_from(["pci", "virtio", "nd"])),
        node=draw(st.sampled_from([-1, *(node.id for node in topology.nodes)])),
        parent=draw(st.none() | st.sampled_from(above)) if above else None,
        driver=draw(st.none() | WORD),
        modalias=draw(st.none() | WORD),
    )
