"""Images, encoded texts and segments of a pair log, from the config through training to embeddings and status."""

from pathlib import Path
from typing import Any

import model2vec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

from learning_world import TINY
from omnisage.config import load_config
from omnisage.pipeline import STAGES, Job
from omnisage.runner import inspect, run_stale
from omnisage.tables.artifact import VectorArrays, open_tables
from omnisage.training.artifact import open_trained
from world import NUM_ITEMS, community, world_config, world_tables

STAGES_TO_EMBEDDINGS = STAGES[:5]
SHADES = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30)]


def write_posters(folder: Path) -> list[str | None]:
    """A picture per item in the color of its community, and their paths; every sixth item has none."""
    folder.mkdir()
    paths: list[str | None] = []
    for item in range(NUM_ITEMS):
        shade = np.array(SHADES[community(item)]) + np.random.default_rng(item).integers(-30, 31, size=(12, 8, 3))
        Image.fromarray(shade.clip(0, 255).astype(np.uint8)).save(folder / f"{item}.png")
        paths.append(None if item % 6 == 0 else f"posters/{item}.png")
    return paths


def write_words(folder: Path) -> None:
    """A model2vec table of six random numbers per word of the world."""
    titles = world_tables()["items.parquet"]["title"].to_pylist()
    words = ["[UNK]", *sorted({word for title in titles for word in title.split()})]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    vectors = np.random.default_rng(0).normal(size=(len(words), 6)).astype(np.float32)
    model2vec.StaticModel(vectors, tokenizer, config={"model_type": "model2vec"}).save_pretrained(folder)


def alike() -> pa.Table:
    """Items of one community, as promoted pairs, and any two as plain ones."""
    random = np.random.default_rng(0)
    one, other = random.integers(NUM_ITEMS, size=(2, 200))
    promoted = np.arange(200) % 2 == 0
    other = np.where(promoted, other - other % 4 + one % 4, other)
    segments = np.where(promoted, "promoted", "plain")
    return pa.table({"one": 1000 + one, "other": 1000 + other, "segment": segments})


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The world with posters, encoded titles and a pair log in two segments, run up to the embeddings."""
    folder = tmp_path_factory.mktemp("encoded")
    tables = world_tables()
    posters = write_posters(folder / "posters")
    tables["items.parquet"] = tables["items.parquet"].append_column("poster", pa.array(posters))
    tables["alike.parquet"] = alike()
    for name, table in tables.items():
        pq.write_table(table, folder / name)
    write_words(folder / "words")
    config: dict[str, Any] = world_config()
    config["entities"]["item"]["features"] |= {
        "poster": {"kind": "image", "column": "poster"},
        "meaning": {"kind": "text", "columns": ["title"], "encoder": "words"},
    }
    ends = {"source": {"entity": "item", "column": "one"}, "target": {"entity": "item", "column": "other"}}
    weights = {"segment_weights": {"promoted": 2.0}}
    config["pairs"]["alike"] = {"table": "alike.parquet", **ends, "segment": "segment", **weights}
    (folder / "omnisage.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    made = Job(load_config(folder / "omnisage.yaml", TINY), folder, folder / "workspace")
    run_stale(made, stages=STAGES_TO_EMBEDDINGS)
    return made


def test_images_and_encoded_texts_are_features_of_the_model_and_of_its_feature_task(job: Job) -> None:
    trained = open_trained(job.folder("training"))
    features = trained.description.types["item"].features
    assert [(features[name].kind, features[name].size) for name in ("poster", "meaning")] == [
        ("vector", 290),
        ("vector", 7),
    ]
    assert trained.entity_feature is not None
    assert {"poster", "meaning", "title"} <= set(trained.entity_feature.encoders["item"])
    weight = trained.model.embedders.feature_encoders["item"].own["poster"].linear.weight
    assert weight.shape[1] == 290


def test_only_items_with_a_poster_are_asked_for_by_their_poster(job: Job) -> None:
    found = np.load(job.folder("embeddings") / "features" / "item" / "poster.ids.npy")
    assert found.tolist() == [item for item in range(NUM_ITEMS) if item % 6 != 0]
    assert np.load(job.folder("embeddings") / "features" / "item" / "meaning.ids.npy").tolist() == list(
        range(NUM_ITEMS)
    )


def test_posters_of_a_community_are_near_each_other(job: Job) -> None:
    poster = open_tables(job.folder("tables")).features["item"]["poster"]
    assert isinstance(poster, VectorArrays)
    rows = np.flatnonzero(poster.present)
    distances = np.linalg.norm(poster.values[rows, None] - poster.values[rows], axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = rows[distances.argmin(axis=1)]
    assert np.mean(nearest % 4 == rows % 4) > 0.95


def test_the_manifest_has_the_segments(job: Job) -> None:
    segments = open_tables(job.folder("tables")).manifest.counts["pairs"]["alike"]["segments"]
    assert segments == [{"name": "plain", "weight": 1.0}, {"name": "promoted", "weight": 2.0}]


def test_status_knows_of_changed_images_and_encoders(job: Job) -> None:
    def reason() -> str | None:
        return inspect(job, STAGES_TO_EMBEDDINGS)[0].reason

    assert reason() is None
    path = job.base / "posters" / "1.png"
    content = path.read_bytes()
    path.write_bytes((job.base / "posters" / "2.png").read_bytes())
    assert reason() == "input images of item.poster changed"
    path.write_bytes(content)
    assert reason() is None
    config = job.base / "words" / "config.json"
    content = config.read_bytes()
    config.write_bytes(content + b"\n")
    assert reason() == "input text encoder words changed"
    config.write_bytes(content)
    assert reason() is None
