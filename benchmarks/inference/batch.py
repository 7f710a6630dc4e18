"""Embedding every entity: by memory-mapped tokens, beside batch by batch, and beside the straightforward form.

A generated world (`training/worlds.py`): items with a vector of 128, a text of 40 tokens, and neighbors of power-law
popularity. Batch by batch, every batch projects its unique neighbors anew: what the stage did before. The
straightforward form (`training/straightforward.py`) projects every slot and runs torch's encoder layer. Both embed a
sample and are compared with ours on it; so is ours with tokens in bfloat16 (--bf16). The floor is the time of ours'
products at the measured matmul rate and of the bytes that attention must read at the measured bandwidth, one after the
other. The straightforward form runs between ours' calls, so that both meet the same load of the machine.

    python benchmarks/inference/batch.py                                              # 100,000 items, model of the demo
    python benchmarks/inference/batch.py --items 1000000 --paper --slots 150 --out batch.json
"""

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

sys.path.append(str(Path(__file__).parents[1] / "training"))
from measuring import floor_s, make_parser, write
from straightforward import embed, unshare
from worlds import generated

from omnisage.batches.entities import EntitySource, build_entity_batch, describe_model
from omnisage.embeddings.config import TokenDtype
from omnisage.embeddings.entities import _in_blocks
from omnisage.embeddings.fingerprints import hash_entities, hash_own
from omnisage.embeddings.reuse import NEW
from omnisage.embeddings.tokens import Tokens, embed_by_tokens, open_tokens, project, write_tokens
from omnisage.embeddings.write import Kind, Writer
from omnisage.model.config import ModelConfig
from omnisage.model.embedder import EntityEmbedders
from omnisage.model.inference import embed_entities
from omnisage.ranges import Arrays, Compute, RangeStore
from omnisage.threads import one_torch_thread, workers

CPU = torch.device("cpu")
_ROWS_PER_CALL = 8192


