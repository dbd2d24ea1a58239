"""``make docs``: rebuild every table of ``docs/`` that a run can make; ``--check`` only says whether they are current.

A table stands in a page between ``<!-- table: NAME -->`` and ``<!-- end -->``. The virtual machine is repeatable to the
byte, so a table that differs from its run is out of date, and a test holds that none is.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from docs import tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PAGES: Final = Path(__file__).parent
BLOCK: Final = re.compile(r"(<!-- table: ([a-z0-9-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n" + "".join("| " + " | ".join(line) + " |\n" for line in lines) + "\n"


def rebuilt(text: str) -> str:
    """Return a page with its tables rebuilt."""

    def replace(match: re.Match[str]) -> str:
        return match[1] + markdown(*tables.TABLES[match[2]]()) + match[3]

    return BLOCK.sub(replace, text)


def stale_pages(*, write: bool) -> list[str]:
    """Return the pages whose tables were out of date; rewrite them if asked."""
    stale = []
    for page in sorted(PAGES.glob("*.md")):
        before = page.read_text(encoding="utf-8")
        after = rebuilt(before)
        if after != before:
            stale.append(page.name)
            if write:
                page.write_text(after, encoding="utf-8")
    return stale


def main() -> None:
    """Run as a program."""
    check = "--check" in sys.argv[1:]
    stale = stale_pages(write=not check)
    for name in stale:
        print(f"docs/{name}: {'out of date; run make docs' if check else 'rebuilt'}")
    sys.exit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
