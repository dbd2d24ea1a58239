"""asyncio's own tools in async bodies, which a different thread may run at each step; in its debug mode too."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap

import pytest

import numaprobe

PROGRAM = textwrap.dedent("""
    import asyncio, time
    import numaprobe

    async def numbers():
        for number in range(3):
            yield number

    @numaprobe.driver("x*", probe_type=numaprobe.ProbeType.PREFER_ASYNCHRONOUS)
    async def everything(dev):
        echo = await asyncio.create_subprocess_exec("echo", dev.name, stdout=asyncio.subprocess.PIPE)
        out, _ = await echo.communicate()
        await asyncio.to_thread(time.sleep, 0.005)
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0.004))
            group.create_task(asyncio.sleep(0.001))
        try:
            async with asyncio.timeout(0.005):
                await asyncio.sleep(60)
        except TimeoutError:
            pass
        dev.drvdata = out.decode().strip(), [number async for number in numbers()]

    if __name__ == "__main__":
        with numaprobe.host() as core:
            core.register(everything)
            devices = [core.add(f"x{number}", compatible="x", node=0) for number in range(10)]
            core.wait()
            assert [dev.drvdata for dev in devices] == [(dev.name, [0, 1, 2]) for dev in devices]
            assert {record.result for record in core.records} == {"0"}, core.warnings
            assert not core.warnings
""")


@pytest.mark.parametrize("options", [[], ["-X", "dev"]])
def test_asyncio_s_own_tools_work_in_async_bodies(options: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *options, "-W", "error", "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # asyncio's debug mode also tells which callbacks took 0.1 s, which on a busy computer any may
    assert [line for line in done.stderr.splitlines() if not line.startswith("Executing <")] == []


@pytest.mark.parametrize("policy", ["strict-node", "probe-on-node", "spread"])
def test_an_async_body_that_waits_holds_up_nobody_on_its_queue(policy: str) -> None:
    """It needs no thread, so that a second worker can be made while the first is in its first work."""
    came: list[str] = []
    all_are_here = asyncio.Event()

    class Meets(numaprobe.DeviceDriver):
        name = "meets"
        compatible = ("async",)
        probe_type = numaprobe.ProbeType.PREFER_ASYNCHRONOUS
        deadline = "20s"

        async def probe(self, dev: numaprobe.Device) -> None:
            came.append(dev.name)
            if len(came) == 4:
                all_are_here.set()
            await all_are_here.wait()

    class Last(Meets):
        name = "last"
        compatible = ("last",)
        probe_type = numaprobe.ProbeType.FORCE_SYNCHRONOUS

    with numaprobe.host(policy) as core:
        core.register(Meets(), Last())
        for name in ("one", "two", "three"):
            core.add(name, compatible="async", node=0)
        core.add("four", compatible="last", node=0)
        core.wait()
        assert {record.result for record in core.records} == {"0"}
    assert sorted(came) == ["four", "one", "three", "two"]