@contextmanager
def watched(name: str, found: dict[str, float]) -> Iterator[None]:
    """Seconds of the clock and of the processor, and the largest memory of the process's own beyond what it had.

    Without mapped files, of which the system keeps as much as it likes. Rates are by seconds of the processor times
    threads, so that what else runs on the machine counts little.
    """

    def anonymous() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

    first, peak, ended = anonymous(), [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            peak[0] = max(peak[0], anonymous() - first)

    thread = threading.Thread(target=watch)
    thread.start()
    started, started_cpu = time.perf_counter(), time.process_time()
    try:
        yield
    finally:
        found[f"{name}_s"] = time.perf_counter() - started
        found[f"{name}_cpu_s"] = time.process_time() - started_cpu
        ended.set()
        thread.join()
        found[f"{name}_peak_mb"] = peak[0] / 1e6


def limits_by_cpu() -> dict[str, float]:
    """As `measuring.limits`, of one thread and by seconds of the processor."""

    def fastest(run: Callable[[], object]) -> float:
        seconds = []
        for _ in range(7):
            started = time.process_time()
            run()
            seconds.append(time.process_time() - started)
        return min(seconds)

    left, right, source = torch.randn(1536, 1536), torch.randn(1536, 1536), torch.randn(1 << 25)
    target, product = torch.empty_like(source), torch.empty(1536, 1536)
    with one_torch_thread():
        multiply, copy = fastest(lambda: torch.mm(left, right, out=product)), fastest(lambda: target.copy_(source))
    return {"operations_per_s": 2 * 1536**3 / multiply, "bytes_per_s": 8 * len(source) / copy}


class Straightforward:
    """The straightforward form of a few items, which it embeds whenever it is called."""

    def __init__(self, embedders: EntityEmbedders, source: EntitySource, num_items: int) -> None:
        few = np.arange(num_items, dtype=np.uint32)
        self._embedders, self.num_items, self.cpu_s, self.num_calls = embedders, num_items, 0.0, 0
        self._slots = unshare(build_entity_batch(source, {"item": few})[0], 0, num_items)

    @torch.no_grad()
    def __call__(self) -> np.ndarray:
        started = time.process_time()
        vectors = embed(self._embedders, self._slots).numpy()
        self.cpu_s += time.process_time() - started
        self.num_calls += 1
        return vectors


def by_tokens(
    embedders: EntityEmbedders,
    source: EntitySource,
    num_embedded: int,
    threads: int,
    plain: Straightforward,
    found: dict[str, float],
) -> np.ndarray:
    """Everything that the stage does with entities: hashes, tokens of all, vectors of the first, npy and Parquet."""
    num_items = source.num_entities["item"]
    with tempfile.TemporaryDirectory() as folder, one_torch_thread(), workers(threads) as pool:
        with watched("hash", found):
            own = {"item": _in_blocks(num_items, lambda begin, end: hash_own(source, "item", begin, end))}
            _in_blocks(num_items, lambda begin, end: hash_entities(source, "item", own, begin, end))
        with watched("project", found):
            tokens = project_all(Path(folder) / "tokens", embedders, source, "f32", pool)

        def compute(entity_type: str, ids: np.ndarray) -> Arrays:
            vectors = embed_by_tokens(embedders, source, entity_type, ids, tokens, pool)
            plain()
            return {"vectors": vectors}

        writer, rows = Writer(Path(folder), None, "f32"), np.full(num_embedded, NEW)
        dim = embedders.entity_encoders["item"].skip.out_features
        kind = Kind("entities", "item", pa.array(np.arange(num_embedded, dtype=np.uint32)), dim)
        with watched("embed", found):
            store = writer.store(kind, rows, rows_per_call=_ROWS_PER_CALL)
            fill(compute, [store])
            writer.finish(kind, rows, store)
        found["embed_cpu_s"] -= plain.cpu_s
        found["straightforward_cpu_s"] = plain.cpu_s
        return np.array(writer.entities("item"))


def by_brief_tokens(
    embedders: EntityEmbedders, source: EntitySource, ids: np.ndarray, threads: int, found: dict[str, float]
) -> np.ndarray:
    """Tokens of all in bfloat16, vectors of some."""
    with tempfile.TemporaryDirectory() as folder, one_torch_thread(), workers(threads) as pool:
        with watched("project_bf16", found):
            tokens = project_all(Path(folder), embedders, source, "bf16", pool)
        with watched("embed_bf16", found):
            return embed_by_tokens(embedders, source, "item", ids, tokens, pool)


def project_all(
    folder: Path, embedders: EntityEmbedders, source: EntitySource, dtype: TokenDtype, pool: Executor
) -> Tokens:
    """The tokens of all items."""
    every = np.arange(source.num_entities["item"], dtype=np.uint32)
    compute = partial(project, embedders, source, pool=pool, dtype=dtype)
    write_tokens(folder, embedders, source, {"item": every}, dtype, partial(fill, compute))
    return open_tokens(folder, source)


def fill(compute: Compute, stores: list[RangeStore]) -> None:
    """Compute all ranges."""
    for store in stores:
        for begin, end in store.ranges():
            store.write(begin, end, store.compute(begin, end, compute))


def floor(embedders: EntityEmbedders, source: EntitySource, limit: dict[str, float]) -> float:
    """Seconds per entity."""
    encoder, features = embedders.entity_encoders["item"], embedders.feature_encoders["item"]
    matrices = [p for p in (*features.own.parameters(), *features.neighbor.parameters()) if p.ndim == 2]
    matrices += [p for name, p in encoder.named_parameters() if p.ndim == 2 and "positions" not in name]
    num_slots, dim = source.neighbors["item"].ids.shape[1], embedders.dim
    layer = encoder.layers.layers[0]
    unused = 2 * dim * dim  # queries and keys are folded into constants
    products = 2.0 * (sum(p.numel() for p in matrices) - unused)
    heads = layer.self_attn.num_heads
    return floor_s(limit, products) + floor_s(limit, 2.0 * heads * dim * num_slots, 4.0 * dim * num_slots)


def main() -> None:
    """Run and print."""
    parser = make_parser(__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--slots", type=int, default=100)
    parser.add_argument("--paper", action="store_true", help="width 768, 12 heads, embeddings of 256")
    parser.add_argument("--embed", type=int, help="items to embed by tokens, of which all have them; none: all")
    parser.add_argument("--bf16", action="store_true", help="once more with tokens in bfloat16")
    parser.add_argument("--sample", type=int, default=8192, help="items to embed batch by batch")
    parser.add_argument(
        "--straightforward", type=int, default=64, help="items of each call of the straightforward form"
    )
    options: argparse.Namespace = parser.parse_args()
    torch.set_num_threads(options.threads)
    limit = limits_by_cpu()
    source = generated(options.items, options.seed, num_slots=options.slots).data.sources[0]
    config = ModelConfig(dim=768, num_heads=12, embedding_dim=256) if options.paper else ModelConfig()
    torch.manual_seed(options.seed)
    embedders = EntityEmbedders(describe_model(source, {}), config).eval()
    num_embedded = min(options.embed or options.items, options.items)
    found: dict[str, float] = {
        "items": options.items,
        "embedded": num_embedded,
        "slots": options.slots,
        "dim": config.dim,
    }
    plain = Straightforward(embedders, source, options.straightforward)
    ours = by_tokens(embedders, replace(source), num_embedded, options.threads, plain, found)
    rates = dict[str, float]()
    if options.bf16:
        some = np.arange(num_embedded, dtype=np.uint32)
        brief = by_brief_tokens(embedders, replace(source), some, options.threads, found)
        found["largest_difference_of_bf16"] = float(np.abs(ours - brief).max())
        seconds = found["project_bf16_cpu_s"] / options.items + found["embed_bf16_cpu_s"] / num_embedded
        rates["by_bf16_tokens"] = 1 / seconds
    with watched("batch_by_batch", found):
        batches = embed_entities(embedders, source, "item", begin=0, end=options.sample, device=CPU)
    found["largest_difference"] = float(np.abs(ours[: options.sample] - batches).max())
    found["largest_difference_of_straightforward"] = float(np.abs(ours[: plain.num_items] - plain()).max())
    seconds = found["project_cpu_s"] + found["embed_cpu_s"] * options.items / num_embedded
    num_plain = plain.num_items * (plain.num_calls - 1)  # the last call was to compare
    rates |= {
        "by_tokens": options.items / seconds,
        "with_hashes": options.items / (seconds + found["hash_cpu_s"]),
        "batch_by_batch": options.sample / found["batch_by_batch_cpu_s"],
        "straightforward": num_plain / found["straightforward_cpu_s"],
    }
    found |= {f"{name}_entities_per_cpu_s": rate for name, rate in rates.items()}
    found["times_batch_by_batch"] = rates["by_tokens"] / rates["batch_by_batch"]
    found["times_straightforward"] = rates["by_tokens"] / rates["straightforward"]
    found["share_of_floor"] = floor(embedders, source, limit) * options.items / seconds
    for name, value in found.items():
        print(f"{name:40} {value:,.6g}")
    write(options.out, "inference/batch", limit, found)


if __name__ == "__main__":
    main()
