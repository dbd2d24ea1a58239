"""Drivers that are kept out of asynchronous probing, each with its reason and what shows it.

Asynchronous probing changes an order that somebody may rely on. A driver stays as it is where that is known or to be
feared: it always probes synchronously; others wait for its devices; the root file system is on one; its probes must not
run at the same time; its devices are named in the order of their probes. Whoever knows better says so (``allowed``);
of the first of these nobody can.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from numaprobe.listing import first_few
from numaprobe.records.boot import RETRIES_DEFERRED
from numaprobe.study.advise.known import known_drivers
from numaprobe.study.advise.names import changed_names, family_of, names_of
from numaprobe.topology import CommandLine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numaprobe.records import ProbeRecord, Trace
    from numaprobe.scenario import Setting

#: What stands after ``root=/dev/`` -> the prefix of the names that its driver gives.
_ROOT_NAMES: Final = {"nvme": "nvme", "vd": "vd", "sd": "host", "mmcblk": "mmc", "nfs": "eth"}
#: Families of names that disks, or the hosts they are on, have.
_DISKS: Final = ("nvme", "vd", "host", "mmc")
#: Devices, and changed names, that a sentence spells out.
_SHOWN: Final = 3


class KeptOutReason(StrEnum):
    """Why a driver is kept out."""

    SYNCHRONOUS = "always-synchronous"
    CHILDREN = "children"
    SUPPLIER = "supplier"
    ROOT = "root"
    UNSAFE = "unsafe"
    NAMES = "names"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptOut:
    """A driver that stays synchronous."""

    driver: str
    reason: KeptOutReason
    #: one sentence
    text: str
    #: what shows it: those that wait, those that are renamed
    devices: tuple[str, ...] = ()
    #: of ``NAMES``: the names before and after, of devices that had another one in a run with the driver asynchronous
    names: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    #: it is about a boot, in which no figure tells what becomes of what waits for the root file system
    boots: bool = False

    @property
    def final(self) -> bool:
        """Whether nobody's word changes it."""
        return self.reason is KeptOutReason.SYNCHRONOUS or (self.boots and self.reason is KeptOutReason.ROOT)


@dataclass(frozen=True, slots=True)
class Around:
    """What is known of the machine beside the trace: of the one that runs this, from its sysfs."""

    #: device -> what of the system needs it: ``vda holds /``
    serving: Mapping[str, str] = field(default_factory=dict)
    #: supplier -> its consumers (``/sys/class/devlink``)
    consumers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: driver -> its module, of those that can be loaded; None: not known
    modules: Mapping[str, str] | None = None
    #: there is a command that binds devices from their nodes
    can_bind: bool = False


