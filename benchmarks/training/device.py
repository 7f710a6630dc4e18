"""The parts of training on a GPU: the collapsed encoder, the softmax over candidates, and whole steps beside a CPU's.

    python benchmarks/training/device.py examples/movielens/omnisage.yaml --out device.json          # 3 minutes

Needs a GPU, and a workspace whose `tables`, `graph` and `neighbors` are done. The encoder, at the paper's size, is
compared with torch's ordinary layer over all tokens, forward + backward, on the same weights and the same batch; the
softmax with torch's cross entropy over all logits, where that fits. The steps of the config run on the GPU in float32
and in bfloat16 and on the CPU in float32, on the same batches in turns. Memory is what torch allocates at its peak
beside what there was before.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from embedder import PAPER, with_gradients
from measuring import make_parser, write
from softmax import CANDIDATES, FORMS
from torch import Tensor
from torch.nn import functional
from worlds import prepared

from omnisage.batches.batch import to_device
from omnisage.batches.step import draw_step
from omnisage.config import load_config
from omnisage.model.encoder import EntityEncoder
from omnisage.training.loop import train_step

GPU = torch.device("cuda")


def timed(run: Callable[[], object], repeats: int) -> tuple[float, int]:
    """The fastest of some runs in seconds, after one that does not count, and the bytes that a run adds at its peak."""
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    added = torch.cuda.max_memory_allocated() - before
    seconds: list[float] = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        began = time.perf_counter()
        run()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return min(seconds), added


def limits() -> dict[str, float]:
    """Operations/s of large products, bytes/s that a copy moves (read + write)."""
    found: dict[str, float] = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        left, right = torch.randn(2, 8192, 8192, device=GPU, dtype=dtype)
        found[f"{name}_operations_per_s"] = 2 * 8192**3 / timed(lambda a=left, b=right: a @ b, 5)[0]
    source = torch.empty(1 << 28, device=GPU)
    target = torch.empty_like(source)
    return found | {"bytes_per_s": 8 * source.numel() / timed(lambda: target.copy_(source), 5)[0]}


def measure_encoder(options: argparse.Namespace) -> list[dict]:
    """Tokens given, 150 slots, all filled; the ordinary form takes as many anchors as fit beside it."""
    num_anchors, num_unique, num_slots, num_own, dim = options.batch, 100_000, 150, 3, PAPER.model.dim
    encoder = EntityEncoder(num_own, num_slots, PAPER.model).to(GPU)
    own, tokens = (
        torch.randn(n, device=GPU).requires_grad_() for n in ((num_anchors, num_own, dim), (num_unique, dim))
    )
    slots = (
        torch.randint(num_unique, (num_anchors, num_slots), device=GPU),
        torch.rand(num_anchors, num_slots, device=GPU),
        torch.ones(num_anchors, num_slots, dtype=torch.bool, device=GPU),
    )
    layers = [p for name, p in encoder.named_parameters() if not name.startswith(("head", "skip"))]
    sources = [own, tokens, *layers]
    forms: dict[str, Callable[..., Tensor]] = {"collapsed": encoder.collapsed, "ordinary": encoder.ordinary}
    with torch.no_grad():
        collapsed, ordinary = (form(own, tokens, *slots) for form in forms.values())
    difference = float((collapsed - ordinary).abs().max())
    print(f"| encoder | largest difference of outputs | {difference:.1e} | |")
    rows = []
    for precision in ("float32", "bfloat16"):
        for name, form in forms.items():

            def run(form: Callable[..., Tensor] = form, precision: str = precision) -> None:
                with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bfloat16"):
                    with_gradients(lambda: form(own, tokens, *slots).float(), sources)

            seconds, added = timed(run, options.repeats)
            rate = num_anchors / seconds
            rows.append({"form": name, "precision": precision, "entities_per_s": rate, "bytes": added})
            print(f"| encoder | {name}, {precision} | {rate:,.0f} entities/s | {added / 1e6:,.0f} MB |", flush=True)
    return [row | {"largest_difference": difference} for row in rows]


def measure_softmax(options: argparse.Namespace) -> list[dict]:
    """Loss and gradients of 8,192 queries; dense where its copies of all logits fit."""
    rows, num_queries, width = [], 8192, 256
    for num_candidates in CANDIDATES:
        shapes = ((num_queries, width), (num_candidates, width))
        queries, candidates = (functional.normalize(torch.randn(s, device=GPU), dim=1).requires_grad_() for s in shapes)
        log_q = -torch.rand(num_candidates, device=GPU)
        columns = torch.randint(num_candidates, (num_queries,), device=GPU)
        scale = torch.tensor(20.0, device=GPU, requires_grad=True)
        for form, loss in FORMS.items():
            if form == "dense" and 12 * num_queries * num_candidates > 0.8 * torch.cuda.mem_get_info()[0]:
                continue

            given, sources = (queries, candidates, log_q, columns, scale), (queries, candidates, scale)
            seconds, added = timed(
                lambda f=loss, given=given, s=sources: torch.autograd.grad(f(*given), s), options.repeats
            )
            per_logit = 1e12 * seconds / num_queries / num_candidates
            beside = added - 4 * candidates.numel()
            rows.append({"form": form, "candidates": num_candidates, "ps_per_logit": per_logit, "bytes_beside": beside})
            print(
                f"| softmax, {num_candidates:,} | {form} | {per_logit:.2f} ps/logit | {beside / 1e6:,.0f} MB |",
                flush=True,
            )
    return rows


def measure_steps(options: argparse.Namespace) -> list[dict]:
    """Medians over steps; the loss of the last one says whether all three learn alike."""
    config = load_config(options.config, options.changes)
    workspace = options.config.parent / "workspace"
    sides = [("float32", torch.device("cpu")), ("float32", GPU), ("bfloat16", GPU)]
    learners = [prepared(config, workspace, seed=config.seed, device=device).learner for _, device in sides]
    data = prepared(config, workspace, seed=config.seed).data
    seconds: list[list[float]] = [[] for _ in sides]
    losses = [0.0] * len(sides)
    for step in range(options.steps):
        batch = draw_step(data, step)
        for number, (precision, device) in enumerate(sides):
            training = config.training.model_copy(update={"precision": precision})
            began = time.perf_counter()
            losses[number] = train_step(learners[number], to_device(batch, device), training, seed=0)["loss"]
            seconds[number].append(time.perf_counter() - began)
    rows = []
    for (precision, device), taken, loss in zip(sides, seconds, losses, strict=True):
        median = float(np.median(taken[options.steps // 4 :]))
        rows.append({"device": device.type, "precision": precision, "step_s": median, "last_loss": loss})
        print(f"| step | {device.type}, {precision} | {1000 * median:.1f} ms | last loss {loss:.4f} |")
    return rows


def main() -> None:
    """Measure and print."""
    parser = make_parser(__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", dest="changes", action="append", default=[], help="replace a field of the config")
    parser.add_argument("--batch", type=int, default=2048, help="anchors of the encoder")
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    limit = limits()
    print({name: f"{value:.3g}" for name, value in limit.items()}, torch.cuda.get_device_name())
    results = {
        "device": torch.cuda.get_device_name(),
        "encoder": measure_encoder(options),
        "softmax": measure_softmax(options),
        "steps": measure_steps(options),
    }
    write(options.out, "training/device", limit, results)


if __name__ == "__main__":
    main()
