"""Kernels before 5.14: really_probe returned 1 for a bound device. The lines are of a 5.10.0-32 guest."""

from __future__ import annotations

import io

import pytest

from numaprobe.kernel.readers import read_trace
from numaprobe.scenario import replay_scenario
from numaprobe.topology import symmetric

PCI = """\
# tracer: nop
#
   kworker/u10:1-35      [003] ....   105.851491: really_probe: (really_probe+0x0/0x480) dev="0000:81:00.0" drv="nvme"
     kworker/2:1-69      [002] ....   105.852301: local_pci_probe: (local_pci_probe+0x0/0x80) dev="0000:81:00.0"
     kworker/2:1-69   [002] d...   105.855092: local_pci_probe_ret: (work_for_cpu_fn+0x16/0x20 <- local_pci_probe) ret=0
   kworker/u10:1-35   [003] d...   105.856011: really_probe_ret: (driver_probe_device+0xb6/0x100 <- really_probe) ret=1
"""
OTHER = """\
# tracer: nop
#
          insmod-35      [003] ....   105.851491: really_probe: (really_probe+0x0/0x480) dev="virtio0" drv="virtio_blk"
          insmod-35      [003] d...   105.856011: really_probe_ret: ({caller}+0xb6/0x100 <- really_probe) ret={ret}
"""


def test_a_bound_pci_device_is_no_error() -> None:
    (probe,) = read_trace(io.BytesIO(PCI.encode())).probes
    assert (probe.result, probe.function, probe.cpu) == ("0", "local_pci_probe", 2)


@pytest.mark.parametrize(
    ("caller", "ret", "result"),
    [
        ("driver_probe_device", 1, "0"),
        ("driver_probe_device", 0, "E?"),
        ("driver_probe_device", -517, "EPROBE_DEFER"),
        ("__driver_probe_device", 1, "EPERM"),
        ("__driver_probe_device", 0, "0"),
    ],
)
def test_the_caller_tells_which_convention_holds(caller: str, ret: int, result: str | None) -> None:
    (probe,) = read_trace(io.BytesIO(OTHER.format(caller=caller, ret=ret).encode())).probes
    assert probe.result == result


def test_the_drivers_own_function_has_the_errno_that_an_old_kernel_drops() -> None:
    failed = PCI.replace("<- local_pci_probe) ret=0", "<- local_pci_probe) ret=-12").replace("ret=1", "ret=0")
    (probe,) = read_trace(io.BytesIO(failed.encode())).probes
    assert probe.result == "ENOMEM"


def test_a_device_that_was_not_bound_is_replayed_as_failed() -> None:
    trace = read_trace(io.BytesIO(OTHER.format(caller="driver_probe_device", ret=0).encode()))
    again = replay_scenario(trace, symmetric("m", nodes=2, cores=2))
    assert {getattr(phase, "fail", None) for phase in again.devices[0].phases or ()} >= {"EIO"}
    assert any("E?" in warning.message for warning in trace.warnings)
