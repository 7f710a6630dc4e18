"""Opening the artifact checks it, and rebuilding keeps the ids that were given."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables_building import build_tables, file_bytes

from omnisage.errors import OmnisageError
from omnisage.tables.artifact import NumberArrays, TextArrays, open_tables
from world import world_config, world_tables


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tables(tmp_path_factory.mktemp("built"), world_tables(), world_config())


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


def lengthen(path: Path) -> None:
    array = np.load(path)
    np.save(path, np.concatenate([array, array[:1]]))


def as_int64(path: Path) -> None:
    np.save(path, np.load(path).astype(np.int64))


def point_beyond(path: Path) -> None:
    array = np.load(path)
    array[3] = 2**40
    np.save(path, array)


def drop_row(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)


def remove(path: Path) -> None:
    path.unlink()


DAMAGES: list[tuple[str, Callable[[Path], None]]] = [
    ("relations/made_by/source.npy", truncate),
    ("relations/tagged/weight.npy", lengthen),
    ("pairs/watched_next/target.npy", as_int64),
    ("features/item/title/indptr.npy", point_beyond),
    ("features/item/title/tokens.npy", truncate),
    ("features/item/image/present.npy", remove),
    ("sequences/user/test/indptr.npy", point_beyond),
    ("sequences/user/train/times.npy", lengthen),
    ("sequences/user/users.parquet", drop_row),
    ("sequences/user/actions.parquet", drop_row),
    ("features/item/labels/vocabulary.parquet", drop_row),
    ("entities/item/ids.parquet", drop_row),
    ("entities/item/names.parquet", truncate),
    ("evaluation/pairs/test/item-tag.npy", lengthen),
]


def test_a_damaged_file_is_refused_by_name(built: Path) -> None:
    for name, damage in DAMAGES:
        path = built / name
        whole = path.read_bytes()
        damage(path)
        with pytest.raises(OmnisageError, match=re.escape(f"{path} is damaged (")) as error:
            open_tables(built)
        assert "run `omnisage tables`" in str(error.value)
        path.write_bytes(whole)
    open_tables(built)


def test_a_folder_without_manifest_says_which_command_to_run(tmp_path: Path) -> None:
    with pytest.raises(OmnisageError, match="run `omnisage tables` first"):
        open_tables(tmp_path)


def test_an_unknown_part_is_refused_with_the_names_of_all(built: Path) -> None:
    with pytest.raises(ValueError, match=r"no part 'tests'; did you mean 'test'\? \(allowed: all, test, train, valid"):
        open_tables(built).sequences["user"].part("tests")


def test_files_are_only_those_that_formats_names(built: Path) -> None:
    tables = open_tables(built)
    expected = {"manifest.json"}
    for kind, features in tables.features.items():
        expected |= {f"entities/{kind}/ids.parquet", f"entities/{kind}/names.parquet"}
        for name, feature in features.items():
            files = {"NumberArrays": "values present", "VectorArrays": "values present", "TextArrays": "indptr tokens"}
            stored = files.get(type(feature).__name__, "indptr indices").split()
            expected |= {f"features/{kind}/{name}/{file}.npy" for file in stored}
            if "indices" in stored:
                expected.add(f"features/{kind}/{name}/vocabulary.parquet")
    for name, relation in tables.relations.items():
        files = ["source", "target", *(["weight"] if relation.weights is not None else [])]
        expected |= {f"relations/{name}/{file}.npy" for file in files}
    expected |= {f"pairs/watched_next/{file}.npy" for file in ("source", "target")}
    expected |= {f"sequences/user/{file}.parquet" for file in ("users", "actions")}
    for part in ("train", "validation", "test", "all"):
        files = ["users", "indptr", "entities", "times", "actions"]
        files += ["queries"] if part in {"validation", "test"} else []
        expected |= {f"sequences/user/{part}/{file}.npy" for file in files}
    for part in ("validation", "test"):
        expected |= {f"evaluation/pairs/{part}/{types}.npy" for types in ("creator-item", "item-item", "item-tag")}
    assert set(file_bytes(built)) == expected


def items(ids: list[str]) -> dict[str, pa.Table]:
    titles = [f"title of {i}" for i in ids]
    return {"items.parquet": pa.table({"id": ids, "title": titles, "size": [float(len(i)) for i in ids]})}


ITEMS = {
    "entities": {
        "item": {
            "table": "items.parquet",
            "id": "id",
            "features": {
                "title": {"kind": "text", "columns": ["title"]},
                "size": {"kind": "number", "column": "size"},
                "self": {"kind": "category", "column": "id"},
            },
        }
    }
}


def test_ids_keep_their_numbers_and_new_ones_are_appended_sorted(tmp_path: Path) -> None:
    build_tables(tmp_path, items(["d", "b"]), ITEMS)
    tables = open_tables(build_tables(tmp_path, items(["a", "d", "c", "b"]), ITEMS))
    assert tables.ids("item").to_pylist() == ["b", "d", "a", "c"]
    assert tables.names("item") == ["title of b", "title of d", "title of a", "title of c"]
    from_scratch = open_tables(build_tables(tmp_path / "new", items(["a", "d", "c", "b"]), ITEMS))
    assert from_scratch.ids("item").to_pylist() == ["a", "b", "c", "d"]


def test_an_id_that_left_its_table_keeps_its_row_without_content(tmp_path: Path) -> None:
    build_tables(tmp_path, items(["a", "bb", "c"]), ITEMS)
    folder = build_tables(tmp_path, items(["a", "c", "dd"]), ITEMS)
    tables = open_tables(folder)
    assert tables.ids("item").to_pylist() == ["a", "bb", "c", "dd"]
    assert tables.names("item") == ["title of a", "bb", "title of c", "title of dd"]
    assert tables.manifest.counts["retired"] == {"item": 1}
    title, size = tables.features["item"]["title"], tables.features["item"]["size"]
    assert isinstance(title, TextArrays)
    assert isinstance(size, NumberArrays)
    assert title.indptr[1] == title.indptr[2]
    assert size.present.tolist() == [True, False, True, True]
    assert tables.vocabulary("item", "self") == ["a", "c", "dd"]
    again = open_tables(build_tables(tmp_path, items(["bb", "a", "c", "dd"]), ITEMS))
    assert again.ids("item").to_pylist() == ["a", "bb", "c", "dd"]
    assert again.names("item")[1] == "title of bb"


def test_a_reference_to_a_retired_id_is_dangling(tmp_path: Path) -> None:
    end = {"entity": "item", "column": "id"}
    linked = {**ITEMS, "relations": {"same": {"table": "links.parquet", "source": end, "target": end}}}
    links = {"links.parquet": pa.table({"id": ["a", "b"]})}
    build_tables(tmp_path, {**items(["a", "b"]), **links}, linked)
    with pytest.raises(OmnisageError, match=r"has 1 row that name no item .*id='b'"):
        build_tables(tmp_path, items(["a"]), linked)


def test_ids_of_another_type_than_before_are_refused(tmp_path: Path) -> None:
    build_tables(tmp_path, items(["1"]), ITEMS)
    numbers = pa.table({"id": [1], "title": ["x"], "size": [1.0]})
    with pytest.raises(OmnisageError, match=r"ids of type int64.*numbers ids of type string; delete .* from scratch"):
        build_tables(tmp_path, {"items.parquet": numbers}, ITEMS)


def test_a_rebuild_of_the_same_tables_changes_no_byte(built: Path) -> None:
    before = file_bytes(built)
    assert file_bytes(build_tables(built.parents[1], world_tables(), world_config())) == before
