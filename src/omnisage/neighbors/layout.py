"""Which walks fill which slots of each entity type: config checked against the graph, before any work is done."""

from omnisage.errors import OmnisageError
from omnisage.graph.artifact import Graph
from omnisage.neighbors.artifact import Block
from omnisage.neighbors.config import NeighborsConfig, Subset
from omnisage.schema import unknown_name


def choose_subsets(config: NeighborsConfig, graph: Graph) -> dict[str, list[Subset]]:
    """The subsets of every entity type of the graph: the config's, or one over all relations it can reach.

    An empty list, also of the config, leaves entities without neighbors.

    Raises:
        OmnisageError: a type or relation that does not exist, relations that do not touch the type, or quotas for a
            type that they do not reach. The message has the path of the field.
    """
    for entity_type, subsets in config.subsets.items():
        if entity_type not in graph.num_entities:
            message = unknown_name("entity type", entity_type, list(graph.num_entities))
            raise OmnisageError(f"neighbors.subsets: {message}")
        for number, subset in enumerate(subsets):
            _check(subset, entity_type, graph, where=f"neighbors.subsets.{entity_type}[{number}]")
    return {
        entity_type: config.subsets[entity_type]
        if entity_type in config.subsets
        else _default_subsets(entity_type, graph, config.default_take)
        for entity_type in graph.num_entities
    }


def lay_out(subsets: list[Subset]) -> list[tuple[Block, ...]]:
    """The blocks of slots of one entity type, by subset: subset after subset, within it type after type, sorted."""
    blocks: list[tuple[Block, ...]] = []
    end = 0
    for subset in subsets:
        of_subset: list[Block] = []
        for entity_type, quota in sorted(subset.take.items()):
            of_subset.append(Block(entity_type, tuple(subset.relations), end, end + quota))
            end += quota
        blocks.append(tuple(of_subset))
    return blocks


def _check(subset: Subset, entity_type: str, graph: Graph, where: str) -> None:
    for relation in subset.relations:
        if relation not in graph.relations:
            raise OmnisageError(f"{where}.relations: {unknown_name('relation', relation, list(graph.relations))}")
    named = ", ".join(subset.relations)
    reachable = graph.reachable_types(entity_type, subset.relations)
    if not reachable:
        ends = ", ".join(name for name, relation in graph.relations.items() if entity_type in relation.types)
        raise OmnisageError(
            f"{where}.relations: none of ({named}) touches '{entity_type}'; relations that do: {ends or 'none'}"
        )
    for name in subset.take:
        if name not in reachable:
            raise OmnisageError(
                f"{where}.take: no walk from {entity_type} over ({named}) reaches '{name}'; "
                f"reachable: {', '.join(reachable)}; add a relation that leads there, or remove it from take"
            )


def _default_subsets(entity_type: str, graph: Graph, default_take: int) -> list[Subset]:
    reachable = graph.reachable_types(entity_type)
    relations = [name for name, relation in graph.relations.items() if relation.source in reachable]
    return [Subset(relations=relations, take=dict.fromkeys(reachable, default_take))] if reachable else []
