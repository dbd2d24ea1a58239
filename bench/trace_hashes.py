"""Are all traces the same as before? A hash of each built-in scenario's trace under every policy and kernel profile.

    python -m bench.trace_hashes before.json        # in the state before; then in the state after:
    python -m bench.trace_hashes after.json before.json

writes the hashes of the state it is run in, and compares them with another one's: which differ, one line each; exit
code 1 if any does. ``host`` is left out, because it is this machine at this moment. A minute of one core.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

from numaprobe.analysis import find
from numaprobe.errors import NumaprobeError
from numaprobe.policies import POLICIES
from numaprobe.records import dump_trace
from numaprobe.runtime import PROFILES
from numaprobe.scenario import builtin_names, load_scenario, prepare, run_setting


def trace_hashes() -> dict[str, str]:
    """Return a hash, or the error, for each "SCENARIO KERNEL POLICY"."""
    found = {}
    for name in builtin_names():
        if name == "host":
            continue
        for kernel in PROFILES:
            setting = prepare(load_scenario(name), kernel=kernel)
            for policy in POLICIES:
                try:
                    outcome = run_setting(setting, policy, timeline=True)
                    trace = dump_trace(replace(outcome.trace, findings=find(outcome.trace)))
                    text = f"{trace}{outcome.checks!r}{outcome.deadlock!r}"
                    found[f"{name} {kernel} {policy}"] = hashlib.sha256(text.encode()).hexdigest()
                except NumaprobeError as error:
                    found[f"{name} {kernel} {policy}"] = f"error: {error}"
    return found


def main(file: str, other: str | None = None) -> int:
    """Write the hashes to ``file``; return how many are not those of ``other``, at most 1."""
    before = None if other is None else json.loads(Path(other).read_text(encoding="utf-8"))
    found = trace_hashes()
    Path(file).write_text(json.dumps(found, indent=0), encoding="utf-8")
    print(f"{len(found)} traces")
    if before is None:
        return 0
    differ = [key for key in sorted(before.keys() | found.keys()) if before.get(key) != found.get(key)]
    for key in differ:
        print(f"differs: {key}")
    return min(1, len(differ))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
