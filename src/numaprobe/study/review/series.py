"""A series, reviewed commit by commit: each beside the one before it, as a maintainer bisects.

A commit that does not build, hangs or is worse is named by itself, whatever the commits behind it mend. The base of a
commit is the last one before it that could be built. What was booted of that one as a *patch* is taken as *base* then:
it is the same kernel, and every boot stands in its own commit's folder (``NN-COMMIT``) as in any review.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from numaprobe.errors import InputError
from numaprobe.kernel.lab.build import clone_of
from numaprobe.kernel.lab.tools import find_tools
from numaprobe.records import make_folder
from numaprobe.study.review.reviewed import patched, review_commit
from numaprobe.study.review.run import BASE, PATCH, RESULT, boots
from numaprobe.study.review.verdict import BAD, CANNOT_TELL, GOOD

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.study.review.reviewed import ReviewReport, ReviewRequest
    from numaprobe.study.review.run import ReviewBoot
    from numaprobe.study.review.side import SideResult

#: commits of a series: more than this is a branch, to be bisected
MAX_COMMITS = 100
_HASH = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesReport:
    """What a series does, commit by commit."""

    request: ReviewRequest
    #: one for each commit, in their order
    reports: tuple[ReviewReport, ...]

    @property
    def exit_code(self) -> int:
        """1 if a commit is worse, 125 if nothing can be told of any, else 0."""
        codes = [report.exit_code for report in self.reports]
        return BAD if BAD in codes else CANNOT_TELL if all(code == CANNOT_TELL for code in codes) else GOOD

    @property
    def sentence(self) -> str:
        """The answer."""
        bad = [report for report in self.reports if report.exit_code == BAD]
        unknown = sum(report.exit_code == CANNOT_TELL for report in self.reports)
        said = [f"{len(bad)} of {len(self.reports)} commits worse than the one before"] if bad else []
        if bad:
            said.append(f"first {bad[0].patch.commit[:_HASH]}")
        if unknown:
            said.append(f"{unknown} cannot tell")
        return ", ".join(said) or f"no commit of {len(self.reports)} is worse than the one before"


def review_series(
    request: ReviewRequest,
    *,
    told: Callable[[str], object] = lambda _: None,
    booted: Callable[[ReviewBoot, SideResult, int, int], object] = lambda *_: None,
) -> SeriesReport:
    """Review every commit of a series beside the one before it.

    Args:
        request: what; its policy is for the last commit, which alone is the whole series.
        told: see ``review``.
        booted: see ``review``.

    Raises:
        InputError: also: no commit leads from base to patch, or more than ``MAX_COMMITS``.
        NumaprobeError: see ``review``.

    """
    tools = find_tools()
    make_folder(request.folder)
    clone = clone_of(request.tree, told=told)
    base = clone.commit_of(request.base)
    commits = clone.commits(base, patched(clone, request.patch, base))
    if not 0 < len(commits) <= MAX_COMMITS:
        raise InputError(f"{len(commits)} commits lead there from {base[:_HASH]}; 1 to {MAX_COMMITS}", request.patch)
    reports: list[ReviewReport] = []
    before: ReviewReport | None = None
    for number, commit in enumerate(commits, 1):
        told(f"commit {number} of {len(commits)}: {commit[:_HASH]} {clone.subject_of(commit)}")
        one = replace(
            request,
            folder=request.folder / f"{number:02d}-{commit[:_HASH]}",
            base=base,
            patch=commit,
            policy=request.policy if number == len(commits) else None,
        )
        if before is not None:
            _carry(before.request, one)
        report = review_commit(one, clone, tools, (base, commit), told=told, booted=booted)
        reports.append(report)
        if report.unbuilt is None:
            base, before = commit, report
    return SeriesReport(request=request, reports=tuple(reports))


def _carry(before: ReviewRequest, after: ReviewRequest) -> None:
    """Take what was booted of a commit as the base of the next one; what is there already stays."""
    for boot in boots(after.matrix):
        if boot.side != BASE:
            continue
        source = before.folder / replace(boot, side=PATCH).folder
        target = after.folder / boot.folder
        if (source / RESULT).is_file() and not target.exists():
            make_folder(target.parent)
            shutil.copytree(source, target, symlinks=True)
