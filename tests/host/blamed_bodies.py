"""Bodies that fail at a line that can be named, in a process too."""

from __future__ import annotations

import json
import sys
from typing import Any

import numaprobe


def read(text: str) -> Any:
    return json.loads(text)


def leave() -> None:
    raise SystemExit(3)


class InProcess(numaprobe.DeviceDriver):
    name = "blamed"
    compatible = ("x",)
    process = True

    def probe(self, dev: numaprobe.DeviceView) -> Any:
        assert sys.argv
        return read(dev.platform_data)
