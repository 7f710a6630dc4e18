"""The causal transformer that reads a user's events (OmniSage §3.3.3).

Shapes: B users, L events, N tokens that are computed, D width, E width of embeddings.
"""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from omnisage.batches.description import SequenceDescription
from omnisage.batches.pauses import NUM_PAUSES
from omnisage.model.config import ModelConfig
from omnisage.model.dropout import Dropout
from omnisage.model.modules import Finish
from omnisage.model.times import TimeFeatures


class UserModel(Protocol):
    """What makes users of their events: the model's transformer, or what a baseline has in its place."""

    def __call__(
        self,
        events_BLE: Tensor,
        actions_BL: Tensor | None,
        pauses_BL: Tensor,
        *,
        surfaces_BL: Tensor | None = None,
        times_BL: Tensor | None = None,
        lengths_B: Tensor | None = None,
    ) -> Tensor:
        """As `SequenceModel.forward`."""
        ...


class SequenceModel(nn.Module):
    """Event embeddings in time to user embeddings: one before the first event, and one after each."""

    def __init__(self, description: SequenceDescription, config: ModelConfig):
        super().__init__()
        sequence = config.sequence
        self.start = nn.Parameter(torch.randn(config.dim) * 0.02)
        self.project = nn.Linear(config.embedding_dim, config.dim)
        self.actions = _small_embedding(description.num_actions, config.dim)
        self.surfaces = _small_embedding(description.num_surfaces, config.dim)
        self.pauses = _small_embedding(NUM_PAUSES if sequence.time != "fourier" else 0, config.dim)
        self.times = TimeFeatures(config.dim) if sequence.time != "pauses" else None
        self.positions = nn.Parameter(torch.randn(sequence.max_length + 1, config.dim) * 0.1)
        self.dropout = Dropout(sequence.dropout)
        self.layers = nn.ModuleList(
            CausalLayer(config.dim, sequence.num_heads, sequence.dropout, sequence.attention_dropout)
            for _ in range(sequence.num_layers)
        )
        self.norm = nn.LayerNorm(config.dim)
        self.head = nn.Linear(config.dim, config.embedding_dim)
        self.direct_events = DirectEvents() if sequence.direct_events else None
        if sequence.direct_events:
            _begin_in_one_space(self.project, self.head)
        self.finish = Finish(config.embedding_dim, unit_length=config.unit_length)

    def forward(
        self,
        events_BLE: Tensor,
        actions_BL: Tensor | None,
        pauses_BL: Tensor,
        *,
        surfaces_BL: Tensor | None = None,
        times_BL: Tensor | None = None,
        lengths_B: Tensor | None = None,
    ) -> Tensor:
        """Read B users' events, oldest first; what stands after a user's last event never changes what is before.

        Args:
            events_BLE: embeddings of the events' entities, float; L at most `max_length`.
            actions_BL: int64, for a model with actions.
            pauses_BL: int64, classes of the time since the event before (`batches/pauses.py`).
            surfaces_BL: int64, for a model with surfaces.
            times_BL: Unix seconds, int64, for a model with `time: fourier` or `both`.
            lengths_B: how many events each user has, int64: layers then compute nothing after the last one. None: L.

        Returns:
            [B, L+1, E] float: entry i knows the first i events; meaningless for i above a user's length. Rows of length
            1, unless `unit_length` is false.
        """
        # Rows of length 1 become components of variance 1, on a par with what is added to them.
        tokens_BLD = self.project(events_BLE * events_BLE.shape[-1] ** 0.5)
        labels = [(self.pauses, pauses_BL), (self.actions, actions_BL), (self.surfaces, surfaces_BL)]
        for embedding, values_BL in labels:
            if embedding is not None and values_BL is not None:
                tokens_BLD = tokens_BLD + embedding(values_BL)
        if self.times is not None:
            assert times_BL is not None, "a model that reads times is given them"
            tokens_BLD = tokens_BLD + self.times(times_BL)
        start_B1D = self.start.expand(events_BLE.shape[0], 1, -1)
        tokens_BLD = torch.cat([start_B1D, tokens_BLD], dim=1)
        tokens_BLD = tokens_BLD + self.positions[: tokens_BLD.shape[1]]
        layout = Padded() if lengths_B is None else Packed(lengths_B, tokens_BLD.shape[1])
        tokens_ND = self.dropout(layout.pack(tokens_BLD))
        for layer in self.layers:
            tokens_ND = layer(tokens_ND, layout)
        users_BLE = layout.unpack(self.head(self.norm(tokens_ND)))
        return self.finish(users_BLE, None if self.direct_events is None else self.direct_events(events_BLE))


