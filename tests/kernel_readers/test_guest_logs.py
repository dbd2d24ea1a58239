"""``initcall_debug`` of the lab's guests: a few lines of each wording, as stock Debian kernels printed them.

Recorded with ``lab-nvme`` on 5.10.262, 6.1.192, 6.12.117, 7.2.13 and 7.3.4, beside a recording with kprobes: so the
devices, drivers and outcomes below are known from elsewhere. What the samples hold besides: a device that a driver took
(``reg-dummy``), and devices that a driver did not want (ENODEV).
"""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from numaprobe.kernel.initcall import read_log
from numaprobe.kernel.lab.overhead import probe_costs

LOGS = Path(__file__).parent.parent / "data/kernel/initcall"
RELEASES = {
    "5.10": "5.10.0-46-amd64",
    "6.1": "6.1.0-56-amd64",
    "6.12": "6.12.117+deb12-amd64",
    "7.2": "7.2.13+deb14-amd64",
    "7.3": "7.3.4+deb13-amd64",
}
DRIVES = [f"0000:{bus}:00.0" for bus in (81, 82, 83)]
UNWANTED = ("PNP0103:00", "0000:00:00.0", "serio1")


@pytest.mark.parametrize("series", RELEASES)
def test_every_wording_since_5_10_is_read(series: str) -> None:
    text = (LOGS / f"debian-{series}.log").read_bytes()
    trace = read_log(io.BytesIO(text), kernel=RELEASES[series])
    assert text.count(b" usecs") - text.count(b"initcall nvme_init") == len(trace.probes)
    drives = sorted((probe for probe in trace.probes if probe.device in DRIVES), key=lambda probe: probe.device)
    assert [(probe.device, probe.result) for probe in drives] == [(one, "0") for one in DRIVES]
    # Asynchronous probes outlast the initcall that names the driver; nvme's own message says of which function it is.
    assert {probe.driver for probe in drives} == {"nvme"}
    assert all(8_000_000 < probe.cost_ns < 2_000_000_000 and probe.start_ns is not None for probe in drives)
    results = {probe.device: probe.result for probe in trace.probes}
    assert results["reg-dummy"] == "0"
    # Before 5.14 a driver that did not want a device and one that failed both read "returned 0": the errno is unknown.
    assert {results[device] for device in UNWANTED} == ({"E?"} if series == "5.10" else {"ENODEV"})


def test_7_3_names_the_driver_itself() -> None:
    trace = read_log(io.BytesIO((LOGS / "debian-7.3.log").read_bytes()))
    drivers = {probe.device: probe.driver for probe in trace.probes}
    assert drivers == {
        **dict.fromkeys(DRIVES, "nvme"),
        "reg-dummy": "faux_driver",
        "PNP0103:00": "hpet_acpi",
        "0000:00:00.0": "agpgart-intel",
        "serio1": "atkbd",
    }


@pytest.mark.parametrize("series", RELEASES)
def test_the_labs_overhead_counts_the_probes_that_bound(series: str) -> None:
    lines = (LOGS / f"debian-{series}.log").read_text().splitlines()
    costs = dict(probe_costs(lines, RELEASES[series]))
    assert set(costs) >= {*DRIVES, "reg-dummy"}
    assert not set(costs) & set(UNWANTED)
