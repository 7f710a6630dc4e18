"""The page for everyone: names and contrast by axe-core, narrow screens, no jumps while it loads."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from exploring import keep_screenshot, open_page
from playwright.sync_api import Page, expect

WIDE_LIGHT = {"viewport": {"width": 1280, "height": 860}, "color_scheme": "light"}
NARROW_DARK = {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"}
both_windows = pytest.mark.parametrize("context", [WIDE_LIGHT, NARROW_DARK], ids=["wide", "narrow"], indirect=True)
# By address, what is there once the page has come.
PAGES = {
    "#/": ".cards .entity-link",
    "#/entity/item/1001?why=item%2F1005": ".row .bar",
    "#/users?events=1001,1002": ".bar",
    "#/map?type=item&color=labels&at=item%2F1001": ".selected .bar",
    "#/health": ".histogram",
    "#/elsewhere": "h1",
}
# The share of the window that may move while a page comes, as browsers measure it; "good" is below 0.1.
MAX_SHIFT = 0.1


def come(page: Page, address: str) -> None:
    open_page(page, address)
    expect(page.locator(PAGES[address]).first).to_be_visible(timeout=30_000)
    expect(page.locator(".skeleton")).to_have_count(0)


def check_access(page: Page) -> None:
    found = Axe().run(page, options={"resultTypes": ["violations"]})
    assert found.violations_count == 0, f"{page.url}: {found.generate_report()}"
    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider <= 0, f"{page.url} is {wider} pixels wider than its window"


@both_windows
def test_every_page_has_names_landmarks_and_contrast_and_fits(page: Page, request: pytest.FixtureRequest) -> None:
    for address in PAGES:
        come(page, address)
        check_access(page)
        keep_screenshot(page, f"{request.node.callspec.id} {address}")


@both_windows
def test_the_open_search_has_names_and_contrast(page: Page) -> None:
    page.get_by_role("combobox", name="Search for an entity").fill("creator")
    expect(page.get_by_role("option").first).to_be_visible()
    check_access(page)


@both_windows
def test_nothing_jumps_while_a_card_comes(page: Page) -> None:
    page.add_init_script(
        "window.shift = 0; new PerformanceObserver(list => list.getEntries().forEach(entry => {"
        " if (!entry.hadRecentInput) window.shift += entry.value })).observe({type: 'layout-shift', buffered: true})"
    )
    page.goto(page.url.split("#")[0] + "?again#/entity/item/1001")
    expect(page.locator("[aria-labelledby=neighborhood] .bar").first).to_be_visible()
    page.wait_for_timeout(200)
    assert page.evaluate("window.shift") < MAX_SHIFT


def test_keys_alone_reach_everything_in_order(page: Page) -> None:
    expect(page.get_by_role("heading", name="world")).to_be_visible()
    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText")
        )
    assert reached == ["Skip to the content", "omnisage", "Search for an entity", "Map", "Users", "Health"]
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="Health")).to_be_visible()
    expect(page.locator("#main")).to_be_focused()
