"""The host machine: real threads on real CPUs."""

from numaprobe.hostmachine.machine import HostMachine

__all__ = ["HostMachine"]
