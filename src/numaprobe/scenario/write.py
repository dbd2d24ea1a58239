"""From a scenario back to the TOML text that says it: to keep a replay, and to edit it.

What ``read_scenario`` makes of the text is the same scenario, to the nanosecond. Keys with their default are left out.
A machine that no text names (this machine, a trace's) is written beside it, as JSON.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from numaprobe.errors import InputError
from numaprobe.records import write_atomically
from numaprobe.topology import to_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numaprobe.scenario.schema import Scenario
    from numaprobe.scenario.tables import Table

#: A list that is longer than this on one line gets a line for each element.
_LINE: Final = 100


def save_scenario(scenario: Scenario, path: Path) -> None:
    """Write a scenario to a file, and its machine to ``NAME.machine.json`` beside it if no text names that.

    Raises:
        InputError: a file cannot be written, or its name does not end in ``.toml``.

    """
    if path.suffix != ".toml":
        raise InputError("is not written: the name of a scenario's file ends in .toml", str(path))
    if scenario.topology is not None:
        beside = path.with_suffix(".machine.json")
        write_atomically(beside, json.dumps(to_json(scenario.topology), indent=1) + "\n")
        scenario = scenario.model_copy(update={"machine": beside.name})
    write_atomically(path, scenario_toml(scenario))


def scenario_toml(scenario: Scenario) -> str:
    """Return the text of a scenario's file; its warnings stand at the top as comments."""
    comments = [f"# {warning.kind}: {_comment(warning.message)}\n" for warning in scenario.warnings]
    data = to_data(scenario)
    plain = {key: value for key, value in data.items() if not _is_tables(value)}
    lines = [*comments, *(f"{key} = {_value(value)}\n" for key, value in plain.items())]
    for key, value in data.items():
        if isinstance(value, dict):
            lines += ["\n", f"[{key}]\n", *_table(value)]
        elif _is_tables(value):
            for table in value:
                lines += ["\n", f"[[{key}]]\n", *_table(table)]
    return "".join(lines)


def to_data(table: Table) -> dict[str, Any]:
    """Return a table as the file would hold it: plain types, without what is default. Each type writes itself."""
    return table.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_defaults=True)


# ---- TOML ----------------------------------------------------------------------------------------------------------
def _is_tables(value: object) -> bool:
    """Tell whether a value of the file's own keys gets a section, or several."""
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _table(table: dict[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        yield f"{key} = {_value(value)}\n"


def _value(value: Any, indent: str = "") -> str:  # noqa: ANN401  whatever a scenario holds
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(item, indent)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return _list(value, indent)
    if isinstance(value, str):
        return _text(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _list(items: list[Any], indent: str) -> str:
    inner = f"{indent}    "
    texts = [_value(item, inner) for item in items]
    together = f"[{', '.join(texts)}]"
    if len(together) <= _LINE and "\n" not in together:
        return together
    return "[\n" + "".join(f"{inner}{text},\n" for text in texts) + f"{indent}]"


def _text(text: str) -> str:
    """Return a basic string; JSON's escapes are TOML's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _comment(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
