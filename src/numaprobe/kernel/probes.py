"""From calls to records: which calls make one probe, and what is known of it.

``really_probe`` opens a probe, in the task that waits for it (the *caller*) or in a worker that the caller waits for
(``roads.py`` tells). The body may run in the same task, or in a worker that the PCI core queued: a call belongs to the
open probe of the device that it names; if it names none, to the probe that its task is in, or whose work its worker
carries. Of the calls that belong, the record times the driver's own function where there is one, else the innermost
outer one (``local_pci_probe``, at last ``really_probe`` itself).

A probe whose ``really_probe`` was not recorded is made from what was: then nobody knows the caller. Nothing here
grows with the length of a trace: what never returns is bounded, and dropped when its worker turns to other work.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from numaprobe.kernel.calls import Account, Call, Finished, LogSpace, OpenProbe, TaskTime
from numaprobe.kernel.kprobes import LOCAL_PCI_PROBE, REALLY_PROBE
from numaprobe.kernel.lockwaits import UNNAMED_LOCK, LockNames
from numaprobe.kernel.roads import Roads, WaitingTask
from numaprobe.records import NO_NODE, ProbeRecord, Segment
from numaprobe.records.errnos import EPROBE_DEFER, UNTOLD, errno_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numaprobe.topology import DeviceInfo, Topology

#: Tasks with open calls, calls of a task, works in flight: more of any means that returns are being missed.
MAX_TASKS: Final = 4096
MAX_DEPTH: Final = 32
#: Segments kept over all records (about 90 MB); records beyond keep their sums.
MAX_KEPT_SEGMENTS: Final = 600_000
#: Probes that are named in a warning.
MAX_TOLD: Final = 8
#: A driver or device that nobody named.
UNNAMED: Final = "?"
#: A worker of a CPU's pool, which is bound to that CPU while it is online.
_BOUND_WORKER: Final = re.compile(r"kworker/(\d{1,6}):", re.ASCII)


@dataclass(slots=True)
class Counts:
    """What the assembler had to leave out."""

    unfinished: int = 0
    #: which they were, and since when: the first ``MAX_TOLD``
    unfinished_probes: list[str] = field(default_factory=list)
    orphans: int = 0
    unnamed: int = 0
    segments_kept: int = 0
    segments_dropped: int = 0


@dataclass(slots=True)
class SeenEvents:
    """Which kinds of events the trace has shown so far."""

    switch: bool = False
    wakeup: bool = False
    #: the helpers (``PATHS``) are being recorded: a probe without one is a plain driver registration
    helpers: bool = False
    #: ``local_pci_probe`` was entered
    pci_body: bool = False


class ProbeAssembler:
    """Builds records from calls, helpers and works, told in the order of time.

    Tasks are keyed by their pid as the trace writes it.
    """

    def __init__(self, topology: Topology | None = None, kernel: str | None = None) -> None:
        self.tasks: dict[bytes, TaskTime] = {}
        self.counts = Counts()
        self.seen = SeenEvents()
        self._topology = topology
        self._devices: Mapping[str, DeviceInfo] = {d.name: d for d in topology.devices} if topology else {}
        self._open: dict[str, OpenProbe] = {}
        self.roads = Roads(kernel)
        self._carried: dict[bytes, OpenProbe] = {}
        self._works: dict[bytes, OpenProbe] = {}
        self._executing: dict[bytes, bytes] = {}
        self._async_workers: set[bytes] = set()
        self._deferred: dict[tuple[str, str], int] = {}
        self._left: list[ProbeRecord] = []
        self._space = LogSpace()
        self.locks = LockNames()

    @property
    def carries(self) -> bool:
        """A work is on its way to a worker that will carry a probe on."""
        return bool(self._works)

    # ---- works -------------------------------------------------------------------------------------------------------
    def queued(self, pid: bytes, work: bytes) -> None:
        """A task with an open call queued a work: its worker may carry the probe on."""
        task = self.tasks.get(pid)
        if task is not None and task.calls and len(self._works) < MAX_TASKS:
            self._works[work] = task.calls[-1].probe

    def work_begins(self, pid: bytes, work: bytes, *, is_async: bool) -> None:
        """A worker turns to a work; calls that it still had open missed their return."""
        if pid in self.tasks:
            if pid in self._executing:
                return  # a work of the softirq kind (BH), on top of what the worker does
            self.drop_task(pid)
        self.roads.forget(pid)
        self._turn_from(pid)
        if len(self._executing) >= MAX_TASKS:
            self._executing.clear()
        self._executing[pid] = work
        if is_async and len(self._async_workers) < MAX_TASKS:
            self._async_workers.add(pid)
        probe = self._works.pop(work, None)
        if probe is not None:
            self._carried[pid] = probe

    def work_ends(self, pid: bytes, work: bytes) -> None:
        """A worker is done with its work; calls that it still has open missed their return."""
        if self._executing.get(pid) == work and pid in self.tasks:
            self.drop_task(pid)
        if self._executing.get(pid, work) == work:
            self._turn_from(pid)

    def _turn_from(self, pid: bytes) -> None:
        self._executing.pop(pid, None)
        self._carried.pop(pid, None)
        self._async_workers.discard(pid)

    # ---- calls -------------------------------------------------------------------------------------------------------
    def helper(self, caller: WaitingTask, function: str, device: str | None, now: int) -> None:
        """A helper that leads to a probe was entered."""
        self.seen.helpers = True
        if device is not None:
            self.roads.note(caller, function, device, now)

    def really_probe(self, pid: bytes, comm: str | None, cpu: int, now: int, device: str | None, driver: str) -> None:
        """The driver core begins to probe ``device``."""
        task = self._task(pid, comm, REALLY_PROBE, device)
        name = device or UNNAMED
        outermost = not task.calls
        if outermost:
            self.roads.only(pid, name)
        worker = outermost and comm is not None and comm.startswith("kworker/")
        road = self.roads.road(pid, name, now, in_worker=worker, helpers=self.seen.helpers)
        self.roads.awake(pid)
        waiting = road.caller.pid if road.caller else pid
        asynchronous = self._asynchronous(waiting, road.path, road.caller.comm if road.caller else comm)
        probe = OpenProbe(name, driver, road.path, asynchronous, not outermost, road=road)
        self._begin(task, probe, REALLY_PROBE, now, cpu)

    def body(
        self, pid: bytes, comm: str | None, cpu: int, now: int, function: str, device: str | None, driver: str
    ) -> None:
        """A function nearer to the driver was entered: ``local_pci_probe``, the driver's own."""
        if device is None and self._belongs_to(pid, None) is None:
            self.counts.unnamed += 1
            return
        self.roads.awake(pid)
        task = self._task(pid, comm, function, device)
        probe = self._belongs_to(pid, device)
        if probe is None:
            probe = OpenProbe(device or UNNAMED, driver, None, None, True if task.calls else None)
        if function == LOCAL_PCI_PROBE:
            probe.is_pci = self.seen.pci_body = True
        self._begin(task, probe, function, now, cpu)

    def returned(self, pid: bytes, cpu: int, now: int, function: str, result: int | None) -> ProbeRecord | None:
        """A function returned; the record, if the probe is over with it."""
        self.roads.awake(pid)
        task = self.tasks.get(pid)
        call, missed = task.close(function, now, cpu) if task else (None, [])
        if task is None or call is None:
            self.counts.orphans += 1
            return None
        self._abandon(missed)
        done = Finished(call, task.log.times[-1], result)
        if not task.calls:
            self.tasks.pop(pid).forget()
        call.probe.offer(done)
        return self._finish(call.probe, done) if call.probe.root is call else None

    def drop_task(self, pid: bytes) -> None:
        """Forget a task's open calls: their returns were missed."""
        task = self.tasks.pop(pid)
        task.forget()
        self._abandon(task.calls)

    def drop_all(self) -> None:
        """Forget everything in flight: the trace ends here, or another one begins."""
        for pid in list(self.tasks):
            self.drop_task(pid)
        self._async_workers.clear()
        for table in (self._open, self._carried, self._works, self._executing, self.roads):
            table.clear()

    def take_left(self) -> list[ProbeRecord]:
        """Return the records of probes whose body returned, but whose ``really_probe`` was not seen to."""
        left, self._left = self._left, []
        return left

    def gap(self) -> None:
        """Events were lost: the parts of what is in flight cannot be told, nor which task is in which work."""
        self._executing.clear()
        for task in self.tasks.values():
            for call in task.calls:
                call.gap = True

    # ---- inside ------------------------------------------------------------------------------------------------------
    def _task(self, pid: bytes, comm: str | None, function: str, device: str | None) -> TaskTime:
        """Return the task, without calls that cannot be open any more."""
        task = self.tasks.get(pid)
        if task is None:
            if len(self.tasks) >= MAX_TASKS:
                self.drop_task(next(iter(self.tasks)))
            task = self.tasks[pid] = TaskTime(comm, self._space)
            return task
        if len(task.calls) >= MAX_DEPTH:
            self._abandon([task.calls.pop(0)])
        for index, call in enumerate(task.calls):
            if call.function == function and call.probe.device == device:
                self._abandon(task.calls[index:])  # a device is probed once at a time: the return was missed
                del task.calls[index:]
                break
        if not task.calls:
            task.forget()
        return task

    def _begin(self, task: TaskTime, probe: OpenProbe, function: str, now: int, cpu: int) -> None:
        call = Call(function, now, cpu, task, probe)
        if probe.root is None:
            probe.root = call
            self._open[probe.device] = probe
        task.open(call)
        task.waits.name = probe.device

    def _belongs_to(self, pid: bytes, device: str | None) -> OpenProbe | None:
        if device is not None:
            return self._open.get(device)
        task = self.tasks.get(pid)
        return task.calls[-1].probe if task and task.calls else self._carried.get(pid)

    def _asynchronous(self, pid: bytes, path: str | None, comm: str | None) -> bool | None:
        if path is not None:
            return path.endswith("_async")
        if pid in self._async_workers:
            return True
        return None if comm is None or comm.startswith("kworker/") else False

    def _abandon(self, calls: list[Call]) -> None:
        for call in calls:
            probe, body = call.probe, call.probe.body
            if probe.root is not call:
                continue
            if body is None:
                self._count_unfinished(call)
                self._close(probe)
            else:
                self._left.append(self._finish(probe, Finished(call, body.end_ns, None)))

    def _count_unfinished(self, root: Call) -> None:
        self.counts.unfinished += 1
        if len(self.counts.unfinished_probes) < MAX_TOLD:
            since = f"{root.start_ns // 10**9}.{root.start_ns % 10**9 // 1000:06}"
            told = f"{root.probe.device} ({root.probe.driver}) since {since} s, from CPU {root.cpu}"
            self.counts.unfinished_probes.append(told)

    def _close(self, probe: OpenProbe) -> None:
        if self._open.get(probe.device) is probe:
            del self._open[probe.device]
        if not self._open:
            self._works.clear()
            self._carried.clear()
        probe.root = probe.body = None  # they point back: let go at once, not when the collector comes by

    def _finish(self, probe: OpenProbe, root: Finished) -> ProbeRecord:
        self.roads.probed(probe.device, root.end_ns)
        record = self._record(probe, root, probe.body or root)
        self._close(probe)
        return record

    def _record(self, probe: OpenProbe, root: Finished, body: Finished) -> ProbeRecord:
        call = body.call
        outcome = root.result if root.result is not None else body.result
        if outcome == UNTOLD and body.result:
            outcome = body.result  # a kernel before 5.14 drops the errno; the driver's own function has it
        result = None if outcome is None else errno_name(outcome)
        known = self._devices.get(probe.device)
        parts = self._parts(body, known.node if known else None)
        caller_cpu, caller_comm = self._caller(probe, root.call)
        return ProbeRecord(
            device=probe.device,
            driver=probe.driver,
            bus=known.bus or None if known else "pci" if probe.is_pci else None,
            device_node=known.node if known else None,
            cpu=call.cpu,
            cpu_node=self._topology.node_of(call.cpu) if self._topology else None,
            comm=call.task.comm,
            asynchronous=probe.asynchronous,
            nested=probe.nested,
            result=result,
            start_ns=call.start_ns,
            end_ns=body.end_ns,
            cost_ns=body.end_ns - call.start_ns,
            caller_cpu=caller_cpu,
            caller_comm=caller_comm,
            function=call.function,
            path=probe.path,
            attempt=self._attempt(probe, result),
            cpus_allowed=_bound_to(call.task.comm, call.cpu),
            **parts,  # type: ignore[arg-type]  # the names are the record's
        )

    @staticmethod
    def _caller(probe: OpenProbe, root: Call) -> tuple[int | None, str | None]:
        """Return CPU and name of the task that waited."""
        road = probe.road
        if road is None or road.waiter_unknown or root.function != REALLY_PROBE:
            return None, None
        return (road.caller.cpu, road.caller.comm) if road.caller else (root.cpu, root.task.comm)

    def _parts(self, body: Finished, node: int | None) -> dict[str, object]:
        """Return what the scheduler's events tell, as far as they were recorded."""
        if body.call.gap:
            return {}
        if not self.seen.switch:
            return self._waits(body) if self.locks.seen else {}
        account = body.call.settle(body.end_ns)
        running = account.running_ns
        parts: dict[str, object] = {"running_ns": running, "cpus": tuple(account.by_cpu)}
        if self._topology is not None and node is not None and node != NO_NODE:
            node_of = self._topology.node_of
            parts["remote_ns"] = sum(ns for cpu, ns in account.by_cpu.items() if node_of(cpu) != node)
        if self.seen.wakeup or not account.sleeping_ns:
            parts |= {"runnable_ns": account.runnable_ns, "sleeping_ns": account.sleeping_ns}
            parts["segments"] = self._segments(account)
            parts |= self._waits(body)
        return parts

    def _waits(self, body: Finished) -> dict[str, object]:
        """Return for which others it waited: all there is with lock events, else those that woke it."""
        if body.call.waits is None:
            return {}
        waits = self.locks.sums(body.call.waits, body.call.start_ns, body.end_ns)
        if not self.locks.seen:
            return {"waits": waits} if waits else {}
        return {"waits": waits, "lock_wait_ns": sum(one.wait_ns for one in waits if one.lock != UNNAMED_LOCK)}

    def _segments(self, account: Account) -> tuple[Segment, ...] | None:
        counts = self.counts
        if account.segments is None or counts.segments_kept + len(account.segments) > MAX_KEPT_SEGMENTS:
            counts.segments_dropped += 1
            return None
        counts.segments_kept += len(account.segments)
        return tuple(account.segments)

    def _attempt(self, probe: OpenProbe, result: str | None) -> int:
        key = probe.device, probe.driver
        attempt = self._deferred.pop(key, 0) + 1
        if result == EPROBE_DEFER and len(self._deferred) < MAX_TASKS:
            self._deferred[key] = attempt
        return attempt


def _bound_to(comm: str | None, cpu: int) -> str | None:
    """Return where a task may run that its name says is bound; None: it does not say, or it runs elsewhere."""
    match = _BOUND_WORKER.match(comm or "")
    return match[1] if match and int(match[1]) == cpu else None
