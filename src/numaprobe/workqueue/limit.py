"""How many works of a workqueue may be active at once (``max_active``): in a pool, or, unbound since 6.9, on a node.

Works beyond the limit wait, first in first out. (The kernel lets the pools of one node take turns here.)
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numaprobe.workqueue.item import Item


class ActiveLimit:
    """One limit.

    Args:
        name: the workqueue's.
        maximum: how many; it changes when CPUs come and go.
        held: all works of the machine that a limit holds back, in their order: this one adds its own.

    Attributes:
        active: how many are in a pool, waiting or executed.
        inactive: those held back here.

    """

    __slots__ = ("active", "held", "inactive", "maximum", "name")

    def __init__(self, name: str, maximum: int, held: dict[Item, None]) -> None:
        self.name = name
        self.maximum = maximum
        self.held = held
        self.active = 0
        self.inactive: deque[Item] = deque()

    def admit(self, item: Item) -> None:
        """Let ``item`` in now, or when another is done."""
        if self.inactive or self.active >= self.maximum:
            self.inactive.append(item)
            self.held[item] = None
        else:
            self.active += 1
            item.pool.insert(item)

    def release(self) -> None:
        """One is done: let the next in."""
        self.active -= 1
        if self.inactive:
            self._refill()

    def change(self, maximum: int) -> None:
        """Set another maximum; what may come in now does. What is in stays."""
        self.maximum = maximum
        self._refill()

    def _refill(self) -> None:
        while self.inactive and self.active < self.maximum:
            item = self.inactive.popleft()
            del self.held[item]
            self.active += 1
            item.pool.insert(item)

    def why_not(self, item: Item) -> str:
        """Say why ``item`` has not been let in; empty if it has."""
        if item not in self.held:
            return ""
        return f"not started: {self.maximum} works of {self.name} are active"
