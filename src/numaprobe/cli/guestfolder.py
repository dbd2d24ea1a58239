"""Where a guest's files go: a folder of our own, from which they are copied to the user's.

The guest never sees the user's folder, nor does any shell its name (``kernel/lab/stage.py``). Without ``--keep`` our
folder is removed unless the guest failed: then the error names it.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from numaprobe.errors import InputError, NumaprobeError, RefusedError
from numaprobe.kernel.lab.stage import bring_home, private_folder
from numaprobe.records import make_folder

if TYPE_CHECKING:
    from pathlib import Path

#: what would be taken for this guest's if an earlier one had left it
_RESULTS = ("status", "trace.json")


class guest_folder:  # noqa: N801  used like a function: with guest_folder(keep) as folder
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
