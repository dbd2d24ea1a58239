from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from numaprobe.errors import InputError
from numaprobe.topology import load_topology, preset, symmetric, to_hwloc_xml, to_json, write_sysfs

DATA = Path(__file__).parents[1] / "data"


def test_every_form_of_one_machine(tmp_path: Path) -> None:
    want = symmetric("t", nodes=2, llcs=2, cores=2, smt=2)
    (tmp_path / "m.json").write_text(json.dumps(to_json(want)))
    (tmp_path / "trace.json").write_text(json.dumps({"schema": "numaprobe.trace/1", "machine": to_json(want)}))
    (tmp_path / "m.xml").write_text(to_hwloc_xml(want))
    write_sysfs(want, tmp_path / "tree")
    specs = [
        str(tmp_path / "m.json"),
        str(tmp_path / "trace.json"),
        str(tmp_path / "m.xml"),
        str(tmp_path / "tree"),
        str(tmp_path / "tree/sys"),
        "2 nodes x 2 llcs x 2 cores x 2 threads",
        " pack:2 numa:1 l3:2 core:2 pu:2(indexes=2*8:1*2) ",
    ]
    for spec in specs:
        found = load_topology(spec)
        assert replace(found, name="t", info={}) == want, spec


def test_a_folder_with_a_machine_txt() -> None:
    assert load_topology(str(DATA / "kernel/debian-6.1/two-nodes")).info["kernel"].startswith("6.1")


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ("epyc-9a65", "did you mean 'epyc-9a64'"),
        ("EPYC", "presets: epyc-9a64"),
        ("", "presets:"),
        ("nowhere.xml", "nowhere.xml: does not exist"),
        ("nowhere.json", "nowhere.json: does not exist"),
        ("nowhere/machine.txt", "does not exist"),
        ("2 bananas", "compact or hwloc synthetic"),
        ("2 nodes x 3 bananas", "3 bananas"),
        ("pack:2 banana:3 pu:1", "no such type"),
        ("a\0b", "NUL"),
        ("x" * 70_000, "at most"),
        ("x" * 5_000, "no preset"),
        ("/dev/zero", "ends in"),
        ("\x1b[31mred", "no preset"),
    ],
)
def test_what_is_nothing_says_what_was_tried(spec: str, word: str) -> None:
    with pytest.raises(InputError, match=word) as caught:
        load_topology(spec)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("name", "data", "word"),
    [
        ("a.json", b"{", "is not JSON"),
        ("a.json", b"[]", "no JSON object"),
        ("a.json", b"[" * 100_000, "is not JSON"),
        ("a.json", b'{"machine": 7}', "must be an object"),
        ("a.json", b'{"nodes": [{"id": 0, "cpus": "0-"}]}', r"a.json: machine.nodes\[0\].cpus: '0-'"),
        ("a.json", b'{"nodes": [{"id": ' + b"9" * 5000 + b"}]}", "JSON|not in"),
        ("a.json", b"\xff", "no UTF-8"),
        ("a.xml", b"\xff", "not XML"),
        ("a.txt", b"\xff", "no UTF-8"),
        ("a.txt", b"hello", "names no node"),
        ("a.toml", b"", "ends in .xml"),
    ],
)
def test_files_that_hold_no_machine(name: str, data: bytes, word: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=word) as caught:
        load_topology(str(tmp_path / name))
    assert name in str(caught.value)


def test_a_loaded_machine_is_valid() -> None:
    assert load_topology(" laptop ") == preset("laptop")
