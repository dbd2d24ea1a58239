"""The front door: one text says which machine is meant, whatever its form.

Tried in this order: ``host``; the name of a preset; a path that exists (``.xml``, ``.json``, ``machine.txt``, a sysfs
tree); a compact string; hwloc's synthetic syntax. A text that is none of these is refused with what was tried.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError
from numaprobe.reading.files import as_text, read_document
from numaprobe.reading.weigh import JSON_WEIGHTS, check_weight
from numaprobe.topology.codec import from_json
from numaprobe.topology.compact import looks_compact, parse_compact
from numaprobe.topology.hwlocxml import read_hwloc_xml
from numaprobe.topology.machinetxt import read_machine_txt
from numaprobe.topology.presets import PRESETS, preset
from numaprobe.topology.synthetic import looks_synthetic, parse_synthetic
from numaprobe.topology.sysfs import read_sysfs

if TYPE_CHECKING:
    from numaprobe.topology.model import Topology

#: Longest text that is looked at.
MAX_SPEC: Final = 65536

_SUFFIXES: Final = (".xml", ".json", ".txt")


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
    if len(spec) > MAX_SPEC or "\0" in spec:
        raise InputError(f"a machine is named by at most {MAX_SPEC} characters, none of them NUL")
    if spec == "host":
        return read_sysfs("/sys")
    if spec in PRESETS:
        return preset(spec)
    if _is_path(spec):
        return _load_path(Path(spec))
    if looks_compact(spec):
        return parse_compact(spec)
    if looks_synthetic(spec):
        return parse_synthetic(spec)
    raise InputError(_nothing_fits(spec))


def _is_path(spec: str) -> bool:
    """Tell whether ``spec`` is an existing path, or can be meant as nothing else."""
    try:
        return bool(spec) and (Path(spec).exists() or spec.endswith(_SUFFIXES))
    except OSError:
        return False  # too long for a path, so it is a text


def _load_path(path: Path) -> Topology:
    if path.is_dir():
        inside = path / "machine.txt"
        return read_machine_txt(inside) if inside.is_file() else read_sysfs(path)
    if path.suffix == ".xml":
        return read_hwloc_xml(path)
    if path.suffix == ".json":
        return _load_json(path)
    if path.suffix == ".txt":
        return read_machine_txt(path)
    raise InputError(f"is not read: give a sysfs tree or a file that ends in {', '.join(_SUFFIXES)}", str(path))


def _load_json(path: Path) -> Topology:
    """Return the machine of a JSON file: the block itself, or a trace or comparison that carries it as ``machine``."""
    data = read_document(path, "machine")
    if data is None:
        raise InputError("does not exist", str(path))
    check_weight("machine", data, JSON_WEIGHTS, str(path))
    try:
        value = json.loads(as_text(data, str(path)))
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not JSON: {str(error)[:100]}", str(path)) from None
    if not isinstance(value, dict):
        raise InputError("holds no JSON object", str(path))
    try:
        return from_json(value.get("machine", value))
    except InputError as error:
        raise InputError(error.what, f"{path}: {error.where}") from None


def _nothing_fits(spec: str) -> str:
    near = difflib.get_close_matches(spec[:80], PRESETS, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"presets: {', '.join(PRESETS)}"
    return f"machine '{spec[:80]}' is no preset, file, compact or hwloc synthetic string; {hint}"
