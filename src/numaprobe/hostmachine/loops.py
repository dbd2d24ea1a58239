"""Which loop the core gets, and what of Python's private parts that depends on.

The loop that threads run in turn (``loop.py``) uses names of asyncio that are nobody's promise; where one of them is
not there, the plain one runs (``plain_loop.py``): the same contract, more switches of threads. So with spawned
processes (``process.py``). It goes by what is there, not by version, and a warning ``python`` says what is missing.
``docs/host.md`` has the versions on which all was there.
"""

from __future__ import annotations

import asyncio
from functools import cache
from typing import TYPE_CHECKING, Final

from numaprobe.hostmachine import interpreter
from numaprobe.hostmachine.future import IS_FUTURE
from numaprobe.hostmachine.plain_loop import PlainLoop

if TYPE_CHECKING:
    from collections.abc import Callable

#: What ``loop.py`` uses of a loop: the queue of what is ready and one turn through it, why it stops, whose it is, how
#: it is woken, and its hooks for asynchronous generators.
_OF_A_LOOP: Final = (
    "_ready",
    "_run_once",
    "_stopping",
    "_thread_id",
    "_write_to_self",
    "_asyncgen_firstiter_hook",
    "_asyncgen_finalizer_hook",
)


def make_loop(warn: Callable[[str, str], None]) -> PlainLoop:
    """Return a loop: the one that threads run in turn, if this Python's asyncio has what that needs."""
    lost = _lost()
    if interpreter.flags() is None:
        what = "subprocess._args_from_interpreter_flags: processes are multiprocessing's, whose resource tracker stays"
        warn("python", f"{interpreter.version()} has no {what}")
    if lost:
        cost = "the core keeps to one thread, and each body costs two switches of threads more"
        warn("python", f"{interpreter.version()}: asyncio has no {', '.join(lost)}: {cost}")
        return PlainLoop()
    from numaprobe.hostmachine.loop import CoreLoop

    return CoreLoop()


@cache
def _lost() -> tuple[str, ...]:
    """Return what of asyncio's own is not there."""
    loop = asyncio.SelectorEventLoop()
    lost = [name for name in _OF_A_LOOP if not hasattr(loop, name)]
    loop.close()
    lost += [name for name in ("_set_running_loop",) if not hasattr(asyncio, name)]
    lost += [] if IS_FUTURE else ["_asyncio_future_blocking"]
    return tuple(lost)
