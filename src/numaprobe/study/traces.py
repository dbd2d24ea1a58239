"""Recorded traces, from wherever a command or a script is pointed at."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError, UsageError
from numaprobe.records import Trace
from numaprobe.topology import load_topology

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numaprobe.topology import Topology

#: Standard input, where a file's name is asked for.
STDIN: Final = "-"
#: What a recorded trace is called beside its replays.
RECORDED: Final = "recorded"


def is_trace(source: object) -> bool:
    """Tell whether something is a recorded trace: one, ``-``, or a file that is not a scenario's."""
    if not isinstance(source, str | Path):
        return isinstance(source, Trace)
    text = str(source)
    if text == STDIN:
        return True
    if text.endswith(".toml") or "\0" in text:
        return False
    path = Path(text)
    try:
        return path.is_file() or path.is_fifo()
    except OSError:
        return False


def named_file(source: str) -> tuple[str | None, str]:
    """Cut ``before=FILE`` into the user's word and the file; a file that has such a name goes by it, without a word."""
    label, _, file = source.partition("=")
    if not label or not file or "/" in label or is_trace(source):
        return None, source
    return label, file


def read_traces(
    sources: Sequence[str], *, machine: Topology | str | None = None, kprobes: Path | None = None
) -> list[tuple[str, Trace]]:
    """Return several traces, each with its label, which it carries, too.

    A label is the one given (``before=FILE``), else the one that the trace carries, else the file's name: the whole of
    what was given where the name alone stands for two.

    Raises:
        InputError: see ``read_trace``.

    """
    pairs = [named_file(one) for one in sources]
    names = Counter(Path(file).name for _, file in pairs)
    traces = []
    for word, file in pairs:
        trace = read_trace(file, machine=machine, kprobes=kprobes)
        own = trace.identity.label if trace.identity is not None else None
        name = Path(file).name if names[Path(file).name] == 1 else file
        label = word or own or ("standard input" if file == STDIN else name)
        traces.append((label, trace.labelled(label)))
    return traces


def read_trace(
    source: str | Path,
    *,
    machine: Topology | str | None = None,
    kprobes: Path | None = None,
    named: bool = True,
    until: Sequence[str] = (),
) -> Trace:
    """Return the trace in a file, or on standard input (``-``).

    Args:
        source: the file.
        machine: where a kernel's trace was recorded; None = as the trace says, or unknown.
        kprobes: what its kprobes stand for (lines of ``kprobe_events``); None = a file beside it, or our own names.
        named: one that is of no scenario goes by its file's name.
        until: texts that a kernel log's lines are searched for: the first line with one is a milestone.

    Raises:
        InputError: it cannot be read or holds no probe.
        UsageError: standard input is a terminal.

    """
    from numaprobe.kernel.readers import read_trace as read

    text = str(source)
    where = "standard input" if text == STDIN else text
    if text == STDIN and sys.stdin.isatty():
        raise UsageError("standard input is the terminal; pipe a trace into it: dmesg | numaprobe report -")
    topology = load_topology(machine) if isinstance(machine, str) else machine
    try:
        trace = read(sys.stdin.buffer if text == STDIN else text, topology=topology, kprobes=kprobes, until=until)
    except InputError as error:
        if text == STDIN:
            raise InputError(error.what, where) from None
        raise
    if not trace.probes:
        raise InputError("holds no probe", where)
    if trace.scenario or not named:
        return trace
    return replace(trace, scenario=where if text == STDIN else Path(text).name)
