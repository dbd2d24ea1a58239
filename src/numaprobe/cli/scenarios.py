"""``numaprobe scenarios``: the built-in scenarios, and their files to start from."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from numaprobe.cli import options
from numaprobe.cli.completing import scenario_names
from numaprobe.cli.listing import write_list
from numaprobe.cli.output import Shape, choose_format, text_shape, to_json, write
from numaprobe.errors import UsageError

if TYPE_CHECKING:
    from typing import TextIO


def scenarios(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", autocompletion=scenario_names, help="Write this one's file.")
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Write the JSON Schema of scenario files.")] = False,
    as_json: options.Json = False,
    output: options.Output = None,
) -> int:
    """List the built-in scenarios, or write the file of one to start from.

    With --schema: what a scenario file may say, for editors ('#:schema FILE' in its first line) and programs.

    Examples: numaprobe scenarios nvme-epyc --output mine.toml | numaprobe scenarios --schema -o scenario.json
    """
    from numaprobe.scenario import builtins, scenario_source

    if schema:
        if name is not None:
            raise UsageError("--schema is of every scenario; give it without NAME")
        from numaprobe.scenario.published import scenario_schema

        write(to_json(scenario_schema()), text_shape(str), "json", output)
        return 0
    if name is not None:
        write(scenario_source(name), text_shape(str), "table", output)
        return 0
    shapes = {"json": text_shape(_json), "table": Shape(stream=_table)}
    chosen = choose_format(None, as_json, output, shapes)
    entries = [{"name": b.name, "summary": b.summary, "machine": b.machine, "kernel": b.kernel} for b in builtins()]
    write(entries, shapes[chosen], chosen, output)
    return 0


def _json(entries: list[dict[str, Any]]) -> str:
    return to_json({"schema": "numaprobe.scenarios/1", "scenarios": entries})


def _table(entries: list[dict[str, Any]], stream: "TextIO") -> None:
    write_list([(entry["name"], entry["summary"]) for entry in entries], stream)
