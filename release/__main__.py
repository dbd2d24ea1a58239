"""``python -m release share|dist|deb FOLDER``: what ``make dist`` and ``make deb`` call."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Run as a program."""
    what, folder = sys.argv[1], Path(sys.argv[2])
    if what == "share":
        from release.share import write_share

        write_share(folder)
    elif what == "dist":
        from release.dist import build, check

        files = build(folder)
        check(files)
    else:
        sys.exit(f"{what} is none of share, dist")


if __name__ == "__main__":
    main()
