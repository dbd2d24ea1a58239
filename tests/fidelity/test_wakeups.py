"""Where real wake-ups put unbound workers of a busy node: at home, however idle the other nodes are.

Two cases that guests of 7.3 decided: eight shells that bind two drives a node on four nodes of two CPUs under
``queue-on-node`` (97 of 100 probes at home), and three asynchronous drives of a node of which isolation leaves two CPUs
(the third at home 18 times of 18).
"""

from __future__ import annotations

import tomllib

from numaprobe.scenario import parse_scenario, run_scenario

NVME = """
[[drivers]]
name = "nvme"
bus = "pci"
probe_type = "async"
"""

PARALLEL_BINDS = f"""
machine = "4 nodes x 2 cores"
kernel = "7.3"
name = "parallel binds on small nodes"
caller = {{ comm = "insmod", cpu = 0 }}
{NVME}
phases = [{{ compute = "5ms" }}, {{ hold = {{ lock = "acpi", phases = [{{ compute = "90ms" }}] }} }},
          {{ sleep = "10ms" }}, {{ compute = "12ms" }}, {{ sleep = "10ms" }}]

[[devices]]
name = "0000:4{{i}}:00.0"
count = 2
first = 1
bus = "pci"
node = 0
compatible = "nvme"

[[devices]]
name = "0000:7{{i}}:00.0"
count = 2
first = 1
bus = "pci"
node = 1
compatible = "nvme"

[[devices]]
name = "0000:a{{i}}:00.0"
count = 2
first = 1
bus = "pci"
node = 2
compatible = "nvme"

[[devices]]
name = "0000:d{{i}}:00.0"
count = 2
first = 1
bus = "pci"
node = 3
compatible = "nvme"

[[steps]]
add = "*"

[[steps]]
autoprobe = {{ bus = "pci", on = false }}

[[steps]]
load = "nvme"

[[steps]]
autoprobe = {{ bus = "pci", on = true }}

[[steps]]
parallel = [
    {{ bind = "0000:41:00.0", comm = "sh", cpu = 0 }}, {{ bind = "0000:42:00.0", comm = "sh", cpu = 1 }},
    {{ bind = "0000:71:00.0", comm = "sh", cpu = 2 }}, {{ bind = "0000:72:00.0", comm = "sh", cpu = 3 }},
    {{ bind = "0000:a1:00.0", comm = "sh", cpu = 0 }}, {{ bind = "0000:a2:00.0", comm = "sh", cpu = 1 }},
    {{ bind = "0000:d1:00.0", comm = "sh", cpu = 2 }}, {{ bind = "0000:d2:00.0", comm = "sh", cpu = 3 }}]
"""

THREE_ON_TWO_CPUS = f"""
machine = "2 nodes x 4 cores"
kernel = "7.3"
cmdline = "isolcpus=managed_irq,domain,6-7"
{NVME}
phases = [{{ compute = "100ms" }}, {{ sleep = "20ms" }}]

[[devices]]
name = "0000:8{{i}}:00.0"
count = 3
first = 1
bus = "pci"
node = 1
compatible = "nvme"
"""


def test_workers_of_parallel_binds_start_on_their_node() -> None:
    trace = run_scenario(parse_scenario(tomllib.loads(PARALLEL_BINDS)), "queue-on-node")
    assert len(trace.probes) == 8
    assert all(record.local for record in trace.probes)


def test_the_third_worker_of_a_pod_of_two_cpus_starts_there_too() -> None:
    trace = run_scenario(parse_scenario(tomllib.loads(THREE_ON_TWO_CPUS)), "queue-on-node")
    assert [record.local for record in trace.probes] == [True] * 3
    assert sum(bool(record.remote_ns) for record in trace.probes) == 1, "one of three is moved off in the middle"
