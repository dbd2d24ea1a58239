"""``numaprobe review``: a patch, built, booted beside its base, and told in a mail."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003  typer reads it at run time
from typing import TYPE_CHECKING, Annotated

import typer

from numaprobe.cli.options import Output  # noqa: TC001  typer reads it at run time
from numaprobe.cli.say import tell
from numaprobe.errors import UsageError

if TYPE_CHECKING:
    from numaprobe.study.review.reviewed import ReviewReport
    from numaprobe.study.review.run import ReviewBoot
    from numaprobe.study.review.series import SeriesReport
    from numaprobe.study.review.side import SideResult

_FORMATS = ("mail", "html", "json", "ktap")


def review(
    *,
    tree: Annotated[Path, typer.Option("--tree", metavar="LINUX", help="A kernel's source tree; it is only read.")],
    patch: Annotated[
        str, typer.Option("--patch", metavar="FILE|REV", help="A diff, mailbox, semantic patch, or a revision.")
    ],
    base: Annotated[str, typer.Option("--base", metavar="REV", help="What the patch is for.")] = "HEAD",
    policy: Annotated[
        str | None,
        typer.Option("--policy", "-p", metavar="NAME|FILE.py:CLASS", help="The policy that the patch should follow."),
    ] = None,
    matrix: Annotated[
        Path | None, typer.Option("--matrix", metavar="FILE", help="What is booted (TOML); else a small matrix.")
    ] = None,
    repeat: Annotated[
        int | None, typer.Option("--repeat", min=1, max=100, metavar="N", help="Boots of each cell and side.")
    ] = None,
    each: Annotated[bool, typer.Option("--each", help="Review every commit beside the one before it.")] = False,
    lockdep: Annotated[bool, typer.Option("--lockdep", help="Boot kernels with lockdep, too.")] = False,
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="FOLDER", help="Results; a review there is continued.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=64, metavar="N", help="Guests at a time.")] = 1,
    timeout: Annotated[str, typer.Option("--timeout", metavar="TIME", help="End a guest that takes longer.")] = "300s",
    kvm: Annotated[bool, typer.Option("--kvm", help="Use the processor's virtualisation, where that works.")] = False,
    format: Annotated[  # noqa: A002  the option's name
        str, typer.Option("--format", "-f", metavar="FORMAT", help="mail, html, json or ktap; else as -o ends.")
    ] = "",
    output: Output = None,
) -> None:
    """Build a patch and its base, boot both on several machines, and say what changed in where probes run.

    Exit status: 0 nothing is worse, 1 something is, 125 nothing can be told (git bisect run takes these).
    What was built or booted is not done again: an interrupted review goes on where it was. A build needs 4 GB.

    Examples: numaprobe review --tree ~/linux --base v7.3 --patch fix.mbox
    | numaprobe review --tree ~/linux --patch my-branch --policy queue-on-node --repeat 3
    | numaprobe review --tree ~/linux --base v7.3 --patch series.mbox --each
    | git bisect run numaprobe review --tree . --base v7.2 --patch HEAD
    """
    by_suffix = {".html": "html", ".json": "json", ".tap": "ktap"}
    format = format or by_suffix.get(output.suffix if output else "", "mail")  # noqa: A001  the option's name
    if format not in _FORMATS:
        raise UsageError(f"--format {format}: one of {', '.join(_FORMATS)}")
    if each and format == "html":
        raise UsageError("--each has no page of its own; give --format mail, json or ktap")
    if policy is not None:
        from numaprobe.policies import make_policy

        make_policy(policy)
    if output is not None:
        from numaprobe.records import check_output

        check_output(output)
    from numaprobe.study.review.matrix import SMALL, read_matrix
    from numaprobe.study.review.reviewed import ReviewRequest
    from numaprobe.study.review.reviewed import review as run_review
    from numaprobe.units import parse_time

    chosen = SMALL if matrix is None else read_matrix(matrix)
    changes: dict[str, object] = {"repeats": repeat} if repeat is not None else {}
    chosen = chosen.model_copy(update=changes | ({"lockdep": True} if lockdep else {}))
    request = ReviewRequest(
        tree=tree,
        base=base,
        patch=patch,
        matrix=chosen,
        matrix_file=matrix,
        folder=folder or _folder_for(patch),
        policy=policy,
        timeout=parse_time(timeout) / 1e9,
        kvm=kvm,
        jobs=jobs,
    )
    report: ReviewReport | SeriesReport
    if each:
        from numaprobe.study.review.series import review_series

        report = review_series(request, told=tell, booted=_tell_boot)
    else:
        report = run_review(request, told=tell, booted=_tell_boot)
    _write(report, format, output)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _folder_for(patch: str) -> Path:
    """Return the folder of a review that names none: here, by the patch's name."""
    from pathlib import Path

    words = "".join(char if char.isalnum() or char in "._" else "-" for char in Path(patch).name)
    return Path(f"review-{words.strip('-.')[:60] or 'patch'}")


def _tell_boot(boot: ReviewBoot, side: SideResult, done: int, of: int) -> None:
    said = side.failure or f"{len(side.probes)} probes" + (f", {len(side.splats)} complaints" if side.splats else "")
    tell(f"[{done}/{of}] {boot.cell}, {boot.side}: {said}")


def _write(report: ReviewReport | SeriesReport, format: str, output: Path | None) -> None:  # noqa: A002  as the option
    from numaprobe.records import write_atomically
    from numaprobe.study.review.reviewed import ReviewReport

    text = _one_text(report, format) if isinstance(report, ReviewReport) else _series_text(report, format)
    if output is None:
        sys.stdout.write(text)
    else:
        write_atomically(output, text)


def _one_text(report: ReviewReport, format: str) -> str:  # noqa: A002  as the option
    from numaprobe.cli.output import to_json
    from numaprobe.report.review import review_ktap, review_mail, review_page, review_to_json

    if format == "json":
        return to_json(review_to_json(report)) + "\n"
    return {"ktap": review_ktap, "html": review_page, "mail": review_mail}[format](report)


def _series_text(report: SeriesReport, format: str) -> str:  # noqa: A002  as the option
    from numaprobe.cli.output import to_json
    from numaprobe.report.review_series import series_ktap, series_mail, series_to_json

    if format == "json":
        return to_json(series_to_json(report)) + "\n"
    return series_ktap(report) if format == "ktap" else series_mail(report)
