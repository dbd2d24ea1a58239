"""Mutation testing: is a wrong line in the driver core, the workqueue rules or the scheduler noticed by the tests?

    make mutants                                    # 300 mutants, an hour or two of one core
    python -m bench.mutants --sample 60 --seed 7    # fewer, others

mutmut (``[tool.mutmut]`` in pyproject.toml) makes every mutant of every function there: an operator, a number, a name,
an argument or a text changed. A seeded sample of them is run, each in a process of its own against those of our tests
that enter its function, those of its room first, until one fails (``mutants_plugin.py``). A mutant that mypy refuses
is no candidate: ``make test`` would refuse it too; the sample is counted without them. Nor are texts of errors,
warnings and stories (``do_not_mutate_patterns``).

A survivor is a hole in the tests, or changes nothing that can be seen. Those of the second kind are listed in
``mutants.toml`` by what they change, each with the reason. Exit code 1 if fewer than nine of ten are killed, or a
survivor has no reason.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
MADE: Final = ROOT / "mutants"
#: What is copied for the tests besides (see ``[tool.mutmut]``).
COPIED: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]["also_copy"]
#: A small file of which every mutant is run first, so that all mutants are made.
FIRST: Final = "numaprobe.workqueue.limit.*"
#: mutmut's exit codes: survived, no test enters the function, refused by mypy, does not end (a signal, or 36).
SURVIVED: Final = (0, 33)
REFUSED: Final = 37
ENDLESS: Final = (-24, 24, 36, 152, 255)
LEAST_KILLED: Final = 0.9


class Survivor(NamedTuple):
    """A mutant that no test noticed, and what it changes: one line each, without the indent."""

    name: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.name}\n    - {self.before}\n    + {self.after}"


def mutmut(*arguments: str) -> str:
    """Run mutmut; return what it printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}  # for mutants_plugin.py
    done = subprocess.run(["mutmut", *arguments], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode and arguments[0] == "run":
        sys.exit(f"mutmut failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def results() -> dict[str, int | None]:
    """Return the exit code of every mutant; None: it was not run."""
    found: dict[str, int | None] = {}
    for path in sorted(MADE.glob("src/**/*.meta")):
        found |= json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    return found


def run_sample(count: int, seed: int, children: int) -> dict[str, int]:
    """Run mutants in a seeded order until ``count`` of them were candidates; return their exit codes, all alike."""
    for path in COPIED:  # mutmut makes no folder for a single file
        (MADE / path).parent.mkdir(parents=True, exist_ok=True)
    mutmut("run", "--max-children", str(children), FIRST)
    names = sorted(results())
    random.Random(seed).shuffle(names)
    taken: dict[str, int] = {}
    while names and sum(code != REFUSED for code in taken.values()) < count:
        some, names = names[: 2 * count], names[2 * count :]
        mutmut("run", "--max-children", str(children), *some)
        codes = results()
        taken |= {name: codes[name] or 0 for name in some}
    kept: dict[str, int] = {}
    for name, code in taken.items():
        kept[name] = code
        if sum(one != REFUSED for one in kept.values()) == count:
            break
    return kept


def describe(name: str) -> Survivor:
    """Return what a mutant changes."""
    lines = [line for line in mutmut("show", name).splitlines() if not line.startswith(("---", "+++"))]
    sides = [" ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+"]
    return Survivor(re.sub(r"__mutmut_\d+$", "", name).replace("xǁ", "").replace("ǁ", "."), sides[0], sides[1])


def reasons() -> dict[tuple[str, str], str]:
    """Return why some changes change nothing: (line before, line after) -> reason."""
    data = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return {(one["before"], one["after"]): one["why"] for one in data["equivalent"]}


def main() -> int:
    """Run a sample and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=300, help="how many mutants that mypy accepts")
    parser.add_argument("--seed", type=int, default=20251121)
    parser.add_argument("--children", type=int, default=1, help="how many at a time")
    options = parser.parse_args()
    codes = run_sample(options.sample, options.seed, options.children)
    candidates = {name: code for name, code in codes.items() if code != REFUSED}
    survivors = [describe(name) for name, code in candidates.items() if code in SURVIVED]
    known = reasons()
    killed = len(candidates) - len(survivors)
    print(f"{len(results())} mutants; seed {options.seed}: {len(candidates)} run, {len(codes) - len(candidates)} of")
    print(f"those drawn were refused by mypy; {killed} killed ({100 * killed / len(candidates):.1f} %), of them")
    print(f"{sum(code in ENDLESS for code in candidates.values())} because a test did not end any more")
    open_holes = 0
    for survivor in survivors:
        why = known.get((survivor.before, survivor.after))
        open_holes += why is None
        print(f"{survivor}\n    {why or 'NO TEST NOTICES THIS'}")
    return int(killed < LEAST_KILLED * len(candidates) or open_holes > 0)


if __name__ == "__main__":
    sys.exit(main())
