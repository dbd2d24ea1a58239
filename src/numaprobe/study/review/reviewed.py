"""A review from end to end: apply, build both, boot everything, judge."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from numaprobe.errors import InputError, RefusedError
from numaprobe.kernel.lab.build import BuildFailedError, Clone, built_revision, clone_of
from numaprobe.kernel.lab.tools import find_tools
from numaprobe.records import make_folder
from numaprobe.study.review.run import BASE, PATCH, ReviewOptions, boot_all
from numaprobe.study.review.verdict import BAD, CANNOT_TELL, ReviewVerdict, judge_review

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.kernel.lab.tools import KernelImage, Tools
    from numaprobe.study.review.matrix import Matrix
    from numaprobe.study.review.run import ReviewBoot
    from numaprobe.study.review.side import SideResult


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewRequest:
    """What is to be reviewed."""

    tree: Path
    #: revision of the tree that the patch is for
    base: str
    #: a diff, mail, mailbox or series in a file, or a revision of the tree
    patch: str
    matrix: Matrix
    #: the file that it came from; None: it is the small one
    matrix_file: Path | None = None
    #: where results go, and what an earlier review of the same left
    folder: Path
    policy: str | None = None
    timeout: float = 300.0
    kvm: bool = False
    jobs: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedKernel:
    """One of the two kernels."""

    commit: str
    subject: str
    #: build ids; empty if it was not built
    build_ids: tuple[str, ...] = ()
    release: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewReport:
    """What a review found."""

    request: ReviewRequest
    base: ReviewedKernel
    patch: ReviewedKernel
    #: why the patch's kernel could not be built; then nothing was booted
    unbuilt: str | None
    verdict: ReviewVerdict | None
    #: versions of what took part: compiler, QEMU, virtme-ng
    versions: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0 nothing is worse, 1 something is, 125 nothing can be told."""
        if self.unbuilt is not None:
            return BAD
        return CANNOT_TELL if self.verdict is None else self.verdict.exit_code

    @property
    def sentence(self) -> str:
        """The answer."""
        if self.unbuilt is not None:
            return f"the patch does not build: {self.unbuilt}"
        return "nothing was booted" if self.verdict is None else self.verdict.sentence


def review(
    request: ReviewRequest,
    *,
    told: Callable[[str], object] = lambda _: None,
    booted: Callable[[ReviewBoot, SideResult, int, int], object] = lambda *_: None,
) -> ReviewReport:
    """Review a patch.

    Args:
        request: what.
        told: gets a line before something that takes minutes.
        booted: gets each boot that is over; see ``run.boot_all``.

    Raises:
        InputError: no tree, revision or patch; the patch does not apply; a scenario that no guest can have.
        MissingInterfaceError: what builds or boots is not installed, or there is no room.
        BuildFailedError: *base* does not build: then nothing can be told of the patch.

    """
    tools = find_tools()
    make_folder(request.folder)
    clone = clone_of(request.tree, told=told)
    base = clone.commit_of(request.base)
    return review_commit(request, clone, tools, (base, patched(clone, request.patch, base)), told=told, booted=booted)


def review_commit(
    request: ReviewRequest,
    clone: Clone,
    tools: Tools,
    commits: tuple[str, str],
    *,
    told: Callable[[str], object],
    booted: Callable[[ReviewBoot, SideResult, int, int], object],
) -> ReviewReport:
    """Review one commit beside another; see ``review``.

    Args:
        request: how.
        clone: where both are.
        tools: what boots.
        commits: base and patch.
        told: see ``review``.
        booted: see ``review``.

    Raises:
        NumaprobeError: see ``review``.

    """
    base, patch = commits
    before = ReviewedKernel(commit=base, subject=clone.subject_of(base))
    after = ReviewedKernel(commit=patch, subject=clone.subject_of(patch))
    variants = sorted({cell.lockdep for cell in request.matrix.cells()})
    kernels: dict[tuple[str, bool], KernelImage] = {}
    for lockdep in variants:
        kernels[BASE, lockdep] = built_revision(clone, base, lockdep=lockdep, told=told)
    before = _with_builds(before, [kernels[BASE, lockdep] for lockdep in variants])
    try:
        for lockdep in variants:
            kernels[PATCH, lockdep] = built_revision(clone, patch, lockdep=lockdep, told=told)
    except BuildFailedError as error:
        return ReviewReport(
            request=request, base=before, patch=after, unbuilt=str(error), verdict=None, versions=_versions()
        )
    after = _with_builds(after, [kernels[PATCH, lockdep] for lockdep in variants])
    options = ReviewOptions(
        folder=request.folder,
        tools=tools,
        kernels=kernels,
        policy=request.policy,
        timeout=request.timeout,
        kvm=request.kvm,
        jobs=request.jobs,
    )
    verdict = judge_review(boot_all(request.matrix, options, booted), request.policy)
    return ReviewReport(request=request, base=before, patch=after, unbuilt=None, verdict=verdict, versions=_versions())


def patched(clone: Clone, patch: str, base: str) -> str:
    """Return the commit of the patch: applied from a file, or a revision of the tree."""
    file = Path(patch).expanduser()
    if file.is_file():
        return clone.apply(file, base)
    if file.exists():
        raise InputError("is no file to read a patch from", patch)
    return clone.commit_of(patch)


def _with_builds(kernel: ReviewedKernel, images: list[KernelImage]) -> ReviewedKernel:
    return replace(
        kernel,
        build_ids=tuple(image.build_id or "" for image in images),
        release=images[0].release,
    )


def _versions() -> tuple[str, ...]:
    """Return the first lines with which the programs that took part name themselves."""
    found = []
    for command in (["gcc", "--version"], ["qemu-system-x86_64", "--version"]):
        if shutil.which(command[0]) is None:
            continue
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603  fixed
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RefusedError(f"{command[0]}: {error}") from None
        found += done.stdout.splitlines()[:1]
    return tuple(found)
