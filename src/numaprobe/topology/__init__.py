"""Nodes, caches, CPUs, distances: what a machine is made of, read from and written to the formats people have."""

from numaprobe.topology.cmdline import CommandLine
from numaprobe.topology.codec import MACHINE_SCHEMA, from_json, to_json
from numaprobe.topology.compact import parse_compact, to_compact
from numaprobe.topology.isolation import apply_cmdline, hk_domain, hk_wq, housekeeping_from_cmdline, unbound_cpumask
from numaprobe.topology.load import load_topology
from numaprobe.topology.model import DeviceInfo, Housekeeping, Node, Topology, symmetric
from numaprobe.topology.presets import PRESETS, preset

__all__ = [
    "MACHINE_SCHEMA",
    "PRESETS",
    "CommandLine",
    "DeviceInfo",
    "Housekeeping",
    "Node",
    "Topology",
    "apply_cmdline",
    "from_json",
    "hk_domain",
    "hk_wq",
    "housekeeping_from_cmdline",
    "load_topology",
    "parse_compact",
    "preset",
    "symmetric",
    "to_compact",
    "to_json",
    "unbound_cpumask",
]
