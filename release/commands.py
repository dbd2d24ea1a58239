"""What the commands say of themselves, as data: for manual pages and the site's reference.

Everything is read from the commands as typer builds them, so nothing here knows a command by name. A command's help has
a few forms that are taken apart: ``Examples: A | B``, a paragraph that is a command line, ``Exit code 1: WHEN``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import typer

from numaprobe.cli.group import load_command
from numaprobe.cli.main import app
from numaprobe.cli.registry import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterator

#: what every command exits with, as ``cli/main.py`` says
EXITS: Final = (
    (0, "Done."),
    (1, "Done, and a gate or a check failed."),
    (2, "Bad input or usage."),
    (3, "Not permitted, or not possible here."),
    (70, "A bug in numaprobe."),
)
ENVIRONMENT: Final = (
    ("NO_COLOR", "If set, nothing is coloured."),
    ("COLUMNS", "The width of tables, in place of the terminal's."),
    ("NUMAPROBE_DEBUG", "If set, an error shows where in numaprobe it arose."),
)
_EXIT: Final = re.compile(r"Exit code (\d+): (.*?)(?= Exit code \d|$)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Command:
    """One command, or numaprobe itself (``name`` is empty)."""

    name: str
    #: one line, as in the list of commands
    summary: str
    #: what follows the command's name, as its usage has it
    usage: tuple[str, ...]
    #: each a text without line breaks
    paragraphs: tuple[str, ...]
    examples: tuple[str, ...]
    #: the code, and when
    exits: tuple[tuple[int, str], ...]
    #: how it is written, and what it means
    arguments: tuple[tuple[str, str], ...]
    options: tuple[tuple[str, str], ...]

    @property
    def line(self) -> str:
        """The command's name as it is typed."""
        return f"numaprobe {self.name}".strip()

    @property
    def page(self) -> str:
        """The name of its page."""
        return self.line.replace(" ", "-")


def commands() -> Iterator[Command]:
    """Every command in the order of the registry; numaprobe itself first."""
    root = typer.main.get_command(app)
    yield _command("", "predict, record and compare where Linux probes devices on a NUMA machine", root)
    for name, summary in COMMANDS.items():
        yield _command(name, summary, load_command(name))


def _command(name: str, summary: str, made: Any) -> Command:  # noqa: ANN401  a click command, whichever click
    context = made.make_context(name or "numaprobe", [], resilient_parsing=True)
    texts = [" ".join(text.split()) for text in made.help.split("\n\n")]
    exits = [(int(code), when) for text in texts for code, when in _EXIT.findall(text)]
    shown = [example for text in texts for example in _examples(text)]
    records = [(param, param.get_help_record(context)) for param in made.get_params(context)]
    arguments = [record for param, record in records if record and param.param_type_name == "argument"]
    options = [record for param, record in records if record and param.param_type_name == "option"]
    return Command(
        name=name,
        summary=summary,
        usage=tuple(_once(piece) for piece in made.collect_usage_pieces(context)),
        paragraphs=tuple(text for text in texts if not _EXIT.match(text) and not _examples(text)),
        examples=tuple(shown),
        exits=tuple(exits),
        arguments=tuple((_plain(term), text.replace("  [required]", "")) for term, text in arguments),
        options=tuple((re.sub("<path>$", "FILE", term), text) for term, text in options),
    )


def _once(piece: str) -> str:
    """Return a piece of the usage with brackets and dots that stand there twice once."""
    piece = re.sub(r"[{}]", "", piece)
    doubled = re.fullmatch(r"\[(\[.*\])\.*\]\.\.\.", piece)
    return f"{doubled[1]}..." if doubled else piece


def _plain(metavar: str) -> str:
    """Return an argument's name without its type, which not every release of typer names."""
    return re.sub(r" <[^ ]*>$", "", metavar)


def _examples(paragraph: str) -> list[str]:
    """Return the command lines of a paragraph that shows some, or none."""
    text = re.sub(r"^(Examples|Start with): ", "", paragraph)
    if not re.match(r"(sudo )?numaprobe ", text) or (text == paragraph and text.endswith(".")):
        return []
    return [example.strip() for example in text.split(" | ")]
