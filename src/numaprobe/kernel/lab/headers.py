"""What a module is built against: the headers of the very kernel that a guest boots.

A build tree is its own. A kernel of a distribution has them in another package: where that is installed,
``lib/modules/REL/build`` leads to it; where the kernel was fetched, Debian's ``linux-headers-REL`` is fetched too, with
the packages of the release that it needs, and unpacked beside it. Its files name each other by their places below
``/usr/src``; these are rewritten to where they lie. The programs in them (``fixdep``, ``modpost``, ``objtool``) may ask
for a newer C library than this system's: then the one that they were built for is fetched as well, and they run with
it, as ld.so(8) lets any program. Nothing is installed.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from numaprobe.errors import MissingInterfaceError, RefusedError
from numaprobe.kernel.lab.fetch import apt_options, package_depends, package_versions
from numaprobe.kernel.lab.layout import laid_out, need, run
from numaprobe.kernel.lab.tools import cache_directory
from numaprobe.kernel.lab.trees import build_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numaprobe.kernel.lab.tools import KernelImage

_FOLDER: Final = ".headers"
_NEEDED: Final = re.compile(r"\blinux-(?:headers|kbuild)-[\w.+~-]+", re.ASCII)
_PATHS: Final = re.compile(r"(?<![\w/])/usr/(?=src/|lib/linux-kbuild)", re.ASCII)
_ELF: Final = b"\x7fELF"
_VERSION: Final = re.compile(rb"GLIBC_2\.(\d+)", re.ASCII)
#: the C library and what the programs of a kernel's headers use besides
_LIBRARIES: Final = ("libc6", "libelf1t64", "zlib1g", "libzstd1")
_LOADER: Final = "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
#: a program under the C library that it was built for; it finds its parts by its own name
_WRAPPER: Final = '#!/bin/sh\nexec "{loader}" --argv0 "$0" --library-path "{folder}" "$0.bin" "$@"\n'


def headers_of(image: KernelImage, cache: Path | None = None, told: Callable[[str], object] = lambda _: None) -> Path:
    """Return the folder that ``make -C`` is called with to build a module for a kernel.

    Args:
        image: the kernel.
        cache: where headers are unpacked; None: the user's cache directory.
        told: gets a line before something that takes a while.

    Raises:
        MissingInterfaceError: there are none; the text says how to get them.
        RefusedError: they could not be fetched.

    """
    cache = cache or cache_directory()
    if image.tree is not None:
        return _of_tree(image, image.tree)
    installed = image.modules / "build"
    if (installed / "Makefile").is_file() and (installed / "Module.symvers").is_file():
        return installed
    place = cache / _FOLDER / image.release
    folder = place / "usr/src" / f"linux-headers-{image.release}"
    if not (folder / "Module.symvers").is_file():
        _fetch(image.release, place, cache, told)
    return folder


def _of_tree(image: KernelImage, tree: Path) -> Path:
    if not (tree / "Module.symvers").is_file():
        raise MissingInterfaceError(f"{tree} has no Module.symvers; build its modules: make -j$(nproc) modules")
    if build_id(tree) != image.build_id:
        raise MissingInterfaceError(f"{tree} was built again since its kernel was taken; build {image.release} again")
    return tree


def _fetch(release: str, place: Path, cache: Path, told: Callable[[str], object]) -> None:
    name = f"linux-headers-{release}"
    where = "the test module is built against the kernel's headers"
    need("apt-get", "apt-cache", "dpkg-deb", what=f"{where}, and fetching Debian's", instead=_instead(release))
    found = next(_offers(name, cache), None)
    if found is None:
        raise MissingInterfaceError(f"{where}, and no suite of Debian's on your mirror has {name}; {_instead(release)}")
    options, version = found
    told(f"fetching the headers of {release} (about 17 MB)")
    depends = package_depends(f"{name}={version}", options)
    parts = [part for part in dict.fromkeys(_NEEDED.findall(depends)) if part != name]
    with laid_out(place) as root:
        _download([f"{name}={version}", *parts], root, options)
        _move(root, place)
        if not _runs(root):
            _with_libraries(root, place, cache)


def _instead(release: str) -> str:
    return f"put them where lib/modules/{release}/build leads to, or give --kernel a build tree"


def _offers(name: str, cache: Path) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the options with which apt has a package, and its version: its own sources first, then Debian's suites."""
    for options in apt_options(cache):
        for version in package_versions(name, options):
            yield options, version


def _download(packages: list[str], root: Path, options: tuple[str, ...]) -> None:
    run(["apt-get", *options, "download", *packages], cwd=root)
    archives = sorted(root.glob("*.deb"))
    if len(archives) < len(packages):
        raise RefusedError(f"apt-get download {' '.join(packages)} did not bring every package")
    for archive in archives:
        run(["dpkg-deb", "-x", str(archive), str(root)])
        archive.unlink()


def _move(root: Path, place: Path) -> None:
    """Have the files name each other by the places where they will lie."""
    for folder in sorted((root / "usr/src").iterdir()):
        for name in ("Makefile", ".kernelvariables"):
            file = folder / name
            if file.is_file() and not file.is_symlink():
                text = file.read_text(encoding="utf-8", errors="surrogateescape")
                file.write_text(_PATHS.sub(f"{place}/usr/", text), encoding="utf-8", errors="surrogateescape")
    for path in root.rglob("*"):
        if path.is_symlink() and (target := str(path.readlink())).startswith("/usr/"):
            path.unlink()
            path.symlink_to(f"{place}{target}")


# ---- programs that ask for a newer C library -----------------------------------------------------------------------
def _programs(root: Path) -> list[Path]:
    found = []
    for folder in (root / "usr/lib").glob("linux-kbuild-*"):
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink() and os.access(path, os.X_OK):
                with path.open("rb") as file:
                    if file.read(4) == _ELF:
                        found.append(path)
    return found


def _runs(root: Path) -> bool:
    """Tell whether the programs run here: they name the versions of the C library that they ask for."""
    asked = [int(found) for program in _programs(root) for found in _VERSION.findall(program.read_bytes())]
    here = re.match(r"glibc 2\.(\d+)", os.confstr("CS_GNU_LIBC_VERSION") or "")
    return here is None or max(asked, default=0) <= int(here[1])


def _with_libraries(root: Path, place: Path, cache: Path) -> None:
    *_, options = apt_options(cache)
    libraries = root / "libraries"
    libraries.mkdir()
    newest = {name: next(iter(package_versions(name, options)), None) for name in _LIBRARIES}
    _download([f"{name}={version}" for name, version in newest.items() if version], libraries, options)
    if not (libraries / _LOADER).is_file():
        raise RefusedError(
            "the programs of these headers need a newer C library than this system's, and none was found"
        )
    loader = place / "libraries" / _LOADER
    for program in _programs(root):
        real = program.with_name(f"{program.name}.bin")
        program.rename(real)
        program.write_text(_WRAPPER.format(loader=loader, folder=loader.parent), encoding="utf-8")
        program.chmod(0o755)
