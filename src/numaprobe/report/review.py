"""A review as a mail for a list, as a page with timelines, as JSON, and as KTAP.

The mail is plain text of at most 72 columns, in the order in which 0-day's mails are read: what changed, the commits, a
table of situations, the kernel's complaints with the boots of each side that had them, what could not be judged, one
command that does it again, versions. Symptoms that base has too stand apart: they are not the patch's. Times stand in
0-day's other table, with base against base beside them; those of an emulated machine are not in it. KTAP
(Documentation/dev-tools/ktap.rst) has one line for each cell.
"""

from __future__ import annotations

import shlex
import textwrap
from statistics import stdev
from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis import compare
from numaprobe.analysis.statistics import SIGNIFICANCE, smallest_p
from numaprobe.errors import InputError
from numaprobe.listing import first_few
from numaprobe.records.json_codec import load_trace
from numaprobe.report.html import html_page
from numaprobe.study.review.run import BASE, PATCH, ReviewBoot
from numaprobe.study.review.verdict import CellVerdict
from numaprobe.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numaprobe.analysis.statistics import FigureChange, Sample
    from numaprobe.study.review.reviewed import ReviewedKernel, ReviewReport
    from numaprobe.study.review.verdict import Complaint, JudgedCell, ReviewVerdict

#: Version of ``numaprobe review --format json``.
SCHEMA: Final = "numaprobe.review/1"
_WIDTH: Final = 72
_HASH: Final = 12
#: lines of a complaint that the mail shows; all of them are in the review's folder
_LINES: Final = 25


# ---- the mail ------------------------------------------------------------------------------------------------------
def review_mail(report: ReviewReport) -> str:
    """Return the mail's text."""
    lines = [*_wrapped(f"The patch below was reviewed by running it: {report.sentence}."), ""]
    lines += [*_commit("base", report.base), *_commit("patch", report.patch), ""]
    if report.verdict is not None:
        lines += [*_situations(report.verdict), *_policies(report.verdict)]
        lines += _times(report.verdict) if report.request.kvm else []
        lines += _not_predicted(report.verdict)
        lines += _complaints(report.verdict)
        lines += _unjudged(report.verdict)
    lines += ["To do this again:", f"  {_command(report)}", "", "With:"]
    lines += [f"  {line}" for line in (f"numaprobe {__version__}", *report.versions)]
    emulated = "" if report.request.kvm else "The machines were emulated: places are the kernel's own, times are not. "
    lines += ["", *_wrapped(emulated + "Each boot's console, trace and result are in the review's folder.")]
    return "\n".join(lines) + "\n"


def _commit(name: str, kernel: ReviewedKernel) -> list[str]:
    builds = [f"  build id {build_id[:20]}" for build_id in kernel.build_ids]
    return [f'{name}: {kernel.commit[:_HASH]} ("{kernel.subject}")'[:_WIDTH], *builds]


def _situations(verdict: ReviewVerdict) -> Iterator[str]:
    yield f"{'on node: base':>14} {'patch':>7}  situation"
    for cell in verdict.cells:
        base, patch = (f"{a}/{b}" if b else "-" for a, b in (cell.on_node("base"), cell.on_node("patch")))
        yield from _hanging(f"{base:>14} {patch:>7}  ", f"{cell.cell}: {cell.verdict}")
        for change in cell.changes if cell.reason is None else ():
            mark = " (worse)" if change.worse else ""
            text = f"{change.count} of {change.driver}: {change.before} -> {change.after}{mark}"
            yield from _hanging(" " * 24 + "  ", text)
    yield ""
    if verdict.unseen is not None and not any(cell.changes for cell in verdict.cells):
        share = f"{min(verdict.unseen, 1):.0%}"
        yield from _wrapped(
            f"{verdict.compared} probes were compared. A change of more than {share} of such probes "
            "would have been seen with 95 % confidence; a smaller one might not."
        )
        yield ""


def _policies(verdict: ReviewVerdict) -> Iterator[str]:
    follows = verdict.follows
    said = ", ".join(follows) if follows else "none that is known here"
    yield from _wrapped(f"Policies that explain every probe of the patched kernel: {said}.")
    if verdict.policy is not None:
        right, judged = verdict.as_policy
        yield from _wrapped(f"As {verdict.policy} predicts: {right} of {judged} probes.")
    yield ""


