"""A recorded trace where a command takes a scenario: what happened, once more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe.cli.inputs import read_trace
from numaprobe.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numaprobe.records import Trace
    from numaprobe.scenario import Setting

#: What the trace itself is called beside its replays.
RECORDED: Final = "recorded"


def read_named_trace(name: str, *, machine: str | None, kprobes: Path | None) -> Trace:
    """Return a trace that goes by its scenario's name, else by its file's.

    Raises:
        InputError: it cannot be read or holds no trace.

    """
    trace = read_trace(name, machine=machine, kprobes=kprobes)
    return trace if trace.scenario else replace(trace, scenario="standard input" if name == "-" else Path(name).name)


def set_up_replay(
    trace: Trace,
    *,
    kernel: str | None,
    cmdline: str | None,
    overrides: Sequence[str] | None,
    devices: int | None,
) -> Setting:
    """Return the replay of a trace, ready to run.

    Raises:
        UsageError: ``--devices`` was given: a replay has the devices of its trace.
        NumaprobeError: see ``numaprobe.scenario.replay_scenario`` and ``prepare``.

    """
    from numaprobe.scenario import prepare, replay_scenario

    if devices is not None:
        raise UsageError("--devices is for scenarios; a replay has the devices of its trace")
    scenario = replay_scenario(trace, kernel=kernel, overrides=overrides or ())
    return prepare(scenario, cmdline=cmdline)


def replay_of(
    name: str,
    *,
    machine: str | None,
    kprobes: Path | None,
    kernel: str | None,
    cmdline: str | None,
    overrides: Sequence[str] | None,
    devices: int | None,
) -> tuple[Setting, str]:
    """Return the replay of a trace in a file, and the policy that it was recorded under.

    Raises:
        NumaprobeError: see ``read_named_trace`` and ``set_up_replay``.

    """
    trace = read_named_trace(name, machine=machine, kprobes=kprobes)
    setting = set_up_replay(trace, kernel=kernel, cmdline=cmdline, overrides=overrides, devices=devices)
    return setting, own_policy(trace, setting)


def own_policy(trace: Trace, setting: Setting) -> str:
    """Return the policy that the trace was recorded under: its own if it tells one, else its kernel's."""
    from numaprobe.policies import make_policy

    if trace.policy is not None:
        try:
            return make_policy(trace.policy).label
        except (UnknownNameError, UsageError):
            pass  # recorded by a policy that is not in this catalogue
    return setting.profile.pci_policy
