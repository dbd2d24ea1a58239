"""numaprobe's version, on the lowest floor: every trace says which one wrote it."""

from __future__ import annotations

from typing import Final

__version__: Final = "0.1.0"
