"""A scenario several times over in guests: what varies is a distribution, what is decided must be the same each time.

QEMU's devices take a boot for each round; with the lab's own module the rounds share a boot, as each leaves the guest
as it found it. Each round is held against the prediction by itself, by the rules of ``analysis.agreement``: what was
promised must hold in every one. On which CPU a soft worker ran is a count here and judges nothing, however it falls; so
are costs, with their median and its interval (``analysis.statistics``).

What the kernel *decided* of a probe is its task: the worker of one CPU, a worker of one unbound pool, or the caller.
If that differs between rounds, the kernel's decision depends on something that the scenario does not say.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from numaprobe.analysis.agreement import deciding_task
from numaprobe.analysis.statistics import Sample
from numaprobe.errors import RefusedError
from numaprobe.study.following import Explanation
from numaprobe.study.lab import check_guest, record_in_guest, record_together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numaprobe.analysis.agreement import ProbeAgreement
    from numaprobe.kernel.lab.guest import GuestResult
    from numaprobe.kernel.lab.splats import Splat
    from numaprobe.study.guests import Booting
    from numaprobe.study.lab import GuestCheck, GuestSetting


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestRound:
    """One time that the scenario ran."""

    #: what it brought home; None: nothing, and ``failure`` says why
    result: GuestResult | None = None
    check: GuestCheck | None = None
    failure: str | None = None

    @property
    def troubles(self) -> list[str]:
        """What went wrong: the guest, a step, a complaint of the kernel's."""
        if self.result is None:
            return [self.failure or "nothing came home"]
        said = [failure.message for failure in self.result.failures]
        return said or ([f"the recording ended with {self.result.status}"] if self.result.status else [])

    @property
    def passed(self) -> bool:
        """Whether nothing went wrong and every probe was as predicted."""
        return not self.troubles and self.check is not None and self.check.report.passed

    def labelled(self, label: str | None) -> GuestRound:
        """Return the same with the user's label on the trace."""
        if self.result is None:
            return self
        return replace(self, result=replace(self.result, trace=self.result.trace.labelled(label)))


class RepeatedName(NamedTuple):
    """The same probe in every round."""

    driver: str
    device: str
    #: how many times the driver probed it before, in that round
    earlier: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedProbe:
    """What became of one predicted probe in all rounds; counts of rounds, the most frequent first."""

    name: RepeatedName
    #: rounds that it was predicted in, and those in which it was as predicted
    rounds: int
    as_predicted: int
    #: what differed -> rounds
    wrong: tuple[tuple[str, int], ...]
    #: what ran it, as the kernel decided: ``worker of CPU 2``, ``worker of unbound pool 9``, ``modprobe``
    tasks: tuple[tuple[str, int], ...]
    #: CPU where it began -> rounds
    cpus: tuple[tuple[int, int], ...]
    #: rounds in which it began on its device's node, of those where that is known
    local: tuple[int, int]
    #: what was guaranteed of its place, as predicted
    guaranteed: str | None
    #: ns; None: it was never probed
    cost: Sample | None


@dataclass(frozen=True, kw_only=True)
class GuestRounds:
    """Every round, and what they say together."""

    rounds: Sequence[GuestRound]
    #: guests that were booted
    boots: int

    @cached_property
    def checks(self) -> list[GuestCheck]:
        """Those of the rounds that came home."""
        return [one.check for one in self.rounds if one.check is not None]

    @cached_property
    def probes(self) -> list[RepeatedProbe]:
        """Every predicted probe."""
        rows: dict[RepeatedName, list[ProbeAgreement]] = defaultdict(list)
        for check in self.checks:
            for name, row in _named(check.report.rows):
                rows[name].append(row)
        return [_repeated(name, found) for name, found in rows.items()]

    @cached_property
    def unexpected(self) -> list[tuple[tuple[str, str], int]]:
        """Driver and device of probes that were not predicted, and in how many rounds there was one."""
        found = Counter(
            name
            for check in self.checks
            for name in {(probe.driver, probe.device) for probe in check.report.unexpected}
        )
        return found.most_common()

    @property
    def as_predicted(self) -> tuple[int, int]:
        """Probes as predicted, and all, in all rounds."""
        return sum(one.as_predicted for one in self.probes), sum(one.rounds for one in self.probes)

    @property
    def undecided(self) -> list[RepeatedProbe]:
        """Probes whose task was not decided alike in every round."""
        return [one for one in self.probes if len(one.tasks) > 1]

    @cached_property
    def follows(self) -> tuple[Explanation, ...]:
        """Every policy, held against all rounds; empty if one was chosen."""
        found: dict[str, list[Explanation]] = defaultdict(list)
        for check in self.checks:
            for one in check.follows:
                found[one.policy].append(one)
        return tuple(_together(policy, each) for policy, each in found.items())

    @property
    def troubles(self) -> list[str]:
        """What went wrong, with the number of the round; what is the same in all of them once."""
        said: dict[str, list[int]] = defaultdict(list)
        for number, one in enumerate(self.rounds, 1):
            for trouble in one.troubles:
                said[trouble].append(number)
        return [f"round {', '.join(map(str, numbers))}: {trouble}" for trouble, numbers in said.items()]

    @property
    def splats(self) -> list[Splat]:
        """The kernel's complaints, with their lines; those of a guest that several rounds share once."""
        results = {id(one.result.splats): one.result.splats for one in self.rounds if one.result is not None}
        return [splat for splats in results.values() for splat in splats]

    def labelled(self, label: str | None) -> GuestRounds:
        """Return the same with the user's label on every trace."""
        return replace(self, rounds=[one.labelled(label) for one in self.rounds])

    @property
    def passed(self) -> bool:
        """Whether every round passed."""
        return all(one.passed for one in self.rounds)


