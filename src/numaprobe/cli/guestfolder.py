"""Where a guest's files go: the user's folder, or one of our own that is kept only if the guest failed."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from numaprobe.errors import NumaprobeError
from numaprobe.records import make_folder


class guest_folder:  # noqa: N801  used like a function: with guest_folder(keep) as folder
    """A folder for a guest's files: the user's, or one that is removed unless the guest failed."""

    def __init__(self, folder: Path | None) -> None:
        self._own = folder is None
        self._folder = folder or Path(tempfile.mkdtemp(prefix="numaprobe-lab-"))

    def __enter__(self) -> Path:
        if not self._own:
            make_folder(self._folder)
            for name in ("status", "trace.json"):
                (self._folder / name).unlink(missing_ok=True)
        return self._folder

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        failed = kind is not None and issubclass(kind, NumaprobeError)
        if self._own and not failed:
            shutil.rmtree(self._folder, ignore_errors=True)
