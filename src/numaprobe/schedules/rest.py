"""What a search has left, and what it found so far: enough to go on elsewhere, as if it had never stopped.

It is JSON, and of one subject. What was found is kept as schedules, and run once more when the search goes on.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from numaprobe.errors import InputError
from numaprobe.reading.files import read_bytes
from numaprobe.records import write_atomically
from numaprobe.schedules.replay import VERSION

if TYPE_CHECKING:
    from pathlib import Path

    from numaprobe.schedules.attempt import Subject
    from numaprobe.schedules.limits import Limits

REST_SCHEMA: Final = "numaprobe.explore-rest/1"
#: A million remembered states take 50 MB.
_LARGEST: Final = 256 << 20


class _RestModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KeptFinding(_RestModel):
    """One ending, and the shortest run so far that ends so."""

    key: str
    schedule: str
    times: int = Field(ge=1)
    first_run: int = Field(ge=0)


class ReducedTurn(_RestModel):
    """A point of the path of a reduced search (``reduced``)."""

    actors: list[str]
    actor: str
    todo: list[str]
    what: str
    done: dict[str, dict[str, bool]]
    sleep: dict[str, dict[str, bool]]


class Rest(_RestModel):
    """See the module's text."""

    form: Literal["numaprobe.explore-rest/1"] = Field(REST_SCHEMA, alias="schema")
    #: of the schedules' texts
    version: str = VERSION
    subject: str
    digest: str
    #: what must not change: the strategy, and of pct and random the seed and depth
    strategy: str
    seed: int
    depth: int
    # ---- what was counted
    runs: int = Field(0, ge=0)
    steps: int = Field(0, ge=0)
    states: int = Field(0, ge=0)
    actors: int = Field(0, ge=0)
    longest: int = Field(0, ge=0)
    exhaustive: bool = False
    preemptions: int | None = None
    found: list[KeptFinding] = []
    # ---- where it is: dfs
    bound: int = Field(0, ge=0)
    path: list[tuple[int, bool, int, int]] = []
    cut: bool = False
    #: state, who is in turn, pre-emptions
    seen: list[tuple[int, str, int]] = []
    #: of a reduced search: its path, and by which run it gives up
    reduced: list[ReducedTurn] | None = None
    until: int = 0
    # ---- by chance
    #: runs that were drawn, and the length that they were drawn for
    drawn: int = Field(0, ge=0)
    length: int = Field(0, ge=0)


def write_rest(rest: Rest, path: Path) -> None:
    """Write it, whole or not at all.

    Raises:
        InputError: it cannot be written.

    """
    data: dict[str, Any] = rest.model_dump(by_alias=True, exclude_defaults=True)
    write_atomically(path, json.dumps({"schema": REST_SCHEMA, "version": VERSION, **data}) + "\n")


def read_rest(path: Path) -> Rest | None:
    """Return what a file says that is left; None: there is no file.

    Raises:
        InputError: it is none of ours, damaged, or of another version.

    """
    data = read_bytes(path, _LARGEST)
    if data is None:
        return None
    try:
        rest = Rest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(one) for one in first["loc"][:3]) or "it"
        text = f"holds no search that could go on ({where}: {first['msg'][:80]}): take the file away to begin again"
        raise InputError(text, str(path)) from None
    if rest.version != VERSION:
        text = f"its schedules are of another version ({rest.version[:10]}, not {VERSION}): take it away to begin again"
        raise InputError(text, str(path))
    return rest


def check_rest(rest: Rest, subject: Subject, limits: Limits) -> None:
    """Refuse what is left of something else.

    Raises:
        InputError: it is.

    """
    if rest.digest != subject.digest:
        raise InputError(f"what is left is of {rest.subject[:80]}, or of another state of it: this is {subject.name}")
    for name in ("strategy", "seed", "depth"):
        told, wanted = getattr(rest, name), getattr(limits, name)
        if told != wanted:
            raise InputError(f"what is left is of a search with --{name} {str(told)[:20]}, not {wanted}")
