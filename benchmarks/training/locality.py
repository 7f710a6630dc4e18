"""What batches drawn with locality do to sharing, to speed and to quality, beside batches drawn at random.

    python benchmarks/training/locality.py examples/movielens/omnisage.yaml --steps 250 --seeds 0 1

Needs a workspace whose `tables`, `graph` and `neighbors` are done. With locality, an eighth of a step's pairs is drawn
at random, and each brings up to seven more, whose queries are the nearest neighbors of its query, of its own type;
users and random negatives are drawn as before. Both forms take the same number of steps. Printed are the distinct
entities of a step, its seconds, and the validation metrics after the last step.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from measuring import make_parser, write
from numpy.typing import NDArray
from worlds import prepared

from omnisage.batches import step as drawing
from omnisage.batches.batch import to_device
from omnisage.batches.description import LOG_DEGREE
from omnisage.batches.entities import EMPTY, EntitySource
from omnisage.batches.positives import PairGroup, draw_pairs
from omnisage.batches.step import TrainingData, draw_step
from omnisage.config import load_config
from omnisage.launch import Launch
from omnisage.randomness import generator
from omnisage.tables.artifact import open_tables
from omnisage.training.artifact import open_source
from omnisage.training.learner import choose_device
from omnisage.training.loop import train_step
from omnisage.training.validation import validate

NEAR_PER_PAIR = 7
Ids, Rows = NDArray[np.uint32], NDArray[np.int64]
Drawn = list[tuple[str, str, Ids, Ids]]


class NearPairs:
    """What stands for `draw_pairs`, for the folds of some training data."""

    def __init__(self, data: TrainingData):
        self.data = data
        self.orders = {id(g): np.argsort(g.source_ids, kind="stable") for groups in data.groups for g in groups}
        self.folds = {id(groups): fold for fold, groups in enumerate(data.groups)}

    def __call__(self, groups: list[PairGroup], num_pairs: int, seed: int, step: int) -> Drawn:
        """As `draw_pairs`: as many of each group, most of them near."""
        source = self.data.sources[self.folds[id(groups)]]
        rng = generator(seed, "pairs", step)
        shares = np.array([group.share for group in groups])
        drawn: Drawn = []
        for group, size in zip(groups, rng.multinomial(num_pairs, shares / shares.sum()), strict=True):
            rows = rng.integers(len(group.source_ids), size=size)
            if size:
                num_seeds = -(-size // (1 + NEAR_PER_PAIR))
                near = self.near_rows(source, group, group.source_ids[rows[:num_seeds]], rng)[: size - num_seeds]
                rows[num_seeds : num_seeds + len(near)] = near  # where they have too few pairs, the others are random
                drawn.append((group.source, group.target, group.source_ids[rows], group.target_ids[rows]))
        return drawn

    def near_rows(self, source: EntitySource, group: PairGroup, queries: Ids, rng: np.random.Generator) -> Rows:
        """One pair of each of the queries' nearest neighbors of their own type, of those that have any."""
        blocks = [block for block in source.neighbors[group.source].blocks if block.type == group.source]
        if not blocks:
            return np.empty(0, np.int64)
        columns = np.concatenate([np.arange(block.begin, block.end) for block in blocks])[:NEAR_PER_PAIR]
        near = np.asarray(source.neighbors[group.source].ids[queries])[:, columns].ravel()
        order = self.orders[id(group)]
        begins, ends = (np.searchsorted(group.source_ids[order], near, side=side) for side in ("left", "right"))
        has_pair = (ends > begins) & (near != EMPTY)
        return order[begins[has_pair] + rng.integers(ends[has_pair] - begins[has_pair])]


def learn(form: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Train from the beginning with one form of batches."""
    config = load_config(options.config, [*options.changes, f"training.num_steps={options.steps}"])
    workspace = options.config.parent / "workspace"
    device = choose_device(config.training.device, Launch())
    world = prepared(config, workspace, seed=seed, device=device)
    drawing.draw_pairs = NearPairs(world.data) if form == "near" else draw_pairs
    distinct: list[int] = []
    seconds = 0.0
    world.learner.model.train()
    for step in range(options.steps):
        batch = draw_step(world.data, step)
        distinct.append(sum(len(features[LOG_DEGREE]) for features in batch.entities.features.values()))
        began = time.perf_counter()
        train_step(world.learner, to_device(batch, device), config.training, seed=seed)
        seconds += time.perf_counter() - began
    tables = open_tables(workspace / "tables")
    source = open_source(tables, workspace / "graph", workspace / "neighbors")
    scores = validate(world.learner.model, source, tables, max_length=config.model.sequence.max_length)
    return {"distinct_entities": float(np.mean(distinct)), "step_s": seconds / options.steps, **scores}


def main() -> None:
    """Measure and print."""
    parser = make_parser(__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", dest="changes", action="append", default=[], help="replace a field of the config")
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results = []
    for seed in options.seeds:
        for form in ("random", "near"):
            results.append({"form": form, "seed": seed, **learn(form, seed, options)})
            print(json.dumps(results[-1]), flush=True)
    write(options.out, "training/locality", {}, results)


if __name__ == "__main__":
    main()