class Reasons:
    """Finds the reasons for a driver.

    Args:
        setting: as a stock kernel has it.
        base: a run of it.
        around: what is known of the machine besides.
        asynchronous: runs the setting with a driver probed asynchronously; None: it cannot be run.
        recorded: the trace that the setting repeats.
        boots: it is a boot, whose root file system is still to be found.

    """

    def __init__(
        self,
        setting: Setting,
        base: Trace,
        around: Around,
        asynchronous: Callable[[str], Trace | None],
        recorded: Trace | None = None,
        *,
        boots: bool = False,
    ) -> None:
        self._setting = setting
        self._boots = boots
        self._base = base
        self._around = around
        self._asynchronous = asynchronous
        self._cmdline = setting.machine.info.get("cmdline", "")
        self._driver_of = {one.device: one.driver for one in base.probes if not one.deferred}
        self._waiting = _waiting(setting, base, recorded, around.consumers)

    def of(self, driver: str) -> list[KeptOut]:
        """Return every reason to keep a driver out; one that is final stands alone."""
        return list(self._synchronous(driver)) or [
            *self._awaited(driver),
            *self._root(driver),
            *self._unsafe(driver),
            *self._names(driver),
        ]

    def _synchronous(self, driver: str) -> Iterator[KeptOut]:
        entry = known_drivers().forced(driver)
        said = any(one.name == driver and one.probe_type == "sync" for one in self._setting.scenario.drivers)
        if said or entry:
            where = f" ({entry.source})" if entry else ""
            text = f"asks for synchronous probing (PROBE_FORCE_SYNCHRONOUS){where}, and no setting changes that"
            yield KeptOut(driver=driver, reason=KeptOutReason.SYNCHRONOUS, text=text)

    def _awaited(self, driver: str) -> Iterator[KeptOut]:
        """Return what waits for devices of this driver."""
        for reason, what in (
            (KeptOutReason.CHILDREN, "are its devices' children"),
            (KeptOutReason.SUPPLIER, "are supplied by it"),
        ):
            others = [
                device
                for supplier, devices in self._waiting[reason].items()
                if self._driver_of.get(supplier) == driver
                for device in devices
            ]
            if others:
                text = f"{_shown(others)} {what}, and come in its order"
                yield KeptOut(driver=driver, reason=reason, text=text, devices=tuple(dict.fromkeys(others)))

    def _root(self, driver: str) -> Iterator[KeptOut]:
        mine = [device for device, owner in self._driver_of.items() if owner == driver]
        serving = {device: self._around.serving[device] for device in mine if device in self._around.serving}
        for device, what in serving.items():
            text = f"{what} ({device})"
            yield KeptOut(driver=driver, reason=KeptOutReason.ROOT, text=text, devices=(device,), boots=self._boots)
        root = None if serving else _root_driver(driver, self._cmdline)
        if root is not None:
            text = f"the root file system is on a device of it (root={root})"
            yield KeptOut(driver=driver, reason=KeptOutReason.ROOT, text=text, boots=self._boots)
        elif self._boots and not serving and _may_have_root(driver, self._cmdline):
            said = CommandLine.parse(self._cmdline).get("root")
            told = f"root={said} does not say" if said else "the log's command line does not say"
            text = f"the root file system may be on a device of it: {told}"
            yield KeptOut(driver=driver, reason=KeptOutReason.ROOT, text=text, boots=self._boots)

    def _unsafe(self, driver: str) -> Iterator[KeptOut]:
        entry = known_drivers().unsafe_driver(driver)
        if entry is not None:
            yield KeptOut(driver=driver, reason=KeptOutReason.UNSAFE, text=f"{entry.why} ({entry.source})")

    def _names(self, driver: str) -> Iterator[KeptOut]:
        family = family_of(driver, self._cmdline)
        if family is None or len(names := names_of(self._base, family)) < 2:  # noqa: PLR2004  one keeps its name
            return
        after = self._asynchronous(driver)
        changed = {} if after is None else changed_names(self._base, after, family)
        listed = list(names.values())
        text = f"{listed[0]} to {listed[-1]} are named in the order of their probes"
        if changed:
            shown = ", ".join(f"{device} would be {new} and not {old}" for device, (old, new) in changed.items())
            text += f": {shown}" if len(changed) <= _SHOWN else f": {len(changed)} would be renamed, {_first(changed)}"
        else:
            text += ", which nothing keeps then; in the run that was made they stay"
        text += f". Use {family.instead}"
        yield KeptOut(
            driver=driver, reason=KeptOutReason.NAMES, text=text, devices=tuple(changed or names), names=changed
        )


def _first(changed: Mapping[str, tuple[str, str]]) -> str:
    device, (old, new) = next(iter(changed.items()))
    return f"{device} from {old} to {new}"


