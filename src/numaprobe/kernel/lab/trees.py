"""A kernel that was just built: the tree, or the directory given as ``O=``, where ``make`` put its results.

A build tree says itself what it is: ``include/config/kernel.release`` (``uname -r``), ``.config``, ``modules.order``
(every module, in link order; Documentation/kbuild/kbuild.rst), ``modules.builtin`` and the image that x86 boots.
Nothing is run in it and nothing written there: the image is copied, and the modules without what debuggers want, into a
layout in the cache directory, as ``make modules_install INSTALL_MOD_STRIP=1`` would have them. (They are not linked: a
later build writes into the same files.) The layout is named by the kernel's *build id*, the digest that the linker puts
into ``vmlinux`` (note ``NT_GNU_BUILD_ID``, elf(5); a booted kernel shows it in ``/sys/kernel/notes``): two builds of
one release are two kernels, and what did not change since is taken as it lies there.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import Final

from numaprobe.errors import InputError, MissingInterfaceError
from numaprobe.kernel.lab.config import check_config
from numaprobe.kernel.lab.layout import laid_out, need, put_in_place, run
from numaprobe.kernel.lab.tools import KernelImage, cache_directory

_RELEASE: Final = Path("include/config/kernel.release")
_IMAGE: Final = Path("arch/x86/boot/bzImage")
_NAME: Final = re.compile(r"\d+\.\d+[\w.+~-]*", re.ASCII)
#: how ``readelf -n`` names the note; vmlinux holds others in its data, of the vDSO, which are no sections of it
_BUILD_ID: Final = re.compile(r"Build ID: ([0-9a-f]{16,128})", re.ASCII)
_DIGITS: Final = 40
#: Layouts of trees that are kept; an older one is made again when it is asked for.
_KEPT: Final = 8


def tree_of(path: Path) -> Path | None:
    """Return the build tree that ``path`` is, or that its image is in; None: neither."""
    return next((place for place in (path, *path.parents) if (place / _RELEASE).is_file()), None)


def is_source_tree(path: Path) -> bool:
    """Tell whether ``path`` is a kernel's source tree, built or not."""
    return (path / "Kbuild").is_file() and (path / "drivers/base/dd.c").is_file()


def kernel_of_tree(tree: Path, cache: Path | None = None) -> KernelImage:
    """Return the kernel that was built in ``tree``, laid out in the cache directory.

    Args:
        tree: see ``tree_of``.
        cache: where; None: the user's cache directory.

    Raises:
        InputError: not a build for x86-64, or its configuration lacks what a guest needs.
        MissingInterfaceError: it was not built to its end.

    """
    tree = tree.absolute()
    release = (tree / _RELEASE).read_text(encoding="utf-8", errors="replace").strip()
    if not _NAME.fullmatch(release):
        raise InputError(f"{_RELEASE} holds no release: {release[:60]!r}", str(tree))
    config = tree / ".config"
    if not config.is_file():
        raise MissingInterfaceError(f"{tree} has no .config: is the build's directory another one (O=)?")
    check_config(config.read_text(encoding="utf-8", errors="replace"), str(config))
    if not (tree / _IMAGE).is_file():
        raise MissingInterfaceError(f"{tree} has no {_IMAGE}; build it: make -j$(nproc) bzImage modules")
    identity = build_id(tree)
    place = (cache or cache_directory()) / ".trees" / f"{identity[:20]}-{_newest(tree)}"
    if not (place / "lib/modules" / release / "modules.dep").is_file():
        need("depmod", "strip", what="taking a built kernel", instead="install kmod and binutils with apt-get")
        with laid_out(place) as root:
            _take(tree, root, release)
        _forget_old(place)
    os.utime(place)
    return KernelImage(place / "boot" / f"vmlinuz-{release}", release, build_id=identity, tree=tree)


def build_id(tree: Path) -> str:
    """Return the build id of the tree's ``vmlinux``; where there is none, the image's digest, cut to as many digits."""
    vmlinux = tree / "vmlinux"
    if vmlinux.is_file():
        note = _BUILD_ID.search(run(["readelf", "--notes", str(vmlinux)], check=False))
        if note is not None:
            return note[1]
    with (tree / _IMAGE).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:_DIGITS]


def _newest(tree: Path) -> int:
    """Return when modules or image were last made, in seconds: a module may change while vmlinux does not."""
    times = [(tree / _IMAGE).stat().st_mtime, *(module.stat().st_mtime for module in _modules(tree))]
    return int(max(times))


def _modules(tree: Path) -> list[Path]:
    """Return the tree's modules; ``modules.order`` names objects since 6.6 and modules before.

    Raises:
        MissingInterfaceError: one was not built.

    """
    order = tree / "modules.order"
    if not order.is_file():
        return []
    names = (line.strip() for line in order.read_text(encoding="utf-8").splitlines())
    found = [tree / Path(name).with_suffix(".ko") for name in names if name and not name.startswith(("/", ".."))]
    missing = next((module for module in found if not module.is_file()), None)
    if missing is not None:
        raise MissingInterfaceError(f"{missing} was not built; build it: make -j$(nproc) modules")
    return found


def _take(tree: Path, root: Path, release: str) -> None:
    (root / "boot").mkdir()
    shutil.copyfile(tree / _IMAGE, root / "boot" / f"vmlinuz-{release}")
    modules = root / "lib/modules" / release
    for module in _modules(tree):
        target = modules / "kernel" / module.relative_to(tree)
        target.parent.mkdir(parents=True, exist_ok=True)
        run(["strip", "--strip-debug", "-o", str(target), str(module)])
    modules.mkdir(parents=True, exist_ok=True)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        if (tree / name).is_file():
            shutil.copyfile(tree / name, modules / name)
    put_in_place(root, release)


def _forget_old(newest: Path) -> None:
    places = sorted(newest.parent.iterdir(), key=lambda place: place.stat().st_mtime, reverse=True)
    for place in places[_KEPT:]:
        if place != newest:
            shutil.rmtree(place, ignore_errors=True)
