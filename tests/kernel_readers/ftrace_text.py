"""A small writer of ftrace text for the readers' tests: events by hand, in any layout."""

from dataclasses import dataclass, field


@dataclass
class Ftrace:
    """Lines of a trace; ``layout`` takes comm, pid, cpu, seconds (a text) and the event."""

    layout: str = "{task:>16}-{pid:<7} [{cpu:03d}] d..1. {time:>12}: {event}"
    lines: list[str] = field(default_factory=list)
    #: how a time in µs is written
    decimals: int = 6

    def at(self, us: int, task: str, cpu: int, event: str) -> "Ftrace":
        comm, _, pid = task.rpartition("-")
        time = f"{us // 10**6}.{us % 10**6:06d}" + "0" * (self.decimals - 6)
        self.lines.append(self.layout.format(task=comm, pid=pid, cpu=cpu, time=time, event=event))
        return self

    def enter(
        self, us: int, task: str, cpu: int, function: str, device: str | None = None, extra: str = ""
    ) -> "Ftrace":
        dev = "" if device is None else f' dev="{device}"'
        return self.at(us, task, cpu, f"{function}: ({function}+0x0/0x380){dev}{extra}")

    def leave(self, us: int, task: str, cpu: int, function: str, result: int | str = 0) -> "Ftrace":
        return self.at(us, task, cpu, f"{function}_ret: (caller+0x41/0x90 <- {function}) ret={result}")

    def probe(self, us: int, task: str, cpu: int, device: str, driver: str = "nvme") -> "Ftrace":
        return self.enter(us, task, cpu, "really_probe", device, f' drv="{driver}"')

    def probed(self, us: int, task: str, cpu: int, result: int | str = 0) -> "Ftrace":
        return self.leave(us, task, cpu, "really_probe", result)

    def switch(self, us: int, cpu: int, before: str, state: str, after: str) -> "Ftrace":
        (a, _, b), (c, _, d) = before.rpartition("-"), after.rpartition("-")
        text = (
            f"prev_comm={a} prev_pid={b} prev_prio=120 prev_state={state} ==> next_comm={c} next_pid={d} next_prio=120"
        )
        return self.at(us, before, cpu, f"sched_switch: {text}")

    def wake(self, us: int, cpu: int, task: str, target: int) -> "Ftrace":
        comm, _, pid = task.rpartition("-")
        return self.at(us, "<idle>-0", cpu, f"sched_wakeup: comm={comm} pid={pid} prio=120 target_cpu={target:03d}")

    def move(self, us: int, cpu: int, task: str, source: int, target: int) -> "Ftrace":
        comm, _, pid = task.rpartition("-")
        text = f"sched_migrate_task: comm={comm} pid={pid} prio=120 orig_cpu={source} dest_cpu={target}"
        return self.at(us, "<idle>-0", cpu, text)

    def raw(self, line: str) -> "Ftrace":
        self.lines.append(line)
        return self

    @property
    def text(self) -> bytes:
        return "".join(line + "\n" for line in self.lines).encode()
