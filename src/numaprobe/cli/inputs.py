"""What options say together about a command's input: an option that is not for such an input is refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numaprobe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def refuse_scenario_options(given: Mapping[str, object]) -> None:
    """Refuse what cannot be changed of a recorded trace that is not replayed.

    Raises:
        UsageError: one of them was given.

    """
    for name, value in given.items():
        if value is not None:
            option = {"overrides": "set"}.get(name, name)
            raise UsageError(f"--{option} is for scenarios and replays; a recorded trace already happened")


def refuse_for_programs(program: str, given: Mapping[str, object]) -> None:
    """Refuse what is for scenarios alone.

    Raises:
        UsageError: one of them was given.

    """
    for name, value in given.items():
        if value is not None:
            raise UsageError(f"{name} is for scenarios; '{program[:80]}' is a program, which says itself what it runs")


def refuse_trace_options(what: Sequence[str], given: Mapping[str, object]) -> None:
    """Refuse what is for recorded traces, and more than one scenario.

    Raises:
        UsageError: one of them was given.

    """
    if len(what) > 1:
        raise UsageError(f"one scenario at a time: '{what[1]}' is no recorded trace")
    for name, value in given.items():
        if value is not None:
            raise UsageError(f"{name} is for recorded traces, and '{what[0][:80]}' is none")
