"""Image features of the `tables` stage: from paths or bytes to vectors, each image encoded once."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_making import pixels, to_file, write_images
from PIL import Image
from tables_building import build_tables, file_bytes, parse, run_stage

from omnisage.datasets import convert
from omnisage.errors import OmnisageError
from omnisage.tables import encode
from omnisage.tables.artifact import VectorArrays, open_tables
from omnisage.tables.images import decode, statistics
from omnisage.tables.inputs import hash_inputs

SEEDS = {"a.png": 1, "b.png": 2, "c.png": 3}


def config(**options: Any) -> dict[str, Any]:
    features = {"poster": {"kind": "image", "column": "poster", **options}}
    return {"entities": {"item": {"table": "items.parquet", "id": "id", "features": features}}}


def items(posters: list[Any], kind: pa.DataType | None = None) -> dict[str, pa.Table]:
    table = pa.table({"id": pa.array(range(len(posters)), pa.int64()), "poster": pa.array(posters, kind)})
    return {"items.parquet": table}


def poster(out: Path) -> VectorArrays:
    feature = open_tables(out).features["item"]["poster"]
    assert isinstance(feature, VectorArrays)
    return feature


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The contents that the built-in encoder is asked for from now on."""
    asked: list[bytes] = []
    load = encode.load_image_encoder

    def load_counting(encoder: Any) -> Callable[..., Any]:
        inner = load(encoder)

        def counting(contents: list[bytes], pool: Any) -> Any:
            asked.extend(contents)
            return inner(contents, pool)

        return counting

    monkeypatch.setattr(encode, "load_image_encoder", load_counting)
    return asked


def test_vectors_are_those_of_the_encoder_centered_and_scaled_and_null_is_missing(tmp_path: Path) -> None:
    write_images(tmp_path / "posters", SEEDS)
    names = ["a.png", None, "b.png", "c.png", "a.png"]
    out = build_tables(tmp_path, items([name and f"posters/{name}" for name in names]), config())
    rows = [i for i, name in enumerate(names) if name]
    raw = np.stack([statistics(Image.fromarray(pixels(SEEDS[name]))) for name in names if name]).astype(np.float64)
    centered = raw - raw.mean(axis=0)
    feature = poster(out)
    np.testing.assert_allclose(feature.values[rows], centered / np.sqrt(np.mean(centered**2)), atol=1e-5)
    assert feature.values[1].tolist() == [0.0] * 289
    assert feature.present.tolist() == [True, False, True, True, True]
    counts = open_tables(out).manifest.counts["features"]["item"]["poster"]
    std = pytest.approx(np.sqrt(np.mean(centered**2)))
    assert counts == {"kind": "image", "width": 289, "std": std, "unreadable": 0}


def test_paths_absolute_paths_and_bytes_give_the_same_files(tmp_path: Path) -> None:
    write_images(tmp_path / "elsewhere", SEEDS)
    columns = {
        "paths": [f"../elsewhere/{name}" for name in SEEDS] + [None],
        "absolute": [str(tmp_path / "elsewhere" / name) for name in SEEDS] + [None],
        "bytes": [(tmp_path / "elsewhere" / name).read_bytes() for name in SEEDS] + [None],
    }
    found = [
        file_bytes(build_tables(tmp_path / name, items(column), config()) / "features")
        for name, column in columns.items()
    ]
    assert found[0] == found[1] == found[2]


