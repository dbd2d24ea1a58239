"""The examples of docs/machines.md."""

from __future__ import annotations

import json
import re
from pathlib import Path

from numaprobe.topology import PRESETS, from_json, load_topology, preset, to_json

TEXT = (Path(__file__).parents[2] / "docs/machines.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_the_table_of_presets() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (\d+) \| (\d+) \|", TEXT, re.MULTILINE)
    assert [name for name, _, _ in rows] == list(PRESETS)
    for name, cpus, nodes in rows:
        assert (len(preset(name).possible), len(preset(name).nodes)) == (int(cpus), int(nodes))


def test_the_compact_strings() -> None:
    lines = _blocks("")[1].strip().splitlines()
    assert [(len(load_topology(line).possible), len(load_topology(line).nodes)) for line in lines] == [
        (256, 2),
        (384, 8),
        (16, 4),
    ]


def test_three_ways_to_write_one_machine() -> None:
    ways = re.findall(r"`(2nodes\*4cores)`, `(4 cores x 2 nodes)` and `(nodes=2 x cores=4)`", TEXT)[0]
    assert len({json.dumps(to_json(load_topology(way)) | {"name": ""}) for way in ways}) == 1


def test_the_json_block() -> None:
    (block,) = _blocks("json")
    assert to_json(from_json(json.loads(block))) == json.loads(block)
