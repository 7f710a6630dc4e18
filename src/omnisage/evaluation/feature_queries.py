"""The entity-feature task: an encoded raw feature finds its entity (OmniSage §3.3.2)."""

from collections.abc import Mapping

import numpy as np

from omnisage.baselines.links import Links
from omnisage.baselines.lists import Lists
from omnisage.baselines.popularity import overall_counts, popularity
from omnisage.baselines.scorer import inner_product
from omnisage.embeddings.artifact import Embeddings
from omnisage.evaluation.retrieval import MODEL, Retrieval, own_ids
from omnisage.tables.artifact import Tables


def feature_retrievals(
    tables: Tables, embeddings: Embeddings, *, links: Links, learned: Mapping[str, Embeddings]
) -> list[Retrieval]:
    """Every encoded feature among the entities of its type; it needs no held-out part.

    Args:
        tables: the `tables` artifact.
        embeddings: the `embeddings` artifact.
        links: the training relations.
        learned: of baselines, by method.
    """
    retrievals: list[Retrieval] = []
    for entity_type, features in embeddings.features.items():
        counts = overall_counts(tables, links, entity_type)
        for feature, queries in features.items():
            num_queries = len(queries.ids)
            retrievals.append(
                Retrieval(
                    "entity_feature",
                    f"{entity_type}.{feature}",
                    entity_type,
                    counts,
                    positives=Lists(np.arange(num_queries + 1, dtype=np.int64), queries.ids),
                    excluded=Lists.empty(num_queries),
                    units=own_ids(tables.ids(entity_type), queries.ids),
                    num_dropped=0,
                    scorers={
                        MODEL: inner_product(queries.vectors, embeddings.entities[entity_type]),
                        "popularity": popularity(counts),
                        **{
                            method: inner_product(of.features[entity_type][feature].vectors, of.entities[entity_type])
                            for method, of in learned.items()
                            if feature in of.features.get(entity_type, {})
                        },
                    },
                )
            )
    return retrievals
