"""The pages as Sphinx reads them: those of ``docs/`` as they are, and those that are made from the program.

A page keeps its name, so that links between pages hold; links of the files above ``docs/`` are turned. What is made:
a page for each command, for each schema, for the keys of scenarios and the Python interface, and the index pages.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from release.commands import Command, commands
from release.share import schemas

from docs.web.figures import FIGURES
from docs.web.nav import SECTIONS, Section

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE: Final = Path(__file__).parent
DOCS: Final = HERE.parent
ROOT: Final = DOCS.parent
#: files above docs/ that are pages, too
ABOVE: Final = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
#: modules whose public names are the Python interface, and what each is for
MODULES: Final = {
    "numaprobe": "drivers in Python",
    "numaprobe.study": "what the commands do",
    "numaprobe.scenario": "scenarios",
    "numaprobe.topology": "machines",
    "numaprobe.records": "records, traces and their codecs",
    "numaprobe.policies": "policies, and how to write one",
    "numaprobe.testing": "the fake machine and the contract of machines",
    "numaprobe.errors": "errors, split by who must act",
}
_SCHEMAS: Final = """\
What the commands write with `--json`, and what a scenario file may say. A schema's number changes only if a reader of
the old form would be wrong; fields may be added. After an installation the files are in `share/numaprobe/schemas`."""
_KEYS: Final = """\
Every table and key of a scenario file, from its [schema](schemas/scenario-1.md).
[Scenarios](scenarios.md) explains them by example."""
_PYTHON: Final = """\
What other programs may rely on. Lessons: [drivers in Python](../host.md), [predictions from Python](../study.md)."""
#: a link to a file outside of docs/
_OUTSIDE: Final = re.compile(r"\[([^\]]*)\]\(\.\./([^)#]+)(#[^)]*)?\)")
_FIGURE: Final = re.compile(r"<!-- figure: ([a-z0-9-]+) -->")


def stage(folder: Path) -> None:
    """Write the source of the site into ``folder``, which is made again."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("_static", "cli", "schemas", "api", "figures"):
        (folder / name).mkdir(parents=True)
    shutil.copy(HERE / "conf.py", folder)
    shutil.copy(HERE / "site.css", folder / "_static")
    for page in sorted(DOCS.glob("*.md")):
        _write(folder / page.name, _figured(page.read_text(encoding="utf-8"), folder))
    for name, page_name in ABOVE.items():
        _write(folder / page_name, _from_above((ROOT / name).read_text(encoding="utf-8")))
    _commands(folder / "cli")
    _schemas(folder)
    _interface(folder / "api")
    _indexes(folder)


def _write(path: Path, text: str) -> None:
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


def _from_above(text: str) -> str:
    """Return a page whose links were seen from the root, with links as seen from ``docs/``."""
    text = re.sub(r"\]\((?:\./)?docs/", "](", text)
    for name, page in ABOVE.items():
        text = text.replace(f"]({name}", f"]({page}")
    return text


def _figured(text: str, folder: Path) -> str:
    """Return a page with its figures, which are drawn now."""

    def draw(match: re.Match[str]) -> str:
        shown, make = FIGURES[match[1]]
        (folder / "figures" / f"{match[1]}.svg").write_text(make(), encoding="utf-8")
        return f"![{shown}](figures/{match[1]}.svg)"

    def copy(match: re.Match[str]) -> str:
        name = match[2]
        if name in ABOVE:
            return f"[{match[1]}]({ABOVE[name]}{match[3]})"
        if not (ROOT / name).is_file():  # a folder is in the repository alone
            return match[1]
        shutil.copy(ROOT / name, folder / "_static")
        return f"[{match[1]}](_static/{Path(name).name})"

    return _FIGURE.sub(draw, _OUTSIDE.sub(copy, text))


# ---- commands --------------------------------------------------------------------------------------------------------
def _commands(folder: Path) -> None:
    every = list(commands())
    for command in every:
        _write(folder / f"{command.page}.md", _command_page(command))
    rows = [f"| [`{one.line}`]({one.page}.md) | {_cell(one.summary)} |" for one in every]
    table = "\n".join(["| command | what it does |", "|---|---|", *rows])
    _write(folder / "index.md", f"# Every command\n\n{table}\n\n{_toctree(one.page for one in every)}")


def _command_page(command: Command) -> str:
    parts = [f"# {command.line}", f"```text\n{command.line} {' '.join(command.usage)}\n```"]
    parts += [_prose(text) for text in command.paragraphs]
    if command.examples:
        parts += ["## Examples", "```sh\n" + "\n".join(command.examples) + "\n```"]
    for title, rows in (("Arguments", command.arguments), ("Options", command.options)):
        if rows:
            lines = [f"| `{_cell(term)}` | {_prose(_cell(text))} |" for term, text in rows]
            parts += [f"## {title}", "\n".join([f"| {title[:-1].lower()} | meaning |", "|---|---|", *lines])]
    if command.exits:
        parts += ["## Exit codes", "\n".join(f"* {code}: {_prose(when)}" for code, when in command.exits)]
    return "\n\n".join(parts)


