"""What was seen of one probe: its record, and what its body saw of its own task. Both as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError
from numaprobe.records.json_codec import probe_from_json, probe_to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numaprobe.records import ProbeRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Glimpse:
    """What a body saw of the task that ran it, in the middle of the body."""

    #: the CPU it was on
    cpu: int
    #: the task's name
    comm: str
    #: the CPUs on which the task might run (its affinity)
    allowed: CpuSet
    #: bytes per node of memory that the body got for itself; None if the machine does not tell
    memory: Mapping[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One probe."""

    record: ProbeRecord
    glimpse: Glimpse

    @property
    def device(self) -> str:
        """The device's name."""
        return self.record.device

    @property
    def pool(self) -> str:
        """What ran it: a worker's pool (``kworker/0``, ``kworker/u9``), or a caller's name."""
        return (self.record.comm or "").partition(":")[0]


def seen_to_json(seen: Seen) -> dict[str, Any]:
    """Return JSON values."""
    glimpse = seen.glimpse
    memory = None if glimpse.memory is None else {str(node): size for node, size in glimpse.memory.items()}
    block = {"cpu": glimpse.cpu, "comm": glimpse.comm, "allowed": str(glimpse.allowed), "memory": memory}
    return {"record": probe_to_json(seen.record), "glimpse": block}


def seen_from_json(value: object, path: str = "seen") -> Seen:
    """Return what ``seen_to_json`` wrote.

    Raises:
        InputError: it is something else.

    """
    try:
        record = probe_from_json(value["record"], f"{path}.record")  # type: ignore[index]
        block = value["glimpse"]  # type: ignore[index]
        memory = block["memory"]
        glimpse = Glimpse(
            cpu=int(block["cpu"]),
            comm=str(block["comm"]),
            allowed=CpuSet.parse_list(str(block["allowed"])),
            memory=None if memory is None else {int(node): int(size) for node, size in memory.items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"is not what a probe left: {error!r:.80}", path) from None
    return Seen(record=record, glimpse=glimpse)
