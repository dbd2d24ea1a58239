"""The lab's own module, built for the kernel that a guest boots.

``module/`` beside this file is a kernel module of ours, under a licence that is the kernel's and this project's:
devices and drivers that do what a scenario says (its ``lab.h`` begins with what it is). It is built out of tree as any
other (Documentation/kbuild/modules.rst), once for each kernel: what was built is kept by the digest of our sources, of
the kernel's configuration and of its symbols' versions. Nothing is ever loaded here; only guests load it.

A kernel may have been built by a newer compiler than this system's. Then the options that only that one takes are left
out, as the kernel's own configuration would without it; and the type information for BPF is left out always.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Final

from numaprobe.errors import RefusedError
from numaprobe.kernel.lab.headers import headers_of
from numaprobe.kernel.lab.layout import laid_out, need, run
from numaprobe.kernel.lab.tools import cache_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numaprobe.kernel.lab.tools import KernelImage

MODULE: Final = "numaprobe_lab.ko"
_FOLDER: Final = ".modules"
#: what a configuration may have found in its compiler, and how ours is asked for it
_OPTIONS: Final = {"CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT": "-fmin-function-alignment=16"}
_COMPILER: Final = re.compile(r'CONFIG_CC_VERSION_TEXT="(?P<name>[\w.-]+)', re.ASCII)
_FAILURE: Final = re.compile(r"^.*(?:error: |\*\*\* |ERROR: modpost: ).*$", re.MULTILINE)


def built_module(image: KernelImage, cache: Path | None = None, told: Callable[[str], object] = lambda _: None) -> Path:
    """Return the module, built for a kernel unless it was built before.

    Args:
        image: the kernel.
        cache: where modules are kept; None: the user's cache directory.
        told: gets a line before something that takes a while.

    Raises:
        MissingInterfaceError: no compiler, no make, or no headers; the text says how to get them.
        RefusedError: it does not build; the text has the compiler's first words.

    """
    need("make", "gcc", "strip", what="building the test module", instead="install it: make lab-build")
    cache = cache or cache_directory()
    headers = headers_of(image, cache, told)
    with as_file(files("numaprobe.kernel.lab").joinpath("module")) as sources:
        place = cache / _FOLDER / _digest(sources, headers, image)
        if not (place / MODULE).is_file():
            told(f"building the test module for {image.release}")
            _build(sources, headers, place)
    return place / MODULE


def _digest(sources: Path, headers: Path, image: KernelImage) -> str:
    """Return what a module that was built is known by."""
    digest = hashlib.sha256(f"{image.release} {image.build_id}".encode())
    for path in (*sorted(sources.iterdir()), headers / ".config", headers / "Module.symvers"):
        if path.is_file():
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:20]


def _build(sources: Path, headers: Path, place: Path) -> None:
    with laid_out(place) as root:
        work = root / "source"
        shutil.copytree(sources, work)
        command = ["make", "-s", "-C", str(headers), f"M={work}", *_settings(headers), "modules"]
        done = subprocess.run(  # noqa: S603  make, and paths; no shell
            command,
            env={**os.environ, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        built = work / MODULE
        if done.returncode or not built.is_file():
            raise RefusedError(f"the test module does not build against {headers}: {_reason(done)}")
        run(["strip", "--strip-debug", "-o", str(root / MODULE), str(built)])
        shutil.rmtree(work)


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    said = f"{done.stderr}\n{done.stdout}"
    match = _FAILURE.search(said)
    lines = [line for line in said.splitlines() if line.strip()]
    return (match[0] if match else lines[-1] if lines else "make said nothing").strip()[:300]


def _settings(headers: Path) -> Iterator[str]:
    """Yield what make is told besides: the compiler, and which of the configuration's findings ours does not share."""
    config = headers / ".config"
    text = config.read_text(encoding="utf-8", errors="replace") if config.is_file() else ""
    named = _COMPILER.search(text)
    compiler = named["name"] if named is not None and shutil.which(named["name"]) else "gcc"
    yield f"CC={compiler}"
    yield "CONFIG_DEBUG_INFO_BTF_MODULES="
    for option, flag in _OPTIONS.items():
        if f"{option}=y" in text and not _takes(compiler, flag):
            yield f"{option}="


def _takes(compiler: str, flag: str) -> bool:
    tried = [compiler, flag, "-x", "c", "-c", "-o", os.devnull, os.devnull]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0  # noqa: S603  a compiler, by its name