def repeat_in_guests(
    setting: GuestSetting,
    count: int,
    record: Sequence[str] = (),
    *,
    policy: str | None = None,
    told: Callable[[Booting], object] | None = None,
) -> GuestRounds:
    """Record a scenario several times: in one guest with the lab's module, else in a guest each.

    What is kept of each round is in a folder of its own, by its number, below that of the options.

    Args:
        setting: see ``guest_setting`` and ``module_setting``.
        count: rounds. A guest that takes several has so many times the time.
        record: further options of ``numaprobe record``.
        policy: see ``check_guest``.
        told: called before each boot.

    Raises:
        RefusedError: no round brought anything home; the text is the first one's.

    """
    if setting.module is not None:
        options = replace(setting.options, timeout=setting.options.timeout * count)
        results = record_together([replace(setting, options=options)] * count, record, told=told)
    else:
        results = [_recorded(_numbered(setting, number), record, told) for number in range(1, count + 1)]
    failed = [one for one in results if isinstance(one, RefusedError)]
    if len(failed) == count:
        raise failed[0]
    rounds = [
        GuestRound(failure=str(one))
        if isinstance(one, RefusedError)
        else GuestRound(result=one, check=check_guest(setting, one.trace, policy))
        for one in results
    ]
    return GuestRounds(rounds=rounds, boots=1 if setting.module is not None else count)


def _numbered(setting: GuestSetting, number: int) -> GuestSetting:
    keep = setting.options.keep
    return setting if keep is None else replace(setting, options=replace(setting.options, keep=keep / str(number)))


def _recorded(
    setting: GuestSetting, record: Sequence[str], told: Callable[[Booting], object] | None
) -> GuestResult | RefusedError:
    try:
        return record_in_guest(setting, record, told=told)
    except RefusedError as error:
        return error


# ---- figures -------------------------------------------------------------------------------------------------------
def _named(rows: Iterable[ProbeAgreement]) -> Iterator[tuple[RepeatedName, ProbeAgreement]]:
    seen: Counter[tuple[str, str]] = Counter()
    for row in rows:
        yield RepeatedName(row.driver, row.device, seen[row.driver, row.device]), row
        seen[row.driver, row.device] += 1


def _repeated(name: RepeatedName, rows: Sequence[ProbeAgreement]) -> RepeatedProbe:
    probes = [row.recorded for row in rows if row.recorded is not None]
    wrong = Counter(word for row in rows for word in _wrong(row))
    told = [probe.local for probe in probes if probe.local is not None]
    holds = Counter(str(row.hold) for row in rows if row.hold is not None)
    costs = tuple(float(probe.cost_ns) for probe in probes)
    return RepeatedProbe(
        name=name,
        rounds=len(rows),
        as_predicted=sum(row.agrees for row in rows),
        wrong=tuple(wrong.most_common()),
        tasks=tuple(Counter(deciding_task(probe) for probe in probes).most_common()),
        cpus=tuple(Counter(probe.cpu for probe in probes if probe.cpu is not None).most_common()),
        local=(sum(told), len(told)),
        guaranteed=next(iter(holds), None),
        cost=Sample(costs) if costs else None,
    )


def _wrong(row: ProbeAgreement) -> list[str]:
    if row.recorded is None:
        return ["not probed"]
    return [verdict for verdict, same in row.verdicts.items() if same is False]


def _together(policy: str, found: Sequence[Explanation]) -> Explanation:
    verdicts = Counter(verdict for one in found for verdict in one.verdicts)
    return Explanation(
        policy=policy,
        wrong=sum(one.wrong for one in found),
        probes=sum(one.probes for one in found),
        verdicts=tuple(verdict for verdict, _ in verdicts.most_common()),
        refused=next((one.refused for one in found if one.refused is not None), None),
    )
