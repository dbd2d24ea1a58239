"""What a guest hands back, and how it can fail. A script stands in for virtme-ng; a real guest is in tests/lab."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from numaprobe.errors import InputError, RefusedError
from numaprobe.kernel.lab.tools import KernelImage, Tools
from numaprobe.placement.case import make_cases
from numaprobe.placement.guest import GuestObservation, observe_in_guest
from numaprobe.placement.observe import Observation, observation_to_json
from numaprobe.placement.predict import predict
from numaprobe.topology import load_topology

MACHINE = load_topology("2 nodes x 2 cores, 1GiB per node")
KERNEL = KernelImage(Path("/boot/vmlinuz-6.1.0"), "6.1.0")
UPTIME = "echo '10.5 20' > $S/uptime; echo '12.75 30' >> $S/uptime"


def boot(tmp_path: Path, script: str) -> GuestObservation:
    """Run a guest that is really this shell script; it finds the shared folder in $S."""
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "observation.json").write_text("left by an earlier guest")
    vng = tmp_path / "vng"
    vng.write_text(f"#!/bin/sh\nS={shared}\n{script}\n")
    vng.chmod(0o755)
    tools = Tools(vng, os.environ["PATH"])
    return observe_in_guest(MACHINE, ["inline"], "6.1", kernel=KERNEL, tools=tools, folder=shared, timeout=20)


def test_an_observation_comes_home(tmp_path: Path) -> None:
    (case, *_) = make_cases(MACHINE, ["inline"])
    wanted = Observation(topology=MACHINE, kernel="6.1.0", profile="6.1", runs=((case, predict(case, MACHINE, "6.1")),))
    (tmp_path / "o").write_text(json.dumps(observation_to_json(wanted)))
    seen = boot(tmp_path, f"cp {tmp_path}/o $S/observation.json; {UPTIME}; echo 0 > $S/status")
    assert seen.observation == wanted
    assert seen.seconds_inside == 2.25
    assert seen.seconds > 0
    script = (tmp_path / "shared/guest.sh").read_text()
    assert f"-m numaprobe.placement {tmp_path}/shared/observation.json 6.1 inline" in script


@pytest.mark.parametrize("status", [0, 1])
def test_a_guest_that_hands_nothing_back_is_told_in_one_line(tmp_path: Path, status: int) -> None:
    with pytest.raises(RefusedError, match=rf"failed in the guest \(exit {status}\)") as caught:
        boot(tmp_path, f"{UPTIME}; echo {status} > $S/status")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "shared/console.log") in str(caught.value)


def test_what_is_torn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        boot(tmp_path, f"{UPTIME}; echo '{{' > $S/observation.json; echo 0 > $S/status")
