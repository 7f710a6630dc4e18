"""The validation score: recall@10 of held-out validation users' next entities and of validation pairs.

Only validation users and pairs are read, and only events before `train_end`. The full evaluation is a stage of its own.
"""

from functools import partial

from omnisage.batches.batch import Histories
from omnisage.batches.entities import EntitySource
from omnisage.model.inference import Vectors, embed_entities, embed_users
from omnisage.model.model import Model
from omnisage.tables.artifact import Tables
from omnisage.tasks.recalls import validation_recalls
from omnisage.training.ranks import ALONE, Ranks


def validate(
    model: Model, source: EntitySource, tables: Tables, *, max_length: int, ranks: Ranks = ALONE
) -> dict[str, float]:
    """Score the model; of several ranks each embeds a range of the entities.

    Returns:
        `<sequence>_recall@10` and `pairs_recall@10` where there is something held out, and `score`, their mean.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    pairs = [types for types, held in tables.held_out_pairs("validation").items() if len(held)]
    sequences = {name: tables.sequences[name] for name in model.sequences}
    needed = {t for types in pairs for t in types} | {sequence.entity for sequence in sequences.values()}

    def embed(entity_type: str, begin: int, end: int) -> Vectors:
        return embed_entities(model.embedders, source, entity_type, begin=begin, end=end, device=device)

    embeddings = {t: ranks.join_rows(n, partial(embed, t)) for t, n in tables.num_entities.items() if t in needed}
    users = {
        name: embed_users(
            model.sequences[name],
            embeddings[sequence.entity],
            Histories(part.indptr, part.entities, part.actions, part.times, part.surfaces),
            part.queries,
            max_length=max_length,
            device=device,
        )
        for name, sequence in sequences.items()
        if (part := sequence.part("validation")).queries is not None and len(part.queries)
    }
    metrics = validation_recalls(tables, embeddings, users)
    model.train(was_training)
    return metrics
