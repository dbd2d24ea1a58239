"""Run every case on the host machine of this computer, and keep what was seen.

The machine is what sysfs shows, less the CPUs that this process may not use: for it they are offline.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError
from numaprobe.hostmachine import HostMachine
from numaprobe.placement.case import PlacementCase, make_cases, run_case
from numaprobe.placement.look import look_around
from numaprobe.placement.seen import seen_from_json, seen_to_json
from numaprobe.records.json_codec import warning_from_json, warning_to_json
from numaprobe.runtime import kernel_profile
from numaprobe.topology import from_json, load_topology, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numaprobe.placement.seen import Glimpse, Seen
    from numaprobe.records import RunWarning
    from numaprobe.topology import Topology

#: Version of what the agent in a guest hands back.
OBSERVATION_SCHEMA: Final = "numaprobe.observation/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """All cases, as they went on one computer."""

    #: the machine that was read there
    topology: Topology
    #: ``uname -r``
    kernel: str
    #: name of the kernel profile that the host machine followed
    profile: str
    runs: tuple[tuple[PlacementCase, tuple[Seen, ...]], ...]
    #: warnings of the host machine, each text once
    warnings: tuple[RunWarning, ...] = ()


def this_computer() -> Topology:
    """Return this computer as sysfs shows it, with the CPUs online that this process may use."""
    topology = load_topology("host")
    return replace(topology, online=topology.online & CpuSet.of(os.sched_getaffinity(0)), devices=())


def observe(
    policies: Iterable[str], profile: str, topology: Topology | None = None, step: Callable[[str], None] | None = None
) -> Observation:
    """Run every case here.

    Args:
        policies: which.
        profile: the kernel whose pools and defaults the host machine follows.
        topology: the machine to be, of real CPUs; None = this computer.
        step: told before each case.

    """
    topology = topology or this_computer()
    runs: list[tuple[PlacementCase, tuple[Seen, ...]]] = []
    warnings: dict[tuple[str, str], RunWarning] = {}
    for case in make_cases(topology, policies):
        if step is not None:
            step(str(case))
        with HostMachine(topology, kernel_profile(profile)) as machine:
            runs.append((case, run_case(machine, case, lambda: _look(machine))))
            warnings |= {(warning.kind, warning.message): warning for warning in machine.warnings}
    return Observation(
        topology=topology,
        kernel=os.uname().release,
        profile=profile,
        runs=tuple(runs),
        warnings=tuple(warnings.values()),
    )


async def _look(machine: HostMachine) -> Glimpse:
    return await machine.call(look_around)


def observation_to_json(observation: Observation) -> dict[str, Any]:
    """Return ``numaprobe.observation/1``."""
    return {
        "schema": OBSERVATION_SCHEMA,
        "kernel": observation.kernel,
        "profile": observation.profile,
        "machine": to_json(observation.topology),
        "runs": [
            {"case": case_to_json(case), "probes": [seen_to_json(seen) for seen in probes]}
            for case, probes in observation.runs
        ],
        "warnings": [warning_to_json(warning) for warning in observation.warnings],
    }


def case_to_json(case: PlacementCase) -> dict[str, Any]:
    """Return JSON values."""
    return {"policy": case.policy, "bus": case.bus, "asynchronous": case.asynchronous, "caller": case.caller}


def observation_from_json(value: object) -> Observation:
    """Return what ``observation_to_json`` wrote.

    Raises:
        InputError: it is something else.

    """
    try:
        block: Any = value
        if block["schema"] != OBSERVATION_SCHEMA:
            raise InputError(f"is no {OBSERVATION_SCHEMA}", "schema")
        return Observation(
            topology=from_json(block["machine"]),
            kernel=str(block["kernel"]),
            profile=str(block["profile"]),
            runs=tuple(_run(run, f"runs[{index}]") for index, run in enumerate(block["runs"])),
            warnings=tuple(warning_from_json(warning) for warning in block["warnings"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"is no observation: {error!r:.80}", "observation") from None


def _run(run: Any, path: str) -> tuple[PlacementCase, tuple[Seen, ...]]:  # noqa: ANN401  any JSON value
    case = PlacementCase(**run["case"])
    return case, tuple(seen_from_json(seen, f"{path}.probes[{index}]") for index, seen in enumerate(run["probes"]))
