"""What people do on the page, in a real browser against the real service: search, click, ask why, recommend."""

import io
import re

import pytest
from exploring import entities, open_page
from PIL import Image
from playwright.sync_api import Page, Route, expect

from world import NUM_ITEMS


def texts(page: Page, selector: str) -> list[str]:
    return [text.strip() for text in page.locator(selector).all_inner_texts()]


def test_the_first_page_names_every_type(page: Page) -> None:
    expect(page.get_by_role("heading", name="world")).to_be_visible()
    assert sorted(texts(page, ".cards h2")) == ["creator", "item", "tag"]


def test_a_search_by_keys_opens_the_card(page: Page) -> None:
    expect(page.get_by_role("heading", name="world")).to_be_visible()
    field = page.get_by_role("combobox", name="Search for an entity")
    for _ in range(250):  # a busy machine shows the heading before it listens to keys
        if field.evaluate("field => field === document.activeElement"):
            break
        page.keyboard.press("/")
        page.wait_for_timeout(20)
    expect(field).to_be_focused()
    page.keyboard.type("creator 7")
    expect(page.get_by_role("option").first).to_contain_text("creator 7")
    expect(field).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    assert field.get_attribute("aria-activedescendant") == page.get_by_role("option").first.get_attribute("id")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("creator 7 (")
    expect(page).to_have_url(re.compile(r"#/entity/creator/creator%207$"))
    expect(page).to_have_title(re.compile(r"^creator 7 .* · world$"))


def test_a_search_says_when_nothing_is_found_and_closes_by_escape(page: Page) -> None:
    page.get_by_role("combobox", name="Search for an entity").fill("no such thing")
    expect(page.get_by_text("Nothing found for “no such thing”.")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_text("Nothing found")).to_be_hidden()


def test_a_card_shows_columns_edges_and_the_nearest_of_each_type(page: Page) -> None:
    open_page(page, "#/entity/item/1001")
    card = page.get_by_role("article")
    expect(card).to_contain_text("group 1")
    expect(card.get_by_role("region", name="Edges")).to_contain_text("tagged")
    items = entities(page, "Nearest")
    assert len(items) == 12
    assert "#/entity/item/1001" not in items
    scores = [float(text.replace("−", "-")) for text in texts(page, "[aria-labelledby=nearest] .value")]  # noqa: RUF001
    assert scores == sorted(scores, reverse=True)
    page.get_by_role("tab", name="item").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", selected=True)).to_have_text("creator")
    expect(page).to_have_url(re.compile("to=creator"))
    expect(page.get_by_role("tabpanel").locator(".entity-link").first).to_contain_text(re.compile("creator"))


def test_the_neighborhood_has_weights_that_sum_to_one(page: Page) -> None:
    open_page(page, "#/entity/item/1001")
    section = page.get_by_role("region", name="Neighborhood")
    expect(section.get_by_text("itself")).to_be_visible()
    more = section.get_by_role("button", name="Show all")
    if more.is_visible():
        more.click()
    weights = [float(text.rstrip("%")) for text in texts(page, "[aria-labelledby=neighborhood] .value")]
    assert len(weights) > 3
    assert sum(weights) == pytest.approx(100, abs=0.06 * len(weights))


def test_why_two_are_near_is_told_and_has_an_address(page: Page) -> None:
    open_page(page, "#/entity/item/1001")
    page.get_by_role("button", name=re.compile("^Why")).first.click()
    reasons = page.get_by_role("region", name=re.compile("^Why .* is near"))
    expect(reasons).to_contain_text("Score")
    told = reasons.inner_text()
    page.reload()
    expect(reasons).to_have_text(told, use_inner_text=True)
    page.get_by_role("button", name=re.compile("^Why"), expanded=True).click()
    expect(reasons).to_be_hidden()


def test_a_click_leads_on_and_the_way_back_leads_back(page: Page) -> None:
    open_page(page, "#/entity/item/1001")
    nearest = entities(page, "Nearest")[0]
    page.get_by_role("region", name="Nearest").locator(f"[href='{nearest}']").click()
    expect(page.locator(".kind")).to_have_text(f"item {nearest.removeprefix('#/entity/item/')}")
    page.go_back()
    expect(page.locator(".kind")).to_have_text("item 1001")


def test_what_is_clicked_together_changes_the_recommendations(page: Page) -> None:
    open_page(page, "#/users")
    first = entities(page, "Recommended next")[0]
    page.get_by_role("button", name="to the history").first.click()
    assert entities(page, "History") == [first]
    expect(page.get_by_role("region", name="Recommended next").locator(".value").first).to_be_visible()
    before = entities(page, "Recommended next")
    assert len(before) == 15
    assert first not in before
    page.get_by_role("button", name="to the history").nth(4).click()
    expect(page.get_by_role("button", name="Remove")).to_have_count(2)
    assert entities(page, "History") == [before[4], first]
    assert before[4] not in entities(page, "Recommended next")
    page.get_by_label("Action on").first.select_option(index=1)
    expect(page).to_have_url(re.compile("events=.*(save|view)"))
    page.get_by_role("button", name="Remove").first.click()
    page.get_by_role("button", name="Remove").first.click()
    expect(page.get_by_text("Nothing yet.")).to_be_visible()


