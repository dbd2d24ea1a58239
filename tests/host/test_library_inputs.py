"""Wrong types and names are caught where they enter: one line, what was given, what to write instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import numaprobe
from numaprobe.errors import UnknownNameError, UsageError
from numaprobe.policies.strict_node import StrictNode

if TYPE_CHECKING:
    from collections.abc import Callable


class Disk(numaprobe.DeviceDriver):
    compatible = ("x",)

    def probe(self, dev: Any) -> None:
        """Take it."""


class NoProbe(numaprobe.DeviceDriver):
    compatible = ("x",)


def plain(_dev: Any) -> None:
    """Be no driver."""


def with_fields(**fields: Any) -> Disk:
    driver = Disk()
    for name, value in fields.items():
        setattr(driver, name, value)
    return driver


#: call -> what its error says
WRONG: dict[str, tuple[Callable[[Any], object], str]] = {
    "remove a name": (lambda core: core.remove("a"), "remove takes a device, not 'a'; use core.device('a')"),
    "remove nothing": (lambda core: core.remove(None), "remove takes a device, not None; use what core.add returned"),
    "a class": (lambda core: core.register(Disk), "Disk is a class; hand over an object of it: Disk()"),
    "undecorated": (lambda core: core.register(plain), "plain is a plain function; decorate it: @numaprobe.driver("),
    "a number": (lambda core: core.register(3), "3 is no driver; hand over an object of a numaprobe.DeviceDriver"),
    "unregister a class": (lambda core: core.unregister(Disk), "Disk is a class"),
    "unregister another": (lambda core: core.unregister(Disk()), "unknown driver 'Disk': known: none"),
    "no probe": (lambda core: core.register(NoProbe()), "driver NoProbe has no probe; give the class one"),
    "one text": (lambda core: core.register(with_fields(compatible="x")), "write a tuple of texts: ('accel,*',)"),
    "bus": (lambda core: core.register(with_fields(bus=None)), "the name of a bus is None; write a text"),
    "probe type": (lambda core: core.register(with_fields(probe_type="sync")), "write a numaprobe.ProbeType"),
    "match": (lambda core: core.register(with_fields(match=True)), "match is True; write a function"),
    "deadline": (lambda core: core.register(with_fields(deadline=5)), "deadline is 5; write a text with a unit: '5s'"),
    "node": (lambda core: core.add("b", node=77), "device b: node 77 is not on this machine; it has 0"),
    "node text": (lambda core: core.add("b", node="0"), "node '0' is not on this machine"),
    "node truth": (lambda core: core.add("b", node=True), "node True is not on this machine"),
    "name": (lambda core: core.add(None), "the name of a device is None; write a text without slash"),
    "no name": (lambda core: core.add(""), "the name of a device is ''"),
    "slash": (lambda core: core.add("a/b"), "the name of a device is 'a/b'"),
    "parent": (
        lambda core: core.add("b", parent="a"),
        "takes a device, not 'a'; use core.device('a')",
    ),
    "compatible": (lambda core: core.add("b", compatible=("x",)), "compatible is ('x',); write one text"),
    "supplier text": (
        lambda core: core.add("b", suppliers="a"),
        "write a tuple of names: ('clock0',)",
    ),
    "supplier device": (lambda core: core.add("b", suppliers=(core.device("a"),)), "write a tuple of names"),
    "own supplier": (lambda core: core.add("b", suppliers=("b",)), "device b names itself as supplier"),
    "bus of a device": (lambda core: core.add("b", bus=5), "the name of a bus is 5"),
    "unknown device": (lambda core: core.device("aa"), "unknown device 'aa': did you mean 'a'?"),
    "unknown bus": (lambda core: core.device("a", bus="platfrm"), "unknown bus 'platfrm': did you mean 'platform'?"),
    "bind a device": (
        lambda core: core.bind(core.device("a"), "d"),
        "a device is named here; write 'a'",
    ),
    "bind a bus": (lambda core: core.bind("a", "d", "pcie"), "unknown bus 'pcie'"),
    "wait text": (lambda core: core.wait("2s"), "timeout is '2s'; write a number of seconds: 2.5"),
    "wait negative": (lambda core: core.wait(-1), "timeout is -1; write a number of seconds"),
    "wait nan": (lambda core: core.wait(timeout=float("nan")), "timeout is nan"),
    "source": (lambda core: core.add_from(5), "add_from takes a text, not 5; write 'host'"),
}
HOSTS: dict[str, tuple[Callable[[], object], str]] = {
    "policy class": (lambda: numaprobe.host(StrictNode), "StrictNode is a class; hand over an object"),  # type: ignore[arg-type]
    "policy number": (lambda: numaprobe.host(5), "the policy is 5; write a name ('strict-node')"),  # type: ignore[arg-type]
    "policy name": (lambda: numaprobe.host("strict"), "unknown policy 'strict': did you mean 'strict-node'?"),
    "topology": (lambda: numaprobe.host(topology="host"), "the topology is 'host'; make one"),  # type: ignore[arg-type]
    "options": (lambda: numaprobe.host(options={}), "the options are {}; make them: numaprobe.CoreOptions"),  # type: ignore[arg-type]
    "shutdown": (lambda: numaprobe.host(shutdown_s="3"), "shutdown_s is '3'; write a number of seconds"),  # type: ignore[arg-type]
    "unknown option": (
        lambda: numaprobe.host(grace=3),
        "keyword argument 'grace'; known options: bind_memory",
    ),
    "decorator": (lambda: numaprobe.driver(plain), "plain: the decorator is called: @numaprobe.driver("),  # type: ignore[arg-type]
}


def test_the_core_says_what_is_wrong_and_nothing_has_changed() -> None:
    with numaprobe.host() as core:
        core.add("a", compatible="x", node=0)
        for name, (call, words) in WRONG.items():
            with pytest.raises(UsageError) as caught:
                call(core)
            assert words in str(caught.value), name
            assert str(caught.value).isprintable(), name
            assert core.names() == ("a",), name
        core.register(Disk())
        assert core.device("a").is_bound


@pytest.mark.parametrize("name", HOSTS)
def test_host_says_what_is_wrong(name: str) -> None:
    call, words = HOSTS[name]
    with pytest.raises(UsageError) as caught:
        call()
    assert words in str(caught.value)


async def ask_async() -> None:
    async with numaprobe.host() as core:
        with pytest.raises(UsageError, match="remove takes a device"):
            await core.remove("a")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="timeout is"):
            await core.wait("2s")  # type: ignore[arg-type]
        with pytest.raises(UnknownNameError):
            core.device("a")


def test_the_async_core_says_it_too() -> None:
    import asyncio

    asyncio.run(ask_async())


def test_a_supplier_that_nobody_added_is_named_once() -> None:
    with numaprobe.host() as core:
        core.register(Disk())
        core.add("clock0", compatible="none")
        core.add("b", compatible="x", suppliers=("clock1",))
        for _ in range(2):
            core.wait()
        told = [one.message for one in core.warnings if one.kind == "supplier"]
        assert told == ["b waits for its supplier 'clock1', which is no device: did you mean 'clock0'?"]
        core.add("clock1", compatible="x")
        core.wait()
        assert core.device("b").is_bound


def test_a_node_that_was_read_elsewhere_and_is_not_here_counts_as_none() -> None:
    with numaprobe.host() as core:
        devices = core.add_from("epyc-9a64", bus="pci") or (core.add("none"),)
        known = {node.id for node in core.machine.topology.nodes} | {-1}
        assert {dev.node for dev in devices} <= known
        assert core.node_here("far", 99) == -1
        assert any("far: its node 99 is not on this machine" in one.message for one in core.warnings)
