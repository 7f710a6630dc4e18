"""What the browser tests share: where to go, what is listed, what was seen."""

import re
from pathlib import Path

from playwright.sync_api import Page, expect

SCREENSHOTS = Path(__file__).parents[3] / "build" / "screenshots"


def open_page(page: Page, address: str) -> None:
    """Go to an address within the page, as a link does."""
    page.evaluate("hash => { location.hash = hash }", address)


def entities(page: Page, label: str) -> list[str]:
    """Where the entities in the list under a heading lead, once it has come. Names need not be unique."""
    section = page.get_by_role("region", name=label)
    expect(section.locator(".list:not([aria-busy=true]) .entity-link").first).to_be_visible()
    expect(section.locator(".list .row", has_not=page.locator(".entity-link"))).to_have_count(0)
    return [link.get_attribute("href") or "" for link in section.locator(".entity-link").all()]


def keep_screenshot(page: Page, name: str) -> None:
    """Keep what is on screen as `build/screenshots/NAME.png`."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    file_name = re.sub(r"\W+", "-", name).strip("-")
    page.screenshot(path=SCREENSHOTS / f"{file_name}.png")
