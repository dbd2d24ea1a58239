"""What real machines' logs say, wording by wording: sample, and the records that it must give.

The wordings were learnt from public logs and mails (2.6.39 to 7.3; x86, arm, arm64, sparc64, riscv, mips, powerpc) and
from ``drivers/base/dd.c`` of Debian's source packages; the samples are our own.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.errors import InputError
from numaprobe.kernel.initcall import read_log
from numaprobe.kernel.readers import read_trace

if TYPE_CHECKING:
    from numaprobe.records import ProbeRecord, Trace


@dataclass(frozen=True)
class Sample:
    """One log. Expected: (device, driver, result, cost in µs), in the order of the records."""

    name: str
    text: str
    expected: tuple[tuple[str, str, str, int], ...]
    kernel: str | None = None


SAMPLES = (
    Sample(
        "5.2: 1 is bound, 0 is not, and the line before says why",
        """\
[    0.000000] Linux version 5.2.0-rc1 (a@b) (gcc 8) #1 SMP
[    0.900000] virtio-pci 0000:00:03.0: enabling device (0000 -> 0003)
[    1.000000] probe of 0000:00:03.0 returned 1 after 900000 usecs
[    2.000000] calling  e1000_init_module+0x0/0x7b [e1000e] @ 1
[    2.100000] e1000e: probe of 0000:00:19.0 failed with error -12
[    2.100100] probe of 0000:00:19.0 returned 0 after 90000 usecs
[    2.100200] initcall e1000_init_module+0x0/0x7b [e1000e] returned 0 after 97000 usecs
[    3.000000] probe of serial0 returned 0 after 7 usecs
[    3.100000] probe of serial1 returned -517 after 2 usecs
""",
        (
            ("0000:00:03.0", "virtio-pci", "0", 900_000),
            ("0000:00:19.0", "e1000e", "ENOMEM", 90_000),
            ("serial0", "?", "E?", 7),
            ("serial1", "?", "EPROBE_DEFER", 2),
        ),
        "5.2.0-rc1",
    ),
    Sample(
        "sparc64 5.x: a blank line between any two, names from the initcall's function",
        """\
[    0.000000] Linux version 5.9.0 (x) #1

[    4.121516] pci@500: SUN4V PCI Bus Module

[    4.123346] probe of f028cf80 returned 1 after 100000 usecs

[    4.912607] calling  pcie_portdrv_init+0x0/0x4c @ 1

[    4.915716] probe of 0000:02:00.0 returned 0 after 516 usecs

[    4.938782] initcall pcie_portdrv_init+0x0/0x4c returned 0 after 23234 usecs
""",
        (("f028cf80", "?", "0", 100_000), ("0000:02:00.0", "pcie_portdrv", "E?", 516)),
        "5.9.0",
    ),
    Sample(
        "no release, but a 1: a kernel before 5.14 (a quoted patch, an i2c sensor)",
        "> On a board here:\n>   probe of 5-0028 returned 1 after 259547 usecs\n>=20\n",
        (("5-0028", "?", "0", 259_547),),
    ),
    Sample(
        "no release, but 517: a kernel since 5.14 (arm64, repeated, then given up)",
        """\
> > [    6.888776] probe of 2b300050.target-module returned 517 after 258 usecs
> > [   17.129637] probe of 2b300050.target-module returned 517 after 708 usecs
> > [   17.137397] platform 2b300050.target-module: deferred probe pending: (reason unknown)
> > [   18.000000] probe of ok.0 returned 0 after 9 usecs
""",
        (
            ("2b300050.target-module", "?", "EPROBE_DEFER", 258),
            ("2b300050.target-module", "?", "EPROBE_DEFER", 708),
            ("ok.0", "?", "0", 9),
        ),
    ),
    Sample(
        "no release: a 0 behind 'failed with error' is a kernel before 5.14",
        """\
e1000e: probe of a failed with error -5
probe of a returned 0 after 3 usecs
probe of b returned 0 after 4 usecs
""",
        (("a", "e1000e", "EIO", 3), ("b", "?", "E?", 4)),
    ),
    Sample(
        "the head of an oops names the release (4.19, powerpc)",
        """\
