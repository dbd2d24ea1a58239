"""What a table says, in one sentence: which rows lose, how much, why, and which avoid it.

The sentence is about the figure that differs: the makespan; else the slowest probe; else how many probes are on their
node; else how many are held there. Rows that are within 1 % of each other are alike. Of the fast ones those come first
that keep the probes on their node; a gain by leaving it is told as that. Why the slow ones are slow is the weightiest
finding that they have and the fast ones do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from numaprobe.analysis.headlines import fault_of, headline
from numaprobe.analysis.machine import topology_of
from numaprobe.analysis.words import listed, number, plural, rest
from numaprobe.records import Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numaprobe.analysis.compare import ComparedTrace, Comparison
    from numaprobe.records import Finding, Trace

#: Figures within this share of each other are alike.
ALIKE: Final = 0.01
#: What rows of a comparison are called: of policies, of settings, of traces.
_POLICY, _VARIATION, _TRACE = "policy", "variation", "trace"


class _Group(NamedTuple):
    """Rows whose figure is alike."""

    value: float
    entries: list[ComparedTrace]


def verdict(comparison: Comparison) -> str:
    """Return what a comparison says, in one sentence."""
    rows = _rows(comparison)
    if len(rows) == 1:
        return verdict_of_trace(rows[0].trace)
    noun = _noun(comparison, rows)
    if noun == _TRACE:
        return _traces(comparison, rows)
    doubted = [entry for entry in rows if _is_doubted(entry)]
    if doubted:
        return _in_doubt(comparison, doubted)
    for name, figure in (("", _makespan), (" for the slowest probe", _worst)):
        groups = _groups(rows, figure)
        if len(groups) > 1 and noun == _VARIATION:
            return _shortest(groups[0].entries, comparison.baseline, name)
        if len(groups) > 1:
            # a replay of a recording knows nothing of what its probes share, unless it has readings of it
            return _times(groups, rows, noun, name, "" if len(rows) == len(comparison.entries) else "at most ")
    return _places(rows, noun)


def verdict_of_trace(trace: Trace) -> str:
    """Return what one trace says: its weightiest finding, and what helps."""
    count = len(trace.probes)
    if not count:
        return "nothing was probed"
    weighty = [finding for finding in trace.findings if finding.severity is not Severity.LOW]
    if not trace.findings:
        return f"nothing stands out in {plural(count, 'probe')}"
    if not weighty:
        return f"nothing was lost in {plural(count, 'probe')}; {headline(trace.findings[0])}"
    first = min(weighty, key=lambda finding: finding.severity is not Severity.HIGH)
    more = len(trace.findings) - 1
    return headline(first) + (f"; {plural(more, 'more finding')} below" if more else "")


# ---- rows and their figures -----------------------------------------------------------------------------------------
def _rows(comparison: Comparison) -> list[ComparedTrace]:
    """Return what is compared: the record that is replayed stands beside its replays, and is none of them."""
    replays = [entry for entry in comparison.entries if entry.trace.source == "virtual"]
    return replays if replays and len(replays) == len(comparison.entries) - 1 else list(comparison.entries)


def _noun(comparison: Comparison, rows: Sequence[ComparedTrace]) -> str:
    if comparison.axes:
        return _VARIATION
    return _POLICY if all(entry.trace.source == "virtual" for entry in rows) else _TRACE


def _makespan(entry: ComparedTrace) -> float | None:
    return entry.summary.makespan_ns


def _worst(entry: ComparedTrace) -> float | None:
    return entry.summary.worst_ns


def _groups(entries: Sequence[ComparedTrace], figure: Callable[[ComparedTrace], float | None]) -> list[_Group]:
    """Return the rows by their figure, the least first; one group if a row has none."""
    values = [(value, entry) for entry in entries if (value := figure(entry)) is not None]
    if len(values) < len(entries):
        return []
    groups: list[_Group] = []
    for value, entry in sorted(values, key=lambda pair: pair[0]):
        if groups and value <= groups[-1].value * (1 + ALIKE):
            groups[-1].entries.append(entry)
        else:
            groups.append(_Group(value, [entry]))
    return groups


def _local(entry: ComparedTrace) -> float:
    return 1.0 if entry.summary.local_share is None else entry.summary.local_share


# ---- sentences ------------------------------------------------------------------------------------------------------
def _times(groups: Sequence[_Group], rows: Sequence[ComparedTrace], noun: str, name: str, bound: str) -> str:
    fast, slow = groups[0], groups[-1]
    most = max(_local(entry) for entry in rows)
    home = [entry for entry in fast.entries if _local(entry) >= most]
    away = [entry for entry in fast.entries if _local(entry) < most]
    cause = _cause(slow.entries, fast.entries)
    did = cause or ("takes longer" if len(slow.entries) == 1 else "take longer")
    loss = f"{_labels(slow.entries, len(rows), noun)} {did}: {bound}{100 * (slow.value / fast.value - 1):+.0f} %{name}"
    between = [entry for group in groups[1:-1] for entry in group.entries]
    parts = [loss, *_avoiding(home, away, between, len(rows), noun)]
    return "; ".join(parts)


def _shortest(fast: Sequence[ComparedTrace], baseline: str, name: str) -> str:
    """Say of settings, whose names are long, which does best and what it is beside the base."""
    best = max(fast, key=_local)
    difference = best.difference
    percent = difference.worst_percent if name else difference.makespan_percent
    figure = "cost of the slowest probe" if name else "makespan"
    place = "" if best.summary.local_share is None else f", {100 * best.summary.local_share:.0f} % on node"
    if any(entry.label == baseline for entry in fast):
        return f"no variation has a shorter {figure} than {baseline}"
    return f"the shortest {figure} has {best.label}: {percent:+.1f} % of {baseline}'s{place}"


def _avoiding(
    home: Sequence[ComparedTrace],
    away: Sequence[ComparedTrace],
    between: Sequence[ComparedTrace],
    count: int,
    noun: str,
) -> list[str]:
    parts = []
    if home:
        every = not away and not between
        who = f"every other {noun}" if every and len(home) > 1 else _labels(home, count, noun)
        verb = "avoids it" if every or len(home) == 1 else "avoid it"
        parts.append(f"{who} {verb}" + (" on the node" if away else ""))
    if away:
        verb = "does" if len(away) == 1 else "do"
        only = " so only" if home else " avoid it only"
        verb = f"{verb}{only}" if home else f"{'avoids' if len(away) == 1 else 'avoid'} it only"
        parts.append(f"{_labels(away, count, noun)} {verb} by leaving it ({_down(away, _local)} on node)")
    if between:
        parts.append(f"{_labels(between, count, noun)} {'is' if len(between) == 1 else 'are'} in between")
    return parts


def _places(rows: Sequence[ComparedTrace], noun: str) -> str:
    if len({_local(entry) for entry in rows}) > 1:
        return _shares(rows, noun, _local, "put", "of the probes on their node")
    held = [entry.summary.held_share for entry in rows]
    if len(set(held)) > 1 and None not in held:
        return _shares(rows, noun, lambda entry: entry.summary.held_share or 0.0, "hold", "of the probes on their node")
    return _alike(rows, noun)


def _shares(
    rows: Sequence[ComparedTrace], noun: str, share: Callable[[ComparedTrace], float], verb: str, what: str
) -> str:
    most = max(map(share, rows))
    best = [entry for entry in rows if share(entry) == most]
    others = rest(rows, best)
    if verb == "put" and most == 1 and len(others) <= len(best) // 2:
        does = "leaves the node" if len(others) == 1 else "leave the node"
        who = f"{_labels(others, len(rows), noun)} {does} ({_down(others, share)} on it)"
        return f"every {noun} takes as long; {who}, and no other {noun} does"
    names = _labels(best, len(rows), noun)
    verb = f"{verb}s" if len(best) == 1 else verb
    names_down = "the others" if len(others) > 1 else others[0].label
    told = "all" if most == 1 else f"{100 * most:.0f} %"
    return f"every {noun} takes as long; {names} {verb} {told} {what}, {names_down} {_down(others, share)}"


def _down(entries: Sequence[ComparedTrace], share: Callable[[ComparedTrace], float]) -> str:
    """Return the share of these rows; the least, if they differ."""
    shares = {share(entry) for entry in entries}
    return f"{'' if len(shares) == 1 else 'as few as '}{100 * min(shares):.0f} %"


def _alike(rows: Sequence[ComparedTrace], noun: str) -> str:
    plural_noun = {"policy": "policies"}.get(noun, f"{noun}s")
    topology = topology_of(rows[0].trace)
    if noun == _POLICY and topology is not None and sum(bool(node.cpus) for node in topology.nodes) == 1:
        return "one node: policies cannot differ here"
    if noun == _POLICY and all(entry.summary.local_share is None for entry in rows):
        return "no device has a node: policies cannot differ here"
    return f"all {number(len(rows))} {plural_noun} do the same here"


def _traces(comparison: Comparison, rows: Sequence[ComparedTrace]) -> str:
    """Say of recorded traces what each did beside the base. How sure that is is not a table's to say."""
    parts = []
    for entry in rows:
        percent = entry.difference.makespan_percent
        if entry.label != comparison.baseline and percent is not None:
            same = abs(percent) < 100 * ALIKE
            parts.append(f"{entry.label} takes as long" if same else f"{entry.label}: makespan {percent:+.1f} %")
    if not parts:
        return f"{number(len(rows))} traces without times: costs can be compared, and no makespan"
    return f"{'; '.join(parts[:4])}, against {comparison.baseline}"


