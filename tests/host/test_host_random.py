"""Random steps with real threads: whatever users do in whatever order, the core's promises hold after each step."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import numaprobe
from numaprobe.errors import StateError, UnknownNameError

KINDS = ["a", "b"]
NAMES = [f"d{index}" for index in range(5)]


def make_driver(kind: str, how: str) -> numaprobe.DeviceDriver:
    kinds = {
        "sync": numaprobe.ProbeType.FORCE_SYNCHRONOUS,
        "async": numaprobe.ProbeType.PREFER_ASYNCHRONOUS,
        "fails": numaprobe.ProbeType.DEFAULT,
    }

    @numaprobe.driver(kind, name=kind, probe_type=kinds[how])
    def probe(dev: numaprobe.Device) -> int:
        return -19 if how == "fails" else 0

    return probe


class LiveCore(RuleBasedStateMachine):
    """A model as simple as can be: which devices and drivers are there, and whose probe succeeds."""

    def __init__(self) -> None:
        super().__init__()
        self.host = numaprobe.host("strict-node")
        self.core = self.host.__enter__()
        self.devices: dict[str, Any] = {}
        self.drivers: dict[str, tuple[Any, str]] = {}

    def teardown(self) -> None:
        self.host.__exit__(None, None, None)

    @rule(name=st.sampled_from(NAMES), kind=st.sampled_from(KINDS))
    def add(self, name: str, kind: str) -> None:
        if name in self.devices:
            with contextlib.suppress(StateError):
                self.core.add(name, compatible=kind, node=0)
                raise AssertionError(name)
        else:
            self.devices[name] = self.core.add(name, compatible=kind, node=0)

    @rule(name=st.sampled_from(NAMES))
    def remove(self, name: str) -> None:
        dev = self.devices.pop(name, None)
        if dev is not None:
            self.core.remove(dev)

    @rule(kind=st.sampled_from(KINDS), how=st.sampled_from(["sync", "async", "fails"]))
    def register(self, kind: str, how: str) -> None:
        if kind not in self.drivers:
            self.drivers[kind] = make_driver(kind, how), how
            self.core.register(self.drivers[kind][0])

    @rule(kind=st.sampled_from(KINDS))
    def unregister(self, kind: str) -> None:
        driver, _ = self.drivers.pop(kind, (None, ""))
        if driver is not None:
            self.core.unregister(driver)
        else:
            with contextlib.suppress(UnknownNameError):
                self.core.unregister(make_driver(kind, "sync"))
                raise AssertionError(kind)

    @rule(name=st.sampled_from(NAMES), kind=st.sampled_from(KINDS))
    def unbind_and_bind(self, name: str, kind: str) -> None:
        self.core.wait()
        if self.core.unbind(name, kind) == 0:
            assert self.core.bind(name, kind) == 0

    @invariant()
    def the_model_holds(self) -> None:
        self.core.wait()
        for name, dev in self.devices.items():
            _, how = self.drivers.get(dev.compatible, (None, "absent"))
            assert dev.is_bound == (how in {"sync", "async"}), (name, dev.story())
        assert self.core.names() == tuple(self.devices)
        self.core._operations.core.validate()


LiveCore.TestCase.settings = settings(
    max_examples=12, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
test_random_steps = LiveCore.TestCase
