"""Images of entities: small, drawn anew, and only from below the config's folder."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from omnisage.artifact import Plan
from omnisage.serve.images import Images
from omnisage.tables.artifact import open_tables
from omnisage.tables.config import TablesConfig
from omnisage.tables.stage import run


def jpeg(side: int, color: str) -> bytes:
    drawn = io.BytesIO()
    Image.new("RGB", (side, side // 2), color).save(drawn, "JPEG")
    return drawn.getvalue()


def make_images(folder: Path, column: pa.Array) -> Images:
    table = pa.table({"id": pa.array(range(10, 10 + len(column))), "poster": column})
    feature = {"kind": "image", "column": "poster", "unreadable": "missing"}
    pq.write_table(table, folder / "items.parquet")
    item = {"table": "items.parquet", "id": "id", "features": {"poster": feature}}
    sections = {"relations": {}, "sequences": {}, "pairs": {}, "split": {}}
    config = TablesConfig.model_validate({"entities": {"item": item}, **sections})
    plan = Plan("tables", config.model_dump(mode="json"), 0, {})
    run(config, plan, folder / "workspace" / "tables", num_threads=1, base=folder)
    return Images(open_tables(folder / "workspace" / "tables"), folder)


@pytest.mark.parametrize("of_bytes", [False, True])
def test_an_image_comes_as_a_small_png(tmp_path: Path, of_bytes: bool) -> None:
    (tmp_path / "posters").mkdir()
    (tmp_path / "posters" / "a.jpg").write_bytes(jpeg(1000, "red"))
    column = pa.array([jpeg(1000, "red"), None, b"no image"]) if of_bytes else pa.array(["posters/a.jpg", None, "none"])
    images = make_images(tmp_path, column)
    found = images.png("item", 10)
    assert found is not None
    drawn = Image.open(io.BytesIO(found))
    assert (drawn.format, drawn.size) == ("PNG", (512, 256))
    assert drawn.getpixel((5, 5))[0] > 200
    assert images.png("item", 11) is images.png("item", 12) is images.png("item", 99) is None


def test_a_path_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "secret.jpg").write_bytes(jpeg(20, "blue"))
    (tmp_path / "run" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    images = make_images(tmp_path / "run", pa.array(["../secret.jpg", str(tmp_path / "secret.jpg"), "link.jpg"]))
    assert [images.png("item", id_) for id_ in (10, 11, 12)] == [None, None, None]
