"""Prefixes of embeddings in the loss, against plain torch; and where they are refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_tasks import make_model, make_step, make_tasks
from torch import Tensor
from torch.nn import functional

from learning_world import HARD, Prepared, train
from omnisage.batches.batch import ExtraNegatives, Seen
from omnisage.errors import OmnisageError
from omnisage.model.embedder import Embedded
from omnisage.tasks.config import MatryoshkaConfig
from omnisage.tasks.task import Step

WIDTH, SCALE = 6, 4.0


def drawn(rows: int, seed: int) -> Tensor:
    torch.manual_seed(seed)
    return functional.normalize(torch.randn(rows, WIDTH, dtype=torch.float64), dim=1).requires_grad_()


def plain(q: Tensor, c: Tensor, a: Tensor, log_q: Tensor, extra: ExtraNegatives, dim: int) -> Tensor:
    """The loss of one prefix, query by query; query 1 has seen candidate 4."""
    if dim < WIDTH:  # the whole is of length 1 as it comes
        q, c, a = (functional.normalize(of[:, :dim], dim=1) for of in (q, c, a))
    losses: list[Tensor] = []
    for row, column in enumerate([2, 0, 3]):
        terms = (SCALE * c @ q[row] - log_q).exp()
        total = terms.sum() - (terms[4] if row == 1 else 0)
        for slot, present in enumerate(extra.present_PM[row].tolist()):
            if present:
                total = total + (SCALE * a[extra.rows_PM[row, slot]] @ q[row] - extra.log_q_P[row]).exp()
        losses.append(total.log() - SCALE * c[column] @ q[row] + log_q[column])
    return torch.stack(losses).mean()


def test_the_loss_is_the_weighted_mean_over_prefixes_and_the_whole_of_plain_torch() -> None:
    queries, candidates, anchors = drawn(3, 0), drawn(5, 1), drawn(4, 2)
    log_q = torch.rand(5, dtype=torch.float64).log()
    rows_PM, present_PM = torch.tensor([[0, 1], [2, 3], [1, 0]]), torch.tensor([[1, 1], [1, 0], [0, 0]]).bool()
    extra = ExtraNegatives(rows_PM, present_PM, torch.rand(3, dtype=torch.float64).log())
    config = MatryoshkaConfig(dims=(2, 4), weight=0.25)
    step = Step(None, Embedded(anchors, {}), {"item": log_q}, config)  # type: ignore[arg-type]
    scale = torch.tensor(SCALE, dtype=torch.float64)
    seen = Seen(torch.tensor([1]), torch.tensor([4]))
    ours = step.softmax("item", queries, candidates, torch.tensor([2, 0, 3]), scale, seen=seen, extra=extra)
    weights = {WIDTH: 1.0, 2: 0.25, 4: 0.25}
    parts = [w * plain(queries, candidates, anchors, log_q, extra, dim) for dim, w in weights.items()]
    expected = torch.stack(parts).sum() / 1.5
    torch.testing.assert_close(ours, expected)
    leaves = (queries, candidates, anchors)
    for one, other in zip(torch.autograd.grad(ours, leaves), torch.autograd.grad(expected, leaves), strict=True):
        torch.testing.assert_close(one, other)


def test_every_task_learns_its_prefixes() -> None:
    """The loss of a task is then that of its whole and its prefixes, each as if embeddings had no more."""
    step, tasks = make_step(), make_tasks(make_model())
    with_prefixes = replace(step, matryoshka=MatryoshkaConfig(dims=(1,)))
    for task in tasks.values():
        whole, both = task.losses(step), task.losses(with_prefixes)
        assert whole.keys() == both.keys()
        for name in whole:
            assert both[name].isfinite()
            assert both[name] != whole[name]


@pytest.mark.parametrize(
    ("dims", "message"),
    [("[4, 2]", r"prefixes must rise"), ("[4, 8]", "model.embedding_dim is 8"), ("[]", "at least 1"), ("[0]", "1")],
)
def test_prefixes_that_are_none_are_refused(prepared: Prepared, dims: str, message: str) -> None:
    with pytest.raises(OmnisageError, match=message):
        prepared.config(f"tasks.matryoshka={{dims: {dims}}}")


def test_prefixes_of_embeddings_that_keep_their_length_are_refused(prepared: Prepared) -> None:
    with pytest.raises(OmnisageError, match=r"scaled to length 1, as the whole is not with model.unit_length: false"):
        prepared.config("tasks.matryoshka={dims: [4]}", "model.unit_length=false")


def test_training_learns_prefixes_also_of_hard_negatives_and_impressions(
    prepared_shown: Prepared, tmp_path: Path
) -> None:
    given = ["training.num_steps=2", HARD]
    losses: list[dict[str, float]] = []
    for name, more in (("whole", []), ("prefixes", ["tasks.matryoshka={dims: [2, 4]}"])):
        train(prepared_shown, tmp_path / name, [*given, *more])
        losses.append(json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[0]))
    assert losses[0].keys() == losses[1].keys()
    for task in ("entity_entity", "entity_feature", "user_next", "user_future"):
        assert losses[0][task] != losses[1][task]
