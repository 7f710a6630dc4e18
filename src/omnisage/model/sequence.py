"""The causal transformer that reads a user's events (OmniSage §3.3.3).

Shapes: B users, L events, D width, E width of embeddings.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from omnisage.batches.pauses import NUM_PAUSES
from omnisage.model.config import ModelConfig
from omnisage.model.modules import unit_rows


class SequenceModel(nn.Module):
    """Event embeddings in time to user embeddings: one before the first event, and one after each."""

    def __init__(self, num_actions: int, config: ModelConfig):
        super().__init__()
        sequence = config.sequence
        self.start = nn.Parameter(torch.randn(config.dim) * 0.02)
        self.project = nn.Linear(config.embedding_dim, config.dim)
        self.actions = nn.Embedding(num_actions, config.dim) if num_actions else None
        if self.actions is not None:
            nn.init.normal_(self.actions.weight, std=0.1)
        self.pauses = nn.Embedding(NUM_PAUSES, config.dim)
        nn.init.normal_(self.pauses.weight, std=0.1)
        self.positions = nn.Parameter(torch.randn(sequence.max_length + 1, config.dim) * 0.1)
        self.dropout = Dropout(sequence.dropout)
        self.layers = nn.ModuleList(
            CausalLayer(config.dim, sequence.num_heads, sequence.dropout) for _ in range(sequence.num_layers)
        )
        self.norm = nn.LayerNorm(config.dim)
        self.head = nn.Linear(config.dim, config.embedding_dim)

    def forward(self, events_BLE: Tensor, actions_BL: Tensor | None, pauses_BL: Tensor) -> Tensor:
        """Read B users' events, oldest first; what stands after a user's last event never changes what is before.

        Args:
            events_BLE: embeddings of the events' entities, float; L at most `max_length`.
            actions_BL: int64, for a model with actions.
            pauses_BL: int64, classes of the time since the event before (`batches/pauses.py`).

        Returns:
            [B, L+1, E] float, rows of length 1: entry i knows the first i events.
        """
        # Rows of length 1 become components of variance 1, on a par with what is added to them.
        tokens_BLD = self.project(events_BLE * events_BLE.shape[-1] ** 0.5) + self.pauses(pauses_BL)
        if self.actions is not None and actions_BL is not None:
            tokens_BLD = tokens_BLD + self.actions(actions_BL)
        start_B1D = self.start.expand(events_BLE.shape[0], 1, -1)
        tokens_BLD = torch.cat([start_B1D, tokens_BLD], dim=1)
        tokens_BLD = self.dropout(tokens_BLD + self.positions[: tokens_BLD.shape[1]])
        for layer in self.layers:
            tokens_BLD = layer(tokens_BLD)
        return unit_rows(self.head(self.norm(tokens_BLD)))


class CausalLayer(nn.Module):
    """A pre-norm transformer layer in which a token sees itself and the tokens before it.

    The same as `torch.nn.TransformerEncoderLayer` with `norm_first` and a causal mask (its oracle in
    `tests/model/test_sequence.py`), but that attention itself has no dropout: so torch takes its fused kernel, and a
    third of the random numbers are not drawn.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float):
        super().__init__()
        self.num_heads = num_heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.in_proj, self.out_proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.linear1, self.linear2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, tokens_BLD: Tensor) -> Tensor:
        """[B, L, D] to [B, L, D]; row i depends on rows 0 .. i."""
        heads_BLD = self.in_proj(self.norm1(tokens_BLD)).chunk(3, dim=-1)
        query_BHLd, key_BHLd, value_BHLd = (x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in heads_BLD)
        read_BHLd = functional.scaled_dot_product_attention(query_BHLd, key_BHLd, value_BHLd, is_causal=True)
        tokens_BLD = tokens_BLD + self.dropout(self.out_proj(read_BHLd.transpose(1, 2).flatten(2)))
        hidden_BLD = functional.gelu(self.linear1(self.norm2(tokens_BLD)))
        return tokens_BLD + self.dropout(self.linear2(self.dropout(hidden_BLD)))


class Dropout(nn.Module):
    """Dropout with a probability in steps of 1/256, from one random byte per number.

    `torch.nn.Dropout` draws one number after the other on a CPU, at a cost of as much as the layer's products.
    """

    def __init__(self, probability: float):
        super().__init__()
        self.num_dropped = min(round(256 * probability), 255)  # of 256; not all, or nothing could keep the mean

    def forward(self, values: Tensor) -> Tensor:
        """The same shape; in training some values are 0, the others larger, so that the mean stays."""
        if not self.training or self.num_dropped == 0:
            return values
        words = torch.empty(-(-values.numel() // 8), dtype=torch.int64, device=values.device).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: values.numel()].view(values.shape) >= self.num_dropped
        return values * kept * (256 / (256 - self.num_dropped))
