"""Our embedder beside a straightforward one of the same architecture and weights: entities/s and peak memory.

The straightforward one (straightforward.py) projects the features of every neighbor slot and runs torch's own encoder
layer over all tokens. Both have to give the same embeddings and the same gradients, which is checked first. They are
timed in turns, the fastest repetition of each counts; the straightforward one takes a part of the same batch, which
it would take forever with. The floor is the time of the products that our form makes at the measured matmul rate, and
of reading neighbors the time of its operations at that rate or of its bytes at the measured bandwidth, whichever is
longer.

    python benchmarks/training/embedder.py                                   # 5 minutes on 2 quiet cores
    python benchmarks/training/embedder.py --data amazon-beauty-s3rec --out embedder.json
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from catalogs import Catalog, beauty, describe, make_batch, near_items, power_law, random_items
from measuring import counting, fastest, floor_s, limits, make_parser, peak_memory, reset_peak, write
from straightforward import embed, encode, unshare
from torch import Tensor, nn

from omnisage.batches.batch import Anchors, EntityBatch
from omnisage.batches.description import LOG_DEGREE
from omnisage.model.config import ModelConfig
from omnisage.model.embedder import EntityEmbedders
from omnisage.model.encoder import EntityEncoder

NO_DROPOUT = {"dropout": 0.0, "neighbor_dropout": 0.0, "isolation_dropout": 0.0}


class Size(NamedTuple):
    """Of the model and of its vector feature."""

    model: ModelConfig
    vector_size: int


PAPER = Size(ModelConfig(dim=768, num_heads=12, embedding_dim=256, **NO_DROPOUT), 1024)
DEMO = Size(ModelConfig(dim=64, num_heads=4, embedding_dim=64, sequence={"num_heads": 2}, **NO_DROPOUT), 64)


def with_gradients(run: Callable[[], Tensor], sources: list[Tensor]) -> tuple[Tensor, ...]:
    """The output, and gradients of a sum of it with fixed weights."""
    output = run()
    weights = torch.linspace(-1, 1, output.numel(), device=output.device).view_as(output)
    return output, *torch.autograd.grad((output * weights).sum(), sources, allow_unused=True)


def largest_difference(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> tuple[float, float]:
    """Of outputs the largest, of gradients that of their norms relative to the gradient's own.

    Not of single entries: a ReLU whose input is 0 up to rounding may be open in one form and closed in the other, which
    moves the gradient of one hidden unit.
    """
    pairs = [(a, b) for a, b in zip(ours[1:], theirs[1:], strict=True) if a is not None and b is not None]
    assert len(pairs) > 5, "the gradients have not been compared"
    # A gradient that is zero up to rounding (the key bias) has nothing to be relative to.
    scale = max(float(b.norm()) for _, b in pairs) * 1e-3
    of_gradients = max(float((a - b).norm() / b.norm().clamp(min=scale)) for a, b in pairs)
    return float((ours[0] - theirs[0]).abs().max().detach()), of_gradients


def compare(name: str, ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> dict[str, float]:
    """The differences; ends the run where they are not small."""
    of_outputs, of_gradients = largest_difference(ours, theirs)
    if of_outputs > 1e-4 or of_gradients > 1e-3:
        raise SystemExit(f"{name}: outputs differ by {of_outputs:.1e}, gradients by {of_gradients:.1e}")
    return {"largest_difference": of_outputs, "largest_relative_difference_of_gradients": of_gradients}


class Sides(NamedTuple):
    """What is timed: ours and the straightforward form, each with its number of entities."""

    ours: Callable[[], Tensor]
    theirs: Callable[[], Tensor]
    sources: list[Tensor]  # of gradients
    num_ours: int
    num_theirs: int


def time_sides(sides: Sides, repeats: int, floors: tuple[float, float]) -> list[dict[str, float]]:
    """Entities/s and memory, forward and forward + backward; floors are seconds for all our entities."""

    def forward(run: Callable[[], Tensor]) -> None:
        with torch.no_grad():
            run()

    rows = []
    passes = (("forward", forward), ("forward + backward", lambda run: with_gradients(run, sides.sources)))
    for (name, call), floor in zip(passes, floors, strict=True):
        peaks = []
        for run in (sides.ours, sides.theirs):
            before = reset_peak()
            call(run)
            peaks.append(peak_memory() - before)
        ours, theirs = fastest([lambda c=call: c(sides.ours), lambda c=call: c(sides.theirs)], repeats)
        rows.append(
            {
                "pass": name,
                "entities_per_s": sides.num_ours / ours,
                "straightforward_entities_per_s": sides.num_theirs / theirs,
                "times": sides.num_ours / ours * theirs / sides.num_theirs,
                "share_of_floor": floor / ours,
                "peak_bytes_per_entity": peaks[0] / sides.num_ours,
                "straightforward_peak_bytes_per_entity": peaks[1] / sides.num_theirs,
            }
        )
    return rows


def encoder_floors(encoder: EntityEncoder, anchors: int, unique: int, filled: int, limit: dict) -> tuple[float, float]:
    """Seconds of the collapsed encoder: products of one row per anchor, scores, and the weighted sums."""
    dim, heads = len(encoder.cls), encoder.layers.layers[0].self_attn.num_heads
    per_anchor = 2.0 * dim * dim * 10  # values, output and MLP
    sums = 2.0 * heads * dim * filled  # filled: all tokens that are read
    products = anchors * per_anchor + 4.0 * heads * dim * unique
    num_bytes = 4.0 * dim * filled  # of tokens; backward reads them again, and adds to their gradients
    return (
        floor_s(limit, products) + floor_s(limit, sums, num_bytes),
        floor_s(limit, 3 * products) + floor_s(limit, 3 * sums, 4 * num_bytes),
    )


def encoder_alone(size: Size, options: argparse.Namespace, limit: dict) -> list[dict]:
    """Tokens given; 150 slots, all filled."""
    num_anchors, num_small, num_unique, num_slots, num_own = options.batch, options.straightforward, 10_000, 150, 3
    dim = size.model.dim
    encoder = EntityEncoder(num_own, num_slots, size.model)
    own, tokens = (torch.randn(n).requires_grad_() for n in ((num_anchors, num_own, dim), (num_unique, dim)))
    neighbors = torch.randint(num_unique, (num_anchors, num_slots))
    everywhere = torch.ones(num_anchors, num_slots, dtype=torch.bool)
    anchors = Anchors(
        torch.empty(0), neighbors, torch.rand(num_anchors, num_slots), everywhere, torch.empty(0), torch.empty(0)
    )
    few = Anchors(*(getattr(anchors, name)[:num_small] for name in Anchors.__dataclass_fields__))

    def collapsed(own: Tensor, of: Anchors) -> Tensor:
        return encoder.collapsed(own, tokens, of.neighbors_BK, of.log_weights_BK, of.present_BK)

    def ordinary() -> Tensor:
        return encode(encoder, own[:num_small], tokens[few.neighbors_BK], few)

    layers = [p for name, p in encoder.named_parameters() if not name.startswith(("head", "skip"))]
    sides = Sides(lambda: collapsed(own, anchors), ordinary, [own, tokens, *layers], num_anchors, num_small)
    same = compare(
        "encoder",
        with_gradients(lambda: collapsed(own[:num_small], few), sides.sources),
        with_gradients(ordinary, sides.sources),
    )
    floors = encoder_floors(encoder, num_anchors, num_unique, num_anchors * (1 + num_own + num_slots), limit)
    return [row | same for row in time_sides(sides, options.repeats, floors)]


def counted_floor(run: Callable[[], object], limit: dict) -> float:
    """Seconds of the products that a run makes, and of what attention must read."""
    with counting() as counted:
        run()
    kernels = floor_s(limit, counted.kernel_operations, counted.kernel_bytes)
    return floor_s(limit, counted.operations - counted.kernel_operations) + kernels


def whole(
    name: str, catalog: Catalog, items: np.ndarray, size: Size, options: argparse.Namespace, limit: dict
) -> list[dict]:
    """From raw features to embeddings."""
    torch.manual_seed(options.seed)
    batch = make_batch(catalog, items, size.vector_size)
    embedders = EntityEmbedders(describe(catalog, size.vector_size), size.model)
    sources = [p for p in embedders.parameters() if isinstance(p, nn.Parameter)]
    few = unshare(batch, 0, options.straightforward)
    small = EntityBatch(
        batch.features,
        {
            "item": Anchors(
                *(getattr(batch.anchors["item"], f)[: options.straightforward] for f in Anchors.__dataclass_fields__)
            )
        },
    )
    sides = Sides(
        lambda: embedders(batch).embeddings, lambda: embed(embedders, few), sources, len(items), options.straightforward
    )
    same = compare(
        name, with_gradients(lambda: embedders(small).embeddings, sources), with_gradients(sides.theirs, sources)
    )
    unique = sum(len(features[LOG_DEGREE]) for features in batch.features.values())
    filled = int(batch.anchors["item"].present_BK.sum())
    with torch.no_grad():
        forward = counted_floor(sides.ours, limit)
    floors = forward, counted_floor(lambda: with_gradients(sides.ours, sources), limit)
    shape = {"unique_entities": unique, "filled_slots": filled, "filled_slots_per_unique_entity": filled / unique}
    return [row | same | shape for row in time_sides(sides, options.repeats, floors)]


def report(name: str, rows: list[dict]) -> list[dict]:
    """Prints rows of the table."""
    for row in rows:
        sharing = f"{row['filled_slots_per_unique_entity']:.1f}" if "filled_slots" in row else "-"
        theirs = row["straightforward_entities_per_s"]
        print(
            f"| {name} | {sharing} | {row['pass']} | {row['entities_per_s']:,.0f} | {theirs:,.1f} "
            f"| {row['times']:.1f} | {row['share_of_floor']:.2f} | {row['peak_bytes_per_entity'] / 1e6:.2f} "
            f"| {row['straightforward_peak_bytes_per_entity'] / 1e6:.2f} |",
            flush=True,
        )
    return [{"case": name} | row for row in rows]


def measure(options: argparse.Namespace, limit: dict, folder: Path) -> list[dict]:
    """Every case that was asked for."""
    rng, found = np.random.default_rng(options.seed), []
    for name, size in (("paper", PAPER), ("demo", DEMO)):
        if "encoder" in options.cases:
            found += report(f"encoder alone, {name}'s size", encoder_alone(size, options, limit))
    if "beauty" in options.cases:
        catalog = beauty(options.data, folder, options.seed)
        items = random_items(catalog, options.batch, rng)
        for name, size in (("paper", PAPER), ("demo", DEMO)):
            found += report(f"Beauty, {name}'s size", whole("Beauty", catalog, items, size, options, limit))
    if "powerlaw" in options.cases:
        catalog = power_law(options.items, folder, options.seed)
        for name, draw in (("random", random_items), ("near", near_items)):
            items = draw(catalog, options.batch, rng)
            found += report(
                f"power law, {name} items, paper's size", whole(name, catalog, items, PAPER, options, limit)
            )
    return found


def main() -> None:
    """Measure and print."""
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=Path, help="folder with Beauty.txt and Beauty_item2attributes.json")
    parser.add_argument("--cases", nargs="+", default=["encoder", "beauty", "powerlaw"])
    parser.add_argument("--items", type=int, default=1_000_000, help="of the power-law graph")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--straightforward", type=int, default=32, help="entities that the straightforward form takes")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    limit = limits()
    print({name: f"{value:.3g}" for name, value in limit.items()})
    columns = ["case", "slots per unique entity", "pass", "entities/s", "straightforward", "times", "share of floor"]
    print("| " + " | ".join([*columns, "MB/entity", "straightforward"]) + " |")
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, limit, Path(folder))
    write(options.out, "training/embedder", limit, found)


if __name__ == "__main__":
    main()
