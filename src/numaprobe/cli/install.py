"""``numaprobe install``: carry a plan out at every boot."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from numaprobe.cli.say import exit_code, tell
from numaprobe.errors import UsageError
from numaprobe.units import parse_time

if TYPE_CHECKING:
    from numaprobe.bringup.plan import Plan

_SECOND_NS = 10**9


def install(
    plan: Annotated[
        Path | None, typer.Argument(metavar="PLAN", help="A plan that bind or rebind --save-plan wrote.")
    ] = None,
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Say whether what is installed is whole, and is PLAN's.")
    ] = False,
    root: Annotated[Path, typer.Option("--root", metavar="DIR", help="Install into the image below DIR.")] = Path("/"),
    limit: Annotated[
        str, typer.Option("--limit", metavar="TIME", help="After this time at boot everything is as without us.")
    ] = "60s",
    initramfs: Annotated[
        str | None, typer.Option("--initramfs", metavar="KIND", help="In the initramfs of dracut or initramfs-tools.")
    ] = None,
    python: Annotated[
        Path | None, typer.Option("--python", metavar="FILE", help="What runs numaprobe at boot; by default this one.")
    ] = None,
) -> int:
    """Hold a plan's devices back at boot until they are brought up on their node; after a limit the kernel has them.

    Writes systemd units, a udev rule and a script below /etc, and says what it wrote. 'numaprobe=off' on the kernel's
    command line switches it off for one boot; 'numaprobe uninstall' takes everything away.

    Examples: numaprobe install nvme.json | numaprobe install --check | numaprobe install nvme.json --root IMAGE

    Exit code 1: with --check, something is not as it was installed.
    """
    from numaprobe.bringup.boot.install import Settings
    from numaprobe.bringup.boot.install import check as check_installed
    from numaprobe.bringup.boot.install import install as install_files
    from numaprobe.bringup.boot.plan import boot_plan

    if plan is None and not check:
        raise UsageError("install what? numaprobe rebind class=nvme --save-plan FILE makes a plan")
    where = initramfs or "system"
    if where not in ("system", "dracut", "initramfs-tools"):
        raise UsageError(f"'{where[:40]}' makes no initramfs that is known; dracut or initramfs-tools")
    interpreter = str(python or sys.executable)
    settings = Settings(where=where, python=interpreter, limit_s=max(1, parse_time(limit) // _SECOND_NS))  # type: ignore[arg-type]  # checked above
    given = None if plan is None else _read(plan)
    wanted = None if given is None else boot_plan(given, settings.limit_s)
    if check:
        faults = check_installed(wanted, root, settings)
        for fault in faults:
            typer.echo(fault)
        return exit_code(faults, "table", None)
    if given is not None and wanted is not None:
        _check_system(given, root, initramfs=initramfs)
        for name in install_files(wanted, root, settings):
            typer.echo(str(root / name))
        _tell_next(initramfs)
    return 0


def _read(path: Path) -> Plan:
    from numaprobe.cli.act import read_plan

    return read_plan(path)


def _check_system(plan: Plan, root: Path, *, initramfs: str | None) -> None:
    """Refuse what the running system stands on."""
    from numaprobe.bringup.boot.system import check_not_system

    check_not_system(plan, root, in_initramfs=initramfs is not None)


def _tell_next(initramfs: str | None) -> None:
    after = {
        "dracut": "now make a new initramfs: dracut --force",
        "initramfs-tools": "now make a new initramfs: update-initramfs -u",
    }
    tell(after.get(initramfs or "", "it counts from the next boot on; 'numaprobe=off' on its command line skips it"))
