"""The built-in scenarios: TOML files beside this one, and ``host``, which is made from the running machine.

A name without a slash and without ``.toml`` is looked up here first; anything else is a file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError, UnknownNameError, UsageError
from numaprobe.scenario.host import HOST_SUMMARY, host_scenario
from numaprobe.scenario.reader import parse_scenario, parse_toml, read_scenario

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numaprobe.scenario.schema import Scenario

_FOLDER: Final = files("numaprobe.scenario") / "builtin"


@dataclass(frozen=True, slots=True)
class Builtin:
    """An entry of the catalogue."""

    name: str
    #: one sentence
    summary: str
    #: as the file says it
    machine: str
    kernel: str


def builtin_names() -> list[str]:
    """Return the names of the built-in scenarios, ``host`` last."""
    names = sorted(entry.name.removesuffix(".toml") for entry in _FOLDER.iterdir() if entry.name.endswith(".toml"))
    return [*names, "host"]


def builtins() -> list[Builtin]:
    """Return the catalogue."""
    found = []
    for name in builtin_names()[:-1]:
        scenario = load_scenario(name)
        found.append(Builtin(name, scenario.summary, scenario.machine, scenario.kernel or ""))
    return [*found, Builtin("host", HOST_SUMMARY, "host", "")]


def load_scenario(name: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Scenario:
    """Return a built-in scenario by its name, or the one in a file.

    Args:
        name: ``nvme-epyc``, ``host``, or the path of a TOML file.
        overrides: ``devices[0].count=64``: values put in place of the file's.

    Raises:
        UnknownNameError: neither a built-in scenario nor a file.
        InputError: the file cannot be read or says what a scenario cannot.
        UsageError: an override is none.

    """
    text = os.fspath(name)
    if text == "host":
        return host_scenario(overrides)
    entry = _FOLDER / f"{text}.toml"
    if os.sep not in text and not text.endswith(".toml") and entry.is_file():
        return parse_scenario(parse_toml(entry.read_bytes(), text), text, overrides=overrides, name=text)
    if os.path.isdir(text):  # noqa: PTH112  a text that is no path at all must not raise here
        raise InputError("is a folder; a scenario is a TOML file", text)
    if os.path.lexists(text) or os.sep in text or text.endswith(".toml"):
        return read_scenario(text, overrides)
    raise UnknownNameError("scenario", text[:200], builtin_names())


def scenario_source(name: str) -> str:
    """Return the TOML text of a built-in scenario.

    Raises:
        UnknownNameError: there is none of this name.
        UsageError: it is ``host``, which has no file.

    """
    if name == "host":
        raise UsageError("the scenario 'host' has no file: it is made from this machine's devices each time")
    if name not in builtin_names():
        raise UnknownNameError("scenario", name[:200], builtin_names())
    return (_FOLDER / f"{name}.toml").read_text(encoding="utf-8")
