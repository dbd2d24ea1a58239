"""Questions small enough for a test, and what tells one dataset from another."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from numaprobe.study.sweep.question import SweepQuestion
from numaprobe.study.sweep.space import parse_space

if TYPE_CHECKING:
    from pathlib import Path

#: A policy that kills the process it runs in when it meets the second device.
POISON = """
import os, signal
from numaprobe.policies import Policy

class Poison(Policy):
    async def probe_device(self, at, dev, function, *, is_async):
        if dev.name == "0000:41:00.0" or dev.name.startswith("0000:02"):
            os.kill(os.getpid(), signal.SIGKILL)
        return await function()
"""


def question(*vary: str, **more: Any) -> SweepQuestion:
    return SweepQuestion(source="nvme-epyc", axes=parse_space(vary), **more)


def digests(folder: Path) -> dict[str, str]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
