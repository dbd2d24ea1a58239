"""Manual pages, one for each command: roff of the ``man`` macros, made from what the commands say of themselves.

The same commands give the same bytes: the date of the pages is the release's (``SOURCE_DATE_EPOCH``), or of today.
"""

from __future__ import annotations

import os
import re
import textwrap
import time
from typing import TYPE_CHECKING, Final

from numaprobe import __version__
from release.commands import ENVIRONMENT, EXITS, Command, commands

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: of source, so that no line is over 80 with its escapes
_LINE: Final = 62
#: characters of roff that stand for something else than themselves in Unicode's place
_NAMED: Final = {0x2026: "\\[u2026]", 0xD7: "\\[mu]", 0x2192: "\\[->]", 0xB5: "\\[mc]"}


def write_pages(folder: Path) -> list[Path]:
    """Write every page below ``folder/man1``; return the files."""
    section = folder / "man1"
    section.mkdir(parents=True, exist_ok=True)
    every = list(commands())
    written = []
    for command in every:
        path = section / f"{command.page}.1"
        path.write_text(page(command, every), encoding="utf-8")
        written.append(path)
    return written


def page(command: Command, every: Iterable[Command]) -> str:
    """Return the manual page of one command."""
    date = time.strftime("%Y-%m-%d", time.gmtime(float(os.environ.get("SOURCE_DATE_EPOCH") or time.time())))
    title = command.page.upper()
    lines = [f'.TH {roff(title)} 1 {date} "numaprobe {__version__}" "User Commands"']
    lines += [".SH NAME", f"{roff(command.page)} \\- {roff(command.summary)}"]
    lines += [".SH SYNOPSIS", f".B {roff(command.line)}", *_prose(" ".join(command.usage))]
    lines.append(".SH DESCRIPTION")
    for number, paragraph in enumerate(command.paragraphs):
        lines += [".PP"] * bool(number) + _prose(paragraph)
    every = list(every)
    if not command.name:
        lines += [".SH COMMANDS", *_terms((one.name, one.summary) for one in every if one.name)]
    if command.arguments:
        lines += [".SH ARGUMENTS", *_terms(command.arguments)]
    lines += [".SH OPTIONS", *_terms(command.options)]
    own = dict(command.exits)
    lines += [".SH EXIT STATUS", *_terms((str(code), own.get(code, text)) for code, text in EXITS)]
    lines += [".SH ENVIRONMENT", *_terms(ENVIRONMENT)]
    if command.examples:
        lines.append(".SH EXAMPLES")
        for number, example in enumerate(command.examples):
            lines += [".PP"] * bool(number) + [".EX", roff(example), ".EE"]
    others = [one.page for one in every if one.page != command.page and (not command.name or not one.name)]
    references = [f".BR {roff(name)} (1){',' if name != others[-1] else ''}" for name in others]
    return "\n".join([*lines, ".SH SEE ALSO", *references]) + "\n"


def roff(text: str) -> str:
    """Return a text as roff shows it: nothing in it is a command or another character."""
    text = (
        text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga").replace("^", "\\(ha")
    )
    text = text.replace("~", "\\(ti")
    return re.sub(r"^\.", r"\\&.", text.translate(_NAMED))


def _prose(text: str) -> list[str]:
    """Return a text in lines of bounded length, each sentence on a new line as roff wants it."""
    sentences = re.split(r"(?<=[.:;!?]) (?=[A-Z])", text)
    return [roff(line) for one in sentences for line in textwrap.wrap(one, _LINE, break_on_hyphens=False)]


def _terms(rows: Iterable[tuple[str, str]]) -> list[str]:
    lines = []
    for term, text in rows:
        lines += [".TP", f".B {roff(term)}", *_prose(" ".join(text.split()))]
    return lines
