"""Other threads look on while the core probes: what they are shown is whole, and looking changes nothing."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

import numaprobe
from numaprobe.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.library.facade import Core

DEVICES = 100


def look_at(core: Core) -> None:
    for name in core.names()[-3:]:
        assert core.device(name).story()
    with pytest.raises(UnknownNameError):
        core.device("nothing")
    shown = core.records
    assert len({record.device for record in shown}) == len(shown)
    assert len(core.trace().probes) >= len(shown)


def in_threads(count: int, function: Callable[[], None]) -> list[threading.Thread]:
    threads = [threading.Thread(target=function) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


@pytest.mark.parametrize("wish", [numaprobe.ProbeType.FORCE_SYNCHRONOUS, numaprobe.ProbeType.PREFER_ASYNCHRONOUS])
def test_every_probe_is_shown_once_however_many_look(wish: numaprobe.ProbeType) -> None:
    faults: list[BaseException] = []
    over = threading.Event()

    @numaprobe.driver("x", probe_type=wish)
    def probe(dev: numaprobe.Device) -> None:
        pass

    with numaprobe.host("strict-node") as core:

        def look() -> None:
            try:
                while not over.is_set():
                    look_at(core)
                    time.sleep(0.001)  # they do not want the interpreter for themselves
            except BaseException as fault:  # noqa: BLE001  told by the test's own thread
                faults.append(fault)

        core.register(probe)
        onlookers = in_threads(2, look)
        for index in range(DEVICES):
            core.add(f"d{index}", compatible="x", node=0)
        core.wait()
        over.set()
        for thread in onlookers:
            thread.join()
        assert not faults
        assert Counter(record.device for record in core.records) == Counter(f"d{index}" for index in range(DEVICES))


def test_who_asks_for_a_bus_that_is_not_there_makes_none() -> None:
    with numaprobe.host() as core:
        assert core.names("usb") == ()
        with pytest.raises(UnknownNameError):
            core.device("usb1", "usb")
        assert "usb" not in core._operations.core.buses
        assert core.names() == ()
        core.add("usb1", bus="usb")
        assert core.names("usb") == ("usb1",)


@pytest.mark.parametrize(("most", "shown"), [(0, []), (2, ["d1", "d2"]), (9, ["d0", "d1", "d2"])])
def test_the_last_records_are_kept_whenever_one_looks(most: int, shown: list[str]) -> None:
    for looks in (False, True):
        with numaprobe.host("inline", options=numaprobe.CoreOptions(keep_records=most)) as core:
            core.register(numaprobe.driver("x", name="x")(lambda dev: None))
            for index in range(3):
                core.add(f"d{index}", compatible="x", node=0)
                assert not looks or len(core.records) == min(most, index + 1)
            assert [record.device for record in core.records] == shown
            assert core._operations.core.records_dropped == 3 - len(shown)
