"""Neighbors read as in other graph networks, to compare the transformer with: GAT and PinSage.

All else (feature encoders, dropouts, head, tasks, budget) is that of `encoder.py`, so a difference is one of how
neighbors are read. With two hops each neighbor has read some of its own before it is read.

Shapes: B anchors of the type, U unique entities of all types, K neighbor slots, F own features, D width of tokens,
H heads, d = D / H, E width of embeddings.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from omnisage.model.config import ModelConfig
from omnisage.model.encoder import BesideDirect, InputDropout
from omnisage.model.modules import Projection, unit_rows, widened


class AggregatingEncoder(nn.Module):
    """Own tokens and neighbors to one embedding, for one entity type."""

    def __init__(self, num_features: int, config: ModelConfig):
        super().__init__()
        self.input_dropout = InputDropout(config)
        self.own = nn.Linear(num_features * config.dim, config.dim)
        self.layer = build_layer(config)
        self.head = Projection(config.dim, config.embedding_dim)
        self.skip = nn.Linear(num_features * config.dim, config.embedding_dim)
        self.beside_direct = BesideDirect(config)

    def forward(
        self,
        own_BFD: Tensor,
        tokens_UD: Tensor,
        neighbors_BK: Tensor,
        weights_BK: Tensor,
        present_BK: Tensor,
        *,
        direct_BE: Tensor | None = None,
    ) -> Tensor:
        """Embed B anchors.

        Args:
            own_BFD: tokens of the anchors' own features, float.
            tokens_UD: tokens of all unique entities of the batch, float.
            neighbors_BK: rows of `tokens_UD`, int64; any valid row where absent.
            weights_BK: proximity, float.
            present_BK: bool, False for empty slots.
            direct_BE: with `model.direct`, what the layer's output is added to, float.

        Returns:
            [B, E] float; rows of length 1, unless `unit_length` is false.
        """
        own_BFD, present_BK = self.input_dropout(own_BFD, present_BK)
        own_BX = own_BFD.flatten(1)
        read_BD = self.layer(self.own(own_BX), tokens_UD, neighbors_BK, weights_BK, present_BK)
        return self.beside_direct(self.head(read_BD) + self.skip(own_BX), direct_BE)


def build_layer(config: ModelConfig) -> nn.Module:
    """The layer that `model.aggregator` names; it takes and gives what `GatLayer.forward` does."""
    return GatLayer(config) if config.aggregator == "gat" else ImportanceLayer(config)


class GatLayer(nn.Module):
    """Graph attention (Velickovic et al., ICLR 2018, Eqs. 1 to 5), over neighbors and the entity itself."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.num_heads = config.num_heads
        self.project = nn.Linear(config.dim, config.dim, bias=False)
        scale = (config.dim // config.num_heads) ** -0.5
        self.reader_Hd = nn.Parameter(torch.randn(config.num_heads, config.dim // config.num_heads) * scale)
        self.read_Hd = nn.Parameter(torch.randn(config.num_heads, config.dim // config.num_heads) * scale)
        self.bias = nn.Parameter(torch.zeros(config.dim))
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        own_BD: Tensor,
        tokens_UD: Tensor,
        neighbors_BK: Tensor,
        weights_BK: Tensor,  # noqa: ARG002 - layers are called alike
        present_BK: Tensor,
    ) -> Tensor:
        """What the entities have read, [B, D]; proximities do not matter.

        Args:
            own_BD: the entities' own tokens.
            tokens_UD, neighbors_BK, weights_BK, present_BK: as in `AggregatingEncoder.forward`.
        """
        own_BHd = self.project(own_BD).unflatten(1, (self.num_heads, -1))
        values_UHd = self.project(tokens_UD).unflatten(1, (self.num_heads, -1))
        readers_BH, itself_BH = (own_BHd * self.reader_Hd).sum(-1), (own_BHd * self.read_Hd).sum(-1)
        scores_BKH = functional.embedding(neighbors_BK, (values_UHd * self.read_Hd).sum(-1)) + readers_BH[:, None]
        scores_BKH = scores_BKH.masked_fill(~present_BK[..., None], -torch.inf)
        scores_BJH = torch.cat([(readers_BH + itself_BH)[:, None], scores_BKH], dim=1)
        shares_BJH = self.dropout(functional.leaky_relu(scores_BJH, 0.2).softmax(dim=1))
        neighbors_BKHd = functional.embedding(neighbors_BK, values_UHd.flatten(1)).unflatten(2, (self.num_heads, -1))
        read_BHd = torch.einsum("bkh,bkhd->bhd", shares_BJH[:, 1:], neighbors_BKHd)
        return functional.elu((read_BHd + shares_BJH[:, 0, :, None] * own_BHd).flatten(1) + self.bias)


class ImportanceLayer(nn.Module):
    """Importance pooling (PinSage, Ying et al., KDD 2018, Algorithm 1): neighbors count by their share of the walk."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.neighbor = nn.Linear(config.dim, config.dim)
        self.join = nn.Linear(2 * config.dim, config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, own_BD: Tensor, tokens_UD: Tensor, neighbors_BK: Tensor, weights_BK: Tensor, present_BK: Tensor
    ) -> Tensor:
        """What the entities have become, [B, D], rows of length sqrt(D); args as in `GatLayer.forward`."""
        values_UD = self.neighbor(tokens_UD).relu()
        weights_BK = weights_BK * present_BK
        shares_BK = weights_BK / weights_BK.sum(dim=1, keepdim=True).clamp(min=1e-12)
        pooled_BD = torch.einsum("bk,bkd->bd", shares_BK, functional.embedding(neighbors_BK, values_UD))
        joined_BD = self.join(torch.cat([self.dropout(own_BD), self.dropout(pooled_BD)], dim=1)).relu()
        return unit_rows(joined_BD) * joined_BD.shape[1] ** 0.5


class SecondHop(nn.Module):
    """The layer by which neighbors of one entity type read theirs."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.neighbor_dropout = config.neighbor_dropout
        self.layer = build_layer(config)

    def forward(
        self, own_BD: Tensor, tokens_UD: Tensor, neighbors_BK: Tensor, weights_BK: Tensor, present_BK: Tensor
    ) -> Tensor:
        """Their tokens [B, D] after that; args as in `GatLayer.forward`."""
        if self.training and self.neighbor_dropout > 0:
            present_BK = present_BK & (torch.rand(present_BK.shape, device=own_BD.device) >= self.neighbor_dropout)
        return widened(self.layer(own_BD, tokens_UD, neighbors_BK, weights_BK, present_BK))
