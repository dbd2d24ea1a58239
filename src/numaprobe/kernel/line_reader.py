"""ftrace text, one line after the other: what each tells of the tasks that probe.

Most lines are switches of tasks that probe nothing. A line is cut once, at the first ``": "``, and the event's name
looked up in a table; only what concerns a task with an open call is looked at further. An unknown name goes the slow
road (``parse_event_line``) once, and is then in the table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from numaprobe.kernel.calls import NAMELESS, RUNNABLE, RUNNING, SLEEPING
from numaprobe.kernel.ftrace_line import (
    EventLine,
    KprobeArguments,
    decode,
    parse_event_line,
    parse_kprobe,
    parse_lost,
    parse_overwritten,
    parse_time,
    parse_usual_head,
    task_of,
)
from numaprobe.kernel.kprobes import (
    DRIVER_ATTACH,
    LOCAL_PCI_PROBE,
    PATHS,
    REALLY_PROBE,
    RETURN_SUFFIX,
    KprobeDefinition,
    bare_symbol,
    kprobe_definitions,
)
from numaprobe.kernel.lockevents import LockEvents
from numaprobe.kernel.lockwaits import TaskWaits, woken
from numaprobe.kernel.probes import UNNAMED, ProbeAssembler
from numaprobe.kernel.reader_warnings import ReaderCounts
from numaprobe.kernel.roads import WaitingTask
from numaprobe.records.ranges import MAX_CPU

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numaprobe.kernel.calls import TaskTime
    from numaprobe.records import ProbeRecord
    from numaprobe.topology import Topology

#: Event names learned from one trace; a trace with more is not text of ftrace.
MAX_NAMES: Final = 4096
#: A step back of the clock by more than this is another clock or another boot, not two CPUs that disagree.
CLOCK_JUMP_NS: Final = 1_000_000_000
#: head, event, arguments of a line; also what is around a switch's two ``_pid=``, or its two priorities
PARTS: Final = 3
#: TASK_COMM_LEN, and room for what trace-cmd adds
MAX_COMM: Final = 64
#: No scheduler's event is longer.
MAX_SHORT: Final = 256

_UNKNOWN_COMM: Final = b"<...>"
_ASYNC_WORK: Final = b"async_run_entry_fn"
_SWITCH: Final = re.compile(
    rb"prev_comm=.* prev_pid=(\d+) prev_prio=-?\d+ prev_state=(\S+) ==> next_comm=(.*) next_pid=(\d+) next_prio=",
    re.DOTALL,
)
#: trace-cmd says ``kworker/4:1:89 [120] CPU:004``
_TARGET_CPU: Final = re.compile(rb"(?:target_cpu=|dest_cpu=|CPU:)(\d{1,5})\s*$")
#: and this is at the end of the line
MAX_TARGET: Final = 24
_WORK: Final = re.compile(rb"\s*work struct[ =](?:0x)?([0-9a-fA-F]+)")


@dataclass(slots=True)
class _Kprobe:
    """What an event of this name stands for."""

    function: str
    module: str | None


class LineReader:
    """Reads lines of ftrace, in their order; arguments and attributes are those of ``FtraceReader``."""

    def __init__(
        self,
        definitions: Mapping[str, KprobeDefinition] | None = None,
        topology: Topology | None = None,
        kernel: str | None = None,
    ) -> None:
        self.counts = ReaderCounts()
        self.assembler = ProbeAssembler(topology, kernel)
        self._tasks = self.assembler.tasks
        self._recent = self.assembler.roads.recent
        self._seen = self.assembler.seen
        self._definitions = dict(definitions or {})
        recorded = {definition.function for definition in self._definitions.values()}
        self._seen.helpers, self.assembler.roads.attaches = bool(recorded & PATHS.keys()), DRIVER_ATTACH in recorded
        self._kprobes: dict[bytes, _Kprobe] = {}
        self._last_ns = 0
        self._has_dot: bool | None = None
        #: the tasks that are known to probe; one that begins to and is not among them
        self._watched: set[bytes] = set()
        self._stranger: bytes | None = None
        self._locks = LockEvents(self._tasks, self.assembler.locks, self._where)
        self._handlers: dict[bytes, Callable[[bytes, bytes, bytes], None]] = {
            b"sched_switch": self._on_switch,
            b"sched_wakeup": self._on_wakeup,
            b"sched_wakeup_new": self._on_wakeup,
            b"sched_migrate_task": self._on_migrate,
            b"contention_begin": self._locks.contention,
            b"contention_end": self._locks.contention,
            b"kernel_stack": self._locks.stack,
            b"workqueue_queue_work": self._on_queue,
            b"workqueue_execute_start": self._on_start,
            b"workqueue_execute_end": self._on_end,
            **dict.fromkeys((b"tracing_mark_write", b"print", b"bprint", b"bputs"), _pass_over),
        }

    def _one_by_one(self, lines: list[bytes]) -> Iterator[ProbeRecord]:
        handler_of, kprobes = self._handlers.get, self._kprobes
        for line in lines:
            parts = line.split(b": ", 2)
            name = parts[1] if len(parts) == PARTS else b""
            if (handler := handler_of(name)) is not None:
                handler(parts[0], parts[2], line)
            elif name in kprobes or self._learn(line):
                record = self._on_kprobe(line)
                if record is not None:
                    yield record

    # ---- the slow road -----------------------------------------------------------------------------------------------
    def _learn(self, line: bytes) -> bool:
        """Look at a line whose event is not known; tell whether it is a kprobe event."""
        parsed = parse_event_line(line)
        if parsed is None:
            self._no_event(line)
            return False
        name = parsed.event
        if name in self._handlers:  # the task's name holds a ": "
            head = b"x-%s [%d] %s %s" % (parsed.pid, parsed.cpu, parsed.flags, parsed.time)
            self._handlers[name](head, parsed.arguments, line)
            return False
        if name in self._kprobes:
            return True
        found = parse_kprobe(parsed.arguments)
        if len(self._handlers) + len(self._kprobes) >= MAX_NAMES:
            return found is not None
        if found is None:
            self._handlers[name] = _pass_over
            return False
        self._kprobes[name] = self._meaning(decode(name), found)
        return True

    def _no_event(self, line: bytes) -> None:
        text = line.strip()
        if text.startswith(b"#"):
            self.counts.overwritten += parse_overwritten(text)
            if text.startswith(b"# tracer:"):
                self._new_trace()
        elif (lost := parse_lost(text)) is not None:
            self.counts.lost_events += lost
            self.counts.lost_places += 1
            self.assembler.gap()
        elif text and not text.startswith((b"cpus=", b"version", b"CPU ", b"trace-cmd")):
            self.counts.torn += not self._locks.is_of_stack(line)

    def _meaning(self, name: str, found: KprobeArguments) -> _Kprobe:
        definition = self._definitions.get(name)
        if definition is not None:
            return _Kprobe(definition.function, definition.module or found.module)
        ours = {d.event: d.function for d in kprobe_definitions()}
        if not self._definitions and name in ours:
            self._seen.helpers = True
        function = bare_symbol(found.symbol) if found.symbol else ours.get(name, name.removesuffix(RETURN_SUFFIX))
        return _Kprobe(function, found.module)

    # ---- time --------------------------------------------------------------------------------------------------------
    def _time(self, text: bytes) -> int | None:
        now = parse_time(text)
        if now is None:
            self.counts.torn += 1
            return None
        has_dot = b"." in text
        if has_dot is not self._has_dot:
            if self._has_dot is not None:
                self._clock_changed()
            self._has_dot = has_dot
            self.counts.whole_number_clock |= not has_dot and not text.endswith(b"us")
        self._forward(now)
        return now

    def _other_clock(self) -> bool:
        """Tell whether times had no dot at last."""
        return self._has_dot is False

    def _forward(self, now: int) -> None:
        """The clock shows ``now``: look whether it goes forward."""
        if now < self._last_ns:
            if now < self._last_ns - CLOCK_JUMP_NS:
                self._clock_changed()
            else:
                self.counts.unordered += 1
        self._last_ns = now

    def _clock_changed(self) -> None:
        self.counts.clock_changes += 1
        self.assembler.drop_all()

    def _new_trace(self) -> None:
        self.assembler.drop_all()
        self._last_ns = 0
        self._has_dot = None

    # ---- events ------------------------------------------------------------------------------------------------------
    def _on_kprobe(self, line: bytes) -> ProbeRecord | None:
        parsed = parse_event_line(line)
        arguments = parse_kprobe(parsed.arguments) if parsed is not None else None
        now = self._time(parsed.time) if parsed is not None else None
        if parsed is None or arguments is None or now is None:
            self.counts.torn += 1
            return None
        return self._at_kprobe(parsed, arguments, now)

    def _at_kprobe(self, parsed: EventLine, arguments: KprobeArguments, now: int) -> ProbeRecord | None:
        """Handle a kprobe event; return the record if it ends a probe."""
        if parsed.pid not in self._watched:
            self._stranger = parsed.pid
        known = self._kprobes.get(parsed.event) or self._meaning(decode(parsed.event), arguments)
        if known.function == DRIVER_ATTACH:
            self.assembler.roads.attach(parsed.pid, ends=arguments.returns)
            return None
        if arguments.returns:
            if "probe" not in known.function:
                return None
            return self.assembler.returned(parsed.pid, parsed.cpu, now, known.function, arguments.result)
        self._entered(parsed, arguments, now, known)
        return None

    def _entered(self, at: EventLine, arguments: KprobeArguments, now: int, known: _Kprobe) -> None:
        function = known.function
        comm = None if at.comm == _UNKNOWN_COMM else decode(at.comm)
        if function in PATHS:
            self.assembler.helper(WaitingTask(comm, at.cpu, at.pid), function, arguments.device, now)
        elif function == REALLY_PROBE:
            driver = arguments.driver or UNNAMED
            self.assembler.really_probe(at.pid, comm, at.cpu, now, arguments.device, driver)
        elif "probe" in function:
            driver = known.module if known.module and function != LOCAL_PCI_PROBE else UNNAMED
            self.assembler.body(at.pid, comm, at.cpu, now, function, arguments.device, driver)

    def _on_switch(self, head: bytes, arguments: bytes, _: bytes) -> None:
        self._seen.switch = True
        tasks = self._tasks
        if not tasks:
            return
        parts = arguments.split(b"_pid=")
        if len(parts) != PARTS:
            self._on_odd_switch(head, arguments)
            return
        previous, following = parts[1].split(b" ", 1)[0], parts[2].split(b" ", 1)[0]
        if previous in tasks or following in tasks:
            middle = parts[1].partition(b" prev_state=")[2]
            self._switch(head, previous, middle[:1], following, middle[:-5])

    def _on_odd_switch(self, head: bytes, arguments: bytes) -> None:
        """Handle a switch in trace-cmd's words, or of a task that calls itself ``_pid=``."""
        parts = arguments.split(b" [")
        if len(parts) == PARTS:
            previous, following = parts[0].rpartition(b":")[2], parts[1].rpartition(b":")[2]
            if previous in self._tasks or following in self._tasks:
                middle = parts[1].partition(b"] ")[2]
                self._switch(head, previous, middle[:1], following, middle.rpartition(b":")[0])
            return
        match = _SWITCH.match(arguments[:MAX_SHORT])
        if match is None:
            self.counts.torn += 1
        elif match[1] in self._tasks or match[4] in self._tasks:
            self._switch(head, match[1], match[2][:1], match[4], b" ==> " + match[3])

    def _switch(self, head: bytes, previous: bytes, state: bytes, following: bytes, middle: bytes) -> None:
        """Handle a switch of a task with an open call; ``middle`` ends with `` ==> `` and the following one's name."""
        where = self._where(head)
        if where is None:
            return
        cpu, now = where
        task = self._tasks.get(previous)
        if task is not None:
            task.enter(RUNNABLE if state == b"R" else SLEEPING, now, cpu)
        task = self._tasks.get(following)
        if task is not None:
            task.enter(RUNNING, now, cpu)
            if task.comm in NAMELESS:
                task.comm = decode(middle.partition(b" ==> ")[2].removeprefix(b"next_comm=")[:MAX_COMM])

    def _on_wakeup(self, head: bytes, arguments: bytes, line: bytes) -> None:
        self._seen.wakeup = True
        if self._tasks and (task := self._target(arguments)) is not None and task.state is SLEEPING:
            self._woken(head, line, task)
            self._moved(head, arguments, task)

    def _woken(self, head: bytes, line: bytes, task: TaskTime) -> None:
        """Note which task ended a sleep, if that task is in a probe, too, or the sleep was for a lock."""
        pid, is_interrupt = task_of(head, line)
        where, since = self._where(head), task.asleep_since
        if is_interrupt is not False or where is None or since is None:
            return  # without flags nobody knows that it was no interrupt
        waker = self._tasks.get(pid)
        if waker is not None and waker.calls and waker is not task:
            woken(task.waits, since, where[1], waker.waits)
        elif waker is None and task.waits.contended and (parsed := parse_event_line(line)) is not None:
            woken(task.waits, since, where[1], TaskWaits(name=decode(parsed.comm)))

    def _on_migrate(self, head: bytes, arguments: bytes, _: bytes) -> None:
        if self._tasks and (task := self._target(arguments)) is not None and task.state is RUNNABLE:
            self._moved(head, arguments, task)

    def _target(self, arguments: bytes) -> TaskTime | None:
        """Return the watched task that a wake-up or a migration is about."""
        parts = arguments.split(b" pid=")
        if len(parts) > 1:
            return self._tasks.get(parts[-1].split(b" ", 1)[0])
        return self._tasks.get(arguments.partition(b" [")[0].rpartition(b":")[2])

    def _moved(self, head: bytes, arguments: bytes, task: TaskTime) -> None:
        """A task was put on the queue of the CPU that the line names last, to run there."""
        where, target = self._where(head), _TARGET_CPU.search(arguments, max(0, len(arguments) - MAX_TARGET))
        if where is None or target is None:
            self.counts.torn += target is None
            return
        task.enter(RUNNABLE, where[1], min(int(target[1]), MAX_CPU))

    def _on_queue(self, head: bytes, arguments: bytes, line: bytes) -> None:
        self._recent.append(line)
        if self._tasks:
            pid, is_interrupt = task_of(head, line)
            work, _ = _work(arguments)
            if pid in self._tasks and not is_interrupt and work is not None:
                self.assembler.queued(pid, work)

    def _on_start(self, head: bytes, arguments: bytes, line: bytes) -> None:
        self._recent.append(line)
        if self._tasks or _ASYNC_WORK in arguments:
            pid, is_interrupt = task_of(head, line)
            if not is_interrupt:
                self._work_begins(pid, arguments)

    def _on_end(self, head: bytes, arguments: bytes, line: bytes) -> None:
        if self._tasks or _ASYNC_WORK in arguments:
            pid, is_interrupt = task_of(head, line)
            if not is_interrupt:
                self._work_ends(pid, arguments)

    def _work_begins(self, pid: bytes, arguments: bytes) -> None:
        work, is_async = _work(arguments)
        if work is not None and (is_async or self._tasks):
            self.assembler.work_begins(pid, work, is_async=is_async)

    def _work_ends(self, pid: bytes, arguments: bytes) -> None:
        work, is_async = _work(arguments)
        if work is not None and (is_async or self._tasks):
            self.assembler.work_ends(pid, work)

    def _where(self, head: bytes) -> tuple[int, int] | None:
        """Return CPU and time of a line that was cut at its first ``": "``."""
        if self._has_dot and (usual := parse_usual_head(head)) is not None:
            self._forward(usual[1])
            return usual
        parsed = parse_event_line(head + b": x:")
        now = None if parsed is None else self._time(parsed.time)
        if parsed is None or now is None:
            self.counts.torn += 1
            return None
        return parsed.cpu, now


@lru_cache(maxsize=1024)  # works are done again and again
def _work(arguments: bytes) -> tuple[bytes | None, bool]:
    """Return the address of the work that an event is about, and whether it is an asynchronous call."""
    match = _WORK.match(arguments)
    return match[1] if match else None, _ASYNC_WORK in arguments


def _pass_over(_head: bytes, _arguments: bytes, _line: bytes) -> None:
    """Handle an event that tells nothing of probes."""
