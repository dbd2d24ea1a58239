"""Run a case under a policy and judge it: nothing lost, nothing broken, and what came of it.

What must hold for every run, whatever its sort:

* it ends, with an outcome or with one line (never a traceback, never our own bug);
* the core's and the machine's cross-promises hold (``validate``);
* every device is bound or not when nothing is under way, and every call of a probe body is a record: the devices'
  stories are counted against the records, the two being written in different places;
* the pieces of a probe's time are its whole.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any
from unittest import mock

from bench.random_scenarios.grammar import make_case
from numaprobe.drivercore import DriverCore
from numaprobe.drivercore.states import DeviceState
from numaprobe.errors import InternalError, NumaprobeError
from numaprobe.policies import POLICIES
from numaprobe.records import trace_to_json
from numaprobe.scenario import parse_scenario, prepare, run_setting

if TYPE_CHECKING:
    from bench.random_scenarios.grammar import Case
    from numaprobe.drivercore import Device
    from numaprobe.records import ProbeRecord
    from numaprobe.scenario import Outcome, Setting

#: every policy, and one with an option that changes who runs nested probes
RUN_UNDER = (*POLICIES, "probe-on-node+nested-inline")

run_module = import_module("numaprobe.scenario.run")


class WatchedCore(DriverCore):
    """A core that remembers every device that was ever added to it."""

    def __init__(self, *args: Any) -> None:  # noqa: ANN401  as it is called
        super().__init__(*args)
        self.ever: list[Device] = []

    async def device_add(self, dev: Device) -> None:
        self.ever.append(dev)
        await super().device_add(dev)


@dataclass(slots=True)
class Judged:
    """What came of one run."""

    #: what must be the same under every policy, where the sort promises it
    outcome: Any = None
    #: SHA-256 of the trace's JSON
    digest: str = ""
    probes: int = 0
    devices: int = 0
    #: the run hung, and said who waits for whom
    hung: bool = False
    #: it was refused with one line
    refused: str = ""
    #: kinds of its warnings
    warnings: list[str] = field(default_factory=list)
    #: what is wrong with it
    problems: list[str] = field(default_factory=list)


def prepared(case: Case) -> Setting:
    """Return the case's scenario on its machine."""
    return prepare(parse_scenario(case.data), kernel=case.kernel, machine=case.topology)


def judge(setting: Setting, policy: str) -> Judged:
    """Run a case under a policy."""
    cores: list[WatchedCore] = []

    def make(*args: Any) -> WatchedCore:  # noqa: ANN401  as it is called
        cores.append(WatchedCore(*args))
        return cores[-1]  # the first is the run itself, others read what is in doubt otherwise

    judged = Judged()
    try:
        with mock.patch.object(run_module, "DriverCore", make):
            outcome = run_setting(setting, policy, timeline=True)
        _judge(judged, outcome, cores[0])
    except InternalError as error:
        judged.problems.append(f"our bug: {error}")
    except NumaprobeError as error:
        judged.refused = str(error)
        if "\n" in judged.refused:
            judged.problems.append(f"an error of several lines: {judged.refused!r}")
    except Exception as error:  # noqa: BLE001  this is what is looked for
        judged.problems.append(f"crash: {type(error).__name__}: {error}")
    return judged


def _judge(judged: Judged, outcome: Outcome, core: WatchedCore) -> None:
    text = json.dumps(trace_to_json(outcome.trace), sort_keys=False)
    judged.digest = hashlib.sha256(text.encode()).hexdigest()
    judged.probes, judged.devices = len(outcome.trace.probes), len(core.ever)
    judged.hung = outcome.deadlock is not None
    judged.warnings = sorted({one.kind for one in outcome.trace.warnings})
    judged.problems += _lost(core, hung=judged.hung)
    judged.problems += [problem for record in outcome.trace.probes for problem in _torn(record)]
    judged.outcome = [_bound(core), _last_results(core), [(check.check, check.passed) for check in outcome.checks]]
    if not judged.hung:
        core.validate()
        core.machine.validate()  # type: ignore[attr-defined]  the virtual machine's


def _lost(core: WatchedCore, *, hung: bool) -> list[str]:
    """Return a line for each device in a state of passage, and for each device with a probe that is no record."""
    passing = [dev for dev in core.ever if dev.state in (DeviceState.PROBING, DeviceState.RELEASING)]
    problems = [] if hung else [f"{dev.name} is left {dev.state}" for dev in passing]
    tried: Counter[str] = Counter()
    for dev in core.ever:
        tried["/".join(dev.key)] += sum("ns  probe: " in line for line in dev.story())
        tried["/".join(dev.key)] -= sum("not authorized" in line for line in dev.story())  # the bus's answer, no body's
    recorded = Counter(f"{record.bus}/{record.device}" for record in core.records)
    for key in sorted(tried.keys() | recorded.keys()):
        under_way = tried[key] - recorded[key]  # what hung has no record: at most one probe of a device
        if under_way not in ((0, 1) if hung else (0,)):
            problems.append(f"{key}: {tried[key]} probes, {recorded[key]} records")
    return problems


def _torn(record: ProbeRecord) -> list[str]:
    parts = (record.running_ns or 0) + (record.runnable_ns or 0) + (record.sleeping_ns or 0)
    pieces = sum(segment.end_ns - segment.start_ns for segment in record.segments or ())
    if parts == pieces == record.cost_ns:
        return []
    return [f"{record.device}: cost {record.cost_ns} ns, parts {parts} ns, pieces {pieces} ns"]


def _bound(core: DriverCore) -> list[tuple[str, str, str | None]]:
    """Return who is bound to what: bus, device, driver."""
    devices = [dev for bus in core.buses.values() for dev in bus.devices.values()]
    return sorted((dev.bus.name, dev.name, dev.driver.name if dev.is_bound and dev.driver else None) for dev in devices)


def _last_results(core: DriverCore) -> list[tuple[str, str, str, str]]:
    """Return how the last probe of each device ended: bus, device, driver, result."""
    last = {(record.bus or "", record.device): (record.driver or "", record.result) for record in core.records}
    return sorted((*key, *value) for key, value in last.items())


def judged_case(seed: int) -> dict[str, Any]:
    """Run a case under every policy: figures, what did not hold, whether outcomes differ, and a digest of all bytes."""
    case = make_case(seed)
    figures: Counter[str] = Counter()
    wrong: list[str] = []
    outcomes: dict[str, Any] = {}
    digest = hashlib.sha256()
    setting = prepared(case)
    for policy in RUN_UNDER:
        one = judge(setting, policy)
        figures.update(runs=1, devices=one.devices, probes=one.probes, refused=bool(one.refused), hung=one.hung)
        figures["loops"] += "deferral-loop" in one.warnings
        outcomes[policy] = one.refused or ("hung" if one.hung else one.outcome)
        digest.update(f"{one.digest} {one.refused}\n".encode())
        wrong += [f"{seed} {policy}: {problem}" for problem in one.problems]
        if case.sort == "quiet" and (one.hung or one.refused):
            wrong.append(f"{seed} {policy}: {one.refused or 'hung'}")
    differing = [policy for policy in RUN_UNDER if outcomes[policy] != outcomes[RUN_UNDER[0]]]
    if case.sort == "quiet" and differing:
        wrong.append(f"{seed} {differing[0]}: another outcome than under {RUN_UNDER[0]}")
    return {
        "seed": seed,
        "sort": case.sort,
        "figures": dict(figures),
        "wrong": wrong,
        "differs": bool(differing),
        "digest": digest.hexdigest(),
    }
