"""Devices that a running guest has plugged and pulled: its request, QEMU's monitor, the answer. A script is QEMU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from numaprobe.errors import InputError
from numaprobe.kernel.lab.guest import run_guest
from numaprobe.kernel.lab.monitor import ANSWER, REQUEST, Monitor, monitor_functions
from numaprobe.kernel.lab.plan import GuestDevice, GuestPlan
from numaprobe.kernel.lab.qemu import device_properties, qemu_options
from numaprobe.kernel.lab.tools import KernelImage, Tools
from numaprobe.records import Trace, dump_trace
from numaprobe.runtime.release import Release
from numaprobe.scenario import parse_scenario, prepare, run_scenario
from numaprobe.scenario.guest import guest_plan
from numaprobe.topology import symmetric

THREAD = {"kind": "kthread", "comm": "irq/24-pciehp"}
HOTPLUG: dict[str, Any] = {
    "machine": "2 nodes x 2 cores",
    "drivers": [{"name": "nvme", "bus": "pci", "phases": [{"compute": "3ms"}]}],
    "devices": [
        {"name": "0000:81:00.0", "bus": "pci", "node": 1, "compatible": "nvme"},
        {"name": "0000:82:00.0", "bus": "pci", "node": 1, "compatible": "nvme"},
    ],
    "steps": [
        {"add": "0000:81:00.0"},
        {"load": "nvme"},
        {"add": "0000:82:00.0", **THREAD},
        {"remove": "0000:81:00.0", **THREAD},
    ],
}


def plan_of(**changes: Any) -> GuestPlan:
    scenario = parse_scenario({**HOTPLUG, **changes}, "test.toml")
    return guest_plan(scenario, prepare(scenario).plan.topology, Release(6, 12))


# ---- the plan ------------------------------------------------------------------------------------------------------
def test_what_a_ports_thread_adds_is_plugged_and_what_it_removes_is_pulled() -> None:
    plan = plan_of()
    assert plan.hotplug
    assert [device.plugged for device in plan.devices] == [False, True]
    assert plan.setup == ()
    assert plan.steps == (
        "step 'steps[1]' taskset -c 0 modprobe nvme",
        "step 'steps[2]' plug 1 0000:82:00.0",
        "step 'steps[3]' pull 0 0000:81:00.0",
    )
    options = " ".join(qemu_options(plan))
    assert "nvme,serial=lab0,drive=drive0,bus=port0,id=dev0" in options
    assert "id=port1" in options
    assert "id=drive1" in options
    assert "lab1" not in options, "there is only its port and its medium when the guest is booted"
    assert not plan_of(steps=HOTPLUG["steps"][:2]).hotplug


def test_the_prediction_has_the_drive_probed_on_its_node_by_way_of_the_thread() -> None:
    scenario = parse_scenario({**HOTPLUG, "steps": HOTPLUG["steps"][:3]}, "test.toml")
    trace = run_scenario(scenario, "work-on-cpu", kernel="6.1")
    assert [(probe.device, probe.cpu_node) for probe in trace.probes] == [("0000:81:00.0", 1), ("0000:82:00.0", 1)]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"bind": "0000:81:00.0", **THREAD}, r"steps\[2\]\.kind: .* a 'kthread' may add and remove"),
        ({"add": "0000:82:00.0", **THREAD, "cpu": 1}, r"steps\[2\]\.cpu: a port's own thread"),
        ({"add": "0000:82:00.0", "kind": "kworker"}, r"steps\[2\]\.kind"),
    ],
)
def test_what_no_port_does_is_refused(step: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        plan_of(steps=[*HOTPLUG["steps"][:2], step])


def test_a_device_is_what_qemu_is_told_at_boot_or_later() -> None:
    for kind, driver in (("virtio-blk", "virtio-blk-pci"), ("virtio-net", "virtio-net-pci"), ("nvme", "nvme")):
        device = GuestDevice(name="x", kind=kind, node=0, address="0000:41:00.0")  # type: ignore[arg-type]
        properties = device_properties(device, 3)
        assert (properties["driver"], properties["bus"], properties["id"]) == (driver, "port3", "dev3")


# ---- the guest's side ----------------------------------------------------------------------------------------------
def asking(tmp_path: Path, line: str, answer: str) -> subprocess.CompletedProcess[str]:
    """Run a line of a guest's steps; the answer is there before it asks, and a device is a file that is there."""
    functions = monitor_functions(tmp_path).replace("/sys/bus/pci/devices/", f"{tmp_path}/").replace("sleep ", ": ")
    (tmp_path / ANSWER).write_text(f"{answer}\n")
    return subprocess.run(
        ["sh", "-uc", f"{functions}\n{line}"], capture_output=True, text=True, check=False, timeout=30
    )


