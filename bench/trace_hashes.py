"""Are all traces the same as before? A hash of each built-in scenario's trace under every policy and kernel profile.

    python -m bench.trace_hashes before.json        # in the state before; then in the state after:
    python -m bench.trace_hashes after.json before.json

writes the hashes of the state it is run in, and compares them with another one's: which differ, one line each; exit
code 1 if any does. With ``--probes`` before the files only what each probe did is hashed (times, CPUs, tasks, memory,
result), not what a later state says besides. ``host`` is left out, because it is this machine at this moment. A minute
of one core.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from numaprobe.analysis import find
from numaprobe.errors import NumaprobeError
from numaprobe.policies import POLICIES
from numaprobe.records import dump_trace
from numaprobe.runtime import PROFILES
from numaprobe.scenario import builtin_names, load_scenario, prepare, run_setting

#: What a probe did, as its JSON says it.
_DID: Final = (
    *("device", "driver", "device_node", "asynchronous", "nested", "function", "path", "attempt", "result"),
    *("cpu", "cpu_node", "comm", "caller_cpu", "caller_comm", "cpus", "remote_ns", "memory"),
    *("start_ns", "end_ns", "cost_ns", "running_ns", "runnable_ns", "sleeping_ns"),
)


def _probes(trace: str) -> str:
    return json.dumps([[probe.get(key) for key in _DID] for probe in json.loads(trace)["probes"]])


def trace_hashes(*, probes: bool = False) -> dict[str, str]:
    """Return a hash of all, or of what the probes did, or the error, for each "SCENARIO KERNEL POLICY"."""
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
                    text = _probes(trace) if probes else f"{trace}{outcome.checks!r}{outcome.deadlock!r}"
                    found[f"{name} {kernel} {policy}"] = hashlib.sha256(text.encode()).hexdigest()
                except NumaprobeError as error:
                    found[f"{name} {kernel} {policy}"] = f"error: {error}"
    return found


def main(file: str, other: str | None = None, *, probes: bool = False) -> int:
    """Write the hashes to ``file``; return how many are not those of ``other``, at most 1."""
    before = None if other is None else json.loads(Path(other).read_text(encoding="utf-8"))
    found = trace_hashes(probes=probes)
    Path(file).write_text(json.dumps(found, indent=0), encoding="utf-8")
    print(f"{len(found)} traces")
    if before is None:
        return 0
    differ = [key for key in sorted(before.keys() | found.keys()) if before.get(key) != found.get(key)]
    for key in differ:
        print(f"differs: {key}")
    return min(1, len(differ))


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--probes"]
    sys.exit(main(*arguments, probes=len(arguments) < len(sys.argv) - 1))
