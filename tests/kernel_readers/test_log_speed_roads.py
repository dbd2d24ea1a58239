"""The short way for plain lines says what the long way says; nothing in a log costs more than its length."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from counting import lines_run
from numaprobe.errors import InputError
from numaprobe.kernel import initcall
from numaprobe.kernel.initcall import read_log
from numaprobe.kernel.log_plain import plain_lines

if TYPE_CHECKING:
    from numaprobe.records import Trace

LOGS = sorted((Path(__file__).parents[1] / "data" / "kernel" / "initcall").glob("*.log"))
HEADS = ("[    1.000001] ", "[    1.5] ", "<6>[    2.000002][   T12] ", "> [    3.000003] ", "[4.000004][ C1] ", "")
MESSAGES = (
    "calling  nvme_init+0x0/0x1000 [nvme] @ 12",
    "initcall nvme_init+0x0/0x1000 [nvme] returned 0 after 3 usecs",
    "probe of 0000:01:00.0 returned 0 after 3 usecs",
    "probe of a b returned -517 after 4 usecs",
    "probe of a with driver b returned 19 after 5 usecs",
    "probe of a with driver b c returned",
    " 0 after 5 usecs",
    "bus: 'pci': really_probe: probing driver nvme with device a",
    "driver: 'nvme': driver_bound: bound to device 'a'",
    "bus: 'pci': really_probe: bound device a to driver nvme",
    "nvme a: probe with driver nvme failed with error -12",
    "nvme: probe of a failed with error -12",
    "nvme a: Driver nvme requests probe deferral",
    "nvme 0000:01:00.0: CPU: 5, COMM: kworker/5:1, probe cost: 1000 ns",
    "pci a: BAR 0: assigned [mem 0x1-0x2]",
    "nvme a: 2/0/0 default/read/poll queues",
    "Linux version 6.1.0 (gcc)",
    "a: deferred probe pending: wait for supplier",
    "Jan 12 kernel: probe of a returned 0 after 1 usecs",
    "kern  :info  : probe of b returned 0 after 1 usecs",
    "text caller=T9 probe of c returned 0 after 1 usecs",
    "a line that lost its newline here[    7.000001] probe of d returned 0 after 9 usecs",
    "\x1b[32mprobe of e\x1b[0m returned 0 after 9 usecs",
    "probe of f returned 0 after 9 usecs\r",
    "probe of g&gt; returned 0 after 9 usecs  ",
    "probe of \u00e9 returned 0 after 9 usecs",
    "x" * 3000 + " probe of h returned 0 after 9 usecs",
)


def both_ways(text: bytes, monkeypatch: pytest.MonkeyPatch) -> tuple[Trace, Trace]:
    """Read a log with the short way, and without."""
    short = read_log(io.BytesIO(text))
    with monkeypatch.context() as patch:
        patch.setattr(
            initcall, "plain_lines", lambda piece: [("", "", "", "", line) for line in piece.split("\n") if line]
        )
        return short, read_log(io.BytesIO(text))


@pytest.mark.parametrize("log", LOGS, ids=lambda path: path.stem)
def test_real_logs_read_the_same_both_ways(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short, long = both_ways(log.read_bytes(), monkeypatch)
    assert short.probes
    assert short == long


def test_mixed_lines_read_the_same_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(8)
    for _ in range(400):
        lines = [dice.choice(HEADS) + dice.choice(MESSAGES) for _ in range(dice.randint(1, 12))]
        text = "\n".join(lines).encode()
        short, long = both_ways(text, monkeypatch)
        assert short == long, text


def test_plain_lines_take_the_short_way() -> None:
    rows = list(plain_lines("".join(f"{HEADS[0]}{message}\n" for message in MESSAGES[:6])))
    assert [row[4] for row in rows] == [""] * 6


def lines_of(text: bytes) -> int:
    """How many lines of Python a log takes."""
    return lines_run(lambda: read_log(io.BytesIO(text)))


@pytest.mark.parametrize(
    "line",
    [
        "[    1.000001] initcall a_init+0x0/0x10 returned 0 after 1 usecs\n",
        "[    1.000001] bus: 'pci': really_probe: probing driver nvme with device a\n",
        "[    1.000001] probe of a returned 0 after 1 usecs\n",
    ],
)
def test_open_initcalls_do_not_slow_each_line(line: str) -> None:
    begun = "".join(f"[    1.000001] calling  f{i}_init+0x0/0x10 @ {i}\n" for i in range(1000))
    lines_of((begun + line).encode())  # whatever is loaded or made at the first use
    without, few, many = lines_of(begun.encode()), line * 50, line * 500
    more = lines_of((begun + many).encode()) - without
    assert more < 12 * (lines_of((begun + few).encode()) - without)
    assert more < 500 * 200


def test_a_log_of_many_boots_is_refused() -> None:
    boot = b"[    0.000000] Linux version 6.1.0 (gcc)\n[    1.000001] probe of a returned 0 after 1 usecs\n"
    with pytest.raises(InputError, match="more than 1000 boots"):
        read_log(io.BytesIO(boot * 1001))


def test_probes_that_never_end_are_counted_and_the_first_named() -> None:
    line = b"[    1.000001] bus: 'pci': really_probe: probing driver nvme with device a%d\n"
    trace = read_log(io.BytesIO(b"".join(line % i for i in range(100))))
    (message,) = (warning.message for warning in trace.warnings if warning.kind == "unfinished")
    assert message.startswith("100 probe(s) began")
    assert message.endswith("a7 (nvme), and 92 more")
