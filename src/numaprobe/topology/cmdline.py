"""The kernel command line: cut into parameters as the kernel cuts it (``next_arg`` in ``lib/cmdline.c``).

White space separates, double quotes keep it inside a value, a quote is no part of the value. ``-`` and ``_`` are one
in names (``parameq`` in ``kernel/params.c``). What stands after ``--`` is for init and no parameter of the kernel.
A parameter may come more than once: most take the last, some take them all; so both can be asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from numaprobe.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Container

#: Longest command line of any architecture is 64 KiB (s390's default is 4 KiB, x86's 2 KiB).
MAX_CMDLINE = 65536

#: A parameter: stretches in quotes (the last may lack its end) and of anything that is neither space nor quote.
_PARAMETER = re.compile(r'(?:"[^"]*(?:"|$)|[^"\s])+')
_NAME_END = re.compile(r'"[^"]*(?:"|$)|=')


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A kernel command line.

    Attributes:
        parameters: (name as written, value) in order; the value of a bare parameter (``quiet``) is None.

    """

    parameters: tuple[tuple[str, str | None], ...] = ()

    @classmethod
    def parse(cls, text: str) -> CommandLine:
        """Read a command line, as in ``/proc/cmdline``.

        Raises:
            InputError: longer than any kernel takes.

        """
        if len(text) > MAX_CMDLINE:
            raise InputError(f"a kernel command line has at most {MAX_CMDLINE} characters, this one has {len(text)}")
        found: list[tuple[str, str | None]] = []
        for match in _PARAMETER.finditer(text):
            if match[0] == "--":
                break
            name, value = _split(match[0])
            if name:
                found.append((name, value))
        return cls(tuple(found))

    def get(self, name: str) -> str | None:
        """Return the last value of the parameter: "" if it is there without one, None if it is not there."""
        values = self.all(name)
        return values[-1] if values else None

    def all(self, name: str) -> list[str]:
        """Return every value of the parameter, in order; "" for one without a value."""
        wanted = _canonical(name)
        return [value or "" for key, value in self.parameters if _canonical(key) == wanted]

    def with_value(self, name: str, value: str | None) -> CommandLine:
        """Return the command line on which the parameter has this value and no other, at its last place; None: none."""
        wanted = _canonical(name)
        places = [index for index, (key, _) in enumerate(self.parameters) if _canonical(key) == wanted]
        others = [(index, pair) for index, pair in enumerate(self.parameters) if index not in places]
        if value is not None:
            others.append((places[-1] if places else len(self.parameters), (name, value)))
        return CommandLine(tuple(pair for _, pair in sorted(others, key=lambda item: item[0])))

    def names(self) -> list[str]:
        """Return the parameters' names, each once, in order of first use, with ``_`` for ``-``."""
        return list(dict.fromkeys(_canonical(key) for key, _ in self.parameters))

    def only(self, names: Container[str]) -> CommandLine:
        """Return the parameters of these names, as they are written."""
        return CommandLine(tuple(pair for pair in self.parameters if pair[0] in names))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _canonical(name) in self.names()

    def __str__(self) -> str:
        return " ".join(_written(key, value) for key, value in self.parameters)


def _canonical(name: str) -> str:
    return name.replace("-", "_")


def _split(text: str) -> tuple[str, str | None]:
    """Cut one parameter at its first ``=``: of the whole if that stands in quotes, else the first outside of quotes."""
    if text.startswith('"'):
        name, equals, value = text.strip('"').partition("=")
        return name, value if equals else None
    for match in _NAME_END.finditer(text):
        if match[0] == "=":
            return text[: match.start()].replace('"', ""), text[match.end() :].removeprefix('"').removesuffix('"')
    return text.replace('"', ""), None


def _written(key: str, value: str | None) -> str:
    text = key if value is None else f"{key}={value}"
    return f'"{text}"' if re.search(r"\s", text) else text
