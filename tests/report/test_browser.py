"""The page in a real browser: it draws every chart without a word in the console, fetches nothing, sorts, follows a
dark screen, a phone and a printer, and speaks to a screen reader. Skipped where there is no Chromium."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lqmf.report.page import render
from lqmf.report.report import page as page_of
from tests.report.shelf import EVIL, full

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("there is no Chromium: `apt install chromium`", allow_module_level=True)
playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright drives the browser: `pip install playwright`"
)

CHARTS = 9  # size, speed, memory, two artifacts' layers, kinds of text, answers, history, predictions


@dataclass
class Opened:
    """A page, and what it said and asked for beyond itself."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("report")
    path = root / "report.html"
    path.write_text(render(page_of(full(root).data())), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Any, report: Path) -> Iterator[Callable[..., Opened]]:
    contexts = []

    def open_it(wait: bool = True, **options: Any) -> Opened:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.on("console", lambda message: opened.said.append(message.text))
        opened.page.on("pageerror", lambda error: opened.said.append(str(error)))
        opened.page.on("dialog", lambda dialog: (opened.said.append(dialog.message), dialog.dismiss()))

        def refuse(route: Any) -> None:
            if route.request.url == report.as_uri():
                route.continue_()
            else:
                opened.asked.append(route.request.url)
                route.abort()

        context.route("**/*", refuse)
        opened.page.goto(report.as_uri())
        if wait:
            opened.page.wait_for_selector(f'html[data-drawn="{CHARTS}"]')
        return opened

    yield open_it
    for context in contexts:
        context.close()


def column(page: Any, table: str, title: str) -> list[str | None]:
    """What the cells of a column are sorted by, from top to bottom."""
    return page.evaluate(  # type: ignore[no-any-return]
        """([table, title]) => {
            const found = document.getElementById(table);
            const at = [...found.tHead.rows[0].cells].findIndex((head) => head.innerText.trim().startsWith(title));
            return [...found.tBodies[0].rows].map((row) => row.cells[at].dataset.sort ?? null);
        }""",
        [table, title],
    )


# ---------------------------------------------------------------- drawing


def test_every_chart_is_drawn_with_its_marks_and_nothing_is_said_or_fetched(open_page: Callable[..., Opened]) -> None:
    opened = open_page()
    drawn = opened.page.evaluate(
        """() => [...document.querySelectorAll('.chart')].map((chart) => [chart.id,
            ...['.points path, .hm image', 'svg.main-svg'].map((what) => chart.querySelectorAll(what).length)])"""
    )
    assert len(drawn) == CHARTS
    assert all(marks > 0 and drawings > 0 for _, marks, drawings in drawn), drawn
    assert opened.said == []
    assert opened.asked == []


def test_a_hostile_name_is_text_wherever_it_stands(open_page: Callable[..., Opened]) -> None:
    opened = open_page()
    assert opened.page.evaluate("document.querySelectorAll('img, iframe, object').length") == 0
    legend = opened.page.locator("#chart-size .legendtext").all_text_contents()
    assert any(f"{EVIL}, gguf" in text for text in legend), legend
    assert EVIL in opened.page.locator("#artifacts-table").inner_text()
    assert opened.said == []


def test_a_script_that_was_not_written_with_the_page_does_not_run(open_page: Callable[..., Opened]) -> None:
    opened = open_page()
    opened.page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'window.intruded = true';
            document.body.append(script);
        }"""
    )
    assert opened.page.evaluate("window.intruded === undefined")
    assert any("Content Security Policy" in text for text in opened.said)


def test_without_javascript_every_figure_is_still_there(open_page: Callable[..., Opened]) -> None:
    opened = open_page(wait=False, java_script_enabled=False)
    assert opened.page.locator("tbody tr").count() > 100
    assert "need JavaScript" in opened.page.locator("noscript").inner_text()


# ---------------------------------------------------------------- sorting


def test_a_click_on_a_heading_sorts_and_says_so_and_what_is_missing_stays_last(
    open_page: Callable[..., Opened],
) -> None:
    page = open_page().page
    heading = page.locator("#artifacts-table th", has_text="KL divergence")
    before = column(page, "artifacts-table", "KL divergence")
    assert heading.get_attribute("aria-sort") is None
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    rising = column(page, "artifacts-table", "KL divergence")
    known = [float(value) for value in rising if value is not None]
    assert known == sorted(known)
    assert rising[-1] is None
    assert rising != before
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    falling = column(page, "artifacts-table", "KL divergence")
    assert falling == [*reversed(rising[:-1]), None]


def test_sorting_works_by_keyboard_and_one_heading_at_a_time(open_page: Callable[..., Opened]) -> None:
    page = open_page().page
    page.locator("#artifacts-table th", has_text="KL divergence").get_by_role("button").click()
    page.locator("#artifacts-table th", has_text="artifact").get_by_role("button").focus()
    page.keyboard.press("Enter")
    names = column(page, "artifacts-table", "artifact")
    assert names == sorted(names, key=str)
    assert page.locator("#artifacts-table th[aria-sort]").count() == 1


# ---------------------------------------------------------------- screens and paper


def look(page: Any) -> dict[str, str]:
    """The colours of the ground, of words, and of a chart's words and points."""
    return page.evaluate(  # type: ignore[no-any-return]
        """() => {
            const of = (selector, name) => getComputedStyle(document.querySelector(selector))[name];
            return { ground: of('html', 'backgroundColor'), words: of('h1', 'color'),
                     tick: of('#chart-size .xtick text', 'fill'), point: of('#chart-size .points path', 'fill') };
        }"""
    )