def test_a_known_user_is_chosen_and_gone_on_from(page: Page) -> None:
    open_page(page, "#/users")
    page.get_by_role("combobox", name=re.compile("users$")).click()
    page.get_by_role("option").first.click()
    known = entities(page, "History")
    assert len(entities(page, "Recommended next")) == 15
    page.get_by_role("button", name="Go on from here").click()
    expect(page.get_by_role("button", name="Remove")).to_have_count(len(known))
    assert entities(page, "History") == known


def test_health_measures_every_type(page: Page) -> None:
    open_page(page, "#/health")
    expect(page.get_by_role("heading", name="item 120", exact=True)).to_be_visible(timeout=60_000)
    cards = page.locator(".cards > li")
    assert cards.count() == 3
    for card in cards.all():
        expect(card).to_contain_text("effective rank")
        expect(card.get_by_role("img").last).to_have_attribute("aria-label", re.compile("^lists an entity is in: "))
    expect(page.get_by_role("region", name="Recall by degree")).to_contain_text("times in training")
    expect(page.get_by_role("region", name="Drift")).to_contain_text("No earlier version")
    assert "NaN" not in page.locator("main").inner_text()


def test_an_address_of_nothing_says_so(page: Page) -> None:
    open_page(page, "#/entity/item/5")
    expect(page.get_by_role("alert")).to_contain_text("5")
    open_page(page, "#/elsewhere")
    expect(page.get_by_text("Nothing is at this address.")).to_be_visible()


def test_a_service_that_is_gone_is_named_and_tried_again(page: Page) -> None:
    page.route("**/v1/similar", lambda route: route.abort())
    open_page(page, "#/entity/item/1001")
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer.")
    page.unroute("**/v1/similar")
    page.get_by_role("button", name="Try again").click()
    assert len(entities(page, "Nearest")) == 12


def test_what_is_not_ready_is_waited_for(page: Page) -> None:
    asked: list[str] = []

    def once(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) > 1:
            return route.continue_()
        error = {"error": {"code": "in_preparation", "message": "the report is being made", "remedy": "wait"}}
        return route.fulfill(status=503, headers={"Retry-After": "1"}, json=error)

    page.route("**/v1/health-report", once)
    open_page(page, "#/health")
    expect(page.get_by_text("The report is being made.")).to_be_visible()
    expect(page.get_by_text("The report is being made.")).to_be_hidden()


def test_the_map_is_linked_as_soon_as_it_is_made(page: Page) -> None:
    made: list[bool] = []

    def info(route: Route) -> None:
        answer = route.fetch()
        return route.fulfill(response=answer, json=answer.json() | ({} if made else {"map": []}))

    page.route("**/v1/info", info)
    page.clock.install()
    page.reload()
    expect(page.get_by_role("link", name="Health")).to_be_visible()
    expect(page.get_by_role("link", name="Map", exact=True)).to_be_hidden()
    made.append(True)
    page.clock.run_for(11_000)
    expect(page.get_by_role("link", name="Map", exact=True)).to_be_visible()


def test_an_entity_with_an_image_shows_it(page: Page) -> None:
    def entity(route: Route) -> None:
        answer = route.fetch()
        return route.fulfill(response=answer, json=answer.json() | {"image": "/v1/image?type=item&id=1001"})

    png = io.BytesIO()
    Image.new("RGB", (3, 2), "teal").save(png, "png")
    page.route("**/v1/entity?*", entity)
    page.route("**/v1/image?*", lambda route: route.fulfill(body=png.getvalue(), content_type="image/png"))
    open_page(page, "#/entity/item/1001")
    image = page.get_by_role("article").get_by_role("img")
    expect(image).to_have_js_property("naturalWidth", 3)
    expect(image).to_have_attribute("alt", page.get_by_role("heading", level=1).inner_text())


def test_a_service_with_a_token_asks_for_it(page: Page) -> None:
    def guarded(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer open sesame":
            return route.continue_()
        error = {"error": {"code": "unauthorized", "message": "A token is needed.", "remedy": ""}}
        return route.fulfill(status=401, json=error)

    page.route("**/v1/**", guarded)
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("A token is needed.")
    page.get_by_label("Token").fill("open sesame")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="world")).to_be_visible()


def test_the_number_of_entities_is_that_of_the_tables(page: Page) -> None:
    card = page.locator(".cards > li").filter(has=page.get_by_role("heading", name="item"))
    expect(card).to_contain_text(f"{NUM_ITEMS} entities")
