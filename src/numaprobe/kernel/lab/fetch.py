"""Fetching a kernel of Debian's with apt, without installing it.

The series is looked for in apt's own sources first. If they do not have it (a bookworm has no 7.x and no 5.10), it is
looked for in Debian's other suites, on the mirror that this system uses anyway, through an apt configuration of our own
below the cache directory: the system's lists, pins and sources stay as they are.

A kernel is one package (``linux-image-REL``), or, since 7.x, that package and those of the same release that it depends
on (``linux-binary-REL``, ``linux-modules-REL``, …), with everything below ``usr/lib``. They are unpacked with
``dpkg-deb -x`` and laid out alike: ``boot/vmlinuz-REL``, ``lib/modules/REL``, indexed by ``depmod -b``. Nothing on this
system changes: no boot entry, no installed package.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from numaprobe.errors import InputError, MissingInterfaceError, RefusedError
from numaprobe.kernel.lab.layout import laid_out, need, put_in_place, run
from numaprobe.kernel.lab.tools import KernelImage, cache_directory, find_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SERIES: Final = re.compile(r"\d{1,2}\.\d{1,3}", re.ASCII)
_IMAGE: Final = re.compile(r"\blinux-image-(\d[\w.+~-]*)", re.ASCII)
#: suites that hold kernels from 5.10 on, the newest last; ``-security`` ones are in an archive of their own
_SUITES: Final = (
    *("bullseye", "bullseye-security", "bookworm", "bookworm-backports"),
    *("trixie", "trixie-backports", "sid"),
)
_SECURITY: Final = "-security"
_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
#: seconds after which our own lists are fetched again
_LISTS_AGE: Final = 24 * 3600


class _Kernel(NamedTuple):
    """A kernel that apt offers."""

    release: str
    #: ``NAME=VERSION`` of each package that it is made of
    packages: tuple[str, ...]


def fetch_kernel(series: str, cache: Path | None = None) -> KernelImage:
    """Fetch Debian's newest kernel of ``series`` (``5.10``, ``6.1``, ``7.3``) and return it.

    Args:
        series: major and minor number.
        cache: where to unpack; None: the user's cache directory.

    Raises:
        InputError: ``series`` is none.
        MissingInterfaceError: no apt here, or no suite of Debian's offers the series.
        RefusedError: fetching or unpacking failed.

    """
    if not _SERIES.fullmatch(series):
        raise InputError(f"'{series[:40]}' is no kernel series; write for example 6.1 or 6.12")
    need(
        *("apt-cache", "apt-get", "dpkg-deb", "depmod"),
        what="fetching kernels (from Debian)",
        instead="give --kernel with a package, an image or a build tree",
    )
    cache = cache or cache_directory()
    options: tuple[str, ...] = ()
    kernel = None
    for options in apt_options(cache):
        kernel = _offered(series, options)
        if kernel is not None:
            break
    if kernel is None:
        raise MissingInterfaceError(f"no suite of Debian's on your mirror offers a kernel {series}; is apt up to date?")
    folder = cache / kernel.release
    if not (folder / "lib/modules" / kernel.release / "modules.dep").is_file():
        _unpack(kernel, folder, options)
    return find_kernel(str(folder / "boot" / f"vmlinuz-{kernel.release}"))


# ---- what apt offers -----------------------------------------------------------------------------------------------
def apt_options(cache: Path) -> Iterator[tuple[str, ...]]:
    """Yield the options with which apt looks in its own sources, then in Debian's other suites.

    Raises:
        MissingInterfaceError: the system's sources name no mirror of Debian's.

    """
    yield ()
    yield _other_suites(cache / ".apt")


def _offered(series: str, options: Sequence[str]) -> _Kernel | None:
    """Return the newest kernel of ``series`` that apt knows with these options."""
    for meta in (f"linux-image-{series}-amd64", "linux-image-amd64"):
        for version in package_versions(meta, options):
            match = (
                _IMAGE.search(package_depends(f"{meta}={version}", options))
                if version.startswith(f"{series}.")
                else None
            )
            if match is not None:
                return _Kernel(match[1], _parts(match[0], match[1], version, options))
    return None


def package_versions(package: str, options: Sequence[str]) -> list[str]:
    """Return the versions of a package, the newest first; the lines read ``NAME | VERSION | SOURCE``."""
    rows = [line.split("|") for line in run(["apt-cache", *options, "madison", package], check=False).splitlines()]
    return [row[1].strip() for row in rows if len(row) > 1]


def package_depends(package: str, options: Sequence[str]) -> str:
    """Return the line that says what a package (``NAME=VERSION``) depends on."""
    shown = run(["apt-cache", *options, "show", package], check=False).splitlines()
    return " ".join(line for line in shown if line.startswith("Depends:"))


def _parts(image: str, release: str, version: str, options: Sequence[str]) -> tuple[str, ...]:
    """Return the image's package and those of its release that it needs."""
    needed = re.findall(
        rf"\b(linux-[a-z]+-{re.escape(release)})(?=[\s,(]|$)", package_depends(f"{image}={version}", options)
    )
    return tuple(f"{name}={version}" for name in dict.fromkeys((image, *needed)))


def _other_suites(place: Path) -> tuple[str, ...]:
    """Return the options with which apt reads Debian's other suites, with lists of our own below ``place``."""
    lists = place / "lists"
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    (place / "archives/partial").mkdir(parents=True, exist_ok=True)
    sources = place / "sources.list"
    options = [f"Dir::Etc::SourceList={sources}", "Dir::Etc::SourceParts=-", "Dir::Etc::PreferencesParts=-"]
    options += [f"Dir::State::Lists={lists}", f"Dir::Cache={place}", "Dir::State::Status=/dev/null"]
    chosen = tuple(word for option in options for word in ("-o", option))
    fresh = sources.is_file() and time.time() - sources.stat().st_mtime < _LISTS_AGE
    if not fresh:
        sources.write_text("".join(f"{line}\n" for line in _source_lines()), encoding="ascii")
        run(["apt-get", *chosen, "-qq", "update"], check=False)  # a suite that is gone must not hide the others
    return chosen


def _source_lines() -> list[str]:
    """Return a line for each suite, on the mirror that the system's own sources name."""
    listing = run(["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)"], check=False).splitlines()
    sites = dict.fromkeys(site for origin, _, site in (line.partition(" ") for line in listing) if origin == "Debian")
    plain = next((site for site in sites if _SECURITY not in site), None)
    if plain is None:
        raise MissingInterfaceError("apt's sources name no mirror of Debian's; give --kernel IMAGE instead")
    security = next((site for site in sites if _SECURITY in site), None)
    signed = f"[signed-by={_KEYRING}] " if _KEYRING.is_file() else ""
    wanted = ((security if suite.endswith(_SECURITY) else plain, suite) for suite in _SUITES)
    return [f"deb {signed}{site} {suite} main" for site, suite in wanted if site is not None]


# ---- unpacking -----------------------------------------------------------------------------------------------------
def _unpack(kernel: _Kernel, folder: Path, options: Sequence[str]) -> None:
    with laid_out(folder) as root:
        run(["apt-get", *options, "download", *kernel.packages], cwd=root)
        archives = sorted(root.glob("*.deb"))
        if not archives:
            raise RefusedError(f"apt-get download {' '.join(kernel.packages)} brought no package")
        for archive in archives:
            run(["dpkg-deb", "-x", str(archive), str(root)])
            archive.unlink()
        put_in_place(root, kernel.release)
