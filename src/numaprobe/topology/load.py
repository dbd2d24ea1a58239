"""The front door: one text says which machine is meant, whatever its form.

Tried in this order: ``host``; the name of a preset; a path that exists (``.xml``, ``.json``, ``machine.txt``, a sysfs
tree); a compact string; hwloc's synthetic syntax. A text that is none of these is refused with what was tried.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError
from numaprobe.topology.compact import looks_compact, parse_compact
from numaprobe.topology.presets import PRESETS, preset

if TYPE_CHECKING:
    from numaprobe.topology.model import Topology

#: Longest text that is looked at.
MAX_SPEC: Final = 65536


def load_topology(spec: str) -> Topology:
    """Return the machine that ``spec`` names or describes, validated.

    Args:
        spec: a preset's name, a path, a compact string, hwloc's synthetic syntax, or ``host``.

    Raises:
        InputError: it is none of these, or the file or text does not describe a machine.

    """
    topology = _load(spec.strip())
    topology.validate()
    return topology


def _load(spec: str) -> Topology:
    if spec in PRESETS:
        return preset(spec)
    if looks_compact(spec):
        return parse_compact(spec)
    raise InputError(_nothing_fits(spec))


def _nothing_fits(spec: str) -> str:
    near = difflib.get_close_matches(spec[:80], PRESETS, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"presets: {', '.join(PRESETS)}"
    return f"machine '{spec[:80]}' is no preset, file, compact or hwloc synthetic string; {hint}"
