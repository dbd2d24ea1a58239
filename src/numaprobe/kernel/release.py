"""Which kernel a trace was recorded on, where the trace itself does not say.

The machine that belongs to it may know: ``--machine``, the ``machine`` block of a trace of ours, or a file beside the
trace: ``machine.txt`` or ``uname`` (``uname -a`` in the first line, or the bare release), ``machine.json``.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from numaprobe.errors import InputError
from numaprobe.reading.files import read_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numaprobe.records import Trace
    from numaprobe.topology import Topology

_TEXTS: Final = ("machine.txt", "uname", "uname.txt")
_JSON: Final = "machine.json"
_MAX_TEXT: Final = 1 << 20
_MAX_JSON: Final = 16 * 2**20
_UNAME: Final = re.compile(r"\s*(?:Linux \S{1,255} )?(\d{1,3}\.\d{1,3}[\w.+~-]{0,120})(?:\s|$)", re.ASCII)


def known_release(topology: Topology | None, path: Path | None) -> str | None:
    """Return the release that the machine, or a file beside the trace, names; None if neither does."""
    if topology is not None and topology.info.get("kernel"):
        return topology.info["kernel"]
    return None if path is None else _beside(path)


def with_release(trace: Trace, release: str | None) -> Trace:
    """Return a kernel's trace with the release of its machine where it names none itself.

    Args:
        trace: as it was read.
        release: what ``known_release`` found; None: perhaps the trace's own machine block has it.

    """
    if trace.source != "kernel" or trace.kernel is not None:
        return trace
    return replace(trace, kernel=release or _of_block(trace.machine))


def _beside(path: Path) -> str | None:
    for name in _TEXTS:
        if (text := _read(path.with_name(name), _MAX_TEXT)) is not None and (match := _UNAME.match(text)) is not None:
            return match[1]
    text = _read(path.with_name(_JSON), _MAX_JSON)
    try:
        return _of_block(json.loads(text)) if text else None
    except (ValueError, RecursionError):
        return None


def _of_block(block: Mapping[str, Any] | Any) -> str | None:  # noqa: ANN401  any JSON
    info = block.get("info") if hasattr(block, "get") else None
    release = info.get("kernel") if isinstance(info, dict) else None
    return release[:200] if isinstance(release, str) and release else None


def _read(path: Path, limit: int) -> str | None:
    try:
        return read_text(path, limit) if path.is_file() else None
    except (InputError, OSError):
        return None
