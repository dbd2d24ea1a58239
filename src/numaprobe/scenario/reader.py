"""From a file, text or dictionary to a ``Scenario``; every error is one line with the file and the path inside it.

What a hostile file could do is bounded before it is looked at: its size, its depth, the length of its numbers. The
first error is told, and how many more there are.
"""

import difflib
import re
import textwrap
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from numaprobe.errors import InputError, UsageError
from numaprobe.reading.files import read_document
from numaprobe.reading.weigh import check_toml
from numaprobe.scenario.schema import TABLES, Scenario
from numaprobe.scenario.write import to_data

#: ``hold`` in ``hold``, ``parallel`` in ``sequence``: nobody means more.
MAX_DEPTH: Final = 40

#: A key's path: names, each with indices in brackets, or with the name of an element of that list.
_PATH = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\[[^\[\]]{1,200}\])*", re.ASCII)
_PATH_KEY = re.compile(r"\[(\d{1,6})\]|\[([^\[\]]+)\]|(\w+)", re.ASCII)


def read_scenario(path: str | Path, overrides: Sequence[str] = ()) -> Scenario:
    """Return the scenario in a TOML file; a machine given as a path is meant relative to the file.

    Args:
        path: the file.
        overrides: ``drivers[0].probe_type=sync``: values put in place of the file's before it is checked.

    Raises:
        InputError: it cannot be read, is too large, is no TOML, or says what a scenario cannot.
        UsageError: an override is none.

    """
    path = Path(path)
    content = read_document(path, "scenario")
    if content is None:
        raise InputError("cannot be read: no such file or directory", str(path))
    scenario = parse_scenario(parse_toml(content, str(path)), str(path), overrides=overrides, name=path.stem)
    machine = path.parent / scenario.machine
    if _is_file(machine):
        return scenario.model_copy(update={"machine": str(machine)})
    return scenario


def _is_file(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def parse_toml(content: bytes, where: str) -> dict[str, Any]:
    """Return what a TOML text says.

    Raises:
        InputError: it is none.

    """
    check_toml(content, where)
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8 at byte {error.start}", where) from None
    except RecursionError:
        raise InputError("is nested too deeply", where) from None
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"is no TOML: {reason[:200]}", where) from None


def parse_scenario(
    data: Mapping[str, Any], where: str = "scenario", *, overrides: Sequence[str] = (), name: str | None = None
) -> Scenario:
    """Return the scenario that a dictionary (a parsed TOML file) describes.

    Raises:
        InputError: it says what a scenario cannot.
        UsageError: an override is none.

    """
    data = dict(data)
    if name is not None:
        data.setdefault("name", name)
    for override in overrides:
        _override(data, override)
    check_depth(data, where)
    try:
        scenario = Scenario.model_validate(data)
    except ValidationError as error:
        raise InputError(describe(error), where) from None
    except RecursionError:
        raise InputError("is nested too deeply", where) from None
    return scenario.with_origin(where)


def made_scenario(data: Mapping[str, Any], where: str, *, overrides: Sequence[str] = ()) -> Scenario:
    """Return the scenario of these values, whose tables are made already; overrides are of the file that says it.

    Raises:
        InputError: it says what a scenario cannot.
        UsageError: an override is none.

    """
    try:
        scenario = Scenario.of(**data)
    except ValidationError as error:
        raise InputError(describe(error), where) from None
    if overrides:
        return parse_scenario(to_data(scenario), where, overrides=overrides)
    return scenario.with_origin(where)


def check_depth(data: object, where: str) -> None:
    """Refuse what is nested deeper than ``MAX_DEPTH``.

    Raises:
        InputError: it is.

    """
    level = [data]
    for _ in range(MAX_DEPTH):
        level = [child for item in level for child in _children(item)]
        if not level:
            return
    raise InputError(f"is nested deeper than {MAX_DEPTH} tables", where)


def _children(item: object) -> list[object]:
    if isinstance(item, dict):
        return list(item.values())
    return item if isinstance(item, list) else []


