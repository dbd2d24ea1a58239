"""The page, as text and in a browser. Without Chromium the browser part is left out, and the summary says so."""

from __future__ import annotations

import html.parser
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import synthetic as s
from hypothesis import given, settings
from hypothesis import strategies as st

from browser import CHROMIUM, Browser
from counting import lines_run
from numaprobe.analysis import compare
from numaprobe.records import Identity, LockWait, ProbeRecord, RunWarning, Trace
from numaprobe.report import html as report
from numaprobe.report.html import embed, html_page, write_html
from numaprobe.report.lanes import lanes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOSTILE = "</script><script>window.evil = 1</script><img src=x onerror='evil=1'>\"'`\u2028\u2029\x00&lt;<!--"
needs_browser = pytest.mark.skipif(
    CHROMIUM is None,
    reason="WARNING: Chromium is not installed, so the HTML page was NOT opened in a browser: apt-get install chromium",
)


class Reader(html.parser.HTMLParser):
    """The page as an HTML parser of another make sees it: its elements and the data block."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self._script = ""
        self.data = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        known = dict(attrs)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        self._script = known.get("id") or "" if tag == "script" else ""

    def handle_data(self, text: str) -> None:
        if self._script == "data":
            self.data += text


def read(page: str) -> tuple[Reader, Any]:
    reader = Reader()
    reader.feed(page)
    return reader, json.loads(reader.data)


def hostile_comparison() -> Any:
    probe = ProbeRecord(device=HOSTILE, driver=HOSTILE, bus=HOSTILE, comm=HOSTILE, caller_comm=HOSTILE, cost_ns=10**6,
                        cpu=1, caller_cpu=2, function=HOSTILE, start_ns=0, end_ns=10**6, device_node=0, cpu_node=1,
                        result=HOSTILE, path=HOSTILE)  # fmt: skip
    trace = Trace(source="kernel", probes=(probe,), policy=HOSTILE, scenario=HOSTILE, kernel=HOSTILE,
                  warnings=(RunWarning(kind=HOSTILE, message=HOSTILE),))  # fmt: skip
    return compare([trace])


def test_the_data_survives_and_nothing_else_gets_in() -> None:
    reader, data = read(html_page(hostile_comparison()))
    assert HOSTILE in data["strings"]
    assert reader.tags.count("script") == 2
    assert "img" not in reader.tags
    assert reader.links == ["data:,"]


@settings(max_examples=60, deadline=None)
@given(st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_embedded_json_is_the_same_json_and_cannot_end_its_element(value: Any) -> None:
    text = embed(value)
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == value


def test_the_same_comparison_gives_the_same_bytes() -> None:
    assert html_page(compare([s.nvme_before()])) == html_page(compare([s.nvme_before()]))


def test_times_are_relative_and_exact() -> None:
    late = s.probe(start_ns=2**62 + 1, cost_ns=7)
    _, data = read(html_page(compare([s.trace(s.probe("first", start_ns=2**62), late)])))
    assert [row[7] for row in data["traces"][0]["probes"]] == [0, 1]


def test_a_page_says_what_it_is_of_and_who_recorded_it() -> None:
    identity = Identity(host="db-7", date="2026-11-21T19:50:55Z", label="before")
    recorded = replace(s.nvme_before(), source="kernel", kernel="7.2.12", identity=identity)
    page = html_page(compare([recorded, replace(s.nvme_after(), kernel="7.2")]))
    _, data = read(page)
    assert "<title>numaprobe: nvme-epyc · epyc-9a64 · kernel 7.2.12 (kernel), kernel 7.2 (virtual)</title>" in page
    assert data["title"] == "numaprobe: nvme-epyc"
    assert data["subtitle"].startswith("epyc-9a64 · kernel 7.2.12 (kernel), kernel 7.2 (virtual) · percentages are of")
    assert data["traces"][0]["about"] == "3 probes, kernel 7.2.12 (kernel), db-7, 2026-11-21 19:50"


def test_equal_runs_are_one_panel_and_keep_their_figures_and_findings() -> None:
    again = [replace(s.nvme_before(), policy=name) for name in ("one", "two")]
    _, data = read(html_page(compare([again[0], s.nvme_after(), again[1]], "one")))
    assert [panel["labels"] for panel in data["traces"]] == [["one", "two"], [s.nvme_after().policy]]
    assert [(run["label"], run["panel"]) for run in data["runs"]] == [
        ("one", 0),
        (s.nvme_after().policy, 1),
        ("two", 0),
    ]
    assert data["runs"][2]["findings"] == data["runs"][0]["findings"] != []


def test_too_many_stretches_are_left_out_and_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MAX_SEGMENTS", 3)
    _, data = read(html_page(compare([s.nvme_before()])))
    assert data["traces"][0]["probes"][0][-1] is None
    assert "timelines left out" in data["subtitle"]


def test_five_thousand_probes_are_a_small_file_made_with_little_work(tmp_path: Path) -> None:
    few, many = (compare([s.many(count)]) for count in (500, 5000))
    work = [lines_run(lambda one=one: write_html(one, tmp_path / "big.html")) for one in (few, many)]  # type: ignore[misc]
    assert work[1] < 11 * work[0]
    assert (tmp_path / "big.html").stat().st_size < 2_000_000


# ---- in a browser ----


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    made = Browser(tmp_path_factory.mktemp("profile"))
    yield made
    made.close()


class Page:
    """The report in the browser, by what a user does."""

    def __init__(self, browser: Browser, path: Path) -> None:
        self.browser = browser
        browser.events.clear()
        browser.open(path)
        self.ask = browser.evaluate

    def bars(self, chart: int = 0) -> list[dict[str, Any]]:
        return self.ask(f"numaprobe.bars({chart})")

    def point(self, device: str, chart: int = 0) -> tuple[float, float]:
        """The middle of a bar, in the window."""
        self.ask(f"document.querySelectorAll('.panel')[{chart}].scrollIntoView()")
        self.browser.settle()
        left, top = self.ask(
            f"(() => {{ const r = document.querySelectorAll('.chart canvas')[{chart}].getBoundingClientRect();"
            " return [r.left, r.top]; })()"
        )
        bar = next(bar for bar in self.bars(chart) if bar["device"] == device)
        return left + (bar["left"] + bar["right"]) / 2, top + (bar["top"] + bar["bottom"]) / 2

    def text(self, selector: str) -> str:
        return self.ask(f"document.querySelector('{selector}').innerText")

    def hidden(self, selector: str) -> bool:
        return self.ask(f"document.querySelector('{selector}').hidden")

    def choose(self, name: str, value: str) -> None:
        self.ask(
            f"(() => {{ const e = document.getElementById('{name}'); e.value = {json.dumps(value)};"
            " e.dispatchEvent(new Event('input')); })()"
        )
        self.browser.settle()

    def press(self, selector: str) -> None:
        self.ask(f"document.querySelector('{selector}').click()")
        self.browser.settle()

    def pixels(self, chart: int = 0) -> int:
        """How many colours the chart shows."""
        return self.ask(
            f"(() => {{ const c = document.querySelectorAll('.chart canvas')[{chart}];"
            " const d = new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer);"
            " return new Set(d).size; })()"
        )


@pytest.fixture
def small(browser: Browser, tmp_path: Path) -> Page:
    write_html(compare([s.nvme_before(), s.nvme_after(), s.nvme_inline()]), tmp_path / "small.html")
    return Page(browser, tmp_path / "small.html")


@needs_browser
def test_the_page_opens_from_a_file_without_network_or_complaints(small: Page) -> None:
    assert small.ask("document.querySelectorAll('.panel').length") == 3
    assert small.pixels() > 20
    assert "work-on-cpu" in small.text("#overview")
    assert "-34.9 %" in small.text("#overview")
    assert small.browser.complaints() == []
    assert all(address.startswith(("file:", "data:")) for address in small.browser.requests())


@needs_browser
def test_hovering_a_bar_tells_its_details(small: Page) -> None:
    small.browser.mouse("mouseMoved", *small.point("0000:02:00.0", 2))
    tip = small.text("#tip")
    assert "nvme 0000:02:00.0" in tip
    assert "ran on node 1, the device is on node 0" in tip
    assert "34.300 ms" in tip
    small.browser.mouse("mouseMoved", 3, 3)
    assert small.hidden("#tip")


@needs_browser
def test_a_click_pins_and_escape_lets_go(small: Page) -> None:
    small.browser.click(*small.point("0000:01:00.0"))
    small.browser.mouse("mouseMoved", 3, 3)
    assert "0000:01:00.0" in small.text("#tip")
    small.browser.key("Escape")
    assert small.hidden("#tip")


@needs_browser
def test_filters_by_device_and_driver(small: Page) -> None:
    small.choose("device", "02:00")
    assert [bar["device"] for bar in small.bars()] == ["0000:02:00.0"]
    assert small.text("#shown") == "3 of 9 probes"
    small.choose("device", "")
    small.choose("driver", "nvme")
    assert len(small.bars()) == 3


@needs_browser
def test_zoom_by_button_wheel_keys_and_drag(small: Page) -> None:
    def span() -> float:
        view = small.ask("numaprobe.view()")
        return view["to"] - view["from"]

    whole = span()
    small.press("#zoom-in")
    assert span() == pytest.approx(0.6 * whole)
    small.press("#fit")
    assert span() == pytest.approx(whole)
    x, y = small.point("0000:01:00.0")
    small.browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-300, modifiers=2)
    assert span() < 0.8 * whole
    small.press("#fit")
    for kind, at in (("mousePressed", x), ("mouseMoved", x + 100), ("mouseReleased", x + 100)):
        small.browser.mouse(kind, at, y, button="left", buttons=1, clickCount=1)
    assert small.ask("numaprobe.view().from") < -0.02 * whole
    assert span() == pytest.approx(whole)
    small.press("#fit")
    for kind, at in (("mousePressed", x), ("mouseMoved", x + 100), ("mouseReleased", x + 100)):
        small.browser.mouse(kind, at, y, button="left", buttons=1, clickCount=1, modifiers=8)
    assert span() < 0.2 * whole
    small.press(".panel:nth-child(2) button")
    assert span() < 0.5 * whole
    small.ask("document.querySelector('.chart').focus()")
    small.browser.key("0")
    assert span() == pytest.approx(whole)
    small.browser.key("+")
    assert span() == pytest.approx(0.7 * whole)


@needs_browser
def test_keys_walk_the_probes(small: Page) -> None:
    small.ask("document.querySelector('.chart').focus()")
    small.browser.key("n")
    assert "0000:01:00.0" in small.text("#tip")
    small.browser.key("n")
    assert "0000:02:00.0" in small.text("#tip")
    small.browser.key("p")
    assert "0000:01:00.0" in small.text("#tip")


@needs_browser
def test_equal_runs_are_drawn_once_with_a_row_each(browser: Browser, tmp_path: Path) -> None:
    again = [replace(s.nvme_before(), policy=name) for name in ("one", "two")]
    write_html(compare([again[0], s.nvme_after(), again[1]], "one"), tmp_path / "equal.html")
    page = Page(browser, tmp_path / "equal.html")
    assert page.ask("document.querySelectorAll('.panel').length") == 2
    assert page.ask("document.querySelectorAll('#overview tr').length") == 4
    assert "the same under two" in page.text(".panel")
    assert page.text(".finding .runs") == "one, two"
    page.press(".finding")
    assert len(page.ask("numaprobe.highlighted(0)")) == 3
    assert browser.complaints() == []


@needs_browser
def test_a_click_on_a_finding_shows_its_bars(small: Page) -> None:
    small.press(".finding")
    assert small.ask("numaprobe.highlighted(0)") == ["0000:01:00.0", "0000:02:00.0", "0000:03:00.0"]
    assert small.ask("document.querySelector('.finding').getAttribute('aria-pressed')") == "true"
    small.press(".finding")
    assert small.ask("numaprobe.highlighted(0)") == []


@needs_browser
def test_dark_mode_changes_the_ground_and_the_drawing(small: Page) -> None:
    before = small.ask("getComputedStyle(document.body).backgroundColor")
    small.press("#theme")
    assert small.ask("getComputedStyle(document.body).backgroundColor") != before
    assert small.pixels() > 20
    assert small.browser.complaints() == []


@needs_browser
def test_hostile_names_are_shown_as_text(browser: Browser, tmp_path: Path) -> None:
    write_html(hostile_comparison(), tmp_path / "hostile.html")
    page = Page(browser, tmp_path / "hostile.html")
    page.browser.mouse("mouseMoved", *page.point(HOSTILE))
    assert "</script><script>window.evil = 1</script>" in page.text("#tip")
    assert page.ask("typeof window.evil") == "undefined"
    assert page.ask("document.images.length") == 0
    assert browser.complaints() == []


@needs_browser
def test_whatever_a_source_leaves_out_is_drawn(browser: Browser, tmp_path: Path) -> None:
    """Nothing but a duration; no duration; a CPU of no node; 10^18 ns; a name of 200 characters."""
    probes = [
        ProbeRecord(device="bare", driver="x", cost_ns=10**6),
        s.probe("none", cost_ns=0, cpu=None, cpu_node=None, comm=None),
        s.probe("far", start_ns=10**18, cost_ns=10**9, running_ns=1, runnable_ns=1, sleeping_ns=10**9 - 2),
        s.probe("lost", device_node=-1, cpu=9999, cpu_node=-1, attempt=3, nested=True, memory={}),
        s.probe("n" * 200, caller_cpu=3, cost_ns=10**12),
    ]
    write_html(compare([s.trace(*probes), s.trace()]), tmp_path / "odd.html")
    page = Page(browser, tmp_path / "odd.html")
    assert len(page.bars()) == 5
    page.ask("document.querySelector('.chart').focus()")
    for _ in probes:
        browser.key("n")
        assert "unknown" in page.text("#tip") or "node" in page.text("#tip")
        browser.key("Enter")
    assert browser.complaints() == []


@needs_browser
def test_the_browser_lays_out_rows_as_the_picture_does(browser: Browser, tmp_path: Path) -> None:
    """Two witnesses for the rows: the page's script, and the module that draws SVG."""
    trace = s.many(400, cpus=8)
    write_html(compare([trace]), tmp_path / "rows.html")
    page = Page(browser, tmp_path / "rows.html")
    tops = {bar["device"]: bar["top"] for bar in page.bars()}
    for lane in lanes(trace):
        heights = sorted({tops[bar.record.device] for bar in lane.bars})
        assert len(heights) == lane.rows
        assert all(heights.index(tops[bar.record.device]) == bar.row for bar in lane.bars)


