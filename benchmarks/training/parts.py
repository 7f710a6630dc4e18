"""Where a training step's time goes: seconds of each part, its share of the matmul rate, and waiting for data.

Parts are timed over some steps, the median counts. Operations are those of products, as torch counts them and as our
kernels' shapes give them; a part of look-ups has none. Loading is how long the loop waits for the next batch while a
thread prepares it, as in training.
    omnisage fetch movielens examples/movielens/data && omnisage neighbors examples/movielens/omnisage.yaml
    python benchmarks/training/parts.py                       # the demo, and a generated million; 10 minutes
    python benchmarks/training/parts.py --worlds demo --threads 1 --out parts.json
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measuring import counting, limits, make_parser, write
from torch import Tensor, nn
from worlds import World, generated, prepared

from omnisage.batches.batch import StepBatch
from omnisage.batches.loader import load_steps
from omnisage.batches.step import draw_step
from omnisage.config import load_config
from omnisage.model.embedder import Embedded
from omnisage.tasks.task import Step
from omnisage.training.loop import train_step

DEMO = Path(__file__).parents[2] / "examples" / "movielens" / "omnisage.yaml"
Lap = Callable[[str], None]


def run_step(world: World, batch: StepBatch, lap: Lap) -> None:
    """What `train_step` does, part by part."""
    learner, embedders = world.learner, world.learner.model.embedders
    learner.stream.update(batch.candidates)
    log_q = {t: torch.from_numpy(learner.stream.log_q(t, drawn)) for t, drawn in batch.candidates.items()}
    lap("log Q")
    features, entities = embedders.feature_encoders, batch.entities
    vectors = {t: features[t].vectors(raw) for t, raw in entities.features.items()}
    lap("look-up of features")
    tokens = torch.cat([features[t].neighbor_tokens(v) for t, v in vectors.items()])
    own = {t: features[t].own_tokens(vectors[t], anchors.rows_B) for t, anchors in entities.anchors.items()}
    lap("projection")
    embeddings: list[Tensor] = []
    for t, a in entities.anchors.items():
        embeddings.append(embedders.entity_encoders[t](own[t], tokens, a.neighbors_BK, a.log_weights_BK, a.present_BK))
    step = Step(batch, Embedded(torch.cat(embeddings), vectors), log_q)
    lap("entity encoders")
    losses: dict[str, Tensor] = {}
    for name, task in learner.tasks.items():
        losses |= task.losses(step)
        lap(f"{name} (loss, and its gradients by embeddings)")
    learner.optimizer.zero_grad()
    torch.stack(list(losses.values())).sum().backward()
    lap("backward")
    nn.utils.clip_grad_norm_(learner.parameters(), world.config.training.max_grad_norm)
    learner.optimizer.step()
    lap("clipping and optimizer")


def count_operations(world: World, batch: StepBatch) -> dict[str, float]:
    """Of products, by part."""
    operations: dict[str, float] = {}
    with counting() as counted:

        def lap(name: str) -> None:
            operations[name] = counted.operations - sum(operations.values())

        run_step(world, batch, lap)
    return operations


def time_parts(world: World, batches: list[StepBatch]) -> dict[str, float]:
    """Median seconds by part."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for batch in batches:
        started = [time.perf_counter()]

        def lap(name: str, started: list[float] = started) -> None:
            seconds[name].append(time.perf_counter() - started[0])
            started[0] = time.perf_counter()

        run_step(world, batch, lap)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def time_loading(world: World, num_steps: int) -> dict[str, float]:
    """Seconds per step in the loop, and how many of them it waits for the loader."""
    batches = load_steps(world.data, 1, num_steps + 4)
    waited: list[float] = []
    for number, _ in enumerate(range(num_steps + 2)):
        if number == 2:  # the first batches are not yet ahead
            waited, begun = [], time.perf_counter()
        started = time.perf_counter()
        batch = next(batches)
        waited.append(time.perf_counter() - started)
        train_step(world.learner, batch, world.config.training, seed=world.data.seed)
    batches.close()
    return {"step_s": (time.perf_counter() - begun) / num_steps, "waiting_s": sum(waited) / num_steps}


def measure(name: str, world: World, options: argparse.Namespace, limit: dict[str, float]) -> dict:
    """Prints the table of one world."""
    batches = [draw_step(world.data, step) for step in range(options.repeats + 1)]
    operations = count_operations(world, batches[0])
    parts = time_parts(world, batches[1:])
    total = sum(parts.values())
    print(f"\n| {name}: part | ms | share of the step | Gop | share of the matmul rate |\n|---|---|---|---|---|")
    for part, seconds in parts.items():
        rate = operations[part] / seconds / limit["operations_per_s"]
        print(f"| {part} | {1e3 * seconds:.1f} | {seconds / total:.2f} | {operations[part] / 1e9:.2f} | {rate:.2f} |")
    loading = time_loading(world, options.steps)
    share = loading["waiting_s"] / loading["step_s"]
    print(
        f"\na step in the loop: {1e3 * loading['step_s']:.0f} ms, of which it waits for its batch {share:.1%}",
        flush=True,
    )
    return {"parts_s": parts, "operations": operations, **loading}


def main() -> None:
    """Measure and print."""
    parser = make_parser(__doc__)
    parser.add_argument("--worlds", nargs="+", default=["demo", "generated"])
    parser.add_argument("--config", type=Path, default=DEMO, help="config of the demo")
    parser.add_argument("--items", type=int, default=1_000_000, help="of the generated set")
    parser.add_argument("--steps", type=int, default=20, help="in the loop, to time the loader")
    parser.set_defaults(threads=1, repeats=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    limit = limits()
    print({name: f"{value:.3g}" for name, value in limit.items()})
    results = {}
    for name in options.worlds:
        if name == "demo":
            workspace = options.config.parent / "workspace"
            world = prepared(load_config(options.config), workspace, seed=options.seed)
        else:
            world = generated(options.items, options.seed)
        results[name] = measure(name, world, options, limit)
    write(options.out, "training/parts", limit, results)


if __name__ == "__main__":
    main()
