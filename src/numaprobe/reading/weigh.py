"""How much memory a text will need once it is parsed, worked out before it is.

A parser makes an object of every bracket and every word, and a text of brackets alone grows to thirty times its
size. The weights are what CPython 3.11 takes for each kind of object, rounded up (``sys.getsizeof``, and the slot that
holds it); counting bytes is a hundred times faster than parsing. A true file weighs up to three times what it needs.

TOML has one thing more: a key of *n* parts (``a.b.c``) takes memory and time that grow with n². Parts are counted by a
lexer, since quotes may hide them, and only in lines that have that many dots.
"""

from __future__ import annotations

import re
from typing import Final

from numaprobe.errors import InputError
from numaprobe.reading.budget import BUDGETS, MIB

#: bytes of memory for each such byte of text
JSON_WEIGHTS: Final = {b"{": 240, b"[": 90, b",": 56, b":": 60, b'"': 22}
#: a table of TOML is a dict, and a dict and two sets of flags
TOML_WEIGHTS: Final = {b"\n[": 1200, b"{": 700, b"[": 120, b"=": 320, b",": 70, b".": 1000, b'"': 22, b"'": 22}
XML_WEIGHTS: Final = {b"<": 400, b"=": 260}
#: Parts of a key: ``drivers.phases.hold.phases.hold…``; the longest of the built-in scenarios has 5.
MAX_KEY_PARTS: Final = 24

_TOML_TOKEN: Final = re.compile(
    rb"""
    \#[^\n]*+
    | \"\"\"(?:[^"\\]|\\.|"{1,2}+(?!"))*+"{3,5}+
    | '''(?:[^']|'{1,2}+(?!'))*+'{3,5}+
    | (?P<key>(?:[A-Za-z0-9_+-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')
       (?:[ \t]*+\.[ \t]*+(?:[A-Za-z0-9_+-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+'))*+)
    | [^\#"'A-Za-z0-9_+-]++
    | .
    """,
    re.VERBOSE | re.DOTALL,
)


def check_weight(form: str, content: bytes, weights: dict[bytes, int], where: str) -> None:
    """Refuse a text whose parsed form would exceed its form's budget.

    Raises:
        InputError: it would.

    """
    check_worked_out(form, weight(content, weights), where)


def weight(content: bytes, weights: dict[bytes, int]) -> int:
    """Return the bytes of memory that the parsed text will need, at most."""
    return len(content) * copies(content) + objects_weight(content, weights)


def objects_weight(content: bytes, weights: dict[bytes, int]) -> int:
    """Return the bytes of memory of the objects that the parsed text will hold, without its characters."""
    return sum(content.count(byte) * each for byte, each in weights.items())


def copies(content: bytes) -> int:
    """Return how many bytes each byte of a text may become: one rare character makes all characters of a text wide."""
    if content.isascii():
        return 8 if any(content.count(b"\\" + lead) for lead in (b"ud8", b"ud9", b"uda", b"udb", b"U000")) else 2
    return 8


def check_worked_out(form: str, needed: int, where: str) -> None:
    """Refuse what would need more memory than its form's budget.

    Raises:
        InputError: it would.

    """
    limit = BUDGETS[form].weight or 0
    if needed > limit:
        raise InputError(
            f"would take {needed // MIB} MiB of memory, and a {BUDGETS[form].what} may take {limit // MIB}; divide it",
            where,
        )


def check_toml(content: bytes, where: str) -> None:
    """Refuse a TOML text that its parser could not take in with bounded memory and time.

    Raises:
        InputError: it is one; ``where`` is the file.

    """
    check_weight("scenario", content, TOML_WEIGHTS, where)
    if content.count(b".") <= MAX_KEY_PARTS or not any(
        line.count(b".") >= MAX_KEY_PARTS for line in re.split(rb"[\r\n]+", content)
    ):
        return
    for token in _TOML_TOKEN.finditer(content):
        key = token["key"]
        if key is not None and (parts := _parts(key)) > MAX_KEY_PARTS:
            line = content.count(b"\n", 0, token.start()) + 1
            raise InputError(f"has a key of {parts} parts, and {MAX_KEY_PARTS} are the most", f"{where}:{line}")


def _parts(key: bytes) -> int:
    """Return the parts of a dotted key; dots inside quotes do not count."""
    return re.sub(rb"""\"(?:[^"\\\n]|\\.)*+\"|'[^'\n]*+'""", b"", key, flags=re.DOTALL).count(b".") + 1
