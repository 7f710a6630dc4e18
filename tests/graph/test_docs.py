"""Every snippet of docs/graph.md runs, in order."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "graph.md"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyG's own, about packages beside it
def test_the_snippets_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert len(snippets) > 8
    names: dict[str, object] = {}
    for number, snippet in enumerate(snippets):
        if "pyg" in snippet and not find_spec("torch_geometric"):
            continue
        # Our own page, and running it is the test.
        exec(compile(snippet, f"snippet {number} of {PAGE.name}", "exec"), names)
