"""Search of every order, one of each that differ: source sets with sleep sets, after each run where two steps race.

Two steps race if they depend on each other, different actors take them, and nothing orders them but each other. After a
run, each race asks for a run in which the later one comes first; if no order is asked for that has not been seen, every
order was, up to the exchange of independent steps. Runs that end in a cycle of waits go on as far as the other tasks
can, because their races count too.

Source: Abdulla, Aronis, Jonsson, Sagonas, "Optimal dynamic partial order reduction" (POPL 2014), its source-DPOR.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from numaprobe.errors import InternalError
from numaprobe.schedules.conductor import Stopped
from numaprobe.schedules.order import dependent, orders

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numaprobe.schedules.model import ChosenStep


@dataclass(slots=True)
class _ReducedNode:
    """A point of the path.

    Attributes:
        actors: who could go on.
        actor: who does in this path.
        todo: who must, in some path.
        done: who did, and what that step touched.
        sleep: who need not, because all that follows has been seen; what their step would touch.
        what: of a choice that is no order: what it is about; then every one is done.

    """

    actors: tuple[str, ...]
    actor: str
    todo: set[str]
    what: str = ""
    done: dict[str, dict[str, bool]] = field(default_factory=dict)
    sleep: dict[str, dict[str, bool]] = field(default_factory=dict)


class Reduced:
    """The search; a strategy for one run after the other.

    Args:
        path: where to go on, as ``path`` gave it; empty: at the beginning.

    Attributes:
        over: whether all was seen.

    """

    #: a run goes on after a finding
    keeps_going = True

    def __init__(self, path: Sequence[Mapping[str, Any]] = ()) -> None:
        self._path = [
            _ReducedNode(**{**node, "actors": tuple(node["actors"]), "todo": set(node["todo"])}) for node in path
        ]
        self._depth = 0
        self.over = False

    @property
    def path(self) -> list[dict[str, Any]]:
        """Where to go on, in plain data."""
        return [{**asdict(node), "todo": sorted(node.todo)} for node in self._path]

    def begin(self) -> None:
        """Prepare for the next run."""
        self._depth = 0

    def choose(self, steps: Sequence[ChosenStep], actors: Sequence[str], *, goes_on: bool) -> int:  # noqa: ARG002
        """Follow the path; beyond its end, the first who does not sleep goes on."""
        names = tuple(actors)
        if self._depth < len(self._path):
            node = self._path[self._depth]
            if node.actors != names:
                raise InternalError(f"a run is not repeatable: {names} could go on where {node.actors} could")
            self._depth += 1
            return names.index(node.actor)
        sleep = self._asleep(steps)
        awake = [name for name in names if name not in sleep]
        if not awake:
            raise Stopped(None)
        self._path.append(_ReducedNode(names, awake[0], {awake[0]}, sleep=sleep))
        self._depth += 1
        return names.index(awake[0])

    def decide(self, steps: Sequence[ChosenStep], what: str, count: int) -> int:  # noqa: ARG002  as ``choose``
        """Follow the path; beyond its end, what happens in a normal run."""
        if self._depth == len(self._path):
            names = tuple(str(number) for number in range(count))
            self._path.append(_ReducedNode(names, names[0], set(names), what, sleep={}))
        node = self._path[self._depth]
        self._depth += 1
        return node.actors.index(node.actor)

    def _asleep(self, steps: Sequence[ChosenStep]) -> dict[str, dict[str, bool]]:
        """Return who sleeps after the last step of the path."""
        last = next((number for number in range(len(self._path) - 1, -1, -1) if not self._path[number].what), None)
        if last is None:
            return {}
        node, touched = self._path[last], steps[last].touched
        sleepers = {**node.sleep, **node.done}
        return {
            name: things for name, things in sleepers.items() if name != node.actor and not dependent(things, touched)
        }

    # ---- after a run -----------------------------------------------------------------------------------------------
    def end(self, steps: Sequence[ChosenStep]) -> None:
        """Ask for what the run's races want, and go to the next path; ``over`` is set if there is none."""
        del self._path[self._depth :]
        self._ask(steps[: len(self._path)])
        while self._path:
            node = self._path[-1]
            node.done[node.actor] = dict(steps[len(self._path) - 1].touched)
            left = [
                name for name in node.actors if name in node.todo and name not in node.done and name not in node.sleep
            ]
            if left:
                node.actor = left[0]
                return
            self._path.pop()
        self.over = True

    def _ask(self, steps: Sequence[ChosenStep]) -> None:
        order = orders(steps)
        for later, earlier_ones in enumerate(order.direct):
            for earlier in earlier_ones:
                self._reverse(steps, order.before, earlier, later)

    def _reverse(self, steps: Sequence[ChosenStep], before: Sequence[int], earlier: int, later: int) -> None:
        """See that some path has what leads to ``later`` at the place of ``earlier``."""
        node = self._path[earlier]
        # what comes in between and does not need ``earlier``, then the later one itself
        between = [n for n in range(earlier + 1, later) if not before[n] >> earlier & 1 and not steps[n].what]
        between.append(later)
        mask = sum(1 << number for number in between)
        firsts = {steps[number].actor for number in between if not before[number] & mask}
        able = [name for name in node.actors if name in firsts]
        if able and not node.todo.intersection(able):
            node.todo.add(able[0])
