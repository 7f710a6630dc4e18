"""How long a training step takes in float32, in bfloat16, and compiled, side by side on the same batches.

    python benchmarks/training/step.py examples/movielens/omnisage.yaml --set model.dim=768 --set model.num_heads=12

Needs a workspace whose `tables`, `graph` and `neighbors` are done. The variants take turns, step by step, so that what
else the machine does meets all of them; printed are the median and the least of the steps' times on the clock and of
the processor's, after `--warm-up` steps. Batches are drawn before. With `--ranks 1 2 8`, what the first of so many
ranks draws of a step, and how long that takes, instead.
"""

import argparse
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from worlds import prepared

from omnisage.batches.batch import to_device
from omnisage.batches.description import LOG_DEGREE
from omnisage.batches.share import Share
from omnisage.batches.step import TrainingData, draw_step
from omnisage.config import load_config
from omnisage.launch import Launch
from omnisage.training.config import TrainingConfig
from omnisage.training.learner import Learner, choose_device
from omnisage.training.loop import train_step

VARIANTS = ("float32", "bfloat16", "compiled", "users-compiled")


@dataclass(frozen=True)
class Variant:
    """A learner of its own, and what its steps took."""

    learner: Learner
    config: TrainingConfig
    clock_s: list[float] = field(default_factory=list[float])
    processor_s: list[float] = field(default_factory=list[float])
    losses: list[float] = field(default_factory=list[float])


def print_shares(data: TrainingData, numbers: list[int], num_steps: int) -> None:
    """What a rank draws, by the number of ranks: medians over steps."""
    print("ranks  processor ms  own anchors  distinct entities")
    for num_ranks in numbers:
        rows: list[tuple[float, int, int]] = []
        for step in range(num_steps):
            began = time.process_time()
            entities = draw_step(replace(data, share=Share(0, num_ranks)), step).entities
            taken_s = time.process_time() - began
            num_anchors = sum(len(anchors.rows_B) for anchors in entities.anchors.values())
            num_entities = sum(len(features[LOG_DEGREE]) for features in entities.features.values())
            rows.append((1000 * taken_s, num_anchors, num_entities))
        medians = np.median(rows, axis=0)
        print(f"{num_ranks:5} {medians[0]:13.1f} {medians[1]:12,.0f} {medians[2]:18,.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="changes", metavar="FIELD=VALUE")
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["float32", "bfloat16"])
    parser.add_argument("--ranks", type=int, nargs="+", default=[])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warm-up", type=int, default=3)
    arguments = parser.parse_args()

    config = load_config(arguments.config, arguments.changes)
    workspace: Path = arguments.workspace or arguments.config.parent / "workspace"
    device = choose_device(config.training.device, Launch())
    torch.set_num_threads(config.training.num_threads)
    torch.use_deterministic_algorithms(device.type == "cpu")
    data = prepared(config, workspace, seed=config.seed, device=device).data
    if arguments.ranks:
        print_shares(data, arguments.ranks, arguments.steps)
        return
    variants: dict[str, Variant] = {}
    for name in arguments.variants:
        learner = prepared(config, workspace, seed=config.seed, device=device).learner
        compiled = [learner.model.embedders] if name == "compiled" else []
        compiled += list(learner.model.sequences.values()) if name.endswith("compiled") else []
        for module in compiled:
            module.compile(dynamic=True)
        precision = "bfloat16" if name == "bfloat16" else "float32"
        variants[name] = Variant(learner, config.training.model_copy(update={"precision": precision}))

    for step in range(arguments.warm_up + arguments.steps):
        batch = to_device(draw_step(data, step), device)
        for name, variant in variants.items():
            began = time.perf_counter(), time.process_time()
            losses = train_step(variant.learner, batch, variant.config, seed=data.seed)
            taken = time.perf_counter() - began[0], time.process_time() - began[1]
            variant.losses.append(losses["loss"])
            if step >= arguments.warm_up:
                variant.clock_s.append(taken[0])
                variant.processor_s.append(taken[1])
            elif step == 0:
                print(f"{name}: first step {taken[0]:.1f} s", flush=True)
    print(f"{device}, {torch.get_num_threads()} thread(s), dim {config.model.dim}, {arguments.steps} steps")
    print("variant    clock s: median   least   processor s: median   least    last loss")
    for name, variant in variants.items():
        numbers = [f(times) for times in (variant.clock_s, variant.processor_s) for f in (np.median, np.min)]
        print(f"{name:10} {numbers[0]:15.3f} {numbers[1]:7.3f} {numbers[2]:21.3f} {numbers[3]:7.3f} ", end="")
        print(f"{variant.losses[-1]:12.4f}")


if __name__ == "__main__":
    main()
