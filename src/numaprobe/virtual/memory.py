"""Memory: where an allocation comes from.

A task's memory comes from the node it asks for, else from the node that it prefers, else from the node of its CPU.
If that node has none (left), it comes from the nearest one that has: the kernel's zone list order, by distance, then
by number. The cost of remote memory is not modelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.errors import BodyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.topology import Topology


class FreeMemory:
    """Free bytes of each node."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.free = {node.id: node.memory for node in topology.nodes if node.online and node.memory}
        self._order: dict[int, tuple[int, ...]] = {}

    def allocate(self, size: int, node: int) -> Iterator[tuple[int, int]]:
        """Take ``size`` bytes near ``node``; yield (node, bytes) for each node that gives some.

        Raises:
            BodyError: the size is negative, or the machine is out of memory (nothing is taken then).

        """
        if size < 0:
            raise BodyError(f"a body allocates {size} bytes; a size is not negative")
        if size > sum(self.free.values()):
            raise BodyError(f"out of memory: a body allocates {size} bytes, {sum(self.free.values())} are free")
        for giver in self._zone_list(node):
            part = min(size, self.free[giver])
            if part:
                self.free[giver] -= part
                size -= part
                yield giver, part

    def _zone_list(self, node: int) -> tuple[int, ...]:
        order = self._order.get(node)
        if order is None:
            distance = self.topology.distance
            order = tuple(sorted(self.free, key=lambda other: (other != node, distance(node, other), other)))
            self._order[node] = order
        return order
