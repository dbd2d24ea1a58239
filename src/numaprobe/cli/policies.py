"""``numaprobe policies``: the catalogue."""

import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer

from numaprobe.cli import options
from numaprobe.cli.completing import policy_names
from numaprobe.cli.listing import write_list
from numaprobe.cli.output import Shape, choose_format, text_shape, to_json, write

if TYPE_CHECKING:
    from typing import TextIO

    from numaprobe.policies import Policy


def policies(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", autocompletion=policy_names, help="Explain this one.")
    ] = None,
    as_json: options.Json = False,
    output: options.Output = None,
) -> int:
    """List the policies: where a probe runs, which task waits for it, and whose idea that was.

    With NAME: what it does, its options and the question that each answers. Options are appended to the name where a
    policy is asked for: probe-on-node+pin.
    """
    from numaprobe.policies import all_policies, broken_policies, make_policy

    known = all_policies() if name is None else {name: type(make_policy(name))}
    for line in broken_policies() if name is None else ():
        typer.echo(f"numaprobe: warning: {line}", err=True)
    shapes = {"json": text_shape(_json), "table": Shape(stream=_table) if name is None else text_shape(_explanation)}
    chosen = choose_format(None, as_json, output, shapes)
    entries = [_entry(policy) for policy in known.values()]
    write(entries, shapes[chosen], chosen, output)
    return 0


def _entry(policy: "type[Policy]") -> dict[str, Any]:
    from numaprobe.policies import policy_options

    return {
        "name": policy.name,
        "summary": policy.summary,
        "origin": policy.origin,
        "options": list(policy_options(policy)),
        "description": inspect.cleandoc(policy.__doc__ or ""),
    }


def _json(entries: list[dict[str, Any]]) -> str:
    return to_json({"schema": "numaprobe.policies/1", "policies": entries})


def _table(entries: list[dict[str, Any]], stream: "TextIO") -> None:
    write_list([(entry["name"], f"{entry['summary']} ({entry['origin']})") for entry in entries], stream)


def _explanation(entries: list[dict[str, Any]]) -> str:
    (entry,) = entries
    options_line = ", ".join(entry["options"]) or "none"
    return (
        f"{entry['name']}: {entry['summary']}\n\n{entry['description']}\n\n"
        f"Origin:  {entry['origin']}\nOptions: {options_line}\n"
    )
