"""The group of commands, which imports a command when it is run and not before.

typer builds what it shows from the functions themselves, which would import every command for ``--help``. Here the
names and one-line texts come from ``registry.py``, and only the command that was asked for is imported and built.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import typer
from typer.core import TyperGroup

from numaprobe.cli.registry import COMMANDS
from numaprobe.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable

_SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def plain_app(**settings: Any) -> typer.Typer:  # noqa: ANN401  typer's own settings
    """Return a typer application that shows plain text: rich help costs more time than the help itself."""
    return typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=_SETTINGS,
        **settings,
    )


class LazyGroup(TyperGroup):
    """The commands of the registry."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002  click's signature
        """Return the commands' names in the order of the registry."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002  click's signature
        """Import and return a command.

        Raises:
            UnknownNameError: there is none of this name; the text offers the nearest.

        """
        if cmd_name not in COMMANDS:
            raise UnknownNameError("command", cmd_name[:80], COMMANDS)
        return load_command(cmd_name)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:  # noqa: ANN401  click's signature
        """Return what a shell offers in the place of a command, without importing one."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        from numaprobe.cli.completing import command_items

        return command_items(incomplete)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401, ARG002  click's signature
        """Write the list of commands from the registry, without importing them."""
        rows: Iterable[tuple[str, str]] = COMMANDS.items()
        with formatter.section("Commands"):
            formatter.write_dl(list(rows))


def load_command(name: str) -> Any:  # noqa: ANN401  a click command, whichever click typer brings
    """Import the file of a command and return what typer makes of its function.

    A command that reads its arguments in its own way has a ``PARSER`` in its file, a class of typer's.
    """
    name_of_file = name.replace("-", "_")
    module = import_module(f"numaprobe.cli.{name_of_file}")
    app = plain_app()
    app.command(name, cls=getattr(module, "PARSER", None))(getattr(module, name_of_file))
    return typer.main.get_command(app)
