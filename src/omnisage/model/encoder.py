"""An entity from its own features and its neighbors: one transformer encoder per entity type (OmniSage §3.2).

The sequence is [CLS], a token per own feature, a token per neighbor. Only CLS is read. With one layer its query does
not depend on the input, so the layer collapses exactly: a thin matrix product gives every score, one weighted sum per
head gives what attention reads, and the rest of the layer runs on one row per entity. The cost of a neighbor slot falls
from about 12 D^2 multiplications to 4 D H. More layers take `torch.nn.TransformerEncoder`, which is also
the oracle of the collapsed form (`tests/model/test_encoder.py`).

Shapes: B anchors of the type, U unique entities of all types, K neighbor slots, F own features, S = 1 + F + K tokens,
D width of tokens, H heads, d = D / H, E width of embeddings.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from omnisage.model.attention import AttentionInput, Scored, attend
from omnisage.model.config import ModelConfig
from omnisage.model.late import Unprojected, attend_late, score
from omnisage.model.modules import Finish, Projection, widened


class InputDropout(nn.Module):
    """Hides own features and neighbors in training, so that new and isolated entities are embedded well."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.neighbor_dropout = config.neighbor_dropout
        self.isolation_dropout = config.isolation_dropout
        self.feature_dropout = config.feature_dropout

    def forward(self, own_BFD: Tensor, present_BK: Tensor) -> tuple[Tensor, Tensor]:
        """What is left of both."""
        if self.training and self.neighbor_dropout > 0:
            present_BK = present_BK & (torch.rand(present_BK.shape, device=own_BFD.device) >= self.neighbor_dropout)
        if self.training and self.isolation_dropout > 0:
            present_BK = present_BK & (torch.rand(len(own_BFD), 1, device=own_BFD.device) >= self.isolation_dropout)
        if self.training and self.feature_dropout > 0:
            kept_BF = torch.rand(own_BFD.shape[:2], device=own_BFD.device) >= self.feature_dropout
            own_BFD = own_BFD * kept_BF[..., None]
        # The last feature is the degree. Without neighbors it is not read, so that an entity which lost them to
        # dropout is embedded as one that never had any.
        is_isolated_B1 = present_BK.sum(dim=1, keepdim=True) == 0  # runtimes of exported graphs find an empty row `any`
        own_BFD = widened(own_BFD)
        own_BFD = torch.cat([own_BFD[:, :-1], own_BFD[:, -1:].masked_fill(is_isolated_B1[..., None], 0)], dim=1)
        return own_BFD, present_BK


