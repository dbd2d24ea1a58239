"""What a body's thread (or process) is given before it works: its CPUs, its memory's node, its name.

The kernel may say no: a cpuset changed, a CPU went offline, a container forbids memory policies. Then the thread
goes on without, and the machine is told once for each kind of refusal. What really happened is read back with every
body (``getcpu``), so that a record never shows a wish.
"""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from numaprobe.hostmachine import syscalls

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.cpuset import CpuSet


@dataclass(frozen=True, slots=True)
class Attributes:
    """A wish."""

    #: where the thread may run; None = wherever the process may
    cpus: CpuSet | None = None
    #: where it should wake up (the pod of a non-strict queue); it may be moved on from there
    hint: CpuSet | None = None
    #: whose memory it prefers, or is bound to; None = the node it runs on
    memory_node: int | None = None
    #: ``MPOL_PREFERRED`` or ``MPOL_BIND``
    memory_mode: int = syscalls.MPOL_PREFERRED
    #: of the worker of an unbound pool, the pool's pod
    pod: CpuSet | None = None


#: What a thread has that was given nothing.
ANYTHING: Final = Attributes()


class Applier:
    """Gives the calling thread its attributes, and remembers what was refused.

    Args:
        warn: told once for each kind: ``affinity`` or ``memory-policy``.
        allowed: the CPUs that the process may use now.

    """

    def __init__(self, warn: Callable[[str, str], None], allowed: Callable[[], CpuSet]) -> None:
        self._warn = warn
        self._allowed = allowed
        self._warned: set[str] = set()
        self._once = threading.Lock()

    def apply_cpus(self, cpus: CpuSet | None) -> bool:
        """Pin the calling thread; fall back to all allowed CPUs. Return whether the wish came true."""
        allowed = self._allowed()
        if cpus is None:
            return self._pin(allowed)
        if (cpus & allowed and self._pin(cpus & allowed)) or self._pin(cpus):
            return True
        self._pin(allowed)
        return False

    def _pin(self, cpus: CpuSet) -> bool:
        try:
            os.sched_setaffinity(0, cpus)
        except OSError as error:
            reason = "not permitted" if error.errno in {errno.EPERM, errno.ENOSYS} else "they are offline or forbidden"
            self._warn_once("affinity", f"threads cannot be pinned to CPU {cpus} ({reason}); they run where they may")
            return False
        return True

    def nudge(self, wish: Attributes) -> None:
        """Move the calling thread into its pod, then let it go again (what a non-strict pool does on wake-up)."""
        if wish.hint is not None and self.apply_cpus(wish.hint):
            self.apply_cpus(wish.cpus)

    def apply_memory(self, wish: Attributes) -> None:
        """Set the calling thread's memory policy."""
        mode = syscalls.MPOL_DEFAULT if wish.memory_node is None else wish.memory_mode
        try:
            syscalls.set_mempolicy(mode, wish.memory_node)
        except OSError as error:
            if wish.memory_node is not None:
                self._warn_once(
                    "memory-policy",
                    f"memory cannot be placed on node {wish.memory_node} ({error.strerror}); the kernel places it",
                )

    def _warn_once(self, kind: str, message: str) -> None:
        with self._once:
            known = kind in self._warned
            self._warned.add(kind)
        if not known:
            self._warn(kind, message)
