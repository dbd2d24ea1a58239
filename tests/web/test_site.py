"""The site: no warning, no dead link, nothing from elsewhere; each page in a browser, from files, 400 px wide."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from docs.web.__main__ import build
from docs.web.nav import SECTIONS
from docs.web.stage import DOCS

from browser import CHROMIUM, Browser

if TYPE_CHECKING:
    from pathlib import Path

NARROW = 400


class Page(HTMLParser):
    """What a page leads to, what it is made of, and where in it one can go."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.parts: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors |= {value for key in ("id", "name") if (value := values.get(key))}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"] or "")
        elif tag == "link" and values.get("rel") in ("stylesheet", "icon"):
            self.parts.append(values.get("href") or "")
        elif values.get("src"):
            self.parts.append(values["src"] or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web") / "site"
    assert build(folder) == []
    return folder


def wrong_links(site: Path) -> list[str]:
    """Return every link that leads nowhere, and every part that comes from elsewhere."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    wrong = []
    for path, page in pages.items():
        for link in (*page.links, *page.parts):
            target, _, anchor = unquote(link).partition("#")
            if "://" in target or target.startswith(("/", "mailto:")):
                wrong += [f"{path.name}: {link}"] if link in page.parts or target.startswith("/") else []
                continue
            file = (path.parent / target.partition("?")[0]).resolve() if target else path.resolve()
            if not file.exists() or (anchor and file in pages and anchor not in pages[file].anchors):
                wrong.append(f"{path.name}: {link}")
    return wrong


def test_no_link_is_dead_and_every_page_is_reached(site: Path) -> None:
    assert wrong_links(site) == []
    made = {str(path.relative_to(site).with_suffix("")) for path in site.rglob("*.html")}
    assert {page.stem for page in DOCS.glob("*.md")} <= made
    assert {"cli/numaprobe-compare", "schemas/trace-1", "api/numaprobe.study", "scenario-keys"} <= made
    assert {section.name for section in SECTIONS} <= made
    shown = (site / "index.html").read_text(encoding="utf-8")
    assert all(f'href="{section.name}.html"' in shown for section in SECTIONS)
    assert "driver_async_prob" in (site / "searchindex.js").read_text(encoding="utf-8")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: make tools installs it")
def test_every_page_in_a_browser(site: Path, tmp_path: Path) -> None:
    browser = Browser(tmp_path / "profile", (NARROW, 900))
    try:
        browser.call("Emulation.setDeviceMetricsOverride", width=NARROW, height=900, deviceScaleFactor=1, mobile=False)
        wide = []
        for path in sorted(site.rglob("*.html")):
            browser.open(path)
            width = browser.evaluate("document.documentElement.scrollWidth")
            wide += [f"{path.relative_to(site)}: {width} px"] if width > NARROW else []
        assert wide == []
        assert browser.complaints() == []
        assert [url for url in browser.requests() if not url.startswith(("file:", "data:"))] == []
        found = search(browser, site, "driver_async_probe")
        assert any("advise" in link for link in found), found
        assert search(browser, site, "nothing_of_this_name") == []
    finally:
        browser.close()


def search(browser: Browser, site: Path, words: str) -> list[str]:
    """Return where the site's search leads for these words."""
    browser.call("Page.navigate", url=f"{(site / 'search.html').as_uri()}?q={words}")
    done = "/found|did not match/.test(document.querySelector('#search-results')?.innerText ?? '')"
    for _ in range(600):
        if browser.evaluate(f"document.readyState == 'complete' && {done}"):
            break
        browser.evaluate("new Promise((done) => setTimeout(done, 50))")
    links = "[...document.querySelectorAll('#search-results ul.search a')].map((a) => a.href)"
    return list(browser.evaluate(links))
