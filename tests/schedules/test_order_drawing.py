"""A schedule drawn: bars from where a lock is taken to where it is let go, and a line to each pre-emption."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from defusedxml import ElementTree

from numaprobe.report.order_drawing import order_drawing
from numaprobe.report.schedules import explored_page
from numaprobe.schedules import Limits, Program, Search
from numaprobe.study.orders import explore_setting

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.scenario import Setting
    from numaprobe.virtual.choosing import ChoosingMachine

SVG = "{http://www.w3.org/2000/svg}"


def test_a_deadlock_is_two_that_hold_and_wait_to_the_last_line(abba: Callable[[str], Setting]) -> None:
    run = explore_setting(abba("abba"), Limits(first=True)).findings[0].run
    drawing = ElementTree.fromstring(order_drawing(run))[0]
    bars = [
        (bar[0].text, "waits" in bar.get("class", ""), bar.get("class", "")[:2]) for bar in drawing.iter(f"{SVG}rect")
    ]
    open_bars = {
        text: colour for text, _, colour in bars if text in {"holds a", "holds b", "waits for a", "waits for b"}
    }
    assert open_bars["holds a"] == open_bars["waits for a"] != open_bars["holds b"] == open_bars["waits for b"]
    ends = {
        float(bar.get("y", 0)) + float(bar.get("height", 0))
        for bar in drawing.iter(f"{SVG}rect")
        if bar[0].text in open_bars
    }
    assert len(ends) == 1
    (line,) = (path for path in drawing.iter(f"{SVG}path") if path.get("class") == "preempts")
    assert line[0].text == "pre-emption: modprobe #2 could have gone on"


async def handed(m: ChoosingMachine) -> None:
    lock = m.lock("<b>L</b>")

    async def take() -> None:
        async with lock:
            await m.point()

    tasks = [m.spawn(take, comm=name) for name in ("one", "two")]
    for task in tasks:
        await m.join(task)


def test_a_lock_that_is_handed_on_changes_columns_and_no_name_is_markup() -> None:
    result = Search(Program(handed, opaque=False), Limits()).explore()
    page = explored_page(result)
    assert "<b>" not in page
    assert not re.findall(r"style=|<script|https?://(?!www\.w3\.org)", page)
    search = Search(Program(handed, opaque=False), Limits(strategy="random", runs=20))
    runs = []
    search._count = lambda answer: runs.extend(run for _, run in answer.endings if run)
    search._by_chance()
    run = next(run for run in runs if any(verb == "hands on" for step in run.steps for verb, _ in step.notes))
    drawing = ElementTree.fromstring(order_drawing(run))[0]
    bars = sorted(
        (float(bar.get("y", 0)), bar[0].text, float(bar.get("height", 0))) for bar in drawing.iter(f"{SVG}rect")
    )
    assert [text for _, text, _ in bars] == ["holds <b>L</b>", "waits for <b>L</b>", "holds <b>L</b>"]
    (first, _, lasts), (waits, _, waited), (second, _, _) = bars
    assert first < waits < second
    assert abs((waits + waited) - (first + lasts)) < 3
