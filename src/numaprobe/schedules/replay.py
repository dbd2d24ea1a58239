"""A schedule as a short text: ``np1:3f9a2c1b:7=2,15=1``.

Version, digest of what was run, and where the run left the machine's own order: at the 7th choice (from 0) the third
actor went on, at the 15th the second. At all other choices the first one did. Choices with one possibility do not
count. So the machine's own order is ``np1:3f9a2c1b:``. Kinds of choices that were offered besides the order stand
behind the digest: ``np1:3f9a2c1b+no-room:7=2``.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: What the positions count changes with it: an older text cannot be repeated.
VERSION: Final = "np1"
_TEXT: Final = re.compile(r"(np\d{1,4}):([0-9a-f]{8}(?:\+[a-z-]{1,40})*):((?:\d{1,9}=\d{1,9}(?:,\d{1,9}=\d{1,9})*)?)\Z")
#: A schedule of more choices than this is none of ours.
MAX_TEXT: Final = 1_000_000


def digest_of(parts: Iterable[str]) -> str:
    """Return the eight letters that stand for what is run."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=4).hexdigest()


def write_schedule(digest: str, choices: Sequence[int]) -> str:
    """Return the text of what was chosen."""
    changes = ",".join(f"{position}={index}" for position, index in enumerate(choices) if index)
    return f"{VERSION}:{digest}:{changes}"


def faults_of(text: str) -> tuple[str, ...]:
    """Return the kinds of choices that a schedule offers besides the order.

    Raises:
        InputError: the text is none.

    """
    read_schedule(text)
    return tuple(text.split(":")[1].split("+")[1:])


def read_schedule(text: str, digest: str | None = None) -> dict[int, int]:
    """Return position -> what is chosen there, where it is not the first.

    Args:
        text: see the module's text.
        digest: of what it is to be used for; None: not checked.

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
    if digest is not None and made_of != digest:
        raise InputError(
            f"schedule {VERSION}:{made_of}:… is of another scenario, policy or kernel (this is {digest}): explore again"
        )
    pairs = [pair.split("=") for pair in changes.split(",") if pair]
    positions = [int(position) for position, _ in pairs]
    if positions != sorted(set(positions)):
        raise InputError(f"schedule {version}:{made_of}:… is damaged: its positions do not grow")
    return {int(position): int(index) for position, index in pairs}
