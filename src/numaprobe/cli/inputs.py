"""What a command was pointed at: a scenario or a recorded trace, told apart without being asked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from numaprobe.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numaprobe.records import Trace
    from numaprobe.scenario import Scenario, Setting

#: where ``numaprobe record`` leaves its trace, and ``numaprobe report`` looks for one
RECORDED = "numaprobe.json"


def is_trace(text: str) -> bool:
    """Tell whether an argument means a recorded trace: ``-``, or a file that is not a scenario's."""
    if text == "-":
        return True
    if text.endswith(".toml") or "\0" in text:
        return False
    path = Path(text)
    try:
        return path.is_file() or path.is_fifo()
    except OSError:
        return False


def read_trace(text: str, *, machine: str | None = None, kprobes: Path | None = None) -> Trace:
    """Return the trace in a file, or on standard input (``-``).

    Args:
        text: the file.
        machine: ``--machine``: where a kernel's trace was recorded; None = as the trace says, or unknown.
        kprobes: ``--kprobes``: what its kprobes stand for; None = a file beside it, or our own names.

    Raises:
        InputError: it cannot be read or holds no trace.

    """
    from numaprobe.kernel.readers import read_trace as read

    if text == "-" and sys.stdin.isatty():
        raise UsageError("standard input is the terminal; pipe a trace into it: dmesg | numaprobe report -")
    topology = None
    if machine is not None:
        from numaprobe.topology import load_topology

        topology = load_topology(machine)
    try:
        trace = read(sys.stdin.buffer if text == "-" else text, topology=topology, kprobes=kprobes)
    except InputError as error:
        if text == "-":
            raise InputError(error.what, "standard input") from None
        raise
    if not trace.probes:
        raise InputError("holds no probe", "standard input" if text == "-" else text)
    return trace


def load_scenario(name: str, overrides: Sequence[str] | None, devices: int | None, machine: str | None) -> Scenario:
    """Return a scenario with what the command line changes in it.

    Args:
        name: built-in name or file.
        overrides: ``--set``.
        devices: ``--devices``.
        machine: ``--machine``: for ``host`` it is whose devices are meant, not only where they are simulated.

    Raises:
        NumaprobeError: see ``numaprobe.scenario.load_scenario``.

    """
    from numaprobe.scenario import host_scenario
    from numaprobe.scenario import load_scenario as load

    changes = list(overrides or ())
    if devices is not None:
        changes.append(f"devices[0].count={devices}")
    return host_scenario(changes, machine or "host") if name == "host" else load(name, changes)


def set_up(
    name: str,
    *,
    overrides: Sequence[str] | None,
    devices: int | None,
    machine: str | None,
    kernel: str | None,
    cmdline: str | None,
) -> Setting:
    """Return a scenario on its machine, each as the command line wants it.

    Raises:
        NumaprobeError: see ``numaprobe.scenario.prepare``.

    """
    from numaprobe.scenario import prepare

    scenario = load_scenario(name, overrides, devices, machine)
    # the scenario of a host brings the machine along, with whatever is special about it
    return prepare(scenario, kernel=kernel, machine=None if name == "host" else machine, cmdline=cmdline)
