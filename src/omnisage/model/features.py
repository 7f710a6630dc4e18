"""Raw features to vectors: hashed text, categories, numbers and precomputed vectors (OmniSage §3.2).

Shapes: U unique entities of one type, B of them to embed, F features of that type, V width of a feature's vector,
D width of tokens, E width of embeddings.
"""

import torch
from torch import Tensor, nn

from omnisage.batches.batch import Bags, RawFeatures
from omnisage.batches.description import LOG_DEGREE, FeatureDescription, TypeDescription
from omnisage.model.bags import sum_categories, sum_hashed
from omnisage.model.config import ModelConfig
from omnisage.model.late import Unprojected
from omnisage.model.modules import Modules, Projection

_DIRECT_START = 0.02  # a component at first: next to nothing, so that what is added is what was learned


class HashedText(nn.Module):
    """Hash embeddings (Svenstrup et al., NeurIPS 2017): several hash functions into one table, learned importance.

    An n-gram's vector is the sum over hash functions of table rows, each times the n-gram's importance for that
    hash function; a text is the sum of its n-grams, divided by the root of their number to keep its scale; their mean
    where it is added to embeddings.
    """

    multipliers: Tensor

    def __init__(self, num_buckets: int, num_hashes: int, width: int, *, is_direct: bool = False):
        """Args: `is_direct` for vectors that are added to embeddings, and not read by layers."""
        super().__init__()
        self.is_direct = is_direct
        self.table = nn.Parameter(torch.randn(num_buckets, width) * _start(width, is_direct))
        self.importance = nn.Parameter(torch.ones(num_buckets, num_hashes) / num_hashes**0.5)
        odd = torch.randint(2**62, (num_hashes + 1,), generator=torch.Generator().manual_seed(0)) * 2 + 1
        self.register_buffer("multipliers", odd, persistent=False)

    def forward(self, text: Bags) -> Tensor:
        """The texts' vectors [U, V]."""
        summed_UV = sum_hashed(text, self.table, self.importance, self.multipliers)
        if self.is_direct:
            # Of the size of their mean: most n-grams are of few texts, and as a larger sum they would learn texts by
            # heart, faster than ids and categories are learned. Twice: by validation (Amazon Beauty: docs/log.md).
            return 2 * summed_UV / _lengths(text)[:, None]
        return summed_UV * (summed_UV.shape[1] / _lengths(text)[:, None]).sqrt()


class Categories(nn.Module):
    """One learned vector per category; an entity with several has their sum over the root of their number.

    Where it is added to embeddings, their sum: a step of the optimizer then moves an entity by each of its categories
    as far as by its id, of which few events tell (Amazon Beauty: docs/log.md).
    """

    def __init__(self, num_values: int, width: int, *, is_direct: bool = False):
        """Args: `is_direct` for vectors that are added to embeddings, and not read by layers."""
        super().__init__()
        self.is_direct = is_direct
        # One row more than values: an empty vocabulary is still a table.
        self.table = nn.Parameter(torch.randn(num_values + 1, width) * _start(width, is_direct))

    def forward(self, categories: Bags) -> Tensor:
        """The entities' vectors [U, V]; zero without any category."""
        summed_UV = sum_categories(categories, self.table)
        return summed_UV if self.is_direct else summed_UV * (summed_UV.shape[1] / _lengths(categories)[:, None]).sqrt()


def _start(width: int, is_direct: bool) -> float:
    """How large the components of a table are at first.

    Layers read sums that are scaled up to variance 1. What is added to embeddings is not, for so would be each step of
    the optimizer.
    """
    return _DIRECT_START if is_direct else width**-0.5


def _lengths(bags: Bags) -> Tensor:
    """How many values each entity has, [U], at least 1 to divide by."""
    return (bags.offsets[1:] - bags.offsets[:-1]).clamp(min=1)


class FeatureEncoder(nn.Module):
    """The features of one entity type, as vectors, as own tokens and as one token for a neighbor's place."""

    def __init__(self, description: TypeDescription, config: ModelConfig):
        super().__init__()
        self._ids = frozenset(name for name, feature in description.features.items() if feature.is_id)
        lookups: dict[str, nn.Module] = {}
        self.widths: dict[str, int] = {}
        for name, feature in description.features.items():
            lookups[name], self.widths[name] = _lookup(feature, config)
        self.lookups = Modules(lookups)
        self.own = Modules(
            {
                name: Projection(self.widths[name], config.dim, dropout=config.dropout)
                for name, feature in description.features.items()
                if feature.own
            }
        )
        self.direct = Modules(
            {
                name: _direct_lookup(feature, config)
                for name, feature in description.features.items()
                if feature.own and feature.kind in config.direct
            }
        )
        self.neighbor = Projection(sum(self.widths.values()), config.dim, dropout=config.dropout)

    def vectors(self, raw: RawFeatures) -> dict[str, Tensor]:
        """Each feature's vector [U, V], before any projection: what the entity-feature task starts from."""
        return {name: lookup(raw[name]) for name, lookup in self.lookups.items()}

    def own_tokens(self, vectors: dict[str, Tensor], rows_B: Tensor, known_B: Tensor | None = None) -> Tensor:
        """The tokens [B, F, D] of the entities at `rows_B`, one per feature.

        Of those that are not known (`newcomers.py`) the id counts as missing, and the degree is not read.
        """
        tokens = {
            name: project(self._unless_hidden(name, vectors[name][rows_B], known_B))
            for name, project in self.own.items()
        }
        if known_B is not None and LOG_DEGREE in tokens:
            tokens[LOG_DEGREE] = tokens[LOG_DEGREE] * known_B[:, None]
        return torch.stack(list(tokens.values()), dim=1)

    def direct_vectors(self, raw: RawFeatures, rows_B: Tensor, known_B: Tensor | None = None) -> Tensor | None:
        """What own categories and texts of the entities at `rows_B` add to their embeddings [B, E]; None if nothing."""
        found = [self._unless_hidden(name, lookup(raw[name])[rows_B], known_B) for name, lookup in self.direct.items()]
        return torch.stack(found).sum(dim=0) if found else None

    def _unless_hidden(self, name: str, vectors_BV: Tensor, known_B: Tensor | None) -> Tensor:
        return vectors_BV if known_B is None or name not in self._ids else vectors_BV * known_B[:, None]

    def neighbor_tokens(self, vectors: dict[str, Tensor]) -> Tensor:
        """The tokens [U, D] that stand for these entities where they are neighbors."""
        return self.neighbor.of_parts([vectors[name] for name in self.widths])

    def unprojected(self, vectors: dict[str, Tensor]) -> Unprojected:
        """What `neighbor_tokens` is a linear map of."""
        return self.neighbor.unprojected([vectors[name] for name in self.widths])


def _direct_lookup(feature: FeatureDescription, config: ModelConfig) -> nn.Module:
    if feature.kind == "text":
        return HashedText(config.hash_buckets, config.num_hashes, config.embedding_dim, is_direct=True)
    return Categories(feature.size, config.embedding_dim, is_direct=True)


def _lookup(feature: FeatureDescription, config: ModelConfig) -> tuple[nn.Module, int]:
    match feature.kind:
        case "text":
            return HashedText(config.hash_buckets, config.num_hashes, config.feature_dim), config.feature_dim
        case "category":
            return Categories(feature.size, config.feature_dim), config.feature_dim
        case _:
            return nn.Identity(), feature.size
