"""What a trace that was made here says of itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from numaprobe.cli.main import run_command
from numaprobe.kernel.identity import APPLICATION, this_machine
from numaprobe.records import load_trace
from numaprobe.version import __version__

if TYPE_CHECKING:
    from numaprobe.records import Identity


def of_machine(folder: Path, text: str) -> str | None:
    (folder / "machine-id").write_text(text)
    return this_machine(machine_id=folder / "machine-id").machine_id


def test_a_machines_id_is_hashed_as_systemd_hashes_it(tmp_path: Path) -> None:
    """The same as ``openssl dgst -sha256 -mac HMAC`` of the application's id, with the bits of a UUID of version 4."""
    assert of_machine(tmp_path, "000102030405060708090a0b0c0d0e0f\n") == "dc5468cf97944c49bfbb801de4840889"


def test_systemd_itself_prints_the_same_here() -> None:
    command = shutil.which("systemd-id128")
    known = Path("/etc/machine-id")
    if command is None or not known.exists() or len(known.read_text().strip()) != 32:
        assert this_machine().host == os.uname().nodename  # no systemd: nothing to be held against
        return
    done = subprocess.run(
        [command, "machine-id", f"--app-specific={APPLICATION}"], capture_output=True, text=True, check=True
    )
    assert this_machine().machine_id == done.stdout.strip()


@pytest.mark.parametrize("text", ["", "uninitialized\n", "0" * 31, "g" * 32, "\ufffd" * 32])
def test_a_machine_without_an_id_has_none(tmp_path: Path, text: str) -> None:
    assert of_machine(tmp_path, text) is None
    assert this_machine(machine_id=tmp_path / "nothing").machine_id is None


def test_what_is_said_of_this_machine() -> None:
    identity = this_machine(command=["modprobe", "a b"], label="before")
    assert (identity.host, identity.build) == (os.uname().nodename, os.uname().version)
    assert (identity.command, identity.label, identity.numaprobe) == ("modprobe 'a b'", "before", __version__)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", identity.date or "")


def run(tmp_path: Path, *options: str) -> Identity:
    path = tmp_path / "trace.json"
    assert run_command(["run", "pmem-2018", *options, "-o", str(path)]) == 0
    identity = load_trace(path.read_bytes()).identity
    assert identity is not None
    return identity


def test_a_run_in_virtual_time_names_no_machine_and_no_date(tmp_path: Path) -> None:
    identity = run(tmp_path)
    first = (tmp_path / "trace.json").read_bytes()
    assert json.loads(first)["identity"] == dict.fromkeys(json.loads(first)["identity"]) | {"numaprobe": __version__}
    assert run(tmp_path, "--label", "before").label == "before"
    assert identity.host is identity.date is identity.machine_id is None
    run(tmp_path)
    assert (tmp_path / "trace.json").read_bytes() == first
