"""A schedule as a short text: ``np2:3f9a2c1b:7=2,15=1``.

Version, digest of what was run, and where the run left the machine's own order: at the 7th choice (from 0) the third
actor went on, at the 15th the second. At all other choices the first one did. Choices with one possibility do not
count. So the machine's own order is ``np2:3f9a2c1b:``. What was asked for besides the order stands behind the digest:
kinds of choices (``np2:3f9a2c1b+no-room:7=2``), and after how many steps of others a task counts as starved
(``np2:3f9a2c1b+patience-50:7=2``).
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: What the positions count changes with it: an older text cannot be repeated.
VERSION: Final = "np2"
_ASKED: Final = r"(?:\+[a-z-]{1,40}\d{0,9})*"
_CHANGES: Final = r"(?:\d{1,9}=\d{1,9}(?:,\d{1,9}=\d{1,9})*)?"
_TEXT: Final = re.compile(rf"(np\d{{1,4}}):([0-9a-f]{{8}}{_ASKED}):({_CHANGES})\Z")
_PATIENCE: Final = "patience-"
#: A schedule of more choices than this is none of ours.
MAX_TEXT: Final = 1_000_000


def digest_of(parts: Iterable[str]) -> str:
    """Return the eight letters that stand for what is run."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=4).hexdigest()


def write_schedule(digest: str, choices: Sequence[int]) -> str:
    """Return the text of what was chosen."""
    changes = ",".join(f"{position}={index}" for position, index in enumerate(choices) if index)
    return f"{VERSION}:{digest}:{changes}"


def asked_besides(faults: Iterable[str], patience: int | None) -> str:
    """Return what stands behind the digest."""
    asked = [*faults, *([] if patience is None else [f"{_PATIENCE}{patience}"])]
    return "".join(f"+{one}" for one in asked)


def faults_of(text: str) -> tuple[str, ...]:
    """Return the kinds of choices that a schedule offers besides the order.

    Raises:
        InputError: the text is none.

    """
    return tuple(one for one in _asked_in(text) if not _is_patience(one))


def patience_of(text: str) -> int | None:
    """Return after how many steps of others a task counts as starved in a schedule; None: it was not asked for.

    Raises:
        InputError: the text is none.

    """
    return next((int(one.removeprefix(_PATIENCE)) for one in _asked_in(text) if _is_patience(one)), None)


def _asked_in(text: str) -> list[str]:
    read_schedule(text)
    return text.split(":")[1].split("+")[1:]


def _is_patience(asked: str) -> bool:
    return asked.startswith(_PATIENCE) and asked[len(_PATIENCE) :].isdecimal()


def read_schedule(text: str, digest: str | None = None) -> dict[int, int]:
    """Return position -> what is chosen there, where it is not the first.

    Args:
        text: see the module's text.
        digest: of what it is to be used for, with or without what is asked for besides; None: not checked.

    Raises:
        InputError: it is none, of another version, or of something else.

    """
    found = _TEXT.match(text) if len(text) <= MAX_TEXT else None
    if found is None:
        shown = "".join(letter if letter.isprintable() else "?" for letter in text[:40])
        raise InputError(f"schedule '{shown}' is none: it looks like {VERSION}:3f9a2c1b:7=2,15=1, as explore prints it")
    version, whole, changes = found.groups()
    made_of, *_ = whole.split("+")
    if version != VERSION:
        raise InputError(f"schedule {version}:… is of another version; this one repeats {VERSION}: explore again")
    wanted = made_of if digest is None else digest.partition("+")[0]
    if made_of != wanted:
        raise InputError(
            f"schedule {VERSION}:{made_of}:… is of another scenario, policy or kernel (this is {wanted}): explore again"
        )
    pairs = [pair.split("=") for pair in changes.split(",") if pair]
    positions = [int(position) for position, _ in pairs]
    if positions != sorted(set(positions)):
        raise InputError(f"schedule {version}:{made_of}:… is damaged: its positions do not grow")
    return {int(position): int(index) for position, index in pairs}
