"""The programs and kernels that the lab needs, found or fetched.

QEMU, busybox and depmod come from the distribution; virtme-ng (``vng``) from there or from PyPI, then beside this
Python. A kernel is an image ``vmlinuz-RELEASE`` in a ``boot`` directory, with its modules in ``lib/modules/RELEASE``
beside that: the system's own (``/boot``), or one that was unpacked into the cache directory, which changes nothing.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe.errors import MissingInterfaceError
from numaprobe.runtime.release import Release, parse_release

if TYPE_CHECKING:
    from collections.abc import Sequence

_IMAGE: Final = re.compile(r"vmlinuz-(\d+\.\d+[\w.+~-]*)", re.ASCII)
#: system administration programs are not in everybody's PATH
SYSTEM_PATHS: Final = ("/usr/local/sbin", "/usr/sbin", "/sbin")

_HINTS: Final = {
    "vng": "install virtme-ng (pip install virtme-ng, or apt-get install virtme-ng)",
    "qemu-system-x86_64": "install QEMU (apt-get install qemu-system-x86)",
    "busybox": "install a static busybox (apt-get install busybox-static)",
    "depmod": "install kmod (apt-get install kmod)",
}


@dataclass(frozen=True, slots=True)
class KernelImage:
    """A kernel that can be booted."""

    path: Path
    #: ``uname -r``
    release: str
    #: of a kernel that was built here: the digest that tells it from others of its release (``trees``)
    build_id: str | None = None
    #: where it was built, with headers and symbols for further modules
    tree: Path | None = None

    @property
    def modules(self) -> Path:
        """Where its modules are."""
        return self.path.parent.parent / "lib/modules" / self.release

    @property
    def built_in(self) -> frozenset[str]:
        """What would be modules elsewhere and is in the image itself, by the names of the modules: ``virtio_blk``.

        ``modules.builtin`` has a line for each: ``kernel/drivers/char/hw_random/virtio-rng.ko``.
        """
        file = self.modules / "modules.builtin"
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else ()
        return frozenset(Path(line).stem.replace("-", "_") for line in lines)

    @property
    def version(self) -> Release:
        """Major and minor number; 0.0 if its name has none."""
        return parse_release(self.release) or Release(0, 0)


@dataclass(frozen=True, slots=True)
class Tools:
    """What a guest is booted with."""

    vng: Path
    #: PATH for it: virtme-ng calls programs of its own, QEMU, busybox and depmod
    path: str


def cache_directory() -> Path:
    """Return where fetched kernels are unpacked: ``$XDG_CACHE_HOME/numaprobe/kernels``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "numaprobe" / "kernels"


def find_tools(search: str | None = None) -> Tools:
    """Return the programs of the lab.

    Args:
        search: directories to look in, as in PATH; None: PATH, this Python's own and the system's.

    Raises:
        MissingInterfaceError: one is not installed; the text says how to get it.

    """
    if search is None:
        own = str(Path(sys.executable).parent)
        search = os.pathsep.join((own, os.environ.get("PATH", ""), *SYSTEM_PATHS))
    found = {name: shutil.which(name, path=search) for name in _HINTS}
    missing = [hint for name, hint in _HINTS.items() if found[name] is None]
    if missing:
        raise MissingInterfaceError(f"the lab cannot run here: {'; '.join(missing)}")
    return Tools(Path(str(found["vng"])).absolute(), search)


def installed_kernels(roots: Sequence[Path] | None = None) -> tuple[KernelImage, ...]:
    """Return the kernels with modules below ``roots`` (``/`` and the fetched ones), the oldest first."""
    if roots is None:
        cache = cache_directory()
        roots = (Path("/"), *(sorted(cache.iterdir()) if cache.is_dir() else ()))
    images = [
        KernelImage(path, match[1])
        for root in roots
        for path in sorted((root / "boot").glob("vmlinuz-*"))
        if (match := _IMAGE.fullmatch(path.name))
    ]
    return tuple(sorted((image for image in images if image.modules.is_dir()), key=lambda image: image.version))


def find_kernel(wanted: str | None = None, roots: Sequence[Path] | None = None) -> KernelImage:
    """Return the kernel to boot.

    Args:
        wanted: an image file, or the beginning of a release (``6.12``); None: the newest that is there.
        roots: where to look; None: this system and the fetched ones.

    Raises:
        MissingInterfaceError: there is none, or it has no modules.

    """
    if wanted is not None and "/" in wanted:
        return _given(Path(wanted))
    known = installed_kernels(roots)
    fitting = [image for image in known if wanted is None or _begins(image.release, wanted)]
    if fitting:
        return fitting[-1]
    there = f"; there are {', '.join(image.release for image in known)}" if known else ""
    series = wanted or "6.1"
    raise MissingInterfaceError(
        f"no kernel{f' {wanted}' if wanted else ''} to boot{there}; fetch one: numaprobe lab --fetch {series}"
    )


def _begins(release: str, wanted: str) -> bool:
    return release == wanted or re.match(re.escape(wanted) + r"(?!\d)", release) is not None


def _given(path: Path) -> KernelImage:
    match = _IMAGE.fullmatch(path.name)
    if not path.is_file():
        raise MissingInterfaceError(f"there is no kernel image {path}")
    if match is None:
        raise MissingInterfaceError(f"{path}: name the image vmlinuz-RELEASE, so that its modules can be found")
    image = KernelImage(path.absolute(), match[1])
    if not (image.modules / "modules.dep").is_file():
        root = shlex.quote(str(image.path.parent.parent))
        raise MissingInterfaceError(f"{image.modules} has no modules.dep; run depmod -b {root} {image.release}")
    return image