CPU: 3 PID: 1 Comm: swapper/0 Tainted: G        W         4.19.0-6-powerpc64le #1
probe of 1.0 returned 1 after 30 usecs
probe of 2.0 returned 0 after 40 usecs
""",
        (("1.0", "?", "0", 30), ("2.0", "?", "E?", 40)),
        "4.19.0-6-powerpc64le",
    ),
    Sample(
        "a root hub names the release (4.14, mips)",
        """\
[    1.000000] usb usb1: Manufacturer: Linux 4.14.95 ehci_hcd
[    1.100000] probe of 1-0:1.0 returned 0 after 40 usecs
""",
        (("1-0:1.0", "?", "E?", 40),),
        "4.14.95",
    ),
    Sample(
        "5.14 and later: 1 is EPERM",
        "Linux version 6.1.0-18-arm64 (x)\nprobe of a returned 1 after 3 usecs\nprobe of b returned 0 after 4 usecs\n",
        (("a", "?", "EPERM", 3), ("b", "?", "0", 4)),
        "6.1.0-18-arm64",
    ),
    Sample(
        "7.3 names the driver, blanks and all",
        """\
[    1.000000] probe of 0000:81:00.0 with driver nvme returned 0 after 53372 usecs
[    1.100000] probe of mdio-0:01 with driver Generic PHY returned 19 after 5 usecs
""",
        (("0000:81:00.0", "nvme", "0", 53_372), ("mdio-0:01", "Generic PHY", "ENODEV", 5)),
    ),
    Sample(
        "a mail cuts long lines, initcalls too (6.8, radeon)",
        """\
> [    3.400000] calling  radeon_module_init+0x0/0xff0
> [radeon] @ 122
> [    4.460118] probe of 0000:01:05.0 returned 0 after 902266
> usecs
> [    4.460184] initcall radeon_module_init+0x0/0xff0 [radeon] returned
> 0 after 902473 usecs
> [    4.500000] probe of later.0 returned 0 after 2 usecs
""",
        (("0000:01:05.0", "radeon", "0", 902_266), ("later.0", "?", "0", 2)),
    ),
    Sample(
        "a mail in quoted-printable cuts inside words",
        "[    2.100000] probe of 0000:0=\n0:1f.6 returned 0 after 77 us=\necs\n",
        (("0000:00:1f.6", "?", "0", 77),),
    ),
    Sample(
        "a page in HTML",
        "&gt; [    1.000000] probe of a.0 returned 0 after 5 usecs\n",
        (("a.0", "?", "0", 5),),
    ),
    Sample(
        "a child inside another probe has a driver of its own (6.8, intel-lpss)",
        """\
[    0.785696] calling  intel_lpss_pci_driver_init+0x0/0xff0 [intel_lpss_pci] @ 153
[    0.785936] intel-lpss 0000:00:15.0: enabling device (0000 -> 0002)
[    0.786221] probe of idma64.0 returned 0 after 81 usecs
[    0.801676] probe of i2c_designware.0 returned 0 after 15424 usecs
[    0.801691] probe of 0000:00:15.0 returned 0 after 15973 usecs
[    0.819832] probe of 0000:00:15.1 returned 0 after 18137 usecs
""",
        (
            ("0000:00:15.0", "intel-lpss", "0", 15_973),
            ("idma64.0", "?", "0", 81),
            ("i2c_designware.0", "?", "0", 15_424),
            ("0000:00:15.1", "intel_lpss_pci", "0", 18_137),
        ),
    ),
    Sample(
        "what was printed before the probe began is another owner's (the bus's word is never a driver)",
        """\
[    1.000000] pci 0000:03:00.0: [10de:1b06] type 00 class 0x030000
[    2.000000] simple-framebuffer 0000:03:00.0: fb0 registered
[    5.000000] probe of 0000:03:00.0 returned 0 after 100 usecs
[    6.000000] nvidia 0000:03:00.0: vgaarb: changed VGA decodes
""",
        (("0000:03:00.0", "nvidia", "0", 100),),
    ),
    Sample(
        "a network driver puts its interface behind the device",
        """\
[    1.500000] e1000e 0000:00:1f.6 eth0: registered
[    1.500100] probe of 0000:00:1f.6 returned 0 after 9000 usecs
""",
        (("0000:00:1f.6", "e1000e", "0", 9000),),
    ),
    Sample(
        "initcalls that register devices name no driver",
        """\