class BesideDirect(nn.Module):
    """The end of every encoder: what its layers say beside the entity's own vectors.

    With `model.direct` what the layers say begins at nothing (ReZero, Bachlechner et al., 2020): at random it is
    mostly the same for all entities, and drowns what is to be learned of each.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.feature_dropout = config.feature_dropout
        self.layer_scale = nn.Parameter(torch.zeros(config.embedding_dim)) if config.direct else None
        self.finish = Finish(config.embedding_dim, unit_length=config.unit_length)

    def forward(self, layers_BE: Tensor, direct_BE: Tensor | None) -> Tensor:
        """[B, E]; without direct vectors that of the layers alone."""
        if direct_BE is None or self.layer_scale is None:
            return self.finish(layers_BE)
        if self.training and self.feature_dropout > 0:
            direct_BE = direct_BE * (torch.rand(len(direct_BE), 1, device=direct_BE.device) >= self.feature_dropout)
        return self.finish(self.layer_scale * layers_BE, direct_BE)


class EntityEncoder(nn.Module):
    """Own tokens and neighbors to one embedding, for one entity type."""

    def __init__(self, num_features: int, num_slots: int, config: ModelConfig):
        super().__init__()
        self.num_features = num_features
        self.input_dropout = InputDropout(config)
        self.dropout = config.dropout
        self.cls = nn.Parameter(torch.randn(config.dim) * 0.02)
        self.positions = nn.Parameter(torch.randn(1 + num_features + num_slots, config.dim) * 0.02)
        # The gate of a neighbor's token is linear in its log weight: offset + slope * log weight, per channel.
        self.gate_offset = nn.Parameter(torch.ones(config.dim))
        self.gate_slope = nn.Parameter(torch.ones(config.dim))
        layer = nn.TransformerEncoderLayer(
            config.dim, config.num_heads, 4 * config.dim, config.dropout, activation="gelu", batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, config.num_layers, enable_nested_tensor=False)
        self.head = Projection(config.dim, config.embedding_dim)
        self.skip = nn.Linear(num_features * config.dim, config.embedding_dim)
        self.beside_direct = BesideDirect(config)

    def forward(
        self,
        own_BFD: Tensor,
        neighbors: Tensor | list[Unprojected] | Scored,
        neighbors_BK: Tensor,
        log_weights_BK: Tensor,
        present_BK: Tensor,
        *,
        direct_BE: Tensor | None = None,
    ) -> Tensor:
        """Embed B anchors.

        Args:
            own_BFD: tokens of the anchors' own features, float.
            neighbors: tokens [U, D] of all unique entities of the batch, float; or, by type, what they are maps of; or
                with their scores.
            neighbors_BK: which of the entities, int64; any valid one where absent.
            log_weights_BK: scaled log(1 + weight) in [0, 1], float.
            present_BK: bool, False for empty slots.
            direct_BE: with `model.direct`, what the layers' output is added to, float.

        Returns:
            [B, E] float; rows of length 1, unless `unit_length` is false.
        """
        own_BFD, present_BK = self.input_dropout(own_BFD, present_BK)
        if len(self.layers.layers) == 1:
            cls_BD = self.collapsed(own_BFD, neighbors, neighbors_BK, log_weights_BK, present_BK)
        else:
            tokens_UD = neighbors.tokens_UD if isinstance(neighbors, Scored) else neighbors
            assert isinstance(tokens_UD, Tensor), "several layers read tokens"
            cls_BD = self.ordinary(own_BFD, tokens_UD, neighbors_BK, log_weights_BK, present_BK)
        return self.beside_direct(self.head(cls_BD) + self.skip(own_BFD.flatten(1)), direct_BE)

    def ordinary(
        self, own_BFD: Tensor, tokens_UD: Tensor, neighbors_BK: Tensor, log_weights_BK: Tensor, present_BK: Tensor
    ) -> Tensor:
        """The CLS output [B, D] by the whole transformer over all S tokens; any number of layers."""
        if own_BFD.shape[0] == 0:  # a rank without anchors of this type; torch's attention refuses an empty batch
            return self.cls.expand(0, -1)
        gates_BKD = self.gate_offset + log_weights_BK[..., None] * self.gate_slope
        neighbors_BKD = gates_BKD * tokens_UD[neighbors_BK]
        cls_B1D = self.cls.expand(own_BFD.shape[0], 1, -1)
        tokens_BSD = torch.cat([cls_B1D, own_BFD, neighbors_BKD], dim=1) + self.positions
        absent_BS = functional.pad(~present_BK, (1 + self.num_features, 0), value=False)
        return self.layers(tokens_BSD, src_key_padding_mask=absent_BS)[:, 0]

    def collapsed(
        self,
        own_BFD: Tensor,
        neighbors: Tensor | list[Unprojected] | Scored,
        neighbors_BK: Tensor,
        log_weights_BK: Tensor,
        present_BK: Tensor,
    ) -> Tensor:
        """The CLS output [B, D] of a single layer, exactly, without building the token sequence."""
        layer = self._single_layer
        attention = layer.self_attn
        value_weight_HdD, value_bias_H1d = _value_projection(attention)
        # Sums over many slots, and gradients of tokens that stand in many: in float32 whatever the products are in.
        with torch.autocast(own_BFD.device.type, enabled=False):
            given = self.attention_input(own_BFD, neighbors, neighbors_BK, log_weights_BK, present_BK)
            if isinstance(neighbors, list):
                values_HBd, totals_HB = attend_late(neighbors, given, value_weight_HdD)
            else:
                tokens_UD = neighbors.tokens_UD if isinstance(neighbors, Scored) else neighbors
                reads_HBD, totals_HB = attend(tokens_UD, given)
                values_HBd = reads_HBD @ value_weight_HdD.transpose(1, 2)
        attended_BD = attention.out_proj(
            (values_HBd + totals_HB[..., None] * value_bias_H1d).transpose(0, 1).flatten(1)
        )
        return _finish_layer(layer, (self.cls + self.positions[0]).expand_as(attended_BD), attended_BD)

    def attention_input(
        self,
        own_BFD: Tensor,
        neighbors: Tensor | list[Unprojected] | Scored,
        neighbors_BK: Tensor,
        log_weights_BK: Tensor,
        present_BK: Tensor,
    ) -> AttentionInput:
        """What the collapsed layer's attention reads, from its one query to the scores of every token."""
        cls_D = self.cls + self.positions[0]
        readers_HD, gates_2D, readers_GD = self._readers()
        own_positions, slot_positions = self.positions[1:].split([own_BFD.shape[1], neighbors_BK.shape[1]])
        own_BJD = torch.cat([cls_D.expand(own_BFD.shape[0], 1, -1), own_BFD + own_positions], dim=1)
        shape_BSH = (own_BFD.shape[0], len(self.positions), self._single_layer.self_attn.num_heads)
        return AttentionInput(
            scores_UG=_scores(neighbors, readers_GD),
            neighbors_BK=neighbors_BK,
            log_weights_BK=log_weights_BK,
            present_BK=present_BK,
            own_BJD=own_BJD,
            own_scores_BJH=own_BJD @ readers_HD.T,
            positions_KD=slot_positions,
            position_scores_KH=slot_positions @ readers_HD.T,
            gates_2D=gates_2D,
            factors_BSH=functional.dropout(own_BFD.new_ones(shape_BSH), self.dropout)
            if self.training and self.dropout
            else None,
        )

    def neighbor_scores(self, tokens_UD: Tensor) -> Tensor:
        """What a single layer attends to neighbors by, [U, 2H]: a function of the neighbor alone."""
        return _scores(tokens_UD, self._readers()[2])

    @property
    def _single_layer(self) -> nn.TransformerEncoderLayer:
        layer = self.layers.layers[0]
        assert isinstance(layer, nn.TransformerEncoderLayer)
        return layer

    def _readers(self) -> tuple[Tensor, Tensor, Tensor]:
        """The vectors that score tokens [H, D], the gates [2, D], and both together [2H, D]."""
        # The key bias adds the same to every score of a head, so it cancels in the softmax.
        readers_HD = _score_vectors(self._single_layer.self_attn, self.cls + self.positions[0])
        gates_2D = torch.stack([self.gate_offset, self.gate_slope])
        return readers_HD, gates_2D, (gates_2D[:, None] * readers_HD).flatten(0, 1)