def _not_predicted(verdict: ReviewVerdict) -> Iterator[str]:
    """Say what differs from the prediction, cell by cell, and the least that explains it; alike boots once."""
    said: dict[tuple[str, ...], list[str]] = {}
    for cell in verdict.cells:
        for side, results in (("base", (*cell.base, *cell.control)), ("patch", cell.patch)):
            for one in results:
                if one.explained:
                    key = (side, one.predicted, *one.differs, one.explained)
                    said.setdefault(key, []).append(str(cell.cell))
    for (side, policy, *lines), cells in said.items():
        where = first_few(list(dict.fromkeys(cells)), 3)
        yield from _wrapped(f"Of {side}, not as {policy} predicts ({where}):")
        for line in lines:
            yield from _hanging("  ", line)
        yield ""


def _times(verdict: ReviewVerdict) -> Iterator[str]:
    timed = [(cell, cell.times) for cell in verdict.cells if cell.times is not None]
    if not timed:
        return
    yield f"{'base %stddev':>14} {'%change':>9} {'patch %stddev':>14} {'control':>8}  makespan, ms"
    fewest = min(min(one.patch.base.size, one.patch.runs.size) for _, one in timed)
    for cell, one in timed:
        control = "-" if one.control is None else _percent(one.control)
        change = _percent(one.patch) if one.patch.p_value < SIGNIFICANCE else "~"
        head = f"{_spread(one.patch.base):>14} {change:>9} {_spread(one.patch.runs):>14} {control:>8}  "
        yield from _hanging(head, str(cell.cell))
    text = "control: base against base. ~: chance alone would do this in more than one of twenty such comparisons."
    if smallest_p(fewest, fewest) >= SIGNIFICANCE:
        text += f" {fewest} boots a side can never show more; --repeat 4 is the least that can."
    yield from _wrapped(text)
    yield ""


def _spread(sample: Sample) -> str:
    """Return the median in ms and, of several, their standard deviation in percent of it."""
    text = f"{sample.median / 1e6:.1f}"
    share = round(100 * stdev(sample.values) / sample.median) if sample.size > 1 else 0
    return f"{text} +- {share}%" if share else text


def _percent(change: FigureChange) -> str:
    return f"{change.percent or 0.0:+.1f}%"


def _complaints(verdict: ReviewVerdict) -> Iterator[str]:
    """Give 0-day's table of symptoms: how many boots of each side came home, and how many had which complaint."""
    (base, patch), (base_failed, patch_failed) = verdict.boots
    yield f"{'base':>5} {'patch':>6}  boots"
    yield f"{base - base_failed:>5} {patch - patch_failed:>6}  boot_successes"
    yield f"{base_failed:>5} {patch_failed:>6}  boot_failures"
    for head, before, after, _ in verdict.symptoms:
        state = "new" if not before else "gone" if not after else "same"
        yield from _hanging(f"{before:>5} {after:>6}  ", f"{state}: {head}")
    yield ""
    if not verdict.symptoms:
        yield from _wrapped("The kernels complained of nothing (WARN, BUG, lockdep, hung tasks).")
        yield ""
    for head, _, _, lines in verdict.new_symptoms:
        yield from _wrapped(f"New with the patch, in full: {head}")
        yield from (f"  {line}" for line in lines[:_LINES])
        yield ""


def _unjudged(verdict: ReviewVerdict) -> Iterator[str]:
    cells = [cell for cell in verdict.cells if cell.verdict is CellVerdict.CANNOT_TELL or cell.regressed]
    if not cells:
        return
    yield "Not judged, and why:"
    for cell in cells:
        yield from _hanging("  ", f"{cell.cell}: {cell.regressed or cell.reason}")
    yield ""


def _command(report: ReviewReport) -> str:
    asked = report.request
    options = {"--tree": str(asked.tree), "--base": report.base.commit[:_HASH], "--patch": asked.patch}
    options |= {"--matrix": str(asked.matrix_file)} if asked.matrix_file else {}
    options |= {"--policy": asked.policy} if asked.policy else {}
    options |= {"--repeat": str(asked.matrix.repeats)} if asked.matrix.repeats > 1 else {}
    return " \\\n    ".join(["numaprobe review", *(f"{name} {shlex.quote(word)}" for name, word in options.items())])


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _hanging(head: str, text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False)


