"""The page that is committed is the one that its sources make, and loads nothing from elsewhere."""

import hashlib
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
EXPLORER = ROOT / "explorer"
STATIC = ROOT / "src" / "omnisage" / "serve" / "static"
TOP = ["index.html", "package-lock.json", "package.json", "tsconfig.json", "vite.config.ts"]


def test_the_committed_page_was_built_from_the_sources() -> None:
    paths = [EXPLORER / name for name in TOP] + [path for path in (EXPLORER / "src").rglob("*") if path.is_file()]
    sums = {path.relative_to(EXPLORER).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    lines = "".join(f"{sums[name]} {name}\n" for name in sorted(sums))
    built_from = (STATIC / "sources.sha256").read_text().strip()
    assert built_from == hashlib.sha256(lines.encode()).hexdigest(), "explorer/ has changed: run `make explorer`"


def test_every_file_that_the_page_names_is_there_and_no_other() -> None:
    assets = {path.name for path in (STATIC / "assets").iterdir()}
    text = "".join(path.read_text() for path in STATIC.rglob("*") if path.suffix in (".html", ".js", ".css"))
    assert assets == {name for name in assets if name in text}
    named = set(re.findall(r"\./assets/([\w.-]+)", (STATIC / "index.html").read_text()))
    assert named <= assets


def test_the_page_has_no_inline_script_or_style() -> None:
    html = (STATIC / "index.html").read_text()
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", html))
    assert "<style" not in html
    assert not re.search(r"\s(style|on\w+)=", html)


def test_the_built_code_names_no_other_host() -> None:
    for path in (STATIC / "assets").glob("*.js"):
        hosts = set(re.findall(r"https?://([\w.-]+)", path.read_text()))
        # Namespaces, and places that comments and messages refer to
        assert hosts <= {"www.w3.org", "en.wikipedia.org"}, f"{path.name} names {hosts}"


def test_the_lock_file_names_no_registry() -> None:
    assert '"resolved"' not in (EXPLORER / "package-lock.json").read_text()