def _scores(neighbors: Tensor | list[Unprojected] | Scored, readers_GD: Tensor) -> Tensor:
    if isinstance(neighbors, Scored):
        return neighbors.scores_UG
    return score(neighbors, readers_GD) if isinstance(neighbors, list) else neighbors @ readers_GD.T


def _score_vectors(attention: nn.MultiheadAttention, cls_D: Tensor) -> Tensor:
    """Vectors [H, D] whose dot product with a token is that head's score for the CLS query."""
    dim = attention.embed_dim
    query_bias, query_weight = attention.in_proj_bias[:dim], attention.in_proj_weight[:dim]
    query_Hd = (query_weight @ cls_D + query_bias).view(attention.num_heads, -1)
    key_weight_HdD = attention.in_proj_weight[dim : 2 * dim].view(attention.num_heads, -1, dim)
    return torch.einsum("hd,hdD->hD", query_Hd, key_weight_HdD) * attention.head_dim**-0.5


def _value_projection(attention: nn.MultiheadAttention) -> tuple[Tensor, Tensor]:
    """The value projection of each head: its weight [H, d, D] and bias [H, 1, d]."""
    dim, num_heads = attention.embed_dim, attention.num_heads
    weight, bias = attention.in_proj_weight[2 * dim :], attention.in_proj_bias[2 * dim :]
    return weight.view(num_heads, -1, dim), bias.view(num_heads, 1, -1)


def _finish_layer(layer: nn.TransformerEncoderLayer, input_BD: Tensor, attended_BD: Tensor) -> Tensor:
    """The rest of a post-norm `TransformerEncoderLayer`, for one row per anchor."""
    hidden_BD = layer.norm1(input_BD + layer.dropout1(attended_BD))
    inner = layer.linear2(layer.dropout(functional.gelu(layer.linear1(hidden_BD))))
    return layer.norm2(hidden_BD + layer.dropout2(inner))
