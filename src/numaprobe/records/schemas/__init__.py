"""The published JSON Schemas (draft 2020-12): what other programs may rely on in our JSON.

The documents are package data beside this file, one for each name of ``SCHEMAS``.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any, Final

from numaprobe.errors import UnknownNameError

#: the schema's name in a document, and the file that describes it
SCHEMAS: Final = {
    "numaprobe.trace/1": "trace-1.json",
    "numaprobe.compare/1": "compare-1.json",
    "numaprobe.plan/1": "plan-1.json",
    "numaprobe.verify/1": "verify-1.json",
    "numaprobe.advice/1": "advice-1.json",
    "numaprobe.status/1": "status-1.json",
    "numaprobe.history/1": "history-1.json",
    "numaprobe.recovery/1": "recovery-1.json",
    "numaprobe.machine/1": "machine-1.json",
    "numaprobe.policies/1": "policies-1.json",
    "numaprobe.scenarios/1": "scenarios-1.json",
    "numaprobe.placement/1": "placement-1.json",
    "numaprobe.lab/1": "lab-1.json",
    "numaprobe.lab-rounds/1": "lab-rounds-1.json",
    "numaprobe.overhead/1": "overhead-1.json",
    "numaprobe.explore/1": "explore-1.json",
    "numaprobe.fleet/1": "fleet-1.json",
    "numaprobe.collected/1": "collected-1.json",
    "numaprobe.review/1": "review-1.json",
    "numaprobe.review-series/1": "review-series-1.json",
    "numaprobe.sweep/1": "sweep-1.json",
    "numaprobe.query/1": "query-1.json",
}


def json_schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema of this name, one of ``SCHEMAS``.

    Raises:
        UnknownNameError: there is none.

    """
    if name not in SCHEMAS:
        raise UnknownNameError("schema", name, SCHEMAS)
    text = resources.files(__name__).joinpath(SCHEMAS[name]).read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document