[    1.000000] calling  deferred_probe_initcall+0x0/0xa0 @ 1
[    1.100000] probe of a.0 returned 0 after 5 usecs
[    1.200000] initcall deferred_probe_initcall+0x0/0xa0 returned 0 after 200000 usecs
""",
        (("a.0", "?", "0", 5),),
    ),
    Sample(
        "an async helper as initcall (4.19: printed with its cookie), told by the caller's id",
        """\
[    1.000000][   T45] calling  3___driver_attach_async_helper+0x0/0xb0 @ 45
[    1.100000][   T45] probe of 0000:81:00.0 returned 1 after 90000 usecs
[    1.100100][   T45] initcall 3___driver_attach_async_helper+0x0/0xb0 returned 0 after 98000 usecs
""",
        (("0000:81:00.0", "?", "0", 90_000),),
    ),
    Sample(
        "the caller of a 6.4 test robot, and a driver's own error line without an errno",
        """\
[    9.861023][    T1] scsi_debug:sdebug_driver_probe: failed
[    9.862682][    T1] probe of adapter0 returned 19 after 86023 usecs
""",
        (("adapter0", "?", "ENODEV", 86_023),),
    ),
    Sample(
        "vendor kernels suffix and prefix",
        """\
[   92.411265] [pid:322,cpu11,kworker/u24:6]nvme 0000:91:00.0: 8/0/0 default queues
[   92.411300] [pid:322,cpu11,kworker/u24:6]probe of 0000:91:00.0 returned 0 after 5000 usecs
[    1.348592] calling  foo_driver_init+0x0/0x20 @ 1 irqs_disabled() 0
[    1.350000] (2)[1:swapper/0]probe of foo.0 returned 0 after 7 usecs
[    1.351000] initcall foo_driver_init+0x0/0x20 returned 0 after 1 usecs, irqs_disabled() 0
<6>[    1.400000]  [0:      swapper/0:    1] probe of bar.0 returned 0 after 8 usecs
[    1.500000,3] probe of baz.0 returned 0 after 9 usecs
""",
        (("foo.0", "foo", "0", 7), ("bar.0", "?", "0", 8), ("baz.0", "?", "0", 9), ("0000:91:00.0", "nvme", "0", 5000)),
    ),
    Sample(
        "a console that lost a newline",
        "[    1.000000] probe of a.0 returned 0 after 5 usecs[    1.000010] probe of b.0 returned 0 after 6 usecs\n",
        (("b.0", "?", "0", 6), ("a.0", "?", "0", 5)),
    ),
    Sample(
        "carriage returns and colours of a serial console",
        "\x1b[32m[    1.000000] \x1b[0m\x1b[33mprobe of a.0\x1b[0m returned 0 after 5 usecs\r\n",
        (("a.0", "?", "0", 5),),
    ),
    Sample(
        "dyndbg before 6.8, a mail's cuts, a driver bound by hand",
        """\
[    1.315427] bus: 'bcma': really_probe: probing driver bgmac_bcma with
device bcma0:5
[    1.343877] bus: 'mdio_bus': really_probe: probing driver bcm53xx
with device bcma_mdio-0-0:1e
[    1.366212] mdio_bus bcma_mdio-0-0:1e: Driver bcm53xx requests probe
deferral
[    1.393600] driver: 'Generic PHY': driver_bound: bound to device
'bcma_mdio-0-0:1e'
[    1.399000] driver: 'bgmac_bcma': driver_bound: bound to device 'bcma0:5'
[    1.400000] bus: 'bcma': really_probe: bound device bcma0:5 to driver bgmac_bcma
""",
        (("bcma0:5", "bgmac_bcma", "0", 84_573), ("bcma_mdio-0-0:1e", "bcm53xx", "EPROBE_DEFER", 22_335)),
    ),
    Sample(
        "dyndbg with +f, and with a caller in single blanks",
        """\
