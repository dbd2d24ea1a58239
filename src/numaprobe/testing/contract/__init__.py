"""The machine protocol as checks: what every machine keeps, each promise small, named and runnable on its own.

For whoever writes a machine (or wraps one): ``check_machine(make_machine)`` runs them all, each on a fresh machine,
and raises at the first promise that is not kept. ``CHECKS`` is for a test suite that wants one test for each. After
``check_one_way_stream`` of trio, which ships its contract the same way.

The checks of ``hotplug`` need a machine with two nodes, and ``cpu_down`` and ``cpu_up`` on it. A machine that cannot
keep a promise excepts its check and says why in its documentation; of the three machines here none has to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from numaprobe.errors import InternalError
from numaprobe.testing.contract import bodies, hotplug, tasks, works

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractContextManager

    from numaprobe.runtime.protocol import Machine

#: Every check by its name; each takes a fresh machine and raises InternalError if the promise is not kept.
CHECKS: Final[dict[str, Callable[[Machine], None]]] = {
    check.__name__: check for check in (*tasks.CHECKS, *bodies.CHECKS, *works.CHECKS, *hotplug.CHECKS)
}


def check_machine(
    make_machine: Callable[[], AbstractContextManager[Machine]], *, excepted: Collection[str] = ()
) -> None:
    """Run every check but the excepted, each on a machine of its own.

    Args:
        make_machine: returns a new machine in a context that cleans up after it (``contextlib.nullcontext(m)`` if
            there is nothing to clean).
        excepted: names of checks that this machine does not promise.

    Raises:
        InternalError: a promise is not kept; the text begins with the name of the check.

    """
    for name, check in CHECKS.items():
        if name in excepted:
            continue
        try:
            with make_machine() as machine:
                check(machine)
        except InternalError as error:
            raise InternalError(f"{name}: {error}") from error


__all__ = ["CHECKS", "check_machine"]