def test_a_dark_screen_is_followed_by_page_and_charts_also_when_it_changes(open_page: Callable[..., Opened]) -> None:
    light, dark = open_page(color_scheme="light").page, open_page(color_scheme="dark").page
    seen = look(light), look(dark)
    assert all(seen[0][name] != seen[1][name] for name in seen[0]), seen
    light.emulate_media(color_scheme="dark")
    light.wait_for_function(
        "fill => getComputedStyle(document.querySelector('#chart-size .xtick text')).fill === fill", arg=seen[1]["tick"]
    )
    assert look(light) == seen[1]


def test_on_a_phone_nothing_is_wider_than_the_screen(open_page: Callable[..., Opened]) -> None:
    page = open_page(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True).page
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    widths = page.evaluate("[...document.querySelectorAll('.chart svg.main-svg')].map((svg) => svg.clientWidth)")
    assert widths
    assert max(widths) <= 390
    assert page.evaluate(
        "[...document.querySelectorAll('th button, nav a, summary')].every((each) => each.clientHeight >= 24 || "
        "each.getBoundingClientRect().height >= 24)"
    )


def test_on_paper_it_is_light_whole_and_as_wide_as_the_sheet(open_page: Callable[..., Opened]) -> None:
    page = open_page(color_scheme="dark").page
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.wait_for_function("() => document.querySelector('#chart-size svg.main-svg').clientWidth === 660")
    assert page.evaluate("[...document.querySelectorAll('details')].every((each) => each.open)")
    assert look(page)["ground"] == "rgb(255, 255, 255)"
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    page.wait_for_function("() => document.querySelector('#chart-size svg.main-svg').clientWidth > 900")
    pdf = page.pdf(prefer_css_page_size=True)
    assert pdf.startswith(b"%PDF")
    sheets = re.findall(rb"/MediaBox \[0 0 (\d+)[\d.]* (\d+)", pdf)
    upright = [int(width) < int(height) for width, height in sheets]
    assert True in upright
    assert False in upright  # tables of many columns lie on their side
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 690, "height": 980})
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    assert page.evaluate("[...document.querySelectorAll('.scroll:not(.wide)')].every((e) => e.scrollWidth <= 690)")
    page.set_viewport_size({"width": 1010, "height": 690})
    assert page.evaluate("[...document.querySelectorAll('.scroll.wide')].every((e) => e.scrollWidth <= 1010)")


# ---------------------------------------------------------------- by ear


def test_a_screen_reader_hears_headings_in_order_and_every_chart_in_words(open_page: Callable[..., Opened]) -> None:
    page = open_page().page
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map((each) => Number(each.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
    assert page.get_by_role("img").count() == CHARTS
    chart = page.get_by_role("img", name="Chart: Size against loss")
    caption = page.locator(f"#{chart.get_attribute('aria-describedby')}").inner_text()
    assert caption.startswith("14 artifacts by the size of the file")
    assert page.evaluate("[...document.querySelectorAll('table')].every((each) => each.caption.textContent.length > 3)")
    assert page.evaluate("document.querySelectorAll('th:not([scope])').length") == 0
    assert page.get_by_role("button", name="KL divergence").count() >= 1


def test_a_dash_leads_to_the_reason_why_there_is_no_figure(open_page: Callable[..., Opened]) -> None:
    page = open_page().page
    link = page.locator("#artifacts-table tr", has_text="org_gone").locator("sup a").first
    reason = page.locator(link.get_attribute("href"))
    assert reason.inner_text() == "its source, org/gone, is not on this machine"
    assert reason.inner_text() in link.get_attribute("aria-label")
