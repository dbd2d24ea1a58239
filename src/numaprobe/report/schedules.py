"""What a search of orders found: each finding and each outcome once, with its schedule as a table of steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TextIO

from numaprobe.analysis.words import plural
from numaprobe.report.document import HtmlDocument
from numaprobe.report.grid import Column, Grid, console_for, draw, print_line, stdout_or
from numaprobe.report.lockdep import lockdep_text
from numaprobe.report.order_drawing import order_drawing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from numaprobe.schedules import ChosenRun, ClaimedCycle, Explored, Found, Party

#: Version of the JSON form.
SCHEMA: Final = "numaprobe.explore/1"
#: In a table of steps: nothing happened that people need to see.
_QUIET: Final = "·"


def print_explored(result: Explored, stream: TextIO | None = None) -> None:
    """Print what was found, and last what was covered."""
    console = console_for(stdout_or(stream))
    print_line(_verdict(result), console, style="bold")
    print_line(result.coverage, console)
    for number, found in enumerate(result.findings, 1):
        console.print()
        print_line(f"{number}. {found.ending.verdict}: {found.ending.text}", console, style="bold red")
        _print_found(found, console, repeated=bool(result.repeats))
        for party in found.ending.cycle:
            _print_party(party, console)
    for claimed in result.classes:
        console.print()
        text = lockdep_text(claimed.cycle, result.subject.rpartition(" ")[2])
        if isinstance(console.file, HtmlDocument):
            console.file.add_verbatim(text)
        else:
            console.file.write(text)
        print_line(f"   {proof_text(result, claimed)}", console, style="bold")
    outcomes = result.outcomes
    if result.repeats and outcomes:
        console.print()
        print_line("; ".join(outcomes[0].ending.outcome) or "no outcome", console, style="bold")
        _print_found(outcomes[0], console, repeated=True)
    if len(outcomes) > 1:
        console.print()
        print_line(f"{len(outcomes)} outcomes of one scenario:", console, style="bold")
        common = set.intersection(*(set(found.ending.outcome) for found in outcomes))
        for letter, found in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", outcomes, strict=False):
            console.print()
            lines = [line for line in found.ending.outcome if line not in common] or [
                "nothing that the others have not"
            ]
            print_line(f"{letter}. {'; '.join(lines)}", console, style="bold")
            _print_found(found, console)


def proof_text(result: Explored, claimed: ClaimedCycle) -> str:
    """Say what the search has to say about a cycle of lock classes."""
    if claimed.schedule:
        by = f" (run {claimed.directed} of those that were directed at it)" if claimed.directed else ""
        return f"proved by schedule {claimed.schedule}{by}"
    if result.exhaustive:
        return "class order only: every order of this subject was seen, and none deadlocks so"
    return f"class order only: none of {result.runs} schedules deadlocks so, nor of {claimed.directed} directed at it"


def _verdict(result: Explored) -> str:
    if result.clean:
        return f"{result.subject}: nothing found"
    kinds = [plural(len(result.findings), "finding")] if result.findings else []
    kinds += [f"{len(result.outcomes)} outcomes"] if len(result.outcomes) > 1 else []
    return f"{result.subject}: {' and '.join(kinds)}"


def _print_found(found: Found, console: Console, *, repeated: bool = False) -> None:
    run = found.run
    first = "" if repeated else f"; first in run {found.first_run}"
    size = f"{plural(run.preemptions, 'pre-emption')}, {plural(len(run.steps), 'step')}"
    print_line(f"   schedule {found.schedule} ({size}{first})", console)
    if isinstance(console.file, HtmlDocument):
        console.file.add_drawing(order_drawing(run))
    elif repeated or any(run.choices):
        draw(steps_grid(run), console, legend=False)


def _print_party(party: Party, console: Console) -> None:
    print_line(f"   {party.task} waits for {party.waits_for} ({', '.join(party.behind)})", console)
    for line in party.stack:
        print_line(f"      in {line}", console)
    for line in party.story[-4:]:
        print_line(f"      story {line.strip()}", console)


def steps_grid(run: ChosenRun) -> Grid:
    """Return a run as a table: a column for each task, a line for each step in which something is to be seen."""
    names = columns_of(run)
    columns = [Column(title="step", align="right"), *(Column(title=title, wraps=True) for title in names.values())]
    return Grid(columns=columns, rows=list(_rows(run, list(names))))


def columns_of(run: ChosenRun) -> dict[str, str]:
    """Return the actors that did something to be seen, in the order of their first step, each with its title."""
    seen = dict.fromkeys(step.actor for step in run.steps if step.notes or step.preempts)
    return {actor: run.labels.get(actor, actor) for actor in seen}


def _rows(run: ChosenRun, actors: Sequence[str]) -> Iterator[list[str]]:
    for number, step in enumerate(run.steps):
        if step.what:
            if step.index:
                yield [str(number), f"({step.what})", *[""] * (len(actors) - 1)]
            continue
        if not (step.notes or step.preempts):
            continue
        text = ", ".join(f"{verb} {what}" for verb, what in step.notes) or _QUIET
        row = [""] * len(actors)
        row[actors.index(step.actor)] = f"> {text}" if step.preempts else text
        yield [str(number), *row]


def explored_page(result: Explored) -> str:
    """Return what was found as a page of HTML, each schedule drawn."""
    document = HtmlDocument()
    print_explored(result, document)
    return document.text()


# ---- JSON ----------------------------------------------------------------------------------------------------------
def explored_to_dict(result: Explored) -> dict[str, Any]:
    """Return what was found as JSON has it (``numaprobe.explore/1``)."""
    return {
        "schema": SCHEMA,
        "subject": result.subject,
        "strategy": result.limits.strategy,
        "clean": result.clean,
        "exhaustive": result.exhaustive,
        "preemptions": result.preemptions,
        "coverage": result.coverage,
        "runs": result.runs,
        "states": result.states,
        "classes": [
            {
                "classes": list(one.cycle.names),
                "schedule": one.schedule or None,
                "directed": one.directed,
                "proof": proof_text(result, one),
            }
            for one in result.classes
        ],
        "findings": [_found_to_dict(found) for found in result.findings],
        "outcomes": [_found_to_dict(found) for found in result.outcomes],
    }


def _found_to_dict(found: Found) -> dict[str, Any]:
    run = found.run
    labels = run.labels
    return {
        "verdict": str(found.ending.verdict),
        "text": found.ending.text,
        "outcome": list(found.ending.outcome),
        "schedule": found.schedule,
        "preemptions": run.preemptions,
        "times": found.times,
        "first_run": found.first_run,
        "cycle": [
            {
                "task": party.task,
                "waits_for": party.waits_for,
                "behind": list(party.behind),
                "stack": list(party.stack),
                "story": list(party.story),
            }
            for party in found.ending.cycle
        ],
        "steps": [
            {
                "task": labels.get(step.actor, step.actor),
                "actor": step.actor,
                "preempts": step.preempts,
                "does": [f"{verb} {what}" for verb, what in step.notes],
            }
            for step in run.steps
            if not step.what
        ],
    }
