"""Files of two states, read and held against each other: what ``numaprobe verify`` does, as a Python API."""

from __future__ import annotations

import glob
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe.analysis.verify import VerifiedSide, verify
from numaprobe.errors import InputError, UsageError
from numaprobe.study.traces import STDIN, named_file, read_trace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numaprobe.analysis.verify import Verification
    from numaprobe.records import Trace
    from numaprobe.topology import Topology

#: Stands between the files before and those after.
BETWEEN: Final = "--"
_HOW: Final = "write BEFORE… -- AFTER…, or before=FILE… after=FILE…"


@dataclass(slots=True)
class SideFiles:
    """The files of one side, and the user's word for it."""

    label: str | None
    files: list[str] = field(default_factory=list)


def side_files(words: Sequence[str]) -> tuple[SideFiles, SideFiles]:
    """Return which files are of which side.

    Args:
        words: ``A B``: one file or pattern each, or a prediction and any number of files; ``A… -- B…``; or
            ``before=A… after=B…`` in any order, with any two words. A pattern (``boots/*.json``) stands for its files.

    Raises:
        UsageError: these are not two sides.
        InputError: a pattern stands for no file.

    """
    if BETWEEN in words:
        cut = words.index(BETWEEN)
        parts = [words[:cut], words[cut + 1 :]]
        if BETWEEN in parts[1] or not all(parts):
            raise UsageError(f"there must be files before and after one '--': {_HOW}")
        return SideFiles(None, _expanded(parts[0])), SideFiles(None, _expanded(parts[1]))
    sides: dict[str, SideFiles] = {}
    plain = []
    for word in words:
        label, file = named_file(word)
        if label is None:
            plain.append(file)
        else:
            sides.setdefault(label, SideFiles(label)).files += _expanded([file])
    if not sides and len(plain) > 1:
        return SideFiles(None, _expanded(plain[:1])), SideFiles(None, _expanded(plain[1:]))
    if plain or len(sides) != 2:  # noqa: PLR2004  a comparison has two
        raise UsageError(f"these are not two sides to compare: {_HOW}")
    first, second = sides.values()
    return first, second


def verify_files(
    words: Sequence[str],
    *,
    control: Sequence[str] = (),
    gate: float | None = None,
    machine: Topology | str | None = None,
    kprobes: Path | None = None,
) -> Verification:
    """Read two states and hold the second against the first; see ``analysis.verify.verify``.

    Args:
        words: see ``side_files``.
        control: files or patterns of the first state, recorded once more.
        gate: percent.
        machine: where a kernel's traces were recorded, if they do not say.
        kprobes: see ``read_trace``.

    Raises:
        UsageError: these are not two sides.
        InputError: a file cannot be read, or the two cannot be compared.

    """
    first, second = side_files(words)
    before, after = (
        [(file, read_trace(file, machine=machine, kprobes=kprobes, named=False)) for file in side.files]
        for side in (first, second)
    )
    if BETWEEN not in words and len(words) > 2 and first.label is None and before[0][1].source != "virtual":  # noqa: PLR2004
        raise UsageError(f"which of {len(words)} files are of which side? {_HOW}")
    predicted = _virtual(before) != _virtual(after)
    names = ("predicted", "measured") if predicted and _virtual(before) else ("before", "after")
    if predicted and _virtual(after):
        names = ("measured", "predicted")
    again = [(file, read_trace(file, machine=machine, kprobes=kprobes, named=False)) for file in _expanded(control)]
    return verify(
        _side(first.label, names[0], before),
        _side(second.label, names[1], after),
        control=_side("control", "control", again) if again else None,
        gate=gate,
    )


def _virtual(traces: Iterable[tuple[str, Trace]]) -> bool:
    return all(trace.source == "virtual" for _, trace in traces)


def _side(word: str | None, otherwise: str, traces: Sequence[tuple[str, Trace]]) -> VerifiedSide:
    """Return a side under the user's word, else that which all its traces carry, else as it is called."""
    own = {trace.identity.label if trace.identity is not None else None for _, trace in traces}
    label = word or (own.pop() if len(own) == 1 else None) or otherwise
    return VerifiedSide(
        label=label, traces=tuple(trace for _, trace in traces), names=tuple(file for file, _ in traces)
    )


def _expanded(patterns: Iterable[str]) -> list[str]:
    """Return the files that patterns stand for, in the order of their names."""
    found: list[str] = []
    for pattern in patterns:
        if pattern == STDIN or not glob.has_magic(pattern) or Path(pattern).exists():
            found.append(pattern)
            continue
        files = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  a pattern may be absolute
        if not files:
            raise InputError("no file is called so", pattern)
        found += files
    return found
