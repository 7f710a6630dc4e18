"""Exchange by an object store: what is published is fetched whole, ranges come back, nothing passing stays."""

from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest

from omnisage.cluster import storage as module
from omnisage.cluster.storage import Storage, storage_of
from omnisage.errors import OmnisageError
from omnisage.ranges import Input, RangeStore, passing_input, run_id


def make(url: str, folder: Path) -> Storage:
    return storage_of(url, str(folder / "cache"), folder / "stage.partial")


def make_ranges(partial: Path) -> RangeStore:
    columns = {"ids": (np.uint32, 3), "none": (np.float32, 0)}
    return RangeStore("item", partial / "ranges" / "item", 10, 4, columns, "neighbors", "items", 4)


def write_files(folder: Path) -> Path:
    (folder / "deep").mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    (folder / "deep" / "a.npy").write_bytes(bytes(1000))
    (folder / "left_out.txt").write_text("not read")
    return folder


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.cluster)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        return f"{request.getfixturevalue('bucket')}/{tmp_path.name}"
    return f"file://{tmp_path}/store"


def objects(url: str) -> list[str]:
    files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    return sorted(path.removeprefix(f"{root}/") for path in files.find(root))


def test_an_input_is_uploaded_once_and_copied_to_a_host_once(url: str, tmp_path: Path) -> None:
    storage = make(url, tmp_path)
    given = Input("graph-1", write_files(tmp_path / "graph"), ("*.json", "*/*.npy"))
    storage.publish(given)
    stored = objects(url)
    assert stored == ["inputs/graph-1.json", "inputs/graph-1/deep/a.npy", "inputs/graph-1/manifest.json"]
    copy = storage.fetch(given)
    assert sorted(path.name for path in copy.rglob("*.*")) == ["a.npy", "manifest.json"]
    assert (copy / "deep" / "a.npy").read_bytes() == bytes(1000)
    (given.folder / "manifest.json").unlink()
    storage.publish(given)  # it is there
    before = (copy / "manifest.json").stat().st_mtime_ns
    assert (storage.fetch(given) / "manifest.json").stat().st_mtime_ns == before


def test_ranges_come_back_until_the_run_is_done(url: str, tmp_path: Path) -> None:
    storage = make(url, tmp_path)
    ranges = make_ranges(storage.partial)
    arrays = {"ids": np.arange(12, dtype=np.uint32).reshape(4, 3), "none": np.empty((4, 0), np.float32)}
    storage.put(ranges, 4, 8, arrays)
    same_run = make(url, tmp_path)
    assert same_run == storage
    assert same_run.stored() == {storage.key(ranges, 4, 8)}
    got = same_run.get(ranges, 4, 8)
    assert {name: values.dtype for name, values in got.items()} == {"ids": np.uint32, "none": np.float32}
    np.testing.assert_array_equal(got["ids"], arrays["ids"])
    assert got["none"].shape == (4, 0)
    storage.forget()
    assert objects(url) == []
    storage.forget()  # there is nothing


def test_a_range_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    storage = make(f"file://{tmp_path}/store", tmp_path)
    ranges = make_ranges(storage.partial)
    storage.put(ranges, 0, 4, {"ids": np.zeros((4, 3), np.uint32), "none": np.empty((4, 0), np.float32)})
    path = tmp_path / "store" / storage.key(ranges, 0, 4)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(OmnisageError, match=r"0-4.npz is damaged"):
        storage.get(ranges, 0, 4)


def test_an_input_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    storage = make(f"file://{tmp_path}/store", tmp_path)
    given = Input("graph-1", write_files(tmp_path / "graph"))
    storage.publish(given)
    (tmp_path / "store" / "inputs" / "graph-1" / "deep" / "a.npy").write_bytes(b"")
    with pytest.raises(OmnisageError, match=r"a.npy has 0 bytes and was stored with 1000; delete"):
        storage.fetch(given)
    assert not (tmp_path / "cache" / "inputs" / "graph-1").exists()


def test_what_passes_leaves_the_cache_when_no_process_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make(f"file://{tmp_path}/store", tmp_path)
    copies = [fetch_passing(first)]
    second, third = replace(first, run="second"), replace(first, run="third")
    copies.append(fetch_passing(second))
    assert copies[0].exists()  # this process reads it
    module._held.pop(first.run).close()
    copies.append(fetch_passing(third))
    assert [copy.exists() for copy in copies] == [False, True, True]
    for run in (second.run, third.run):
        module._held.pop(run).close()


def fetch_passing(storage: Storage) -> Path:
    folder = storage.partial / "tokens"
    folder.mkdir(exist_ok=True)
    np.save(folder / "a.npy", np.zeros(3))
    given = replace(passing_input(storage.partial, folder), name="tokens")
    storage.publish(given)
    return storage.fetch(given)


def test_a_run_keeps_its_id_until_it_is_done(tmp_path: Path) -> None:
    assert run_id(tmp_path / "one") == run_id(tmp_path / "one") != run_id(tmp_path / "two")


def test_a_storage_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(OmnisageError, match=r"storage nothing://here cannot be read .*check bucket"):
        make("nothing://here", tmp_path)
