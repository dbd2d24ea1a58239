from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.kernel.candidates import CANDIDATES, find_offset, rewrite
from numaprobe.kernel.kprobes import kprobe_definitions

HEAD = "     kworker/4:1-89      [004] .....   117.292873: local_pci_probe: (local_pci_probe+0x0/0x90)"
PROBED = (
    '        modprobe-88      [000] .....   117.292000: really_probe: (really_probe+0x0/0x380) dev="{}" drv="nvme"\n'
)
GARBAGE = b'\n\x01"garbage\n of '


def words(memory: bytes, order: str = "little") -> str:
    halves = (memory[:16].ljust(16, b"\0")[at : at + 8] for at in (0, 8))
    return "{" + ",".join(f"{int.from_bytes(half, order):#x}" for half in halves) + "}"  # type: ignore[arg-type]


def line(names: dict[int, bytes], order: str = "little") -> str:
    """An event whose candidates point at ``names``, and elsewhere at rubbish."""
    return HEAD + "".join(f" dev{at}={words(names.get(at, GARBAGE), order)}" for at in CANDIDATES) + "\n"


def test_every_candidate_is_asked_for_as_numbers() -> None:
    """A string from a wild address could hold anything, line ends too; a number cannot."""
    command = next(one for one in kprobe_definitions(search=True) if one.event == "local_pci_probe").command
    assert "dev176=+0(+176(+8($arg1))):x64[2]" in command
    assert ":string" not in command
    assert len(command) < 4096


@given(st.sampled_from(CANDIDATES), st.integers(0, 255), st.sampled_from(["little", "big"]))
@settings(deadline=None, max_examples=40)
def test_the_right_one_shows_itself_and_the_others_go(right: int, bus: int, order: str) -> None:
    address = f"0000:{bus:02x}:00.0"
    lines = [PROBED.format(address), line({right: address.encode()}, order), "other line\n"]
    assert find_offset(lines) == right
    assert list(rewrite(lines, right)) == [lines[0], f'{HEAD} dev="{address}"\n', "other line\n"]


def test_a_device_that_sysfs_shows_will_do_and_the_longest_address_fits() -> None:
    address = "10000000:e1:00.7"
    assert find_offset([line({200: address.encode()})], [address]) == 200
    assert list(rewrite([line({200: address.encode()})], 200)) == [f'{HEAD} dev="{address}"\n']


@pytest.mark.parametrize(
    "names",
    [
        pytest.param([{}], id="no candidate names anything"),
        pytest.param([{176: b"0000:99:00.0"}], id="a device that nobody knows"),
        pytest.param([{176: b"0000:81:00.0"}, {}], id="not in every event"),
        pytest.param([{176: b"0000:81:00.0", 184: b"0000:82:00.0"}], id="two that disagree"),
        pytest.param([{176: b"0000:81:00.0 and more"}], id="more than an address"),
    ],
)
def test_what_cannot_be_trusted_is_not_told(names: list[dict[int, bytes]]) -> None:
    probed = [PROBED.format(name) for name in ("0000:81:00.0", "0000:82:00.0")]
    lines = [*probed, *(line(one) for one in names)]
    assert find_offset(lines) is None
    assert list(rewrite(lines, None)) == [*probed, *[HEAD + "\n"] * len(names)]
