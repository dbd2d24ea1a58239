"""``numaprobe uninstall``: take away what ``install`` put there."""

from pathlib import Path
from typing import Annotated

import typer


def uninstall(
    root: Annotated[Path, typer.Option("--root", metavar="DIR", help="Out of the image below DIR.")] = Path("/"),
) -> int:
    """Take away everything that install put there; nothing of it stays.

    Devices that are held at this moment are given back at the end of the boot, as without it.
    """
    from numaprobe.bringup.boot.install import uninstall as take_away

    for name in take_away(root):
        typer.echo(str(root / name))
    return 0
