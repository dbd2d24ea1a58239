"""``make bench``: every figure that the documents claim, measured side by side in one run.

Each ``bench_*.py`` here has a ``main()`` that prints a table: what, our figure, the other's, the ratio. Figures
are medians of several runs. Names on the command line choose some of them: ``python -m bench events scale``.
"""

from __future__ import annotations

import importlib
import platform
import sys
import time
from pathlib import Path


def main() -> None:
    """Run the chosen benchmarks, or all."""
    found = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    chosen = sys.argv[1:] or found
    unknown = sorted(set(chosen) - set(found))
    if unknown:
        sys.exit(f"bench: no benchmark named {', '.join(unknown)}; there are {', '.join(found)}")
    print(f"Python {platform.python_version()}, {platform.machine()}")
    for name in chosen:
        print(f"\n== {name}", flush=True)
        start = time.perf_counter()
        importlib.import_module(f"bench.bench_{name}").main()
        print(f"   ({time.perf_counter() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
