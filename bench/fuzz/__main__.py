"""``make fuzz``: every reader under Atheris, then the bombs; a table, and exit 1 if anything was found.

``FUZZ_SECONDS`` is the CPU time of all readers together (600), ``FUZZ_SEED`` the seed, ``FUZZ_READERS`` some of the
readers, ``FUZZ_FOLDER`` where corpus and findings are kept (``build/fuzz``).
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

from bench.fuzz.bombs import Result, results
from bench.fuzz.targets import TARGETS
from numaprobe.reading.budget import BUDGETS, MIB

SECONDS = float(os.environ.get("FUZZ_SECONDS", "600"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
READERS = os.environ.get("FUZZ_READERS", " ".join(TARGETS)).split()
FOLDER = Path(os.environ.get("FUZZ_FOLDER", "build/fuzz"))


def fuzz(reader: str, seconds: float) -> bool:
    """Fuzz one reader and print its row; tell whether it held."""
    facts = FOLDER / f"{reader}.json"
    facts.unlink(missing_ok=True)
    command = [sys.executable, "-m", "bench.fuzz.worker", reader, str(seconds), str(SEED), str(FOLDER)]
    with (FOLDER / f"{reader}.log").open("wb") as log:
        done = subprocess.run(command, stdout=log, stderr=log, check=False)
    row = json.loads(facts.read_text(encoding="utf-8")) if facts.exists() else {}
    findings = row.get("findings", [])
    if done.returncode != 0:
        findings.append(f"ended with {done.returncode}: see {FOLDER}/{reader}.log")
    print(
        f"{reader:14} {row.get('inputs', 0):9} {row.get('read', 0):9} {row.get('cpu_s', 0):8.0f} "
        f"{row.get('worst_s', 0):8.2f} {row.get('worst_mb', 0):9.0f} {len(findings):9}",
        flush=True,
    )
    for finding in findings:
        print(f"    {finding}", flush=True)
    return not findings


def show(result: Result) -> bool:
    """Print the row of one bomb; tell whether it held."""
    budget = BUDGETS[result.bomb.form]
    verdict = "held" if result.held else "NOT HELD"
    print(
        f"{result.bomb.form:12} {result.bomb.name:26} {result.size / MIB:7.1f} {result.code:5} "
        f"{result.seconds:8.1f}/{budget.seconds:<5} {result.memory // MIB:6}/{budget.memory // MIB:<5} {verdict}",
        flush=True,
    )
    if not result.held:
        print(f"    {result.said.strip()[:200]}", flush=True)
    return result.held


def main() -> None:
    if importlib.util.find_spec("atheris") is None:
        sys.exit("fuzzing needs Atheris, which is there for CPython 3.11 to 3.13: pip install --group fuzz")
    FOLDER.mkdir(parents=True, exist_ok=True)
    print(f"Atheris, seed {SEED}: inputs of up to 16 KiB, each at most 3 s and 256 MB")
    print(f"{'reader':14} {'inputs':>9} {'read':>9} {'CPU s':>8} {'worst s':>8} {'worst MB':>9} {'findings':>9}")
    held = [fuzz(reader, SECONDS / len(READERS)) for reader in READERS]
    print(f"\n{'form':12} {'bomb':26} {'MiB':>7} {'exit':>5} {'CPU s/budget':>14} {'MiB/budget':>12}")
    held += [show(result) for result in results()]
    sys.exit(0 if all(held) else 1)


if __name__ == "__main__":
    main()
