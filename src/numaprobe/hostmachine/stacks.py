"""Where another thread's code is now.

With an interpreter lock the other thread stands still while we hold the lock, and its frames can be walked. Without one
it runs on and takes its frames away under us, which crashes the interpreter. ``faulthandler`` stops all threads while
it looks, but shows at most 100 of them; so it is asked only where it must be.
"""

from __future__ import annotations

import faulthandler
import re
import sys
import sysconfig
import tempfile
import traceback
from typing import Final

_NO_LOCK: Final = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
_FRAME: Final = re.compile(r'^  File "(.*)", line (\d+) in (.*)$', re.MULTILINE)


def entries(ident: int) -> list[traceback.FrameSummary]:
    """Return the calls that a thread (``threading.get_ident``) is in, innermost last; none if it does not run."""
    if _NO_LOCK:
        return parse(_dump(), ident)
    frame = sys._current_frames().get(ident)  # noqa: SLF001  the documented way to see a stack
    return [] if frame is None else list(traceback.extract_stack(frame))


def _dump() -> str:
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        return file.read().decode(errors="replace")


def parse(dump: str, ident: int) -> list[traceback.FrameSummary]:
    """Return the calls of one thread in what ``faulthandler.dump_traceback`` wrote, innermost last."""
    _, _, after = dump.partition(f"hread 0x{ident:016x}")
    frames = _FRAME.findall(after.partition("\n\n")[0])
    return [traceback.FrameSummary(name, int(line), code, lookup_line=False) for name, line, code in reversed(frames)]
