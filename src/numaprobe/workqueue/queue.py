"""A workqueue, as every machine has it (``struct workqueue_struct``): its attributes, and the pools that serve it.

A workqueue of CPUs hands each work to the pool of a CPU; an unbound one to the pool of the pod that holds the CPU for
which the work was queued.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from numaprobe.workqueue.limit import ActiveLimit
    from numaprobe.workqueue.pool import Pool


class PoolWorkqueue(NamedTuple):
    """The way from a workqueue to a pool (``struct pool_workqueue``)."""

    pool: Pool
    #: what lets its works in
    limit: ActiveLimit


class Pods:
    """The pods of an affinity scope.

    Attributes:
        pods: as bits, by first CPU.
        of_cpu: possible CPU -> index in ``pods``.

    """

    __slots__ = ("of_cpu", "pods")

    def __init__(self, pods: tuple[int, ...]) -> None:
        self.pods = pods
        self.of_cpu = {cpu: index for index, pod in enumerate(pods) for cpu in _bits(pod)}


class WorkqueueStruct:
    """A workqueue.

    Attributes:
        owner: the machine's workqueues.
        name: as given to ``alloc_workqueue``.
        unbound: served by pools of a pod.
        max_active, min_active: see ``ActiveLimit``; of an unbound one each node has its share.
        strict: its workers stay in their pod.
        pods: of its affinity scope; None if it is not unbound.
        pwqs: pod's index (unbound) or CPU -> the way to the pool that serves it now.
        limits: node (unbound, 6.9 and newer) or pool id -> limit.

    """

    __slots__ = ("limits", "max_active", "min_active", "name", "owner", "pods", "pwqs", "strict", "unbound")

    def __init__(
        self, owner: object, name: str, *, max_active: int, min_active: int, pods: Pods | None, strict: bool
    ) -> None:
        self.owner = owner
        self.name = name
        self.unbound = pods is not None
        self.max_active = max_active
        self.min_active = min_active
        self.pods = pods
        self.strict = strict
        self.pwqs: dict[int, PoolWorkqueue] = {}
        self.limits: dict[int, ActiveLimit] = {}

    @property
    def pools(self) -> list[Pool]:
        """The pools that serve it now."""
        return [pwq.pool for pwq in self.pwqs.values()]

    def __repr__(self) -> str:
        return f"<workqueue {self.name}>"


def _bits(bits: int) -> list[int]:
    found = []
    while bits:
        low = bits & -bits
        found.append(low.bit_length() - 1)
        bits ^= low
    return found
