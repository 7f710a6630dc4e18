"""The map in a real browser: every entity is a point, under the pointer it has a name, a click opens its card."""

import re
from urllib.parse import unquote

import pytest
from exploring import open_page
from playwright.sync_api import Page, expect

from world import NUM_CREATORS, NUM_ITEMS, NUM_TAGS


def open_map(page: Page, options: str, num_points: int) -> None:
    open_page(page, f"#/map?{options}")
    expect(page.locator(".canvas")).to_have_attribute("data-drawn", str(num_points), timeout=30_000)


def find_point(page: Page) -> None:
    """Move the pointer over the map until it is at a point."""
    box = page.locator(".surface").bounding_box()
    assert box is not None
    for row in range(8, 32):
        for column in range(4, 36):
            page.mouse.move(box["x"] + box["width"] * column / 40, box["y"] + box["height"] * row / 40)
            if page.locator(".hint").is_visible():
                return
    raise AssertionError("nowhere on the map is a point")


def test_all_entities_are_points_and_each_type_has_a_color(page: Page) -> None:
    open_map(page, "", NUM_ITEMS + NUM_CREATORS + NUM_TAGS)
    expect(page.get_by_text("200 points")).to_be_visible()
    legend = page.locator(".legend button")
    expect(legend).to_have_count(3)
    expect(legend.first).to_have_text(f"item {NUM_ITEMS}")
    assert len({dot.evaluate("dot => dot.style.background") for dot in page.locator(".legend .dot").all()}) == 3


def test_a_point_is_named_under_the_pointer_and_opened_by_a_click(page: Page) -> None:
    open_map(page, "type=item", NUM_ITEMS)
    find_point(page)
    hint = page.locator(".hint")
    expect(hint).not_to_contain_text("…")
    name = hint.inner_text().split("\n")[0].removesuffix(" item").strip()
    page.mouse.down()
    page.mouse.up()
    chosen = page.get_by_role("complementary", name="Chosen on the map")
    expect(chosen.get_by_role("heading", level=1)).to_have_text(name)
    address = page.url
    assert re.search(r"at=item/1\d{3}$", unquote(address))
    chosen.get_by_role("region", name="Nearest").get_by_role("link").first.click()
    expect(page).not_to_have_url(address)
    chosen.get_by_role("button", name="Close").click()
    expect(chosen).to_be_hidden()


def test_keys_move_the_map_and_open_what_is_in_the_middle(page: Page) -> None:
    open_map(page, "type=tag", NUM_TAGS)
    page.get_by_role("application").focus()
    page.keyboard.press("+")
    page.keyboard.press("-")
    page.keyboard.press("Enter")
    chosen = page.get_by_role("complementary", name="Chosen on the map")
    expect(chosen.get_by_role("heading", level=1)).to_be_visible()


@pytest.mark.parametrize(("column", "shown"), [("labels", "no value"), ("price", None)])
def test_points_are_colored_by_a_column(page: Page, column: str, shown: str | None) -> None:
    open_map(page, "type=item", NUM_ITEMS)
    plain = page.locator(".surface canvas").screenshot()
    page.get_by_label("Color").select_option(column)
    if shown is None:
        expect(page.locator(".gradient")).to_be_visible()
    else:
        expect(page.locator(".legend")).to_contain_text(shown)
    page.wait_for_timeout(200)  # until it is drawn
    colored = page.locator(".surface canvas").screenshot()
    assert colored != plain
    if shown is not None:
        page.get_by_role("button", name=re.compile("group")).first.click()
        expect(page.locator("[aria-pressed=false]")).to_have_count(1)
        page.wait_for_timeout(200)
        assert page.locator(".surface canvas").screenshot() != colored


def test_a_card_leads_to_its_point(page: Page) -> None:
    open_page(page, "#/entity/item/1003")
    page.get_by_role("link", name="Show on the map").click()
    expect(page.locator(".canvas")).to_have_attribute("data-drawn", str(NUM_ITEMS), timeout=30_000)
    expect(page.get_by_role("complementary", name="Chosen on the map").locator(".kind")).to_have_text("item 1003")
