"""The real service over a small world, and a real browser that looks at it.

Needs Debian's package `chromium`, or CHROMIUM set to a browser of its kind; without one these tests are skipped. What
each test saw last is kept in `build/screenshots/`.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from exploring import keep_screenshot
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from serving import serving

# No sandbox: tests may run as root. The rest keeps the browser from asking its maker's servers at every start, and
# lets it draw without a graphics card.
FLAGS = [
    *("--no-sandbox", "--no-first-run", "--disable-quic", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = shutil.which(os.environ.get("CHROMIUM", "chromium"))
    if path is None:
        pytest.skip("needs a browser: apt-get install chromium, or set CHROMIUM to the path of one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def service(browser: Browser, workspace: Path) -> Iterator[str]:
    """The address of a service over the small world."""
    with serving(workspace) as client:
        yield str(client.base_url)


@pytest.fixture
def context(browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """A wide, light window; `@pytest.mark.parametrize("context", [...], indirect=True)` for another."""
    options = {"viewport": {"width": 1280, "height": 860}, "color_scheme": "light"} | getattr(request, "param", {})
    context = browser.new_context(**options, reduced_motion="reduce")
    context.set_default_timeout(15_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, service: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of the service that may ask nobody else, and throws nothing that is not caught."""
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: _note_refused(problems, message.text))
    page.on("request", lambda asked: _note_foreign(problems, service, asked.url))
    page.goto(service)
    yield page
    keep_screenshot(page, request.node.name)
    assert problems == []


def _note_refused(problems: list[str], text: str) -> None:
    """The browser says in the console what the Content-Security-Policy forbade."""
    if "Content Security Policy" in text:
        problems.append(text)


def _note_foreign(problems: list[str], service: str, url: str) -> None:
    if not url.startswith((service, "blob:", "data:")):
        problems.append(f"asked {url}")
