"""The causal transformer that reads a user's events (OmniSage §3.3.3).

Shapes: B users, L events, D width, E width of embeddings.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from omnisage.model.config import ModelConfig


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
        self.positions = nn.Parameter(torch.randn(sequence.max_length + 1, config.dim) * 0.1)
        self.dropout = nn.Dropout(sequence.dropout)
        layer = nn.TransformerEncoderLayer(
            config.dim,
            sequence.num_heads,
            4 * config.dim,
            sequence.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(
            layer, sequence.num_layers, norm=nn.LayerNorm(config.dim), enable_nested_tensor=False
        )
        self.head = nn.Linear(config.dim, config.embedding_dim)

    def forward(self, events_BLE: Tensor, actions_BL: Tensor | None) -> Tensor:
        """Read B users' events, oldest first; what stands after a user's last event never changes what is before.

        Args:
            events_BLE: embeddings of the events' entities, float; L at most `max_length`.
            actions_BL: int64, for a model with actions.

        Returns:
            [B, L+1, E] float, rows of length 1: entry i knows the first i events.
        """
        # Rows of length 1 become components of variance 1, on a par with what is added to them.
        tokens_BLD = self.project(events_BLE * events_BLE.shape[-1] ** 0.5)
        if self.actions is not None and actions_BL is not None:
            tokens_BLD = tokens_BLD + self.actions(actions_BL)
        start_B1D = self.start.expand(events_BLE.shape[0], 1, -1)
        tokens_BLD = torch.cat([start_B1D, tokens_BLD], dim=1)
        length = tokens_BLD.shape[1]
        tokens_BLD = self.dropout(tokens_BLD + self.positions[:length])
        causal = nn.Transformer.generate_square_subsequent_mask(length, device=tokens_BLD.device)
        return functional.normalize(self.head(self.layers(tokens_BLD, mask=causal, is_causal=True)), dim=-1)
