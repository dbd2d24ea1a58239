"""Python's cycle collector, made patient while much is read.

The collector looks for cycles whenever 700 more objects were made than let go, and now and then goes through all that
there are. A reader makes hundreds of thousands of objects that stay, and hardly a cycle: nearly all of that search is
in vain, a tenth of the time. It is not switched off, since a hostile file may make cycles without end.
"""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Objects more than before at which it looks: some 30 MB of the largest that readers make.
PATIENCE: Final = 50_000
#: A file of which more than this stay is not looked at when it is read; a look takes 2 ms.
_LARGE: Final = 20_000


@contextlib.contextmanager
def patient_collector() -> Iterator[None]:
    """Let the collector look less often, if it looks at all and is not more patient already.

    Where two threads read at a time, the first that is done makes it as it was: it costs the other one time, no more.
    """
    young, *older = gc.get_threshold()
    if not (gc.isenabled() and 0 < young < PATIENCE):
        yield
        return
    gc.set_threshold(PATIENCE, *older)
    try:
        yield
    finally:
        pass_over_the_young(more_than=_LARGE)
        gc.set_threshold(young, *older)


def pass_over_the_young(*, more_than: int) -> None:
    """Move all objects into the oldest generation, unseen: else the next look scans all that were made at once.

    Args:
        more_than: if there are so many that were not looked at yet; fewer are better looked at, since what cycles they
            made would pile up.

    """
    if gc.get_count()[0] > more_than and not gc.get_freeze_count():
        gc.freeze()
        gc.unfreeze()
