"""A kernel out of a package file: Debian's (``.deb``) or RPM, as a distribution or ``make bindeb-pkg`` made it.

The package is unpacked below the cache directory, in a place named by the digest of the file, and nothing of it is
installed or run. A package that holds an image and its modules is a kernel; where a distribution parts them (Debian
since 7.x, Fedora's ``-core`` and ``-modules``), the parts of the same version in the same folder are taken along.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError, MissingInterfaceError
from numaprobe.kernel.lab.layout import laid_out, need, put_in_place, run
from numaprobe.kernel.lab.tools import KernelImage, cache_directory

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES: Final = (".deb", ".rpm")
#: names of packages: ``linux-image-7.3.4_7.3.4-1_amd64.deb``, ``kernel-core-6.17.1-300.fc43.x86_64.rpm``
_DEB: Final = re.compile(r"(?P<kind>[a-z]+-[a-z]+)-(?P<version>\d.*)\.deb", re.ASCII)
_RPM: Final = re.compile(r"(?P<kind>kernel(?:-[a-z]+)*)-(?P<version>\d.*)\.rpm", re.ASCII)
_UNWANTED: Final = ("headers", "devel", "doc", "dbg", "debuginfo", "tools", "libc", "modules-extra", "modules-internal")


def kernel_of_package(package: Path, cache: Path | None = None) -> KernelImage:
    """Return the kernel that a package file holds, unpacked into the cache directory.

    Raises:
        InputError: it holds no kernel.
        MissingInterfaceError: what unpacks it is not installed, or its modules are in a package that is not here.

    """
    parts = _parts(package)
    digest = hashlib.sha256()
    for part in parts:
        with part.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    identity = digest.hexdigest()[:20]
    place = (cache or cache_directory()) / ".packages" / identity
    if not place.is_dir():
        with laid_out(place) as root:
            for part in parts:
                _unpack(part, root)
            put_in_place(root, _release(root, package))
    return KernelImage(place / "boot" / f"vmlinuz-{_release(place, package)}", _release(place, package))


def _parts(package: Path) -> list[Path]:
    """Return the package and those beside it that are parts of the same kernel."""
    pattern = _DEB if package.suffix == ".deb" else _RPM
    mine = pattern.fullmatch(package.name)
    if mine is None:
        return [package]
    found = ((path, pattern.fullmatch(path.name)) for path in sorted(package.parent.glob(f"*{package.suffix}")))
    beside = [
        path
        for path, match in found
        if match is not None
        and match["version"] == mine["version"]
        and not any(word in match["kind"] for word in _UNWANTED)
        and path != package
    ]
    return [package, *beside]


def _unpack(package: Path, root: Path) -> None:
    if package.suffix == ".deb":
        need("dpkg-deb", "depmod", what="a Debian package", instead="give --kernel a build tree")
        run(["dpkg-deb", "-x", str(package), str(root)])
        return
    need("bsdtar", "depmod", what="an RPM package", instead="install it (apt-get install libarchive-tools)")
    run(["bsdtar", "-x", "-f", str(package), "-C", str(root)])


def _release(root: Path, package: Path) -> str:
    """Return the release of the kernel below ``root``: the one folder of modules with an image.

    Raises:
        InputError, MissingInterfaceError: see ``kernel_of_package``.

    """
    folders = {path.name: path for place in ("usr/lib/modules", "lib/modules") for path in (root / place).glob("*")}
    images = [path.name.removeprefix("vmlinuz-") for path in (root / "boot").glob("vmlinuz-*")]
    images += [name for name, path in folders.items() if (path / "vmlinuz").is_file()]
    if not images:
        raise InputError("this package holds no kernel image for x86", str(package))
    release = images[0]
    if not any(_has_modules(folders[name]) for name in folders if name == release):
        raise MissingInterfaceError(f"{package} has no modules; put the package with those of {release} beside it")
    return release


def _has_modules(folder: Path) -> bool:
    return next((path for path in folder.rglob("*.ko*")), None) is not None
