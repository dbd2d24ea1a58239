"""Cold starts of the command, as a person feels them: median of eleven, and the interpreter's own start beside it."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 11
COMMAND = str(Path(sys.executable).parent / "numaprobe")


def _median_s(*command: str) -> float:
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Print the table."""
    base = _median_s(sys.executable, "-c", "pass")
    rows = (
        ("python -c pass", base, None),
        ("numaprobe --help", _median_s(COMMAND, "--help"), 0.2),
        ("numaprobe compare nvme-epyc", _median_s(COMMAND, "compare", "nvme-epyc"), 0.7),
    )
    for what, seconds, bound in rows:
        print(f"{what:32} {seconds:7.3f} s  {seconds / base:5.1f}x python{f'   bound {bound} s' if bound else ''}")