class Padded:
    """Tokens as they lie in a batch, [B, L, D]: all are computed."""

    def pack(self, tokens: Tensor) -> Tensor:
        return tokens

    def unpack(self, tokens: Tensor) -> Tensor:
        return tokens


class Packed(Padded):
    """The N tokens up to each user's last event, one after the other, as all that works by token reads them."""

    def __init__(self, lengths_B: Tensor, num_tokens: int):
        """Args: how many events each user has; how many tokens, with that of the start, the longest one has."""
        known_BL = torch.arange(num_tokens, device=lengths_B.device) <= lengths_B[:, None]
        self.places_N = known_BL.flatten().nonzero().squeeze(1)
        self.rows_BL = (known_BL.flatten().cumsum(0) - 1).view(known_BL.shape)  # after the last event: that of the last

    def pack(self, tokens: Tensor) -> Tensor:
        """[B, L, D] to [N, D]."""
        return tokens.flatten(0, 1).index_select(0, self.places_N)

    def unpack(self, tokens: Tensor) -> Tensor:
        """[N, D] to [B, L, D]; after a user's last event stands that again."""
        return functional.embedding(self.rows_BL, tokens)


class DirectEvents(nn.Module):
    """A sum of a user's events, of weights that fall by a learned factor from each event to the one before it."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.1))
        self.log_decay = nn.Parameter(torch.tensor(0.3).log())

    def forward(self, events_BLE: Tensor) -> Tensor:
        """[B, L, E] to [B, L+1, E]: entry i is of the first i events."""
        ages_L = torch.arange(-1, events_BLE.shape[1], device=events_BLE.device)
        ages_LL = ages_L[:, None] - ages_L[1:]  # of event j where i events are known; below 0 where j is not known
        weights_LL = torch.where(ages_LL >= 0, torch.exp(-self.log_decay.exp() * ages_LL.clamp(min=0)), 0.0)
        return self.scale * (weights_LL.to(events_BLE.dtype) @ events_BLE)


def _begin_in_one_space(project: nn.Linear, head: nn.Linear) -> None:
    """Let the head undo the projection at first, so that what passes a layer unchanged is already an embedding.

    As where items and scores share one table (SASRec): a user is like their latest event before anything is learned.
    """
    with torch.no_grad():
        nn.init.orthogonal_(project.weight)
        head.weight.copy_(project.weight.T)
        for linear in (project, head):
            nn.init.zeros_(linear.bias)


def _small_embedding(num_values: int, dim: int) -> nn.Embedding | None:
    """A table that adds little to an item's token at first; none without values."""
    if not num_values:
        return None
    embedding = nn.Embedding(num_values, dim)
    nn.init.normal_(embedding.weight, std=0.1)
    return embedding


class CausalLayer(nn.Module):
    """A pre-norm transformer layer in which a token sees itself and the tokens before it.

    The same as `torch.nn.TransformerEncoderLayer` with `norm_first` and a causal mask (its oracle in
    `tests/model/test_sequence.py`), but that attention has a dropout of its own: without any, torch takes its fused
    kernel, and a third of the random numbers are not drawn.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float, attention_dropout: float = 0.0):
        super().__init__()
        self.num_heads = num_heads
        self.attention_dropout = attention_dropout
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.in_proj, self.out_proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.linear1, self.linear2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, tokens_ND: Tensor, layout: Padded) -> Tensor:
        """N packed tokens [N, D] to [N, D]; a token depends on those of its user up to it."""
        heads_BLD = layout.unpack(self.in_proj(self.norm1(tokens_ND))).chunk(3, dim=-1)
        query_BHLd, key_BHLd, value_BHLd = (x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in heads_BLD)
        dropped = self.attention_dropout if self.training else 0.0
        read_BHLd = functional.scaled_dot_product_attention(
            query_BHLd, key_BHLd, value_BHLd, is_causal=True, dropout_p=dropped
        )
        tokens_ND = tokens_ND + self.dropout(self.out_proj(layout.pack(read_BHLd.transpose(1, 2).flatten(2))))
        hidden_ND = self.dropout.after_gelu(self.linear1(self.norm2(tokens_ND)))
        return tokens_ND + self.dropout(self.linear2(hidden_ND))