def _is_doubted(entry: ComparedTrace) -> bool:
    found = entry.difference.makespan_range_percent
    return found is not None and found[1] - found[0] >= 100 * ALIKE


def _in_doubt(comparison: Comparison, doubted: Sequence[ComparedTrace]) -> str:
    best = min(doubted, key=lambda entry: (entry.difference.makespan_range_percent or (0.0, 0.0))[0])
    least, most = best.difference.makespan_range_percent or (0.0, 0.0)
    return (
        f"{best.label} changes the makespan by {least:+.0f} to {most:+.0f} % of {comparison.baseline}'s: what these"
        " probes share is not known for sure"
    )


def _cause(slow: Sequence[ComparedTrace], fast: Sequence[ComparedTrace]) -> str:
    """Return what the slow rows do that no fast one does, in words; empty if no finding tells it."""
    spared = {finding.kind for entry in fast for finding in entry.trace.findings if _matters(finding)}
    found = [finding for finding in slow[0].trace.findings if _matters(finding) and finding.kind not in spared]
    return fault_of(found[0], several=len(slow) > 1) if found else ""


def _matters(finding: Finding) -> bool:
    return finding.severity is not Severity.LOW


def _labels(entries: Sequence[ComparedTrace], count: int, noun: str) -> str:
    """Return the rows by name; by number if they are most of many."""
    names = [entry.label for entry in entries]
    if len(names) > 3 and len(names) > count // 2:  # noqa: PLR2004  a list that nobody reads
        return f"{number(len(names))} {'policies' if noun == _POLICY else f'{noun}s'}"
    return listed(names)
