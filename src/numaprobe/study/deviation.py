"""Why a kernel did not do what was predicted: what is different of each probe, and the least that explains all of it.

What is different is named by what the kernel decided (``Deviation``): another pool's worker, the caller itself in place
of one, a move to where the task may not be, another place, order or result.

*Explained* is a recording by changes of the setting after which the prediction has every probe as it was recorded. They
are tried one by one, then in pairs: another policy; a fact of another release (``runtime.facts``); a driver that is
probed the other way; a device's node; the caller's CPU, or that nobody holds it there. The fewest changes that explain
everything are the answer, and all answers of that size are told: they predict alike here. It is an explanation of the
recording, no proof of the cause: another scenario may tell them apart. A change of the scenario is written as ``--set``
takes it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from numaprobe.analysis.agreement import deciding_task, worker_kind
from numaprobe.analysis.hold import allowed_cpus
from numaprobe.errors import NumaprobeError
from numaprobe.listing import first_few
from numaprobe.policies import POLICIES
from numaprobe.runtime.facts import FACTS
from numaprobe.scenario import run_scenario
from numaprobe.scenario.change import change_scenario
from numaprobe.scenario.reader import parse_override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numaprobe.analysis.agreement import Agreement, ProbeAgreement
    from numaprobe.records import ProbeRecord, Trace
    from numaprobe.runtime.profile import KernelProfile
    from numaprobe.scenario import Scenario
    from numaprobe.topology import Topology

#: Facts that are a policy's or a driver's own change here, or that say how a recording is read.
_OTHERWISE: Final = frozenset(
    ("pci_policy", "async_drivers", "affinity_scopes", "attach_means_bind", "probe_returns_errno")
)
#: Changes that are tried in pairs: those that leave the fewest probes wrong by themselves.
_PAIRED: Final = 16
#: Devices of one deviation, and answers of one size, that are named.
_NAMED: Final = 4


# ---- what is different ---------------------------------------------------------------------------------------------
class Deviation(NamedTuple):
    """What is different of one probe."""

    driver: str
    device: str
    #: ``wrong pool``, ``inline``, ``in a worker``, ``migrated``, ``elsewhere``, ``result``, ``order``, ``not probed``,
    #: ``not predicted``
    kind: str
    text: str


def deviations(report: Agreement) -> tuple[Deviation, ...]:
    """Return what is different of each probe that is not as predicted."""
    found = [Deviation(row.driver, row.device, *_different(row)) for row in report.rows if not row.agrees]
    more = [
        Deviation(probe.driver, probe.device, "not predicted", f"probed by {deciding_task(probe)}, and not predicted")
        for probe in report.unexpected
    ]
    return (*found, *more)


def _different(row: ProbeAgreement) -> tuple[str, str]:
    here, said = row.recorded, row.predicted
    if here is None:
        return "not probed", "not probed"
    if False in {row.same_kind, row.same_pool}:
        kind = _other_task(row, worker_kind(here.comm), worker_kind(said.comm))
        return kind, f"{kind}: {deciding_task(here)} in place of {deciding_task(said)}"
    if False in {row.stayed, row.same_node, row.same_llc}:
        return _other_place(row, here, said)
    if row.same_result is False:
        return "result", f"result: {here.result} in place of {said.result}"
    return "order", "order: not when predicted"


def _other_task(row: ProbeAgreement, here: str | None, said: str | None) -> str:
    if row.same_kind is False and "caller" in {here, said}:
        return "inline" if here == "caller" else "in a worker"
    return "wrong pool"


def _other_place(row: ProbeAgreement, here: ProbeRecord, said: ProbeRecord) -> tuple[str, str]:
    allowed = allowed_cpus(said)
    if row.stayed is False and (allowed is None or here.cpu in allowed):
        visited = ", ".join(str(cpu) for cpu in here.cpus or () if cpu != here.cpu)
        return "migrated", f"migrated mid-probe: from CPU {here.cpu} to {visited or 'another node'}"
    return "elsewhere", f"elsewhere: CPU {here.cpu} in place of {said.cpu}, by {deciding_task(here)}"


def deviation_lines(found: Sequence[Deviation]) -> list[str]:
    """Return a line for each difference, with the devices that have it."""
    devices: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in found:
        devices[one.driver, one.text].append(one.device)
    return [f"{first_few(names, _NAMED)} ({driver}): {text}" for (driver, text), names in devices.items()]


def difference_to_json(found: SmallestDifference) -> dict[str, Any]:
    """Return the ``explained`` block of ``numaprobe.lab/1``."""
    return {
        "wrong": found.wrong,
        "left": found.left,
        "tried": found.tried,
        "answers": [[change.text for change in answer] for answer in found.answers],
    }


# ---- what explains it ----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedCase:
    """Everything that a prediction is made of."""

    scenario: Scenario
    policy: str
    profile: KernelProfile
    topology: Topology

    def run(self) -> Trace:
        """Return the prediction."""
        return run_scenario(self.scenario, self.policy, kernel=self.profile, machine=self.topology)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseChange:
    """One thing that may be different from what was assumed."""

    #: what it changes: two changes of the same thing exclude each other
    about: str
    text: str
    apply: Callable[[PredictedCase], PredictedCase]


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallestDifference:
    """What the search found."""

    #: probes that differ without any change
    wrong: int
    #: the answers, all of the same size; empty: no one or two changes leave fewer probes wrong
    answers: tuple[tuple[CaseChange, ...], ...]
    #: probes that still differ after any of the answers: 0 = they explain everything
    left: int
    #: predictions that were made
    tried: int

    def line(self) -> str:
        """Say what explains the differences."""
        if not self.answers:
            return f"explained by nothing that was tried ({self.tried} changes, one or two at a time)"
        texts = [" with ".join(change.text for change in answer) for answer in self.answers]
        said = first_few(texts, _NAMED, between="; or ", last="; or one of")
        size = {1: "one change", 2: "two changes"}[len(self.answers[0])]
        if self.left:
            return f"not explained; nearest ({self.wrong - self.left} of {self.wrong} probes, {size}): {said}"
        return f"explained by {size}: {said}"


def smallest_difference(case: PredictedCase, judged: Callable[[Trace], Agreement]) -> SmallestDifference:
    """Search the fewest changes after which a prediction agrees with what was recorded.

    Args:
        case: what was predicted, and differs.
        judged: how a prediction agrees with the recording.

    """
    first = _wrong(case, (), judged).probes
    singles = [((change,), _wrong(case, (change,), judged)) for change in possible_changes(case)]
    least = min((wrong.probes for _, wrong in singles), default=first)
    if least:
        promising = [change for (change,), _ in sorted(singles, key=lambda one: one[1])[:_PAIRED]]
        pairs = [(one, other) for one, other in combinations(promising, 2) if one.about != other.about]
        doubles = [(pair, _wrong(case, pair, judged)) for pair in pairs]
        tried = len(singles) + len(doubles)
        together = min((wrong.probes for _, wrong in doubles), default=least)
        if together < min(least, first):
            return SmallestDifference(wrong=first, answers=_with(doubles, together), left=together, tried=tried)
    else:
        tried = len(singles)
    answers = _with(singles, least) if least < first else ()
    return SmallestDifference(wrong=first, answers=answers, left=least if answers else first, tried=tried)


class _Wrong(NamedTuple):
    """How far a prediction is off: probes, and of what is judged of them how much."""

    probes: int
    verdicts: int


def _with(found: Sequence[tuple[tuple[CaseChange, ...], _Wrong]], probes: int) -> tuple[tuple[CaseChange, ...], ...]:
    return tuple(changes for changes, wrong in found if wrong.probes == probes)


def changed(case: PredictedCase, changes: Sequence[CaseChange]) -> PredictedCase:
    """Return the case after some changes."""
    for change in changes:
        case = change.apply(case)
    return case


def _wrong(case: PredictedCase, changes: Sequence[CaseChange], judged: Callable[[Trace], Agreement]) -> _Wrong:
    """Return how far the prediction of a changed case is off; of one that cannot be, further than any is."""
    try:
        report = judged(changed(case, changes).run())
    except NumaprobeError:
        return _Wrong(1 << 30, 0)
    verdicts = sum(same is False for row in report.rows for same in row.verdicts.values())
    return _Wrong(sum(not row.agrees for row in report.rows) + len(report.unexpected), verdicts)


def possible_changes(case: PredictedCase) -> Iterator[CaseChange]:
    """Yield what may be different: policies first, then facts of the kernel, then the scenario."""
    for policy in POLICIES:
        if policy != case.policy:
            yield CaseChange(about="policy", text=f"policy {policy}", apply=_policy(policy))
    yield from _facts(case.profile)
    for key, values in _settings(case).items():
        for value in values:
            text = f"{key}={value}"
            yield CaseChange(about=key, text=text, apply=_override(text))


def _policy(name: str) -> Callable[[PredictedCase], PredictedCase]:
    return lambda case: replace(case, policy=name)


def _facts(profile: KernelProfile) -> Iterator[CaseChange]:
    """Yield facts of other releases."""
    seen: set[tuple[str, object]] = set()
    for fact in FACTS:
        key = (fact.field, fact.value)
        if fact.field in _OTHERWISE or key in seen or fact.value == getattr(profile, fact.field):
            continue
        seen.add(key)
        yield CaseChange(
            about=f"fact {fact.field}",
            text=f"{fact.field} = {fact.value} (a kernel's from {fact.since} on)",
            apply=_fact(fact.field, fact.value),
        )


def _fact(field: str, value: object) -> Callable[[PredictedCase], PredictedCase]:
    def apply(case: PredictedCase) -> PredictedCase:
        changes: Mapping[str, object] = {field: value}
        return replace(case, profile=replace(case.profile, **changes))  # type: ignore[arg-type]

    return apply


def _settings(case: PredictedCase) -> dict[str, list[str]]:
    """Return keys of the scenario, and the other values that they might have."""
    scenario, nodes = case.scenario, [str(node.id) for node in case.topology.nodes]
    found: dict[str, list[str]] = {}
    for index, driver in enumerate(scenario.drivers):
        types = [kind for kind in ("sync", "async") if kind != driver.probe_type]
        found[f"drivers[{index}].probe_type"] = types
    for index, _ in enumerate(scenario.devices):
        found[f"devices[{index}].node"] = ["none", *nodes]
    if scenario.caller.kind == "user":
        found["caller.pinned"] = ["false" if scenario.caller.pinned else "true"]
        firsts = [next(iter(node.cpus)) for node in case.topology.nodes if node.cpus]
        found["caller.cpu"] = [str(cpu) for cpu in firsts if cpu != scenario.caller.cpu]
    return found


def _override(text: str) -> Callable[[PredictedCase], PredictedCase]:
    def apply(case: PredictedCase) -> PredictedCase:
        return replace(case, scenario=change_scenario(case.scenario, dict([parse_override(text)])))

    return apply
