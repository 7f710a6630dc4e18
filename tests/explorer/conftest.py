"""The real service over a small world, and a real browser that looks at it.

Needs Debian's package `chromium`, or CHROMIUM set to a browser of its kind; without one these tests are skipped. What
each test saw last is kept in `build/screenshots/`.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from learning_world import TINY

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
# No sandbox: tests may run as root. The rest keeps the browser from asking its maker's servers at every start, and
# lets it draw without a graphics card.
FLAGS = [
    *("--no-sandbox", "--no-first-run", "--disable-quic", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
]
NUM_STEPS = 6
WAIT_S = 60


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if path is None:
        pytest.skip("needs a browser: apt-get install chromium, or set CHROMIUM to the path of one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def service(browser: Browser, world: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `omnisage serve` over a finished workspace."""
    workspace = tmp_path_factory.mktemp("explored")
    fields = [*TINY, f"training.num_steps={NUM_STEPS}", "evaluation.num_bootstrap=100", "evaluation.ks=[10]"]
    options = ["--workspace", str(workspace), *(part for field in fields for part in ("--set", field))]
    omnisage = [sys.executable, "-m", "omnisage"]
    done = subprocess.run([*omnisage, "run", world, *options], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    log = workspace / "serve.log"
    with log.open("w") as out:
        server = subprocess.Popen([*omnisage, "serve", world, *options, "--port", "0"], stderr=out, stdout=out)
    try:
        yield _address(server, log)
    finally:
        server.terminate()
        server.wait(timeout=30)


def _address(server: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(10 * WAIT_S):
        if found := re.search(r"running on (http://\S+)", log.read_text()):
            return found[1]
        try:
            server.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
        break
    raise AssertionError(f"the service did not start: {log.read_text()}")


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
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"\W+", "-", request.node.name).strip("-")
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page="#/map" not in page.url)
    assert problems == []


def _note_refused(problems: list[str], text: str) -> None:
    """The browser says in the console what the Content-Security-Policy forbade."""
    if "Content Security Policy" in text:
        problems.append(text)


def _note_foreign(problems: list[str], service: str, url: str) -> None:
    if not url.startswith((service, "blob:", "data:")):
        problems.append(f"asked {url}")
