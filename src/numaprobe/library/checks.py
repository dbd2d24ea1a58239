"""What users hand over, looked at where it enters: one line that says what was given, and what to write instead.

Without this a driver's class (not an object of it), a text for a device or a node that is not there would be an
``AttributeError`` in the middle of the core, or a device that nobody ever probes.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from numaprobe.drivercore import CoreOptions, Device, ProbeType
from numaprobe.errors import UsageError, describe
from numaprobe.library.driver import DeviceDriver
from numaprobe.policies import Policy
from numaprobe.records import NO_NODE
from numaprobe.topology import Topology

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def check_driver(source: object) -> DeviceDriver:
    """Return a driver.

    Raises:
        UsageError: it is none, has no probe, or one of its attributes is of another kind.

    """
    if isinstance(source, type) and issubclass(source, DeviceDriver):
        raise UsageError(f"{source.__name__} is a class; hand over an object of it: {source.__name__}()")
    if not isinstance(source, DeviceDriver):
        if callable(source) and not isinstance(source, type):
            name = getattr(source, "__name__", "this")
            raise UsageError(f"{name} is a plain function; decorate it: @numaprobe.driver('compatible,*')")
        raise UsageError(f"{_shown(source)} is no driver; hand over an object of a numaprobe.DeviceDriver class")
    name = source.name or type(source).__name__
    if type(source).probe is DeviceDriver.probe:
        raise UsageError(f"driver {name} has no probe; give the class one: def probe(self, dev)")
    if not _all_texts(source.compatible):
        raise UsageError(
            f"driver {name}: compatible is {_shown(source.compatible)}; write a tuple of texts: ('accel,*',)"
        )
    check_name("driver", source.name or name)
    check_name("bus", source.bus)
    if not isinstance(source.probe_type, ProbeType):
        raise UsageError(f"driver {name}: probe_type is {_shown(source.probe_type)}; write a numaprobe.ProbeType")
    for what in ("match", "remove"):
        if (given := getattr(source, what)) is not None and not callable(given):
            raise UsageError(f"driver {name}: {what} is {_shown(given)}; write a function, or leave it out")
    if source.deadline is not None and not isinstance(source.deadline, str):
        raise UsageError(f"driver {name}: deadline is {_shown(source.deadline)}; write a text with a unit: '5s'")
    return source


def check_device(dev: object, what: str) -> Device:
    """Return a device; ``what`` is said to take it.

    Raises:
        UsageError: it is none.

    """
    if isinstance(dev, Device):
        return dev
    hint = f"core.device({dev!r:.60})" if isinstance(dev, str) else "what core.add returned"
    raise UsageError(f"{what} takes a device, not {_shown(dev)}; use {hint}")


def check_name(what: str, name: object) -> str:
    """Return a name of a device, driver or bus, as sysfs could have it.

    Raises:
        UsageError: it is no text, is empty, or holds a slash or what cannot be printed.

    """
    if isinstance(name, Device):
        raise UsageError(f"a {what} is named here; write '{name.name}'")
    if not isinstance(name, str) or not name or "/" in name or not name.isprintable():
        raise UsageError(f"the name of a {what} is {_shown(name)}; write a text without slash: 'accel0'")
    return name


def check_new_device(
    name: object, node: object, nodes: Iterable[int], parent: object, compatible: object, suppliers: object
) -> None:
    """Look at what a device is made of.

    Args:
        name: as users gave it, like all but ``nodes``.
        node: its own.
        nodes: those of the machine.
        parent: what it hangs from.
        compatible: what drivers match.
        suppliers: the devices it waits for.

    Raises:
        UsageError: one of them cannot be.

    """
    device = check_name("device", name)
    known = tuple(nodes)
    if type(node) is not int or (node != NO_NODE and node not in known):
        there = ", ".join(map(str, known))
        raise UsageError(f"device {device}: node {_shown(node)} is not on this machine; it has {there} (-1: no node)")
    if parent is not None:
        check_device(parent, f"parent of device {device}")
    if not isinstance(compatible, str):
        raise UsageError(f"device {device}: compatible is {_shown(compatible)}; write one text: 'accel,v1'")
    if not isinstance(suppliers, tuple | list) or not _all_texts(suppliers):
        raise UsageError(f"device {device}: suppliers is {_shown(suppliers)}; write a tuple of names: ('clock0',)")
    if device in suppliers:
        raise UsageError(f"device {device} names itself as supplier and would wait for itself; leave it out")


def check_seconds(what: str, seconds: object) -> None:
    """Look at a time.

    Raises:
        UsageError: it is no number of seconds.

    """
    if type(seconds) not in (int, float) or not isfinite(seconds) or seconds < 0:  # type: ignore[arg-type,operator]
        raise UsageError(f"{what} is {_shown(seconds)}; write a number of seconds: 2.5")


def check_source(machine: object) -> None:
    """Look at where the devices of a machine are to come from.

    Raises:
        UsageError: it is no text.

    """
    if not isinstance(machine, str):
        raise UsageError(f"add_from takes a text, not {_shown(machine)}; write 'host', a preset's name, or a file")


def check_host(policy: object, topology: object, options: object, shutdown_s: object) -> None:
    """Look at what ``host()`` was called with.

    Raises:
        UsageError: something is of another kind.

    """
    if isinstance(policy, type) and issubclass(policy, Policy):
        raise UsageError(f"{policy.__name__} is a class; hand over an object of it: {policy.__name__}()")
    if not isinstance(policy, str | Policy):
        raise UsageError(f"the policy is {_shown(policy)}; write a name ('strict-node') or hand over a Policy")
    if topology is not None and not isinstance(topology, Topology):
        raise UsageError(f"the topology is {_shown(topology)}; make one: numaprobe.topology.load_topology('host')")
    if options is not None and not isinstance(options, CoreOptions):
        raise UsageError(f"the options are {_shown(options)}; make them: numaprobe.CoreOptions(...)")
    check_seconds("shutdown_s", shutdown_s)


def make_checked(make: Callable[..., Any], *arguments: object, **options: object) -> Any:  # noqa: ANN401  what it makes
    """Call ``make``; an option that it does not have is the caller's mistake.

    Raises:
        UsageError: there is no such option.

    """
    import inspect

    try:
        inspect.signature(make).bind(*arguments, **options)
    except TypeError as error:
        known = ", ".join(
            name for name, one in inspect.signature(make).parameters.items() if one.kind == one.KEYWORD_ONLY
        )
        raise UsageError(f"{describe(error).partition(': ')[2]}; known options: {known}") from None
    return make(*arguments, **options)


def _all_texts(given: object) -> bool:
    return isinstance(given, tuple | list) and all(isinstance(one, str) for one in given)


def _shown(given: object) -> str:
    """Return a stranger's object in one short line; its ``__repr__`` may fail too."""
    if isinstance(given, type):
        return f"the class {given.__name__}"
    try:
        text = f"{given!r:.60}"
    except BaseException:  # noqa: BLE001  a stranger's __repr__
        text = f"a {type(given).__name__}"
    return text if text.isprintable() else f"a {type(given).__name__}"
