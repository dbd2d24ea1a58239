"""From what a probe did to the phases that do it again.

A stretch on a CPU becomes ``compute``, one off it ``sleep``. The time it waited for a CPU is dropped: whether a probe
waits is what a policy decides. What a probe of a child took is dropped from its parent, too, where the child stands as
``register``. A wait for a lock or for another probe looks like any other sleep: that part of a record stays as it was
whatever the policy (see ``docs/replay.md``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from numaprobe.errors import InputError
from numaprobe.records import RunState
from numaprobe.records.errnos import errno_value
from numaprobe.scenario.phases import (
    Allocate,
    AllocateMemory,
    Compute,
    Fail,
    RegisterChildren,
    Sleep,
    Span,
    Undivided,
    UndividedCost,
)
from numaprobe.scenario.replay.division import undivided_cost
from numaprobe.scenario.replay.lessons import PLAIN
from numaprobe.units import MAX_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numaprobe.scenario.phases import DeviceGroup, Phase
    from numaprobe.scenario.replay.collected import ReplayWarnings
    from numaprobe.scenario.replay.lessons import Scale
    from numaprobe.scenario.replay.probes import TracedProbe
    from numaprobe.topology import Topology

#: the probes of devices that a body registered, with the device group of each
Children: TypeAlias = "Sequence[tuple[TracedProbe, DeviceGroup]]"
#: kind of a piece, and its ns or its groups of devices
Piece: TypeAlias = "tuple[type[Span | RegisterChildren], Any]"

#: Nodes whose memory is told one by one; a probe allocates on a few.
_MOST_NODES: Final = 16
_KINDS: Final[dict[RunState, type[Span]]] = {RunState.RUNNING: Compute, RunState.SLEEPING: Sleep}


def first_to_differ(probes: Sequence[TracedProbe]) -> tuple[int, TracedProbe]:
    """Return how many probes of a device failed alike before one came out otherwise, and that one.

    Where none did, it is none and the last.
    """
    first = probes[0].record.result
    for index, one in enumerate(probes):
        if one.bound or one.record.result != first:
            return index, one
    return 0, probes[-1]


def device_phases(
    probes: Sequence[TracedProbe],
    groups: Children,
    topology: Topology,
    warnings: ReplayWarnings,
    limit: int,
    scale: Scale = PLAIN,
) -> list[Phase]:
    """Return the phases of a device, whose first probes may have been deferred or failed.

    Args:
        probes: all its probes.
        groups: the children that the one which decided registered, with the device group of each.
        topology: to know nodes.
        warnings: what had to be assumed.
        limit: the most phases to cut its time into.
        scale: how the time of the probe that decided is scaled.

    """
    failed, one = first_to_differ(probes)
    pieces = capped(merged(_pieces(one, groups, warnings, scale)), limit)
    phases = [*_memory(one, topology), *_as_phases(pieces, scale), *_around(scale)]
    if failed:
        first = probes[0].record
        failure = Fail.of(fail=_result(probes[0], warnings), attempts=min(failed, 1000))
        phases = _split_at(phases, max(0, first.cost_ns - (first.runnable_ns or 0)), failure)
    result = _result(one, warnings)
    return phases if result == "0" else [*phases, Fail.of(fail=result)]


def _result(one: TracedProbe, warnings: ReplayWarnings) -> str:
    """Return the name of what the probe returned; a number without a name, or an unknown text, as EIO."""
    result = one.record.result or "0"
    try:
        errno_value(result)
    except InputError:
        warnings.say("assumed-errno", "returned an errno without a known name; replayed as EIO", one.record.device)
        return "EIO"
    return result


def _split_at(phases: list[Phase], ns: int, failure: Phase) -> list[Phase]:
    """Put the failure where the failed attempts ended: after ``ns`` of compute and sleep."""
    for index, phase in enumerate(phases):
        if phase.registers:
            return [*phases[:index], failure, *phases[index:]]
        if not isinstance(phase, Span):
            continue
        if phase.ns > ns:
            before = [phase.lasting(ns)] if ns else []
            return [*phases[:index], *before, failure, phase.lasting(phase.ns - ns), *phases[index + 1 :]]
        ns -= phase.ns
    return [*phases, failure]


# ---- pieces --------------------------------------------------------------------------------------------------------
def _pieces(one: TracedProbe, groups: Children, warnings: ReplayWarnings, scale: Scale) -> Iterator[Piece]:
    if one.record.segments:
        yield from _from_segments(one, groups)
    else:
        yield from _from_totals(one, groups, warnings, scale)


def _from_segments(one: TracedProbe, groups: Children) -> Iterator[Piece]:
    segments = sorted(one.record.segments or ())
    at, position = 0, one.start
    for child, group in [*groups, (None, None)]:
        until = child.start if child else one.end
        while at < len(segments) and segments[at].end_ns <= position:
            at += 1
        index = at
        while index < len(segments) and segments[index].start_ns < until:
            segment = segments[index]
            took = min(segment.end_ns, until) - max(segment.start_ns, position)
            if took > 0 and segment.state in _KINDS:
                yield _KINDS[segment.state], took
            position = max(position, min(segment.end_ns, until))
            index += 1
        if child is not None:
            yield RegisterChildren, [group]
            position = max(position, child.end)


def _from_totals(one: TracedProbe, groups: Children, warnings: ReplayWarnings, scale: Scale) -> Iterator[Piece]:
    """Spread what only sums tell: half of the sleep, the compute, the children, the other half."""
    record, inner = one.record, [child.record for child, _ in groups]
    cost = max(0, record.cost_ns - sum(child.cost_ns for child in inner))
    if record.running_ns is None:
        text = "only the cost is known, not how much of it needed a CPU; figures are ranges"
        if scale.undivided is None:
            text = "only the cost is known; replayed as sleep, as if the probe needed no CPU"
        warnings.say("assumed-cost", text, record.device)
        running, sleeping = 0, cost
    else:
        running = max(0, record.running_ns - sum(child.running_ns or 0 for child in inner))
        known = record.sleeping_ns
        sleeping = cost - running - (record.runnable_ns or 0) if known is None else known
        sleeping -= 0 if known is None else sum(child.sleeping_ns or 0 for child in inner)
        text = "only sums of running and sleeping are known; replayed with the compute in the middle"
        warnings.say("assumed-order", text, record.device)
    sleeping = max(0, sleeping)
    yield Sleep, sleeping // 2
    yield Compute, running
    for _, group in groups:
        yield RegisterChildren, [group]
    yield Sleep, sleeping - sleeping // 2


def merged(pieces: Iterable[Piece]) -> list[Piece]:
    """Join neighbours of one kind, and drop those of no length."""
    joined: list[Piece] = []
    for kind, amount in pieces:
        if amount == 0:
            continue
        if joined and joined[-1][0] == kind:
            joined[-1] = (kind, joined[-1][1] + amount)
        else:
            joined.append((kind, amount))
    return joined


def capped(pieces: list[Piece], limit: int) -> list[Piece]:
    """Return at most ``limit`` pieces of the same sums: neighbours are put together, computing first."""
    if len(pieces) <= limit:
        return pieces
    kinds: tuple[type[Span | RegisterChildren], ...] = (Compute, Sleep, RegisterChildren)
    size = -(-len(pieces) // max(1, limit // len(kinds)))
    short: list[Piece] = []
    for begin in range(0, len(pieces), size):
        sums: dict[type[Span | RegisterChildren], Any] = {}
        for kind, amount in pieces[begin : begin + size]:
            sums[kind] = sums[kind] + amount if kind in sums else amount
        short.extend((kind, sums[kind]) for kind in kinds if kind in sums)
    return short


def _as_phases(pieces: Iterable[Piece], scale: Scale) -> Iterator[Phase]:
    for kind, amount in pieces:
        if kind is Compute:
            yield Compute.of(compute=round(amount * scale.running))
        elif kind is Sleep and scale.undivided is not None:
            yield undivided_cost(amount, *scale.undivided)
        elif kind is Sleep:
            yield _sleep(amount, scale)
        else:
            yield kind.of(**{kind.key: amount})


def _around(scale: Scale) -> Iterator[Phase]:
    """Return the time around the body, where it may count."""
    if scale.around_ns:
        yield UndividedCost(undivided=Undivided(expected=(), most=(Compute.of(compute=scale.around_ns),)))


def _sleep(ns: int, scale: Scale) -> Phase:
    """Return a sleep; one that may be shorter or longer as an undivided cost."""
    expected, least, most = (
        Sleep.of(sleep=round(ns * share)) for share in (scale.sleeping, scale.sleeping_least, scale.sleeping_most)
    )
    if expected == least == most:
        return expected
    return UndividedCost(undivided=Undivided(expected=(expected,), least=(least,), most=(most,)))


# ---- memory --------------------------------------------------------------------------------------------------------
def _memory(one: TracedProbe, topology: Topology) -> Iterator[Phase]:
    """Allocate what the record tells: local where it was local, else on the node that had it."""
    there: dict[int | str, int] = {}
    for node, size in sorted((one.record.memory or {}).items(), key=lambda item: -item[1]):
        local = node == one.record.cpu_node or topology.node(node) is None or len(there) >= _MOST_NODES
        where = "local" if local else node
        there[where] = there.get(where, 0) + size
    for where, size in there.items():
        if size > MAX_SIZE:
            raise InputError(f"the probe of {one.record.device[:60]} allocates more than 1 PiB, which no machine has")
        if size > 0:
            yield AllocateMemory(allocate=Allocate.of(size=size, where=where))
