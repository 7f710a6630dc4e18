"""Values of a category feature by entity, to color a picture with."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnisage.baselines.lists import Lists
from omnisage.tables.artifact import CategoryArrays, Tables

NO_VALUE = "(none)"
OTHER_VALUE = "(other)"


@dataclass(frozen=True)
class Categories:
    """A category feature: the values of each entity."""

    feature: str
    vocabulary: list[str]
    values: Lists  # per entity, positions in the vocabulary

    def text_of(self, entity: int) -> str:
        """All values of an entity, for reading."""
        return ", ".join(self.vocabulary[value] for value in self.values[entity]) or NO_VALUE

    def groups_of(self, entities: NDArray[np.int64], *, num_groups: int) -> list[str]:
        """One group per entity: the rarest of its values that are common, which says most about it.

        Args:
            entities: [n] ids.
            num_groups: how many groups may come out, `NO_VALUE` and `OTHER_VALUE` included.
        """
        counts = np.bincount(self.values.ids, minlength=len(self.vocabulary))
        common = set(np.argsort(-counts, kind="stable")[: num_groups - 2].tolist())
        groups: list[str] = []
        for entity in entities:
            values = self.values[int(entity)].tolist()
            known = [value for value in values if value in common]
            if known:
                groups.append(self.vocabulary[min(known, key=lambda value: (counts[value], value))])
            else:
                groups.append(OTHER_VALUE if values else NO_VALUE)
        return groups


def first_category_feature(tables: Tables, entity_type: str) -> Categories | None:
    """The type's first category feature that tells groups from each other, if it has one.

    A feature with nearly as many values as entities (its own id, say) does not.
    """
    for name, feature in tables.features.get(entity_type, {}).items():
        if isinstance(feature, CategoryArrays) and feature.num_values <= tables.num_entities[entity_type] / 2:
            values = Lists(feature.indptr.astype(np.int64), feature.indices)
            return Categories(name, tables.vocabulary(entity_type, name), values)
    return None
