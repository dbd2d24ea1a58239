"""Nodes, caches, CPUs, distances: what a machine is made of, read from and written to the formats people have.

``load_topology`` is the front door: one text for a preset, a file, a tree, a description or ``host``.

Each name is loaded when it is first used: a program that binds devices at boot uses none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
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

#: file beside this one -> the names that it gives
_FILES: Final = {
    "cmdline": ("CommandLine",),
    "codec": (
        "MACHINE_SCHEMA",
        "from_json",
        "to_json",
    ),
    "compact": (
        "parse_compact",
        "to_compact",
    ),
    "hwlocwrite": (
        "hwloc_losses",
        "to_hwloc_xml",
    ),
    "hwlocxml": (
        "parse_hwloc_xml",
        "read_hwloc_xml",
    ),
    "isolation": (
        "apply_cmdline",
        "hk_domain",
        "hk_wq",
        "housekeeping_cpus",
        "housekeeping_from_cmdline",
        "isolation_parameters",
        "unbound_cpumask",
    ),
    "load": ("load_topology",),
    "machinetxt": (
        "parse_machine_txt",
        "read_machine_txt",
    ),
    "model": ("SETTINGS", "DeviceInfo", "Housekeeping", "Node", "Topology", "symmetric"),
    "presets": (
        "PRESETS",
        "preset",
    ),
    "synthetic": (
        "parse_synthetic",
        "to_synthetic",
    ),
    "sysfs": (
        "read_cmdline",
        "read_sysfs",
    ),
    "sysfswrite": ("write_sysfs",),
    "table": ("describe",),
}

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


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Load a name when it is first used."""
    for file, names in _FILES.items():
        if name in names:
            value = globals()[name] = getattr(import_module(f"{__name__}.{file}"), name)
            return value
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    """Name what can be used."""
    return sorted(__all__)
