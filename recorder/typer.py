"""What numaprobe's commands use of typer, on argparse: so that the recorder needs nothing but Python.

It is called ``typer`` in the recorder's file, and the commands, which are the very same as everywhere, do not notice.
What they declare is the whole interface: ``Annotated`` parameters with ``Option`` and ``Argument``. Types: text,
number, path, flag (with ``--no-`` if declared so), and lists of text. Usage errors are exceptions, as typer's are.
"""

from __future__ import annotations

import argparse
import inspect
import sys
import types
import typing
from pathlib import Path
from typing import Annotated, Any, NoReturn


class ClickException(Exception):
    """Root of usage errors; typer's own comes from click."""

    ctx = None

    def format_message(self) -> str:
        """Return the text."""
        return str(self)


class BadParameter(ClickException):
    """An option that cannot be."""


class Abort(RuntimeError):
    """Somebody gave up."""


class Exit(RuntimeError):
    """The command is over."""

    def __init__(self, code: int = 0) -> None:
        super().__init__(code)
        self.exit_code = code


class Declared:
    """An option or an argument as a command declares it."""

    def __init__(self, names: tuple[str, ...], settings: dict[str, Any]) -> None:
        self.names = names
        self.settings = settings


def Option(*names: str, **settings: Any) -> Declared:  # noqa: N802  typer's name
    """Declare an option."""
    return Declared(names or ("--",), settings)


def Argument(**settings: Any) -> Declared:  # noqa: N802  typer's name
    """Declare what comes without a name."""
    return Declared((), settings)


def echo(text: object = "", *, err: bool = False) -> None:
    """Print a line."""
    print(text, file=sys.stderr if err else sys.stdout)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadParameter(f"{message}; see '{self.prog} --help'")


class Context:
    """What the group's own function would be told."""


class Typer:
    """A command, or a group of commands if ``cls`` is given."""

    def __init__(self, **settings: Any) -> None:
        self._group = settings.get("cls")
        self._body: Any = None
        self._name = ""

    def command(self, name: str, cls: None = None) -> Any:  # noqa: ARG002  none of ours has a parser of its own
        """Make a function the command."""

        def keep(body: Any) -> Any:
            self._body, self._name = body, name
            return body

        return keep

    def callback(self) -> Any:
        """Keep a group's own function, of which nothing is used here."""
        return lambda body: body

    def __call__(self, arguments: list[str], *, prog_name: str, standalone_mode: bool) -> Any:
        """Run the command line; usage errors are raised."""
        if self._group is None:
            return self._run(arguments, prog_name)
        if not arguments or arguments[0] in ("-h", "--help"):
            sys.stdout.write(_help(prog_name))
            return 0
        command = self._group().get_command(None, arguments[0])
        return command(arguments[1:], prog_name=f"{prog_name} {arguments[0]}", standalone_mode=standalone_mode)

    def _run(self, arguments: list[str], prog: str) -> Any:
        parser, flags = _parser(self._body, prog)
        arguments, rest = _split(arguments)
        given = vars(parser.parse_args(arguments))
        for name in flags:
            given[name] = [*(given[name] or []), *rest] or None
        if rest and not flags:
            raise BadParameter(f"'{rest[0]}' has no place")
        return self._body(**given)


class TyperGroup:
    """The root of groups; its methods are the group's."""


core = types.ModuleType("typer.core")
core.TyperGroup = TyperGroup  # type: ignore[attr-defined]
main = types.ModuleType("typer.main")
main.get_command = lambda app: app  # type: ignore[attr-defined]
sys.modules["typer.core"], sys.modules["typer.main"] = core, main


def _help(prog: str) -> str:
    from numaprobe.cli.registry import COMMANDS

    lines = [f"usage: {prog} COMMAND [ARGUMENT]...", "", "commands:"]
    return "\n".join([*lines, *(f"  {name:10} {text}" for name, text in COMMANDS.items())]) + "\n"


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return what stands before and behind ``--``."""
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _parser(body: Any, prog: str) -> tuple[_Parser, list[str]]:
    """Return the parser of a command's function, and the names of its lists that take the rest of the line."""
    text = inspect.cleandoc(body.__doc__ or "")
    parser = _Parser(prog=prog, description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    lists = []
    hints = typing.get_type_hints(body, include_extras=True)
    for name, parameter in inspect.signature(body).parameters.items():
        kind, declared = _declared(hints[name])
        if not declared.names:
            lists += [name] * _is_list(kind)
            _add_argument(parser, name, kind, declared)
        else:
            _add_option(parser, name, kind, declared, parameter.default)
    return parser, lists


def _declared(hint: Any) -> tuple[Any, Declared]:
    """Return the type without None, and what was declared with it."""
    if typing.get_origin(hint) is not Annotated:
        return str, Option("--")
    kind, declared = typing.get_args(hint)[:2]
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kind = next(one for one in typing.get_args(kind) if one is not type(None))
    return kind, declared


def _is_list(kind: Any) -> bool:
    return typing.get_origin(kind) is list


def _add_argument(parser: _Parser, name: str, kind: Any, declared: Declared) -> None:
    settings = declared.settings
    many = "*" if _is_list(kind) else "?"
    shown = "".join(letter for letter in settings.get("metavar", name).split()[-1] if letter.isalpha()).upper()
    parser.add_argument(name, nargs=many, metavar=shown, help=_plain(settings), default=None, type=_one(kind))


def _add_option(parser: _Parser, name: str, kind: Any, declared: Declared, default: Any) -> None:
    settings = {"dest": name, "default": default, "help": _plain(declared.settings)}
    if kind is bool:
        yes = [one for names in declared.names for one in names.split("/")[:1]]
        no = [names.split("/")[1] for names in declared.names if "/" in names]
        parser.add_argument(*yes, action="store_true", **settings)
        if no:
            parser.add_argument(*no, dest=name, action="store_false", default=default, help=argparse.SUPPRESS)
        return
    settings["metavar"] = declared.settings.get("metavar", name.upper())
    limits = declared.settings.get("min"), declared.settings.get("max")
    settings["type"] = _number(*limits) if kind is int else _one(kind)
    parser.add_argument(*declared.names, action="append" if _is_list(kind) else "store", **settings)


def _one(kind: Any) -> Any:
    return Path if kind is Path else str


def _number(least: int | None, most: int | None) -> Any:
    def number(text: str) -> int:
        value = int(text)
        if (least is not None and value < least) or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"{value} is not in the range {least}<=x<={most}")
        return value

    return number


def _plain(settings: dict[str, Any]) -> str:
    return str(settings.get("help", "")).replace("%", "%%")
