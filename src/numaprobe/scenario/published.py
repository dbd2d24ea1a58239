"""The JSON Schema of scenario files (draft 2020-12), made from the tables themselves: for editors, and for programs.

An editor that knows the schema completes keys, shows what each means and marks what is wrong: ``#:schema FILE`` in the
first line of a scenario. The schema takes every scenario that we take; what only the machine or other values can tell
(a node that is not there, a pattern that is none) is still told by the reader.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, Final

from pydantic.json_schema import CoreRef, GenerateJsonSchema

from numaprobe.scenario.schema import Scenario
from numaprobe.scenario.tables import Table, Tagged

if TYPE_CHECKING:
    from collections.abc import Iterator

#: the name of what the schema describes
SCENARIO_SCHEMA: Final = "numaprobe.scenario/1"
#: the comment above a field, and the field
_MEANING: Final = re.compile(r"((?:^    #: .*\n)+)    (\w+): ", re.MULTILINE)


def scenario_schema() -> dict[str, Any]:
    """Return the JSON Schema of scenario files; the same text each time."""
    schema = Scenario.model_json_schema(schema_generator=_Generator)
    schema = {"$schema": _Generator.schema_dialect, "$id": f"urn:{SCENARIO_SCHEMA}", **schema}
    schema["title"] = SCENARIO_SCHEMA
    return schema


class _Generator(GenerateJsonSchema):
    """pydantic's, which also knows our families of tables and what a field's comment says."""

    def generate_inner(self, schema: Any) -> dict[str, Any]:  # noqa: ANN401  pydantic's own
        """Return a schema's JSON Schema; of a family a reference, as each of its kinds may hold it again."""
        if schema["type"] != "function-plain":
            return super().generate_inner(schema)
        family: type[Tagged] = schema["function"]["function"].__self__
        name, reference = self.get_cache_defs_ref_schema(CoreRef(f"{family.__module__}.{family.__qualname__}"))
        if name not in self.definitions:
            self.definitions[name] = {}  # it may hold itself
            kinds = [self.generate_inner(kind.__pydantic_core_schema__) for kind in family.all_kinds()]
            self.definitions[name] = {"description": _first_sentence(family), "oneOf": kinds}
        return reference

    def model_schema(self, schema: Any) -> dict[str, Any]:  # noqa: ANN401  pydantic's own
        """Return a table's schema, each key with its meaning."""
        made = super().model_schema(schema)
        if "description" in made:  # the first sentences; what follows is for who extends the table
            made["description"] = made["description"].partition("\n\n")[0].replace("``", "`")
        meanings = dict(_meanings(schema["cls"]))
        for name, field in schema["cls"].model_fields.items():
            key = field.alias or name
            if name in meanings and "description" not in made["properties"][key]:
                made["properties"][key]["description"] = meanings[name]
        return made


def _first_sentence(table: type[Table]) -> str:
    return inspect.cleandoc(table.__doc__ or "").partition(" See ``")[0].replace("``", "`")


def _meanings(table: type[Table]) -> Iterator[tuple[str, str]]:
    """Yield each field with the comment above it, of the table and of those that it extends."""
    for cls in reversed(table.__mro__):
        if cls in (Table, Tagged) or not issubclass(cls, Table):
            continue
        try:
            source = inspect.getsource(cls)
        except (OSError, TypeError):  # installed without its source
            continue
        for comment, name in _MEANING.findall(source):
            text = " ".join(line.strip().removeprefix("#: ") for line in comment.splitlines())
            yield name, text.replace("``", "`").replace("None:", "left out:")