# ---- for the eye ---------------------------------------------------------------------------------------------------
def review_page(report: ReviewReport) -> str:
    """Return the page with both timelines of every cell: the first boot of each side that left a trace.

    Raises:
        InputError: no boot left one.

    """
    traces, labels = [], []
    for cell in report.verdict.cells if report.verdict else ():
        for side in (BASE, PATCH):
            path = report.request.folder / ReviewBoot(cell=cell.cell, side=side, number=0).folder / "trace.json"
            if path.is_file():
                traces.append(load_trace(path.read_text(encoding="utf-8")))
                labels.append(f"{cell.cell}: {side}")
    if not traces:
        raise InputError("no boot left a trace, so there is nothing to draw", str(report.request.folder))
    return html_page(compare(traces, labels=labels), title=f"review of {report.patch.subject}: {report.sentence}")


# ---- for machines --------------------------------------------------------------------------------------------------
def review_to_json(report: ReviewReport) -> dict[str, Any]:
    """Return ``numaprobe.review/1``."""
    verdict = report.verdict
    return {
        "schema": SCHEMA,
        "sentence": report.sentence,
        "exit_code": report.exit_code,
        "base": _kernel_to_json(report.base),
        "patch": _kernel_to_json(report.patch) | {"build_failure": report.unbuilt},
        "versions": [f"numaprobe {__version__}", *report.versions],
        "kvm": report.request.kvm,
        "cells": [_cell_to_json(cell) for cell in verdict.cells] if verdict else [],
        "complaints": _symptoms_to_json(verdict.symptoms) if verdict else [],
        "follows": verdict.follows if verdict else [],
        "policy": _policy_to_json(verdict) if verdict and verdict.policy else None,
        "compared": verdict.compared if verdict else 0,
        "unseen_share": verdict.unseen if verdict else None,
    }


def _kernel_to_json(kernel: ReviewedKernel) -> dict[str, Any]:
    return {
        "commit": kernel.commit,
        "subject": kernel.subject,
        "release": kernel.release or None,
        "build_ids": list(kernel.build_ids),
    }


def _cell_to_json(cell: JudgedCell) -> dict[str, Any]:
    return {
        "scenario": cell.cell.scenario,
        "machine": cell.cell.machine,
        "cmdline": cell.cell.cmdline,
        "lockdep": cell.cell.lockdep,
        "folder": f"cells/{cell.cell.slug}",
        "verdict": str(cell.verdict),
        "reason": cell.regressed or cell.reason,
        "not_as_predicted": [
            {"side": side, "policy": one.predicted, "differs": list(one.differs), "explained": one.explained}
            for side in ("base", "patch", "control")
            for one in getattr(cell, side)
            if one.explained
        ],
        "boots": {"base": len(cell.base), "patch": len(cell.patch), "control": len(cell.control)},
        "on_node": {"base": list(cell.on_node("base")), "patch": list(cell.on_node("patch"))},
        "makespans_ns": {
            side: [one.makespan_ns for one in getattr(cell, side) if one.ran] for side in ("base", "patch", "control")
        },
        "changes": [
            {
                "driver": change.driver,
                "before": change.before,
                "after": change.after,
                "count": change.count,
                "worse": change.worse,
            }
            for change in cell.changes
        ],
    }


def _symptoms_to_json(symptoms: Sequence[Complaint]) -> list[dict[str, Any]]:
    return [
        {"head": head, "boots": {"base": base, "patch": patch}, "lines": list(lines)}
        for head, base, patch, lines in symptoms
    ]


def _policy_to_json(verdict: ReviewVerdict) -> dict[str, Any]:
    right, judged = verdict.as_policy
    return {"name": verdict.policy, "as_predicted": right, "judged": judged}


def review_ktap(report: ReviewReport) -> str:
    """Return the review as KTAP: a test for each cell, and one for the build."""
    cells = report.verdict.cells if report.verdict else ()
    lines = ["KTAP version 1", f"1..{len(cells) + 1}"]
    lines.append("ok 1 the patch builds" if report.unbuilt is None else "not ok 1 the patch builds")
    lines += [f"# {report.unbuilt}"] if report.unbuilt else []
    for number, cell in enumerate(cells, 2):
        name = str(cell.cell).replace("#", "")
        if cell.verdict is CellVerdict.CANNOT_TELL:
            lines += [f"ok {number} {name} # SKIP {cell.reason}"]
            continue
        ok = "not ok" if cell.verdict is CellVerdict.WORSE else "ok"
        lines += [f"{ok} {number} {name}", *([f"# {cell.regressed}"] if cell.regressed else [])]
        lines += [f"# {change.count} of {change.driver}: {change.before} -> {change.after}" for change in cell.changes]
    return "\n".join(lines) + "\n"
