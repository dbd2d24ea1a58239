"""What a variation costs: from the file, through TOML text, and object to object, beside the run that it is made for.

From the file is what ``--set`` does: read, change, check, plan. Through text is how a scenario that has no file (a
replay, this machine's devices) was varied: written as TOML and read again. A variation by ``study.vary`` gives an
equal setting. Medians; the ratio is that of the way before (through text where there is no file) to ``vary``.
"""

from __future__ import annotations

import os
import statistics
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numaprobe.scenario import load_scenario, parse_scenario, prepare, run_setting, scenario_toml
from numaprobe.scenario.reader import parse_toml
from numaprobe.study import make_setting, vary

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.scenario import Setting

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "21"))
GUEST = Path(__file__).parents[1] / "tests" / "data" / "kernel" / "debian-7.2" / "two-nodes"
#: a thousand devices
MANY = ("devices[0].name=d{i}", "devices[0].count=1000")
#: what is changed -> as ``vary`` takes it, and as ``--set`` or ``prepare`` did
CHANGES: dict[str, tuple[dict[str, Any], tuple[str, ...], dict[str, Any]]] = {
    "policy": ({"policy": "spread"}, (), {"policy": "spread"}),
    "kernel": ({"kernel": "6.12"}, (), {"kernel": "6.12"}),
    "cmdline": ({"cmdline": "isolcpus=1"}, (), {"cmdline": "isolcpus=1"}),
    "a key": ({"changes": {"drivers[0].probe_type": "sync"}}, ("drivers[0].probe_type=sync",), {}),
}


def median_ms(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def from_file(name: str, overrides: tuple[str, ...], more: dict[str, Any]) -> Setting:
    return prepare(load_scenario(name, overrides), **more)


def through_text(setting: Setting, overrides: tuple[str, ...], more: dict[str, Any]) -> Setting:
    scenario = setting.scenario
    data = parse_toml(scenario_toml(scenario).encode(), "text")
    again = parse_scenario(data, "text", overrides=overrides)
    return prepare(again, **({"machine": setting.machine} | more))


def varied(setting: Setting, change: dict[str, Any]) -> Setting:
    return vary(setting, change.get("changes"), **{key: value for key, value in change.items() if key != "changes"})


def row(name: str, base: Setting, what: str, run: float) -> str:
    change, overrides, more = CHANGES[what]
    plain, comma, _ = name.partition(",")
    file = None
    if not name.startswith("a "):
        file = median_ms(partial(from_file, plain, (*(MANY if comma else ()), *overrides), more))
    text = median_ms(partial(through_text, base, overrides, more))
    ours = median_ms(partial(varied, base, change))
    ratio = (text if file is None else file) / ours
    shown = "-" if file is None else f"{file:.2f}"
    return f"{name:22}{what:9}{shown:>11}{text:9.2f}{ours:9.3f}{ratio:12.0f}x{run:9.2f}{ours / run:10.2f}"


def main() -> None:
    print(f"medians of {ROUNDS}, ms")
    print(
        f"{'scenario':22}{'change':9}{'from file':>11}{'text':>9}{'vary':>9}{'before/vary':>13}{'run':>9}{'to run':>10}"
    )
    bases: dict[str, Setting] = {name: make_setting(name) for name in ("nvme-epyc", "sriov", "mixed-bus")}
    bases["nvme-epyc, 1000"] = make_setting("nvme-epyc", overrides=MANY)
    bases["a replay"] = make_setting(GUEST / "async.1.trace.gz", machine=str(GUEST))
    bases["a replay of 200"] = make_setting(run_setting(make_setting("nvme-epyc", devices=200)).trace)
    for name, base in bases.items():
        run = median_ms(partial(run_setting, base))
        for what in CHANGES:
            print(row(name, base, what, run), flush=True)


if __name__ == "__main__":
    main()
