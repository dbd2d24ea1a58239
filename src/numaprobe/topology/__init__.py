"""Nodes, caches, CPUs, distances: what a machine is made of, read from and written to the formats people have.

``load_topology`` is the front door: one text for a preset, a file, a tree, a description or ``host``.
"""

from numaprobe.topology.cmdline import CommandLine
from numaprobe.topology.codec import MACHINE_SCHEMA, from_json, to_json
from numaprobe.topology.compact import parse_compact, to_compact
from numaprobe.topology.hwlocwrite import hwloc_losses, to_hwloc_xml
from numaprobe.topology.hwlocxml import parse_hwloc_xml, read_hwloc_xml
from numaprobe.topology.isolation import (
    apply_cmdline,
    hk_domain,
    hk_wq,
    housekeeping_cpus,
    housekeeping_from_cmdline,
    isolation_parameters,
    unbound_cpumask,
)
from numaprobe.topology.load import load_topology
from numaprobe.topology.machinetxt import parse_machine_txt, read_machine_txt
from numaprobe.topology.model import SETTINGS, DeviceInfo, Housekeeping, Node, Topology, symmetric
from numaprobe.topology.presets import PRESETS, preset
from numaprobe.topology.synthetic import parse_synthetic, to_synthetic
from numaprobe.topology.sysfs import read_cmdline, read_sysfs
from numaprobe.topology.sysfswrite import write_sysfs
from numaprobe.topology.table import describe

__all__ = [
    "MACHINE_SCHEMA",
    "PRESETS",
    "SETTINGS",
    "CommandLine",
    "DeviceInfo",
    "Housekeeping",
    "Node",
    "Topology",
    "apply_cmdline",
    "describe",
    "from_json",
    "hk_domain",
    "hk_wq",
    "housekeeping_cpus",
    "housekeeping_from_cmdline",
    "hwloc_losses",
    "isolation_parameters",
    "load_topology",
    "parse_compact",
    "parse_hwloc_xml",
    "parse_machine_txt",
    "parse_synthetic",
    "preset",
    "read_cmdline",
    "read_hwloc_xml",
    "read_machine_txt",
    "read_sysfs",
    "symmetric",
    "to_compact",
    "to_hwloc_xml",
    "to_json",
    "to_synthetic",
    "unbound_cpumask",
    "write_sysfs",
]