def test_equal_images_are_encoded_once_and_later_runs_encode_what_is_new(tmp_path: Path, encoded: list[bytes]) -> None:
    write_images(tmp_path, SEEDS | {"again.png": 1})
    build_tables(tmp_path, items(["a.png", "b.png", "again.png", "a.png"]), config())
    assert sorted(encoded) == sorted((tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
    encoded.clear()
    out = build_tables(tmp_path, items(["a.png", "b.png", "again.png", "c.png"]), config())
    assert encoded == [(tmp_path / "c.png").read_bytes()]
    encoded.clear()
    run_stage(tmp_path, config())
    assert encoded == []

    write_images(tmp_path / "anew", SEEDS | {"again.png": 1})
    anew = build_tables(tmp_path / "anew", items(["a.png", "b.png", "again.png", "c.png"]), config())
    assert len(encoded) == 3
    assert file_bytes(out / "features") == file_bytes(anew / "features")


@pytest.mark.parametrize("of_bytes", [False, True])
def test_files_do_not_depend_on_the_number_of_threads(tmp_path: Path, of_bytes: bool) -> None:
    folders = [tmp_path / "one", tmp_path / "four"]
    for folder, num_threads in zip(folders, (1, 4), strict=True):
        write_images(folder, {f"{i}.png": i for i in range(20)})
        names = [f"{i}.png" for i in range(20)]
        column = [(folder / name).read_bytes() for name in names] if of_bytes else names
        build_tables(folder, items(column), config(), num_threads=num_threads)
    one, four = (file_bytes(folder / "workspace" / "tables" / "features") for folder in folders)
    assert one == four


def test_an_interrupted_run_keeps_what_it_has_encoded(
    tmp_path: Path, encoded: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{i}.png" for i in range(12)]
    write_images(tmp_path, {name: i for i, name in enumerate(names)})
    monkeypatch.setitem(encode._CHUNKS, "image", 1)
    counting = encode.load_image_encoder

    def load_interrupted(encoder: Any) -> Callable[..., Any]:
        inner = counting(encoder)

        def interrupted(contents: list[bytes], pool: Any) -> Any:
            if len(encoded) == 5:
                raise KeyboardInterrupt
            return inner(contents, pool)

        return interrupted

    with monkeypatch.context() as patched:
        patched.setattr(encode, "load_image_encoder", load_interrupted)
        with pytest.raises(KeyboardInterrupt):
            build_tables(tmp_path, items(names), config())
    assert not (tmp_path / "workspace" / "tables").exists()
    done = set(encoded)
    encoded.clear()
    run_stage(tmp_path, config())
    assert len(done) == 5
    assert len(encoded) == 7
    assert done.isdisjoint(encoded)


@pytest.mark.parametrize("damage", [lambda content: content[:-3], lambda _: b"", lambda _: b"x" * 99])
def test_a_damaged_file_of_the_cache_is_made_again(
    tmp_path: Path, encoded: list[bytes], damage: Callable[[bytes], bytes]
) -> None:
    write_images(tmp_path, SEEDS)
    out = build_tables(tmp_path, items(list(SEEDS)), config())
    before = file_bytes(out / "features")
    (stored,) = (tmp_path / "workspace" / "encoded").rglob("*.safetensors")
    whole = stored.read_bytes()
    stored.write_bytes(damage(whole))
    (stored.parent / "half.tmp").write_bytes(b"of a killed run")
    encoded.clear()
    run_stage(tmp_path, config())
    assert len(encoded) == 3
    assert file_bytes(out / "features") == before
    assert stored.read_bytes() == whole


def test_unreadable_images_are_all_named_with_row_and_reason(tmp_path: Path, encoded: list[bytes]) -> None:
    write_images(tmp_path, SEEDS)
    (tmp_path / "page.html").write_text("<html>")
    names = ["a.png", "page.html", "gone.png", "b.png", None]
    message = (
        r"^entities\.item\.features\.poster\.column: items\.parquet has 2 rows with an image that cannot be read "
        r"\(id=1, poster='page\.html', why='it is no image of a known format'; "
        r"id=2, poster='gone\.png', why='No such file or directory'\); correct the rows, .*unreadable: missing"
    )
    with pytest.raises(OmnisageError, match=message):
        build_tables(tmp_path, items(names), config())
    assert not (tmp_path / "workspace" / "tables.partial").exists()
    encoded.clear()
    out = run_stage(tmp_path, config(unreadable="missing"))
    assert encoded == [b"<html>"]  # what could be read has been kept
    assert poster(out).present.tolist() == [True, False, False, True, False]
    assert open_tables(out).manifest.counts["features"]["item"]["poster"]["unreadable"] == 2


def test_unreadable_bytes_are_named_by_their_row(tmp_path: Path) -> None:
    column = [to_file(pixels(1)), b"", to_file(pixels(2))[:100]]
    with pytest.raises(
        OmnisageError, match=r"has 2 rows with an image that cannot be read \(id=1, why='it is no image"
    ):
        build_tables(tmp_path, items(column), config())
    out = run_stage(tmp_path, config(unreadable="missing"))
    assert poster(out).present.tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (items([1, 2]), r"features\.poster\.column: items\.parquet has type int64 in column 'poster'; images"),
        (items([None, None], pa.string()), r"item\.features\.poster: items\.parquet has no image in any row; fill"),
        ({"items.parquet": pa.table({"id": [1]})}, r"poster\.column: in items\.parquet there is no column 'poster'"),
    ],
)  # fmt: skip
def test_columns_without_images_are_refused(tmp_path: Path, tables: dict[str, pa.Table], message: str) -> None:
    with pytest.raises(OmnisageError, match=message):
        build_tables(tmp_path, tables, config())


def test_the_inputs_change_with_the_content_of_an_image_and_with_nothing_else(tmp_path: Path) -> None:
    write_images(tmp_path, SEEDS)
    build_tables(tmp_path, items(["a.png", "b.png", "a.png", "gone.png"]), config(unreadable="missing"))

    def hashes() -> dict[str, str]:
        return hash_inputs(parse(config()), tmp_path, tmp_path / "workspace")

    before = hashes()
    assert set(before) == {"items.parquet", "image encoder built-in", "images of item.poster"}
    (tmp_path / "c.png").write_bytes(b"not in the table")
    os.utime(tmp_path / "a.png", (1, 1))
    assert hashes() == before
    (tmp_path / "gone.png").write_bytes(b"here now")
    found = hashes()
    assert {name for name in before if found[name] != before[name]} == {"images of item.poster"}
    (tmp_path / "gone.png").unlink()
    (tmp_path / "a.png").write_bytes(to_file(pixels(9)))
    assert hashes()["images of item.poster"] != before["images of item.poster"]


def test_hashes_of_images_that_have_not_changed_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path, SEEDS)
    build_tables(tmp_path, items(list(SEEDS)), config())
    (tmp_path / "b.png").write_bytes(to_file(pixels(7)))
    read: list[str] = []
    monkeypatch.setattr("omnisage.tables.digests.file_sha256", lambda path: read.append(path.name) or "0" * 64)
    hash_inputs(parse(config()), tmp_path, tmp_path / "workspace")
    assert read == ["b.png"]
    (tmp_path / "workspace" / "encoded" / "files.parquet").write_bytes(b"damaged")
    hash_inputs(parse(config()), tmp_path, tmp_path / "workspace")
    assert read == ["b.png", "a.png", "b.png", "c.png"]