def _prose(text: str) -> str:
    """Return a text of the program as Markdown that shows it as it is; between backticks it is code."""
    parts = re.split(r"``?([^`]+)``?", " ".join(text.split()).replace("\\|", "|"))
    parts[::2] = [re.sub(r"([\\`*_{}\[\]<>#])", r"\\\1", part) for part in parts[::2]]
    parts[1::2] = [f"`{part}`" for part in parts[1::2]]
    return "".join(parts).replace("|", "\\|")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# ---- schemas ---------------------------------------------------------------------------------------------------------
def _schemas(folder: Path) -> None:
    every = schemas()
    names = {name: name.removeprefix("numaprobe.").replace("/", "-") for name in every}
    for name, file in names.items():
        (folder / "_static" / f"{file}.json").write_text(json.dumps(every[name], indent=2), encoding="utf-8")
        text = _prose(every[name].get("description", ""))
        link = f"[{file}.json](../_static/{file}.json)"
        body = "\n\n".join(_tables(every[name]))
        _write(folder / "schemas" / f"{file}.md", f"# {name}\n\n{text}\n\nThe schema, draft 2020-12: {link}\n\n{body}")
    links = "\n".join(f"* [{name}]({file}.md)" for name, file in names.items())
    _write(folder / "schemas" / "index.md", "\n\n".join(["# JSON Schemas", _SCHEMAS, links, _toctree(names.values())]))
    keys = "\n\n".join(_tables(every["numaprobe.scenario/1"]))
    _write(folder / "scenario-keys.md", f"# Keys of scenario files\n\n{_KEYS}\n\n{keys}")


def _tables(schema: dict[str, Any]) -> Iterable[str]:
    """Yield one table for the document and one for each of its definitions."""
    for name, table in {"The document": schema, **schema.get("$defs", {})}.items():
        yield f"## {name}"
        if name != "The document" and "description" in table:
            yield _prose(table["description"])
        if "oneOf" in table:
            yield f"One of: {', '.join(map(_type, table['oneOf']))}."
        required = table.get("required", ())
        rows = [
            f"| `{key}` | {_type(value)} | {must} | {_prose(value.get('description', ''))} |"
            for key, value in table.get("properties", {}).items()
            for must in ["yes" if key in required else ""]
        ]
        if rows:
            yield "\n".join(["| key | type | must be there | meaning |", "|---|---|---|---|", *rows])


def _type(value: dict[str, Any]) -> str:
    """Say in a few words what a value is."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for key in ("anyOf", "oneOf"):
        if key in value:
            return " or ".join(dict.fromkeys(map(_type, value[key])))
    if "const" in value:
        return f"`{json.dumps(value['const'])}`"
    if "enum" in value:
        return ", ".join(f"`{json.dumps(item)}`" for item in value["enum"])
    kind = value.get("type", "anything")
    named = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if value.get("title") in ("time", "size", "CPUs"):
        named = f"{value['title']}, as text: {', '.join(f'`{one}`' for one in value['examples'])}"
    return f"list of {_type(value['items'])}" if named == "array" and "items" in value else named


# ---- Python ----------------------------------------------------------------------------------------------------------
def _interface(folder: Path) -> None:
    for module in MODULES:
        directive = f"```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n   :show-inheritance:\n```"
        _write(folder / f"{module}.md", f"# {module}\n\n{directive}")
    rows = [f"| [`{module}`]({module}.md) | {text} |" for module, text in MODULES.items()]
    table = "\n".join(["| module | what it is for |", "|---|---|", *rows])
    _write(folder / "index.md", f"# Python interface\n\n{_PYTHON}\n\n{table}\n\n{_toctree(MODULES)}")


# ---- index -----------------------------------------------------------------------------------------------------------
def _indexes(folder: Path) -> None:
    named = {page for section in SECTIONS for page in section.pages}
    above = {Path(page).stem for page in ABOVE.values()}
    other = sorted(page.stem for page in DOCS.glob("*.md") if page.stem not in named and page.stem not in above)
    for section in SECTIONS:
        pages = [page for page in section.pages if (folder / f"{page}.md").exists()]
        pages += other if section.name == "how-to" else []
        _write(folder / f"{section.name}.md", _section_page(section, pages, folder))
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Read on")[0]
    lines = [f"* [{one.title}]({one.name}.md): {one.text}" for one in SECTIONS]
    parts = [_from_above(readme).rstrip(), "## Read on", "\n".join(lines), _toctree(s.name for s in SECTIONS)]
    _write(folder / "index.md", _figured("\n\n".join(parts), folder))


def _section_page(section: Section, pages: list[str], folder: Path) -> str:
    lines = [f"* [{_title(folder / f'{page}.md')}]({page}.md)" for page in pages]
    return "\n\n".join([f"# {section.title}", section.text, "\n".join(lines), _toctree(pages)])


def _title(page: Path) -> str:
    return page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def _toctree(pages: Iterable[str]) -> str:
    return "```{toctree}\n:hidden:\n\n" + "\n".join(pages) + "\n```"
