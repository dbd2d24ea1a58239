"""``python -m release share|dist|deb|installs FOLDER``: what the targets of the Makefile call."""

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

        check(build(folder))
    elif what == "deb":
        from release.deb import build_deb
        from release.dist import build

        print(build_deb(build(folder)[1], folder))
    elif what == "installs":
        from release.installs import check_installs

        check_installs(folder)
    else:
        sys.exit(f"{what} is none of share, dist, deb, installs")


if __name__ == "__main__":
    main()