def test_real_posters_are_read_and_encoded(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "ml-latest-small"
    if not list(source.glob("posters*.zip")):
        pytest.skip(f"needs posters*.zip in {source}")
    convert("movielens_latest_small", source, tmp_path)
    movies = pq.read_table(tmp_path / "movies.parquet")
    assert movies["poster"].type == pa.binary()
    present = [image is not None for image in movies["poster"].to_pylist()]
    assert sum(present) == 2863
    some = movies.slice(0, 400).select(["movie_id", "poster"]).rename_columns(["id", "poster"])
    feature = poster(build_tables(tmp_path / "run", {"items.parquet": some}, config()))
    assert feature.present.tolist() == present[:400]
    rows = np.flatnonzero(feature.present)
    assert len(rows) > 100
    raw = np.stack([statistics(decode(image.as_py())) for image in some["poster"] if image.is_valid]).astype(np.float64)
    centered = raw - raw.mean(axis=0)
    np.testing.assert_allclose(feature.values[rows], centered / np.sqrt(np.mean(centered**2)), atol=1e-4)


def test_an_encoder_that_gives_no_numbers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path, SEEDS)
    broken = np.full(4, np.nan, np.float32)
    monkeypatch.setattr(encode, "load_image_encoder", lambda _: lambda *_: ((i, broken) for i in range(3)))
    with pytest.raises(OmnisageError, match=r"features\.poster\.encoder: built-in gives values that are not finite"):
        build_tables(tmp_path, items(list(SEEDS)), config())
