"""Probes that somebody waits for: each rule has a trace on which it must fire and one on which it must not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import synthetic as s
from rules import of_kind, proposed, the

from numaprobe.analysis.findings.serial_sync import MIN_SAVING_NS

if TYPE_CHECKING:
    from numaprobe.records import Trace

MS = s.MS


# ---- serial-sync, slow-sync, udev-timeout ----


def sync_probes(*costs: int, **fields: object) -> Trace:
    start, probes = 0, []
    for i, cost in enumerate(costs):
        values = {"asynchronous": False, "comm": "modprobe", "caller_comm": "modprobe", "driver": "slowdrv"} | fields
        probes.append(s.probe(f"d{i}", start_ns=start, cost_ns=cost, **values))
        start += cost + MS
    return s.trace(*probes, machine=s.small())


def test_serial_sync_promises_nothing_and_proposes_to_try() -> None:
    finding = the("serial-sync", sync_probes(500 * MS, 400 * MS, 300 * MS))
    assert finding.evidence["held_ns"] == 1200 * MS
    assert (finding.evidence["slowest"], finding.evidence["slowest_ns"]) == ("d0", 500 * MS)
    assert "best" not in finding.advice
    assert proposed(finding) == ["driver_async_probe=slowdrv"]
    assert "panic" in finding.remedies[0].caution


def test_serial_sync_is_silent_on_one_device_short_ones_and_async() -> None:
    assert not of_kind("serial-sync", sync_probes(5000 * MS))
    assert not of_kind("serial-sync", sync_probes(MIN_SAVING_NS // 3, MIN_SAVING_NS // 3, MIN_SAVING_NS // 3))
    assert not of_kind("serial-sync", sync_probes(500 * MS, 400 * MS, asynchronous=True))
    assert not of_kind("serial-sync", sync_probes(500 * MS, 400 * MS, asynchronous=None))


def test_slow_sync_fires_on_one_slow_device_and_not_where_serial_sync_does() -> None:
    finding = the("slow-sync", sync_probes(5000 * MS, MS))
    assert finding.devices == ("d0",)
    assert finding.evidence["slowest_ns"] == 5000 * MS
    assert not of_kind("slow-sync", sync_probes(500 * MS, 400 * MS))
    assert not of_kind("slow-sync", sync_probes(90 * MS))
    assert not of_kind("slow-sync", sync_probes(5000 * MS, asynchronous=True))


def test_parallel_callers_of_one_name_are_not_one_caller() -> None:
    """Three shells that bind at once hold three shells, each for one probe."""
    probes = [s.probe(f"d{i}", asynchronous=False, caller_comm="sh", cost_ns=500 * MS) for i in range(3)]
    assert not of_kind("serial-sync", s.trace(*probes))
    assert the("slow-sync", s.trace(*probes)).evidence["held_ns"] == 500 * MS


def test_writes_to_bind_are_told_to_go_in_parallel_and_hold_no_registration() -> None:
    serial = sync_probes(500 * MS, 400 * MS, path="device_driver_attach(sysfs bind)", caller_comm="sh")
    finding = the("serial-sync", serial)
    assert "from several shells" in finding.advice
    assert not finding.remedies
    assert not of_kind("slow-sync", sync_probes(500 * MS, path="device_driver_attach"))


def test_a_probe_of_which_nothing_but_the_cost_is_known_is_named() -> None:
    """What a log of ``initcall_debug`` tells: no task, no caller, whether asynchronous or not."""
    costs = {"a": 3 * MS, "0000:5e:00.0": 30_000 * MS, "b": 1_500 * MS}
    bare = [s.probe(name, cost_ns=ns, asynchronous=None, comm=None, cpu=None) for name, ns in costs.items()]
    finding = the("slow-probe", s.trace(*bare))
    assert finding.devices == ("0000:5e:00.0", "b")
    assert finding.advice.startswith("0000:5e:00.0 (nvme) took 30.000 s, and 1 other a second or more")
    assert not of_kind("slow-probe", sync_probes(5000 * MS)), "slow-sync says more"
    assert not of_kind("slow-probe", s.trace(s.probe(cost_ns=900 * MS)))


def test_a_slow_probe_that_slept_is_told_so() -> None:
    slept = s.probe(cost_ns=2000 * MS, running_ns=10 * MS, runnable_ns=0, sleeping_ns=1990 * MS)
    assert "slept most of that time" in the("slow-probe", s.trace(slept)).advice
    ran = s.probe(cost_ns=2000 * MS, running_ns=1990 * MS, runnable_ns=0, sleeping_ns=10 * MS)
    assert "ran or waited for a CPU" in the("slow-probe", s.trace(ran)).advice


def test_udev_timeout_by_one_probe_or_by_many_in_one_caller() -> None:
    assert the("udev-timeout", sync_probes(100_000 * MS)).evidence["limit_ns"] == 180_000 * MS
    many = the("udev-timeout", sync_probes(*[1000 * MS] * 95, caller_comm="(udev-worker)"))
    assert many.evidence["caller"] == "(udev-worker)"
    assert many.evidence["held_ns"] == 95_000 * MS
    assert the("udev-timeout", sync_probes(100_000 * MS, asynchronous=True)).devices == ("d0",)


def test_udev_timeout_is_silent_below_half_of_it() -> None:
    assert not of_kind("udev-timeout", sync_probes(80_000 * MS))
    assert not of_kind("udev-timeout", sync_probes(*[1000 * MS] * 85))


# ---- deferral-chain ----


def attempt(device: str, start: int, result: str = "0", number: int = 1) -> object:
    return s.probe(device, start_ns=start * MS, cost_ns=MS, result=result, attempt=number)


def test_deferral_chain_finds_its_root() -> None:
    """phy waits for clk, mac for phy: clk is the root of both."""
    trace = s.trace(
        attempt("mac", 0, "EPROBE_DEFER"), attempt("phy", 1, "EPROBE_DEFER"), attempt("other", 2), attempt("clk", 50),
        attempt("phy", 52, "0", 2), attempt("mac", 54, "0", 2),
    )  # fmt: skip
    finding = the("deferral-chain", trace)
    assert finding.devices == ("clk", "phy", "mac")
    assert finding.evidence["after"] == {"phy": "clk", "mac": "phy"}
    assert finding.evidence["wasted_ns"] == 2 * MS
    assert finding.evidence["longest_delay_ns"] == 55 * MS


def test_deferral_chain_names_those_that_never_bound() -> None:
    finding = the("deferral-chain", s.trace(attempt("lost", 0, "EPROBE_DEFER"), attempt("lost", 9, "EPROBE_DEFER", 2)))
    assert finding.evidence["root"] is None
    assert finding.evidence["attempts"] == 2
    assert "devices_deferred" in finding.advice


def test_deferral_chain_is_silent_without_deferrals() -> None:
    assert not of_kind("deferral-chain", s.trace(attempt("a", 0), attempt("b", 1, "ENODEV")))
