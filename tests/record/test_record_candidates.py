from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.kernel.candidates import CANDIDATES, find_offset, rewrite, with_candidates
from numaprobe.kernel.kprobes import kprobe_definitions

HEAD = "     kworker/4:1-89      [004] .....   117.292873: local_pci_probe: (local_pci_probe+0x0/0x90)"


def line(right: int, address: str) -> str:
    def text(offset: int) -> str:
        return f'"{address}"' if offset == right else ('"\x01garb"' if offset % 16 else "(fault)")

    return HEAD + "".join(f" dev{offset}={text(offset)}" for offset in CANDIDATES) + "\n"


def test_every_candidate_is_asked_for() -> None:
    definition = next(one for one in kprobe_definitions() if one.event == "local_pci_probe")
    command = with_candidates(definition).command
    assert "dev176=+0(+176(+8($arg1))):string" in command
    assert len(command) < 4096


@given(st.sampled_from(CANDIDATES), st.integers(0, 255))
@settings(deadline=None, max_examples=40)
def test_the_right_one_shows_itself_and_the_others_go(right: int, bus: int) -> None:
    address = f"0000:{bus:02x}:00.0"
    lines = [line(right, address), "other line\n"]
    assert find_offset(lines) == right
    assert list(rewrite(lines, right)) == [f'{HEAD} dev="{address}"\n', "other line\n"]


def test_without_any_address_no_device_is_told() -> None:
    lines = [line(0, "")]
    assert find_offset(lines) is None
    assert list(rewrite(lines, None)) == [HEAD + "\n"]
