"""Dense against chunked softmax loss over more and more candidates: time per logit and peak memory.

Each point is one process of its own, which computes the mean loss of some queries and the gradients of queries,
candidates and scale, as training does. Dense is torch's cross entropy over all logits; it runs where its three copies
of them fit into --dense-bytes. Memory is what the loss adds to the process at its peak, and beside it the same without
the gradient of the candidates, which any form must have. The floor is the time of the three products (logits, both
gradients; above the size where logits are computed twice, four) at the measured matmul rate.

    python benchmarks/training/softmax.py                        # 2 minutes
    python benchmarks/training/softmax.py --out softmax.json
"""

import argparse
import json
import subprocess
import sys

import torch
from measuring import fastest, floor_s, limits, make_parser, peak_memory, reset_peak, write
from torch import Tensor
from torch.nn import functional

from omnisage.tasks.softmax import sampled_softmax

CANDIDATES = [1 << power for power in (12, 14, 16, 18, 20)]
ONE_PASS = 1 << 14


def dense(queries: Tensor, candidates: Tensor, log_q: Tensor, columns: Tensor, scale: Tensor) -> Tensor:
    """All logits at once."""
    return functional.cross_entropy(scale * queries @ candidates.T - log_q, columns)


FORMS = {"chunked": sampled_softmax, "dense": dense}


def measure(form: str, num_candidates: int, options: argparse.Namespace) -> dict[str, float]:
    """One point, in this process."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    rows = (options.queries, num_candidates)
    queries, candidates = (functional.normalize(torch.randn(n, options.width), dim=1).requires_grad_() for n in rows)
    log_q, columns = -torch.rand(num_candidates), torch.randint(num_candidates, (options.queries,))
    scale = torch.tensor(20.0, requires_grad=True)

    def run() -> float:
        loss = FORMS[form](queries, candidates, log_q, columns, scale)
        torch.autograd.grad(loss, (queries, candidates, scale))
        return loss.item()

    before = reset_peak()
    loss = run()  # the first run's peak: later ones find memory that was kept
    added = peak_memory() - before
    (seconds,) = fastest([run], options.repeats)
    return {"loss": loss, "seconds": seconds, "bytes": added, "bytes_beside": added - 4 * candidates.numel()}


def run_point(form: str, num_candidates: int, options: argparse.Namespace) -> dict[str, float]:
    """One point, in a process of its own."""
    given = [f"--{name}={getattr(options, name)}" for name in ("queries", "width", "repeats", "seed", "threads")]
    point = [f"--form={form}", f"--candidates={num_candidates}"]
    output = subprocess.run([sys.executable, __file__, *given, *point], capture_output=True, text=True, check=True)
    return json.loads(output.stdout)


def main() -> None:
    """Measure and print."""
    parser = make_parser(__doc__)
    parser.add_argument("--queries", type=int, default=1024)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--candidates", type=int, nargs="+", default=CANDIDATES)
    parser.add_argument("--dense-bytes", type=float, default=3.5e9)
    parser.add_argument("--form", choices=list(FORMS), help=argparse.SUPPRESS)  # one point in this process
    options = parser.parse_args()
    if options.form:
        print(json.dumps(measure(options.form, options.candidates[0], options)))
        return
    torch.set_num_threads(options.threads)
    limit, results = limits(), []
    print("| candidates | form | ns per logit | floor, ns | MB added | MB beside the candidates' gradient |")
    print("|---|---|---|---|---|---|")
    for num_candidates in options.candidates:
        logits = num_candidates * options.queries
        for form in FORMS:
            if form == "dense" and 12 * logits > options.dense_bytes:
                print(f"| {num_candidates:,} | dense | does not fit | | {12 * logits / 1e6:,.0f} | |")
                continue
            products = 4 if form == "chunked" and num_candidates > ONE_PASS else 3
            floor = floor_s(limit, 2.0 * products * logits * options.width)
            point = run_point(form, num_candidates, options) | {"floor_s": floor, "form": form}
            results.append(point | {"candidates": num_candidates})
            print(
                f"| {num_candidates:,} | {form} | {1e9 * point['seconds'] / logits:.3f} | {1e9 * floor / logits:.3f} "
                f"| {point['bytes'] / 1e6:,.1f} | {point['bytes_beside'] / 1e6:,.1f} |",
                flush=True,
            )
    write(options.out, "training/softmax", limit, results)


if __name__ == "__main__":
    main()
