"""A table of scenarios and kernels, from the files that ``bench.lab_module`` keeps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from numaprobe.scenario import builtin_names, load_scenario
from numaprobe.scenario.inkernel import inexpressible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    Row = tuple[str, str | None, str | None, Mapping[str, str]]


def table_lines(folder: Path, cases: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of the table: a row for each scenario, a column for each kernel that was run."""
    found = {
        path.stem.removeprefix("lab-module-"): json.loads(path.read_text()) for path in folder.glob("lab-module-*")
    }
    kernels = sorted(found, key=lambda name: [int(part) for part in name.split(".")])
    rows = {(kernel, row["scenario"]): row for kernel in kernels for row in found[kernel]}
    yield f"| scenario | {' | '.join(kernels)} |"
    yield f"|---|{'---|' * len(kernels)}"
    notes = []
    for scenario, _, cmdline, explained in cases:
        shown = [_cell(rows.get((kernel, scenario)), explained.get(kernel)) for kernel in kernels]
        name = f"`{scenario}`" + (f" (`{cmdline}`)" if cmdline else "")
        yield f"| {name} | {' | '.join(shown)} |"
        notes += [f"* `{scenario}`, {kernel}: {why}" for kernel, why in explained.items()]
    for scenario in builtin_names():
        if scenario not in {case[0] for case in cases} and scenario != "host":
            reasons = list(inexpressible(load_scenario(scenario)))
            yield f"| `{scenario}` | {' | '.join('-' if reasons else 'not run' for _ in kernels)} |"
            notes += [f"* `{scenario}` is not expressed: {place}: {why}" for place, why in reasons[:1]]
    yield ""
    yield from notes


def _cell(row: Mapping[str, Any] | None, explained: str | None) -> str:
    if row is None:
        return "not run"
    if "error" in row:
        return "no result"
    text = f"{row['agree']} of {row['probes']}"
    return text if row["agree"] == row["probes"] and not row["differs"] else f"{text}{'*' if explained else ' !'}"
