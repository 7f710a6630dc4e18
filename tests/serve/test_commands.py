"""`omnisage serve` and `omnisage explain`, as users type them."""

import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import httpx2 as httpx
import pytest
from serving import OVERRIDES

from omnisage.errors import OmnisageError
from omnisage.explain_command import print_explanation
from omnisage.explorer_command import run_explorer
from omnisage.pipeline import Job


@pytest.mark.slow
def test_the_command_serves_makes_the_map_and_ends_when_told_to(job: Job, tmp_path: Path) -> None:
    shutil.copytree(job.base, tmp_path / "run", ignore=shutil.ignore_patterns("explorer"))
    changes = [word for change in OVERRIDES for word in ("--set", change)]
    command = [sys.executable, "-m", "omnisage", "serve", str(tmp_path / "run" / "omnisage.yaml"), "--port", "0"]
    with subprocess.Popen([*command, *changes], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            lines = (re.search(r"running on (http://[\d.:]+)", line) for line in process.stderr)
            address = next(found[1] for found in lines if found)
            with httpx.Client(base_url=address, trust_env=False) as client:
                wait_for_map(client)
                assert client.get("/v1/info").json()["map"] == ["creator", "item", "tag"]
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) in (0, -signal.SIGTERM)
        finally:
            process.kill()


def wait_for_map(client: httpx.Client) -> None:
    for _ in range(600):
        if (answer := client.get("/v1/map")).status_code == 200:
            return
        assert answer.json()["error"]["code"] == "in_preparation"
        time.sleep(0.2)
    pytest.fail("no map after two minutes")


def test_explanations_are_tables(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_explanation(workspace, ("item", "1004"), None)
    shown = capsys.readouterr().out
    assert "of its attention, the mean of 2 heads" in shown
    for word in ("own (constant)", "own title", "importance", "linked by"):
        assert word in shown
    print_explanation(workspace, ("item", "1004"), ("item", "1008"))
    shown = capsys.readouterr().out
    assert "score" in shown
    assert "both have labels: group 0" in shown
    with pytest.raises(OmnisageError, match="has no id 'x'"):
        print_explanation(workspace, ("item", "x"), None)


def test_the_map_is_made_again_only_where_it_is_stale(job: Job, tmp_path: Path) -> None:
    shutil.copytree(job.base, tmp_path / "run")
    own = replace(job, base=tmp_path / "run", workspace=tmp_path / "run" / "workspace")
    assert run_explorer(own).seconds is None
    manifest = own.workspace / "embeddings" / "manifest.json"
    manifest.write_text(manifest.read_text() + " ")
    assert run_explorer(own).seconds is not None
