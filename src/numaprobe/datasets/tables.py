"""The columns of a dataset's tables, and their types in DuckDB.

Every table but ``machines`` has ``run``: the number of the run in its dataset. Times are ns, sizes bytes; NULL: the
source does not tell. Columns that only one dataset has (a sweep's axes) are in its manifest.
"""

from __future__ import annotations

from typing import Final

from numaprobe.records.parquet import COLUMNS as PROBE_COLUMNS

#: Where a run came from, and under which settings.
_ORIGIN: Final = {
    "source": "VARCHAR",  # virtual, host, kernel
    "scenario": "VARCHAR",
    "machine": "VARCHAR",  # its name; the same in ``machines``
    "machine_hash": "VARCHAR",  # which hardware: key of ``machines``
    "kernel": "VARCHAR",
    "policy": "VARCHAR",
    "cmdline": "VARCHAR",
    "host": "VARCHAR",
    "machine_id": "VARCHAR",
    "date": "VARCHAR",  # wall clock, UTC; NULL in virtual time
    "build": "VARCHAR",
    "command": "VARCHAR",
    "numaprobe": "VARCHAR",
    "label": "VARCHAR",
    "file": "VARCHAR",  # the trace's file, where there was one
}
#: What came of it; figures as of ``analysis.Summary``.
_OUTCOME: Final = {
    "passed": "BOOLEAN",  # it ran, no check failed and nothing hung
    "error": "VARCHAR",  # why there are no figures, or what did not pass, in one line; NULL: nothing
    "probes": "BIGINT",
    "deferred": "BIGINT",
    "failed": "BIGINT",
    "makespan_ns": "BIGINT",
    "makespan_least_ns": "BIGINT",  # of a prediction in doubt; else the makespan
    "makespan_most_ns": "BIGINT",
    "worst_ns": "BIGINT",
    "worst_device": "VARCHAR",
    "mean_ns": "BIGINT",
    "local": "BIGINT",
    "remote": "BIGINT",
    "unplaced": "BIGINT",
    "local_share": "DOUBLE",
    "held_share": "DOUBLE",
    "cpus": "BIGINT",  # how many
    "running_ns": "BIGINT",
    "runnable_ns": "BIGINT",
    "sleeping_ns": "BIGINT",
    "remote_ns": "BIGINT",
    "memory_local_share": "DOUBLE",
    "findings": "BIGINT",
    "warnings": "BIGINT",
}
TABLES: Final[dict[str, dict[str, str]]] = {
    "runs": {"run": "BIGINT", **_ORIGIN, **_OUTCOME},
    # segments, one probe's stretches, are pictures' and would be most of the bytes
    "probes": {"run": "BIGINT", **{name: kind for name, kind in PROBE_COLUMNS.items() if name != "segments"}},
    "findings": {
        "run": "BIGINT",
        "finding": "BIGINT",  # its place among those of the run
        "kind": "VARCHAR",
        "severity": "VARCHAR",
        "devices": "VARCHAR",  # JSON list
        "evidence": "VARCHAR",  # JSON object
        "advice": "VARCHAR",
    },
    "machines": {
        "machine_hash": "VARCHAR",
        "machine": "VARCHAR",
        "nodes": "BIGINT",
        "cpus": "BIGINT",
        "memory": "BIGINT",
        "model": "VARCHAR",
        "block": "VARCHAR",  # JSON, as ``numaprobe topology --json``
    },
}
#: The types that a dataset's own columns may have.
TYPES: Final = ("VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN")
