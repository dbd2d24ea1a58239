"""``python -m bench.lab_module [KERNEL…]``: the built-in scenarios that a module can express, in real kernels.

``cases.toml`` says on which machine a scenario runs there: its own where the lab can emulate that, else a smaller one
of the same shape. Scenarios of one machine and command line share a guest. What each guest recorded is held against the
virtual machine's prediction, probe by probe, as ``numaprobe lab SCENARIO --module --check`` does; ``LAB_CASES`` (names,
with commas) runs some of them. What is found is kept as JSON in ``LAB_FOLDER`` (default: the current folder), a file
for each kernel, ``LAB_KEEP`` keeps consoles and traces; ``python -m bench.lab_module --table`` prints a table of
those files. Exit 1: a probe differs that ``cases.toml`` does not explain.
"""

from __future__ import annotations

import json
import os
import sys
import tomllib
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.lab_module.table import table_lines
from numaprobe.errors import NumaprobeError, RefusedError
from numaprobe.records import make_folder
from numaprobe.scenario import load_scenario
from numaprobe.study.guests import guest_options
from numaprobe.study.lab import check_guest, module_setting, record_together

if TYPE_CHECKING:
    from numaprobe.analysis.agreement import Agreement

CASES: Final = Path(__file__).with_name("cases.toml")
TIMEOUT: Final = 900.0


@dataclass(frozen=True, kw_only=True)
class ScenarioCase:
    """A row of ``cases.toml``."""

    scenario: str
    machine: str | None = None
    cmdline: str | None = None
    scale: int | None = None
    #: kernel series -> why probes differ there, and how many
    explained: dict[str, str] = field(default_factory=dict)


def all_cases() -> list[ScenarioCase]:
    return [ScenarioCase(**row) for row in tomllib.loads(CASES.read_text())["case"]]


def chosen_cases() -> list[ScenarioCase]:
    wanted = os.environ.get("LAB_CASES", "")
    names = set(wanted.split(",")) if wanted else None
    return [one for one in all_cases() if names is None or one.scenario in names]


def run(kernel: str) -> list[dict[str, Any]]:
    """Boot a guest for each machine and command line, and return a row for each scenario."""
    rows = []
    options = guest_options(kernel, timeout=TIMEOUT)
    keep = os.environ.get("LAB_KEEP")
    cases = chosen_cases()
    for number, (_, group) in enumerate(groupby(cases, key=lambda one: (one.machine or one.scenario, one.cmdline))):
        settings, together = [], list(group)
        for one in together:
            scenario = load_scenario(one.scenario)
            if one.cmdline is not None:
                scenario = scenario.model_copy(update={"cmdline": one.cmdline})
            settings.append(module_setting(scenario, options, machine=one.machine, factor=one.scale))
        if keep:
            folder = Path(keep) / f"{kernel}-{number}"
            settings = [replace(one, options=replace(options, keep=folder)) for one in settings]
        print(f"{kernel}: {', '.join(one.scenario for one in together)}", file=sys.stderr, flush=True)
        for one, setting, result in zip(together, settings, record_together(settings), strict=True):
            row = {"scenario": one.scenario, "kernel": kernel, "release": options.image.release}
            if isinstance(result, RefusedError):
                rows.append(row | {"error": str(result)})
            else:
                check = check_guest(setting, result.trace, setting.profile.pci_policy)
                rows.append(row | summary(check.report) | {"failures": [one.message for one in result.failures]})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def summary(report: Agreement) -> dict[str, Any]:
    """Return how many probes agree, and what differs of the others."""
    differs = [
        {
            "device": row.device,
            "what": [name for name, verdict in row.verdicts.items() if verdict is False]
            if row.recorded
            else ["probed"],
            "predicted": f"CPU {row.predicted.cpu} {row.predicted.comm} {row.predicted.result}",
            "recorded": f"CPU {row.recorded.cpu} {row.recorded.comm} {row.recorded.result}" if row.recorded else None,
        }
        for row in report.rows
        if not row.agrees
    ]
    more = [
        {"device": one.device, "what": ["not predicted"], "recorded": f"CPU {one.cpu} {one.comm} {one.result}"}
        for one in report.unexpected
    ]
    return {"probes": len(report.rows), "agree": sum(row.agrees for row in report.rows), "differs": [*differs, *more]}


def main() -> None:
    folder = Path(os.environ.get("LAB_FOLDER", "."))
    if sys.argv[1:] == ["--table"]:
        print(
            "\n".join(
                table_lines(folder, [(one.scenario, one.machine, one.cmdline, one.explained) for one in all_cases()])
            )
        )
        return
    fine = True
    make_folder(folder)
    for kernel in sys.argv[1:] or ["6.12"]:
        try:
            rows = run(kernel)
        except NumaprobeError as error:
            print(f"{kernel}: {error}")
            fine = False
            continue
        path = folder / f"lab-module-{kernel}.json"
        known = {row["scenario"]: row for row in json.loads(path.read_text())} if path.is_file() else {}
        path.write_text(json.dumps(list((known | {row["scenario"]: row for row in rows}).values()), indent=1) + "\n")
        explained = {one.scenario for one in all_cases() if kernel in one.explained}
        for row in rows:
            good = row.get("agree") == row.get("probes") and not row.get("differs") and "error" not in row
            fine &= good or row["scenario"] in explained
            print(
                f"{kernel} {row['scenario']:24} {row.get('agree', '-')} of {row.get('probes', '-')}"
                f" {row.get('error', '')} {row.get('failures', '')}"
            )
            for one in row.get("differs", ()):
                print(f"    {json.dumps(one)}")
    sys.exit(not fine)


if __name__ == "__main__":
    main()
