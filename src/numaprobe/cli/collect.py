"""``numaprobe collect``: the traces of many hosts into one dataset, to be asked by ``fleet`` and ``query``."""

import contextlib
import re
import sys
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from numaprobe.cli import options
from numaprobe.cli.output import to_json
from numaprobe.cli.progress import ProgressLine
from numaprobe.cli.say import complain
from numaprobe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.study.fleet import Collected, TraceSource

_INTERRUPTED = 130
#: Traces that could not be read: so many are named, the others are counted.
_NAMED = 20


def collect(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A folder; made if it is not there.")],
    traces: Annotated[
        list[str] | None, typer.Argument(metavar="TRACE", help="Files and folders; - for standard input.")
    ] = None,
    ssh: Annotated[
        list[str] | None, typer.Option("--ssh", metavar="HOST", help="Ask this host, with your ssh. Repeatable.")
    ] = None,
    hosts: Annotated[
        str | None, typer.Option("--hosts", metavar="FILE", help="Ask the hosts that FILE lists, one to a line.")
    ] = None,
    command: Annotated[
        str | None,
        typer.Option("--run", metavar="COMMAND", help="What prints a trace on a host; its dmesg if not said."),
    ] = None,
    at_once: Annotated[
        int, typer.Option("--jobs", "-j", min=1, max=256, metavar="N", help="Hosts asked at once.")
    ] = 16,
    timeout: Annotated[str, typer.Option("--timeout", metavar="TIME", help="What each host may take.")] = "60s",
    date: Annotated[
        str | None, typer.Option("--date", metavar="DAY", help="The day of traces that do not say: 2026-11-21.")
    ] = None,
    machine: options.RecordedOn = None,
    as_json: options.Json = False,
) -> int:
    """Add traces of many hosts to a dataset: what any command here reads, packed or not.

    TRACE is a file, a folder with all below it, or - for what a configuration tool prints: a tar archive with a folder
    for each host, JSON lines, {"HOST": "text"} (salt), or Ansible's JSON callback. Hosts are asked with your own ssh,
    which asks nobody for a password; nothing is installed or stored there.

    A trace that is there already is passed over, one that cannot be read is one line; the others are added. A later
    call adds to the same dataset, and reads none of what is in it. Ctrl-C keeps what was read.

    Exit code 1: some traces could not be read.
    """
    from numaprobe.study.fleet import collect as add
    from numaprobe.units import parse_time

    if date is not None and re.fullmatch(r"\d{4}-\d\d-\d\d", date, re.ASCII) is None:
        raise UsageError(f"--date '{date[:40]}' is no day; write it as 2026-11-21")
    if not (traces or ssh or hosts):
        raise UsageError("name traces: files, folders, - for standard input, --ssh HOST or --hosts FILE")
    asked = _hosts(ssh or [], hosts)
    with contextlib.ExitStack() as stack:
        found = _sources(stack, traces or [], asked, command, at_once, parse_time(timeout) / 1e9, date, machine)
        line = stack.enter_context(ProgressLine("trace"))
        done = add(dataset, found, told=lambda so_far: line.show(so_far.looked_at, so_far.looked_at, dataset))
    for name, why in done.refused[:_NAMED]:
        complain(f"{name}: {why}")
    if done.failed > _NAMED:
        complain(f"{done.failed - _NAMED} more could not be read")
    sys.stdout.write(f"{to_json(_as_json(done)) if as_json else _sentence(done)}\n")
    return _INTERRUPTED if done.interrupted else int(done.failed > 0)


def _hosts(names: list[str], file: str | None) -> list[str]:
    from numaprobe.study.fleet import check_host, read_hosts

    listed = read_hosts(file) if file is not None else []
    return list(dict.fromkeys([*(check_host(name) for name in names), *listed]))


def _sources(
    stack: contextlib.ExitStack,
    traces: list[str],
    hosts: list[str],
    command: str | None,
    at_once: int,
    seconds: float,
    date: str | None,
    machine: str | None,
) -> "Iterator[TraceSource]":
    """Return what is to be read, in the order of the command line; what cannot be is told before anything is made."""
    from numaprobe.study.fleet import COMMAND, SshHosts, file_sources, piped_sources
    from numaprobe.study.traces import STDIN
    from numaprobe.topology import load_topology

    topology = load_topology(machine) if machine is not None else None
    parts: list[Iterator[TraceSource]] = []
    for name in traces:
        if name != STDIN:
            parts.append(file_sources([name], machine=topology, date=date))
        elif sys.stdin.isatty():
            raise UsageError(
                "standard input is the terminal; pipe traces into it: tar -c traces | numaprobe collect DATASET -"
            )
        else:
            parts.append(stack.enter_context(piped_sources(sys.stdin.buffer, date=date)))
    if hosts:
        asked = SshHosts(hosts, command or COMMAND, seconds, at_once)
        parts.append(stack.enter_context(asked.sources()))
    return chain.from_iterable(parts)


def _sentence(done: "Collected") -> str:
    from numaprobe.study.fleet.questions import plural

    text = f"{done.folder}: {plural(done.added, 'trace')} added"
    if done.added:
        days = f", {', '.join(sorted(done.days)[:3])}{' …' if len(done.days) > 3 else ''}" if done.days else ""  # noqa: PLR2004
        text += f" ({plural(done.probes, 'probe')}, {plural(len(done.hosts), 'host')}{days})"
    text += f", {done.known:,} known already" if done.known else ""
    text += f", {done.failed:,} could not be read" if done.failed else ""
    return text + ("; interrupted: what was read is kept" if done.interrupted else "")


def _as_json(done: "Collected") -> dict[str, object]:
    return {
        "schema": "numaprobe.collected/1",
        "dataset": done.folder,
        "added": done.added,
        "probes": done.probes,
        "hosts": len(done.hosts),
        "days": sorted(done.days),
        "known": done.known,
        "failed": done.failed,
        "refused": [{"name": name, "reason": why} for name, why in done.refused],
        "interrupted": done.interrupted,
    }
