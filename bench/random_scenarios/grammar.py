"""A grammar of scenarios: from a number to a scenario and a machine, both valid, the same for the same number.

Three sorts, because not all scenarios promise the same:

* ``quiet``: after each step all probing comes to rest, and what a probe does depends on what is bound, never on when it
  is tried. Its *outcome* (who is bound to what, how each device's last probe ended, which checks passed) is the same
  under every policy. Nobody waits for what cannot come, so nothing hangs.
* ``counting``: as quiet, with ``fail`` … ``attempts``: how often a deferred device is tried depends on when triggers
  come, in the kernel as well (docs/scenarios.md), so outcomes may differ, and nothing else may.
* ``wild``: steps run into probes under way, beside each other; probes wait with a timeout, or for ever. Whoever comes
  first may win, and it may hang, which is then named; no device and no probe is lost.

All draw from the same words: every bus, sync and async drivers, suppliers, parents, children that probes register,
virtual functions, every errno, locks, memory, isolation and hotplug, callers, every kernel profile, and machines with
nodes that have no CPUs, no memory or are offline, and CPUs that are offline or not there.
"""

from __future__ import annotations

import dataclasses
import errno
from random import Random
from typing import Any, Final

from numaprobe.cpuset import CpuSet
from numaprobe.runtime import PROFILES
from numaprobe.topology import Node, Topology, symmetric
from numaprobe.topology.model import default_distances

SORTS: Final = ("quiet", "quiet", "quiet", "counting", "wild", "wild")
BUSES: Final = ("platform", "pci", "nd", "virtio", "usb", "usb")
ERRNOS: Final = (*sorted(errno.errorcode.values()), *["ENODEV", "ENXIO", "ENOMEM", "EIO"] * 20)
TIMES: Final = ("0ns", "1us", "100us", "1ms", "3ms")
#: The last one runs a node out of memory: who comes first has it.
SIZES: Final = ("4KiB", "64KiB", "1MiB", "2GiB")
LOCKS: Final = ("acpi", "rtnl")

Table = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """A scenario, as its file says it, and what it is run on."""

    seed: int
    sort: str
    data: Table
    topology: Topology
    kernel: str


def make_case(seed: int) -> Case:
    """Return the case of this number."""
    rng = Random(seed)
    sort = rng.choice(SORTS)
    topology = _machine(rng)
    writer = _Writer(rng, sort, topology)
    return Case(seed, sort, writer.scenario(), topology, rng.choice(list(PROFILES)))


# ---- machines ------------------------------------------------------------------------------------------------------
def _machine(rng: Random) -> Topology:
    """Return a machine, in half of the cases a hostile one."""
    shape = {
        "nodes": rng.randint(1, 4),
        "llcs": rng.randint(1, 2),
        "cores": rng.randint(1, 3),
        "smt": rng.randint(1, 2),
    }
    topology = symmetric("random", **shape, interleaved=rng.random() < 0.5)
    if rng.random() < 0.5:
        return topology
    nodes = [dataclasses.replace(node, memory=0) if rng.random() < 0.2 else node for node in topology.nodes]
    last = nodes[-1].id
    for number in range(rng.randint(0, 2)):  # memory only, some of them offline, with holes in the numbers
        nodes.append(Node(last + 1 + number * rng.randint(1, 3), CpuSet(), 2**30, online=rng.random() < 0.7))
        last = nodes[-1].id
    off = CpuSet.of(cpu for cpu in topology.possible if cpu and rng.random() < 0.2)
    gone = CpuSet.of(cpu for cpu in off if rng.random() < 0.3)
    return dataclasses.replace(
        topology,
        nodes=tuple(nodes),
        distances=default_distances(len(nodes)),
        online=topology.online - off,
        present=topology.present - gone,
    )