def _waiting(
    setting: Setting, base: Trace, recorded: Trace | None, consumers: Mapping[str, tuple[str, ...]]
) -> dict[KeptOutReason, dict[str, list[str]]]:
    """Return which device waits for which, as its child or as its consumer."""
    children: dict[str, list[str]] = defaultdict(list)
    supplied: dict[str, list[str]] = defaultdict(list)
    probed = {record.device for record in base.probes}
    for parent, child in _nested(base):
        children[parent].append(child)
    below = [(spec.parent, spec.name) for spec in setting.plan.devices]
    below += [(info.parent, info.name) for info in setting.machine.devices if info.driver]
    for above, child in below:
        if above in probed and child not in children[above]:
            children[above].append(child)
    for spec in setting.plan.devices:
        for supplier in spec.suppliers:
            supplied[supplier].append(spec.name)
    for supplier, devices in (*consumers.items(), *([] if recorded is None else _deferred(recorded))):
        supplied[supplier] += [device for device in devices if device not in supplied[supplier]]
    return {KeptOutReason.CHILDREN: children, KeptOutReason.SUPPLIER: supplied}


def _nested(base: Trace) -> Iterator[tuple[str, str]]:
    """Yield each device that was probed inside of another one's probe, after that one."""
    open_probes: dict[str | None, list[ProbeRecord]] = defaultdict(list)
    for record in sorted(base.probes, key=lambda one: (one.start_ns or 0, bool(one.nested))):
        stack = open_probes[record.comm]
        while stack and (stack[-1].end_ns or 0) < (record.start_ns or 0):
            stack.pop()
        if record.nested and stack:
            yield stack[-1].device, record.device
        stack.append(record)


def _deferred(trace: Trace) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the devices whose binding let a deferred one go on, as far as a trace tells.

    A probe that was sent away with EPROBE_DEFER, and then bound, went on because of what bound last before that
    (``deferral-chain``). Where a supplier is missing the driver core does not even call the driver, and no record tells
    of it: but then the probe comes from the worker that tries deferred devices again (``deferred_probe_work_func``),
    one after the other; any of them may be the next one's supplier.
    """
    retried = next((one for one in trace.initcalls if one.function == RETRIES_DEFERRED), None)
    sent_away = {record.device for record in trace.probes if record.deferred}
    bound = sorted((one.end_ns, one.device) for one in trace.probes if one.result == "0" and one.end_ns is not None)
    for record in trace.probes:
        if record.result != "0" or record.start_ns is None or not (record.device in sent_away or _is_retry(record)):
            continue
        if retried is not None and retried.start_ns <= record.start_ns <= retried.end_ns:
            continue  # the end of booting retries whatever was deferred: what bound last tells nothing
        place = bisect_right(bound, (record.start_ns, "\U0010ffff"))
        before = [device for _, device in bound[:place] if device != record.device]
        if before:
            yield before[-1], (record.device,)


def _is_retry(record: ProbeRecord) -> bool:
    """Tell whether a probe comes from the deferred-probe worker: synchronous, in an unbound worker, nobody waiting."""
    mine = record.caller_comm in (None, record.comm)
    return not (record.asynchronous or record.nested) and mine and (record.comm or "").startswith("kworker/u")


def _root_driver(driver: str, cmdline: str) -> str | None:
    """Return what ``root=`` says if that is a name which devices of this driver get."""
    root = CommandLine.parse(cmdline).get("root") or ""
    family = known_drivers().family(driver)
    if not root.startswith("/dev/") or family is None:
        return None
    name = root.removeprefix("/dev/")
    prefix = next((prefix for start, prefix in _ROOT_NAMES.items() if name.startswith(start)), None)
    return root if prefix == family.prefix else None


def _may_have_root(driver: str, cmdline: str) -> bool:
    """Tell whether a driver's devices are such as file systems are on, and ``root=`` names none of another kind."""
    root = (CommandLine.parse(cmdline).get("root") or "").removeprefix("/dev/")
    family = known_drivers().family(driver)
    named = any(root.startswith(start) for start in _ROOT_NAMES)
    return family is not None and family.prefix in _DISKS and not named


def _shown(devices: list[str]) -> str:
    return first_few(dict.fromkeys(devices), _SHOWN)
