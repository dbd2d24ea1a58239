"""Nodes, caches, CPUs, distances: what a machine is made of, read from and written to the formats people have."""

from numaprobe.topology.cmdline import CommandLine
from numaprobe.topology.codec import MACHINE_SCHEMA, from_json, to_json
from numaprobe.topology.compact import parse_compact, to_compact
from numaprobe.topology.isolation import apply_cmdline, hk_domain, hk_wq, housekeeping_from_cmdline, unbound_cpumask
from numaprobe.topology.load import load_topology
from numaprobe.topology.machinetxt import parse_machine_txt, read_machine_txt
from numaprobe.topology.model import DeviceInfo, Housekeeping, Node, Topology, symmetric
from numaprobe.topology.presets import PRESETS, preset
from numaprobe.topology.sysfs import read_cmdline, read_sysfs
from numaprobe.topology.sysfswrite import write_sysfs

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
    "parse_machine_txt",
    "preset",
    "read_cmdline",
    "read_machine_txt",
    "read_sysfs",
    "symmetric",
    "to_compact",
    "to_json",
    "unbound_cpumask",
    "write_sysfs",
]
