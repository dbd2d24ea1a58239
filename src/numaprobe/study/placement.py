"""Every policy on real CPUs, here or in guests of several nodes, held against the prediction for the same machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from numaprobe.placement.case import make_cases
from numaprobe.placement.observe import observe, this_computer
from numaprobe.placement.report import make_report
from numaprobe.policies import POLICIES, make_policy
from numaprobe.runtime import DEFAULT_PROFILE, kernel_profile
from numaprobe.topology import load_topology

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numaprobe.placement.check import PlacementReport
    from numaprobe.policies import Policy
    from numaprobe.study.guests import Booting, GuestOptions
    from numaprobe.topology import Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of each machine: which policies, following which kernel."""

    #: policies as ``make_policy`` takes them, also in a guest
    policies: tuple[str, ...]
    #: name of a kernel profile
    profile: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestPlacement:
    """What a guest says, and how long it took."""

    report: PlacementReport
    #: from the first process to the last, and of these the program in the guest
    seconds: float
    seconds_inside: float


def question(policies: Iterable[Policy | str] | None = None, kernel: str | None = None) -> Question:
    """Return what to ask; None: numaprobe's own policies, the default kernel.

    Raises:
        UsageError: no such policy or release.

    """
    chosen = tuple((make_policy(one) if isinstance(one, str) else one).spec for one in policies or POLICIES)
    return Question(policies=chosen, profile=kernel_profile(kernel or DEFAULT_PROFILE).name)


def placement_here(asked: Question, *, progress: Callable[[int, int, str], object] | None = None) -> PlacementReport:
    """Ask this computer. Nothing on it is changed.

    Args:
        asked: see ``question``.
        progress: called before each case, with its number from 1, how many there are, and what it is.

    """
    topology = this_computer()
    total = len(make_cases(topology, asked.policies))
    done = 0

    def step(what: str) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total, what)

    return make_report(observe(asked.policies, asked.profile, topology, step))


def placement_in_guests(
    asked: Question,
    machines: Iterable[Topology | str],
    options: GuestOptions,
    *,
    told: Callable[[Booting], object] | None = None,
) -> Iterator[GuestPlacement]:
    """Ask guests of these machines, one after the other.

    Args:
        asked: see ``question``.
        machines: topologies, or texts that name them; all are read before the first guest.
        options: see ``guest_options``; of several machines each keeps its files in a folder of its number.
        told: called before each boot.

    Raises:
        InputError: a machine cannot be emulated.
        RefusedError: a guest panicked, hung, or could not be started.

    """
    from numaprobe.placement.guest import observe_in_guest

    topologies = [load_topology(one) if isinstance(one, str) else one for one in machines]
    for index, topology in enumerate(topologies):
        keep = options.keep / str(index) if options.keep is not None and len(topologies) > 1 else options.keep
        with replace(options, keep=keep).guest(told) as shared:
            seen = observe_in_guest(topology, asked.policies, asked.profile, **shared)
        yield GuestPlacement(
            report=make_report(seen.observation), seconds=seen.seconds, seconds_inside=seen.seconds_inside
        )
