"""A scenario with some of its keys changed: object to object, without going through TOML.

Only the tables on the way to a changed key are checked again, all others are taken as they are; the result is the same
scenario as if its file had said so. Values are Python's: beside what a file may hold (``"25ms"``, ``"0-3"``, lists and
dictionaries) what a scenario itself holds: a time as integer nanoseconds, a size as bytes, a ``CpuSet``, a table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from numaprobe.errors import InputError, UsageError
from numaprobe.scenario.quantities import OBJECTS
from numaprobe.scenario.reader import check_depth, describe, parse_path, place_of
from numaprobe.scenario.tables import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numaprobe.scenario.schema import Scenario

    Keys = Sequence[int | str]
    Change = tuple[Keys, Any]


def change_scenario(scenario: Scenario, changes: Mapping[str, Any]) -> Scenario:
    """Return ``scenario`` with other values of some keys; it still knows where it comes from.

    Args:
        scenario: what is changed; it stays as it is.
        changes: path of a key, as for ``--set`` (``drivers[0].probe_type``), to its value. None takes a key away where
            it may be absent. All are made together: they need not make sense one by one.

    Raises:
        InputError: the scenario cannot say that.
        UsageError: a path is none, or leads nowhere.

    """
    wanted: list[Change] = []
    for path, value in changes.items():
        keys = parse_path(path)
        if not keys:
            raise UsageError(f"'{path[:80]}' is no key of a scenario; write for example drivers[0].probe_type")
        check_depth({path: value}, scenario.where)
        wanted.append((keys, value))
    if not wanted:
        return scenario
    try:
        changed: Scenario = _changed_table(scenario, wanted, ())
    except _WrongTable as wrong:
        raise InputError(str(wrong), scenario.where) from None
    return changed.with_origin_of(scenario)


class _WrongTable(Exception):  # noqa: N818  never leaves this file
    """What is wrong with a table, and where it is."""


def _changed_table(table: Any, changes: Sequence[Change], above: tuple[int | str, ...]) -> Any:  # noqa: ANN401  a Table
    names = {alias: name for name, field in type(table).model_fields.items() for alias in (field.alias or name, name)}
    said = {(field.alias or name): getattr(table, name) for name, field in type(table).model_fields.items()}
    data = {key: value for key, value in said.items() if names[key] in table.model_fields_set}
    for key, wanted in _by_first_key(changes).items():
        if not isinstance(key, str):
            raise _nowhere(above, key)
        alias = next((known for known in said if names.get(key) == names[known]), key)
        data[alias] = _changed(said.get(alias), wanted, (*above, key))
    try:
        return table.family().model_validate(data, context=OBJECTS)
    except ValidationError as error:
        raise _WrongTable(describe(error, above)) from None


def _by_first_key(changes: Sequence[Change]) -> dict[int | str, list[Change]]:
    found: dict[int | str, list[Change]] = {}
    for keys, value in changes:
        found.setdefault(keys[0], []).append((keys[1:], value))
    return found


def _changed(value: Any, changes: Sequence[Change], above: tuple[int | str, ...]) -> Any:  # noqa: ANN401  any value
    """Return what stands at a key: replaced by a change of itself, if there is one, then changed inside."""
    for whole in [new for keys, new in changes if not keys]:
        value = whole
    inside = [(keys, new) for keys, new in changes if keys]
    if not inside:
        return value
    if isinstance(value, Table):
        return _changed_table(value, inside, above)
    found: Any = list(value) if isinstance(value, list | tuple) else dict(value or {}) if _is_open(value) else None
    for key, wanted in _by_first_key(inside).items():
        if isinstance(found, dict) and isinstance(key, str):
            found[key] = _changed(found.get(key), wanted, (*above, key))
            continue
        index = place_of(key, [_name_of(item) for item in found]) if isinstance(found, list) else None
        if index is None:
            raise _nowhere(above, key)
        found[index] = _changed(found[index], wanted, (*above, index))
    return tuple(found) if isinstance(value, tuple) else found


def _name_of(item: object) -> object:
    return item.get("name") if isinstance(item, dict) else getattr(item, "name", None)


def _nowhere(above: Sequence[int | str], key: int | str) -> UsageError:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in above)
    return UsageError(f"'{path.removeprefix('.')[:80]}': the scenario has no {key!r} there")


def _is_open(value: object) -> bool:
    """Tell whether keys can be put in: a table that is not there yet, or a dictionary."""
    return value is None or isinstance(value, dict)
