"""Attention of one constant query over an entity's own tokens and its neighbors: what a collapsed layer reads.

On a CPU in float32 a native kernel (`native/attention.hpp`) reads each neighbor's token where it lies, in inference
also in bfloat16; everywhere else torch copies tokens into slots. Both give the same up to rounding
(`tests/model/test_attention.py`).

Shapes: B anchors, U unique entities, J own tokens, K neighbor slots, S = J + K tokens, H heads, D width of tokens.
"""

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from omnisage import _native

_NATIVE_TYPES = (torch.float32, torch.int64, torch.bool)
_VIEWS = {torch.bool: torch.uint8, torch.bfloat16: torch.uint16}  # what NumPy has no name for, or our kernel another


@dataclass(frozen=True)
class AttentionInput:
    """All that attention needs beside the neighbors' tokens.

    The token in a slot is gates[0] * token + log weight * gates[1] * token + position, with products by channel; its
    score is scores[:H] + log weight * scores[H:] + position score.
    """

    scores_UG: Tensor  # [U, 2H]
    neighbors_BK: Tensor  # int64, rows of the tokens; any valid row where absent
    log_weights_BK: Tensor
    present_BK: Tensor  # bool
    own_BJD: Tensor
    own_scores_BJH: Tensor
    positions_KD: Tensor
    position_scores_KH: Tensor
    gates_2D: Tensor
    factors_BSH: Tensor | None  # what weights are multiplied with: dropout


@dataclass(frozen=True)
class Scored:
    """Neighbors whose tokens and scores are there already: inference has them of all entities."""

    tokens_UD: Tensor
    scores_UG: Tensor  # [U, 2H], of `EntityEncoder.neighbor_scores`


def attend(tokens_UD: Tensor, given: AttentionInput) -> tuple[Tensor, Tensor]:
    """The softmax of each head's scores over own tokens and present slots, and the sums of tokens weighted by it.

    Returns:
        [H, B, D], what each head reads, and [H, B], the sums of the weights: 1 without dropout.
    """
    tensors = [tokens_UD, *(getattr(given, field.name) for field in fields(given))]
    # Without gradients, views of parameters may still say that they require one.
    is_learning = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)
    is_brief = tokens_UD.dtype == torch.bfloat16 and not is_learning
    is_native = (
        not torch.compiler.is_exporting()
        and tokens_UD.shape[1] % 16 == 0
        and not given.log_weights_BK.requires_grad
        and all(x is None or x.device.type == "cpu" for x in tensors)
        and (is_brief or tokens_UD.dtype in _NATIVE_TYPES)
        and all(x is None or x.dtype in _NATIVE_TYPES for x in tensors[1:])
    )
    return _NativeAttention.apply(*tensors) if is_native else attend_by_torch(tokens_UD, given)


def attend_by_torch(tokens_UD: Tensor, given: AttentionInput) -> tuple[Tensor, Tensor]:
    """`attend` for any device and dtype, and by all inputs differentiable."""
    if torch.compiler.is_exporting() and given.neighbors_BK.shape[1] == 0:
        # Runtimes of exported graphs do not multiply by empty matrices as torch does. Nothing is dropped there.
        own_BJH = given.own_scores_BJH.softmax(dim=1)
        return (own_BJH.transpose(1, 2) @ given.own_BJD).transpose(0, 1), own_BJH.sum(dim=1).T
    own_BJH, slots_BKH = attention_weights(given)
    slots_BHK = slots_BKH.transpose(1, 2)
    # The gate is linear, so it is applied to the sums.
    both_BGK = torch.cat([slots_BHK, slots_BHK * given.log_weights_BK[:, None]], dim=1)
    tokens_BKD = functional.embedding(given.neighbors_BK, tokens_UD).to(both_BGK.dtype)
    offset_BHD, slope_BHD = (both_BGK @ tokens_BKD).chunk(2, dim=1)
    reads_BHD = (
        given.gates_2D[0] * offset_BHD
        + given.gates_2D[1] * slope_BHD
        + slots_BHK @ given.positions_KD
        + own_BJH.transpose(1, 2) @ given.own_BJD
    )
    return reads_BHD.transpose(0, 1), (own_BJH.sum(dim=1) + slots_BKH.sum(dim=1)).T


def attention_weights(given: AttentionInput) -> tuple[Tensor, Tensor]:
    """The softmax of each head's scores, times `factors_BSH`: of own tokens [B, J, H] and of slots [B, K, H]."""
    num_heads = given.own_scores_BJH.shape[2]
    scores_BKG = functional.embedding(given.neighbors_BK, given.scores_UG)
    scores_BKH = (
        scores_BKG[..., :num_heads]
        + given.log_weights_BK[..., None] * scores_BKG[..., num_heads:]
        + given.position_scores_KH
    ).masked_fill(~given.present_BK[..., None], -torch.inf)
    weights_BSH = torch.cat([given.own_scores_BJH, scores_BKH], dim=1).softmax(dim=1)
    if given.factors_BSH is not None:
        weights_BSH = weights_BSH * given.factors_BSH
    own_BJH, slots_BKH = weights_BSH.split([given.own_BJD.shape[1], given.neighbors_BK.shape[1]], dim=1)
    return own_BJH, slots_BKH


class _NativeAttention(torch.autograd.Function):
    """Saves the weights, and computes tokens in slots anew for the gradient."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor | None) -> tuple[Tensor, Tensor]:
        arrays = _arrays(given)
        reads, totals, weights = _native.attend(arrays, num_threads=torch.get_num_threads())
        ctx.save_for_backward(*given, torch.from_numpy(weights))
        num_heads, num_anchors = totals.shape
        return torch.from_numpy(reads).view(num_heads, num_anchors, -1), torch.from_numpy(totals)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        *given, weights = ctx.saved_tensors
        reads_HBD, totals_HB = (gradient.contiguous().numpy() for gradient in upstream)
        found = _native.attend_backward(
            _arrays(given), weights.numpy(), reads_HBD, totals_HB, num_threads=torch.get_num_threads()
        )
        tokens, scores, own, own_scores, positions, position_scores, gates = map(torch.from_numpy, found)
        own, own_scores = own.view_as(given[5]), own_scores.view_as(given[6])
        return tokens, scores, None, None, None, own, own_scores, positions, position_scores, gates, None


def _arrays(given: Any) -> Any:
    """As NumPy sees them; booleans as bytes, bfloat16 as its 16 bits."""
    contiguous = [None if x is None else x.detach().contiguous() for x in given]
    return tuple(None if x is None else x.view(_VIEWS.get(x.dtype, x.dtype)).numpy() for x in contiguous)
