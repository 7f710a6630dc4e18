"""Running the service: health, metrics, token, limits, the page's files, shutdown."""

import http.client
import threading
import time
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from fastapi import FastAPI
from serving import refusal, serving

from omnisage.catalog import Catalog
from omnisage.errors import OmnisageError
from omnisage.serve.config import ServeConfig
from omnisage.serve.guard import RateLimit
from omnisage.serve.page import mount_page
from omnisage.serve.server import make_server

TOKEN = "a-token-of-some-length"


def test_health_and_readiness_need_nothing(client: httpx.Client) -> None:
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready"}


def test_metrics_count_requests_by_route_and_not_by_path(client: httpx.Client) -> None:
    for path in ("/v1/info", "/v1/nothing", "/v1/nothing-else"):
        client.get(path)
    text = client.get("/metrics").text
    assert 'omnisage_requests_total{method="GET",path="/v1/info",status="200"}' in text
    assert 'path="other",status="404"' in text
    assert "nothing" not in text
    assert 'omnisage_request_seconds_bucket{le="0.02",path="/v1/info"}' in text


def test_with_a_token_everything_but_health_and_the_page_needs_it(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    with serving(workspace, token_file=str(tmp_path / "token")) as client:
        for wrong in (None, "Bearer", "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"):
            answer = client.get("/v1/info", headers={} if wrong is None else {"Authorization": wrong})
            assert refusal(answer) == (401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert refusal(client.post("/v1/reload")) == (401, "unauthorized")
        assert refusal(client.get("/metrics")) == (401, "unauthorized")
        assert client.get("/health").status_code == client.get("/ready").status_code == 200
        for scheme in ("Bearer", "bearer"):
            assert client.get("/v1/info", headers={"Authorization": f"{scheme} {TOKEN}"}).status_code == 200


@pytest.mark.parametrize("content", ["short", "two words of length", "ünïcödé-ünïcödé-ünïcödé", None])
def test_a_token_that_can_be_guessed_or_not_be_sent_is_refused(
    workspace: Path, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    with pytest.raises(OmnisageError, match=r"serve\.token_file"):
        make_server(ServeConfig(token_file=str(path)), name="world", workspace=workspace, base=workspace.parent)


def test_other_machines_are_not_served_without_a_token(workspace: Path) -> None:
    with pytest.raises(OmnisageError, match="there is no token"):
        make_server(ServeConfig(host="0.0.0.0"), name="world", workspace=workspace, base=workspace.parent)


def test_bodies_beyond_the_limit_are_refused_whether_or_not_they_say_so(workspace: Path) -> None:
    with serving(workspace, limits={"body_bytes": 1000}) as client:
        too_large = (413, "body_too_large")
        headers = {"Content-Type": "application/json"}
        assert refusal(client.post("/v1/similar", content=b" " * 1001, headers=headers)) == too_large
        in_chunks = client.post("/v1/similar", content=(b" " * 100 for _ in range(11)), headers=headers)
        assert refusal(in_chunks) == too_large
        assert client.post("/v1/similar", json={"type": "item", "id": 1000}).status_code == 200
        assert refusal(client.post("/v1/similar", content=b"{", headers=headers)) == (422, "invalid_request")


def test_a_client_that_asks_too_often_is_told_to_wait(workspace: Path) -> None:
    with serving(workspace, limits={"requests_per_s": 0.01, "burst": 3}) as client:
        assert [client.get("/v1/users", params={"sequence": "user"}).status_code for _ in range(3)] == [200] * 3
        answer = client.get("/v1/info")
        assert refusal(answer) == (429, "too_many_requests")
        assert 0 < int(answer.headers["retry-after"]) <= 101
        assert client.get("/health").status_code == 200


def test_the_rate_is_kept_on_average_by_client() -> None:
    now = 0.0
    limit = RateLimit(2.0, 3, clock=lambda: now)
    assert [limit.wait_s("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert limit.wait_s("b") == 0
    now = 0.5
    assert [limit.wait_s("a") for _ in range(2)] == [0, 0.5]
    now = 100.0
    assert [limit.wait_s("a") > 0 for _ in range(4)] == [False, False, False, True]


def test_a_request_that_has_begun_is_finished_at_shutdown(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, values = threading.Event(), Catalog.values

    def slow(catalog: Catalog, entity_type: str, entity: int) -> Any:
        begun.set()
        time.sleep(0.3)
        return values(catalog, entity_type, entity)

    monkeypatch.setattr(Catalog, "values", slow)
    answers: list[int] = []
    with serving(workspace) as client:

        def ask() -> None:
            with httpx.Client(base_url=client.base_url, trust_env=False) as own:
                answers.append(own.get("/v1/entity", params={"type": "item", "id": 1000}).status_code)

        thread = threading.Thread(target=ask)
        thread.start()
        assert begun.wait(10)
    thread.join()
    assert answers == [200]


def test_an_error_of_ours_is_500_without_a_trace(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("omnisage.catalog.Catalog.values", fail)
    answer = client.get("/v1/entity", params={"type": "item", "id": 1000})
    assert refusal(answer) == (500, "internal")
    assert "secret" not in answer.text
    assert "secret detail" in caplog.text


def test_the_page_is_served_with_its_assets_and_nothing_outside_its_folder(workspace: Path, tmp_path: Path) -> None:
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<title>explorer</title>")
    (folder / "assets" / "app-1a2b.js").write_text("1")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    with serving(workspace, page=folder) as client:
        page = client.get("/")
        assert (page.text, page.headers["cache-control"]) == ("<title>explorer</title>", "no-cache")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        script = client.get("/assets/app-1a2b.js")
        assert (script.text, "immutable" in script.headers["cache-control"]) == ("1", True)
        assert client.get("/v1/info").status_code == 200
        assert refusal(client.get("/v1/similar")) == (405, "method_not_allowed")
        assert refusal(client.get("/assets/none.js")) == (404, "not_found")
        raw = http.client.HTTPConnection(client.base_url.host, client.base_url.port)
        for path in (
            "/../secret.txt",
            "/assets/../../secret.txt",
            "/%2e%2e/secret.txt",
            "/assets/..%2f..%2fsecret.txt",
            "//secret.txt",
            f"/{tmp_path}/secret.txt",
            "/link.txt",
            "/%00",
            "/..%5csecret.txt",
        ):
            raw.request("GET", path)
            answer = raw.getresponse()
            assert b"secret" not in answer.read(), path
            assert answer.status in (400, 404), path
        raw.close()


def test_without_a_built_page_there_is_none(tmp_path: Path) -> None:
    app = FastAPI()
    before = len(app.routes)
    mount_page(app, tmp_path)
    assert len(app.routes) == before
