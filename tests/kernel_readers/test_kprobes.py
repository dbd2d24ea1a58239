import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.kernel.kprobes import (
    DEVICE_DRIVER_ATTACH,
    LOCAL_PCI_PROBE,
    REALLY_PROBE,
    KprobeDefinition,
    bare_symbol,
    entry_and_return,
    kprobe_definitions,
    parse_kprobe_events,
)


def test_our_definitions_are_what_the_kernel_takes() -> None:
    commands = {d.event: d.command for d in kprobe_definitions(pci_dev_offset=208)}
    assert commands["really_probe"] == (
        "p:numaprobe/really_probe really_probe dev=+0(+0($arg1)):string drv=+0(+0($arg2)):string"
    )
    assert commands["really_probe_ret"] == "r256:numaprobe/really_probe_ret really_probe ret=$retval:s32"
    assert commands[LOCAL_PCI_PROBE].endswith(" dev=+0(+208(+8($arg1))):string")
    assert commands[DEVICE_DRIVER_ATTACH].endswith(" dev=+0(+0($arg2)):string")


def test_without_the_offset_a_pci_event_names_no_device() -> None:
    assert [d.arguments for d in kprobe_definitions() if d.event == LOCAL_PCI_PROBE] == [()]


def test_our_definitions_are_read_as_they_were_written() -> None:
    ours = (*kprobe_definitions(pci_dev_offset=208), *entry_and_return("nvme_probe", "dev=x", module="nvme"))
    assert tuple(parse_kprobe_events(d.command + "\n" for d in ours).values()) == ours


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("p:lab/rp really_probe dev=+0(+0($arg1)):string", ("rp", "really_probe", False, "lab", None)),
        ("r16:lab/rpr really_probe ret=$retval:s32", ("rpr", "really_probe", True, "lab", None)),
        ("r:lab/nppr nvme:nvme_probe ret=$retval:s32", ("nppr", "nvme_probe", True, "lab", "nvme")),
        ("p:kprobes/x really_probe.isra.0+0x4", ("x", "really_probe", False, "kprobes", None)),
        ("p:x really_probe+4", ("x", "really_probe", False, "kprobes", None)),
        ("p:g/x really_probe%return", ("x", "really_probe", True, "g", None)),
        ("p:g.x really_probe", ("x", "really_probe", False, "g", None)),
    ],
)
def test_the_kernels_ways_to_write_a_definition(line: str, expected: tuple[object, ...]) -> None:
    (found,) = parse_kprobe_events([line]).values()
    assert (found.event, found.function, found.returns, found.group, found.module) == expected


def test_everything_else_is_passed_over() -> None:
    text = [
        "node0 0-3 dist 10 20",
        "ffffffffa94fa4e0 t really_probe",
        "",
        "p really_probe",
        "p:",
        "r16:x/",
        "printk 3",
        "p:a/b",
    ]
    assert parse_kprobe_events(text) == {}


def test_compilers_suffixes() -> None:
    assert [bare_symbol(s) for s in ("a", "a.cold", "a.isra.0.cold", "__a.constprop.0")] == ["a", "a", "a", "__a"]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(max_size=40) | st.from_regex(r"[pr]\d?:\w{1,5}/\w{1,5} .{0,20}", fullmatch=True)))
def test_any_text_is_read(lines: list[str]) -> None:
    assert all(isinstance(d, KprobeDefinition) for d in parse_kprobe_events(lines).values())


def test_the_function_names_are_the_kernels() -> None:
    assert {d.function for d in kprobe_definitions()} >= {REALLY_PROBE, LOCAL_PCI_PROBE}