@needs_browser
def test_five_thousand_probes_are_drawn_and_answer(browser: Browser, tmp_path: Path) -> None:
    write_html(compare([s.many(5000), s.many(5000, per_cpu=True)]), tmp_path / "big.html")
    page = Page(browser, tmp_path / "big.html")
    assert page.text("#shown") == "10000 probes"
    assert page.pixels(0) > 20
    page.choose("node", "1")
    assert page.text("#shown") == "5000 of 10000 probes"
    draw = "document.querySelector('.chart').dispatchEvent(new Event('scroll'))"
    elapsed = page.ask(f"(() => {{ const t = performance.now(); for (let i = 0; i < 10; i++) {draw};"
                       " return (performance.now() - t) / 10; })()")  # fmt: skip
    assert elapsed < 100
    assert browser.complaints() == []


def test_the_page_says_for_which_lock_a_probe_waited_and_who_had_it() -> None:
    waits = tuple(LockWait(f"lock{index}", "0000:02:00.0" if index else None, 2, 1000, 600) for index in range(10))
    told = ProbeRecord(device="a", driver="nvme", cost_ns=10**6, waits=waits)
    silent = ProbeRecord(device="b", driver="nvme", cost_ns=10**6)
    _, data = read(html_page(compare([Trace(source="kernel", probes=(told, silent))])))
    (total, more, first, second, *_), none = (probe[-2] for probe in data["traces"][0]["probes"])
    assert (total, more, none) == (10_000, 2, None)
    assert first == [data["strings"].index("lock0"), None, 2, 1000]
    assert [data["strings"][second[0]], data["strings"][second[1]]] == ["lock1", "0000:02:00.0"]


@needs_browser
def test_a_bar_says_for_whom_its_probe_waited(browser: Browser, tmp_path: Path) -> None:
    wait = LockWait("acpi_ex_enter_interpreter", "0000:02:00.0", 3, 5 * 10**6, 2 * 10**6)
    trace = s.nvme_before()
    waiting = replace(trace.probes[0], waits=(wait,), lock_wait_ns=wait.wait_ns)
    write_html(compare([replace(trace, probes=(waiting, *trace.probes[1:]))]), tmp_path / "waits.html")
    page = Page(browser, tmp_path / "waits.html")
    page.browser.mouse("mouseMoved", *page.point(waiting.device))
    assert "acpi_ex_enter_interpreter" in page.text("#tip")
    assert "5.000 ms in 3, held by 0000:02:00.0" in page.text("#tip")