# ---- errors --------------------------------------------------------------------------------------------------------
def describe(error: ValidationError, above: tuple[int | str, ...] = ()) -> str:
    """Return the first of what is wrong, in one line, and how many more there are.

    Args:
        error: of a table.
        above: where that table is in the scenario.

    """
    # A misspelt key makes another one missing: the misspelling is what the writer wants to hear of.
    errors = sorted(error.errors(include_url=False), key=lambda detail: detail["type"] == "missing")
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    location = (*above, *first["loc"])
    path = _path(location)
    reason = _unknown_key(location) if first["type"] == "extra_forbidden" else _reason(first)
    return f"{path}: {reason}{more}" if path else f"{reason}{more}"


def _path(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text[:200]


def _reason(detail: ErrorDetails) -> str:
    kind, value = detail["type"], detail.get("input")
    if kind == "missing":
        return "is missing"
    message = " ".join(detail["msg"].split()).replace("valid tuple", "list").replace("a valid dictionary", "a table")
    return message if kind == "numaprobe" else f"{_short(value)}: {message[:1].lower()}{message[1:]}"


def _short(value: object) -> str:
    text = repr(value) if isinstance(value, str | int | float | bool) else type(value).__name__
    return textwrap.shorten(text, 60, placeholder="…") if " " in text else text[:60]


def _unknown_key(location: tuple[int | str, ...]) -> str:
    *above, key = location
    table = next((part for part in reversed(above) if isinstance(part, str)), "")
    known = TABLES[table].file_keys()
    near = difflib.get_close_matches(str(key)[:60], known, n=1, cutoff=0.6)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
    return f"unknown key; {hint}"


# ---- overrides -----------------------------------------------------------------------------------------------------
def parse_override(text: str) -> tuple[str, Any]:
    """Return path and value of ``drivers[0].probe_type=sync``; a value that is no TOML is a text.

    Raises:
        UsageError: it sets nothing.

    """
    path, equals, value = text.partition("=")
    if not equals or not parse_path(path.strip()):
        raise UsageError(f"'{text[:80]}' sets nothing; write for example drivers[0].probe_type=sync")
    return path.strip(), _value(value.strip())


def _override(data: dict[str, Any], text: str) -> None:
    path, value = parse_override(text)
    keys = parse_path(path)
    target: Any = data
    for key in keys[:-1]:
        target = _step(target, key, path)
    if isinstance(target, dict) and isinstance(keys[-1], str):
        target[keys[-1]] = value
    else:
        target[_place(target, keys[-1], path)] = value


def _step(target: Any, key: int | str, path: str) -> Any:  # noqa: ANN401  whatever the file holds
    if isinstance(target, dict) and isinstance(key, str):
        return target.setdefault(key, {})
    return target[_place(target, key, path)]


def _place(target: Any, key: int | str, path: str) -> int:  # noqa: ANN401  whatever the file holds
    names = (
        [item.get("name") if isinstance(item, dict) else None for item in target] if isinstance(target, list) else []
    )
    index = place_of(key, names)
    if index is not None:
        return index
    raise UsageError(f"'{path[:80]}': the scenario has no {key!r} there")


def place_of(key: int | str, names: Sequence[object]) -> int | None:
    """Return the place in a list that an index or a name means: of several of one name the first; None if none."""
    if isinstance(key, int):
        return key if key < len(names) else None
    return next((index for index, name in enumerate(names) if name == key), None)


def parse_path(path: str) -> list[int | str]:
    """Return the keys, indices and names of ``drivers[0].probe_type`` or ``drivers.nvme.probe_type``.

    A name with other characters than letters, digits and ``_`` stands in brackets: ``drivers[leds-gpio].phases``. None
    if it is no path.
    """
    if _PATH.fullmatch(path) is None:
        return []
    return [int(index) if index else name or key for index, name, key in _PATH_KEY.findall(path)]


def _value(text: str) -> Any:  # noqa: ANN401  whatever the text says
    try:
        return parse_toml(f"value = {text}".encode(), "--set")["value"]
    except (InputError, ValueError, KeyError):
        return text