[   61.992734] really_probe: bus: 'i2c': really_probe: probing driver dummy with device 0-003f
[   61.993626] really_probe: bus: 'i2c': really_probe: bound device 0-003f to driver dummy
[   62.000000][ T117] bus: 'scsi': really_probe: probing driver sd with device 1:0:0:0
[   62.260231][ T117] bus: 'scsi': really_probe: bound device 1:0:0:0 to driver sd
""",
        (("0-003f", "dummy", "0", 892), ("1:0:0:0", "sd", "0", 260_231)),
    ),
    Sample(
        "dyndbg since 6.8 has the device in front, and outcomes at error level",
        """\
[    1.000000] pci 0000:81:00.0: probing driver nvme asynchronously
[    1.000100] pci 0000:81:00.0: bus: 'pci': really_probe: probing driver nvme with device
[    1.100100] nvme 0000:81:00.0: driver: 'nvme': driver_bound: bound to device
[    1.100200] nvme 0000:81:00.0: bus: 'pci': really_probe: bound device to driver nvme
[    1.200000] amba 9000000.pl011: bus: 'amba': really_probe: probing driver uart-pl011 with device
[    1.200500] uart-pl011 9000000.pl011: probe with driver uart-pl011 failed with error -22
[    1.300000] pci 0000:00:00.0: bus: 'pci': really_probe: probing driver agpgart-amd64 with device
[    1.300030] agpgart-amd64 0000:00:00.0: probe with driver agpgart-amd64 rejects match -19
""",
        (
            ("0000:81:00.0", "nvme", "0", 100_100),
            ("9000000.pl011", "uart-pl011", "EINVAL", 500),
            ("0000:00:00.0", "agpgart-amd64", "ENODEV", 30),
        ),
    ),
    Sample(
        "dyndbg and initcall_debug of one probe are one record",
        """\
[    1.000000] bus: 'pci': really_probe: probing driver nvme with device 0000:81:00.0
[    1.100000] driver: 'nvme': driver_bound: bound to device '0000:81:00.0'
[    1.100010] bus: 'pci': really_probe: bound device 0000:81:00.0 to driver nvme
[    1.100020] probe of 0000:81:00.0 returned 1 after 100015 usecs
[    1.200000] probe of b.0 returned 0 after 4 usecs
""",
        (("0000:81:00.0", "nvme", "0", 100_015), ("b.0", "?", "E?", 4)),
    ),
    Sample(
        "a name with blanks",
        "[    1.000000] probe of Fixed MDIO bus.0 returned 0 after 5 usecs\n",
        (("Fixed MDIO bus.0", "?", "0", 5),),
    ),
    Sample(
        "two boots in one journal: each has its own meaning",
        """\
