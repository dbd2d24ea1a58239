"""Which kernel is meant by ``--kernel``: a word becomes an image with its modules.

=========================== ==========================================================================================
a release, or its beginning the newest of them that is installed or fetched; Debian's series are fetched
a directory                 a build tree (``trees``)
an image in a build tree    the tree's kernel: ``arch/x86/boot/bzImage``, ``vmlinux``
another image               ``boot/vmlinuz-REL`` with its modules in ``lib/modules/REL`` beside ``boot``
``*.deb``, ``*.rpm``        a package, unpacked (``packages``)
``TREE@REVISION``           a commit or tag of a git tree, built (``build``)
=========================== ==========================================================================================
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe.errors import MissingInterfaceError
from numaprobe.kernel.lab import fetch, packages, tools, trees
from numaprobe.kernel.lab.build import built_revision, clone_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.kernel.lab.tools import KernelImage

_SERIES: Final = re.compile(r"\d{1,2}\.\d{1,3}", re.ASCII)
_REVISION: Final = re.compile(r"(?P<tree>.+)@(?P<revision>[\w./~^-]+)", re.ASCII)


def choose_kernel(wanted: str | None = None, told: Callable[[str], object] = lambda _: None) -> KernelImage:
    """Return the kernel that a word stands for.

    Args:
        wanted: see this file's head; None: the newest that is installed or fetched.
        told: gets a line before something that takes minutes.

    Raises:
        InputError: it is none, or cannot be a guest.
        MissingInterfaceError: it is not here, or what unpacks or builds it is not.
        RefusedError: fetching, unpacking or building failed.

    """
    if wanted is None:
        return tools.find_kernel(None)
    path = Path(wanted).expanduser()
    if path.exists():
        return _kernel_at(path)
    revision = _REVISION.fullmatch(wanted)
    if revision is not None and Path(revision["tree"]).expanduser().is_dir():
        clone = clone_of(Path(revision["tree"]).expanduser(), told=told)
        return built_revision(clone, clone.commit_of(revision["revision"]), told=told)
    if _SERIES.fullmatch(wanted) and not _is_here(wanted):
        told(f"kernel {wanted} is not here: fetching Debian's")
        return fetch.fetch_kernel(wanted)
    return tools.find_kernel(wanted)


def _kernel_at(path: Path) -> KernelImage:
    """Return the kernel of a path that exists.

    Raises:
        MissingInterfaceError: there is none.

    """
    path = path.absolute()
    if path.suffix in packages.SUFFIXES:
        return packages.kernel_of_package(path)
    tree = trees.tree_of(path)
    if tree is not None:
        return trees.kernel_of_tree(tree)
    if path.is_dir():
        built = "a kernel's source that was not built here; build it, or give the directory of O=, or TREE@REVISION"
        raise MissingInterfaceError(f"{path} is {built if trees.is_source_tree(path) else 'no build tree of a kernel'}")
    return tools.find_kernel(str(path))


def _is_here(series: str) -> bool:
    try:
        tools.find_kernel(series)
    except MissingInterfaceError:
        return False
    return True
