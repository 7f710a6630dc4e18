"""What computes ranges of the `neighbors` stage, by names: it opens on any host that has the graph."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omnisage.graph.artifact import open_graph
from omnisage.neighbors.artifact import Block
from omnisage.neighbors.compute import compute_neighbors, make_subset_walks
from omnisage.neighbors.config import NeighborsStageConfig, Subset
from omnisage.ranges import Arrays, Compute, Input


@dataclass(frozen=True)
class NeighborsRecipe:
    """Neighborhoods in the graph, or in the one without a fold."""

    graph: Input
    fold: int | None
    config: NeighborsStageConfig
    subsets: dict[str, list[Subset]]  # of every type

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The graph."""
        return (self.graph,)

    @contextmanager
    def open(self, folders: Mapping[str, Path], num_threads: int) -> Generator[Compute]:
        """Merge the lists of the graph, which the stage has verified."""
        graph = open_graph(folders[self.graph.name], fold=self.fold, verify=False)
        walks = make_subset_walks(self.config, graph, self.subsets, num_threads)
        yield lambda entity_type, ids: compute_neighbors(entity_type, ids, walks[entity_type])


@dataclass(frozen=True)
class RankedRecipe:
    """Entities at some ranks of proximity in the whole graph."""

    graph: Input
    config: NeighborsStageConfig
    layout: dict[str, tuple[Block, ...]]
    begin: int  # the first rank

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The graph."""
        return (self.graph,)

    @contextmanager
    def open(self, folders: Mapping[str, Path], num_threads: int) -> Generator[Compute]:
        """Merge the lists of the graph, which the stage has verified."""
        graph = open_graph(folders[self.graph.name], verify=False)
        walk = graph.walk(restart=self.config.restart, eps=self.config.eps, num_threads=num_threads)

        def compute(entity_type: str, source_ids: NDArray[np.uint32]) -> Arrays:
            blocks = self.layout[entity_type]
            take = {block.type: self.begin + block.end - block.begin for block in blocks}
            near = walk.neighborhoods(entity_type, source_ids, take)
            is_of = {block.type: np.flatnonzero(np.array(near.types) == block.type) for block in blocks}
            ranked = [near.ids[:, is_of[block.type][self.begin :]] for block in blocks]
            return {"ranked": np.concatenate(ranked, axis=1)}

        yield compute
