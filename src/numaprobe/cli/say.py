"""What is said on standard error: one printable line each, whatever a file, a kernel or an argument put into it."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def tell(text: str) -> None:
    """Write one line on standard error; that it is closed or full is no reason to fail."""
    line = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in " ".join(text.split()))
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def complain(text: str) -> None:
    """Write the one line of an error."""
    tell(f"numaprobe: {text}")


def exit_code(failures: Sequence[str], format_name: str, output: Path | None) -> int:
    """Return 1 if anything failed, and say what unless the table on standard output does.

    Args:
        failures: what failed, one line each.
        format_name: how the result was written.
        output: where; None: on standard output.

    """
    if failures and (format_name != "table" or output is not None):
        more = f"; and {len(failures) - 1} more" if len(failures) > 1 else ""
        complain(f"{failures[0]}{more}")
    return int(bool(failures))