Nov 20 02:00:00 host kernel: Linux version 5.10.0-8-amd64 (x)
Nov 20 02:00:01 host kernel: probe of a returned 1 after 5 usecs
Nov 21 02:00:00 host kernel: Linux version 6.1.0-18-amd64 (x)
Nov 21 02:00:01 host kernel: probe of a returned 0 after 6 usecs
""",
        (("a", "?", "0", 5), ("a", "?", "0", 6)),
        "5.10.0-8-amd64",
    ),
)


def read(text: str, **options: str) -> Trace:
    return read_log(io.BytesIO(text.encode()), **options)  # type: ignore[arg-type]


def told(record: ProbeRecord) -> tuple[str, str, str | None, int]:
    return record.device, record.driver, record.result, record.cost_ns // 1000


def kinds(trace: Trace) -> set[str]:
    return {warning.kind for warning in trace.warnings}


@pytest.mark.parametrize("sample", SAMPLES, ids=[sample.name for sample in SAMPLES])
def test_every_wording(sample: Sample) -> None:
    trace = read(sample.text)
    assert sorted(told(record) for record in trace.probes) == sorted(sample.expected)
    assert trace.kernel == sample.kernel


#: a mail is quoted before it is coded, not behind
PLAIN = [sample for sample in SAMPLES if "=\n" not in sample.text]


@pytest.mark.parametrize("sample", PLAIN, ids=[sample.name for sample in PLAIN])
@pytest.mark.parametrize("mark", ["> ", "> > ", "| ", "\t", "  "])
def test_every_wording_quoted(sample: Sample, mark: str) -> None:
    quoted = "".join(f"{mark}{line}\n" for line in sample.text.splitlines())
    assert [told(record) for record in read(quoted).probes] == [told(record) for record in read(sample.text).probes]


BODY = (
    "nvme 0000:81:00.0: 8/0/0 default/read/poll queues",
    "probe of 0000:81:00.0 returned 0 after 1000 usecs",
)


@pytest.mark.parametrize(
    ("dress", "end"),
    [
        ("{m}", None),
        ("[    5.000123] {m}", 5_000_123),
        ("[    5.000123][  T123] {m}", 5_000_123),
        ("[    5.000123] [   C1] {m}", 5_000_123),
        ("<6>[    5.000123] {m}", 5_000_123),
        ("kern  :info  : [    5.000123] {m}", 5_000_123),
        ("kern  :debug : [Sat Nov 21 02:00:05 2026] {m}", None),
        ("[Sat Nov 21 02:00:05 2026] {m}", None),
        ("[Nov21 02:00] {m}", None),
        ("[  +0.000123] {m}", None),
        ("[    5.000123 <    0.000010>] {m}", 5_000_123),
        ("2026-11-21T02:00:05,000123+00:00 {m}", None),
        ("6,412,5000123,-;{m}", 5_000_123),
        ("6,412,5000123,-,caller=T1;{m}", 5_000_123),
        ("Nov 21 02:00:05 host kernel: {m}", None),
        ("Nov 21 02:00:05.000123 host kernel: {m}", None),
        ("Nov 21 02:00:05 host kernel: [    5.000123] {m}", 5_000_123),
        ("2026-11-21T02:00:05.000123+00:00 host kernel: {m}", None),
        ("2026-11-21T02:00:05+0000 host.example kernel: [    5.000123] {m}", 5_000_123),
        ("1795226405.000123 host kernel: {m}", None),
        ("[    5.000123] host kernel: {m}", 5_000_123),
        ("12:34:56.789 [    5.000123] {m}", 5_000_123),
        ("[2026-11-21 12:34:56] [    5.000123] {m}", 5_000_123),
        ("[2026-11-21T12:34:56.789] <4>[    5.000123] {m}", 5_000_123),
        ("[    5.000123] (0)[1:swapper/0]{m}", 5_000_123),
        ("\x1b[32m[    5.000123] \x1b[0m{m}\r", 5_000_123),
    ],
)
def test_every_dress(dress: str, end: int | None) -> None:
    trace = read("".join(dress.format(m=message) + "\n" for message in BODY))
    (record,) = trace.probes
    assert told(record) == ("0000:81:00.0", "nvme", "0", 1000)
    assert record.end_ns == (None if end is None else end * 1000)


def test_a_journal_in_json() -> None:
    entries = [
        {"__REALTIME_TIMESTAMP": "1", "_TRANSPORT": "kernel", "_SOURCE_MONOTONIC_TIMESTAMP": "5000123", "MESSAGE": text}
        for text in ("Linux version 6.1.0 (x)", *BODY)
    ]
    entries[1]["MESSAGE"] = list(BODY[0].encode())  # type: ignore[assignment]  # as the journal writes bytes
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    trace = read_trace(io.BytesIO(text.encode()))
    (record,) = trace.probes
    assert told(record) == ("0000:81:00.0", "nvme", "0", 1000)
    assert (record.end_ns, trace.kernel) == (5_000_123_000, "6.1.0")


def test_what_is_assumed_is_said() -> None:
    trace = read("probe of a returned 0 after 5 usecs\n")
    assert trace.probes[0].result == "0"
    assert "assumed-results" in kinds(trace)
    assert "assumed-results" not in kinds(read("Linux version 6.1.0 (x)\nprobe of a returned 0 after 5 usecs\n"))
    assert "assumed-results" not in kinds(read("probe of a with driver b returned 0 after 5 usecs\n"))


def test_a_release_from_outside_decides_and_is_said() -> None:
    trace = read("probe of a returned 0 after 5 usecs\n", kernel="5.10.0-8-amd64")
    assert (trace.probes[0].result, trace.kernel) == ("E?", None)
    assert [w.message for w in trace.warnings if w.kind == "kernel"] == [
        "the log does not name its kernel; its results are read as those of 5.10.0-8-amd64, its machine's"
    ]


def test_what_the_log_shows_beats_the_release() -> None:
    text = "Linux version 4.18.0-372.el8.x86_64 (x)\n"
    text += "probe of a returned 517 after 5 usecs\nprobe of b returned 0 after 5 usecs\n"
    assert [record.result for record in read(text).probes] == ["EPROBE_DEFER", "0"]


def test_a_driver_named_after_its_initcall_is_said_to_be_assumed() -> None:
    text = "calling  pcie_portdrv_init+0x0/0x4c @ 1\nprobe of a returned 0 after 5 usecs\n"
    assert "assumed-driver" in kinds(read(text))
    assert "assumed-driver" not in kinds(read(text + "pcieport a: PME: Signaling\n"))


@pytest.mark.parametrize(
    ("initcall", "driver"),
    [
        ("e1000_init_module+0x0/0x7b [e1000e]", "e1000e"),
        ("e1000_init_module+0x0/0x7b", "e1000"),
        ("nvme_init+0x0/0x1000", "nvme"),
        ("agp_amd64_mod_init+0x0/0x40", "agp_amd64"),
        ("virtio_pci_driver_init+0x0/0x20", "virtio_pci"),
        ("foo_driver_init+0x0/0x20", "foo"),
        ("ipmi_module_init+0x0/0x20", "ipmi"),
        ("deferred_probe_initcall+0x0/0xa0", "?"),
        ("of_platform_default_populate_init+0x0/0xa0", "?"),
        ("mcheck_init_device+0x0/0x150", "?"),
        ("7_do_scan_async+0x0/0x150", "?"),
    ],
)
def test_an_initcall_names_the_driver_it_stands_for(initcall: str, driver: str) -> None:
    assert read(f"calling  {initcall} @ 1\nprobe of a returned 0 after 5 usecs\n").probes[0].driver == driver


def test_asynchronous_probes_of_a_log() -> None:
    text = next(sample.text for sample in SAMPLES if sample.name.startswith("an async helper"))
    (record,) = read(text).probes
    assert (record.asynchronous, record.path) == (True, "driver_attach_async")
    text = next(sample.text for sample in SAMPLES if sample.name.startswith("dyndbg since"))
    first, second, _ = read(text).probes
    assert (first.asynchronous, first.path, first.bus) == (True, "driver_attach_async", "pci")
    assert (second.asynchronous, second.path, second.bus) == (None, None, "amba")


def test_a_probe_that_hangs_is_named() -> None:
    text = "[    1.000000] bus: 'pci': really_probe: probing driver nvme with device 0000:81:00.0\n"
    (warning,) = read(text).warnings
    assert warning.message == "1 probe(s) began and are not over where the log ends: 0000:81:00.0 (nvme)"
    with pytest.raises(InputError, match=r"no probe with a duration: .*0000:81:00.0 \(nvme\)"):
        read_trace(io.BytesIO(text.encode()))


def test_probes_without_times_are_named_and_left_out() -> None:
    text = """\
[Thu May 14 08:22:13 2015] bus: 'pnp': really_probe: probing driver rtc_cmo=
s with device 00:02
[Thu May 14 08:22:13 2015] bus: 'pnp': really_probe: bound device 00:02 to driver rtc_cmos
[Thu May 14 08:22:14 2015] e1000e: probe of 0000:00:19.0 failed with error -12
"""
    trace = read(text)
    assert not trace.probes
    (warning,) = trace.warnings
    assert (warning.kind, "00:02 (rtc_cmos)" in warning.message, "0000:00:19.0 (e1000e)" in warning.message) == (
        "untimed",
        True,
        True,
    )


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(SAMPLES), st.data())
def test_damaged_logs_are_read(sample: Sample, data: st.DataObject) -> None:
    text = bytearray(sample.text.encode())
    for at in data.draw(st.lists(st.integers(0, len(text) - 1), max_size=6)):
        text[at] = data.draw(st.sampled_from(b"\n \r[]:'=>0\xff\x1b"))
    trace = read_log(io.BytesIO(bytes(text[: data.draw(st.integers(0, len(text)))])))
    assert all(record.cost_ns >= 0 and record.device and record.driver and record.result for record in trace.probes)
    assert all("\n" not in warning.message for warning in trace.warnings)
