"""The host machine: real threads on real CPUs."""

from numaprobe.host.machine import HostMachine

__all__ = ["HostMachine"]
