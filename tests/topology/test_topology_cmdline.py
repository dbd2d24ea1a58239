from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machines import machines

from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError
from numaprobe.topology import (
    CommandLine,
    Housekeeping,
    Topology,
    apply_cmdline,
    hk_domain,
    hk_wq,
    preset,
    symmetric,
    unbound_cpumask,
)


def test_tokens() -> None:
    line = CommandLine.parse(
        'quiet root=/dev/a foo="a b" "bar=x y" nohz-full=1-3 driver_async_probe=nvme,e1000 x= nohz_full=2 -- init=1\n'
    )
    assert line.get("quiet") == ""
    assert line.get("foo") == "a b"
    assert line.get("bar") == "x y"
    assert line.get("nohz_full") == "2"
    assert line.all("nohz-full") == ["1-3", "2"]
    assert line.get("driver-async-probe") == "nvme,e1000"
    assert line.get("x") == ""
    assert line.get("init") is None
    assert line.get("absent") is None
    assert "root" in line
    assert "absent" not in line
    assert line.names() == ["quiet", "root", "foo", "bar", "nohz_full", "driver_async_probe", "x"]


@pytest.mark.parametrize(
    "text", ["", " \n\t", '"', '""', "=", '="', '"=', "--", "a" * 1000, '"unclosed value', 'a="unclosed b']
)
def test_odd_lines_are_read(text: str) -> None:
    line = CommandLine.parse(text)
    assert CommandLine.parse(str(line)).names() == line.names()


def test_an_unclosed_quote_runs_to_the_end() -> None:
    assert CommandLine.parse('a="b c').get("a") == "b c"


def test_a_line_longer_than_any_kernels_is_refused() -> None:
    with pytest.raises(InputError, match="at most"):
        CommandLine.parse("a" * 70_000)


@given(st.text(max_size=80))
@settings(deadline=None)
def test_any_text_is_a_command_line(text: str) -> None:
    line = CommandLine.parse(text)
    for name in line.names():
        assert line.get(name) is not None


def _read(text: str, topology: Topology | None = None) -> tuple[Housekeeping, list[str]]:
    warnings: list[str] = []
    machine = apply_cmdline(topology or preset("qemu-2n8c"), text, warnings.append)
    return machine.housekeeping, warnings


@pytest.mark.parametrize(
    ("text", "isolated", "managed_irq", "nohz_full"),
    [
        ("isolcpus=4-5", "4-5", "", ""),
        ("isolcpus=domain,4-5", "4-5", "", ""),
        ("isolcpus=managed_irq,domain,4-5", "4-5", "4-5", ""),
        ("isolcpus=managed_irq,4-5", "", "4-5", ""),
        ("isolcpus=nohz,1", "", "", "1"),
        ("isolcpus=nohz,domain,managed_irq,1-N", "1-7", "1-7", "1-7"),
        ("nohz_full=1-3", "", "", "1-3"),
        ("nohz-full=1-3 isolcpus=1-3", "1-3", "", "1-3"),
        ("nohz_full=2-3 isolcpus=4-5", "4-5", "", "2-3"),
        ("isolcpus=", "", "", ""),
        ("isolcpus", "", "", ""),
        ("quiet", "", "", ""),
    ],
)
def test_parameters_that_are_taken(text: str, isolated: str, managed_irq: str, nohz_full: str) -> None:
    found, warnings = _read(text)
    assert (str(found.isolated), str(found.managed_irq), str(found.nohz_full)) == (isolated, managed_irq, nohz_full)
    assert warnings == []


@pytest.mark.parametrize(
    ("text", "word", "isolated", "nohz_full"),
    [
        ("isolcpus=foo,4-5", "skipped unknown flag 'foo'", "4-5", ""),
        ("isolcpus=domain", "skipped unknown flag 'domain'", "", ""),
        ("isolcpus=d0main,4-5", "invalid flag 'd0main'", "", ""),
        ("isolcpus=1-", "not a CPU list", "", ""),
        ("isolcpus=8", "CPU 8 is not possible", "", ""),
        ("isolcpus=0-7", "CPU 0 stays", "1-7", ""),
        ("nohz_full=all", "CPU 0 stays", "", "1-7"),
        ("isolcpus=nohz,domain,1-3 nohz_full=2", "must match", "1-3", "1-3"),
        ("isolcpus=1 isolcpus=2", "must match", "1", ""),
        ("nohz_full=0-3 isolcpus=4-7", "together", "", "0-3"),
        ("workqueue.unbound_cpus=99", "not possible", "", ""),
    ],
)
def test_parameters_that_the_kernel_refuses(text: str, word: str, isolated: str, nohz_full: str) -> None:
    found, warnings = _read(text)
    assert word in warnings[0]
    assert len(warnings) == 1
    assert (str(found.isolated), str(found.nohz_full)) == (isolated, nohz_full)


def test_one_present_cpu_is_left() -> None:
    topology = replace(symmetric("t", cores=4), present=CpuSet.of([1, 2]), online=CpuSet.of([1, 2]))
    found, warnings = _read("isolcpus=1-2", topology)
    assert "CPU 1 stays" in warnings[0]
    assert str(found.isolated) == "2"


def test_the_unbound_mask_of_the_recorded_guest() -> None:
    topology = apply_cmdline(preset("qemu-2n8c"), "isolcpus=managed_irq,domain,4-5")
    assert unbound_cpumask(topology, with_wq=False).to_mask(8) == "cf"
    assert str(hk_domain(topology)) == "0-3,6-7"


def test_each_factor_of_the_unbound_mask() -> None:
    topology = apply_cmdline(preset("qemu-2n8c"), "isolcpus=0-1 nohz_full=2-3 workqueue.unbound_cpus=3-4")
    assert str(unbound_cpumask(topology, with_wq=True)) == "4"
    assert str(unbound_cpumask(topology, with_wq=False)) == "3-4"
    nothing_left = apply_cmdline(preset("qemu-2n8c"), "isolcpus=0-3 workqueue.unbound_cpus=0-1")
    assert str(unbound_cpumask(nothing_left, with_wq=True)) == "4-7"


@given(machines())
@settings(deadline=None, max_examples=60)
def test_no_mask_is_ever_empty(topology: Topology) -> None:
    assert hk_domain(topology) & topology.present
    assert hk_wq(topology) & topology.present
    assert unbound_cpumask(topology, with_wq=True)
    assert unbound_cpumask(topology, with_wq=False)


@given(st.text(alphabet="isolcpus=nohz_full,domain0123456789-: workqueue.unbound_cpus", max_size=120))
@settings(deadline=None)
def test_any_parameters_leave_a_cpu(text: str) -> None:
    topology = apply_cmdline(preset("qemu-2n8c"), text)
    assert topology.present - topology.housekeeping.isolated
    assert topology.present - topology.housekeeping.nohz_full
