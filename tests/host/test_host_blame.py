"""An exception in a body: its file and line are told, and on request its traceback, wherever the body ran."""

from __future__ import annotations

import inspect
import json
from typing import Any

import blamed_bodies
import pytest

import numaprobe
from numaprobe.drivercore import CoreOptions


class Plain(numaprobe.DeviceDriver):
    name = "blamed"
    compatible = ("x",)

    def probe(self, dev: Any) -> Any:
        return blamed_bodies.read(dev.platform_data)


class Async(Plain):
    async def probe(self, dev: Any) -> Any:
        return blamed_bodies.read(dev.platform_data)


class Ends(Plain):
    def probe(self, _dev: Any) -> Any:
        return blamed_bodies.leave()


DRIVERS = {"plain": Plain, "async": Async, "process": blamed_bodies.InProcess, "ends": Ends}


def line_of(text: str) -> str:
    source = inspect.getsource(blamed_bodies).splitlines()
    return f"{blamed_bodies.__file__}:{next(i for i, line in enumerate(source, 1) if text in line)}"


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("kind", DRIVERS)
def test_file_line_and_traceback(kind: str, kept: bool) -> None:
    place = line_of("SystemExit" if kind == "ends" else "json.loads")
    with numaprobe.host(options=CoreOptions(keep_tracebacks=kept)) as core:
        core.register(DRIVERS[kind]())
        dev = core.add("a", compatible="x", node=0, data="[1,")
        warning = next(one.message for one in core.warnings if one.kind == "body")
        assert warning.endswith(f" ({place})")
        assert any(place in line for line in dev.story())
        assert "\n" not in warning
        assert core.records[0].result == "EIO"
        file, _, line = place.rpartition(":")
        assert (f'File "{file}", line {line}' in dev.traceback) == kept
        assert bool(dev.traceback) == kept
        if kept and kind == "plain":
            assert json.decoder.__file__ in dev.traceback


def test_a_remove_that_raises_is_told_too() -> None:
    def remove(_dev: Any) -> None:
        blamed_bodies.read("{")

    driver = numaprobe.driver("x", remove=remove)(lambda _dev: None)
    with numaprobe.host(options=CoreOptions(keep_tracebacks=True)) as core:
        core.register(driver)
        dev = core.add("a", compatible="x", node=0)
        core.remove(dev)
        assert line_of("json.loads") in next(one.message for one in core.warnings if one.kind == "raised")
        assert "in remove" in dev.traceback
