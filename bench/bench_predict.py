"""Predicted against measured on this machine: how far the virtual machine is off, load by load.

Every load runs on this computer as a scenario does with ``run --real``, and is predicted from the same figures. Two
policies: ``work-on-cpu`` sends all probes to the node's first CPU, ``strict-node`` lets them spread over the node. The
error is (predicted - measured) / measured of the makespan, the measured one being the median of the runs.

Other programs spoil a measured time, and only one way. So each run waits (not for long) for a moment in which they are
quiet, their share of the CPUs is told beside each row, and a row in which it was large says nothing about the
prediction.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

from numaprobe.analysis import validate
from numaprobe.hostmachine.others import Others
from numaprobe.scenario import load_scenario, prepare, run_setting
from numaprobe.scenario.real import here, run_real

if TYPE_CHECKING:
    from numaprobe.cpuset import CpuSet
    from numaprobe.scenario import Setting

#: The phases of a probe. Mixed is nvme-epyc's own: 4 MiB, 25 ms of waiting around 9.3 ms of a CPU.
LOADS = {
    "sleep-heavy": '[{sleep="20ms"},{compute="1ms"},{sleep="20ms"}]',
    "compute-heavy": '[{sleep="1ms"},{compute="20ms"},{sleep="1ms"}]',
    "mixed": None,
}
DEVICES = (1, 2, 4, 8, 16, 32)
POLICIES = {"work-on-cpu": "one CPU", "strict-node": "spread"}
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
TARGET_PERCENT = 10.0
#: Others use less than this share of the CPUs: quiet enough; and how long to wait for it.
QUIET = 0.05
PATIENCE_S = 1.0


class Row(NamedTuple):
    load: str
    mode: str
    policy: str
    devices: int
    predicted_ms: float
    measured_ms: float
    error: float
    others: float


def setting_of(load: str, mode: str, devices: int) -> Setting:
    changes = [f"devices[0].count={devices}", f"drivers[0].probe_type={mode}"]
    if LOADS[load]:
        changes.append(f"drivers[0].phases={LOADS[load]}")
    return here(prepare(load_scenario("nvme-epyc", changes), machine="host"))


def wait_for_quiet(cpus: CpuSet) -> None:
    """Return when others have been quiet for a twentieth of a second, or after some patience."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        others = Others(cpus)
        time.sleep(0.05)
        if (others.share() or 0.0) <= QUIET:
            return


def row(load: str, mode: str, policy: str, devices: int) -> Row:
    setting = setting_of(load, mode, devices)
    predicted = run_setting(setting, policy).trace
    cpus = setting.plan.topology.online
    traces, shares = [], []
    for _ in range(ROUNDS):
        wait_for_quiet(cpus)
        others = Others(cpus)
        traces.append(run_real(setting, policy).trace)
        shares.append(others.share() or 0.0)
    makespan = validate([predicted], [traces]).measured[0].makespan
    return Row(
        load,
        mode,
        policy,
        devices,
        (makespan.predicted_ns or 0) / 1e6,
        (makespan.measured_ns or 0) / 1e6,
        makespan.error_percent or 0.0,
        statistics.median(shares),
    )


def main() -> None:
    print(f"load average {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} CPUs, {ROUNDS} runs each")
    print(f"{'load':14}{'mode':6}{'where':8}{'devices':>8}{'predicted':>12}{'measured':>12}{'error':>9}{'others':>8}")
    rows = []
    for load in LOADS:
        for mode in ("sync", "async"):
            for policy, where in POLICIES.items():
                for devices in DEVICES:
                    found = row(load, mode, policy, devices)
                    rows.append(found)
                    print(
                        f"{load:14}{mode:6}{where:8}{devices:8}{found.predicted_ms:9.1f} ms{found.measured_ms:9.1f} ms"
                        f"{found.error:+7.1f} %{100 * found.others:6.0f} %",
                        flush=True,
                    )
    print(f"\nmedian of |error| per load (target {TARGET_PERCENT:.0f} %), and of the rows in which others used <= 5 %:")
    for load in LOADS:
        for mode in ("sync", "async"):
            for policy, where in POLICIES.items():
                chosen = [one for one in rows if (one.load, one.mode, one.policy) == (load, mode, policy)]
                quiet = [abs(one.error) for one in chosen if one.others <= QUIET]
                shown = f"{statistics.median(quiet):5.1f} % of {len(quiet)} rows" if quiet else "  no such row"
                error = statistics.median(abs(one.error) for one in chosen)
                print(f"{load:14}{mode:6}{where:8}{error:7.1f} %   quiet: {shown}")
        error = statistics.median(abs(one.error) for one in rows if one.load == load)
        print(f"{load:14}all           {error:7.1f} %   {'met' if error <= TARGET_PERCENT else 'MISSED'}")
    print(f"load average now {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
