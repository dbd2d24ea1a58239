"""What a recording costs the probes that it watches: measured in a guest, side by side.

The witness is independent of us: with ``initcall_debug`` the kernel itself times each probe (``really_probe_debug``)
and logs it. In one guest, in turn: the steps without any recording, with kprobes alone, with scheduler events as well;
then again. Each probe is compared with the same device's probe of the same round without recording, and the median of
these pairs is the figure: a slow minute of the host hits all ways of a round alike. The ways take turns at being first,
and the first round warms caches and is not counted. The guest is emulated in one thread: so much switching on and off
is more than QEMU's race allows (``guest.py``).
"""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from numaprobe.errors import RefusedError
from numaprobe.kernel.boot import read_kernel_log
from numaprobe.kernel.capabilities import INITCALL_DEBUG
from numaprobe.kernel.initcall import read_log
from numaprobe.kernel.lab.steps import failed_steps, step_function, write_steps
from numaprobe.kernel.record import Recorder, RecordOptions
from numaprobe.kernel.tracefs import Tracefs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numaprobe.kernel.lab.plan import GuestPlan
    from numaprobe.kernel.lab.tools import KernelImage, Tools

OVERHEAD_SCHEMA: Final = "numaprobe.overhead/1"
#: the ways to record that are compared; the first is the base
WAYS: Final = ("none", "kprobes", "kprobes+sched")
#: seconds before each measurement, whatever the way: setting up or unloading leaves work behind
_SETTLE: Final = 0.5