# ---- scenarios -----------------------------------------------------------------------------------------------------
class _Writer:
    """Writes one scenario."""

    def __init__(self, rng: Random, sort: str, topology: Topology) -> None:
        self.rng = rng
        self.sort = sort
        self.topology = topology
        self.wild = sort == "wild"
        self.online = set(topology.online)
        self.drivers: list[Table] = []
        self.groups: list[Table] = []
        #: what is there at this moment, as far as steps alone tell
        self.added: list[Table] = []
        self.loaded: list[str] = []
        self.steps: list[Table] = []

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def scenario(self) -> Table:
        rng = self.rng
        kinds = rng.randint(1, 4)
        buses = [rng.choice(BUSES) for _ in range(kinds)]
        for number in range(kinds):
            self.groups += [self._group(number, buses[number], part) for part in range(rng.randint(1, 2))]
        self.drivers = [self._driver(number, buses) for number in range(kinds)]
        if self.chance(0.2):
            self.drivers.append({"name": "vf", "bus": "pci", "match": ["c0-vf", "c1-vf"], "phases": self._plain()})
        data = {
            "name": f"random-{self.sort}",
            "machine": "1 nodes x 1 cores",
            "cmdline": self._cmdline(),
            "seed": rng.randint(0, 9),
            "drivers": self.drivers,
            "devices": self.groups,
            "caller": {"cpu": rng.choice(sorted(self.online)), "comm": rng.choice(["modprobe", "sh", "(udev-worker)"])},
        }
        if self.chance(0.4):
            data["shared"] = [self._shared(number) for number in range(rng.randint(1, 2))]
        if self.chance(0.8):
            self._play()
            if self.chance(0.15):
                data["booting"] = True
                self._boot()
            data["steps"] = self.steps
        else:
            data["order"] = rng.choice(["devices-first", "drivers-first"])
        if self.chance(0.05):
            data["schedule"] = "np2:00000000:1=1"  # which ``run`` alone follows
        return data

    def _cmdline(self) -> str:
        rng, last = self.rng, self.topology.possible.last
        words = [
            "driver_async_probe=*",
            f"driver_async_probe=d{rng.randint(0, 3)}",
            "deferred_probe_timeout=1",
            f"isolcpus={rng.randint(0, last or 0)}",
            f"isolcpus=domain,managed_irq,{rng.randint(0, last or 0)}",
            f"nohz_full={rng.randint(0, last or 0)}",
            "workqueue.default_affinity_scope=" + rng.choice(["cpu", "smt", "cache", "numa", "system"]),
            f"workqueue.unbound_cpus={rng.randint(0, last or 0)}",
            "module.async_probe=1",
        ]
        return " ".join(word for word in words if self.chance(0.08))

    def _shared(self, number: int) -> Table:
        """Return what some of the drivers have one at a time; in half of the cases nobody knows how long."""
        rng = self.rng
        drivers = rng.sample([driver["name"] for driver in self.drivers], rng.randint(1, len(self.drivers)))
        shared: Table = {
            "lock": rng.choice(LOCKS),
            "drivers": drivers,
            "hold": rng.choice(TIMES),
            "slowdown": number / 2,
        }
        return shared | ({"least": "0ns", "most": "5ms", "slowdown_most": 1.0} if self.chance(0.5) else {})

    # ---- devices
    def _group(self, kind: int, bus: str, part: int) -> Table:
        rng = self.rng
        name = f"0000:{16 * (kind * 2 + part):02x}:{{i:02x}}.0" if bus == "pci" else f"x{kind}{'ab'[part]}-{{i}}"
        if bus == "usb" and self.wild and self.chance(0.5):
            name += ":1.0"  # an interface; it comes and goes with its device's ``authorized``, so quiet steps name none
        group: Table = {"name": name, "count": rng.choice([1, 1, 1, 2, 2, 3, 5]), "bus": bus, "node": self._node()}
        if bus == "usb" and self.chance(0.3):
            group["authorized"] = False
        group["compatible"] = f"c{kind}" if self.chance(0.95) else "nobody"
        if self.groups and self.chance(0.3):
            group["suppliers"] = rng.sample([self._one(rng.choice(self.groups)) for _ in range(2)], rng.randint(1, 2))
        if self.chance(0.03):
            group["suppliers"] = ["never"]
        if self.groups and self.chance(0.25):
            group["parent"] = self._one(rng.choice(self.groups))
            if self.chance(0.5):
                del group["node"]
        if self.chance(0.1):
            group["phases"] = self._plain()
        if self.chance(0.1):
            group["attributes"] = [self._file()]
        return group

    def _node(self) -> str | int | list[int]:
        nodes = [node.id for node in self.topology.nodes]
        few = self.rng.sample(nodes, self.rng.randint(1, len(nodes)))
        return self.rng.choice(["none", "spread", "cpu", self.rng.choice(nodes), few])

    def _one(self, group: Table) -> str:
        index = self.rng.randrange(group["count"])
        return group["name"].replace("{i:02x}", f"{index:02x}").replace("{i}", str(index))

    # ---- drivers
    def _driver(self, number: int, buses: list[str]) -> Table:
        rng = self.rng
        driver: Table = {
            "name": f"d{number}",
            "bus": buses[number] if self.chance(0.95) else rng.choice(BUSES),
            "match": [f"c{number}"],
            "probe_type": rng.choice(["default", "async", "sync"]),
            "phases": self._phases(number, buses),
        }
        if self.chance(0.3):
            driver["remove"] = [{rng.choice(["sleep", "compute"]): rng.choice(TIMES)}]
        if self.chance(0.2):
            driver["jitter"] = 0.1
        if self.chance(0.1):
            driver["spread"] = [0.5, 2]
        if self.chance(0.1):
            driver["attributes"] = [self._file()]
        return driver

    def _file(self) -> Table:
        """Return a file of sysfs; one under the device's lock hangs who takes it away, and so is wild."""
        functions: Table = {word: self._plain() for word in ("show", "store") if self.chance(0.7)}
        locked = {"locked": True} if self.wild and self.chance(0.3) else {}
        return {"name": "state"} | (functions or {"show": [{"fail": "EIO"}]}) | locked

    def _plain(self) -> list[Table]:
        rng = self.rng
        return [{rng.choice(["sleep", "compute"]): rng.choice(TIMES)} for _ in range(rng.randint(0, 2))]

    def _phases(self, number: int, buses: list[str], depth: int = 2) -> list[Table]:
        """Return what a probe does; children are of a later driver, so that nothing registers itself."""
        rng = self.rng
        phases: list[Table] = []
        for place in range(rng.randint(0, 4)):
            words = ["compute", "sleep", "allocate", "undivided"]
            words += ["hold"] if depth else []
            below = depth == 2 or self.wild  # a child that wants the lock under which it is registered hangs
            words += ["register"] if number + 1 < len(buses) and below and self.chance(0.4) else []
            words += ["enable_vfs"] if buses[number] == "pci" and below and self.chance(0.4) else []
            words += ["fail"] if self.chance(0.25) else []
            words += ["wait"] if self.chance(0.2) else []
            word = rng.choice(words)
            phases.append(self._phase(word, f"{depth}{place}", number, buses, depth))
            if word in ("register", "enable_vfs") and not self.wild:
                return phases  # what failed now would take children back, probed already or not
        return phases

    def _phase(self, word: str, place: str, number: int, buses: list[str], depth: int) -> Table:
        rng = self.rng
        match word:
            case "allocate":
                node = rng.choice([node.id for node in self.topology.nodes])
                return {
                    word: {
                        "size": rng.choice(SIZES if self.wild else SIZES[:-1]),
                        "where": rng.choice(["local", "device", node]),
                    }
                }
            case "hold":
                lock = rng.choice(LOCKS) if self.wild else LOCKS[depth - 1]  # in one order, so that nothing hangs
                return {word: {"lock": lock, "phases": self._phases(number, buses, depth - 1)}}
            case "register":
                kind = rng.randrange(number + 1, len(buses))
                child = {"name": f"{{parent}}.{place}-{{i}}", "count": rng.randint(1, 3), "bus": buses[kind]}
                return {word: [child | {"compatible": f"c{kind}"} | ({"node": 0} if self.chance(0.3) else {})]}
            case "enable_vfs" | "undivided":
                return {word: rng.randint(1, 3) if word == "enable_vfs" else self._ways()}
            case "fail" | "wait":
                return self._fail() if word == "fail" else self._wait()
            case _:
                return {word: rng.choice(TIMES)}

    def _ways(self) -> Table:
        """Return how time that nobody divided may have been spent."""
        ways = ("expected", "least", "most") if self.chance(0.5) else ("expected",)
        return {way: self._plain() for way in ways}

    def _fail(self) -> Table:
        if self.sort != "quiet" and self.chance(0.6):
            return {
                "fail": self.rng.choice(["EPROBE_DEFER", "EPROBE_DEFER", "EIO"]),
                "attempts": self.rng.randint(1, 3),
            }
        return {"fail": self.rng.choice([*ERRNOS, "EPROBE_DEFER"])}

    def _wait(self) -> Table:
        """Return a wait; what is bound decides how a quiet one ends, not when."""
        other = self._one(self.rng.choice(self.groups))
        if self.wild:
            timeout = {"timeout": self.rng.choice(TIMES)} if self.chance(0.9) else {}
            return {"wait": {self.rng.choice(["device", "supplier"]): other, **timeout}}
        optional = {"optional": True} if self.sort == "counting" and self.chance(0.3) else {}
        return {"wait": {"supplier": other, "timeout": "0ns", **optional}}

    # ---- steps
    def _play(self) -> None:
        waiting = [*self.groups]
        drivers = [driver["name"] for driver in self.drivers]
        self.rng.shuffle(drivers)
        while waiting or drivers:
            if waiting and (not drivers or self.chance(0.5)):
                group = waiting.pop(0)  # parents first: they are earlier in the file
                self.added.append(group)
                self._take({"add": _names(group)})
            else:
                self._load(drivers.pop())
            if self.chance(0.2):
                self._disturb()
        for _ in range(self.rng.randint(0, 6)):
            self._disturb()
        # an interface of a device that is not authorized is not there, and nothing can be expected of it
        there = [name for group in self.added if not group["name"].endswith(":1.0") for name in _names(group)]
        self._take({"expect_bound": there} if there else {"settle": True})

    def _boot(self) -> None:
        """End booting before the last step, which looks at what is bound."""
        last = self.steps.pop()
        while "settle" in last and self.steps and "expect_bound" not in last:
            last = self.steps.pop()
        self.steps += [{"mark": "late"}, {"late_initcall": True}, {"settle": True}, last, {"mark": "end"}]

    def _load(self, driver: str) -> None:
        self.loaded.append(driver)
        step: Table = {self.rng.choice(["load", "load", "register"]): driver}
        if "load" in step and self.chance(0.2):
            step["async_probe"] = self.chance(0.5)
        self._take(step)

    def _take(self, step: Table) -> None:
        """Write a step, by a task of its own at times, and unless wild let all come to rest after it."""
        if self.chance(0.15) and self.online:
            kind = self.rng.choice([{"comm": "sh"}, {"comm": "insmod"}, {"kind": "kthread"}, {"kind": "kworker"}])
            step = step | {"cpu": self.rng.choice(sorted(self.online))} | kind
        self.steps.append(step)
        if not self.wild:
            self.steps.append({"settle": True})

    def _disturb(self) -> None:
        """Do one thing that changes what is bound, or where it may be probed."""
        deeds = [self._user, self._user, self._user, self._cpus, self._cpus, self._driver_goes, self._group_goes]
        deeds += [self._beside, self._busy, self._blocked, self._autoprobe, self._authorized, self._maybe]
        deeds += [self._unbound, self._functions, self._sysfs]
        deeds += [self._pause, self._beside, self._amid] if self.wild else []
        self.rng.choice(deeds)()

    def _user(self) -> None:
        if self.added:
            group = self.rng.choice(self.added)
            device = self._one(group) if self.chance(0.7) else _names(group)
            self._take({self.rng.choice(["unbind", "bind", "drivers_probe", "unbind"]): device})

    def _cpus(self) -> None:
        rng = self.rng
        match rng.choice(["offline", "online", "isolate", "back"]):
            case "offline" if len(self.online) > 1:
                self.online.remove(cpu := rng.choice(sorted(self.online)))
                self._take({"offline": str(cpu)})
            case "online" if missing := sorted(set(self.topology.present) - self.online):
                self._take({"online": str(cpu := rng.choice(missing))})
                self.online.add(cpu)
            case "isolate" if len(self.online) > 2:
                self._take({"isolate": ",".join(map(str, rng.sample(sorted(self.online), 1)))})
            case _:
                self._take({"isolate": ""})

    def _unbound(self) -> None:
        """Write where unbound work may run: CPUs that are offline, isolated or not there as well."""
        cpus = self.rng.sample(range((self.topology.possible.last or 0) + 2), 2)
        self._take({"unbound_cpumask": ",".join(map(str, cpus))})

    def _functions(self) -> None:
        """Write to ``sriov_numvfs``, of what is no physical function and not bound too."""
        if self.added:
            device = self._one(self.rng.choice(self.added))
            self._take({"sriov_numvfs": {"device": device, "vfs": self.rng.choice([0, 1, 2])}})

    def _sysfs(self) -> None:
        """Read or write a file of a device that may not have it, if there is one."""
        if self.added and any("attributes" in table for table in (*self.groups, *self.drivers)):
            device = self._one(self.rng.choice(self.added))
            self._take({self.rng.choice(["read", "write"]): {"device": device, "file": "state"}})

    def _amid(self) -> None:
        """Disturb in the middle of a probe, or of none."""
        device = self._one(self.rng.choice(self.groups))
        during = {"probe": device, "after": self.rng.choice(TIMES)}
        cpu = str(self.rng.choice(sorted(self.online)))
        step: Table = self.rng.choice([{"offline": cpu}, {"isolate": cpu}, {"unbind": device}])
        self.steps.append(step | {"during": during})

    def _driver_goes(self) -> None:
        if self.loaded:
            driver = self.loaded.pop(self.rng.randrange(len(self.loaded)))
            self._take({"unregister": driver})
            if self.chance(0.6):
                self._load(driver)

    def _group_goes(self) -> None:
        """Remove a group that is nobody's parent, and add it again at times."""
        parents = {group.get("parent") for group in self.groups}
        free = [group for group in self.added if not parents & set(_names(group))]
        if free:
            group = self.rng.choice(free)
            self.added.remove(group)
            self._take({"remove": _names(group)})
            if self.chance(0.6):
                self.added.append(group)
                self._take({"add": _names(group)})

    def _beside(self) -> None:
        """Take steps at the same time: of a quiet scenario those that do not touch each other."""
        if not self.added:
            return
        groups = self.rng.sample(self.added, min(len(self.added), self.rng.randint(1, 3)))
        words = ["bind", "drivers_probe", "unbind"] if self.wild else ["drivers_probe"]
        steps: list[Table] = [{self.rng.choice(words): _names(group)} for group in groups]
        if self.wild and self.chance(0.3):
            steps.append(
                {"sequence": [{"wait": self.rng.choice(TIMES)}, {"unbind": self._one(self.rng.choice(groups))}]}
            )
        if self.wild and self.chance(0.2) and self.loaded:
            steps.append({"unregister": self.loaded.pop()})
        self._take({"parallel": steps})

    def _busy(self) -> None:
        cpus = ",".join(map(str, sorted(self.online)[:4]))
        self._take({"busy": {"cpus": cpus, "compute": "1ms", "sleep": "1ms", "duration": "5ms"}})

    def _blocked(self) -> None:
        self._take({"block_probing": True})
        self._user()
        self._take({"block_probing": False})

    def _autoprobe(self) -> None:
        bus = self.rng.choice([driver["bus"] for driver in self.drivers])
        self._take({"autoprobe": {"bus": bus, "on": False}})
        self._user()
        self._take({"autoprobe": {"bus": bus, "on": True}})

    def _authorized(self) -> None:
        """Write to the file of a device that has one; of one that has none at times."""
        usb = [group for group in self.added if group["bus"] == "usb" and group.get("authorized", True)]
        if groups := usb or [group for group in self.added if group["bus"] != "usb" and self.chance(0.1)]:
            device = self._one(self.rng.choice(groups))
            self._take({"authorized": {"device": device, "on": False}})
            self._take({"authorized": {"device": device, "on": True}})

    def _maybe(self) -> None:
        """Say what may happen, and does not in a run."""
        if self.added:
            word = self.rng.choice(["remove", "unbind", "drivers_probe"])
            self._take({"maybe": [{word: _names(self.rng.choice(self.added))}]})

    def _pause(self) -> None:
        self._take(self.rng.choice([{"wait": self.rng.choice(TIMES)}, {"settle": True}]))


def _names(group: Table) -> list[str]:
    return [group["name"].replace("{i:02x}", f"{i:02x}").replace("{i}", str(i)) for i in range(group["count"])]
