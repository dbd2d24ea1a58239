"""A series reviewed commit by commit, as a mail, as ``numaprobe.review-series/1`` and as KTAP."""

from __future__ import annotations

import shlex
import textwrap
from typing import TYPE_CHECKING, Any, Final

from numaprobe.report.review import review_mail, review_to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.study.review.reviewed import ReviewReport
    from numaprobe.study.review.series import SeriesReport

#: Version of ``numaprobe review --each --format json``.
SCHEMA: Final = "numaprobe.review-series/1"
_WIDTH: Final = 72
_HASH: Final = 12
#: exit code of a commit's review -> how the table calls it
_WORDS: Final = {0: "good", 1: "WORSE", 125: "cannot tell"}


def series_mail(report: SeriesReport) -> str:
    """Return the mail's text: a table of commits, then what each review says."""
    head = f"The series below was reviewed commit by commit, by running it: {report.sentence}."
    lines = [*textwrap.wrap(head, _WIDTH, break_on_hyphens=False), ""]
    for one in report.reports:
        lines += _row(one)
    lines += ["", "To do this again:", f"  {_command(report)}"]
    for number, one in enumerate(report.reports, 1):
        lines += ["", "=" * _WIDTH, f"[{number}/{len(report.reports)}]", "", review_mail(one).rstrip("\n")]
    return "\n".join(lines) + "\n"


def _row(one: ReviewReport) -> Iterator[str]:
    head = f"{one.patch.commit[:_HASH]} {_WORDS[one.exit_code]:<12} "
    text = f"{one.patch.subject}: {one.sentence}"
    yield from textwrap.wrap(
        text, _WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False
    )


def _command(report: SeriesReport) -> str:
    asked = report.request
    options = {"--tree": str(asked.tree), "--base": asked.base, "--patch": asked.patch}
    options |= {"--matrix": str(asked.matrix_file)} if asked.matrix_file else {}
    words = " \\\n    ".join(f"{name} {shlex.quote(word)}" for name, word in options.items())
    return f"numaprobe review --each {words}"


def series_to_json(report: SeriesReport) -> dict[str, Any]:
    """Return ``numaprobe.review-series/1``."""
    return {
        "schema": SCHEMA,
        "sentence": report.sentence,
        "exit_code": report.exit_code,
        "commits": [review_to_json(one) for one in report.reports],
    }


def series_ktap(report: SeriesReport) -> str:
    """Return the series as KTAP: a test for each commit."""
    lines = ["KTAP version 1", f"1..{len(report.reports)}"]
    for number, one in enumerate(report.reports, 1):
        name = f"{one.patch.commit[:_HASH]} {one.patch.subject}".replace("#", "")
        skip = f" # SKIP {one.sentence}" if _WORDS[one.exit_code] == "cannot tell" else ""
        lines.append(f"{'not ok' if one.exit_code == 1 else 'ok'} {number} {name}{skip}")
        lines += [] if skip else [f"# {one.sentence}"]
    return "\n".join(lines) + "\n"