def measure_overhead(
    plan: GuestPlan,
    rounds: int,
    *,
    kernel: KernelImage,
    tools: Tools,
    folder: Path,
    timeout: float,
    kvm: bool = False,
) -> dict[str, Any]:
    """Boot a guest, take the plan's steps ``rounds`` times in each way, return the figures.

    Args:
        plan: its steps must load drivers with ``modprobe``; they are unloaded between rounds.
        rounds: counted rounds.
        kernel: what to boot.
        tools: with what.
        folder: for the guest's files.
        timeout: seconds.
        kvm: as for ``run_guest``.

    Raises:
        RefusedError: the guest failed.

    """
    from numaprobe.kernel.lab.guest import guest_environment, run_script  # only the host needs it

    folder = folder.resolve()
    measure = [sys.executable, "-m", "numaprobe.kernel.lab.overhead", str(rounds), str(folder), *_modules(plan)]
    # udev looks at every disk that appears, while the next one is probed: more noise than what is measured.
    lines = [
        step_function(folder),
        *plan.setup,
        "udevadm control --exit",
        f"{guest_environment()} {shlex.join(measure)}",
    ]
    write_steps(plan.steps, folder)
    plan = replace(plan, cmdline=f"{plan.cmdline} log_buf_len=4M".strip())
    run_script(plan, lines, kernel=kernel, tools=tools, folder=folder, timeout=timeout, kvm=kvm, one_thread=True)
    failed = failed_steps(folder)
    if failed:
        raise RefusedError(f"{failed[0]}; its console: {folder / 'console.log'}")
    try:
        costs = json.loads((folder / "costs.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise RefusedError(f"the guest measured nothing; its console: {folder / 'console.log'}") from None
    return summarise(costs, kernel.release)


def _modules(plan: GuestPlan) -> list[str]:
    words = [shlex.split(line) for line in plan.steps]
    return list(dict.fromkeys(line[line.index("modprobe") + 1] for line in words if "modprobe" in line))


def summarise(costs: Mapping[str, Mapping[str, Mapping[str, int]]], release: str) -> dict[str, Any]:
    """Return ``numaprobe.overhead/1``: for each way and device the median cost, and the median ratio to the base.

    Args:
        costs: way -> device -> round -> cost in µs.
        release: the kernel's.

    Raises:
        RefusedError: a way has no cost of any device.

    """
    base = costs.get(WAYS[0], {})
    ways = {way: _one_way(way, costs.get(way, {}), base) for way in WAYS}
    return {"schema": OVERHEAD_SCHEMA, "kernel": release, "base": WAYS[0], "ways": ways}


def _one_way(way: str, costs: Mapping[str, Mapping[str, int]], base: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Return the figures of one way: each probe over the same device's probe of the same round without recording."""
    pairs = {
        device: [cost / base[device][number] for number, cost in rounds.items() if base.get(device, {}).get(number)]
        for device, rounds in costs.items()
    }
    ratios = [ratio for each in pairs.values() for ratio in each]
    if not ratios:
        raise RefusedError(f"no probe was timed with '{way}': does this kernel have initcall_debug?")
    return {
        "median_us": {device: median(rounds.values()) for device, rounds in costs.items() if rounds},
        "ratio": {device: median(each) for device, each in pairs.items() if each},
        "median_ratio": median(ratios),
        "pairs": len(ratios),
    }


def overhead_lines(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures for people."""
    lines = [f"kernel {figures['kernel']}: what recording adds to a probe's cost, by the kernel's own initcall_debug"]
    for way, block in figures["ways"].items():
        each = ", ".join(f"{device} {value:.0f} us" for device, value in block["median_us"].items())
        lines.append(f"{way:<14} median ratio {block['median_ratio']:.3f} ({block['pairs']} pairs of probes; {each})")
    return lines


# ---- in the guest --------------------------------------------------------------------------------------------------
def main(arguments: list[str]) -> None:
    """Run in the guest: measure, and leave ``costs.json`` in the shared folder."""
    rounds, folder, modules = int(arguments[0]), Path(arguments[1]), arguments[2:]
    tracefs = Tracefs.find()
    INITCALL_DEBUG.write_text("Y\n", encoding="ascii")
    costs: dict[str, dict[str, dict[int, int]]] = {way: defaultdict(dict) for way in WAYS}
    for number in range(rounds + 1):
        turn = number % len(WAYS)
        for way in WAYS[turn:] + WAYS[:turn]:
            found = _one_round(tracefs, way, folder / "steps.sh", modules)
            for device, cost in found if number else ():
                costs[way][device][number] = cost
    (folder / "costs.json").write_text(json.dumps(costs), encoding="utf-8")


def _one_round(tracefs: Tracefs, way: str, steps: Path, modules: list[str]) -> list[tuple[str, int]]:
    """Take the steps twice; return device and cost (µs) of each probe of the second time.

    Switching kprobes rewrites the kernel's code, and the emulator translates that again when it runs next.
    That belongs to the emulator, not to a recording, and is over after the first time.
    """
    with ExitStack() as stack:
        if way != WAYS[0]:
            options = replace(RecordOptions(), sched=way.endswith("+sched"))
            stack.enter_context(Recorder(tracefs, options)).start()
        _take_steps(steps, modules)
        before = len(read_kernel_log().splitlines())
        _take_steps(steps, modules)
        return list(probe_costs(read_kernel_log().splitlines()[before:], os.uname().release))


def _take_steps(steps: Path, modules: list[str]) -> None:
    time.sleep(_SETTLE)
    _run(["/bin/sh", str(steps)])
    for module in modules:
        _run(["modprobe", "-r", module])


def probe_costs(lines: Iterable[str], kernel: str) -> Iterable[tuple[str, int]]:
    """Return device and cost in µs of each successful probe that ``initcall_debug`` of this release tells."""
    text = "".join(f"{line}\n" for line in lines)
    for record in read_log(io.BytesIO(text.encode()), kernel=kernel).probes:
        if record.result == "0":
            yield record.device, record.cost_ns // 1000


def _run(command: list[str]) -> None:
    subprocess.run(command, check=False, stdin=subprocess.DEVNULL)  # noqa: S603  fixed commands, in the guest


if __name__ == "__main__":
    main(sys.argv[1:])
