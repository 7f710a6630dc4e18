"""New artifacts replace old ones while requests run, and only if they can be served."""

import json
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import httpx2 as httpx
import pytest
from serving import refusal, serving

from omnisage.config import load_config
from omnisage.errors import OmnisageError
from omnisage.pipeline import Job
from omnisage.runner import run_one
from omnisage.serve.state import open_served


@pytest.fixture
def own_job(job: Job, tmp_path: Path) -> Job:
    """The run in a folder of its own, and with a seed that the next run trains with."""
    shutil.copytree(job.base, tmp_path / "run")
    return replace(job, base=tmp_path / "run", workspace=tmp_path / "run" / "workspace")


def train_again(job: Job) -> None:
    """Other weights, so other embeddings, by the stages that make them."""
    config = job.config.model_copy(update={"training": job.config.training.model_copy(update={"learning_rate": 0.05})})
    for stage in ("training", "embeddings", "index"):
        run_one(replace(job, config=config), stage)


def test_a_reload_under_requests_loses_none_and_mixes_nothing(own_job: Job) -> None:
    body = {"type": "item", "id": 1000, "k": 5}
    answers: list[tuple[int, str]] = []
    with serving(own_job.workspace, reload_every_s=0) as client:
        old = json.dumps(client.post("/v1/similar", json=body).json())
        stop = threading.Event()

        def ask() -> None:
            with httpx.Client(base_url=client.base_url, trust_env=False) as own:
                while not stop.is_set():
                    answer = own.post("/v1/similar", json=body)
                    answers.append((answer.status_code, json.dumps(answer.json())))

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        assert client.post("/v1/reload").json()["reloaded"] is False
        train_again(own_job)  # replaces the files that are being served
        assert json.dumps(client.post("/v1/similar", json=body).json()) == old
        reloaded = client.post("/v1/reload").json()
        new = json.dumps(client.post("/v1/similar", json=body).json())
        time.sleep(0.05)
        stop.set()
        for thread in threads:
            thread.join()
        assert reloaded["reloaded"] is True
        assert client.get("/v1/info").json()["embeddings"] == reloaded["embeddings"]
    assert new != old
    assert {status for status, _ in answers} == {200}
    texts = [text for _, text in answers]
    assert set(texts) <= {old, new}


def test_what_does_not_belong_together_is_not_served_and_the_old_stays(own_job: Job) -> None:
    with serving(own_job.workspace) as client:
        before = client.get("/v1/info").json()
        again = own_job.config.training.model_copy(update={"learning_rate": 0.05})
        run_one(replace(own_job, config=own_job.config.model_copy(update={"training": again})), "training")
        manifest = own_job.workspace / "index" / "manifest.json"
        manifest.write_text(manifest.read_text() + " ")
        answer = client.post("/v1/reload")
        assert refusal(answer) == (409, "not_servable")
        assert "made from other training" in answer.json()["error"]["message"]
        assert client.get("/v1/info").json() == before
        assert "omnisage_reloads_refused 1.0" in client.get("/metrics").text


def test_new_artifacts_are_noticed(own_job: Job) -> None:
    with serving(own_job.workspace, reload_every_s=0.05) as client:
        before = client.get("/v1/info").json()["embeddings"]
        train_again(own_job)
        for _ in range(200):
            if client.get("/v1/info").json()["embeddings"] != before:
                break
            time.sleep(0.05)
        else:
            pytest.fail("the new embeddings are not served after 10 s")


def test_a_workspace_without_a_stage_says_what_to_run(own_job: Job) -> None:
    shutil.rmtree(own_job.workspace / "index")
    with pytest.raises(OmnisageError, match="run `omnisage index` first"):
        open_served("world", own_job.workspace)


def test_the_config_of_the_service_is_checked_with_the_rest(job: Job) -> None:
    with pytest.raises(OmnisageError, match=r"serve\.limits\.k"):
        load_config(job.base / "omnisage.yaml", ["serve.limits.k=0"])
    with pytest.raises(OmnisageError, match="did you mean 'reload_every_s'"):
        load_config(job.base / "omnisage.yaml", ["serve.reload_every=1"])
