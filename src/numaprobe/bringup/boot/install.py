"""Files put below a root, checked, and taken away without a trace.

What was put there stands in ``/etc/numaprobe/installed``: every file and link, and every folder that had to be made. It
is written first, so that an installation that breaks off can be taken away, too. A file that is there already and is
not ours is never replaced.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe.bringup.boot.files import HOME, boot_files, boot_links
from numaprobe.errors import InputError, KernelInterfaceError, NotPermittedError, RefusedError
from numaprobe.records import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numaprobe.bringup.boot.files import Where
    from numaprobe.bringup.plan import Plan

#: names what was installed, one path a line; folders that were made end with ``/``
MANIFEST: Final = f"{HOME}/installed"
_PROGRAM: Final = 0o755
_FILE: Final = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a plan is carried out at boot."""

    where: Where = "system"
    #: what runs numaprobe at boot
    python: str
    #: seconds after which everything is as without us
    limit_s: int = 60


def install(plan: Plan, root: Path, settings: Settings) -> tuple[str, ...]:
    """Put the files of a boot plan below ``root``; return their names.

    Raises:
        InputError: something is installed already, or a file is in the way.
        NotPermittedError, RefusedError: the root cannot be written; what was put there is taken away.

    """
    if (root / MANIFEST).exists():
        raise InputError("a plan is installed already; take it away first: numaprobe uninstall", str(root / MANIFEST))
    contents, links = _wanted(plan, settings)
    for name in (*contents, *links):
        _check_free(root, name)
    folders = _folders_to_make(root, (*contents, *links, MANIFEST))
    try:
        for folder in folders:
            (root / folder).mkdir()
        manifest = [*(f"{folder}/" for folder in folders), *contents, *links, MANIFEST]
        write_atomically(root / MANIFEST, "".join(f"{name}\n" for name in manifest), mode=_FILE)
        for name, text in contents.items():
            write_atomically(root / name, text, mode=_mode(text))
        for name, target in links.items():
            (root / name).symlink_to(target)
    except (OSError, InputError) as error:
        _take_away(root, (*contents, *links, MANIFEST), folders)
        raise _refused(root, error) from None
    return (*contents, *links)


def check(plan: Plan | None, root: Path, settings: Settings) -> list[str]:
    """Return what is not as it was installed, one line each; nothing if all is well.

    Args:
        plan: for the boot, as it should be installed; None: only whether the files are all there.
        root: where it was installed.
        settings: as it should be.

    """
    names = _manifest(root)
    if names is None:
        return [f"{root / MANIFEST}: nothing is installed"]
    faults = [f"{root / name}: is not there" for name in names if not os.path.lexists(root / name.rstrip("/"))]
    python = root / settings.python.lstrip("/")
    if settings.where == "system" and not python.exists():
        faults.append(f"{python}: is not there; at boot the devices would be given back to the kernel at once")
    if plan is None:
        return faults
    contents, links = _wanted(plan, settings)
    for name, text in contents.items():
        with contextlib.suppress(OSError):
            if (root / name).read_text(encoding="utf-8", errors="replace") != text:
                faults.append(f"{root / name}: is not what this plan would install")
    extra = {name for name in names if not name.endswith("/")} - {*contents, *links, MANIFEST}
    return [*faults, *(f"{root / name}: belongs to another plan" for name in sorted(extra))]


def uninstall(root: Path) -> tuple[str, ...]:
    """Take away everything that was installed below ``root``; return the names.

    Raises:
        InputError: nothing is installed.
        NotPermittedError, RefusedError: the root cannot be written.

    """
    names = _manifest(root)
    if names is None:
        raise InputError("nothing is installed", str(root / MANIFEST))
    files = [name for name in names if not name.endswith("/") and name != MANIFEST]
    folders = [name.rstrip("/") for name in names if name.endswith("/")]
    try:
        _take_away(root, (*files, MANIFEST), folders)
    except OSError as error:
        raise _refused(root, error) from None
    return tuple(files)


def _wanted(plan: Plan, settings: Settings) -> tuple[Mapping[str, str], Mapping[str, str]]:
    contents = boot_files(plan, settings.where, python=settings.python, limit_s=settings.limit_s)
    return contents, boot_links(settings.where)


def _mode(text: str) -> int:
    return _PROGRAM if text.startswith("#!") else _FILE


def _check_free(root: Path, name: str) -> None:
    if os.path.lexists(root / name):
        raise InputError("is there already, and is not ours; move it away first", str(root / name))


def _folders_to_make(root: Path, names: Iterable[str]) -> list[str]:
    """Return the folders that are not there, those above first."""
    wanted = {str(above) for name in names for above in Path(name).parents if str(above) != "."}
    return sorted(folder for folder in wanted if not (root / folder).is_dir())


def _manifest(root: Path) -> list[str] | None:
    """Return the names in the manifest; None if there is none.

    Raises:
        InputError: a name in it leads out of the root.

    """
    try:
        names = (root / MANIFEST).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", str(root / MANIFEST)) from None
    for name in names:
        if name.startswith("/") or ".." in name.split("/"):
            raise InputError(f"'{name[:80]}' leads out of the root, so this is not our file", str(root / MANIFEST))
    return names


def _take_away(root: Path, files: Iterable[str], folders: Iterable[str]) -> None:
    for name in files:
        (root / name).unlink(missing_ok=True)
    for folder in sorted(folders, reverse=True):
        with contextlib.suppress(OSError):  # somebody else has put something there, or it was not made
            (root / folder).rmdir()


def _refused(root: Path, error: OSError | InputError) -> KernelInterfaceError | InputError:
    if isinstance(error, InputError):
        return error
    if isinstance(error, PermissionError):
        return NotPermittedError(f"{root}: {error.strerror}; run it as root, or name an image (--root DIR)")
    return RefusedError(f"{error.filename or root}: {error.strerror}; what was put there is taken away again")
