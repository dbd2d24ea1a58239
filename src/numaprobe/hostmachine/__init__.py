"""The host machine: real threads on real CPUs.

It is loaded when first named: who needs one of its system calls alone does not need the machine.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numaprobe.hostmachine.machine import HostMachine

__all__ = ["HostMachine"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Load the machine when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from numaprobe.hostmachine import machine

    return getattr(machine, name)
