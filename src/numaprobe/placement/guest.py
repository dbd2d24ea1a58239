"""Observe in a guest: a machine of several nodes out of QEMU, on which this very installation runs.

The guest needs no device: the drivers are Python. What it hands back is one file of JSON.
"""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from numaprobe.errors import RefusedError
from numaprobe.kernel.lab.guest import guest_environment, run_script
from numaprobe.kernel.lab.plan import GuestPlan
from numaprobe.placement.observe import observation_from_json
from numaprobe.records.json_codec import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numaprobe.kernel.lab.tools import KernelImage, Tools
    from numaprobe.placement.observe import Observation
    from numaprobe.topology import Topology

#: seconds; a guest of eight CPUs boots in about 40 s on two busy CPUs
DEFAULT_TIMEOUT: Final = 420.0
_RESULT: Final = "observation.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestObservation:
    """What a guest handed back."""

    observation: Observation
    #: from the first process to the last
    seconds: float
    #: of these, the program in the guest, as the guest's clock says
    seconds_inside: float


def observe_in_guest(
    topology: Topology,
    policies: Iterable[str],
    profile: str,
    *,
    kernel: KernelImage,
    tools: Tools,
    folder: Path,
    timeout: float = DEFAULT_TIMEOUT,
    kvm: bool = False,
) -> GuestObservation:
    """Boot ``kernel`` on a machine like ``topology``, run every case there, return what was seen.

    Args:
        topology: the machine to emulate.
        policies: which.
        profile: the kernel profile that the host machine follows in the guest.
        kernel: what to boot.
        tools: with what.
        folder: an empty folder for the guest's files.
        timeout: seconds.
        kvm: use the processor's virtualisation.

    Raises:
        InputError: the machine cannot be emulated.
        RefusedError: the guest failed; the text names the console's file.

    """
    folder = folder.resolve()
    (folder / _RESULT).unlink(missing_ok=True)
    agent = [sys.executable, "-m", "numaprobe.placement", str(folder / _RESULT), profile, *policies]
    inside = shlex.quote(str(folder / "uptime"))
    lines = [
        f"cat /proc/uptime > {inside}",
        f"{guest_environment()} {shlex.join(agent)}; status=$?",
        f"cat /proc/uptime >> {inside}",
        "(exit $status)",
    ]
    start = time.monotonic()
    plan = GuestPlan(topology=topology, devices=())
    status = run_script(plan, lines, kernel=kernel, tools=tools, folder=folder, timeout=timeout, kvm=kvm)
    seconds = time.monotonic() - start
    path = folder / _RESULT
    if status or not path.is_file():
        raise RefusedError(f"the host machine failed in the guest (exit {status}); its console: {folder}/console.log")
    return GuestObservation(
        observation=observation_from_json(parse_json(path.read_bytes())),
        seconds=seconds,
        seconds_inside=_inside((folder / "uptime").read_text(encoding="ascii")),
    )


def _inside(text: str) -> float:
    """Return the seconds between two lines of ``/proc/uptime``."""
    before, after = (float(line.split()[0]) for line in text.splitlines()[:2])
    return after - before