def test_a_guest_asks_and_waits_for_its_device(tmp_path: Path) -> None:
    (tmp_path / "0000:82:00.0").touch()
    assert asking(tmp_path, "plug 1 0000:82:00.0", "ok").returncode == 0
    assert (tmp_path / REQUEST).read_text() == "plug 1\n"
    assert not (tmp_path / ANSWER).exists()
    assert asking(tmp_path, "pull 0 0000:99:00.0", "ok").returncode == 0
    assert (tmp_path / REQUEST).read_text() == "pull 0\n"
    for line, answer, said in (
        ("plug 1 0000:82:00.0", "QEMU refuses: no slot", "QEMU refuses: no slot"),
        ("plug 1 0000:99:00.0", "ok", "0000:99:00.0 did not appear in 30 s"),
        ("pull 1 0000:82:00.0", "ok", "0000:82:00.0 was not let go in 30 s"),
    ):
        failed = asking(tmp_path, line, answer)
        assert (failed.returncode, failed.stderr.strip()) == (1, said)


# ---- the whole -----------------------------------------------------------------------------------------------------
#: in virtme-ng's place: a guest that asks, and QEMU's monitor that answers {answer} to the last command
GUEST = """#!{python}
import json, os, pathlib, shutil, socket, sys, time
shared = pathlib.Path("{shared}")
assert "unix:{shared}/qmp,server=on,wait=off" in " ".join(sys.argv), sys.argv
with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
    server.bind(str(shared / "qmp"))
    server.listen()
    (shared / "part").write_text("{request}")
    (shared / "part").rename(shared / "qmp.request")
    heard = []
    if {listens}:
        link, _ = server.accept()
        lines = link.makefile("rwb")
        lines.write(b'{{"QMP": {{}}}}\\n')
        lines.flush()
        for answer in (b'{{"return": {{}}}}', {answer!r}):
            heard.append(json.loads(lines.readline()))
            lines.write(b'{{"event": "ACPI_DEVICE_OST"}}\\n' + answer + b"\\n")
            lines.flush()
    while not (shared / "qmp.answer").exists():
        time.sleep(0.01)
(shared / "heard").write_text(json.dumps(heard))
shutil.copy("{trace}", shared / "trace.json")
(shared / "status").write_text("0")
"""


def hotplugged(tmp_path: Path, request: str, answer: bytes = b'{"return": {}}', *, listens: bool = True) -> str:
    """Boot such a guest and return what it was answered."""
    shared = tmp_path / "shared"
    shared.mkdir()
    (tmp_path / "trace").write_text(dump_trace(Trace(source="kernel", probes=())))
    vng = tmp_path / "vng"
    words = {"shared": shared, "trace": tmp_path / "trace", "request": request, "answer": answer, "listens": listens}
    vng.write_text(GUEST.format(python=sys.executable, **words))
    vng.chmod(0o755)
    kernel = KernelImage(Path("/boot/vmlinuz-6.12.0"), "6.12.0")
    run_guest(plan_of(), kernel=kernel, tools=Tools(vng, os.environ["PATH"]), folder=shared, timeout=20.0)
    assert "plug() {" in (shared / "steps.sh").read_text()
    return (shared / ANSWER).read_text().strip()


def test_a_device_is_plugged_through_the_monitor(tmp_path: Path) -> None:
    assert hotplugged(tmp_path, "plug 1") == "ok"
    assert (tmp_path / "shared/heard").read_text() == (
        '[{"execute": "qmp_capabilities", "arguments": {}}, {"execute": "device_add", "arguments": '
        '{"driver": "nvme", "serial": "lab1", "drive": "drive1", "bus": "port1", "id": "dev1"}}]'
    )


def test_a_device_is_pulled(tmp_path: Path) -> None:
    assert hotplugged(tmp_path, "pull 0") == "ok"
    assert '{"execute": "device_del", "arguments": {"id": "dev0"}}' in (tmp_path / "shared/heard").read_text()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b'{"error": {"class": "GenericError", "desc": "Bus port1 does not exist"}}', "QEMU refuses: Bus port1 does"),
        (b"[1]", "QEMU's monitor: b'[1]"),
        (b"not JSON", "QEMU's monitor: Expecting value"),
    ],
)
def test_what_qemu_refuses_is_told_to_the_step(tmp_path: Path, answer: bytes, said: str) -> None:
    assert hotplugged(tmp_path, "plug 1", answer).startswith(said)


@pytest.mark.parametrize("request_", ["plug 7", "quit", "plug x; quit", ""])
def test_a_guest_may_ask_for_its_devices_and_nothing_else(tmp_path: Path, request_: str) -> None:
    assert hotplugged(tmp_path, request_, listens=False).startswith("the guest asked for what nobody knows")


def test_without_a_monitor_the_step_is_told(tmp_path: Path) -> None:
    monitor = Monitor(GuestPlan(topology=symmetric("m", nodes=1, cores=1), devices=plan_of().devices), tmp_path)
    monitor.serve()
    assert not (tmp_path / ANSWER).exists(), "nobody asked"
    (tmp_path / REQUEST).write_text("plug 1\n")
    monitor.serve()
    assert (tmp_path / ANSWER).read_text().startswith("QEMU's monitor: ")
