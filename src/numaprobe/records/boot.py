"""A boot as its log tells it: the initcalls of the one task that runs them, and the moments that people wait for.

``kernel_init`` runs every built-in initcall, one after the other (``do_initcalls`` of ``init/main.c``), and a
synchronous probe runs in the initcall that registers its driver. So what comes later waits for it, and what matters of
a boot is when a *milestone* is reached: ``Run /init``, the root device, a unit of systemd.
"""

from __future__ import annotations

from typing import Final, NamedTuple

#: The initcall that tries every deferred device again (``drivers/base/dd.c``).
RETRIES_DEFERRED: Final = "deferred_probe_initcall"


class Initcall(NamedTuple):
    """One initcall of ``kernel_init``, or of the task that loads a module: what ``initcall_debug`` prints of it."""

    #: its function: ``nvme_init``
    function: str
    #: the module that it is of; None: built in
    module: str | None
    #: when it was called and returned: ns since the kernel booted
    start_ns: int
    end_ns: int
    #: devices that its own task probed meanwhile, in the order in which these probes ended; again for each attempt
    devices: tuple[str, ...] = ()


class Milestone(NamedTuple):
    """A moment of a boot."""

    #: ``Run /init``, or the text that was looked for
    name: str
    #: ns since the kernel booted
    time_ns: int
