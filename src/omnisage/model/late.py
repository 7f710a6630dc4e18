"""Attention that reads neighbors before the last linear maps of their projection.

A neighbor's token is V z + c, with z what is wide and cheap: its features and the hidden layer of their projection.
Sums over neighbors commute with V, so attention sums the z of an anchor's neighbors and maps the sums. Folded into the
value projections that costs an anchor 4 D Z multiplications, where projecting first costs D Z for every distinct
neighbor: at a million entities, whose neighborhoods rarely overlap within a batch, more than half of all products.

Shapes: as in attention.py; Z width of z, d = D / H. Two sums per head and anchor: gates are linear in log weights.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from omnisage import _native
from omnisage.model.attention import AttentionInput, attention_weights

WIDTH_MULTIPLE = 16  # of parts, as the native kernel asks


@dataclass(frozen=True)
class Unprojected:
    """The entities of one type where they are neighbors: their tokens are z @ weight.T.

    One channel of z is 1 everywhere, and the bias its column of the weight.
    """

    parts: list[Tensor]  # [U_t, width] float32, side by side z
    weight_DZ: Tensor


def pays(num_entities: int, num_types: int, num_slots: int, num_anchors: list[int], *, dim: int, heads: int) -> bool:
    """Whether projecting late takes less time than projecting early: both in rows of a product with V.

    Args:
        num_entities: distinct entities of the batch.
        num_types: how many types they are of.
        num_slots: neighbor slots of the batch, filled or not.
        num_anchors: anchors of each type that has some.
    """
    mapped = num_types * sum(2 * dim + 2 * anchors for anchors in num_anchors)
    # A sum reads z from memory: what it multiplies takes some 4 times as long as in a product of large matrices.
    summed = 4 * num_slots * 2 * heads / dim
    return mapped + summed < num_entities


def score(neighbors: list[Unprojected], readers_GD: Tensor) -> Tensor:
    """The products [U, G] of every neighbor's token with some vectors."""
    scores: list[Tensor] = []
    for of_type in neighbors:
        by_part = (readers_GD @ of_type.weight_DZ).split([part.shape[1] for part in of_type.parts], dim=1)
        terms = [part @ weight.T for part, weight in zip(of_type.parts, by_part, strict=True)]
        scores.append(torch.stack(terms).sum(dim=0))
    return torch.cat(scores)


def attend_late(neighbors: list[Unprojected], given: AttentionInput, value_weight_HdD: Tensor) -> tuple[Tensor, Tensor]:
    """`attend` over neighbors that are not projected, followed by the value projection of each head.

    Args:
        neighbors: by type; `given.neighbors_BK` counts them one type after the other.
        given: float32 on a CPU, with scores from `score`.
        value_weight_HdD: of attention.

    Returns:
        [H, B, d] the value of what each head reads, without bias, and [H, B] the sums of the weights.
    """
    own_BJH, slots_BKH = attention_weights(given)
    reads_HBD = torch.einsum("bjh,bjd->hbd", own_BJH, given.own_BJD) + torch.einsum(
        "bkh,kd->hbd", slots_BKH, given.positions_KD
    )
    values_HBd = reads_HBD @ value_weight_HdD.transpose(1, 2)
    weights_BKG = torch.cat([slots_BKH, slots_BKH * given.log_weights_BK[..., None]], dim=2)
    gated_GdD = (given.gates_2D[:, None, None] * value_weight_HdD).flatten(0, 1)
    first = 0
    for of_type in neighbors:
        num_entities = len(of_type.parts[0])
        rows_BK = given.neighbors_BK - first
        is_here_BK = given.present_BK & (rows_BK >= 0) & (rows_BK < num_entities)
        sums_GBZ = sum_weighted(of_type.parts, rows_BK, is_here_BK, weights_BKG)
        by_sums_GdZ = gated_GdD @ of_type.weight_DZ
        offset_HBd, slope_HBd = (sums_GBZ @ by_sums_GdZ.transpose(1, 2)).chunk(2)
        values_HBd = values_HBd + offset_HBd + slope_HBd
        first += num_entities
    return values_HBd, (own_BJH.sum(dim=1) + slots_BKH.sum(dim=1)).T


def sum_weighted(parts: list[Tensor], rows_BK: Tensor, present_BK: Tensor, weights_BKG: Tensor) -> Tensor:
    """Sums [G, B, Z] of the rows in each anchor's slots, one per weight of a slot (`native/weighted_sums.hpp`).

    Args:
        parts: [U, width] float32 on a CPU, side by side the rows.
        rows_BK: int64, below U where present.
        present_BK: bool.
        weights_BKG: float32.
    """
    return _WeightedSums.apply(weights_BKG, rows_BK, present_BK, *parts)


def padded(columns: Tensor) -> Tensor:
    """Columns of zeros added, up to the multiple of 16 that `Unprojected.parts` are wide."""
    missing = -columns.shape[1] % WIDTH_MULTIPLE
    return functional.pad(columns, (0, missing)) if missing else columns


class _WeightedSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, rows: Tensor, present: Tensor, *parts: Tensor) -> Tensor:
        ctx.save_for_backward(weights, rows, present, *parts)
        sums = _native.sum_weighted(*_arrays(weights, rows, present, parts), num_threads=torch.get_num_threads())
        return torch.from_numpy(sums).view(weights.shape[2], len(rows), sums.shape[1])

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        weights, rows, present, *parts = ctx.saved_tensors
        by_sums, threads = upstream[0].contiguous().flatten(0, 1).numpy(), torch.get_num_threads()
        by_weights, *by_parts = _native.sum_weighted_backward(
            *_arrays(weights, rows, present, parts), by_sums, ctx.needs_input_grad[3:], num_threads=threads
        )
        gradients = [torch.from_numpy(x) if len(x) else None for x in by_parts]
        return torch.from_numpy(by_weights).view_as(weights), None, None, *gradients


def _arrays(weights: Tensor, rows: Tensor, present: Tensor, parts: Any) -> tuple[Any, Any, Any, Any]:
    matrices = [part.detach().contiguous().numpy() for part in parts]
    return matrices, rows.contiguous().numpy(), present.view(torch.uint8).numpy(), weights.contiguous().detach().numpy()
