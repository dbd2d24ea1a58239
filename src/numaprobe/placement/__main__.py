"""``python -m numaprobe.placement FILE PROFILE POLICY…``: observe here and leave it in FILE. It runs in guests."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from numaprobe.placement.observe import observation_to_json, observe


def main(arguments: list[str]) -> None:
    """Observe, and write ``numaprobe.observation/1``."""
    path, profile, *policies = arguments
    text = json.dumps(observation_to_json(observe(policies, profile)))
    Path(path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
