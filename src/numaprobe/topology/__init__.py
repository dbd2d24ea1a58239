"""Nodes, caches, CPUs, distances: what a machine is made of, read from and written to the formats people have."""

from numaprobe.topology.model import DeviceInfo, Housekeeping, Node, Topology, symmetric

__all__ = ["DeviceInfo", "Housekeeping", "Node", "Topology", "symmetric"]
