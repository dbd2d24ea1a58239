"""One short guest: the recorder against a real kernel, in QEMU.

It proves what no model of tracefs can: that the kernel takes our kprobes, filters and buffer sizes, that nothing is
left afterwards, that what a crashed recording left is removed, that devices are found without BTF, that a
WARN of the kernel's is seen, and that the virtual machine predicted every placement.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from numaprobe.analysis.agreement import judge
from numaprobe.kernel.lab.guest import guest_environment, run_script
from numaprobe.kernel.lab.splats import find_splats
from numaprobe.kernel.lab.steps import failed_steps, write_steps
from numaprobe.records import Trace, load_trace
from numaprobe.runtime.profile import kernel_profile
from numaprobe.scenario import Scenario, load_scenario, prepare, run_scenario
from numaprobe.scenario.guest import as_the_kernel_does, guest_names, guest_plan, with_recorded_costs
from numaprobe.topology import from_json

if TYPE_CHECKING:
    from pathlib import Path

    from numaprobe.kernel.lab.tools import KernelImage, Tools

pytestmark = pytest.mark.guest

T = "/sys/kernel/tracing"
TIMEOUT = 420.0
#: A stock kernel WARNs of this, in ``internal_create_group``: KSM's folder in sysfs has none to be in. Else it is well.
WARNS = "initcall_blacklist=mm_sysfs_init"


def predicted_and_recorded_agree(scenario: Scenario, trace: Trace, kernel: KernelImage) -> bool:
    plan = guest_plan(scenario, prepare(scenario).plan.topology, kernel.version)
    profile, topology = kernel_profile(kernel.release), from_json(trace.machine)
    predicted = run_scenario(with_recorded_costs(scenario, trace), profile.pci_policy, kernel=profile, machine=topology)
    report = judge(predicted, trace, guest_names(plan, trace), topology)
    assert report.passed, report
    return report.passed


def test_a_guest_records_as_predicted_and_nothing_is_left(tmp_path: Path, tools: Tools, kernel: KernelImage) -> None:
    scenario = as_the_kernel_does(load_scenario("lab-nvme"), kernel.version)
    plan = replace(guest_plan(scenario, prepare(scenario).plan.topology, kernel.version), cmdline=WARNS)
    record = [sys.executable, "-m", "numaprobe", "record", "--memory", "--output", str(tmp_path / "trace.json")]
    without_btf = [*record[:-1], str(tmp_path / "nobtf.json"), "--no-btf", "--no-sched", "--raw", str(tmp_path / "raw")]
    steps = write_steps([f"ls {T}/instances > {tmp_path}/during", *plan.steps], tmp_path)
    lines = [
        f"mkdir {T}/instances/numaprobe-999999",
        f"echo 'p:numaprobe/left_over really_probe' > {T}/kprobe_events",
        f"echo 1 > {T}/instances/numaprobe-999999/events/numaprobe/enable",
        f"{guest_environment()} {shlex.join([*record, '--', '/bin/sh', str(steps)])}; status=$?",
        "modprobe -r nvme",
        f"{guest_environment()} {shlex.join([*without_btf, '--', 'taskset', '-c', '0', 'modprobe', 'nvme'])}",
        f"{{ ls {T}/instances; cat {T}/kprobe_events {T}/set_event; }} > {tmp_path}/after",
        f"dmesg > {tmp_path}/kernel.log",
        "(exit $status)",
    ]
    status = run_script(plan, lines, kernel=kernel, tools=tools, folder=tmp_path, timeout=TIMEOUT)
    console = (tmp_path / "console.log").read_text(errors="replace")
    assert status == 0, console[-2000:]
    assert failed_steps(tmp_path) == ()
    first, second = (tmp_path / "during").read_text().split()
    assert second == f"{first}-sched"
    assert "999999" not in first
    assert (tmp_path / "after").read_text() == ""

    heads = [splat.head for splat in find_splats((tmp_path / "kernel.log").read_text().splitlines())]
    assert heads
    assert all(head.startswith("WARNING: ") and "internal_create_group+0x" in head for head in heads)

    trace = load_trace((tmp_path / "trace.json").read_bytes())
    assert trace.kernel == kernel.release
    assert [probe.device for probe in trace.probes if probe.driver == "nvme"]
    assert "stale-recording" in {warning.kind for warning in trace.warnings}
    for probe in trace.probes:
        assert probe.running_ns is not None
        assert probe.runnable_ns is not None
        assert probe.sleeping_ns is not None
        assert probe.running_ns + probe.runnable_ns + probe.sleeping_ns == probe.cost_ns
    pages = [sum((probe.memory or {}).get(node, 0) for probe in trace.probes) for node in (0, 1)]
    assert pages[1] > pages[0]
    assert predicted_and_recorded_agree(scenario, trace, kernel)

    blind = load_trace((tmp_path / "nobtf.json").read_bytes())
    places = [(probe.device, probe.cpu, probe.function) for probe in blind.probes]
    assert sorted(places) == sorted((probe.device, probe.cpu, "local_pci_probe") for probe in trace.probes)
    assert "torn-line" not in {warning.kind for warning in blind.warnings}
    assert "dev208={0x" in (tmp_path / "raw/trace").read_text()
