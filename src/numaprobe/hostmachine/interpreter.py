"""What this Python says of itself: how it was started, so that another can be started like it.

``subprocess`` knows, in a function that is nobody's promise (multiprocessing uses it); where it is not there we do not
know, and processes are multiprocessing's own (``process.py``).
"""

from __future__ import annotations

import subprocess
import sys


def flags() -> list[str] | None:
    """Return the flags that it was started with (``-W``, ``-X``, …); None if it does not say."""
    ask = getattr(subprocess, "_args_from_interpreter_flags", None)
    return None if ask is None else list(ask())


def version() -> str:
    """Return ``Python 3.11``."""
    return f"Python {sys.version_info.major}.{sys.version_info.minor}"
