"""What a trace is known by in a fleet: host, day, product and firmware, its peers, and a fingerprint of what it says.

A trace tells most of it itself (``records.Identity``, the machine's ``info``). What it does not tell is taken from
where it was found, if that says so, and is unknown otherwise: nothing is guessed.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from numaprobe.analysis import topology_of
from numaprobe.records.json_codec import trace_to_json

if TYPE_CHECKING:
    from numaprobe.records import Trace
    from numaprobe.topology import Topology

#: The dataset's own columns of ``runs``: see ``Known.values``.
COLUMNS: Final = {
    "day": "VARCHAR",  # of ``date``: 2026-11-21; NULL: not told. A key
    "host_key": "VARCHAR",  # host and machine id in one: which host
    "product": "VARCHAR",
    "firmware": "VARCHAR",
    "peers": "VARCHAR",  # with which hosts it is compared: those of the same word
    "fingerprint": "VARCHAR",
    "header": "VARCHAR",  # JSON of the trace without its probes and findings; NULL: larger than MAX_HEADER
}
#: The keys: a folder for each day, and in it one for each kernel.
KEYS: Final = ("day", "kernel")
#: Bytes of a trace's header that are kept; a machine with 2000 devices takes 300 KiB.
MAX_HEADER: Final = 4 << 20
#: Letters of a name that are kept.
LONGEST: Final = 200
_DAY: Final = re.compile(r"(\d{4}-(?:0\d|1[0-2])-(?:[0-2]\d|3[01]))(?:T|$)", re.ASCII)
#: hexadecimal digits of a fingerprint: 128 bits
_DIGITS: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBy:
    """What a trace is known by."""

    topology: Topology | None
    day: str | None
    host_key: str
    product: str | None
    firmware: str | None
    peers: str
    fingerprint: str
    header: str | None

    def values(self) -> list[Any]:
        """Return the values of ``COLUMNS``."""
        return [getattr(self, name) for name in COLUMNS]


def known_by(trace: Trace, name: str) -> KnownBy:
    """Return what a trace is known by.

    Args:
        trace: it; what was told beside it is in its identity.
        name: where it was found, for a host that nobody names.

    Raises:
        InputError: its machine block is broken.

    """
    topology = topology_of(trace)
    info = topology.info if topology is not None else {}
    product, firmware = (_plain(info.get(key)) for key in ("product", "firmware"))
    who = trace.identity
    host, machine = (who.host, who.machine_id) if who is not None else (None, None)
    block = trace_to_json(trace)
    header = json.dumps({key: value for key, value in block.items() if key not in ("probes", "findings")})
    return KnownBy(
        topology=topology,
        day=day_of(who.date if who is not None else None),
        host_key=f"{host or name} {machine or ''}".strip(),
        product=product,
        firmware=firmware,
        peers=peers_of(topology, product),
        fingerprint=fingerprint(block),
        header=header if len(header) <= MAX_HEADER else None,
    )


def day_of(date: str | None) -> str | None:
    """Return the day of a date that a stranger wrote; None: it is none."""
    match = _DAY.match(date or "")
    return match[1] if match else None


def peers_of(topology: Topology | None, product: str | None) -> str:
    """Return with which hosts one is compared: those with as many nodes and CPUs and, where it is told, its product."""
    if topology is None:
        return "machine not told"
    nodes, cpus = len(topology.nodes), len(topology.possible)
    shape = f"{nodes} node{'s' if nodes != 1 else ''}, {cpus} CPU{'s' if cpus != 1 else ''}"
    return f"{product}, {shape}" if product else shape


def fingerprint(block: dict[str, Any]) -> str:
    """Return what is the same for two copies of a trace, packed or not, in whatever form and under whatever label.

    Of who made it host and machine count; a date that the collector put there does not make it another trace.
    """
    who = block.get("identity") or {}
    content = {**block, "identity": {key: who.get(key) for key in ("host", "machine_id")}, "scenario": None}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:_DIGITS]


def _plain(value: str | None) -> str | None:
    return (" ".join(value.split())[:LONGEST] or None) if value else None
