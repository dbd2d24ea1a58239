"""Every reader: random bytes and mutated good files give a machine or one line, soon and with little memory."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from counting import lines_run
from numaprobe.errors import InputError
from numaprobe.topology import (
    DeviceInfo,
    load_topology,
    parse_compact,
    parse_hwloc_xml,
    parse_machine_txt,
    parse_synthetic,
    read_sysfs,
    symmetric,
    to_hwloc_xml,
    to_json,
    write_sysfs,
)

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).parents[1] / "data"
FUZZ = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])

#: Bytes that mean something to one of the formats.
TOKENS = [b"", b"0", b"-", b"9" * 20, b"N", b":", b"/", b",", b"0x", b'"', b"<", b"&", b"\xff", b"\0", b"\n", b"all"]
MUTATION = st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(TOKENS) | st.binary(max_size=6))


def _mutate(data: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    for place, length, new in changes:
        at = int(place * len(data))
        data = data[:at] + new + data[at + length :]
    return data


def _line(read: Callable[[], object]) -> None:
    """Call a reader: a machine, or an InputError of one printable line."""
    try:
        read()
    except InputError as error:
        line = str(error)
    else:
        line = "a machine"
    assert line.isprintable()
    assert len(line) < 1000


@given(st.binary(max_size=200))
@FUZZ
def test_random_bytes(data: bytes) -> None:
    text = data.decode("latin-1")
    for read in (parse_compact, parse_synthetic, parse_machine_txt, load_topology):
        _line(lambda read=read: read(text))  # type: ignore[misc]
    _line(lambda: parse_hwloc_xml(data))


XML = (DATA / "topology/fs-pci.xml").read_bytes()
GUEST = (DATA / "kernel/debian-7.2/two-nodes-isolated/machine.txt").read_bytes()


@given(st.lists(MUTATION, min_size=1, max_size=4))
@FUZZ
def test_mutated_xml(changes: list[tuple[float, int, bytes]]) -> None:
    _line(lambda: parse_hwloc_xml(_mutate(XML, changes)))


@given(st.lists(st.tuples(st.integers(0, 200), st.sampled_from(["0", "-1", "0x0", "9" * 12, "Core", "0xf...f", ""]))))
@FUZZ
def test_xml_with_other_values(changes: list[tuple[int, str]]) -> None:
    parts = XML.decode().split('"')
    for place, value in changes:
        parts[(2 * place + 1) % (len(parts) - 1)] = value
    _line(lambda: parse_hwloc_xml('"'.join(parts).encode()))


@given(st.lists(MUTATION, min_size=1, max_size=4))
@FUZZ
def test_mutated_machine_txt(changes: list[tuple[float, int, bytes]]) -> None:
    _line(lambda: parse_machine_txt(_mutate(GUEST, changes).decode("latin-1")))


@given(st.lists(MUTATION, min_size=1, max_size=3))
@FUZZ
def test_mutated_descriptions(changes: list[tuple[float, int, bytes]]) -> None:
    compact = (
        b"2 packages x 2 nodes x 2 llcs x 4 cores x 2 threads, 64GiB per node, distance 12/32, 2 memory nodes of 8GiB"
    )
    synthetic = b"pack:2 [numa(memory=64GiB)] l3:2 core:4 pu:2(indexes=2*16:1*2)"
    _line(lambda: parse_compact(_mutate(compact, changes).decode("latin-1")))
    _line(lambda: parse_synthetic(_mutate(synthetic, changes).decode("latin-1")))


@given(changes=st.lists(MUTATION, min_size=1, max_size=4))
@FUZZ
def test_mutated_json(changes: list[tuple[float, int, bytes]], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.json"
    path.write_bytes(_mutate(json.dumps(to_json(load_topology("qemu-2n8c"))).encode(), changes))
    _line(lambda: load_topology(str(path)))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    devices = (DeviceInfo(name="0000:01:00.0", bus="pci", node=1, pci_class=0x010802),)
    return write_sysfs(replace(symmetric("t", nodes=2, smt=2), devices=devices), tmp_path_factory.mktemp("fuzz"))


@given(data=st.data())
@FUZZ
def test_a_sysfs_tree_with_one_file_changed(tree: Path, data: st.DataObject) -> None:
    files = sorted(path for path in tree.parent.rglob("*") if path.is_file() and not path.is_symlink())
    path = data.draw(st.sampled_from(files))
    good = path.read_bytes()
    change = data.draw(st.lists(MUTATION, min_size=1, max_size=2) | st.none())
    try:
        path.unlink() if change is None else path.write_bytes(_mutate(good, change))
        _line(lambda: read_sysfs(tree))
    finally:
        path.write_bytes(good)


def test_a_large_machine_is_read_in_every_form(tmp_path: Path) -> None:
    topology = symmetric("large", nodes=64, llcs=4, cores=4, smt=2)
    text = to_hwloc_xml(topology)
    (tmp_path / "m.json").write_text(json.dumps(to_json(topology)))
    assert load_topology(str(tmp_path / "m.json")) == topology
    assert parse_hwloc_xml(text.encode()).nodes == topology.nodes
    assert parse_synthetic("numa:1024 l3:2 core:2 pu:2").nodes[1023].cpus.last == 8191
    assert parse_compact("1024 nodes x 2 llcs x 2 cores x 2 threads").llcs[2047].last == 8191


def test_a_large_machine_takes_work_by_its_size(tmp_path: Path) -> None:
    def work(nodes: int) -> int:
        topology = symmetric("large", nodes=nodes, llcs=2, cores=2, smt=2)
        text = to_hwloc_xml(topology).encode()
        (tmp_path / "m.json").write_text(json.dumps(to_json(topology)))
        compact = f"{nodes} nodes x 2 llcs x 2 cores x 2 threads"
        synthetic = f"numa:{nodes} l3:2 core:2 pu:2"
        return lines_run(
            lambda: (load_topology(str(tmp_path / "m.json")), parse_hwloc_xml(text), parse_synthetic(synthetic),
                     parse_compact(compact))
        )  # fmt: skip

    # the distances between nodes are a square of their own: eight times the nodes are less than thirty times the work
    assert work(64) < 30 * work(8)


@pytest.mark.parametrize(
    "text",
    [
        b"<a/>" * 30_000,
        b"<a>" * 200 + b"</a>" * 200,
        b'<object type="Group" cpuset="' + b"0x0," * 60_000 + b'0x1"/>',
        b'<object type="PU" cpuset="' + b"0xffffffff," * 60_000 + b'0x1"/>',
        b"<a b='" + b"x" * 200_000 + b"'/>",
        b'<distances2 type="NUMANode" kind="5" indexing="os"><indexes>' + b"1 " * 60_000 + b"</indexes></distances2>",
    ],
)
def test_hostile_xml_takes_memory_and_work_by_its_length(text: bytes) -> None:
    body = b'<topology version="2.0">' + text + b"</topology>"
    tracemalloc.start()
    _line(lambda: parse_hwloc_xml(body))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 * len(body) + 2**20
    assert lines_run(lambda: _line(lambda: parse_hwloc_xml(body))) < 10 * len(body) + 10_000
