"""Newcomers: entities that training has not seen have no learned id, a degree that says little, and few neighbors.

Training, whose entities all have an id, embeds some of them in the same way (`newcomer_dropout`), as queries,
candidates and events alike. So what content and first edges say is learned by itself, and a newcomer stands among
known candidates where what is known of it puts it.

Shapes: B anchors of a type, K neighbor slots.
"""

import torch
from torch import Tensor

from omnisage.batches.batch import Bags, RawFeatures
from omnisage.batches.description import TypeDescription
from omnisage.model.config import ModelConfig

_KEPT_WALKS = 0.5  # share of a hidden entity's walks: newcomers have relations and no events, or the other way round


class KnownIds:
    """Which entities of a type are known by their own id; types without one have no newcomers."""

    def __init__(self, description: TypeDescription, config: ModelConfig):
        self.chance = config.newcomer_dropout
        features = description.features.items()
        self._ids = [name for name, feature in features if feature.is_id and feature.own]
        ends = torch.tensor(description.walk_ends, dtype=torch.int64)
        self._num_walks = len(ends)
        self._walks_K = torch.searchsorted(ends, torch.arange(description.num_slots), right=True)

    def is_known(self, raw: RawFeatures, rows_B: Tensor, *, is_training: bool) -> Tensor | None:
        """Which of the entities at `rows_B` have their own id and may show it, [B] bool; None: there are no ids."""
        if not self._ids:
            return None
        known_B = torch.zeros_like(rows_B, dtype=torch.bool)
        for name in self._ids:
            bags = raw[name]
            assert isinstance(bags, Bags), "an id is a category"
            known_B |= (bags.offsets[1:] > bags.offsets[:-1])[rows_B]
        if is_training and self.chance > 0:
            known_B &= torch.rand(rows_B.shape, device=rows_B.device) >= self.chance
        return known_B

    def hide_walks(self, present_BK: Tensor, known_B: Tensor | None) -> Tensor:
        """The slots that are read in training, [B, K]: of an entity that is not known, those of half of its walks."""
        if known_B is None or self.chance == 0 or self._num_walks == 0:
            return present_BK
        kept_BW = torch.rand(len(known_B), self._num_walks, device=known_B.device) < _KEPT_WALKS
        return present_BK & (kept_BW | known_B[:, None])[:, self._walks_K.to(known_B.device)]
