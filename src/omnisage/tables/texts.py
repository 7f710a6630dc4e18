"""Texts to vectors by a pretrained encoder of the user's: a model2vec table, or a sentence-transformers model.

The package sentence-transformers is not needed: what its folders say of pooling and length is read here.

Shapes: B texts of a batch, L tokens, W width of the encoder.
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnisage.tables.encoders import Encoder
from omnisage.tables.pretrained import FOLDER_ONLY, load_model, refusing

Vector = NDArray[np.float32]
# Texts to (place among them, vector), in any order; a transformer's batches are run by the executor.
TextEncoder = Callable[[list[str], Executor], Iterator[tuple[int, Vector]]]

# Every batch has this many texts of one length, the last ones filled up. Then what stands beside a text changes
# nothing, not even how sums are rounded. One by one that would hold too, at a third of the speed (MiniLM, film titles).
_TEXTS_PER_BATCH = 8
_MAX_TOKENS = 512  # where neither the tokenizer nor sentence_bert_config.json says


def load_text_encoder(encoder: Encoder) -> TextEncoder:
    """What turns texts into vectors; a text's does not depend on the others.

    Raises:
        OmnisageError: the model cannot be loaded, or does what we do not.
    """
    assert encoder.folder is not None, "there is no built-in encoder of texts"
    with refusing(encoder):
        if _read_json(encoder.folder / "config.json").get("model_type") == "model2vec":
            return _load_table(encoder.folder)
    return _load_transformer(encoder, encoder.folder)


def _load_table(folder: Path) -> TextEncoder:
    """The mean of the tokens' vectors in a table."""
    from model2vec import StaticModel

    model = StaticModel.from_pretrained(folder)
    return lambda texts, _: enumerate(np.asarray(model.encode(texts, use_multiprocessing=False), np.float32))


def _load_transformer(encoder: Encoder, folder: Path) -> TextEncoder:
    with refusing(encoder):
        import torch
        from transformers import AutoTokenizer

        is_first_only, has_unit_length = _pooling(folder)
        tokenize = AutoTokenizer.from_pretrained(folder, **FOLDER_ONLY)
        max_tokens = _max_tokens(folder, tokenize.model_max_length)
    model, device = load_model(encoder)

    def encode_batch(tokens: list[list[int]]) -> Vector:
        tokens_BL = torch.tensor(tokens, device=device)
        with torch.inference_mode():
            states_BLW = model(input_ids=tokens_BL, attention_mask=torch.ones_like(tokens_BL)).last_hidden_state
            pooled_BW = states_BLW[:, 0] if is_first_only else states_BLW.mean(dim=1)
            pooled_BW = torch.nn.functional.normalize(pooled_BW, dim=1) if has_unit_length else pooled_BW
        return pooled_BW.cpu().numpy()

    def encode(texts: list[str], pool: Executor) -> Iterator[tuple[int, Vector]]:
        tokens = tokenize(texts, truncation=True, max_length=max_tokens)["input_ids"]
        batches = _batches_of_one_length(tokens)
        filled = ([tokens[i] for i in np.resize(places, _TEXTS_PER_BATCH)] for places in batches)
        for places, vectors_BW in zip(batches, pool.map(encode_batch, filled), strict=True):
            yield from zip(places, vectors_BW, strict=False)

    return encode


def _batches_of_one_length(tokens: list[list[int]]) -> list[list[int]]:
    """The places of texts in batches, each of texts with one number of tokens."""
    of_length: dict[int, list[int]] = {}
    for place, ids in enumerate(tokens):
        of_length.setdefault(len(ids), []).append(place)
    size = _TEXTS_PER_BATCH
    return [places[i : i + size] for places in of_length.values() for i in range(0, len(places), size)]


def _pooling(folder: Path) -> tuple[bool, bool]:
    """Whether the first token alone stands for a text, else the mean of all; whether vectors get length 1.

    Raises:
        ValueError: the folder asks for something else.
    """
    modules: list[dict[str, str]] = _read_json(folder / "modules.json") if (folder / "modules.json").exists() else []
    kinds = [module["type"].rsplit(".", 1)[-1] for module in modules]
    unknown = sorted(set(kinds) - {"Transformer", "Pooling", "Normalize"})
    if unknown:
        raise ValueError(f"modules.json has {', '.join(unknown)}; known are Transformer, Pooling and Normalize")
    is_first_only = False
    for kind, module in zip(kinds, modules, strict=True):
        if kind == "Pooling":
            pooling = _read_json(folder / module["path"] / "config.json")
            modes = {name for name, value in pooling.items() if name.startswith("pooling_mode_") and value}
            mode = ", ".join(sorted(modes)).replace("pooling_mode_", "") or str(pooling.get("pooling_mode"))
            if mode.removesuffix("_tokens").removesuffix("_token") not in ("mean", "cls"):
                raise ValueError(f"{module['path']}/config.json pools by {mode}; known are mean and cls")
            is_first_only = mode.startswith("cls")
    return is_first_only, "Normalize" in kinds


def _max_tokens(folder: Path, of_tokenizer: int) -> int:
    path = folder / "sentence_bert_config.json"
    stated = _read_json(path).get("max_seq_length") if path.exists() else None
    # A tokenizer without a limit says 10^30.
    return stated or min(of_tokenizer, _MAX_TOKENS)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text())
