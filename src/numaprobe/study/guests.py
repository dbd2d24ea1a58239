"""How a guest is booted, and where its files go: a folder of our own, from which they are copied to the user's.

The guest never sees the user's folder, nor does any shell its name (``kernel/lab/stage.py``). Without a folder to keep
them in, ours is removed unless the guest failed: then the error names it.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numaprobe.errors import InputError, NumaprobeError, RefusedError
from numaprobe.kernel.lab import tools
from numaprobe.kernel.lab.choose import choose_kernel
from numaprobe.kernel.lab.stage import bring_home, private_folder
from numaprobe.records import make_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: what would be taken for this guest's if an earlier one had left it
_RESULTS = ("status", "trace.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Booting:
    """A guest is about to be booted: what, and where its console can be watched."""

    release: str
    console: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestOptions:
    """What every guest of a call has in common; see ``guest_options``."""

    image: tools.KernelImage
    tools: tools.Tools
    #: seconds after which a guest is ended
    timeout: float
    #: its console, scripts and the kernel's text are kept here
    keep: Path | None = None
    #: the processor's virtualisation, where that works
    kvm: bool = False

    @contextmanager
    def guest(self, told: Callable[[Booting], object] | None = None) -> Iterator[dict[str, Any]]:
        """Make the folder of one guest; give it and the options as the functions of ``kernel.lab`` take them.

        Args:
            told: called before the boot.

        Raises:
            InputError: what the guest left cannot be copied to ``keep``.

        """
        with _GuestFolder(self.keep) as folder:
            if told is not None:
                told(Booting(release=self.image.release, console=folder / "console.log"))
            shared = {"kernel": self.image, "tools": self.tools, "timeout": self.timeout, "kvm": self.kvm}
            yield {"folder": folder, **shared}


def guest_options(
    kernel: str | None = None,
    *,
    timeout: float,
    keep: Path | None = None,
    kvm: bool = False,
    told: Callable[[str], object] = lambda _: None,
) -> GuestOptions:
    """Find what guests are booted with.

    Args:
        kernel: an image, a build tree, a package, a release: see ``kernel.lab.choose``; None: the newest that is here.
        timeout: see ``GuestOptions``; seconds.
        keep: see ``GuestOptions``.
        kvm: see ``GuestOptions``.
        told: gets a line before something that takes minutes: a kernel is fetched, or built.

    Raises:
        InputError: the kernel cannot be a guest.
        MissingInterfaceError: a program or a kernel is not here; the text says how to get it.
        RefusedError: the kernel could not be fetched, unpacked or built.

    """
    return GuestOptions(
        tools=tools.find_tools(), image=choose_kernel(kernel, told), timeout=timeout, keep=keep, kvm=kvm
    )


class _GuestFolder:
    """A folder for a guest's files; what is in it ends up in the user's folder, if there is one."""

    def __init__(self, keep: Path | None) -> None:
        self._keep = keep
        if keep is not None:
            make_folder(keep)
            for old in (keep / name for name in _RESULTS):
                if old.is_file() and not old.is_symlink():
                    old.unlink()
        self._folder = private_folder("numaprobe-lab-")

    def __enter__(self) -> Path:
        return self._folder

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if self._keep is None:
            if not isinstance(error, NumaprobeError):
                shutil.rmtree(self._folder, ignore_errors=True)
            return
        try:
            bring_home(self._folder, self._keep)
        except (InputError, OSError) as failure:
            raise InputError(f"{failure}; what the guest left is in {self._folder}", str(self._keep)) from None
        shutil.rmtree(self._folder, ignore_errors=True)
        if isinstance(error, RefusedError):  # it names the console in our folder, which is gone
            raise RefusedError(str(error).replace(str(self._folder), str(self._keep))) from None
