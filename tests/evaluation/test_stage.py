"""The stage end to end on a small run: its files, its report, and what it refuses."""

import dataclasses
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from small_run import write_run

from omnisage.artifact import Plan
from omnisage.errors import OmnisageError
from omnisage.evaluation.artifact import open_evaluation, summary_rows
from omnisage.evaluation.categories import Categories
from omnisage.evaluation.config import EvaluationConfig
from omnisage.evaluation.report.html import figure
from omnisage.evaluation.report.training_section import read_training_log
from omnisage.evaluation.stage import run
from omnisage.projection import balanced_sizes, project
from omnisage.tables.artifact import open_tables

CONFIG = EvaluationConfig(
    ks=[3, 10], num_random_candidates=5, num_popular_candidates=5, num_bootstrap=100, num_examples=2, max_projected=100
)


def evaluate_into(
    out: Path, folders: dict[str, Path], num_threads: int = 1, baselines: dict[str, Path] | None = None
) -> Path:
    run(CONFIG, Plan("evaluation", {}, 0, {}), out, num_threads=num_threads, baselines=baselines, **folders)
    return out


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, folders: dict[str, Path]) -> Path:
    return evaluate_into(tmp_path_factory.mktemp("out") / "evaluation", folders)


class Page(HTMLParser):
    """Collects what a browser would see: anchors, links, addresses, figures, and the text."""

    void = frozenset({"meta", "link", "br", "img"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.addresses: list[str] = []
        self.figures: list[dict[str, object]] = []
        self.text = ""
        self.open: list[str] = []
        self._kind = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag not in self.void:
            self.open.append(tag)
        self._kind = found.get("type") or "" if tag == "script" else ""
        self.anchors |= {found["id"] or ""} if "id" in found else set()
        self.links += [found["href"] or ""] if tag == "a" else []
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href") and tag != "a"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            if self._kind == "application/json":
                self.figures.append(json.loads(data))
        elif self.open and self.open[-1] != "style":
            self.text += data


def test_the_artifact_opens_and_holds_every_number(evaluated: Path) -> None:
    assert sorted(path.name for path in evaluated.iterdir()) == [
        "downstream_values.parquet",
        "manifest.json",
        "metrics.json",
        "report.html",
        "unit_values.parquet",
    ]
    evaluation = open_evaluation(evaluated)
    stored = json.loads((evaluated / "metrics.json").read_text())
    assert evaluation.as_json() == stored
    assert evaluation.downstream_values is not None
    for record in evaluation.downstream:
        if " - " not in record.method:
            of = evaluation.downstream_values.filter(pc.field("method") == record.method)[record.metric]
            assert (len(of), pc.mean(of).as_py()) == (record.num_units, pytest.approx(record.value))
    assert stored["part"] == "test"
    assert set(stored["records"][0]) == {field.name for field in dataclasses.fields(evaluation.records[0])}


def test_the_summary_has_a_row_per_task_with_the_interval_and_the_ratio(evaluated: Path) -> None:
    headers, rows = summary_rows(evaluated)
    assert headers[:3] == ["task", "queries", "recall@3 of model"]
    assert headers[-1] == "x item-kNN"
    assert all(len(row) == len(headers) for row in rows)
    assert [row[0] for row in rows] == [
        "user, next: user -> film",
        "user, future: user -> film",
        "pairs: film -> film",
        "pairs: film -> person",
        "pairs: person -> film",
        "feature: film.kind",
    ]
    assert rows[-1][-2:] == ["-", "-"]
    model, knn = float(rows[0][2]), float(rows[0][5])
    assert float(rows[0][-1]) == pytest.approx(model / knn, abs=0.06)


def test_the_report_needs_no_network_and_its_links_lead_somewhere(evaluated: Path) -> None:
    page = Page((evaluated / "report.html").read_text())
    assert page.open == []
    assert page.addresses == []
    anchors = "results slices beyond downstream data training map nearest users smaller graph"
    assert page.links == [f"#{anchor}" for anchor in anchors.split()]
    assert {link[1:] for link in page.links} <= page.anchors
    assert len(page.figures) >= 9  # two of results, three of training, two maps, three of degrees


def test_names_of_the_data_are_escaped_everywhere(evaluated: Path) -> None:
    html = (evaluated / "report.html").read_text()
    assert "</script><b>Film" not in html
    page = Page(html)
    assert "</script><b>Film & 3" in page.text
    hover = json.dumps(page.figures)
    assert "&lt;/script&gt;&lt;b&gt;Film &amp; 3" in hover


def test_an_entity_that_has_only_an_id_is_shown_with_what_it_is_linked_with(evaluated: Path) -> None:
    page = Page((evaluated / "report.html").read_text())
    assert re.search(r"p\d \(Film \d+; Film \d+; \d+ more\)", page.text)


def test_the_report_is_the_same_for_one_and_two_threads(
    evaluated: Path, folders: dict[str, Path], tmp_path: Path
) -> None:
    again = evaluate_into(tmp_path / "evaluation", folders, num_threads=2)
    for name in ("metrics.json", "report.html", "unit_values.parquet", "downstream_values.parquet"):
        assert (again / name).read_bytes() == (evaluated / name).read_bytes()


def test_a_baseline_stands_in_numbers_table_and_report_where_it_has_vectors(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    some = tmp_path / "pinsage"
    shutil.copytree(folders["embeddings"], some)
    for name in ("person", "tag"):
        (some / "entities" / f"{name}.npy").unlink()
    evaluated = evaluate_into(tmp_path / "evaluation", folders, baselines={"pinsage": some})
    evaluation = open_evaluation(evaluated)
    values = {(r.task, r.name, r.regime, r.metric, r.method): r.value for r in evaluation.records}
    assert {name for _, name, _, _, method in values if method == "pinsage"} == {
        "user -> film",
        "film -> film",
        "film.kind",
    }
    assert all(value == values[*row, "model"] for (*row, method), value in values.items() if method == "pinsage")
    assert all(r.value == r.low == r.high == 0 for r in evaluation.differences if r.method == "model - pinsage")
    headers, texts = summary_rows(evaluated)
    column = headers.index("PinSage")
    assert [row[column] != "-" for row in texts] == [True, True, True, False, False, True]
    page = Page((evaluated / "report.html").read_text())
    assert page.open == []
    assert "PinSage" in page.text


def test_a_baseline_that_is_damaged_or_of_other_tables_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    some = tmp_path / "pinsage"
    shutil.copytree(folders["embeddings"], some)
    films = some / "entities" / "film.npy"
    np.save(films, np.load(films)[:5])
    with pytest.raises(
        OmnisageError, match=r"hold 5 vectors for the 24 .* 'film'; run `omnisage baseline pinsage --force`"
    ):
        evaluate_into(tmp_path / "evaluation", folders, baselines={"pinsage": some})
    films.write_bytes(films.read_bytes()[:-4])
    with pytest.raises(
        OmnisageError, match=r"baseline 'pinsage': .*film\.npy is damaged .* `omnisage baseline pinsage"
    ):
        evaluate_into(tmp_path / "evaluation", folders, baselines={"pinsage": some})


def test_an_index_of_other_embeddings_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", seed=1)
    plan = json.loads((other["index"] / "manifest.json").read_text())
    plan["plan"]["inputs"]["embeddings"] = "0" * 64
    (other["index"] / "manifest.json").write_text(json.dumps(plan))
    with pytest.raises(OmnisageError, match="was built from other embeddings"):
        evaluate_into(tmp_path / "evaluation", {**folders, "index": other["index"]})
    assert not (tmp_path / "evaluation").exists()


def test_a_damaged_metrics_file_is_refused(folders: dict[str, Path], evaluated: Path, tmp_path: Path) -> None:
    for name in ("manifest.json", "metrics.json"):
        (tmp_path / name).write_bytes((evaluated / name).read_bytes())
    (tmp_path / "metrics.json").write_text((evaluated / "metrics.json").read_text()[:-100])
    with pytest.raises(OmnisageError, match=r"metrics.json is damaged .* run `omnisage evaluation` again"):
        open_evaluation(tmp_path)
    (tmp_path / "metrics.json").write_bytes((evaluated / "metrics.json").read_bytes())
    (tmp_path / "unit_values.parquet").write_bytes((evaluated / "unit_values.parquet").read_bytes()[:-100])
    with pytest.raises(OmnisageError, match=r"unit_values.parquet is damaged .* run `omnisage evaluation` again"):
        open_evaluation(tmp_path)


def test_every_record_is_the_mean_of_the_values_of_its_units(evaluated: Path, folders: dict[str, Path]) -> None:
    evaluation = open_evaluation(evaluated)
    assert evaluation.records
    values = evaluation.unit_values.to_pylist()
    for record in (record for record in evaluation.records if record.slice == "all"):
        of_units = [
            row[record.metric]
            for row in values
            if (row["task"], row["name"], row["regime"], row["method"])
            == (record.task, record.name, record.regime, record.method)
        ]
        assert len(of_units) == record.num_units
        assert sum(of_units) / len(of_units) == pytest.approx(record.value)
    names = {row["unit"] for row in values if row["task"] == "user_entity_next"}
    assert names <= set(open_tables(folders["tables"]).user_ids("user").cast("string").to_pylist())


def test_the_training_log_is_read_with_what_is_finite_and_a_number(folders: dict[str, Path], tmp_path: Path) -> None:
    log = read_training_log(folders["training"] / "metrics.jsonl")
    assert [line["step"] for line in log] == [20, 40, 60, 80, 100]
    assert set(log[2]) == {"step", "user_recall@10"}
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"loss": 2}\n')
    with pytest.raises(OmnisageError, match=r"metrics.jsonl, line 2: .*step"):
        read_training_log(tmp_path / "metrics.jsonl")


def test_places_in_the_picture_are_shared_evenly() -> None:
    assert balanced_sizes([10, 500, 900], 600) == [10, 295, 295]
    assert balanced_sizes([3, 4], 100) == [3, 4]
    assert balanced_sizes([50, 50, 50], 100) == [33, 33, 34]


def test_the_picture_keeps_planted_groups_apart_and_is_the_same_twice() -> None:
    random = np.random.default_rng(0)
    centers = random.normal(size=(3, 8))
    group = np.repeat(np.arange(3), 40)
    vectors = (centers[group] + 0.05 * random.normal(size=(120, 8))).astype(np.float32)
    points = project(vectors, seed=0)
    np.testing.assert_array_equal(points, project(vectors, seed=0))
    distances = np.linalg.norm(points[:, None] - points[None], axis=2) + 1e9 * np.eye(120)
    assert (group[distances.argmin(axis=1)] == group).mean() > 0.95


def test_an_entity_takes_the_color_of_its_rarest_common_category() -> None:
    from omnisage.baselines.lists import Lists

    rows = [[0], [0, 1], [0, 2], [], [3], [0, 1]]
    categories = Categories(
        "kind", ["drama", "war", "noir", "western"], Lists.of([np.array(r, np.uint32) for r in rows])
    )
    groups = categories.groups_of(np.arange(6), num_groups=4)
    assert groups == ["drama", "war", "drama", "(none)", "(other)", "war"]
    assert categories.text_of(1) == "drama, war"


def test_a_figure_cannot_be_left_through_its_data() -> None:
    html = figure([{"name": "</script><script>alert(1)"}], {}, height=100)
    assert html.count("<script") == 1
    assert Page(html).figures[0]["data"] == [{"name": "</script><script>alert(1)"}]
