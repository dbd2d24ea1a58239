"""Sweep lines over intervals ``[start, end)``: how many are open at once, and which belong together.

All of it is one sort and one pass. An interval that ends where another starts does not overlap it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a set of intervals covers."""

    #: ns during which at least one is open
    union_ns: int
    #: ns during which at least two are open
    overlap_ns: int
    #: the most that are open at once
    peak: int


def coverage(spans: Iterable[tuple[int, int]]) -> Coverage:
    """Return what these ``(start, end)`` spans cover."""
    edges = sorted(edge for start, end in spans for edge in ((start, 1), (end, -1)))
    union = overlap = peak = depth = last = 0
    for time, step in edges:
        if depth >= 1:
            union += time - last
        if depth >= 2:  # noqa: PLR2004  two are an overlap
            overlap += time - last
        depth += step
        peak = max(peak, depth)
        last = time
    return Coverage(union, overlap, peak)


def clusters(items: Iterable[Item], span: Callable[[Item], tuple[int, int]], gap_ns: int = 0) -> Iterator[list[Item]]:
    """Yield the items, cut where more than ``gap_ns`` passes between the end of all so far and the next start.

    Args:
        items: in any order.
        span: start and end of an item.
        gap_ns: 0 keeps together what touches; more, what follows closely.

    """
    cluster: list[Item] = []
    reach = 0
    for item in sorted(items, key=lambda one: span(one)[0]):
        start, end = span(item)
        if cluster and start > reach + gap_ns:
            yield cluster
            cluster = []
        reach = max(reach, end) if cluster else end
        cluster.append(item)
    if cluster:
        yield cluster
