"""The `graph` stage: relations of the tables to pruned adjacency lists. Command: `omnisage graph`."""

from pathlib import Path

from omnisage.artifact import Manifest, Plan, begin, commit
from omnisage.graph.build import Edges, write_graph
from omnisage.graph.config import GraphConfig
from omnisage.tables.artifact import open_tables


def run(config: GraphConfig, plan: Plan, out: Path, *, num_threads: int, tables: Path) -> Manifest:
    """Write the graph of all relations in `tables`.

    Args:
        num_threads: 0 uses every core; the files do not depend on it.
        tables: the folder of the `tables` stage.

    Raises:
        OmnisageError: no finished tables there, or relations with ids that do not exist.
    """
    opened = open_tables(tables)
    relations = {
        name: Edges(relation.source, relation.target, relation.source_ids, relation.target_ids, relation.weights)
        for name, relation in opened.relations.items()
    }
    partial = begin(out, plan)
    counts = write_graph(
        partial, relations, opened.num_entities, prune=config.prune, seed=plan.seed, num_threads=num_threads
    )
    return commit(out, counts)
